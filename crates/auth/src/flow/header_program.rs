//! Headers printed by a program of the user's (`--header-command`): the credential of a gateway before the server, beside a
//! sign-in at the server, or the only credential.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use crate::config::TokenCommand;
use crate::error::AuthError;
use crate::flow::policy::REFRESH_AHEAD_WAIT;
use crate::flow::program::{LIFETIME, Printed, ProgramOutput, lifetime_in};
use mcp_bridge_net::http::{is_reserved_header, user_header_value};

/// Limit for the number of headers. A credential has one or two.
const MOST_HEADERS: usize = 32;

/// The program that prints headers, and what it printed last. All endpoints of a bridge share it.
#[derive(Debug)]
pub struct HeaderProgram(ProgramOutput<HeaderMap>);

impl HeaderProgram {
    /// Nothing is run before headers are asked for.
    #[must_use]
    pub fn new(command: TokenCommand) -> Self {
        Self(ProgramOutput::new(command, parse_headers))
    }

    /// The headers for the next request. Once they are about to expire the program is run again.
    pub async fn headers(&self) -> Result<HeaderMap, AuthError> {
        self.0.value(REFRESH_AHEAD_WAIT).await
    }

    /// Runs the program again after a refusal, once for all who wait. True if there are other headers now than `refused`.
    pub async fn renew(&self, refused: &HeaderMap) -> Result<bool, AuthError> {
        let headers = self.0.after_refusal(Some(refused.clone())).await?;
        Ok(headers != *refused)
    }

    /// The error of a request that was refused although the program was run again.
    #[must_use]
    pub fn refused(&self) -> AuthError {
        let command = self.0.command();
        command.failed("the server refuses what it prints")
    }
}

/// The headers in what a program printed: a JSON object with a member for each, or lines. A problem never repeats it.
fn parse_headers(output: &str, now: SystemTime) -> Result<Printed<HeaderMap>, String> {
    let text = output.trim();
    if text.is_empty() {
        return Err("it printed nothing".into());
    }
    let (pairs, lifetime) = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => of_object(object, now)?,
        Ok(_) | Err(_) => (of_lines(text)?, None),
    };
    if pairs.len() > MOST_HEADERS {
        return Err(format!("it printed more than {MOST_HEADERS} headers"));
    }
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|_| "it printed a name that no header may have")?;
        let value = user_header_value(value.trim()).ok_or_else(|| {
            format!("the value of the header {name} has characters that a header may not have")
        })?;
        if is_reserved_header(&name) {
            tracing::warn!(
                "the header {name} of the header command is left out: the bridge sets it itself"
            );
        } else {
            headers.insert(name, value);
        }
    }
    Ok(Printed {
        value: headers,
        lifetime,
    })
}

type Pairs = Vec<(String, String)>;

/// The members of the object, or of its member `headers`; those that say when it expires are no headers.
fn of_object(
    mut object: Map<String, Value>,
    now: SystemTime,
) -> Result<(Pairs, Option<Duration>), String> {
    let lifetime = lifetime_in(&object, "the header", now)?;
    let members = match object.remove("headers") {
        Some(Value::Object(headers)) => headers,
        Some(_) => {
            return Err("the member headers of the JSON that it printed is no object".into());
        }
        None => {
            object.retain(|name, _| !LIFETIME.contains(&name.as_str()));
            object
        }
    };
    let pair = |(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err("the JSON that it printed has a header whose value is no text".to_owned()),
    };
    let pairs: Pairs = members.into_iter().map(pair).collect::<Result<_, _>>()?;
    if pairs.is_empty() {
        return Err("the JSON that it printed has no header".into());
    }
    Ok((pairs, lifetime))
}

fn of_lines(text: &str) -> Result<Pairs, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or(
                "it printed something that is neither JSON nor lines of the form 'Name: value'",
            )?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A-114
    #[test]
    fn headers_are_printed_as_lines_or_as_json() {
        // 2026-01-01T00:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let check = |output: &str, lifetime: Option<u64>| {
            let printed = parse_headers(output, now).unwrap();
            let found: Vec<_> = printed.value.iter().collect();
            assert_eq!(found.len(), 2, "{output}");
            assert_eq!(printed.value["x-a"], "one");
            assert_eq!(printed.value["x-b"], "two: three");
            assert!(printed.value["x-a"].is_sensitive());
            assert_eq!(
                printed.lifetime,
                lifetime.map(Duration::from_secs),
                "{output}"
            );
        };
        check("X-A: one\r\nX-B:two: three\n\n", None);
        check("Host: x\nX-A: zero\nX-A: one\nX-B: two: three", None);
        check(r#"{"X-A":"one","x-b":"two: three"}"#, None);
        check(
            r#"{"X-A":"one","x-b":"two: three","expires_in":60}"#,
            Some(60),
        );
        check(
            r#"{"headers":{"X-A":"one","x-b":"two: three"},"expires_at":"2026-01-01T00:01:00Z"}"#,
            Some(60),
        );
    }

    /// A-114
    #[test]
    fn what_is_no_header_is_refused_without_being_repeated() {
        let many: Vec<_> = (0..=MOST_HEADERS)
            .map(|it| format!("X-{it}: hunter2"))
            .collect();
        let many = many.join("\n");
        for output in [
            "",
            " \n",
            "hunter2",
            "X-A: 1\nhunter2",
            "hun ter2: 1",
            "{}",
            "[]",
            "[\"hunter2\"]",
            r#"{"headers":"hunter2"}"#,
            r#"{"headers":{}}"#,
            r#"{"X-A":7}"#,
            r#"{"X-A":["hunter2"]}"#,
            r#"{"X-A":"hunter2\r\nX-B: 1"}"#,
            r#"{"X-A":"hunter2\u0000"}"#,
            r#"{"X-A":"hünter2"}"#,
            r#"{"X\nA":"hunter2"}"#,
            r#"{"X-A":"hunter2","expires_in":0}"#,
            r#"{"X-A":"hunter2","expires_at":"soon"}"#,
            &many,
        ] {
            let problem = parse_headers(output, SystemTime::now()).unwrap_err();
            assert!(
                !problem.contains("hunter2") && !problem.contains("hünter2"),
                "{problem}"
            );
        }
    }
}
