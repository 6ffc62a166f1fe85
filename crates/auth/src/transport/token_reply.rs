//! Token responses (RFC 6749 §5.1), normalised.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Request, StatusCode};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::transport::WholeAnswer;
use crate::transport::error_body::{OAuthErrorBody, words_in};
use mcp_bridge_net::http::json::{self, NotJson};

/// The answer of a token endpoint in the shape of RFC 6749 §5, whatever shape the provider chose: forms
/// instead of JSON, errors with status 200, numbers as strings, errors that are no JSON.
///
/// An error answer that repeats a secret of the request (`sent`, a form) comes out without it, because
/// errors are shown.
pub(crate) fn standard_form(answer: WholeAnswer, sent: &[u8]) -> oauth2::HttpResponse {
    let WholeAnswer { status, body } = answer;
    let members = members(&body);
    let has_failed = match &members {
        Some(members) => is_error(members),
        None => false,
    };
    let (status, body) = match members {
        Some(mut members) if status.is_success() && !has_failed => {
            normalize(&mut members);
            (
                StatusCode::OK,
                Value::Object(members).to_string().into_bytes(),
            )
        }
        None if status.is_success() => (StatusCode::OK, body),
        members => {
            let error = members.and_then(|members| OAuthErrorBody::standard(&members));
            let error = error.unwrap_or_else(|| OAuthErrorBody::read(status, &body));
            let status = if status.is_success() {
                StatusCode::BAD_REQUEST
            } else {
                status
            };
            (status, error_form(error, sent))
        }
    };
    let mut response = oauth2::HttpResponse::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The form of a request, with the client's secret in it also where that is in the `Authorization` header
/// (RFC 6749 §2.3.1): what [`standard_form`] takes out of the answer.
pub(crate) fn sent_form(request: &Request) -> Vec<u8> {
    let body = request.body().and_then(Body::as_bytes);
    let mut form = body.map(<[u8]>::to_vec).unwrap_or_default();
    let header = request.headers().get(AUTHORIZATION);
    let credentials = header.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let decoded = credentials.and_then(|credentials| BASE64_STANDARD.decode(credentials).ok());
    let (Some(credentials), Some(decoded)) = (credentials, decoded) else {
        return form;
    };
    // The secret is encoded as in a form already.
    if let Some(secret) = decoded.splitn(2, |byte| *byte == b':').nth(1) {
        form.extend_from_slice(b"&client_secret=");
        form.extend_from_slice(secret);
    }
    form.extend_from_slice(b"&client_secret=");
    form.extend(form_urlencoded::byte_serialize(credentials.as_bytes()).flat_map(str::bytes));
    form
}

/// Defect of an answer that has a status of success and brings nothing. It may hold a token in a place
/// of its own, so only what is meant for people is repeated.
pub(crate) fn without_token(answer: &Result<Value, NotJson>) -> String {
    match answer {
        Err(error) => format!("its answer cannot be used: {error}"),
        Ok(value) => match words_in(value) {
            Some(words) => format!("its answer lacks what was asked for, and says: {words}"),
            None => "its answer lacks what was asked for".to_owned(),
        },
    }
}

/// A refusal that came with a status of success.
fn is_error(members: &Map<String, Value>) -> bool {
    !members.contains_key("access_token") && OAuthErrorBody::standard(members).is_some()
}

/// RFC 6749 §5.2. An error without a code gets an empty one.
fn error_form(error: OAuthErrorBody, sent: &[u8]) -> Vec<u8> {
    let mut members = Map::new();
    members.insert("error".into(), error.code.unwrap_or_default().into());
    if let Some(description) = error.description {
        members.insert("error_description".into(), description.into());
    }
    redact(&mut members, sent);
    Value::Object(members).to_string().into_bytes()
}

/// Takes what was secret in the request out of the texts of the answer.
///
/// An error code decides what is done next, so one that is made of words stays, whatever the secrets are; and a short
/// secret may be a word that anybody writes.
fn redact(members: &mut Map<String, Value>, sent: &[u8]) {
    /// Limit for the length of a secret that is looked for, in bytes.
    const SHORTEST: usize = 8;
    const SECRET: [&str; 9] = [
        "assertion",
        "subject_token",
        "code",
        "code_verifier",
        "token",
        "refresh_token",
        "client_secret",
        "client_assertion",
        "device_code",
    ];
    for pair in sent.split(|byte| *byte == b'&') {
        let Some((name, value)) = form_urlencoded::parse(pair).next() else {
            continue;
        };
        if !SECRET.contains(&&*name) || value.len() < SHORTEST {
            continue;
        }
        take_out(members, &value);
        // As it was sent, too: some servers repeat the whole form.
        let encoded = pair.splitn(2, |byte| *byte == b'=').nth(1);
        let encoded = encoded.and_then(|encoded| std::str::from_utf8(encoded).ok());
        if let Some(encoded) = encoded.filter(|encoded| *encoded != value) {
            take_out(members, encoded);
        }
    }
}

/// Takes one secret out of all texts but error codes.
fn take_out(members: &mut Map<String, Value>, secret: &str) {
    for (name, text) in members.iter_mut() {
        if let Value::String(text) = text
            && !(name == "error" && is_code(text))
        {
            *text = text.replace(secret, "REDACTED");
            redact_cut_off(text, secret);
        }
    }
}

/// Tells whether an error code is made of words, as all registered ones are (RFC 6749 §5.2, RFC 8628 §3.5).
fn is_code(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The same for a secret whose end was cut off together with the text.
fn redact_cut_off(text: &mut String, secret: &str) {
    /// A shorter beginning may be any word.
    const SHORTEST: usize = 4;
    let Some(head) = text.strip_suffix('…') else {
        return;
    };
    let is_beginning =
        |&length: &usize| secret.is_char_boundary(length) && head.ends_with(&secret[..length]);
    let longest = secret.len().min(head.len());
    if let Some(length) = (SHORTEST..=longest).rev().find(is_beginning) {
        *text = format!("{}REDACTED…", &head[..head.len() - length]);
    }
}

/// The members of a JSON object, or of a form that has one of the members we look for.
fn members(body: &[u8]) -> Option<Map<String, Value>> {
    if let Ok(Value::Object(members)) = json::parse(body) {
        return Some(members);
    }
    // A web page may have `&error=` in a link.
    if body.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let form: Map<String, Value> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    (form.contains_key("access_token") || form.contains_key("error")).then_some(form)
}

fn normalize(members: &mut Map<String, Value>) {
    if !members
        .get("token_type")
        .and_then(Value::as_str)
        .is_some_and(is_no_bearer)
    {
        members.insert("token_type".into(), "bearer".into());
    }
    // A lifetime of nothing is no information: the token is tried, and the server's refusal tells.
    for name in ["expires_in", "interval"] {
        let seconds = members.get(name).and_then(json::as_seconds);
        match seconds.filter(|&seconds| seconds > 0) {
            Some(seconds) => members.insert(name.into(), seconds.into()),
            None => members.remove(name),
        };
    }
    if members.contains_key("device_code") && !members.contains_key("expires_in") {
        members.insert("expires_in".into(), DEVICE_CODE_LIFETIME.as_secs().into());
    }
    if let Some(scopes) = members.get("scope").and_then(json::as_words) {
        members.insert("scope".into(), scopes.join(" ").into());
    }
    for name in TEXTS {
        match members.get(name).and_then(json::as_text) {
            Some(text) => members.insert(name.into(), text.into()),
            None => members.remove(name),
        };
    }
}

/// Members that are texts; an empty one counts as absent.
const TEXTS: [&str; 10] = [
    "access_token",
    "issued_token_type",
    "refresh_token",
    "id_token",
    "scope",
    "device_code",
    "user_code",
    "verification_uri",
    "verification_url",
    "verification_uri_complete",
];

/// Lifetime of device codes where the answer lacks it.
const DEVICE_CODE_LIFETIME: Duration = Duration::from_secs(300);

/// True if tokens of this type cannot be sent as RFC 6750 has it. Any other name is one of the provider's own for
/// a bearer token (Slack: `user`).
fn is_no_bearer(token_type: &str) -> bool {
    // RFC 9449, draft-ietf-oauth-v2-http-mac, draft-ietf-oauth-pop-architecture, RFC 8693 §2.2.1
    const OTHERS: [&str; 4] = ["dpop", "mac", "pop", "n_a"];
    OTHERS
        .iter()
        .any(|other| token_type.trim().eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normalized(status: u16, body: &str) -> (u16, Value) {
        let answer = WholeAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.into(),
        };
        let response = standard_form(
            answer,
            b"code=code%2B001&client_id=me&refresh_token=&client_secret=grant",
        );
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        (response.status().as_u16(), body)
    }

    /// X-143
    #[test]
    fn an_error_that_repeats_a_secret_of_the_request_comes_out_without_it() {
        let (_, error) = normalized(
            400,
            r#"{"error":"invalid_grant","error_description":"code+001 of me"}"#,
        );
        assert_eq!(error["error_description"], "REDACTED of me");
    }

    /// X-143
    #[test]
    fn a_secret_is_taken_out_also_where_it_is_encoded_or_came_in_a_header() {
        // "me" and "s3cret+/word", encoded (RFC 6749 §2.3.1).
        let credentials = BASE64_STANDARD.encode("me:s3cret%2B%2Fword");
        let url = "https://as.example/token".parse().unwrap();
        let mut request = Request::new(reqwest::Method::POST, url);
        let value = HeaderValue::try_from(format!("Basic {credentials}")).unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
        *request.body_mut() = Some("grant_type=authorization_code&code=4%2F0AbCdEfGh".into());
        for repeated in [
            "4/0AbCdEfGh",
            "4%2F0AbCdEfGh",
            "s3cret+/word",
            "s3cret%2B%2Fword",
            &credentials,
        ] {
            let error = json!({ "error": "invalid_client", "error_description": format!("no {repeated}!") });
            let answer = WholeAnswer {
                status: StatusCode::UNAUTHORIZED,
                body: error.to_string().into_bytes(),
            };
            let response = standard_form(answer, &sent_form(&request));
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["error"], "invalid_client");
            assert_eq!(body["error_description"], "no REDACTED!", "{repeated}");
        }
    }

    #[test]
    fn an_error_code_stays_as_it_is_unless_it_is_no_word() {
        let code = |sent: &str, code: &str| {
            let answer = WholeAnswer {
                status: StatusCode::BAD_REQUEST,
                body: json!({ "error": code }).to_string().into_bytes(),
            };
            let response = standard_form(answer, sent.as_bytes());
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            body["error"].as_str().unwrap().to_owned()
        };
        for secret in [
            "grant",
            "invalid_grant",
            "_",
            "unauthorized_client",
            "client",
        ] {
            let sent = format!("client_secret={secret}");
            for known in ["invalid_grant", "unauthorized_client", "expired_token"] {
                assert_eq!(code(&sent, known), known, "{secret}");
            }
        }
        let sent = "client_secret=s3cretS3cret";
        assert_eq!(code(sent, "bad s3cretS3cret"), "bad REDACTED");
        assert_eq!(code("client_secret=s3", "code_s3"), "code_s3");
    }

    #[test]
    fn a_secret_that_was_cut_off_with_the_text_comes_out_too() {
        let secret = "0123456789abcdef".repeat(60);
        let answer = WholeAnswer {
            status: StatusCode::BAD_REQUEST,
            body: format!("the refresh token {secret} is unknown").into(),
        };
        let sent = format!("refresh_token={secret}");
        let response = standard_form(answer, sent.as_bytes());
        let text = String::from_utf8_lossy(response.body()).into_owned();
        assert!(
            text.contains("REDACTED…") && !text.contains("0123"),
            "{text}"
        );
    }

    #[test]
    fn a_link_in_a_web_page_is_no_error_of_oauth() {
        let page = "<a href=\"/login?x=1&error=portal&y\">sign in to the network</a>";
        assert_eq!(normalized(200, page).0, 200);
    }

    /// A-52, X-127
    #[test]
    fn token_answers_of_every_shape_come_out_in_one() {
        let check = |status, body: &str, expected_status, expected: Value| {
            assert_eq!(
                normalized(status, body),
                (expected_status, expected),
                "{body}"
            );
        };
        check(
            200,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"3600"}"#,
            200,
            json!({"access_token":"a","token_type":"bearer","expires_in":3600}),
        );
        check(
            201,
            r#"{"access_token":"a","expires_in":12.9,"refresh_token":null,"scope":["x","y"]}"#,
            200,
            json!({"access_token":"a","token_type":"bearer","expires_in":12,"scope":"x y"}),
        );
        for useless in ["-5", "0", "null", "\"soon\"", "{}"] {
            check(
                200,
                &format!(r#"{{"access_token":"a","token_type":"b","expires_in":{useless}}}"#),
                200,
                json!({"access_token":"a","token_type":"bearer"}),
            );
        }
        let (_, huge) = normalized(200, r#"{"access_token":"a","expires_in":1e300}"#);
        assert_eq!(huge["expires_in"], u64::MAX);
        check(
            200,
            "access_token=a&scope=x%20y&token_type=bearer",
            200,
            json!({"access_token":"a","scope":"x y","token_type":"bearer"}),
        );
        check(
            200,
            r#"{"error":"bad_code"}"#,
            400,
            json!({"error":"bad_code"}),
        );
        check(200, "error=bad_code", 400, json!({"error":"bad_code"}));
        check(
            401,
            r#"{"error":"invalid_client"}"#,
            401,
            json!({"error":"invalid_client"}),
        );
        check(200, "<html>", 200, Value::Null);
        check(204, "", 200, Value::Null);
        check(
            404,
            "no code+001 here",
            404,
            json!({"error":"","error_description":"404 Not Found: no REDACTED here"}),
        );
        check(
            200,
            r#"{"device_code":7,"user_code":"u","verification_uri":"v","verification_uri_complete":"",
                "expires_in":null,"interval":"3"}"#,
            200,
            json!({"device_code":"7","user_code":"u","verification_uri":"v","expires_in":300,
                "interval":3,"token_type":"bearer"}),
        );
    }

    #[test]
    fn every_token_type_but_the_known_others_is_bearer() {
        for (told, expected) in [
            (json!(null), "bearer"),
            (json!(""), "bearer"),
            (json!("BEARER"), "bearer"),
            (json!("user"), "bearer"),
            (json!("Bearer token"), "bearer"),
            (json!(1), "bearer"),
            (json!("DPoP"), "DPoP"),
            (json!("mac"), "mac"),
        ] {
            let body = json!({"access_token":"a","token_type":told}).to_string();
            assert_eq!(normalized(200, &body).1["token_type"], expected, "{body}");
        }
    }

    #[test]
    fn an_answer_without_a_token_is_described_without_a_position() {
        let check = |body: &str, expected: &str| {
            assert_eq!(without_token(&json::parse(body.as_bytes())), expected);
        };
        check(" ", "its answer cannot be used: it is empty");
        check(
            "<html>",
            "its answer cannot be used: it is a web page, not JSON",
        );
        check("access", "its answer cannot be used: it is not JSON");
        check(
            r#"{"token":"secret"}"#,
            "its answer lacks what was asked for",
        );
        check(
            r#"{"code":401,"msg":"bad code"}"#,
            "its answer lacks what was asked for, and says: bad code",
        );
    }
}
