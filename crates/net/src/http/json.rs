//! JSON in HTTP bodies (RFC 8259), read as tolerantly as servers write it.
//!
//! - [`utf8`]: the text of a body without its byte order mark; for MCP messages, which are kept as text.
//! - [`parse`]: a document, for everything else: metadata, registrations, token answers, error bodies.
//! - Functions for `deserialize_with`, and the same for a [`Value`]: members that are spelled loosely. For all of
//!   them `null` is the same as an absent member.

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

/// U+FEFF in UTF-8, as some editors write it at the start of a file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reason for which a body is not the JSON that it should be. None of these texts has a parser's position in it, which would
/// say nothing to the person who reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// There is no body, or only white space.
    #[error("it is empty")]
    Empty,
    /// JSON between systems is UTF-8 (RFC 8259 §8.1).
    #[error("it is encoded in {0}, and JSON has to be UTF-8")]
    Encoding(&'static str),
    /// The page of a web application or a proxy.
    #[error("it is a web page, not JSON")]
    WebPage,
    /// Any other text.
    #[error("it is not JSON")]
    Syntax,
    /// JSON in which a required member is absent or of another type.
    #[error("{0}")]
    Shape(String),
}

/// The text of a body without its byte order mark. Whether it is valid UTF-8 is left to the parser.
pub fn utf8(body: &Bytes) -> Result<Bytes, NotJson> {
    text(body).map(|text| body.slice_ref(text))
}

/// Reads a whole document.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, NotJson> {
    let text = text(body)?;
    let start = text.trim_ascii_start();
    if start.is_empty() {
        return Err(NotJson::Empty);
    }
    if start.starts_with(b"<") {
        return Err(NotJson::WebPage);
    }
    // By way of a `Value`, because its errors name a member and no position.
    let value = serde_json::from_slice::<Value>(text).map_err(|_| NotJson::Syntax)?;
    from_value(value)
}

/// Reads a document that has already been parsed.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, NotJson> {
    serde_json::from_value(value).map_err(|error| NotJson::Shape(error.to_string()))
}

fn text(body: &[u8]) -> Result<&[u8], NotJson> {
    if let Some(text) = body.strip_prefix(BYTE_ORDER_MARK) {
        return Ok(text);
    }
    // With a byte order mark or, where it is absent, by the zero bytes of the first ASCII character
    // (RFC 4627 §3). UTF-32 comes first: its little-endian mark begins like that of UTF-16.
    match body {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] | [0, 0, 0, _, ..] | [_, 0, 0, 0, ..] => {
            Err(NotJson::Encoding("UTF-32"))
        }
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, _, ..] | [_, 0, ..] => {
            Err(NotJson::Encoding("UTF-16"))
        }
        _ => Ok(body),
    }
}

/// A member of the wrong type (an object for a URL, an empty string for a number) counts as absent: real
/// documents have them, and what is indispensable is asked for where it is needed.
pub fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// A URL; an empty string or anything that is no absolute URL counts as absent.
pub fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(as_text(&value).and_then(|text| Url::parse(text.trim()).ok()))
}

/// A text; an empty one counts as absent.
pub fn text_member<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(as_text(&value))
}

/// A text that has to be there.
pub fn required_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = Value::deserialize(deserializer)?;
    as_text(&value).ok_or_else(|| D::Error::custom("a text is missing"))
}

/// A count of seconds that may be written as a string. What is no number counts as absent.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(as_seconds(&value))
}

/// A boolean that may be written as a string. Anything else counts as `false`.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(match value {
        Value::Bool(flag) => flag,
        Value::String(text) => text.trim().eq_ignore_ascii_case("true"),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    })
}

/// A list of strings that may be written as one string, its words separated by white space, as scopes are
/// (RFC 6749 §3.3). Elements that are no strings are left out.
pub fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(as_words(&value))
}

/// The same where an absent list is an empty one.
pub fn words_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    words(deserializer).map(Option::unwrap_or_default)
}

/// The text of a string or, because some servers number their clients, of a number.
#[must_use]
pub fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A count of seconds as a number or a numeric string, rounded down. Less than nothing is nothing.
#[must_use]
pub fn as_seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the conversion clamps what is negative, too large or no number"
    )]
    Some(seconds as u64)
}

/// The strings of a list, or the words of one string. An empty string counts as absent, an empty list does not.
#[must_use]
pub fn as_words(value: &Value) -> Option<Vec<String>> {
    let words: Vec<String> = match value {
        Value::Array(elements) => {
            let texts = elements.iter().filter_map(Value::as_str);
            return Some(texts.map(str::to_owned).collect());
        }
        Value::String(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Loose {
        #[serde(deserialize_with = "url")]
        url: Option<Url>,
        #[serde(deserialize_with = "text_member")]
        text: Option<String>,
        #[serde(deserialize_with = "seconds")]
        seconds: Option<u64>,
        #[serde(deserialize_with = "flag")]
        flag: bool,
        #[serde(deserialize_with = "words")]
        words: Option<Vec<String>>,
        #[serde(deserialize_with = "words_or_none")]
        list: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Strict {
        #[serde(deserialize_with = "required_text")]
        id: String,
    }

    #[test]
    fn a_byte_order_mark_is_dropped_and_other_encodings_are_refused_by_name() {
        let read = |body: &'static [u8]| {
            let kept = utf8(&Bytes::from_static(body)).map(|text| text.to_vec());
            assert_eq!(parse::<Value>(body).is_ok(), kept.is_ok(), "{body:?}");
            kept
        };
        assert_eq!(read(b"\xEF\xBB\xBF{}"), Ok(b"{}".to_vec()));
        assert_eq!(read(b" {} "), Ok(b" {} ".to_vec()));
        assert_eq!(read(b"1"), Ok(b"1".to_vec()));
        for body in [b"\xFF\xFE{\0}\0", b"\xFE\xFF\0{\0}"] {
            assert_eq!(read(body), Err(NotJson::Encoding("UTF-16")));
        }
        for body in [b"{\0}\0", b"\0{\0}"] {
            assert_eq!(read(body), Err(NotJson::Encoding("UTF-16")));
        }
        for body in [b"\xFF\xFE\0\0{\0\0\0", b"\0\0\xFE\xFF\0\0\0{"] {
            assert_eq!(read(body), Err(NotJson::Encoding("UTF-32")));
        }
        assert_eq!(read(b"{\0\0\0"), Err(NotJson::Encoding("UTF-32")));
    }

    #[test]
    fn what_is_no_json_is_named_without_a_position() {
        let refusal = |body: &[u8]| parse::<Strict>(body).expect_err("refused").to_string();
        assert_eq!(refusal(b" \n"), "it is empty");
        assert_eq!(
            refusal(b"\xEF\xBB\xBF <html>"),
            "it is a web page, not JSON"
        );
        assert_eq!(refusal(b"{\"id\":"), "it is not JSON");
        assert_eq!(refusal(b"{}"), "missing field `id`");
        assert_eq!(refusal(b"{\"id\":null}"), "a text is missing");
    }

    #[test]
    fn members_are_read_however_they_are_spelled() {
        let check = |document: Value, expected: Loose| {
            assert_eq!(from_value(document.clone()), Ok(expected), "{document}");
        };
        let nothing = Loose::default;
        check(json!({}), nothing());
        check(
            json!({"url":null,"text":null,"seconds":null,"flag":null,"words":null,"list":null}),
            nothing(),
        );
        check(
            json!({"url":"","text":"","seconds":"","flag":"","words":"","list":""}),
            nothing(),
        );
        check(
            json!({"url":{},"text":[],"seconds":{},"flag":1,"words":1,"list":{}}),
            nothing(),
        );
        check(
            json!({
                "url":" https://x.example/a ","text":12,"seconds":"3600","flag":"True",
                "words":"a b","list":"one",
            }),
            Loose {
                url: Url::parse("https://x.example/a").ok(),
                text: Some("12".into()),
                seconds: Some(3600),
                flag: true,
                words: Some(vec!["a".into(), "b".into()]),
                list: vec!["one".into()],
            },
        );
        check(
            json!({"seconds":12.9,"flag":true,"words":[],"list":["a",null,"b"]}),
            Loose {
                seconds: Some(12),
                flag: true,
                words: Some(Vec::new()),
                list: vec!["a".into(), "b".into()],
                ..nothing()
            },
        );
        assert_eq!(
            parse(b"{\"id\":7}"),
            Ok(Strict { id: "7".into() }),
            "a numbered client"
        );
    }
}
