//! Envelope of a JSON-RPC message: the members that the bridge has to know of, as slices of the text.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::scanner::LineBreaks;
use super::{Invalid, Kind, Message, Parts, RequestId, decoded, range_in, scanner};

/// The members of the envelope, as slices of the text. The last of two equal names counts, as in
/// every common parser.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) jsonrpc: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) method: Option<&'a str>,
    pub(super) params: Option<&'a str>,
    pub(super) result: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    /// True if the text has no line break.
    pub(super) is_one_line: bool,
}

impl<'a> Envelope<'a> {
    /// Reads a JSON text. What is no object is an empty envelope.
    pub(super) fn read(text: &'a str) -> serde_json::Result<Self> {
        match Self::scanned(text) {
            Some(envelope) => Ok(envelope),
            None => Self::parsed(text),
        }
    }

    /// `None` where the scanner leaves it to the parser.
    fn scanned(text: &'a str) -> Option<Self> {
        let mut envelope = Self::default();
        let breaks = scanner::members(text, |name, value| {
            let place = match name {
                "jsonrpc" => &mut envelope.jsonrpc,
                "id" => &mut envelope.id,
                "method" => &mut envelope.method,
                "params" => &mut envelope.params,
                "result" => &mut envelope.result,
                "error" => &mut envelope.error,
                _ => return,
            };
            *place = Some(value);
        })?;
        envelope.is_one_line = breaks == LineBreaks::None;
        Some(envelope)
    }

    fn parsed(text: &'a str) -> serde_json::Result<Self> {
        let mut envelope = Self {
            is_one_line: memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none(),
            ..Self::default()
        };
        let mut json = serde_json::Deserializer::from_str(text);
        if text.trim_ascii_start().starts_with('{') {
            json.deserialize_map(&mut envelope)?;
        } else {
            IgnoredAny::deserialize(&mut json)?;
        }
        json.end()?;
        Ok(envelope)
    }

    /// The part that can be read of a text that is cut off or damaged.
    pub(super) fn of_prefix(prefix: &'a [u8]) -> Option<Self> {
        let utf8 = match std::str::from_utf8(prefix) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&prefix[..error.valid_up_to()]).ok()?,
        };
        let mut envelope = Self::default();
        let mut json = serde_json::Deserializer::from_str(utf8);
        // This fails somewhere; what was seen before stands in the envelope.
        let _ = json.deserialize_map(&mut envelope);
        // A number at the very end may be the beginning of a longer one.
        let is_whole = |id: &&str| !utf8.ends_with(*id) || id.ends_with('"');
        envelope.id = envelope.id.filter(is_whole);
        Some(envelope)
    }

    pub(super) fn into_message(self, text: &Bytes) -> Result<Message, Invalid> {
        let id = self.id.and_then(RequestId::from_json);
        if self.jsonrpc != Some(r#""2.0""#) {
            return Err(Invalid::not_a_message(id, r#"no "jsonrpc": "2.0""#));
        }
        let is_response = self.result.is_some() || self.error.is_some();
        let kind = match (self.method, self.id, id) {
            (Some(_), Some(_), None) => {
                return Err(Invalid::not_a_message(
                    None,
                    "the id is neither a string nor an integer",
                ));
            }
            (Some(method), given, id) => {
                let Some(method) = decoded(method).map(Cow::into_owned) else {
                    return Err(Invalid::not_a_message(id, "the method is not a string"));
                };
                match (given, id) {
                    (Some(_), Some(id)) => Kind::Request { id, method },
                    _ => Kind::Notification { method },
                }
            }
            (None, _, id) if is_response => Kind::Response { id },
            (None, _, id) => return Err(Invalid::not_a_message(id, "no method, result or error")),
        };
        let range = |part: Option<&str>| part.map(|part| range_in(text, part));
        Ok(Message(Arc::new(Parts {
            id: range(self.id),
            params: range(self.params),
            result: range(self.result),
            // `"error": null` beside a result is how JSON-RPC 1.0 servers say "no error".
            error: range(self.error.filter(|error| *error != "null")),
            is_one_line: self.is_one_line,
            ..Parts::new(text.clone(), kind)
        })))
    }
}

/// The name of a member of the envelope.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for &mut Envelope<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key()? {
            let place = match member {
                Member::Jsonrpc => &mut self.jsonrpc,
                Member::Id => &mut self.id,
                Member::Method => &mut self.method,
                Member::Params => &mut self.params,
                Member::Result => &mut self.result,
                Member::Error => &mut self.error,
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = Some(map.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}

/// The scanner takes no text that the parser does not take, and finds the same in it.
///
/// # Panics
///
/// If that does not hold. Returns whether the scanner has taken it.
#[cfg(any(test, fuzzing))]
pub(crate) fn agree(text: &str) -> bool {
    let Some(scanned) = Envelope::scanned(text) else {
        return false;
    };
    let parsed = Envelope::parsed(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(scanned, parsed, "{text:?}");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: [&str; 12] = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":[1,{"b":null}]}}}"#,
        r#"{"jsonrpc":"2.0","id":"a\"\\\u00e9","result":{"content":[{"type":"text","text":"line\nline \ud83d\ude00 é"}]}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"m","data":[]}}"#,
        r#"{ "jsonrpc" : "2.0" , "method" : "notifications/progress" , "params" : { "progress" : 0.5 } } "#,
        "\r\n{\t\"id\"\n:\r-0 ,\"result\":\t[ ]\n,\"error\" :null}\n",
        r#"{"id":1,"id":2,"id":"3","params":1,"params":[{}],"vendor":{"z":{},"z":[[]]}}"#,
        r#"{"result":[-0,0.0,1e5,1E+05,-1.25e-300,1e400,12345678901234567890123,true,false,null]}"#,
        r#"{"method":"\ud800","params":{"\ud800\/\b\f\n\r\t":"\udc00"}}"#,
        r#"{"result":"a string that is longer than a few words of the machine, é, and goes on"}"#,
        r#"{"result":{"a":{"b":{"c":{"d":[[[[[[[[{"e":"deep"}]]]]]]]]}}}}}"#,
        "{}",
        r#"{"":"","\u0069d":7}"#,
    ];

    /// Everything that has a meaning in JSON, and some that has none.
    const SPLICES: [&str; 32] = [
        "\"", "\\", "{", "}", "[", "]", ":", ",", " ", "\n", "\u{b}", "\u{c}", "\0", "\u{1f}",
        "\u{7f}", "é", "0", "1", "9", "-", "+", ".", "e", "E", "u", "t", "true", "null", "01",
        "\\u12", "\"id\":", "\u{feff}",
    ];

    /// Puts each splice in the place of each character of each text, and before it.
    #[test]
    fn the_scanner_takes_what_the_parser_takes_and_finds_the_same() {
        let mut taken = 0;
        for text in VALID {
            for (at, character) in text.char_indices() {
                let (before, after) = text.split_at(at);
                agree(before);
                taken += usize::from(agree(&[before, &after[character.len_utf8()..]].concat()));
                for splice in SPLICES {
                    let behind = &after[character.len_utf8()..];
                    taken += usize::from(agree(&[before, splice, behind].concat()));
                    taken += usize::from(agree(&[before, splice, after].concat()));
                }
            }
        }
        assert!(taken > 1000, "most are damaged, and not all: {taken}");
    }

    #[test]
    fn ordinary_messages_need_no_parser() {
        for text in &VALID[..VALID.len() - 1] {
            assert!(agree(text), "{text}");
        }
        assert!(!agree(VALID[VALID.len() - 1]), "a name with an escape");
    }

    #[test]
    fn nesting_beyond_the_scanner_is_left_to_the_parser() {
        for depth in [1, 62, 63, 64, 65, 66, 1000] {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            let text = format!(r#"{{"result":{open}{close}}}"#);
            let envelope = Envelope::read(&text).unwrap();
            assert_eq!(envelope.result.map(str::len), Some(2 * depth));
            agree(&text);
            agree(&text.replace(']', "}"));
            let text = text.replace('[', r#"{"a":["#).replace(']', "]}");
            agree(&text);
            assert!(Envelope::read(&text).is_ok());
        }
    }
}
