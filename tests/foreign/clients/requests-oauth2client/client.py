"""PyPI's requests-oauth2client with DPoP at the example server: sign-in, a request, a refresh, and requests that must be refused."""
import re
import sys
from urllib.parse import urljoin

import requests
from requests_oauth2client import DPoPKey, DPoPToken, OAuth2Client, OAuth2Error

ENDPOINT, ALGORITHM = sys.argv[1:]
REDIRECT = "http://127.0.0.1:49152/callback"
MESSAGE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "requests", "version": "0"}},
}
HEADERS = {"Accept": "application/json, text/event-stream"}


def check(what, condition, found=None):
    if not condition:
        sys.exit(f"{what}: {found}")
    print(f"ok {what}")


def sign_in(url):
    """The person and the browser."""
    session = requests.Session()
    token = re.search(r'name="form_token" value="([^"]+)"', session.get(url).text).group(1)
    form = {"form_token": token, "user": "ada", "decision": "allow"}
    answer = session.post(urljoin(ENDPOINT, "/consent"), data=form, allow_redirects=False)
    return answer.headers["Location"]


def send(token):
    return requests.post(ENDPOINT, json=MESSAGE, headers=HEADERS, auth=token)


def refused(what, attempt, expected):
    try:
        found = attempt().headers.get("WWW-Authenticate", "")
    except OAuth2Error as error:
        found = error.error
    check(what, expected in found, found)


resource = requests.get(urljoin(ENDPOINT, "/.well-known/oauth-protected-resource/mcp")).json()
metadata = requests.get(urljoin(ENDPOINT, "/.well-known/oauth-authorization-server")).json()
check("metadata", ALGORITHM in metadata["dpop_signing_alg_values_supported"], metadata)
registration = {
    "client_name": "requests-oauth2client", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
}
client_id = requests.post(metadata["registration_endpoint"], json=registration).json()["client_id"]
client = OAuth2Client(
    metadata["token_endpoint"], client_id=client_id, redirect_uri=REDIRECT, issuer=metadata["issuer"],
    authorization_endpoint=metadata["authorization_endpoint"], authorization_response_iss_parameter_supported=True,
    dpop_bound_access_tokens=True, dpop_alg=ALGORITHM, testing=True,
)
request = client.authorization_request(scope="profile", resource=resource["resource"])
check("dpop_jkt", "dpop_jkt=" in str(request), str(request))
response = request.validate_callback(sign_in(str(request)))
token = client.authorization_code(response, resource=resource["resource"])
check("token", isinstance(token, DPoPToken), token)
for attempt in ("request", "second request"):
    answer = send(token)
    check(attempt, answer.status_code == 200 and "serverInfo" in answer.text, answer.headers)
token = client.refresh_token(token, resource=resource["resource"])
check("refresh", isinstance(token, DPoPToken) and send(token).status_code == 200, token)

thief = DPoPToken(token.access_token, _dpop_key=DPoPKey.generate(ALGORITHM))
refused("another key", lambda: send(thief), "invalid_token")
bearer = {**HEADERS, "Authorization": f"Bearer {token.access_token}"}
refused("bearer", lambda: requests.post(ENDPOINT, json=MESSAGE, headers=bearer), "invalid_token")
stolen = {"grant_type": "refresh_token", "refresh_token": token.refresh_token, "client_id": client_id}
answer = requests.post(metadata["token_endpoint"], data={**stolen, "resource": resource["resource"]}).json()
check("refresh without a proof", answer.get("error") == "invalid_grant", answer)
