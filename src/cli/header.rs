//! `--header 'Name: value'`.

use std::env;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Why a header is refused. The value is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is no colon, so there is no telling the name from a secret value.
    #[error("a header has to be written as 'Name: value'")]
    NoColon,
    /// RFC 9110 §5.1.
    #[error("{0:?} is not a legal header name")]
    Name(String),
    /// RFC 9110 §5.5; the bridge also refuses what is not ASCII.
    #[error("the value of the header {0} has characters that a header may not have")]
    Value(HeaderName),
    /// A `${NAME}` that names nothing.
    #[error("the header {header} needs the environment variable {variable}, which is not set")]
    Variable {
        /// The header's name.
        header: HeaderName,
        /// The variable's name.
        variable: String,
    },
    /// One of the headers that MCP and HTTP give a meaning that only the bridge can know.
    #[error("the header {0} is set by the bridge itself")]
    Reserved(HeaderName),
}

/// Reads one header, with `${NAME}` in its value replaced by the environment variable.
pub(super) fn parse(text: &str) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let (name, value) = text.split_once(':').ok_or(HeaderError::NoColon)?;
    let name = name.trim();
    let name =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name(name.to_owned()))?;
    if is_reserved(&name) {
        return Err(HeaderError::Reserved(name));
    }
    let value = expand(value.trim(), |variable| env::var(variable).ok()).map_err(|variable| {
        HeaderError::Variable {
            header: name.clone(),
            variable,
        }
    })?;
    let legal = value
        .bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let value = HeaderValue::from_str(&value).ok().filter(|_| legal);
    let mut value = value.ok_or_else(|| HeaderError::Value(name.clone()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Reads the lines of a header file: a header each, blank lines and `#` comments left out.
pub(super) fn parse_file(text: &str, headers: &mut HeaderMap) -> Result<(), HeaderError> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = parse(line)?;
        headers.insert(name, value);
    }
    Ok(())
}

fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [&str; 10] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "last-event-id",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    name.as_str().starts_with("mcp-") || RESERVED.contains(&name.as_str())
}

/// Replaces each `${NAME}`; fails with the name that `lookup` does not know.
fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        expanded.push_str(before);
        expanded.push_str(&lookup(name).ok_or(name)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        for text in ["X-Key: secret", "X-Key:secret", " X-Key :  secret "] {
            let (name, value) = parse(text).unwrap();
            assert_eq!((name.as_str(), value.as_bytes()), ("x-key", &b"secret"[..]));
            assert!(value.is_sensitive());
        }
        assert_eq!(parse("X.Y: v").unwrap().0.as_str(), "x.y");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (text, expected) in [
            ("Bearer hunter2", HeaderError::NoColon),
            (": hunter2", HeaderError::Name(String::new())),
            ("a b: hunter2", HeaderError::Name("a b".to_owned())),
            (
                "X-Key: hunter2\r\nEvil: 1",
                HeaderError::Value(HeaderName::from_static("x-key")),
            ),
            (
                "X-Key: hünter2",
                HeaderError::Value(HeaderName::from_static("x-key")),
            ),
            (
                "Mcp-Session-Id: hunter2",
                HeaderError::Reserved(HeaderName::from_static("mcp-session-id")),
            ),
            (
                "Content-Type: hunter2",
                HeaderError::Reserved(HeaderName::from_static("content-type")),
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected);
            assert!(
                !error.to_string().contains("hunter2") && !error.to_string().contains("hünter2")
            );
        }
    }

    #[test]
    fn environment_variables_are_put_in() {
        let lookup = |name: &str| (name == "TOKEN").then(|| "abc".to_owned());
        for (text, expected) in [
            ("Bearer ${TOKEN}", Ok("Bearer abc")),
            ("${TOKEN}${TOKEN}!", Ok("abcabc!")),
            ("$TOKEN ${", Ok("$TOKEN ${")),
            ("${UNSET}", Err("UNSET")),
        ] {
            assert_eq!(
                expand(text, lookup),
                expected.map(str::to_owned).map_err(str::to_owned)
            );
        }
    }

    #[test]
    fn a_file_has_a_header_a_line_and_the_last_one_counts() {
        let mut headers = HeaderMap::new();
        parse_file(
            "\u{feff}# keys\r\nX-A: 1\r\n\r\nX-B: 2\nX-A: 3\n",
            &mut headers,
        )
        .unwrap();
        assert_eq!((headers.len(), headers["x-a"].as_bytes()), (2, &b"3"[..]));
    }
}
