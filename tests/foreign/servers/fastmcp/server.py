"""FastMCP with its own OAuth provider, which approves everyone at once and keeps everything in memory."""

import os

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
    transport="http",
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    log_level="WARNING",
    show_banner=False,
)
