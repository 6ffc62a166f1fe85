"""An authorization server built with Authlib, and an MCP server beside it."""

import os

import authlib_server
from mcp.server.auth.provider import AccessToken
from resource_server import BASE_URL, serve
from starlette.middleware.wsgi import WSGIMiddleware

app, memory = authlib_server.create(BASE_URL, int(os.environ.get("TOKEN_TTL", "3600")))


class Verifier:
    async def verify_token(self, token):
        found = memory.by_access_token(token)
        if found is None or found.is_expired() or found.revoked:
            return None
        return AccessToken(
            token=token,
            client_id=found.client.client_id,
            scopes=found.scope.split(),
            expires_at=int(found.expires_at),
            subject=found.user,
        )


serve("Authlib", BASE_URL, Verifier(), WSGIMiddleware(app), ["user"])
