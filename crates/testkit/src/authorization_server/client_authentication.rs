//! Client authentication at the token endpoint and its neighbours (RFC 6749 §2.3).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Authentication, Inner, Seen};

impl Inner {
    /// The client that a request proves to come from, by exactly one method.
    pub(super) fn authenticated(&self, seen: &Seen) -> Result<String, Box<Response>> {
        let invalid = |words: &str| Box::new(refused(401, "invalid_client", words));
        let mode = self.behaviour.authentication;
        let basic = seen.headers.get(header::AUTHORIZATION).map(basic_pair);
        let id = seen.form.get("client_id").cloned();
        let posted = seen.form.get("client_secret").cloned();
        if let Some(assertion) = seen.form.get("client_assertion") {
            return Ok(Self::vouched(assertion));
        }
        if mode == Authentication::LikePythonSdk {
            return self.authenticated_like_python(basic, id, posted);
        }
        if posted.is_some() && basic.is_some() {
            return Err(Box::new(refused(
                400,
                "invalid_request",
                "two methods at once",
            )));
        }
        match (mode, &basic) {
            (Authentication::OnlyPost, Some(_)) => return Err(invalid("not in the header")),
            (Authentication::OnlyBasic, None) => return Err(invalid("not in the body")),
            (Authentication::OnlyBasic, Some(_)) if id.is_some() => {
                return Err(Box::new(refused(
                    400,
                    "invalid_request",
                    "client_id is there twice",
                )));
            }
            _ => {}
        }
        let (id, secret) = match basic {
            Some((id, secret)) => (id, Some(secret)),
            None => (id.ok_or_else(|| invalid("no client"))?, posted),
        };
        let client = self.clients.get(&id).ok_or_else(|| invalid("unknown"))?;
        let is_right = match mode {
            Authentication::OnlyId => secret.is_none(),
            Authentication::OnlyConfidential => secret.is_some() && client.secret == secret,
            _ => client.secret == secret,
        };
        is_right.then_some(id).ok_or_else(|| invalid("not proven"))
    }

    /// `ClientAuthenticator` of the Python SDK.
    pub(super) fn authenticated_like_python(
        &self,
        basic: Option<(String, String)>,
        id: Option<String>,
        posted: Option<String>,
    ) -> Result<String, Box<Response>> {
        let unauthorized = |words: &str| Box::new(refused(401, "unauthorized_client", words));
        let id = id.ok_or_else(|| unauthorized("Missing client_id"))?;
        let client = self
            .clients
            .get(&id)
            .ok_or_else(|| unauthorized("Invalid client_id"))?;
        let secret = match client.method.as_str() {
            "client_secret_basic" => {
                let (named, secret) = basic.ok_or_else(|| {
                    unauthorized("Missing or invalid Basic authentication in Authorization header")
                })?;
                assert_eq!(named, id);
                Some(secret)
            }
            "client_secret_post" => posted,
            _ => None,
        };
        if client.secret.is_some() && client.secret != secret {
            return Err(unauthorized("Invalid client_secret"));
        }
        Ok(id)
    }

    /// The client that a signed statement speaks of. Its signature is checked where it is made.
    pub(super) fn vouched(assertion: &str) -> String {
        let claims = assertion.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["iss"], claims["sub"]);
        claims["sub"].as_str().unwrap().to_owned()
    }
}

/// An error response (RFC 6749 §5.2).
pub(super) fn refused(status: u16, code: &str, words: &str) -> Response {
    let error = json!({ "error": code, "error_description": words });
    let status = StatusCode::from_u16(status).unwrap();
    (status, axum::Json(error)).into_response()
}

/// Id and secret of an `Authorization: Basic` header (RFC 6749 §2.3.1).
pub(super) fn basic_pair(value: &HeaderValue) -> (String, String) {
    let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    let (id, secret) = pair.split_once(':').unwrap();
    let decode = |text: &str| -> String {
        url::form_urlencoded::parse(format!("x={text}").as_bytes())
            .next()
            .unwrap()
            .1
            .into_owned()
    };
    (decode(id), decode(secret))
}
