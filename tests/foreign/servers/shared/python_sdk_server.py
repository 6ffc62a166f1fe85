"""An MCP server of the official Python SDK that is its own authorization server: what its versions have in common."""

import os
import sys

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from memory_provider import MemoryProvider

BASE_URL = os.environ["BASE_URL"].rstrip("/")
IS_SSE = sys.argv[1] == "sse"


def run(server_class: type, name: str, **settings: object) -> None:
    """Serves over the transport that the command line names, until it is ended."""
    provider = MemoryProvider(BASE_URL)
    server = server_class(
        name,
        auth_server_provider=provider,
        auth=AuthSettings(
            issuer_url=BASE_URL,
            required_scopes=["user"],
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=["user"], default_scopes=["user"]
            ),
            revocation_options=RevocationOptions(enabled=True),
            **settings,
        ),
    )

    @server.tool()
    def whoami() -> str:
        """Says who is signed in."""
        return f"signed in as {get_access_token().client_id}"

    server.custom_route("/login", methods=["GET", "POST"])(provider.login)
    app = server.sse_app() if IS_SSE else server.streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
