//! Arguments of `call` and `prompt`: parsed, and typed by the tool's schema.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::commands::Stop;
use crate::commands::mistyped::closest;
use crate::commands::prompts::Prompt;
use crate::commands::schema::{Argument, Tool};
use crate::commands::text::{first_line, without_query};
use mcp_bridge_text::printable;

/// Names that a hint lists.
const MAX_NAMED: usize = 12;

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
        let missing: Vec<_> = missing.iter().map(|argument| described(argument)).collect();
        Err(needs("call", "tool", &tool.name, &missing, url))
    }

    /// The arguments for a prompt, as the JSON text of an object: all there that it needs. They are strings (MCP
    /// "Prompts").
    pub(super) fn for_prompt(self, prompt: &Prompt, url: &str) -> Result<String, Stop> {
        let (names, text): (HashSet<String>, String) = match self {
            Self::Object(text) => (names(&text), text),
            Self::Pairs(pairs) => {
                let known: Vec<_> = prompt.arguments.iter().map(|it| it.name.as_str()).collect();
                if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&&**name)) {
                    return Err(no_argument("prompt", &prompt.name, name, &known));
                }
                let object = pairs.into_iter().map(|(name, text)| (name, text.into()));
                let object: Map<String, Value> = object.collect();
                let text = serde_json::to_string(&object).unwrap_or_default();
                (object.into_iter().map(|(name, _)| name).collect(), text)
            }
        };
        let missing = prompt.arguments.iter();
        let missing = missing.filter(|it| it.is_required && !names.contains(&it.name));
        let missing: Vec<_> = missing
            .map(|it| (it.name.as_str(), None, it.description.as_deref()))
            .collect();
        if missing.is_empty() {
            return Ok(text);
        }
        Err(needs("prompt", "prompt", &prompt.name, &missing, url))
    }
}

/// The error for a tool or a prompt that the server does not have, with the one that was meant, perhaps.
pub(super) fn unknown(kind: &str, name: &str, url: &str, names: &[&str]) -> Stop {
    let hint = match closest(name, names.iter().copied()) {
        Some(other) => format!("did you mean {}?", printable::line(other)),
        None if names.is_empty() => format!("the server has no {kind}s"),
        None if names.len() <= MAX_NAMED => {
            let names: Vec<_> = names.iter().map(|name| printable::line(name)).collect();
            format!("it has {}", names.join(", "))
        }
        None => format!("mcp-bridge {kind}s {} lists them", without_query(url)),
    };
    Stop::usage(format!("the server has no {kind} \"{name}\"")).hint(hint)
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
    Ok(Given::Pairs(name_value_pairs(words)?))
}

/// Words of the form `NAME=VALUE`, each name once.
pub(super) fn name_value_pairs(words: &[String]) -> Result<Vec<(String, String)>, Stop> {
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
    Ok(pairs)
}

/// The value for the argument `name`.
fn value(tool: &Tool, name: &str, text: &str) -> Result<Value, Stop> {
    let Some(argument) = tool.argument(name) else {
        if tool.takes_more {
            return Ok(Argument::default().read(text).unwrap_or_default());
        }
        let names: Vec<_> = tool.arguments.iter().map(|it| it.name.as_str()).collect();
        return Err(no_argument("tool", &tool.name, name, &names));
    };
    let refused = |reason: String| Stop::usage(printable::line(&format!("{name} {reason}")));
    argument.read(text).map_err(refused)
}

/// The error for an argument that does not exist.
fn no_argument(kind: &str, owner: &str, name: &str, names: &[&str]) -> Stop {
    let hint = match closest(name, names.iter().copied()) {
        Some(other) => format!("did you mean {}?", printable::line(other)),
        None if names.is_empty() => "it takes none".to_owned(),
        None => {
            let names: Vec<_> = names.iter().map(|name| printable::line(name)).collect();
            format!("it has {}", names.join(", "))
        }
    };
    let owner = printable::line(owner);
    Stop::usage(format!("the {kind} \"{owner}\" has no argument {name}")).hint(hint)
}

/// Name, type and description of an argument, as [`needs`] shows them.
type Missing<'a> = (&'a str, Option<String>, Option<&'a str>);

fn described(argument: &Argument) -> Missing<'_> {
    let (name, description) = (&argument.name, argument.description.as_deref());
    (name, Some(argument.kind()), description)
}

/// The missing arguments, with the server's descriptions, and how to give them.
fn needs(command: &str, kind: &str, name: &str, missing: &[Missing<'_>], url: &str) -> Stop {
    let described = missing.iter().map(|(name, kind, description)| {
        let kind = kind.as_deref().map(printable::line);
        let kind = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
        let description = description.map(|text| format!(": {}", first_line(text, None)));
        let name = printable::line(name);
        format!("\n  {name}{kind}{}", description.unwrap_or_default())
    });
    let described: String = described.collect();
    let name = printable::line(name);
    let pairs = missing
        .iter()
        .map(|(name, _, _)| format!(" {}=…", printable::line(name)));
    let pairs: String = pairs.collect();
    Stop::usage(format!("the {kind} \"{name}\" also needs{described}")).hint(format!(
        "mcp-bridge {command} {} {name}{pairs}",
        without_query(url)
    ))
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
