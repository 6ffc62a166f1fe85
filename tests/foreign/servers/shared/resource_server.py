"""An MCP server (Python SDK 2) at /mcp and an authorization server made of other software, on one origin."""

import os

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from starlette.routing import Mount

PORT = int(os.environ["PORT"])
BASE_URL = os.environ["BASE_URL"].rstrip("/")


def serve(name, issuer, verifier, authorization_server, scopes):
    """Serves both; `verifier` looks at tokens, `authorization_server` is an ASGI app for all other paths."""
    server = MCPServer(
        name,
        token_verifier=verifier,
        auth=AuthSettings(
            issuer_url=issuer,
            resource_server_url=f"{BASE_URL}/mcp",
            required_scopes=scopes,
            validate_token_resource=False,
        ),
    )

    @server.tool()
    def whoami() -> str:
        """Says who is signed in."""
        token = get_access_token()
        return f"signed in as {token.subject or token.client_id}"

    app = server.streamable_http_app()
    app.router.routes.append(Mount("/", authorization_server))
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
