"""django-oauth-toolkit with dynamic registration, mounted at /o/ as its guide has it, and an MCP server beside it."""

import os
from pathlib import Path

import django
from django.conf import settings

BASE_URL = os.environ["BASE_URL"].rstrip("/")
STATE = Path(os.environ["STATE_DIR"])
HERE = Path(__file__).parent

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    SECRET_KEY="for tests only",
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": STATE / "django.sqlite3",
            # Refreshes of three processes at a time; writers wait in line instead of failing.
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [HERE / "templates"],
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    # Hundreds of thousands of rounds take their time, and nobody is protected by them here.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    LOGIN_URL="/accounts/login/",
    OAUTH2_PROVIDER={
        "SCOPES": {"user": "who you are"},
        "DEFAULT_SCOPES": ["user"],
        "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ.get("TOKEN_TTL", "3600")),
        "DCR_ENABLED": True,
        "DCR_REGISTRATION_PERMISSION_CLASSES": ("oauth2_provider.dcr.AllowAllDCRPermission",),
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
    },
)
django.setup()

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.views import LoginView
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.urls import include, path
from mcp.server.auth.provider import AccessToken
from oauth2_provider.models import get_access_token_model
from oauth2_provider.urls import metadata_urlpatterns
from resource_server import serve

urlpatterns = [
    path("accounts/login/", LoginView.as_view(template_name="login.html")),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("", include((metadata_urlpatterns, "oauth2_metadata"))),
]


class Verifier:
    @sync_to_async
    def find(self, token):
        return get_access_token_model().objects.select_related("application", "user").filter(token=token).first()

    async def verify_token(self, token):
        found = await self.find(token)
        if found is None or not found.is_valid(["user"]):
            return None
        return AccessToken(
            token=token,
            client_id=found.application.client_id,
            scopes=found.scope.split(),
            expires_at=int(found.expires.timestamp()),
            subject=found.user.username,
        )


call_command("migrate", verbosity=0)
users = get_user_model().objects
if not users.exists():
    users.create_user("ada", password="correct horse battery staple")
serve("django-oauth-toolkit", f"{BASE_URL}/o", Verifier(), get_asgi_application(), ["user"])
