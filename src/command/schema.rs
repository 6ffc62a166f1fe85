//! Tools, and what they want to be told, as the server describes it (JSON Schema).

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::message::member;

/// How deep a schema is followed.
const MAX_DEPTH: usize = 16;

/// A tool of a list. What the server has spelled wrong is as if it were not there.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    /// The server's hints about it, as far as there are any.
    pub(super) hints: Hints,
    /// In the server's order.
    pub(super) arguments: Vec<Argument>,
    /// Whether there may be arguments that are not described.
    pub(super) takes_more: bool,
}

/// What a server says about a tool's effects (MCP "Tools", `annotations`).
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) read_only: Option<bool>,
    pub(super) destructive: Option<bool>,
    pub(super) idempotent: Option<bool>,
}

/// A value that somebody has to give.
#[derive(Debug, Default)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) is_required: bool,
    pub(super) default: Option<Value>,
    /// What it may be; anything if that is not said.
    kinds: Vec<Kind>,
    /// The only values it may have, if they are named.
    choices: Vec<Value>,
}

/// The types of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Tool {
    /// Reads a tool of a list; `None` if it has no name.
    pub(super) fn read(tool: &RawValue) -> Option<Self> {
        let tool = tool.get();
        let annotations = member::<&RawValue>(tool, "annotations").map(RawValue::get);
        let hint = |name: &str| member::<bool>(annotations?, name);
        let title = || member(annotations?, "title");
        let schema = member::<&RawValue>(tool, "inputSchema").map_or("{}", RawValue::get);
        Some(Self {
            name: member(tool, "name")?,
            title: member(tool, "title").or_else(title),
            description: member(tool, "description"),
            hints: Hints {
                read_only: hint("readOnlyHint"),
                destructive: hint("destructiveHint"),
                idempotent: hint("idempotentHint"),
            },
            arguments: arguments(schema),
            takes_more: match member::<Value>(schema, "additionalProperties") {
                Some(more) => more != Value::Bool(false),
                // Nobody says so and hardly a tool does; but where nothing is described, anything goes.
                None => arguments(schema).is_empty(),
            },
        })
    }

    /// The argument of this name.
    pub(super) fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.name == name)
    }
}

/// What the properties of an object's schema, given as JSON text, want to be told.
pub(super) fn arguments(schema: &str) -> Vec<Argument> {
    let properties = member::<IndexMap<String, Box<RawValue>>>(schema, "properties");
    let required = member::<Vec<String>>(schema, "required").unwrap_or_default();
    let root: Value = serde_json::from_str(schema).unwrap_or_default();
    let read = |(name, schema): (String, Box<RawValue>)| {
        let schema: Value = serde_json::from_str(schema.get()).unwrap_or_default();
        let mut argument = Argument {
            is_required: required.contains(&name),
            name,
            ..Argument::default()
        };
        argument.learn(&schema, &root, 0);
        argument
    };
    properties
        .unwrap_or_default()
        .into_iter()
        .map(read)
        .collect()
}

impl Argument {
    /// Adds what a schema says. What an outer one has said counts.
    fn learn(&mut self, schema: &Value, root: &Value, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let text = |name: &str| schema[name].as_str().map(str::to_owned);
        let described = self.description.take().or_else(|| text("description"));
        self.description = described.or_else(|| text("title"));
        let default = schema.get("default").filter(|default| !default.is_null());
        self.default = self.default.take().or_else(|| default.cloned());
        let names = schema["type"]
            .as_array()
            .map_or_else(|| std::slice::from_ref(&schema["type"]), Vec::as_slice);
        for kind in names.iter().filter_map(Kind::named) {
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
            }
        }
        self.choices
            .extend(schema["enum"].as_array().into_iter().flatten().cloned());
        self.choices.extend(schema.get("const").cloned());
        if let Some(target) = schema["$ref"]
            .as_str()
            .and_then(|path| path.strip_prefix('#'))
        {
            let target = root.pointer(target).cloned().unwrap_or_default();
            self.learn(&target, root, depth + 1);
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            for schema in schema[keyword].as_array().into_iter().flatten() {
                self.learn(schema, root, depth + 1);
            }
        }
    }

    /// What it may be, in a word or two.
    pub(super) fn kind(&self) -> String {
        if !self.choices.is_empty() {
            return self.choices.iter().map(shown).collect::<Vec<_>>().join("|");
        }
        let is_null = |kind: &&Kind| **kind != Kind::Null || self.kinds.len() == 1;
        let names: Vec<_> = self
            .kinds
            .iter()
            .filter(is_null)
            .map(|kind| kind.name())
            .collect();
        if names.is_empty() {
            return "any".to_owned();
        }
        names.join("|")
    }

    /// Whether it is a yes or a no.
    pub(super) fn is_boolean(&self) -> bool {
        self.kinds == [Kind::Boolean] && self.choices.is_empty()
    }

    /// The value that a person has typed; or what it has to be instead.
    pub(super) fn read(&self, text: &str) -> Result<Value, String> {
        let string = Value::from(text);
        let parsed = serde_json::from_str::<Value>(text).ok();
        if !self.choices.is_empty() {
            let found = [Some(string), parsed].into_iter().flatten();
            let found = found.into_iter().find(|value| self.choices.contains(value));
            return found.ok_or_else(|| {
                let choices: Vec<_> = self.choices.iter().map(shown).collect();
                format!("has to be one of {}", choices.join(", "))
            });
        }
        let takes_text = self.kinds.contains(&Kind::String);
        match parsed {
            // Who means text gets it, also where nothing at all would do.
            Some(Value::Null | Value::String(_)) if takes_text => Ok(string),
            Some(value) if self.kinds.iter().any(|kind| kind.holds(&value)) => Ok(value),
            Some(value) if self.kinds.is_empty() => Ok(value),
            _ if takes_text || self.kinds.is_empty() => Ok(string),
            _ => Err(format!("has to be of type {}, not {string}", self.kind())),
        }
    }
}

impl Kind {
    fn named(name: &Value) -> Option<Self> {
        Some(match name.as_str()? {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// A value as a person would type it.
pub(super) fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn argument(schema: &Value) -> Argument {
        let schema = json!({"properties": {"x": schema}, "$defs": {
            "level": {"type": "string", "enum": ["low", "high"], "description": "How much."},
            "loop": {"$ref": "#/$defs/loop"},
        }});
        arguments(&schema.to_string()).remove(0)
    }

    #[test]
    fn what_is_typed_gets_the_type_of_the_schema() {
        for (schema, text, expected) in [
            (json!({"type": "string"}), "5", json!("5")),
            (json!({"type": "string"}), "null", json!("null")),
            (json!({"type": "string"}), r#""a""#, json!(r#""a""#)),
            (json!({"type": "integer"}), "-5", json!(-5)),
            (json!({"type": "number"}), "1.5", json!(1.5)),
            (json!({"type": "number"}), "3", json!(3)),
            (json!({"type": "boolean"}), "true", json!(true)),
            (json!({"type": "array"}), "[1, \"a\"]", json!([1, "a"])),
            (json!({"type": "object"}), r#"{"a":1}"#, json!({"a": 1})),
            (json!({"type": ["integer", "null"]}), "null", json!(null)),
            (json!({"type": ["string", "integer"]}), "7", json!(7)),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                "7",
                json!("7"),
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                "null",
                json!("null"),
            ),
            (json!({"enum": ["1", 2]}), "1", json!("1")),
            (json!({"enum": ["1", 2]}), "2", json!(2)),
            (json!({"$ref": "#/$defs/level"}), "low", json!("low")),
            (json!({"$ref": "#/$defs/loop"}), "low", json!("low")),
            (json!({}), "[1]", json!([1])),
            (json!({}), "a b", json!("a b")),
            (json!(true), "7", json!(7)),
        ] {
            assert_eq!(
                argument(&schema).read(text),
                Ok(expected),
                "{schema} {text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        for (schema, text, expected) in [
            (
                json!({"type": "integer"}),
                "1.5",
                "has to be of type integer, not \"1.5\"",
            ),
            (
                json!({"type": "integer"}),
                "ten",
                "has to be of type integer, not \"ten\"",
            ),
            (
                json!({"type": "boolean"}),
                "yes",
                "has to be of type boolean, not \"yes\"",
            ),
            (
                json!({"type": ["array", "null"]}),
                "a",
                "has to be of type array, not \"a\"",
            ),
            (
                json!({"$ref": "#/$defs/level"}),
                "middle",
                "has to be one of low, high",
            ),
        ] {
            assert_eq!(argument(&schema).read(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn arguments_keep_the_order_of_the_server() {
        let schema = r##"{"properties":{"z":{"type":"string"},"a":{"default":1e400},"m":{"$ref":"#/$defs/m"}},
            "required":["m","z"],"$defs":{"m":{"type":"array","title":"Many","default":[1]}}}"##;
        let found = arguments(schema);
        let names: Vec<_> = found.iter().map(|it| (&*it.name, it.is_required)).collect();
        assert_eq!(names, [("z", true), ("a", false), ("m", true)]);
    }

    #[test]
    fn a_tool_is_read_although_parts_of_it_are_wrong() {
        let tool: &RawValue = serde_json::from_str(
            r#"{"name":"a","title":7,"annotations":{"title":"A","readOnlyHint":"no"},"inputSchema":[]}"#,
        )
        .unwrap();
        let tool = Tool::read(tool).unwrap();
        assert_eq!(tool.title.as_deref(), Some("A"));
        assert_eq!(tool.hints.read_only, None);
        assert!(tool.arguments.is_empty() && tool.takes_more);
    }
}
