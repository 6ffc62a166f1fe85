//! Structured output that is no object, wrapped in one. A modern tool may return any JSON; a legacy app wants
//! objects (MCP 2025-11-25, "Output Schema"), so the value and its schema are wrapped alike.

use serde_json::json;
use serde_json::value::RawValue;

use crate::era::json::Json;
use crate::era::object::Object;
use mcp_bridge_text::name::NameTable;

/// Depth to which a schema is searched for references.
const MAX_DEPTH: usize = 64;

/// Member that holds the wrapped schema and the wrapped value.
const MEMBER: &str = "result";

/// Tools whose output is wrapped: what the app was told in `tools/list` holds for `tools/call`.
#[derive(Debug, Default)]
pub(super) struct Output {
    wrapped: NameTable<Wrapping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    /// The schema is that of an object: so is the value.
    None,
    /// The schema was wrapped: so has the value to be, whatever it is.
    Result,
}

impl Output {
    /// Wraps the schemas in a result of `tools/list`.
    pub(super) fn wrap_schemas(&mut self, result: &mut Object) {
        let Some(tools) = result.read::<Vec<Box<RawValue>>>("tools") else {
            return;
        };
        let tools: Vec<Box<RawValue>> = tools
            .into_iter()
            .map(|tool| self.wrap_schema(&tool).unwrap_or(tool))
            .collect();
        result.set("tools", &tools);
    }

    /// The tool with its schema wrapped, if it has to be.
    fn wrap_schema(&mut self, tool: &RawValue) -> Option<Box<RawValue>> {
        let mut tool = Object::parse(tool.get())?;
        let name: String = tool.read("name")?;
        let schema = tool.get("outputSchema")?;
        let root = Object::of(schema);
        let is_object =
            root.and_then(|root| root.read::<String>("type")).as_deref() == Some("object");
        if is_object {
            self.wrapped.insert(&name, Wrapping::None);
            return None;
        }
        let schema = repointed(schema.get(), Position::Schema, 0);
        let wrapper = json!({ "type": "object", "required": [MEMBER] });
        let mut wrapper = Object::parse(&wrapper.to_string())?;
        let mut properties = Object::default();
        properties.put(MEMBER, schema);
        wrapper.set_object("properties", &properties);
        tool.set_object("outputSchema", &wrapper);
        self.wrapped.insert(&name, Wrapping::Result);
        serde_json::value::to_raw_value(&tool).ok()
    }

    /// Wraps the value in a result of `tools/call`, and gives it a text if it has none.
    pub(super) fn wrap_result(&self, params: &Object, result: &mut Object) {
        let Some(value) = result.get("structuredContent").cloned() else {
            return;
        };
        let tool = params.read::<String>("name");
        let wrapping = tool.and_then(|tool| self.wrapped.get(&tool));
        let is_object = value.get().starts_with('{');
        if is_object && wrapping != Some(&Wrapping::Result) {
            return;
        }
        let mut wrapper = Object::default();
        wrapper.put(MEMBER, value.clone());
        result.set_object("structuredContent", &wrapper);

        let mut content = result
            .read::<Vec<Box<RawValue>>>("content")
            .unwrap_or_default();
        let is_text = |block: &RawValue| {
            let block = Object::parse(block.get());
            block
                .and_then(|block| block.read::<String>("type"))
                .as_deref()
                == Some("text")
        };
        if content.iter().any(|block| is_text(block)) {
            return;
        }
        let text = json!({ "type": "text", "text": value.get() });
        content.extend(serde_json::value::to_raw_value(&text).ok());
        result.set("content", &content);
    }
}

/// Meaning of a value in a schema (JSON Schema 2020-12, core §10 and validation §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// A schema, or an array of schemas.
    Schema,
    /// An object of schemas by names.
    Schemas,
    /// Anything: it is not looked into.
    Data,
}

impl Position {
    fn of_keyword(keyword: &str) -> Self {
        match keyword {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                Self::Schemas
            }
            "const" | "enum" | "default" | "examples" => Self::Data,
            _ => Self::Schema,
        }
    }
}

/// The schema with its local references pointing to where it stands from now on. One with a `$id` is
/// a resource of its own, whose references are relative to itself.
fn repointed(text: &str, position: Position, depth: usize) -> Json {
    if position == Position::Data
        || depth > MAX_DEPTH
        || !text.contains("Ref\"") && !text.contains("ref\"")
    {
        return text.into();
    }
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
        let items: Vec<_> = items
            .into_iter()
            .map(|item| repointed(item.get(), position, depth + 1))
            .collect();
        return serde_json::to_string(&items).map_or_else(|_| text.into(), Json::from);
    }
    let Some(object) = Object::parse(text) else {
        return text.into();
    };
    if position == Position::Schema && object.get("$id").is_some() {
        return text.into();
    }
    let mut moved = Object::default();
    for (name, value) in object.iter() {
        if position == Position::Schemas {
            moved.put(name, repointed(value.get(), Position::Schema, depth + 1));
            continue;
        }
        let pointer = match name {
            "$ref" | "$dynamicRef" => object.read::<String>(name),
            _ => None,
        };
        let local = pointer
            .as_deref()
            .and_then(|pointer| pointer.strip_prefix('#'));
        match local {
            Some(path) if path.is_empty() || path.starts_with('/') => {
                moved.set(name, &format!("#/properties/{MEMBER}{path}"));
            }
            _ => moved.put(
                name,
                repointed(value.get(), Position::of_keyword(name), depth + 1),
            ),
        }
    }
    moved.to_json().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(schema: &str) -> String {
        repointed(schema, Position::Schema, 0).get().to_owned()
    }

    /// T-36
    #[test]
    fn local_references_follow_the_schema() {
        for (schema, moved) in [
            (
                r##"{"$ref":"#/$defs/A"}"##,
                r##"{"$ref":"#/properties/result/$defs/A"}"##,
            ),
            (
                r##"{"items":{"$ref":"#"}}"##,
                r##"{"items":{"$ref":"#/properties/result"}}"##,
            ),
            (
                r##"{"anyOf":[{"$ref":"#/$defs/A"},{"type":"string"}]}"##,
                r##"{"anyOf":[{"$ref":"#/properties/result/$defs/A"},{"type":"string"}]}"##,
            ),
            (
                r##"{"properties":{"const":{"$ref":"#/$defs/A"}}}"##,
                r##"{"properties":{"const":{"$ref":"#/properties/result/$defs/A"}}}"##,
            ),
        ] {
            assert_eq!(wrap(schema), moved);
        }
    }

    /// T-36
    #[test]
    fn what_is_no_local_reference_stays() {
        for schema in [
            r##"{"$ref":"#anchor"}"##,
            r#"{"$ref":"https://example.com/schema"}"#,
            r##"{"const":{"$ref":"#/$defs/A"}}"##,
            r##"{"enum":[{"$ref":"#/a"}]}"##,
            r#"{"properties":{"$ref":{"type":"string"}}}"#,
            r##"{"$id":"https://example.com/s","items":{"$ref":"#/$defs/A"}}"##,
            r#"{"maximum":1e400,"type":"array","items":{"type":"integer"}}"#,
            "true",
        ] {
            assert_eq!(wrap(schema), schema);
        }
    }
}
