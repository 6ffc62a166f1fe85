"""An authorization server built with Authlib on Flask, as Authlib's guide does it, with everything in memory.

Dynamic registration, authorization codes with PKCE, rotating refresh tokens, revocation.
"""

import os
import secrets
import time

# Plain HTTP, on loopback alone.
os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants, scope_to_list
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Flask, jsonify, request

METHODS = ["client_secret_basic", "client_secret_post", "none"]

PAGE = """<!doctype html><title>Sign in</title><p>{client} asks for access.</p>
<form method="post"><input name="username"><input name="password" type="password">
<button type="submit" name="answer" value="allow">Allow</button>
<button type="submit" name="answer" value="deny">Deny</button></form>"""


class Client(ClientMixin):
    def __init__(self, client_id, client_secret, metadata):
        self.client_id = client_id
        self.client_secret = client_secret
        self.method = metadata.get("token_endpoint_auth_method", "client_secret_basic")
        self.redirect_uris = metadata.get("redirect_uris", [])
        self.grant_types = metadata.get("grant_types", ["authorization_code"])
        self.name = metadata.get("client_name", client_id)
        self.scope = metadata.get("scope", "user")

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope):
        return " ".join(word for word in scope_to_list(scope or self.scope) if word in self.scope.split())

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret):
        return secrets.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type in self.grant_types


class Code:
    def __init__(self, code, request):
        self.code = code
        self.client_id = request.client.client_id
        self.user = request.user
        self.redirect_uri = request.payload.redirect_uri
        self.scope = request.payload.scope
        self.code_challenge = request.payload.data.get("code_challenge")
        self.code_challenge_method = request.payload.data.get("code_challenge_method")

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class Token(TokenMixin):
    def __init__(self, token, request):
        self.access_token = token["access_token"]
        self.refresh_token = token.get("refresh_token")
        self.scope = token.get("scope") or ""
        self.expires_in = token["expires_in"]
        self.expires_at = time.time() + token["expires_in"]
        self.client = request.client
        self.user = request.user
        self.revoked = False

    def check_client(self, client):
        return self.client.client_id == client.client_id

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return self.expires_in

    def is_expired(self):
        return self.expires_at < time.time()

    def is_revoked(self):
        return self.revoked

    def get_user(self):
        return self.user

    def get_client(self):
        return self.client


class Memory:
    def __init__(self):
        self.clients = {}
        self.codes = {}
        self.tokens = []

    def save_token(self, token, request):
        self.tokens.append(Token(token, request))

    def by_access_token(self, value):
        return next((token for token in self.tokens if token.access_token == value), None)

    def by_refresh_token(self, value):
        return next((token for token in self.tokens if token.refresh_token == value), None)


def create(issuer, seconds, prefix="", clients=()):
    """The Flask app and its memory. `prefix` is where the app is mounted; `clients` are registered beforehand."""
    memory = Memory()
    memory.clients.update({client.client_id: client for client in clients})

    class CodeGrant(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = METHODS

        def save_authorization_code(self, code, request):
            memory.codes[code] = Code(code, request)

        def query_authorization_code(self, code, client):
            found = memory.codes.get(code)
            return found if found and found.client_id == client.client_id else None

        def delete_authorization_code(self, authorization_code):
            memory.codes.pop(authorization_code.code, None)

        def authenticate_user(self, authorization_code):
            return authorization_code.user

    class RefreshGrant(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = METHODS
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token):
            found = memory.by_refresh_token(refresh_token)
            return found if found and not found.revoked else None

        def authenticate_user(self, refresh_token):
            return refresh_token.user

        def revoke_old_credential(self, refresh_token):
            refresh_token.revoked = True

    class Revocation(RevocationEndpoint):
        CLIENT_AUTH_METHODS = METHODS

        def query_token(self, token_string, token_type_hint):
            return memory.by_access_token(token_string) or memory.by_refresh_token(token_string)

        def revoke_token(self, token, request):
            token.revoked = True

    class Registration(ClientRegistrationEndpoint):
        def authenticate_token(self, request):
            return "anyone"

        def get_server_metadata(self):
            return metadata()

        def save_client(self, client_info, client_metadata, request):
            client = Client(client_info["client_id"], client_info["client_secret"], client_metadata)
            memory.clients[client.client_id] = client
            return client

    app = Flask(__name__)
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"authorization_code": seconds, "refresh_token": seconds}
    server = AuthorizationServer(app, query_client=memory.clients.get, save_token=memory.save_token)
    server.register_grant(CodeGrant, [CodeChallenge(required=True)])
    server.register_grant(RefreshGrant)
    server.register_endpoint(Revocation)
    server.register_endpoint(Registration)

    def metadata():
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}{prefix}/authorize",
            "token_endpoint": f"{issuer}{prefix}/token",
            "registration_endpoint": f"{issuer}{prefix}/register",
            "revocation_endpoint": f"{issuer}{prefix}/revoke",
            "scopes_supported": ["user"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": METHODS,
            "revocation_endpoint_auth_methods_supported": METHODS,
            "code_challenge_methods_supported": ["S256"],
        }

    @app.get("/.well-known/oauth-authorization-server")
    def well_known():
        return jsonify(metadata())

    @app.route("/authorize", methods=["GET", "POST"])
    def authorize():
        try:
            grant = server.get_consent_grant(end_user=None)
        except OAuth2Error as error:
            return f"{error.error}: {error.description}", error.status_code
        if request.method == "GET":
            return PAGE.format(client=grant.client.name)
        allowed = request.form.get("answer") != "deny" and request.form.get("password")
        user = request.form.get("username") if allowed else None
        return server.create_authorization_response(grant=grant, grant_user=user)

    @app.post("/token")
    def token():
        return server.create_token_response()

    @app.post("/revoke")
    def revoke():
        return server.create_endpoint_response(Revocation.ENDPOINT_NAME)

    @app.post("/register")
    def register():
        return server.create_endpoint_response(Registration.ENDPOINT_NAME)

    return app, memory
