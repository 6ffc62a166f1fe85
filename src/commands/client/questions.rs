//! Questions of the server (MCP "Elicitation"), asked on the terminal.

use serde_json::{Map, Value, json};

use super::terminal::Terminal;
use crate::commands::schema::{Argument, arguments, as_typed};
use mcp_bridge_text::printable;

/// The person's answer.
#[derive(Debug, PartialEq)]
pub(super) enum PersonReply {
    /// With the values of a form.
    Form(Map<String, Value>),
    /// The page was visited.
    Visited,
    Decline,
}

impl PersonReply {
    /// The `ElicitResult`.
    pub(super) fn to_json(&self) -> String {
        let result = match self {
            Self::Form(content) => json!({ "action": "accept", "content": content }),
            Self::Visited => json!({ "action": "accept" }),
            Self::Decline => json!({ "action": "decline" }),
        };
        result.to_string()
    }
}

/// Asks for each value that the schema, given as JSON text, describes.
pub(super) async fn form(terminal: &Terminal, message: &str, schema: &str) -> PersonReply {
    let _turn = terminal.turn().await;
    eprintln!("\n{}  (Ctrl-D declines)", printable::block(message));
    let mut content = Map::new();
    for argument in arguments(schema) {
        match value(terminal, &argument).await {
            Some(Some(value)) => {
                content.insert(argument.name, value);
            }
            Some(None) => {}
            None => return declined(),
        }
    }
    PersonReply::Form(content)
}

/// Shows a page that the server wants the person to visit. Nothing is opened unasked: the address is the
/// server's, and the person is to look at it first.
pub(super) async fn page(terminal: &Terminal, message: &str, url: &str) -> PersonReply {
    let _turn = terminal.turn().await;
    let (message, url) = (printable::block(message), printable::line(url));
    eprintln!("\n{message}\nIf you trust this address, open it:\n{url}");
    match terminal
        .ask("Press Enter when that is done (Ctrl-D declines). ")
        .await
    {
        Some(_) => PersonReply::Visited,
        None => declined(),
    }
}

fn declined() -> PersonReply {
    eprintln!();
    PersonReply::Decline
}

/// One value, asked for until it fits; `Some(None)` if it is left out, `None` if the person declines.
async fn value(terminal: &Terminal, argument: &Argument) -> Option<Option<Value>> {
    let prompt = prompt(argument);
    loop {
        let typed = terminal.ask(&prompt).await?;
        match answer(argument, &typed) {
            Ok(value) => return Some(value),
            Err(reason) => eprintln!("  {} {reason}", printable::line(&argument.name)),
        }
    }
}

fn prompt(argument: &Argument) -> String {
    let name = printable::line(&argument.name);
    let description = argument.description.as_deref().map(printable::line);
    let description = description.map(|text| format!(": {text}"));
    let kind = if argument.is_boolean() {
        "yes/no".to_owned()
    } else {
        printable::line(&argument.kind())
    };
    let state = match (&argument.default, argument.is_required) {
        (Some(default), _) => format!(", default {}", printable::line(&as_typed(default))),
        (None, true) => String::new(),
        (None, false) => ", may be left out".to_owned(),
    };
    format!(
        "  {name}{} [{kind}{state}] ",
        description.unwrap_or_default()
    )
}

/// The value that was typed, if any was, or why it does not fit.
fn answer(argument: &Argument, typed: &str) -> Result<Option<Value>, String> {
    if typed.is_empty() {
        return match &argument.default {
            Some(default) => Ok(Some(default.clone())),
            None if argument.is_required => Err("is needed".to_owned()),
            None => Ok(None),
        };
    }
    if argument.is_boolean() {
        match typed.to_lowercase().as_str() {
            "y" | "yes" => return Ok(Some(true.into())),
            "n" | "no" => return Ok(Some(false.into())),
            _ => {}
        }
    }
    argument.read(typed).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    /// The person types these lines, each when something is asked, and then leaves.
    async fn asked(schema: &str, lines: &[&str]) -> PersonReply {
        let terminal = Arc::new(Terminal::default());
        let typing = async {
            for line in lines {
                while terminal.take(line).is_some() {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::join!(form(&terminal, "Well?", schema), typing).0
    }

    #[tokio::test]
    async fn a_form_is_asked_for_value_by_value_until_each_fits() {
        let schema = json!({
            "properties": {
                "coffee": {"type": "string", "description": "Which?"},
                "lumps": {"type": "integer", "minimum": 0},
                "milk": {"type": "boolean"},
                "size": {"type": "string", "enum": ["s", "l"], "default": "s"},
                "note": {"type": "string"},
            },
            "required": ["coffee", "lumps", "milk"],
        });
        let lines = ["", "flat white", "", "two", "2", "maybe", "Yes", "", ""];
        // serde_json sorts the properties: coffee, lumps, milk, note, size.
        let reply = asked(&schema.to_string(), &lines).await;
        let result: Value = serde_json::from_str(&reply.to_json()).unwrap();
        let content = json!({"coffee": "flat white", "lumps": 2, "milk": true, "size": "s"});
        assert_eq!(result, json!({"action": "accept", "content": content}));
    }

    #[tokio::test]
    async fn values_are_asked_for_in_the_order_of_the_server() {
        let schema = r#"{"properties":{"b":{"type":"string"},"a":{"type":"integer"}}}"#;
        let reply = asked(schema, &["first", "2"]).await;
        assert_eq!(
            reply.to_json(),
            r#"{"action":"accept","content":{"a":2,"b":"first"}}"#
        );
    }

    #[test]
    fn the_question_says_what_is_expected() {
        let schema = json!({
            "properties": {
                "a": {"type": "string", "description": "Which\u{1b}[2J?"},
                "b": {"type": "boolean", "default": true},
                "c": {"enum": ["x", "y"]},
            },
            "required": ["a"],
        });
        let prompts: Vec<_> = arguments(&schema.to_string()).iter().map(prompt).collect();
        assert_eq!(
            prompts,
            [
                "  a: Which\u{fffd}[2J? [string] ",
                "  b [yes/no, default true] ",
                "  c [x|y, may be left out] ",
            ]
        );
    }
}
