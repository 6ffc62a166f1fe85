//! Endpoints of the authorization server: metadata, registration, authorization, tokens, revocation, device authorization.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::client_authentication::refused;
use super::{Audience, Authentication, Client, Device, Grant, Grants, Inner, Seen, Targets};

impl Inner {
    pub(super) fn server_metadata(&self, origin: &str) -> Response {
        let document = json!({
            "issuer": origin,
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": true,
        });
        let mut document = document;
        if self.behaviour.dpop.is_some() {
            document["dpop_signing_alg_values_supported"] = json!(["ES256"]);
        }
        if self.behaviour.audience == Audience::Introspected {
            document["introspection_endpoint"] = format!("{origin}/introspect").into();
        }
        axum::Json(changed(document, &self.behaviour.server_metadata)).into_response()
    }

    pub(super) fn register(&mut self, seen: &Seen) -> Response {
        if let Some(status) = self.behaviour.registration_status {
            let body = axum::Json(self.behaviour.registration_reply.clone());
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        let request: Value = serde_json::from_str(&seen.body).unwrap();
        let method = request["token_endpoint_auth_method"].as_str().unwrap();
        if self.behaviour.registers_no_public_client && method == "none" {
            let error = json!({ "error": "invalid_client_metadata" });
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
        let id = self.fresh("client");
        let secret = (method != "none").then(|| self.fresh("secret"));
        let uris: Vec<String> = serde_json::from_value(request["redirect_uris"].clone()).unwrap();
        let mut reply = request.clone();
        reply["client_id"] = id.clone().into();
        if let Some(secret) = &secret {
            reply["client_secret"] = secret.clone().into();
        }
        let client = Client {
            secret: secret.or_else(|| {
                let given = self.behaviour.registration_reply.get("client_secret");
                let given = given.and_then(Value::as_str).map(str::to_owned);
                given.filter(|secret| !secret.is_empty())
            }),
            redirect_uris: uris,
            method: method.to_owned(),
            grant_types: serde_json::from_value(request["grant_types"].clone()).ok(),
        };
        self.clients.insert(id, client);
        let reply = changed(reply, &self.behaviour.registration_reply);
        (StatusCode::CREATED, axum::Json(reply)).into_response()
    }

    pub(super) fn authorize(&mut self, origin: &str, seen: &Seen) -> Response {
        let query = |name: &str| seen.query.get(name).cloned().unwrap_or_default();
        let client_id = query("client_id");
        let redirect_uri = query("redirect_uri");
        let known = self.clients.get(&client_id);
        if !known.is_some_and(|client| client.redirect_uris.contains(&redirect_uri)) {
            if let Some(page) = &self.behaviour.forgotten_client_page {
                return Redirect::to(page).into_response();
            }
            let status = StatusCode::from_u16(self.behaviour.forgotten_client_status).unwrap();
            return (status, "unknown client or redirect URI").into_response();
        }
        assert_eq!(query("response_type"), "code");
        assert_eq!(query("code_challenge_method"), "S256");
        assert!(query("state").len() >= 22, "128 bit of state");
        let mut answer = json!({ "state": query("state"), "iss": origin });
        if self.behaviour.refuses_resource && seen.query.contains_key("resource") {
            answer["error"] = "invalid_target".into();
        } else if self.has_unknown_scope(&query("scope")) {
            answer["error"] = "invalid_scope".into();
        } else {
            let code = self.fresh("code");
            let grant = Grant {
                client_id,
                redirect_uri: redirect_uri.clone(),
                challenge: query("code_challenge"),
                resource: seen.resources.first().cloned(),
                named: seen.resources.clone(),
                scope: query("scope"),
                key: seen.query.get("dpop_jkt").cloned(),
            };
            self.codes.insert(code.clone(), grant);
            answer["code"] = code.into();
        }
        let answer = changed(answer, &self.behaviour.authorization_response);
        let mut target = Url::parse(&redirect_uri).unwrap();
        for (name, value) in answer.as_object().unwrap() {
            target
                .query_pairs_mut()
                .append_pair(name, value.as_str().unwrap());
        }
        Redirect::to(target.as_str()).into_response()
    }

    pub(super) fn has_unknown_scope(&self, scope: &str) -> bool {
        let Some(known) = &self.behaviour.known_scopes else {
            return false;
        };
        scope
            .split_whitespace()
            .any(|scope| !known.iter().any(|known| known == scope))
    }

    pub(super) fn token(&mut self, origin: &str, seen: &Seen) -> Response {
        let scripted = match &self.behaviour.token_outage {
            Some(reply) => Some(reply.clone()),
            None if self.behaviour.token_replies.is_empty() => None,
            None => Some(self.behaviour.token_replies.remove(0)),
        };
        if let Some(reply) = scripted {
            let mut response = (
                StatusCode::from_u16(reply.status).unwrap(),
                [(header::CONTENT_TYPE, reply.content_type)],
                reply.body,
            )
                .into_response();
            for (name, value) in reply.headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            return response;
        }
        let error = |status: u16, code: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, axum::Json(json!({ "error": code }))).into_response()
        };
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal) => {
                if self.behaviour.loses_codes_of_refused_clients {
                    self.codes.clear();
                }
                return *refusal;
            }
        };
        if !self.is_registered_for(&client_id, &seen.form["grant_type"]) {
            return error(400, "unauthorized_client");
        }
        if self.behaviour.refuses_resource && seen.form.contains_key("resource") {
            return error(400, "invalid_target");
        }
        let key = match self.proven_key(origin, seen) {
            Ok(key) => key,
            Err(refusal) => return *refusal,
        };
        let form = |name: &str| seen.form.get(name).cloned().unwrap_or_default();
        let grant = match form("grant_type").as_str() {
            "authorization_code" => self.codes.remove(&form("code")).filter(|grant| {
                let digest = Sha256::digest(form("code_verifier"));
                grant.challenge == BASE64_URL_SAFE_NO_PAD.encode(digest)
                    && grant.redirect_uri == form("redirect_uri")
                    && is_named(grant, seen)
                    && (grant.key.is_none() || grant.key == key)
            }),
            "refresh_token" => {
                let used = form("refresh_token");
                // A second use is theft: the family ends (RFC 9700 §4.14.2).
                if self.used_refresh_tokens.contains(&used) {
                    self.refresh_tokens.clear();
                    self.access_tokens.clear();
                    return error(400, "invalid_grant");
                }
                // Refresh tokens of public clients are bound, too (RFC 9449 §5).
                let is_theirs = |grant: &Grant| grant.key.is_none() || grant.key == key;
                if !self.refresh_tokens.get(&used).is_some_and(is_theirs) {
                    return error(400, "invalid_grant");
                }
                if let Some(code) = self.refused_target(&self.refresh_tokens[&used], seen) {
                    return error(400, code);
                }
                match self.behaviour.grants {
                    Grants::ReusableRefreshTokens => self.refresh_tokens.get(&used).cloned(),
                    Grants::RotatingRefreshTokens | Grants::AccessTokensOnly => {
                        self.used_refresh_tokens.insert(used.clone());
                        self.refresh_tokens.remove(&used)
                    }
                }
            }
            "urn:ietf:params:oauth:grant-type:device_code" => match self.behaviour.device {
                Device::Waiting => return error(400, "authorization_pending"),
                Device::Refused => return error(400, "access_denied"),
                Device::Approved => self.codes.remove(&form("device_code")),
            },
            "client_credentials" => Some(Grant {
                client_id: client_id.clone(),
                redirect_uri: String::new(),
                challenge: String::new(),
                resource: seen.form.get("resource").cloned(),
                named: Vec::new(),
                scope: form("scope"),
                key: None,
            }),
            _ => return error(400, "unsupported_grant_type"),
        };
        let Some(mut grant) = grant.filter(|grant| grant.client_id == client_id) else {
            return error(400, "invalid_grant");
        };
        grant.resource = seen.form.get("resource").cloned().or(grant.resource);
        let issues_bearer = self
            .behaviour
            .dpop
            .as_ref()
            .is_some_and(|it| it.issues_bearer);
        grant.key = key.filter(|_| !issues_bearer);
        axum::Json(self.issue(grant)).into_response()
    }

    /// RFC 7009 §2
    pub(super) fn revoke(&mut self, seen: &Seen) -> Response {
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal) => return *refusal,
        };
        let is_python = self.behaviour.authentication == Authentication::LikePythonSdk;
        if is_python && !seen.form.contains_key("client_secret") {
            return refused(400, "invalid_request", "client_secret: Field required");
        }
        let token = &seen.form["token"];
        let is_theirs = |grant: &Grant| grant.client_id == client_id;
        if self.refresh_tokens.get(token).is_some_and(is_theirs) {
            self.refresh_tokens.remove(token);
            self.access_tokens
                .retain(|_, (grant, _)| grant.client_id != client_id);
        }
        StatusCode::OK.into_response()
    }

    /// The error of a refresh for another server, if the refresh token is not good there.
    fn refused_target(&self, grant: &Grant, seen: &Seen) -> Option<&'static str> {
        let asked = seen.form.get("resource")?;
        let scope = seen.form.get("scope").map(String::as_str);
        let granted: Vec<_> = grant.scope.split(' ').collect();
        let lacks_scope = || {
            let mut asked = scope.unwrap_or_default().split_whitespace();
            asked.any(|scope| !granted.contains(&scope))
        };
        match self.behaviour.targets {
            Targets::Any => None,
            Targets::Named if !grant.named.contains(asked) => Some("invalid_target"),
            Targets::Named => lacks_scope().then_some("invalid_scope"),
            Targets::One => (grant.resource.as_ref() != Some(asked)).then_some("invalid_target"),
        }
    }

    /// RFC 7662 §2
    pub(super) fn introspect(&mut self, seen: &Seen) -> Response {
        if let Err(refusal) = self.authenticated(seen) {
            return *refusal;
        }
        let known = self.access_tokens.get(&seen.form["token"]);
        axum::Json(match known {
            Some((grant, _)) => json!({ "active": true, "aud": grant.resource }),
            None => json!({ "active": false }),
        })
        .into_response()
    }

    /// RFC 8628 §3.2
    pub(super) fn device(&mut self, origin: &str, seen: &Seen) -> Response {
        let client_id = match self.authenticated(seen) {
            Ok(id) => id,
            Err(refusal) => return *refusal,
        };
        if !self.is_registered_for(&client_id, "urn:ietf:params:oauth:grant-type:device_code") {
            let words = "device_code is not allowed for this client";
            return refused(400, "invalid_request", words);
        }
        let code = self.fresh("device");
        let grant = Grant {
            client_id,
            redirect_uri: String::new(),
            challenge: "device".into(),
            resource: seen.form.get("resource").cloned(),
            named: Vec::new(),
            scope: seen.form.get("scope").cloned().unwrap_or_default(),
            key: None,
        };
        self.codes.insert(code.clone(), grant);
        axum::Json(json!({
            "device_code": code,
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{origin}/activate"),
            "expires_in": 60,
            "interval": 1,
        }))
        .into_response()
    }

    pub(super) fn issue(&mut self, mut grant: Grant) -> Value {
        if let Some(granted) = &self.behaviour.granted_scope {
            grant.scope.clone_from(granted);
        }
        let mut access_token = self.fresh("access");
        if let Some(audience) = self.audience_claim(&grant) {
            let claims = json!({ "aud": audience, "jti": access_token }).to_string();
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            access_token = format!("e30.{claims}.unsigned");
        }
        let token_type = grant.key.as_ref().map_or("Bearer", |_| "DPoP");
        let mut reply = json!({ "access_token": access_token, "token_type": token_type });
        if let Some(user) = &self.behaviour.user {
            let claims = json!({ "sub": "17", "email": user }).to_string();
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            reply["id_token"] = format!("e30.{claims}.unsigned").into();
        }
        if !grant.scope.is_empty() {
            reply["scope"] = grant.scope.clone().into();
        }
        if let Some(seconds) = self.behaviour.token_lifetime {
            reply["expires_in"] = seconds.into();
        }
        if self.behaviour.grants != Grants::AccessTokensOnly && !grant.challenge.is_empty() {
            let refresh_token = self.fresh("refresh");
            reply["refresh_token"] = refresh_token.clone().into();
            self.refresh_tokens.insert(refresh_token, grant.clone());
        }
        self.access_tokens
            .insert(access_token, (grant, std::time::Instant::now()));
        reply
    }

    /// The `aud` claim of a token; none if it is no JWT.
    fn audience_claim(&self, grant: &Grant) -> Option<Value> {
        match &self.behaviour.audience {
            Audience::Unsaid | Audience::Introspected => None,
            Audience::Jwt => Some(json!(grant.resource)),
            Audience::Fixed(audience) => Some(json!(audience)),
        }
    }

    pub(super) fn is_registered_for(&self, client_id: &str, grant_type: &str) -> bool {
        let client = self.clients.get(client_id);
        let registered = client.and_then(|client| client.grant_types.as_ref());
        registered.is_none_or(|grants| grants.iter().any(|grant| grant == grant_type))
    }

    pub(super) fn fresh(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}-MARKER-{}", self.counter)
    }
}

/// True if the token request is for a server that the authorization request has named.
fn is_named(grant: &Grant, seen: &Seen) -> bool {
    match seen.form.get("resource") {
        Some(asked) => grant.named.contains(asked),
        None => grant.named.is_empty(),
    }
}

/// `document` with the members of `change`; null removes one.
pub(super) fn changed(mut document: Value, change: &Value) -> Value {
    let members = document.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    document
}
