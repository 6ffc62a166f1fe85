//! Arguments of `call`: parsed and typed by the tool's schema.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::commands::Stop;
use crate::commands::mistyped::closest;
use crate::commands::schema::{Argument, Tool};
use crate::commands::text::first_line;
use mcp_bridge_text::printable;

/// Arguments as they were typed.
#[derive(Debug)]
pub(super) enum Given {
    /// The text of a JSON object, which is sent as it is.
    Object(String),
    /// `NAME=VALUE`, whose types only the tool knows.
    Pairs(Vec<(String, String)>),
}

impl Given {
    /// Reads the words of the command line, and the file or `stdin` if they say so.
    pub(super) fn read(words: &[String], mut stdin: impl Read) -> Result<Self, Stop> {
        match words {
            [] => Ok(Self::Object("{}".to_owned())),
            [word] if word == "-" => {
                let mut text = String::new();
                stdin
                    .read_to_string(&mut text)
                    .map_err(|error| Stop::usage(format!("cannot read stdin: {error}")))?;
                object(&text, "stdin")
            }
            [word] if word.starts_with('@') => {
                let path = &word[1..];
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Stop::usage(format!("cannot read {path}: {error}")))?;
                object(&text, path)
            }
            [word] if word.trim_start().starts_with('{') => object(word, "the argument"),
            words => pairs(words),
        }
    }

    /// The arguments for a tool, as the JSON text of an object: typed as it wants them, and all there that it needs.
    pub(super) fn for_tool(self, tool: &Tool, url: &str) -> Result<String, Stop> {
        let (names, text): (HashSet<String>, String) = match self {
            Self::Object(text) => (names(&text), text),
            Self::Pairs(pairs) => {
                let typed = pairs.into_iter().map(|(name, text)| {
                    let value = value(tool, &name, &text)?;
                    Ok((name, value))
                });
                let object = typed.collect::<Result<Map<_, _>, Stop>>()?;
                let text = serde_json::to_string(&object).unwrap_or_default();
                (object.into_iter().map(|(name, _)| name).collect(), text)
            }
        };
        let is_missing =
            |argument: &&Argument| argument.is_required && !names.contains(&argument.name);
        let missing: Vec<_> = tool.arguments.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(text);
        }
        Err(needs(tool, &missing, url))
    }
}

/// The names of an object's members.
fn names(object: &str) -> HashSet<String> {
    let members = serde_json::from_str::<HashMap<String, &RawValue>>(object);
    members.unwrap_or_default().into_keys().collect()
}

fn object(text: &str, place: &str) -> Result<Given, Stop> {
    // As a value it would lose what a double does not hold.
    match serde_json::from_str::<&RawValue>(text) {
        Ok(object) if object.get().starts_with('{') => Ok(Given::Object(object.get().to_owned())),
        Ok(_) => Err(Stop::usage(format!("{place} is JSON, but no object"))),
        Err(error) => Err(Stop::usage(format!("{place} is no JSON object: {error}"))),
    }
}

fn pairs(words: &[String]) -> Result<Given, Stop> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in words {
        let pair = word.split_once('=').filter(|(name, _)| !name.is_empty());
        let Some((name, value)) = pair else {
            return Err(Stop {
                hint: Some(r#"write text=hello, or '{"text":"hello"}'"#.to_owned()),
                ..Stop::usage(format!("\"{word}\" is not of the form NAME=VALUE"))
            });
        };
        if pairs.iter().any(|(known, _)| known == name) {
            return Err(Stop::usage(format!("{name} is given twice")));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(Given::Pairs(pairs))
}

/// The value for the argument `name`.
fn value(tool: &Tool, name: &str, text: &str) -> Result<Value, Stop> {
    let Some(argument) = tool.argument(name) else {
        if tool.takes_more {
            return Ok(Argument::default().read(text).unwrap_or_default());
        }
        let names = tool.arguments.iter().map(|it| it.name.as_str());
        let hint = match closest(name, names.clone()) {
            Some(other) => format!("did you mean {}?", printable::line(other)),
            None if tool.arguments.is_empty() => "it takes none".to_owned(),
            None => {
                let names: Vec<_> = names.map(printable::line).collect();
                format!("it has {}", names.join(", "))
            }
        };
        let tool = printable::line(&tool.name);
        return Err(Stop {
            hint: Some(hint),
            ..Stop::usage(format!("the tool \"{tool}\" has no argument {name}"))
        });
    };
    let refused = |reason: String| Stop::usage(printable::line(&format!("{name} {reason}")));
    argument.read(text).map_err(refused)
}

/// The URL without its query, which may be a secret.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => url.to_owned(),
    }
}

/// The missing arguments, with the server's descriptions, and how to give them.
fn needs(tool: &Tool, missing: &[&Argument], url: &str) -> Stop {
    let described = missing.iter().map(|argument| {
        let description = argument
            .description
            .as_deref()
            .map(|text| first_line(text, None));
        let description = description.map(|text| format!(": {text}"));
        let (name, kind) = (
            printable::line(&argument.name),
            printable::line(&argument.kind()),
        );
        format!("\n  {name} ({kind}){}", description.unwrap_or_default())
    });
    let described: String = described.collect();
    let name = printable::line(&tool.name);
    let pairs = missing
        .iter()
        .map(|argument| format!(" {}=…", printable::line(&argument.name)));
    let pairs: String = pairs.collect();
    Stop {
        hint: Some(format!(
            "mcp-bridge call {} {name}{pairs}",
            without_query(url)
        )),
        ..Stop::usage(format!("the tool \"{name}\" also needs{described}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use serde_json::value::RawValue;

    fn tool() -> Tool {
        let tool: &RawValue = serde_json::from_str(
            r#"{"name":"order","inputSchema":{"properties":{
                "coffee":{"type":"string","description":"Which one.\nReally."},
                "lumps":{"type":"integer"},"milk":{"type":"boolean"}},"required":["coffee","lumps"]}}"#,
        )
        .unwrap();
        Tool::read(tool).unwrap()
    }

    fn given(words: &[&str], stdin: &str) -> Result<Value, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let object =
            Given::read(&words, stdin.as_bytes()).and_then(|given| given.for_tool(&tool(), "URL"));
        let object = object.map_err(|stop| stop.error)?;
        Ok(serde_json::from_str(&object).unwrap())
    }

    #[test]
    fn arguments_come_as_pairs_as_json_from_a_file_or_from_stdin() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"coffee":"flat white","lumps":2}"#).unwrap();
        let path = format!("@{}", file.path().display());
        let expected = json!({"coffee": "flat white", "lumps": 2});
        for (words, stdin) in [
            (vec!["coffee=flat white", "lumps=2"], ""),
            (vec![r#" {"coffee":"flat white","lumps":2}"#], ""),
            (vec!["-"], r#"{"coffee":"flat white","lumps":2}"#),
            (vec![path.as_str()], ""),
        ] {
            assert_eq!(given(&words, stdin), Ok(expected.clone()), "{words:?}");
        }
        let with_equals = given(&["coffee=a=b", "lumps=-1", "milk=true"], "");
        assert_eq!(
            with_equals,
            Ok(json!({"coffee": "a=b", "lumps": -1, "milk": true}))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
        for (words, expected) in [
            (
                &["espresso"][..],
                "\"espresso\" is not of the form NAME=VALUE",
            ),
            (&["=x"], "\"=x\" is not of the form NAME=VALUE"),
            (&["lumps=1", "lumps=2"], "lumps is given twice"),
            (
                &["coffee=a", "lumps=two"],
                "lumps has to be of type integer, not \"two\"",
            ),
            (&["cofee=a"], "the tool \"order\" has no argument cofee"),
            (
                &["{\"a\""],
                "the argument is no JSON object: EOF while parsing an object at line 1 column 4",
            ),
            (&["-"], "stdin is JSON, but no object"),
            (
                &["milk=true"],
                "the tool \"order\" also needs\n  coffee (string): Which one.\n  lumps (integer)",
            ),
        ] {
            assert_eq!(given(words, "[]"), Err(expected.to_owned()));
        }
        let missing = given(&["@/nowhere/at/all"], "").unwrap_err();
        assert!(missing.starts_with("cannot read /nowhere/at/all: "));
    }
}
