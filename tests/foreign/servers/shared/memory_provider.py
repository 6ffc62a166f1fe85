"""An authorization server for the official Python SDK, with everything in memory.

The SDK brings the endpoints and leaves the grants to a provider. This one follows the SDK's own `simple-auth`
example: a page asks for a user name and a password, refresh tokens rotate, a revoked token takes its partner along.
It works with the SDK's versions 1 and 2.
"""

import os
import secrets
import time

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.shared.auth import OAuthToken
from starlette.responses import HTMLResponse, RedirectResponse

ACCESS_TOKEN_SECONDS = int(os.environ.get("TOKEN_TTL", "3600"))
CODE_SECONDS = 300

LOGIN_PAGE = """<!doctype html><title>Sign in</title>
<form method="post" action="/login">
<input type="hidden" name="transaction" value="{transaction}">
<input name="username"><input name="password" type="password">
<button type="submit">Sign in</button>
</form>"""


class MemoryProvider:
    def __init__(self, base_url):
        self.base_url = base_url
        self.clients = {}
        self.waiting = {}
        self.codes = {}
        self.access = {}
        self.refresh = {}
        self.partner = {}

    async def login(self, request):
        if request.method == "GET":
            transaction = request.query_params.get("transaction", "")
            if transaction not in self.waiting:
                return HTMLResponse("unknown sign-in", status_code=400)
            return HTMLResponse(LOGIN_PAGE.format(transaction=transaction))
        form = await request.form()
        if not form.get("username") or not form.get("password"):
            return HTMLResponse("user name and password are needed", status_code=401)
        waiting = self.waiting.pop(form.get("transaction"), None)
        if waiting is None:
            return HTMLResponse("unknown sign-in", status_code=400)
        client, params = waiting
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            client_id=client.client_id,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            expires_at=time.time() + CODE_SECONDS,
            scopes=params.scopes or ["user"],
            code_challenge=params.code_challenge,
            resource=params.resource,
        )
        self.codes[code.code] = code
        target = construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)
        return RedirectResponse(target, status_code=302)

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client, params):
        transaction = secrets.token_urlsafe(16)
        self.waiting[transaction] = (client, params)
        return f"{self.base_url}/login?transaction={transaction}"

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(self, client, authorization_code):
        if self.codes.pop(authorization_code.code, None) is None:
            raise TokenError("invalid_grant", "the code was used")
        return self._issue(client, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(self, client, refresh_token):
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        if refresh_token.token not in self.refresh:
            raise TokenError("invalid_grant", "the refresh token was used")
        self._forget(refresh_token.token)
        return self._issue(client, scopes, None)

    async def load_access_token(self, token):
        found = self.access.get(token)
        if found and found.expires_at < time.time():
            return None
        return found

    async def revoke_token(self, token):
        self._forget(token.token)

    def _forget(self, token):
        for each in (token, self.partner.pop(token, None)):
            self.access.pop(each, None)
            self.refresh.pop(each, None)
            self.partner.pop(each, None)

    def _issue(self, client, scopes, resource):
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.access[access] = AccessToken(
            token=access,
            client_id=client.client_id,
            scopes=scopes,
            expires_at=int(time.time()) + ACCESS_TOKEN_SECONDS,
            resource=resource,
        )
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client.client_id, scopes=scopes)
        self.partner.update({access: refresh, refresh: access})
        return OAuthToken(
            access_token=access,
            token_type="Bearer",
            expires_in=ACCESS_TOKEN_SECONDS,
            refresh_token=refresh,
            scope=" ".join(scopes),
        )
