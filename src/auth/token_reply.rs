//! The answers of token endpoints, in one shape.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

use super::transport::Answer;

/// The answer of a token endpoint in the shape of RFC 6749 §5, whatever shape the provider chose: forms
/// instead of JSON, errors with status 200, numbers as strings.
///
/// An error answer that repeats a secret of the request (`sent`, a form) comes out without it, because
/// errors are shown.
pub(super) fn standard_form(answer: Answer, sent: &[u8]) -> oauth2::HttpResponse {
    let mut response = oauth2::HttpResponse::new(answer.body);
    *response.status_mut() = answer.status;
    let Some(mut members) = members(response.body()) else {
        if !answer.status.is_success() {
            let error =
                serde_json::json!({ "error": "", "error_description": answer.status.to_string() });
            *response.body_mut() = error.to_string().into_bytes();
        }
        return response;
    };
    let is_error = members.contains_key("error") && !members.contains_key("access_token");
    if answer.status.is_success() && !is_error {
        *response.status_mut() = StatusCode::OK;
        normalize(&mut members);
    } else {
        if answer.status.is_success() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        redact(&mut members, sent);
        if !members.get("error").is_some_and(Value::is_string) {
            members.insert("error".into(), "".into());
        }
    }
    *response.body_mut() = Value::Object(members).to_string().into_bytes();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Takes what was secret in the request out of the texts of the answer.
fn redact(members: &mut Map<String, Value>, sent: &[u8]) {
    const SECRET: [&str; 7] = [
        "code",
        "code_verifier",
        "token",
        "refresh_token",
        "client_secret",
        "client_assertion",
        "device_code",
    ];
    for (name, value) in url::form_urlencoded::parse(sent) {
        if !SECRET.contains(&&*name) || value.is_empty() {
            continue;
        }
        for text in members.values_mut() {
            if let Value::String(text) = text {
                *text = text.replace(&*value, "REDACTED");
            }
        }
    }
}

/// The members of a JSON object, or of a form that has one of the members we look for.
fn members(body: &[u8]) -> Option<Map<String, Value>> {
    if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
        return Some(members);
    }
    let form: Map<String, Value> = url::form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    (form.contains_key("access_token") || form.contains_key("error")).then_some(form)
}

fn normalize(members: &mut Map<String, Value>) {
    if !members.contains_key("token_type") {
        members.insert("token_type".into(), "bearer".into());
    }
    match members.get("expires_in").and_then(seconds) {
        Some(seconds) => members.insert("expires_in".into(), seconds.into()),
        None => members.remove("expires_in"),
    };
    if let Some(Value::Array(scopes)) = members.get("scope") {
        let list: Vec<_> = scopes.iter().filter_map(Value::as_str).collect();
        let list = list.join(" ");
        members.insert("scope".into(), list.into());
    }
    for name in ["refresh_token", "id_token", "scope"] {
        let usable = members
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty());
        if !usable {
            members.remove(name);
        }
    }
}

/// A lifetime as number or numeric string. A lifetime of nothing or less is no information: the token is
/// tried, and the server's refusal tells.
fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive here, and the conversion clamps what is too large"
    )]
    (seconds >= 1.0).then_some(seconds.min(Duration::MAX.as_secs_f64()) as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normalized(status: u16, body: &str) -> (u16, Value) {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.into(),
        };
        let response = standard_form(answer, b"code=c%2B1&client_id=me&refresh_token=");
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        (response.status().as_u16(), body)
    }

    /// X-143
    #[test]
    fn an_error_that_repeats_a_secret_of_the_request_comes_out_without_it() {
        let (_, error) = normalized(
            400,
            r#"{"error":"invalid_grant","error_description":"c+1 of me"}"#,
        );
        assert_eq!(error["error_description"], "REDACTED of me");
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
            json!({"access_token":"a","token_type":"Bearer","expires_in":3600}),
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
                json!({"access_token":"a","token_type":"b"}),
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
    }
}
