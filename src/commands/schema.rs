//! JSON Schema of tools, for people and for typing arguments.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

use mcp_bridge_protocol::message::member;

/// Limit of the depth to which a schema is followed.
const MAX_DEPTH: usize = 16;

/// Subschemas of one argument that are read: references may meet the same one again and again.
const MAX_SUBSCHEMAS: usize = 1000;

/// The same for all arguments of a tool.
const MAX_SUBSCHEMAS_IN_ALL: usize = 10_000;

/// Values of one schema that are kept. One with more is taken for one that allows any value.
const MAX_CHOICES: usize = 1_000;

/// Branches of one schema that are kept; a value that matches none of them is judged by these alone.
const MAX_ALTERNATIVES: usize = 64;

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
    /// True if arguments are allowed that the schema does not describe.
    pub(super) takes_more: bool,
    /// Arguments of a tool, from its input schema.
    pub(super) execution: Execution,
}

/// The way in which a tool is called (MCP 2025-11-25, "Tasks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Execution {
    /// The response to the call is the result.
    Direct,
    /// The response to the call is a task, which has the result in the end.
    AsTask,
}

/// Annotations of a tool by its server (MCP "Tools", `annotations`).
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
    /// It has to match one of them; anything will do if there are none.
    alternatives: Vec<Alternative>,
}

/// One branch of what a schema allows. A constraint that is empty allows everything.
#[derive(Debug, Clone, Default, PartialEq)]
struct Alternative {
    kinds: Vec<JsonType>,
    /// The only values, by `enum` or `const`.
    choices: Vec<Value>,
}

/// The types of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonType {
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
        let execution = member::<&RawValue>(tool, "execution").map(RawValue::get);
        let task_support = member::<String>(execution.unwrap_or("{}"), "taskSupport");
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
            execution: match task_support.as_deref() {
                Some("required") => Execution::AsTask,
                _ => Execution::Direct,
            },
        })
    }

    /// The argument of this name.
    pub(super) fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.name == name)
    }
}

/// Arguments for the properties of an object's schema, given as JSON text.
pub(super) fn arguments(schema: &str) -> Vec<Argument> {
    let properties = member::<IndexMap<String, Box<RawValue>>>(schema, "properties");
    let required = member::<HashSet<String>>(schema, "required").unwrap_or_default();
    let root: Value = serde_json::from_str(schema).unwrap_or_default();
    let mut left = MAX_SUBSCHEMAS_IN_ALL;
    let read = |(name, schema): (String, Box<RawValue>)| {
        let schema: Value = serde_json::from_str(schema.get()).unwrap_or_default();
        let mut argument = Argument {
            is_required: required.contains(&name),
            name,
            ..Argument::default()
        };
        argument.learn(&schema, &mut SchemaWalk::through(&root, &mut left), 0);
        argument.alternatives =
            alternatives(&schema, &mut SchemaWalk::through(&root, &mut left), 0);
        argument
    };
    properties
        .unwrap_or_default()
        .into_iter()
        .map(read)
        .collect()
}

impl Argument {
    /// Adds the description and the default of a schema. What an outer one has said counts.
    fn learn(&mut self, schema: &Value, walk: &mut SchemaWalk, depth: usize) {
        if !walk.may_enter(depth) {
            return;
        }
        let text = |name: &str| schema[name].as_str().map(str::to_owned);
        let described = self.description.take().or_else(|| text("description"));
        self.description = described.or_else(|| text("title"));
        let default = schema.get("default").filter(|default| !default.is_null());
        self.default = self.default.take().or_else(|| default.cloned());
        if let Some(target) = referenced(schema, walk.root) {
            self.learn(target, walk, depth + 1);
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            for schema in schema[keyword].as_array().into_iter().flatten() {
                self.learn(schema, walk, depth + 1);
            }
        }
    }

    /// Its type, in a word or two.
    pub(super) fn kind(&self) -> String {
        let (choices, kinds) = self.wanted();
        let words: Vec<_> = choices.into_iter().chain(kinds).collect();
        if words.is_empty() {
            return "any".to_owned();
        }
        words.join("|")
    }

    /// The values that are named and the types that are allowed beside them. `null` is left out where
    /// something else is allowed.
    fn wanted(&self) -> (Vec<String>, Vec<String>) {
        let (mut choices, mut kinds) = (Vec::new(), Vec::new());
        for alternative in &self.alternatives {
            if alternative.choices.is_empty() {
                kinds.extend(alternative.kinds.iter().map(|kind| kind.name().to_owned()));
            } else {
                choices.extend(alternative.choices.iter().map(as_typed));
            }
        }
        let mut seen = HashSet::new();
        let is_null_only = choices.len() + kinds.len() == 1;
        let mut is_new = |word: &String| {
            seen.insert(word.clone()) && (is_null_only || word != JsonType::Null.name())
        };
        choices.retain(&mut is_new);
        kinds.retain(&mut is_new);
        (choices, kinds)
    }

    /// True if it is a boolean.
    pub(super) fn is_boolean(&self) -> bool {
        let boolean = Alternative {
            kinds: vec![JsonType::Boolean],
            choices: Vec::new(),
        };
        self.alternatives == [boolean]
    }

    /// The value that a person has typed; or what it has to be instead.
    pub(super) fn read(&self, text: &str) -> Result<Value, String> {
        let string = Value::from(text);
        let parsed = serde_json::from_str::<Value>(text).ok();
        let is_chosen = |value: &&Value| self.names(value);
        if let Some(value) = [Some(&string), parsed.as_ref()]
            .into_iter()
            .flatten()
            .find(is_chosen)
        {
            return Ok(value.clone());
        }
        let is_open = |it: &&Alternative| it.choices.is_empty();
        let open: Vec<_> = self.alternatives.iter().filter(is_open).collect();
        let takes_all = self.alternatives.is_empty() || open.iter().any(|it| it.kinds.is_empty());
        let takes_text = open.iter().any(|it| it.kinds.contains(&JsonType::String));
        let mut kinds = open.iter().flat_map(|it| &it.kinds);
        match parsed {
            // Who means text gets it, also where nothing at all would do.
            Some(Value::Null | Value::String(_)) if takes_text => Ok(string),
            Some(value) if takes_all => Ok(value),
            Some(value) => match kinds.find_map(|kind| kind.take(&value)) {
                Some(value) => Ok(value),
                None if takes_text => Ok(string),
                None => Err(self.mismatch(text)),
            },
            None if takes_text || takes_all => Ok(string),
            None => Err(self.mismatch(text)),
        }
    }

    /// True if the value is one of `enum`.
    fn names(&self, value: &Value) -> bool {
        let mut alternatives = self.alternatives.iter();
        alternatives.any(|it| it.choices.contains(value))
    }

    fn mismatch(&self, text: &str) -> String {
        let (choices, kinds) = self.wanted();
        let (choices, kinds) = (choices.join(", "), kinds.join("|"));
        match (choices.as_str(), kinds.as_str()) {
            (choices, "") => format!("has to be one of {choices}"),
            ("", kinds) => format!("has to be of type {kinds}, not {text:?}"),
            (choices, kinds) => format!("has to be one of {choices}, or of type {kinds}"),
        }
    }
}

/// The branches that a schema allows (JSON Schema 2020-12; `nullable` is of `OpenAPI`). Keywords beside each other
/// have to match together.
fn alternatives(schema: &Value, walk: &mut SchemaWalk, depth: usize) -> Vec<Alternative> {
    let mut own = Alternative::default();
    let names = schema["type"]
        .as_array()
        .map_or_else(|| std::slice::from_ref(&schema["type"]), Vec::as_slice);
    own.kinds.extend(names.iter().filter_map(JsonType::named));
    let choices = schema["enum"].as_array().into_iter().flatten();
    own.choices.extend(choices.take(MAX_CHOICES + 1).cloned());
    own.choices.extend(schema.get("const").cloned());
    if own.choices.len() > MAX_CHOICES {
        own.choices.clear();
    }
    let is_nullable = schema["nullable"] == true;
    let mut found = vec![own];
    if !walk.may_enter(depth) {
        return found;
    }
    if let Some(target) = referenced(schema, walk.root) {
        found = both(&found, &alternatives(target, walk, depth + 1));
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema[keyword].as_array() {
            let branches: Vec<_> = schemas
                .iter()
                .flat_map(|schema| alternatives(schema, walk, depth + 1))
                .take(MAX_ALTERNATIVES)
                .collect();
            found = both(&found, &branches);
        }
    }
    for schema in schema["allOf"].as_array().into_iter().flatten() {
        found = both(&found, &alternatives(schema, walk, depth + 1));
    }
    if is_nullable {
        found.push(Alternative {
            kinds: vec![JsonType::Null],
            choices: Vec::new(),
        });
    }
    found
}

/// The branches in which one of `some` and one of `others` hold together.
fn both(some: &[Alternative], others: &[Alternative]) -> Vec<Alternative> {
    let pairs = some
        .iter()
        .flat_map(|one| others.iter().map(move |other| (one, other)));
    pairs
        .filter_map(|(one, other)| one.and(other))
        .take(MAX_ALTERNATIVES)
        .collect()
}

/// The way through the subschemas of a document, bounded.
struct SchemaWalk<'a> {
    root: &'a Value,
    remaining: usize,
    /// The same for this walk and those after it.
    in_all: &'a mut usize,
}

impl<'a> SchemaWalk<'a> {
    const fn through(root: &'a Value, in_all: &'a mut usize) -> Self {
        Self {
            root,
            remaining: MAX_SUBSCHEMAS,
            in_all,
        }
    }

    /// Counts one more subschema. False where the walk ends.
    const fn may_enter(&mut self, depth: usize) -> bool {
        if depth > MAX_DEPTH || self.remaining == 0 || *self.in_all == 0 {
            return false;
        }
        self.remaining -= 1;
        *self.in_all -= 1;
        true
    }
}

/// The schema that `$ref` names inside the document.
fn referenced<'a>(schema: &Value, root: &'a Value) -> Option<&'a Value> {
    let pointer = schema["$ref"].as_str()?.strip_prefix('#')?;
    root.pointer(pointer)
}

impl Alternative {
    /// Types that both allow; `None` if there are none.
    fn and(&self, other: &Self) -> Option<Self> {
        let kinds = match (&self.kinds[..], &other.kinds[..]) {
            ([], kinds) | (kinds, []) => kinds.to_vec(),
            (some, others) => {
                let shared: Vec<_> = some
                    .iter()
                    .flat_map(|one| others.iter().filter_map(|other| one.and(*other)))
                    .collect();
                if shared.is_empty() {
                    return None;
                }
                shared
            }
        };
        let choices = match (&self.choices[..], &other.choices[..]) {
            ([], choices) | (choices, []) => choices.to_vec(),
            (some, others) => {
                let known: HashSet<_> = others.iter().map(Value::to_string).collect();
                let shared = some.iter().filter(|one| known.contains(&one.to_string()));
                let shared: Vec<_> = shared.cloned().collect();
                if shared.is_empty() {
                    return None;
                }
                shared
            }
        };
        Some(Self { kinds, choices })
    }
}

impl JsonType {
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

    /// The value as one of this type. A number without a fraction is an integer (JSON Schema 2020-12 §4.2.3).
    fn take(self, value: &Value) -> Option<Value> {
        let holds = match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => return integer(value),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        };
        holds.then(|| value.clone())
    }

    /// The type that is both.
    fn and(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Some(Self::Integer),
            (one, other) => (one == other).then_some(one),
        }
    }
}

/// The integer that a number is, spelled as `2`, `2.0` or `2e0`.
fn integer(value: &Value) -> Option<Value> {
    /// Up to here a double holds every integer.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    if value.is_i64() || value.is_u64() {
        return Some(value.clone());
    }
    let number = value.as_f64()?;
    let is_integer = number.fract() == 0.0 && number.abs() <= MAX_EXACT;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is an integer below 2^53"
    )]
    is_integer.then(|| Value::from(number as i64))
}

/// A value as a person would type it.
pub(super) fn as_typed(value: &Value) -> String {
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
            (
                json!({"anyOf": [{"const": "latest", "type": "string"}, {"type": "integer"}]}),
                "5",
                json!(5),
            ),
            (
                json!({"anyOf": [{"enum": ["small"], "type": "string"}, {"type": "string"}]}),
                "other",
                json!("other"),
            ),
            (
                json!({"anyOf": [{"enum": ["asc"], "type": "string"}, {"type": "null"}]}),
                "null",
                json!(null),
            ),
            (
                json!({"type": "string", "anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}),
                "b",
                json!("b"),
            ),
            (
                json!({"type": "integer", "nullable": true}),
                "null",
                json!(null),
            ),
            (json!({"type": "integer"}), "2.0", json!(2)),
            (json!({"type": "integer"}), "2e3", json!(2000)),
            (json!({"type": ["integer", "array"]}), "[2]", json!([2])),
            (
                json!({"allOf": [{"$ref": "#/$defs/level"}], "default": "low"}),
                "high",
                json!("high"),
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
    fn a_schema_that_refers_to_itself_many_times_ends() {
        let branches: Vec<_> = (0..50).map(|_| json!({"$ref": "#/$defs/tree"})).collect();
        let schema = json!({
            "properties": {"x": {"$ref": "#/$defs/tree"}},
            "$defs": {"tree": {"anyOf": branches}},
        });
        let found = arguments(&schema.to_string());
        assert_eq!(found[0].read("7"), Ok(json!(7)));
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
                json!({"anyOf": [{"const": "latest"}, {"type": "integer"}, {"type": "null"}]}),
                "soon",
                "has to be one of latest, or of type integer",
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
    fn what_is_read_of_a_schema_is_bounded() {
        let values: Vec<_> = (0..=MAX_CHOICES).collect();
        let many = argument(&json!({ "type": "integer", "enum": values }));
        assert_eq!(many.kind(), "integer");
        let few = argument(&json!({ "enum": &values[1..] }));
        assert!(few.read("0").is_err() && few.read("1").is_ok());

        let each = json!({ "allOf": vec![json!({ "$ref": "#/$defs/a" }); 100] });
        let properties: serde_json::Map<_, _> = (0..1_000)
            .map(|it| (it.to_string(), each.clone()))
            .collect();
        let schema = json!({ "properties": properties, "$defs": { "a": { "description": "d" } } });
        let arguments = arguments(&schema.to_string());
        let described = arguments.iter().filter(|it| it.description.is_some());
        assert!((1..MAX_SUBSCHEMAS_IN_ALL / 100).contains(&described.count()));
        assert_eq!(arguments.len(), 1_000);
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
