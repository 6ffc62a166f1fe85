"""FastMCP with its own OAuth provider, which approves everyone at once and keeps everything in memory.

`server.py http|sse`. An access token that is used after its end takes its refresh token with it: the provider cleans up
both. It also rounds that end down to whole seconds, so the bridge's margin has to be more than one of them, which it is
from 10 seconds of lifetime on.
"""

import os
import sys

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers import in_memory
from fastmcp.server.dependencies import get_access_token

# The provider has no option for it.
in_memory.DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS = int(os.environ.get("TOKEN_TTL", "3600"))

auth = in_memory.InMemoryOAuthProvider(
    base_url=os.environ["BASE_URL"],
    client_registration_options=ClientRegistrationOptions(
        enabled=True, valid_scopes=["user"], default_scopes=["user"]
    ),
    revocation_options=RevocationOptions(enabled=True),
    required_scopes=["user"],
)
server = FastMCP("FastMCP", auth=auth)


@server.tool
def whoami() -> str:
    """Says who is signed in."""
    return f"signed in as {get_access_token().client_id}"


server.run(
    transport=sys.argv[1],
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    log_level="WARNING",
    show_banner=False,
)
