"""FastMCP's OAuth proxy in front of an authorization server that registers nobody (built with Authlib)."""

import os
from pathlib import Path

import authlib_server
import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.auth.oauth_proxy import OAuthProxy
from fastmcp.server.dependencies import get_access_token
from key_value.aio.stores.filetree import FileTreeStore
from starlette.middleware.wsgi import WSGIMiddleware
from starlette.routing import Mount

PORT = int(os.environ["PORT"])
BASE_URL = os.environ["BASE_URL"].rstrip("/")
STATE = Path(os.environ["STATE_DIR"])
SECONDS = int(os.environ.get("TOKEN_TTL", "3600"))

known = authlib_server.Client(
    "proxy",
    "secret of the proxy",
    {
        "redirect_uris": [f"{BASE_URL}/auth/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
    },
)
upstream, memory = authlib_server.create(f"{BASE_URL}/upstream", SECONDS, clients=[known])


class Verifier(TokenVerifier):
    async def verify_token(self, token):
        found = memory.by_access_token(token)
        if found is None or found.is_expired() or found.revoked:
            return None
        return AccessToken(
            token=token,
            client_id=found.client.client_id,
            scopes=found.scope.split(),
            expires_at=int(found.expires_at),
            claims={"sub": found.user},
        )


auth = OAuthProxy(
    upstream_authorization_endpoint=f"{BASE_URL}/upstream/authorize",
    upstream_token_endpoint=f"{BASE_URL}/upstream/token",
    upstream_revocation_endpoint=f"{BASE_URL}/upstream/revoke",
    upstream_client_id=known.client_id,
    upstream_client_secret=known.client_secret,
    token_verifier=Verifier(required_scopes=["user"]),
    base_url=BASE_URL,
    client_storage=FileTreeStore(data_directory=STATE),
    jwt_signing_key="for tests only",
)
server = FastMCP("FastMCP proxy", auth=auth)


@server.tool
def whoami() -> str:
    """Says who is signed in."""
    return f"signed in as {get_access_token().claims['sub']}"


app = server.http_app()
app.router.routes.append(Mount("/upstream", WSGIMiddleware(upstream)))
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
