//! Tokens printed by a program of the user's (`--auth-command`), like `kubectl` credential plugins. There is no
//! sign-in beside it, and nothing is stored.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::config::TokenCommand;
use crate::error::AuthError;
use crate::flow::program::{Printed, ProgramOutput, lifetime_in};
use crate::token::AccessToken;

/// The tokens of a program.
#[derive(Debug)]
pub(crate) struct CommandTokens(ProgramOutput<AccessToken>);

impl CommandTokens {
    pub(crate) fn new(command: TokenCommand) -> Self {
        Self(ProgramOutput::new(command, parse_output))
    }

    /// The token for the next request. Once it is about to end the program is run, and awaited for
    /// `patience`: if that brings nothing in time, the old token goes out.
    pub(crate) async fn token(&self, patience: Duration) -> Result<AccessToken, AuthError> {
        self.0.value(patience).await
    }

    /// Gets another token after a refusal.
    pub(crate) async fn replace(&self, refused: Option<AccessToken>) -> Result<(), AuthError> {
        let token = self.0.after_refusal(refused.clone()).await?;
        if refused.as_ref() == Some(&token) {
            let command = self.0.command();
            return Err(command.failed("the server refuses the token that it prints"));
        }
        Ok(())
    }
}

/// The token in what a program printed: the whole of it, or a member of a JSON object. A problem never
/// repeats it.
pub(crate) fn parse_output(output: &str, now: SystemTime) -> Result<Printed<AccessToken>, String> {
    let text = output.trim();
    if text.is_empty() {
        return Err("it printed nothing".into());
    }
    let (token, lifetime) = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => parse_object(object, now)?,
        Ok(Value::String(token)) => (token, None),
        Ok(_) | Err(_) => (text.to_owned(), None),
    };
    let value = AccessToken::new(token)
        .ok_or("it printed something that is no token: a single word or a JSON object is one")?;
    Ok(Printed { value, lifetime })
}

/// The names that programs give a token, the tool of Kubernetes, that of Azure and the service of GitHub Actions among them.
const TOKEN: [&str; 5] = ["token", "access_token", "accessToken", "id_token", "value"];

fn parse_object(
    object: Map<String, Value>,
    now: SystemTime,
) -> Result<(String, Option<Duration>), String> {
    // `client.authentication.k8s.io`, `ExecCredential`
    let object = match object.get("status") {
        Some(Value::Object(status)) => status.clone(),
        _ => object,
    };
    let token = TOKEN.iter().find_map(|name| object.get(*name)?.as_str());
    let token = token.ok_or("the JSON that it printed has no member token")?;
    Ok((token.to_owned(), lifetime_in(&object, "the token", now)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printed_alone_or_as_json() {
        // 2026-01-01T00:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let check = |output: &str, lifetime: Option<u64>| {
            let printed = parse_output(output, now).unwrap();
            assert_eq!(printed.value.expose(), "t0k", "{output}");
            assert_eq!(
                printed.lifetime,
                lifetime.map(Duration::from_secs),
                "{output}"
            );
        };
        check("t0k\n", None);
        check("\"t0k\"\n", None);
        check(r#"{"token":"t0k"}"#, None);
        check(
            r#"{"access_token":"t0k","expires_in":3600,"scope":"x"}"#,
            Some(3600),
        );
        check(r#"{"access_token":"t0k","expires_in":"60"}"#, Some(60));
        check(r#"{"token":"t0k","expires_at":1767225660}"#, Some(60));
        check(r#"{"token":"t0k","expires_at":1767225660000}"#, Some(60));
        check(
            r#"{"token":"t0k","expires_at":"2026-01-01T02:01:00+02:00"}"#,
            Some(60),
        );
        check(
            r#"{"accessToken":"t0k","expiresOn":"2026-01-01 01:00","expires_on":1767225601}"#,
            Some(1),
        );
        check(
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{},
                "status":{"token":"t0k","expirationTimestamp":"2026-01-01T00:00:10Z"}}"#,
            Some(10),
        );
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let now = SystemTime::now();
        for output in [
            "",
            "  \n",
            "hunter2 and more",
            r#"{"password":"hunter2"}"#,
            r#"{"token":"hunter2","expires_at":"2001-01-01T00:00:00Z"}"#,
            r#"{"token":"hunter2","expires_at":"soon"}"#,
            r#"{"token":"hunter2","expires_in":0}"#,
            r#"{"token":"hun ter2"}"#,
        ] {
            let problem = parse_output(output, now).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
