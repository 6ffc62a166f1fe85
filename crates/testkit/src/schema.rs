//! Messages checked against the official JSON schema of their MCP revision.
//!
//! The checker knows the keywords that these schemas use, and panics at any other.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value};

/// All revisions, oldest first.
const REVISIONS: [(&str, &str); 5] = [
    (
        "2024-11-05",
        include_str!("../../../tests/schemas/2024-11-05.json"),
    ),
    (
        "2025-03-26",
        include_str!("../../../tests/schemas/2025-03-26.json"),
    ),
    (
        "2025-06-18",
        include_str!("../../../tests/schemas/2025-06-18.json"),
    ),
    (
        "2025-11-25",
        include_str!("../../../tests/schemas/2025-11-25.json"),
    ),
    (
        "2026-07-28",
        include_str!("../../../tests/schemas/2026-07-28.json"),
    ),
];

static SCHEMAS: LazyLock<HashMap<&str, Schema>> = LazyLock::new(|| {
    let read = |(revision, text)| (revision, Schema::parse(text));
    REVISIONS.into_iter().map(read).collect()
});

/// The definitions of one revision.
#[derive(Debug)]
pub struct Schema {
    definitions: Map<String, Value>,
    /// The definitions of requests and notifications, by their methods.
    methods: HashMap<String, String>,
}

impl Schema {
    /// The schema of a revision, if it is one.
    pub fn of(revision: &str) -> Option<&'static Self> {
        SCHEMAS.get(revision)
    }

    fn parse(text: &str) -> Self {
        let mut schema: Value = serde_json::from_str(text).expect("a schema is JSON");
        // The older revisions use an older version of JSON Schema.
        let named = ["$defs", "definitions"];
        let name = named.iter().find(|name| schema.get(*name).is_some());
        let definitions = schema[*name.expect("a schema has definitions")].take();
        let Value::Object(definitions) = definitions else {
            panic!("definitions are an object");
        };
        let methods = definitions.iter().filter_map(|(name, definition)| {
            let method = definition["properties"]["method"]["const"].as_str()?;
            Some((method.to_owned(), name.clone()))
        });
        Self {
            methods: methods.collect(),
            definitions,
        }
    }

    /// Checks a request or a notification of the server.
    pub fn check_sent(&self, method: &str, message: &Value) -> Result<(), String> {
        match self.methods.get(method) {
            Some(definition) => self.check_definition(definition, message),
            None if is_known_anywhere(method) => Err(format!("this revision has no {method}")),
            None => Ok(()),
        }
    }

    /// Checks the result of a request of the app.
    pub fn check_result(&self, method: &str, result: &Value) -> Result<(), String> {
        let definition = match method {
            "initialize" => "InitializeResult",
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                "EmptyResult"
            }
            "tools/list" => "ListToolsResult",
            "tools/call" => "CallToolResult",
            "prompts/list" => "ListPromptsResult",
            "prompts/get" => "GetPromptResult",
            "resources/list" => "ListResourcesResult",
            "resources/templates/list" => "ListResourceTemplatesResult",
            "resources/read" => "ReadResourceResult",
            "completion/complete" => "CompleteResult",
            "server/discover" => "DiscoverResult",
            "subscriptions/listen" => "SubscriptionsListenResult",
            _ => "Result",
        };
        let definition = match result["resultType"].as_str() {
            Some("input_required") => "InputRequiredResult",
            // The tasks extension has a schema of its own.
            Some("task") => "Result",
            _ if result.get("task").is_some() => "CreateTaskResult",
            _ => definition,
        };
        let is_defined = self.definitions.contains_key(definition);
        self.check_definition(if is_defined { definition } else { "Result" }, result)
    }

    /// Checks an error response.
    pub fn check_error(&self, message: &Value) -> Result<(), String> {
        // JSON-RPC 2.0 §5 has `null` for an id that could not be read, and the schemas forget it.
        let mut message = message.clone();
        if message["id"].is_null() {
            message["id"] = 0.into();
        }
        let names = ["JSONRPCErrorResponse", "JSONRPCError"];
        let defined = names
            .into_iter()
            .find(|name| self.definitions.contains_key(*name));
        self.check_definition(defined.expect("errors are defined"), &message)
    }

    fn check_definition(&self, name: &str, value: &Value) -> Result<(), String> {
        self.check(&self.definitions[name], value)
            .map_err(|why| format!("{name}: {why}"))
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let Some(keywords) = schema.as_object() else {
            return match schema {
                Value::Bool(true) => Ok(()),
                _ => Err("nothing is allowed here".to_owned()),
            };
        };
        for (keyword, expected) in keywords {
            self.check_keyword(keyword, expected, keywords, value)?;
        }
        Ok(())
    }

    fn check_keyword(
        &self,
        keyword: &str,
        expected: &Value,
        schema: &Map<String, Value>,
        value: &Value,
    ) -> Result<(), String> {
        match keyword {
            "$ref" => {
                let name = expected.as_str().and_then(|path| path.rsplit('/').next());
                self.check_definition(name.expect("a local reference"), value)
            }
            "type" => {
                let types: Vec<&str> = match expected {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    one => one.as_str().into_iter().collect(),
                };
                let holds = types.iter().any(|name| has_type(name, value));
                expect(holds, || format!("{} is no {expected}", shown(value)))
            }
            "const" => expect(value == expected, || {
                format!("{} is not {expected}", shown(value))
            }),
            "enum" => {
                let holds = expected.as_array().expect("a list").contains(value);
                expect(holds, || format!("{} is none of {expected}", shown(value)))
            }
            "required" => {
                let names = expected.as_array().expect("a list");
                let missing = names.iter().filter_map(Value::as_str);
                let missing = value.as_object().and_then(|object| {
                    missing.into_iter().find(|name| !object.contains_key(*name))
                });
                expect(missing.is_none(), || {
                    format!("{} is missing", missing.unwrap_or_default())
                })
            }
            "properties" => expected
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(name, schema)| Some((name, schema, value.get(name)?)))
                .try_for_each(|(name, schema, member)| {
                    self.check(schema, member)
                        .map_err(|why| format!("{name}: {why}"))
                }),
            "additionalProperties" => {
                let Some(object) = value.as_object() else {
                    return Ok(());
                };
                let known = schema.get("properties");
                let is_known = |name: &str| known.is_some_and(|known| known.get(name).is_some());
                object
                    .iter()
                    .filter(|(name, _)| !is_known(name))
                    .try_for_each(|(name, member)| {
                        self.check(expected, member)
                            .map_err(|why| format!("{name}: {why}"))
                    })
            }
            "items" => value
                .as_array()
                .into_iter()
                .flatten()
                .try_for_each(|item| self.check(expected, item)),
            "maxItems" => {
                let count = value.as_array().map_or(0, Vec::len);
                let holds = expected.as_u64() >= u64::try_from(count).ok();
                expect(holds, || format!("{count} items"))
            }
            "minimum" | "maximum" => {
                let (Some(value), Some(limit)) = (value.as_f64(), expected.as_f64()) else {
                    return Ok(());
                };
                let holds = if keyword == "minimum" {
                    value >= limit
                } else {
                    value <= limit
                };
                expect(holds, || format!("{value} is beyond {limit}"))
            }
            "anyOf" => {
                let schemas = expected.as_array().expect("a list");
                let mut reasons = Vec::new();
                for schema in schemas {
                    match self.check(schema, value) {
                        Ok(()) => return Ok(()),
                        Err(reason) => reasons.push(reason),
                    }
                }
                Err(reasons.join(" | "))
            }
            "allOf" => expected
                .as_array()
                .expect("a list")
                .iter()
                .try_for_each(|schema| self.check(schema, value)),
            "$schema" => Ok(()),
            other => panic!("the checker does not know the keyword {other}"),
        }
    }
}

/// True if a revision of MCP has this method.
fn is_known_anywhere(method: &str) -> bool {
    SCHEMAS
        .values()
        .any(|schema| schema.methods.contains_key(method))
}

fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
        }
        other => panic!("the checker does not know the type {other}"),
    }
}

fn shown(value: &Value) -> String {
    const SHOWN: usize = 100;
    value.to_string().chars().take(SHOWN).collect()
}

#[test]
fn the_checker_tells_what_is_wrong_in_each_revision() {
    use serde_json::json;
    let result = |prompts: Value| {
        let capabilities = json!({"tools": {"listChanged": true}, "prompts": prompts});
        let info = json!({"name": "n", "version": "1"});
        json!({"protocolVersion": "v", "capabilities": capabilities, "serverInfo": info})
    };
    for (revision, _) in &REVISIONS[..4] {
        let schema = Schema::of(revision).expect("it is there");
        assert_eq!(
            schema.check_result("initialize", &result(json!({}))),
            Ok(())
        );
        for wrong in [
            result(Value::Null),
            result(json!({"listChanged": 1})),
            json!({"protocolVersion": "v"}),
        ] {
            assert!(
                schema.check_result("initialize", &wrong).is_err(),
                "{wrong}"
            );
        }
    }
    let audio = json!({"content": [{"type": "audio", "data": "", "mimeType": "audio/wav"}]});
    let form = json!({"message": "m", "requestedSchema": {"type": "object", "properties": {}}});
    let question =
        json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": form});
    for (revision, has_audio, has_questions) in [
        ("2024-11-05", false, false),
        ("2025-03-26", true, false),
        ("2025-06-18", true, true),
        ("2025-11-25", true, true),
    ] {
        let schema = Schema::of(revision).expect("it is there");
        let checked = schema.check_result("tools/call", &audio);
        assert_eq!(checked.is_ok(), has_audio, "{revision}: {checked:?}");
        let checked = schema.check_sent("elicitation/create", &question);
        assert_eq!(checked.is_ok(), has_questions, "{revision}: {checked:?}");
    }
}
