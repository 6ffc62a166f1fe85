"""An MCP server of the official Python SDK that is its own authorization server: what its versions have in common."""

import os
import sys

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from memory_provider import MemoryProvider
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BASE_URL = os.environ["BASE_URL"].rstrip("/")
IS_SSE = sys.argv[1] == "sse"
# "Name: value" that every request but those of the browser has to have.
GATEWAY_HEADER = os.environ.get("GATEWAY_HEADER", "")
PAGES = ("/authorize", "/login")


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
    if GATEWAY_HEADER:
        app = gateway_before(app)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")


def gateway_before(app: ASGIApp) -> ASGIApp:
    """The app, for those who have the header of the gateway."""
    name, _, value = GATEWAY_HEADER.partition(": ")
    wanted = (name.lower().encode(), value.encode())

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PAGES and wanted not in scope["headers"]:
            refusal = PlainTextResponse("the gateway does not know you", status_code=400)
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
