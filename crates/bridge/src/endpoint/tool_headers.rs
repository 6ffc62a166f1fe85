//! `Mcp-Param-*` headers: tool arguments that a server wants in headers, by the `x-mcp-header` annotations of its
//! input schemas (MCP 2026-07-28, "Custom Headers from Tool Parameters").

use std::collections::{HashMap, HashSet};

use reqwest::header::HeaderName;
use serde_json::Value;
use serde_json::value::RawValue;

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::message::Message;

const ANNOTATION: &str = "x-mcp-header";

/// Tools whose headers are remembered. A server with more gets the headers of the others refused, and
/// they are learned anew then.
const MAX_TOOLS: usize = 10_000;

/// The bytes of names that are remembered for all tools together. Likewise.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Limit for the depth of a schema.
const MAX_DEPTH: usize = 64;

/// A header, and the path of the argument whose value it carries.
pub(super) type Mirror = (HeaderName, Vec<String>);

/// Headers that the lists of tools ask for. The latest list counts.
#[derive(Debug, Default)]
pub(super) struct ToolHeaders {
    table: Mutex<ToolTable>,
}

#[derive(Debug, Default)]
struct ToolTable {
    /// The tools that want any.
    tools: HashMap<String, Vec<Mirror>>,
    /// The bytes of names in `tools`.
    bytes: usize,
    /// True if the server has shown that it reads such headers.
    are_read: bool,
    changes: u64,
}

/// Reason why a tool may not be used over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadTool {
    #[error("an x-mcp-header is not a header name")]
    Name,
    #[error("two arguments have the x-mcp-header {0}")]
    Twice(HeaderName),
    #[error("an x-mcp-header stands on an argument that is not of type string, integer or boolean")]
    Type,
    #[error("an x-mcp-header stands where no single argument is meant")]
    Place,
    #[error("the schema is nested too deeply")]
    Depth,
}

impl ToolHeaders {
    /// The headers that a call of `tool` has to carry.
    pub(super) fn of_tool(&self, tool: &str) -> Vec<Mirror> {
        self.lock().tools.get(tool).cloned().unwrap_or_default()
    }

    /// Returns whether the server has shown that it reads the headers of MCP 2026-07-28, by an annotation or by
    /// refusing a message for its headers.
    pub(super) fn are_read(&self) -> bool {
        self.lock().are_read
    }

    /// The server has refused a message for its headers.
    pub(super) fn record_refusal(&self) {
        self.lock().record_reader();
    }

    /// Number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Learns from a `tools/list` response of the modern era, and returns it without the tools that must
    /// not be used.
    pub(super) fn learn(&self, response: &Message) -> Message {
        response.with_elements("tools", |raw| match self.learn_tool(raw) {
            Ok(()) => true,
            Err(RejectedTool { tool, reason }) => {
                tracing::warn!(tool, "left out of tools/list: {reason}");
                false
            }
        })
    }

    /// Learns from a `tools/list` response of the legacy era, which has no rules for annotations: a tool
    /// whose annotations are wrong gets no headers.
    pub(super) fn learn_legacy(&self, response: &Message) {
        let is_annotated = memchr::memmem::find(response.text(), ANNOTATION.as_bytes()).is_some();
        if !is_annotated && self.lock().tools.is_empty() {
            return;
        }
        let tools = response.result_member::<Vec<&RawValue>>("tools");
        for tool in tools.unwrap_or_default() {
            if let Err(RejectedTool { tool, reason }) = self.learn_tool(tool) {
                tracing::debug!(tool, "its arguments are not sent in headers: {reason}");
            }
        }
    }

    fn learn_tool(&self, tool: &RawValue) -> Result<(), RejectedTool> {
        let Ok(tool) = serde_json::from_str::<Value>(tool.get()) else {
            // Nothing that could be annotated; the app may judge it.
            return Ok(());
        };
        let name = tool["name"].as_str().unwrap_or_default();
        match mirrors(&tool["inputSchema"]) {
            Ok(mirrors) => {
                self.lock().set(name, mirrors);
                Ok(())
            }
            Err(reason) => {
                self.lock().set(name, Vec::new());
                let tool = name.to_owned();
                Err(RejectedTool { tool, reason })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ToolTable> {
        self.table.lock()
    }
}

/// A tool with annotations that break the rules.
struct RejectedTool {
    tool: String,
    reason: BadTool,
}

impl ToolTable {
    fn set(&mut self, tool: &str, mirrors: Vec<Mirror>) {
        let before = self.tools.get(tool).map_or(&[][..], Vec::as_slice);
        if before == mirrors {
            return;
        }
        self.changes += 1;
        if let Some(before) = self.tools.remove(tool) {
            self.bytes -= size(tool, &before);
        }
        if mirrors.is_empty() {
            return;
        }
        self.record_reader();
        let size = size(tool, &mirrors);
        if self.tools.len() < MAX_TOOLS && self.bytes + size <= MAX_BYTES {
            self.bytes += size;
            self.tools.insert(tool.to_owned(), mirrors);
        }
    }

    const fn record_reader(&mut self) {
        if !self.are_read {
            self.are_read = true;
            self.changes += 1;
        }
    }
}

/// The bytes of names that an entry has.
fn size(tool: &str, mirrors: &[Mirror]) -> usize {
    let paths = mirrors.iter().flat_map(|(_, path)| path);
    let headers = mirrors.iter().map(|(header, _)| header.as_str().len());
    tool.len() + headers.sum::<usize>() + paths.map(String::len).sum::<usize>()
}

/// All annotations of an input schema.
fn mirrors(schema: &Value) -> Result<Vec<Mirror>, BadTool> {
    let mut found = Vec::new();
    collect(schema, Some(&[]), &mut found, 0)?;
    let mut names = HashSet::new();
    for (name, _) in &found {
        if !names.insert(name) {
            return Err(BadTool::Twice(name.clone()));
        }
    }
    Ok(found)
}

/// The names on the way to an argument that is mirrored, in bytes together.
const MAX_PATH_BYTES: usize = 512;

/// Walks a schema by the places where JSON Schema 2020-12 has schemas, so that a property which happens
/// to be named `x-mcp-header` is data. `path` is known as long as only `properties` led here.
fn collect(
    schema: &Value,
    path: Option<&[String]>,
    found: &mut Vec<Mirror>,
    depth: usize,
) -> Result<(), BadTool> {
    let Value::Object(members) = schema else {
        return Ok(());
    };
    if depth > MAX_DEPTH {
        return Err(BadTool::Depth);
    }
    if let Some(annotation) = members.get(ANNOTATION) {
        found.push(mirror(annotation, path, members.get("type"))?);
    }
    for (keyword, value) in members {
        match keyword.as_str() {
            "properties" => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    // No header stands for what lies behind a longer one.
                    let path = path.filter(|path| {
                        let bytes = path.iter().map(String::len).sum::<usize>();
                        bytes + name.len() <= MAX_PATH_BYTES
                    });
                    let path = path.map(|path| [path, std::slice::from_ref(name)].concat());
                    collect(schema, path.as_deref(), found, depth + 1)?;
                }
            }
            "items"
            | "additionalProperties"
            | "additionalItems"
            | "contains"
            | "not"
            | "if"
            | "then"
            | "else"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "contentSchema"
            | "prefixItems"
            | "allOf"
            | "anyOf"
            | "oneOf" => {
                let one = std::slice::from_ref(value);
                for schema in value.as_array().map_or(one, Vec::as_slice) {
                    collect(schema, None, found, depth + 1)?;
                }
            }
            "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                for schema in value.as_object().into_iter().flat_map(|map| map.values()) {
                    collect(schema, None, found, depth + 1)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The header of an annotated argument.
fn mirror(
    annotation: &Value,
    path: Option<&[String]>,
    kind: Option<&Value>,
) -> Result<Mirror, BadTool> {
    let path = path.filter(|path| !path.is_empty()).ok_or(BadTool::Place)?;
    let name = header(annotation)?;
    match kind.and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok((name, path.to_vec())),
        _ => Err(BadTool::Type),
    }
}

fn header(annotation: &Value) -> Result<HeaderName, BadTool> {
    let name = annotation.as_str().filter(|name| !name.is_empty());
    let name = name.ok_or(BadTool::Name)?;
    HeaderName::try_from(format!("mcp-param-{name}")).map_err(|_| BadTool::Name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    fn schema(properties: &Value) -> Value {
        json!({ "type": "object", "properties": properties })
    }

    #[test]
    fn annotations_are_found_along_properties() {
        let found = mirrors(&schema(&json!({
            "a": { "type": "string", "x-mcp-header": "Region" },
            "b": { "type": "object", "properties": { "c": { "type": "boolean", "x-mcp-header": "X-C" } } },
            "x-mcp-header": { "type": "string" },
            "d": { "enum": [{ "x-mcp-header": "no schema" }], "default": { "x-mcp-header": "" } },
        })))
        .unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, path)| (name.as_str(), path.join("/")))
            .collect();
        assert_eq!(
            found,
            [
                ("mcp-param-region", "a".to_owned()),
                ("mcp-param-x-c", "b/c".to_owned())
            ]
        );
    }

    #[test]
    fn a_tool_with_a_bad_annotation_is_refused() {
        let twice = HeaderName::from_static("mcp-param-region");
        for (properties, expected) in [
            (
                json!({ "a": { "type": "string", "x-mcp-header": "" } }),
                BadTool::Name,
            ),
            (
                json!({ "a": { "type": "string", "x-mcp-header": "A B" } }),
                BadTool::Name,
            ),
            (
                json!({ "a": { "type": "string", "x-mcp-header": "X\r\nEvil: 1" } }),
                BadTool::Name,
            ),
            (
                json!({ "a": { "type": "string", "x-mcp-header": 7 } }),
                BadTool::Name,
            ),
            (
                json!({ "a": { "type": "number", "x-mcp-header": "A" } }),
                BadTool::Type,
            ),
            (
                json!({ "a": { "type": ["string"], "x-mcp-header": "A" } }),
                BadTool::Type,
            ),
            (json!({ "a": { "x-mcp-header": "A" } }), BadTool::Type),
            (
                json!({ "a": { "type": "string", "x-mcp-header": "Region" }, "b": { "type": "string", "x-mcp-header": "region" } }),
                BadTool::Twice(twice),
            ),
            (
                json!({ "a": { "items": { "type": "string", "x-mcp-header": "A" } } }),
                BadTool::Place,
            ),
            (
                json!({ "a": { "anyOf": [{ "type": "string", "x-mcp-header": "A" }] } }),
                BadTool::Place,
            ),
            (
                json!({ "a": { "items": { "properties": { "b": { "type": "string", "x-mcp-header": "A" } } } } }),
                BadTool::Place,
            ),
        ] {
            assert_eq!(mirrors(&schema(&properties)), Err(expected), "{properties}");
        }
        let behind_ref = json!({ "$defs": { "a": { "type": "string", "x-mcp-header": "A" } }, "properties": { "a": { "$ref": "#/$defs/a" } } });
        assert_eq!(mirrors(&behind_ref), Err(BadTool::Place));
    }

    fn listed(tools: &Value) -> Message {
        let text = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string();
        Message::parse(&Bytes::from(text)).unwrap()
    }

    fn annotated(name: &str, header: &str) -> Value {
        let argument = json!({ "type": "string", "x-mcp-header": header });
        json!({ "name": name, "inputSchema": schema(&json!({ "a": argument })) })
    }

    #[test]
    fn the_latest_list_counts_and_tells_that_headers_are_read() {
        let headers = ToolHeaders::default();
        headers.learn_legacy(&listed(&json!([{ "name": "a" }])));
        assert!(!headers.are_read());
        let before = headers.changes();
        headers.learn_legacy(&listed(&json!([
            annotated("a", "A"),
            annotated("b", "B C")
        ])));
        assert!(headers.are_read());
        assert_ne!(headers.changes(), before);
        assert_eq!(headers.of_tool("a").len(), 1);
        assert!(headers.of_tool("b").is_empty(), "its annotation is wrong");

        let before = headers.changes();
        headers.learn_legacy(&listed(&json!([annotated("a", "A")])));
        assert_eq!(headers.changes(), before, "nothing new");
        headers.learn_legacy(&listed(&json!([{ "name": "a" }])));
        assert!(headers.of_tool("a").is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        const NAME_BYTES: usize = 1024 * 1024;
        let headers = ToolHeaders::default();
        let name = |number: usize| format!("{number}{}", "x".repeat(NAME_BYTES));
        for number in 0..8 {
            headers.learn_legacy(&listed(&json!([annotated(&name(number), "A")])));
        }
        let known = (0..8).filter(|number| !headers.of_tool(&name(*number)).is_empty());
        assert_eq!(known.count(), 3);
        assert!(headers.lock().bytes <= MAX_BYTES);
    }

    #[test]
    fn only_the_bad_tools_are_cut_out_of_the_list() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a","n":1.0}, {"name":"b","inputSchema":{"properties":{"x":{"x-mcp-header":""}}}},{"name":"c","x":1e400}],"nextCursor":"","ttlMs":1.0}}"#;
        let message = Message::parse(&Bytes::from_static(text.as_bytes())).unwrap();
        let filtered = ToolHeaders::default().learn(&message);
        assert_eq!(
            filtered.text(),
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a","n":1.0},{"name":"c","x":1e400}],"nextCursor":"","ttlMs":1.0}}"#
        );
    }
}
