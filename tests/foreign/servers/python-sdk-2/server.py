"""The official Python SDK, version 2, as MCP server and authorization server in one: `server.py streamable|sse`."""

import os
import sys

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from memory_provider import MemoryProvider

PORT = int(os.environ["PORT"])
BASE_URL = os.environ["BASE_URL"].rstrip("/")
transport = sys.argv[1]

provider = MemoryProvider(BASE_URL)
server = MCPServer(
    "Python SDK 2",
    auth_server_provider=provider,
    auth=AuthSettings(
        issuer_url=BASE_URL,
        resource_server_url=f"{BASE_URL}/sse" if transport == "sse" else f"{BASE_URL}/mcp",
        validate_token_resource=False,
        required_scopes=["user"],
        client_registration_options=ClientRegistrationOptions(
            enabled=True, valid_scopes=["user"], default_scopes=["user"]
        ),
        revocation_options=RevocationOptions(enabled=True),
    ),
)


@server.tool()
def whoami() -> str:
    """Says who is signed in."""
    return f"signed in as {get_access_token().client_id}"


server.custom_route("/login", methods=["GET", "POST"])(provider.login)
app = server.sse_app() if transport == "sse" else server.streamable_http_app()
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
