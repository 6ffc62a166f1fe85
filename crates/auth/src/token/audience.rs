//! Audience of an access token that is a JWT (RFC 9068 §2.2, RFC 7519 §4.1.3).
//!
//! A client has no business with the content of an access token, and nothing is granted because of it. It is read for one
//! purpose: to give a token up that is not for the server which it was asked for. Its signature does not matter for that, because
//! the token has come from its issuer by TLS, and whoever could lie in it could issue any other token as well.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The resources that `token` is for. None if it is no JWT, or does not say.
pub(crate) fn of_jwt(token: &str) -> Option<Vec<String>> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    object(header)?;
    match object(claims)?.remove("aud")? {
        Value::String(audience) => Some(vec![audience]),
        Value::Array(audiences) => audiences
            .into_iter()
            .map(|audience| match audience {
                Value::String(audience) => Some(audience),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.signature",
            encode(r#"{"alg":"RS256"}"#),
            encode(claims)
        )
    }

    /// A-151
    #[test]
    fn an_audience_is_a_text_or_a_list_of_texts() {
        let check = |claims: &str, expected: Option<&[&str]>| {
            let found = of_jwt(&token(claims));
            let expected = expected.map(|it| it.iter().map(|&it| it.to_owned()).collect());
            assert_eq!(found, expected, "{claims}");
        };
        check(r#"{"aud":"https://a/mcp"}"#, Some(&["https://a/mcp"]));
        check(r#"{"aud":["a","b"]}"#, Some(&["a", "b"]));
        check(r#"{"aud":[]}"#, Some(&[]));
        check(r#"{"aud":["a",1]}"#, None);
        check(r#"{"aud":17}"#, None);
        check(r#"{"sub":"a"}"#, None);
        check("[]", None);
    }

    /// A-151
    #[test]
    fn what_is_no_jwt_says_nothing() {
        let whole = token(r#"{"aud":"a"}"#);
        for text in ["", "opaque", "a.b.c", &format!("{whole}.more"), "e30.e30"] {
            assert_eq!(of_jwt(text), None, "{text}");
        }
    }
}
