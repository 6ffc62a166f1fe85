"""canaille, an identity provider, with open registration and SQLite, and an MCP server beside it."""

import os
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.oidc.provider import query_token
from joserfc.jwk import RSAKey
from mcp.server.auth.provider import AccessToken
from resource_server import BASE_URL, serve
from starlette.middleware.wsgi import WSGIMiddleware

STATE = Path(os.environ["STATE_DIR"])
SECONDS = int(os.environ.get("TOKEN_TTL", "3600"))

app = create_app(
    {
        "SECRET_KEY": "for tests only",
        "SERVER_NAME": urlsplit(BASE_URL).netloc,
        "PREFERRED_URL_SCHEME": "http",
        "SESSION_COOKIE_SECURE": False,
        "OAUTH2_TOKEN_EXPIRES_IN": {"authorization_code": SECONDS, "refresh_token": SECONDS},
        "CANAILLE": {
            "DATABASE": "sql",
            "JAVASCRIPT": False,
            "HTMX": False,
        },
        "CANAILLE_SQL": {"DATABASE_URI": f"sqlite:///{STATE}/canaille.sqlite3"},
        "CANAILLE_OIDC": {
            "DYNAMIC_CLIENT_REGISTRATION_OPEN": True,
            "REQUIRE_NONCE": False,
            "ACTIVE_JWKS": [RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)],
        },
    }
)


class Verifier:
    async def verify_token(self, token):
        with app.app_context(), Backend.instance.session():
            found = query_token(token, "access_token")
            if found is None or found.revokation_date or found.is_expired():
                return None
            return AccessToken(
                token=token,
                client_id=found.client.client_id,
                scopes=list(found.scope),
                expires_at=int(found.get_expires_at()),
                subject=found.subject.user_name,
            )


with app.app_context():
    Backend.instance.install(app)
    with Backend.instance.session():
        if not Backend.instance.query(models.User, user_name="ada"):
            Backend.instance.save(
                models.User(
                    user_name="ada",
                    password="correct horse battery staple",
                    given_name="Ada",
                    family_name="Lovelace",
                    formatted_name="Ada Lovelace",
                    emails=["ada@example.com"],
                )
            )
serve("canaille", BASE_URL, Verifier(), WSGIMiddleware(app), ["openid", "profile"])
