//! Translation between two revisions of the legacy era, for an app and a server that speak different ones.
//!
//! Members that a revision does not know are harmless, and stay. What an older side cannot read is
//! translated, refused in its name, or dropped: the tables below say which. Batches are no business of this
//! translation: the bridge splits them in either direction.

use serde_json::json;

use super::json::Json;
use super::object::Object;
use super::revision::Revision;
use crate::codes::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::message::{Kind, Message};

/// The messages of a server, and one of an app, that came with a later revision than the first.
const METHODS: [(&str, Revision); 7] = [
    ("elicitation/create", Revision::V2025_06_18),
    ("notifications/elicitation/complete", Revision::V2025_11_25),
    ("notifications/tasks/status", Revision::V2025_11_25),
    ("tasks/get", Revision::V2025_11_25),
    ("tasks/result", Revision::V2025_11_25),
    ("tasks/list", Revision::V2025_11_25),
    ("tasks/cancel", Revision::V2025_11_25),
];

/// The kinds of content that came with a later revision than the first.
const CONTENT: [(&str, Revision); 4] = [
    ("audio", Revision::V2025_03_26),
    ("resource_link", Revision::V2025_06_18),
    ("tool_use", Revision::V2025_11_25),
    ("tool_result", Revision::V2025_11_25),
];

/// The first revision with `structuredContent` in results of tools.
const FIRST_WITH_STRUCTURE: Revision = Revision::V2025_06_18;

/// The first revision in which a question has a mode, a choice has titles and may be multiple, and sampling
/// has tools and several blocks of content in one message.
const FIRST_WITH_MODES: Revision = Revision::V2025_11_25;

/// Limit for the JSON text of a message's role, in bytes: it is `"user"` or `"assistant"`.
const MAX_ROLE: usize = 32;

/// Stands for audio that has no address of its own, where it becomes a resource.
const AUDIO_URI: &str = "mcp-bridge://audio";

/// The translation for one app and one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adapter {
    app: Revision,
    server: Revision,
}

/// Outcome for a message.
#[derive(Debug)]
pub enum Passage {
    /// The receiver gets it as it came.
    Unchanged,
    /// The receiver gets this instead.
    Changed(Message),
    /// The receiver would not know what to do with it.
    Dropped,
    /// The sender gets this error, as the receiver would answer.
    Refused(Message),
}

/// Place of a content block, which decides what it may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockPlace {
    /// In a result of a tool or in a prompt, where a resource may stand.
    Result,
    /// In a message for a model or from one: text, images, and later audio.
    Sampling,
}

impl Adapter {
    /// The translation between an app that speaks one version and a server that speaks another; `None` if
    /// there is nothing to translate.
    #[must_use]
    pub fn between(app: &str, server: &str) -> Option<Self> {
        let adapter = Self {
            app: Revision::closest_to(app),
            server: Revision::closest_to(server),
        };
        (adapter.app != adapter.server).then_some(adapter)
    }

    /// A request or a notification of the server.
    #[must_use]
    pub fn on_server_message(self, message: &Message) -> Passage {
        let method = message.method().unwrap_or_default();
        if first_revision(method) > self.app {
            return match message.kind() {
                Kind::Request { .. } => refused(message, METHOD_NOT_FOUND, "Method not found"),
                Kind::Notification { .. } | Kind::Response { .. } => Passage::Dropped,
            };
        }
        match method {
            "elicitation/create" if self.app < FIRST_WITH_MODES => plain_question(message),
            "sampling/createMessage" if self.app < self.server => self.plain_sampling(message),
            _ => Passage::Unchanged,
        }
    }

    /// A notification of the app.
    #[must_use]
    pub fn on_app_message(self, notification: &Message) -> Passage {
        let method = notification.method().unwrap_or_default();
        if first_revision(method) > self.server {
            Passage::Dropped
        } else {
            Passage::Unchanged
        }
    }

    /// The server's response to a request of the app; `None` if the app can read it as it is.
    #[must_use]
    pub fn result_for_app(self, method: &str, response: &Message) -> Option<Message> {
        if self.app >= self.server {
            return None;
        }
        let mut result = Object::parse(response.result_json()?)?;
        let is_changed = match method {
            "tools/call" => self.plain_tool_result(&mut result),
            "prompts/get" => self.plain_prompt(&mut result),
            _ => false,
        };
        is_changed.then(|| with_member(response, "result", &result))
    }

    /// The app's response to a request of the server; `None` if the server can read it as it is.
    #[must_use]
    pub fn result_for_server(self, method: &str, response: &Message) -> Option<Message> {
        if method != "sampling/createMessage" || self.server >= self.app {
            return None;
        }
        let mut result = Object::parse(response.result_json()?)?;
        let content = result.get("content")?.clone();
        let blocks = blocks(&content);
        let is_list = content.get().starts_with('[');
        // The server asked for one answer, and a model that says more than one thing says it in words.
        let text = is_list.then(|| joined_text(&blocks)).flatten();
        let plain = text.or_else(|| {
            let known = blocks.iter().find(|block| is_known(self.server, block));
            let block = known.or_else(|| blocks.first())?;
            let replaced = Self::replaced(self.server, block, BlockPlace::Sampling);
            Some(replaced.unwrap_or_else(|| block.clone()))
        })?;
        if plain.get() == content.get() {
            return None;
        }
        result.put("content", plain);
        Some(with_member(response, "result", &result))
    }

    /// Makes a tool's result one that the app knows. False if it is one.
    fn plain_tool_result(self, result: &mut Object) -> bool {
        let content = result.get("content").and_then(Json::elements);
        let mut content = content.unwrap_or_default();
        let mut is_changed = false;
        for block in &mut content {
            if let Some(plain) = Self::replaced(self.app, block, BlockPlace::Result) {
                *block = plain;
                is_changed = true;
            }
        }
        if self.app < FIRST_WITH_STRUCTURE
            && let Some(structure) = result.get("structuredContent")
            && !content.iter().any(|block| kind(block) == "text")
        {
            content.push(text_block(structure.get()));
            is_changed = true;
        }
        if is_changed {
            result.set("content", &content);
        }
        is_changed
    }

    /// Makes a prompt one that the app knows. False if it is one.
    fn plain_prompt(self, result: &mut Object) -> bool {
        let mut messages: Vec<Object> = result.read("messages").unwrap_or_default();
        let mut is_changed = false;
        for message in &mut messages {
            let content = message.get("content");
            let plain =
                content.and_then(|block| Self::replaced(self.app, block, BlockPlace::Result));
            if let Some(plain) = plain {
                message.put("content", plain);
                is_changed = true;
            }
        }
        if is_changed {
            result.set("messages", &messages);
        }
        is_changed
    }

    /// A request for a model's words, for an app of an older revision: one block of content for each message,
    /// and no tools.
    fn plain_sampling(self, request: &Message) -> Passage {
        let Some(mut params) = request.params_json().and_then(Object::parse) else {
            return Passage::Unchanged;
        };
        let has_tools = params.get("tools").is_some() || params.get("toolChoice").is_some();
        if self.app < FIRST_WITH_MODES && has_tools {
            return refused(
                request,
                INVALID_PARAMS,
                "Sampling with tools is not supported",
            );
        }
        let messages: Vec<Object> = params.read("messages").unwrap_or_default();
        let mut plain = Vec::with_capacity(messages.len());
        let mut is_changed = false;
        for mut message in messages {
            let Some(content) = message.remove("content") else {
                plain.push(message);
                continue;
            };
            is_changed |= content.get().starts_with('[');
            for block in &blocks(&content) {
                if matches!(&*kind(block), "tool_use" | "tool_result") {
                    let text = "Sampling with tools is not supported";
                    return refused(request, INVALID_PARAMS, text);
                }
                let replaced = Self::replaced(self.app, block, BlockPlace::Sampling);
                is_changed |= replaced.is_some();
                // The first block keeps all that stands beside it; for the others it would be copied each time.
                let others = only_role(&message);
                let mut single = std::mem::replace(&mut message, others);
                single.put("content", replaced.unwrap_or_else(|| block.clone()));
                plain.push(single);
            }
        }
        if !is_changed {
            return Passage::Unchanged;
        }
        params.set("messages", &plain);
        Passage::Changed(with_member(request, "params", &params))
    }

    /// Replacement for a block of content that `revision` does not know; `None` if it knows it.
    fn replaced(revision: Revision, block: &Json, place: BlockPlace) -> Option<Json> {
        if is_known(revision, block) {
            return None;
        }
        let block = Object::of(block)?;
        let kind: String = block.read("type").unwrap_or_default();
        let mut plain = match (&*kind, place) {
            ("audio", BlockPlace::Result) => {
                let mut resource = Object::default();
                resource.set("uri", &AUDIO_URI);
                resource.set("mimeType", &block.get("mimeType"));
                resource.set("blob", &block.get("data"));
                let mut plain = Object::default();
                plain.set("type", &"resource");
                plain.set_object("resource", &resource);
                plain
            }
            ("resource_link", BlockPlace::Result) => text_object(&link_in_words(&block)),
            _ => text_object(&format!("[{kind}, which cannot be shown here]")),
        };
        for member in ["annotations", "_meta"] {
            if let Some(value) = block.get(member) {
                plain.put(member, value.clone());
            }
        }
        Some(plain.to_json().into())
    }
}

/// A message for a model that says nothing yet, in the same role.
fn only_role(message: &Object) -> Object {
    let mut other = Object::default();
    if let Some(role) = message
        .get("role")
        .filter(|role| role.get().len() <= MAX_ROLE)
    {
        other.put("role", role.clone());
    }
    other
}

/// The revision in which a method came up.
fn first_revision(method: &str) -> Revision {
    let known = METHODS.iter().find(|(known, _)| *known == method);
    known.map_or(Revision::V2024_11_05, |(_, revision)| *revision)
}

/// Returns whether a revision knows this kind of content. What no revision knows is not for us to judge.
fn is_known(revision: Revision, block: &Json) -> bool {
    let kind = kind(block);
    let first = CONTENT.iter().find(|(known, _)| **known == *kind);
    first.is_none_or(|(_, first)| *first <= revision)
}

/// The kind of a block of content.
fn kind(block: &Json) -> String {
    crate::message::member(block.get(), "type").unwrap_or_default()
}

/// The blocks of content: one, or a list of them.
fn blocks(content: &Json) -> Vec<Json> {
    content.elements().unwrap_or_else(|| vec![content.clone()])
}

/// All that blocks of content say, if words are all that they are.
fn joined_text(blocks: &[Json]) -> Option<Json> {
    let texts = blocks.iter().map(|block| {
        let text: Option<String> = crate::message::member(block.get(), "text");
        text.filter(|_| kind(block) == "text")
    });
    let texts: Vec<String> = texts.collect::<Option<_>>()?;
    Some(text_block(&texts.join("\n")))
}

fn text_object(text: &str) -> Object {
    let mut block = Object::default();
    block.set("type", &"text");
    block.set("text", &text);
    block
}

fn text_block(text: &str) -> Json {
    text_object(text).to_json().into()
}

/// A link to a resource as a person would write it.
fn link_in_words(link: &Object) -> String {
    let read = |name| link.read::<String>(name);
    let uri = read("uri").unwrap_or_default();
    let name = read("title").or_else(|| read("name")).unwrap_or_default();
    match read("description") {
        Some(description) => format!("{name}: {uri} ({description})"),
        None => format!("{name}: {uri}"),
    }
}

/// A question to the person, for an app whose revision has forms alone, without titles for choices and
/// without multiple ones.
fn plain_question(request: &Message) -> Passage {
    let Some(mut params) = request.params_json().and_then(Object::parse) else {
        return Passage::Unchanged;
    };
    let mode = params.remove("mode");
    let mode: Option<String> = mode.and_then(|mode| mode.read());
    if mode.as_deref().is_some_and(|mode| mode != "form") {
        return refused(request, INVALID_PARAMS, "Only forms are supported");
    }
    let mut schema = params.object("requestedSchema").unwrap_or_default();
    let properties = schema.object("properties").unwrap_or_default();
    let mut plain = Object::default();
    let mut is_changed = mode.is_some();
    for (name, field) in properties.iter() {
        let Some(mut object) = Object::of(field) else {
            plain.put(name, field.clone());
            continue;
        };
        if object.read::<String>("type").as_deref() == Some("array") {
            let text = "A choice of several values is not supported";
            return refused(request, INVALID_PARAMS, text);
        }
        is_changed |= name_choices(&mut object);
        plain.set_object(name, &object);
    }
    if !is_changed {
        return Passage::Unchanged;
    }
    schema.set_object("properties", &plain);
    if params.get("requestedSchema").is_some() {
        params.set_object("requestedSchema", &schema);
    }
    Passage::Changed(with_member(request, "params", &params))
}

/// Writes a choice with titles as the older revision has it. False if it is no such choice.
fn name_choices(field: &mut Object) -> bool {
    let Some(choices) = field.read::<Vec<Object>>("oneOf") else {
        return false;
    };
    let read = |name: &str| -> Option<Vec<String>> {
        choices.iter().map(|choice| choice.read(name)).collect()
    };
    let (Some(values), titles) = (read("const"), read("title")) else {
        return false;
    };
    field.remove("oneOf");
    field.set("enum", &values);
    if let Some(titles) = titles {
        field.set("enumNames", &titles);
    }
    true
}

fn refused(request: &Message, code: i64, text: &str) -> Passage {
    let data = json!({ "source": "mcp-bridge" });
    let error = Message::error(request.id(), code, text, Some(&data));
    Passage::Refused(error)
}

/// The message with another value of one member; everything else keeps its text.
fn with_member(message: &Message, member: &str, value: &Object) -> Message {
    let text = std::str::from_utf8(message.text()).unwrap_or_default();
    let Some(mut object) = Object::parse(text) else {
        return message.clone();
    };
    object.set_object(member, value);
    object.into_message()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;

    fn message(value: &Value) -> Message {
        Message::parse(&Bytes::from(value.to_string())).expect("a message")
    }

    fn value(message: &Message) -> Value {
        serde_json::from_slice(message.text()).expect("JSON")
    }

    fn adapter(app: Revision, server: Revision) -> Adapter {
        Adapter { app, server }
    }

    /// Passage of a request of a server of the newest revision for an app of this one.
    fn asked(app: Revision, method: &str, params: &Value) -> Passage {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        adapter(app, Revision::V2025_11_25).on_server_message(&message(&request))
    }

    fn changed(passage: Passage) -> Value {
        match passage {
            Passage::Changed(message) => value(&message)["params"].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(passage: Passage) -> i64 {
        match passage {
            Passage::Refused(error) => error.error_text().expect("an error").0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_revision_needs_no_translation() {
        assert_eq!(Adapter::between("2025-06-18", "2025-06-18"), None);
        assert_eq!(Adapter::between("2024-10-07", "2024-11-05"), None);
        assert!(Adapter::between("2025-06-18", "2025-11-25").is_some());
    }

    #[test]
    fn what_a_revision_does_not_know_is_refused_or_dropped() {
        for (method, first) in METHODS {
            for app in Revision::ALL {
                let adapter = adapter(app, Revision::V2025_11_25);
                let params = json!({"message": "m"});
                let mut sent = json!({"jsonrpc": "2.0", "method": method, "params": params});
                let is_notification = method.starts_with("notifications/");
                if !is_notification {
                    sent["id"] = 1.into();
                }
                let passage = adapter.on_server_message(&message(&sent));
                let expected = match (app >= first, is_notification) {
                    (true, _) => matches!(passage, Passage::Unchanged),
                    (false, true) => matches!(passage, Passage::Dropped),
                    (false, false) => refusal(passage) == METHOD_NOT_FOUND,
                };
                assert!(expected, "{method} for {app:?}");
            }
        }
    }

    #[test]
    fn content_that_an_app_does_not_know_becomes_something_that_it_knows() {
        let audio = json!({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"});
        let link = json!({"type": "resource_link", "uri": "a:b", "name": "n", "title": "T"});
        let text = json!({"type": "text", "text": "x"});
        let content = json!([audio, link, text, {"type": "hologram"}]);
        let response = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": content, "z": 1}});
        for (app, kinds) in [
            (
                Revision::V2024_11_05,
                ["resource", "text", "text", "hologram"],
            ),
            (Revision::V2025_03_26, ["audio", "text", "text", "hologram"]),
        ] {
            let adapter = adapter(app, Revision::V2025_06_18);
            let plain = adapter.result_for_app("tools/call", &message(&response));
            let plain = value(&plain.expect("a change"));
            let blocks = plain["result"]["content"].as_array().expect("a list");
            let got: Vec<_> = blocks.iter().map(|block| block["type"].as_str()).collect();
            assert_eq!(got, kinds.map(Some), "{plain}");
            assert_eq!(blocks[1]["text"], "T: a:b");
            assert_eq!(plain["result"]["z"], 1);
        }
        let adapter = adapter(Revision::V2025_06_18, Revision::V2025_11_25);
        let plain = adapter.result_for_app("tools/call", &message(&response));
        assert!(plain.is_none());
    }

    #[test]
    fn a_prompt_is_translated_like_a_result() {
        let link = json!({"type": "resource_link", "uri": "a:b", "name": "n"});
        let messages = json!([{"role": "user", "content": link}]);
        let response = json!({"jsonrpc": "2.0", "id": 1, "result": {"messages": messages}});
        let adapter = adapter(Revision::V2024_11_05, Revision::V2025_11_25);
        let plain = adapter.result_for_app("prompts/get", &message(&response));
        let plain = value(&plain.expect("a change"));
        let content = &plain["result"]["messages"][0]["content"];
        assert_eq!(*content, json!({"type": "text", "text": "n: a:b"}));
    }

    #[test]
    fn structure_is_also_said_in_words() {
        let result = json!({"content": [], "structuredContent": {"a": 1}});
        let response = message(&json!({"jsonrpc": "2.0", "id": 1, "result": result}));
        let older = adapter(Revision::V2025_03_26, Revision::V2025_06_18);
        let plain = older
            .result_for_app("tools/call", &response)
            .expect("a change");
        assert_eq!(value(&plain)["result"]["content"][0]["text"], r#"{"a":1}"#);
        let newer = adapter(Revision::V2025_06_18, Revision::V2025_11_25);
        assert!(newer.result_for_app("tools/call", &response).is_none());
    }

    #[test]
    fn a_question_is_put_in_the_words_of_the_app() {
        let titled = json!({"type": "string", "oneOf": [
            {"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]});
        let schema = |field: &Value| json!({"type": "object", "properties": {"c": field}});
        let form =
            |field| json!({"mode": "form", "message": "m", "requestedSchema": schema(field)});
        let app = Revision::V2025_06_18;
        let params = changed(asked(app, "elicitation/create", &form(&titled)));
        let named = json!({"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]});
        assert_eq!(
            params,
            json!({"message": "m", "requestedSchema": schema(&named)})
        );
        let several = json!({"type": "array", "items": {"type": "string", "enum": ["r"]}});
        let page = json!({"mode": "url", "message": "m", "url": "https://a", "elicitationId": "1"});
        for params in [form(&several), page] {
            let code = refusal(asked(app, "elicitation/create", &params));
            assert_eq!(code, INVALID_PARAMS);
        }
        let plain = json!({"message": "m", "requestedSchema": schema(&named)});
        let passage = asked(app, "elicitation/create", &plain);
        assert!(matches!(passage, Passage::Unchanged), "{passage:?}");
    }

    #[test]
    fn sampling_has_one_block_for_each_message_and_no_tools() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let audio = json!({"type": "audio", "data": "", "mimeType": "audio/wav"});
        let content = json!([text("a"), audio]);
        let messages = json!([{"role": "user", "content": content}]);
        let params = json!({"messages": messages, "maxTokens": 1});
        let method = "sampling/createMessage";
        let plain = changed(asked(Revision::V2024_11_05, method, &params));
        assert_eq!(plain["messages"][0]["content"], text("a"));
        assert_eq!(plain["messages"][1]["content"]["type"], "text");
        let plain = changed(asked(Revision::V2025_06_18, method, &params));
        assert_eq!(plain["messages"][1]["content"], audio);
        let tools = json!({"messages": [], "maxTokens": 1, "tools": []});
        let code = refusal(asked(Revision::V2025_06_18, method, &tools));
        assert_eq!(code, INVALID_PARAMS);
    }

    #[test]
    fn what_stands_beside_many_blocks_is_kept_once() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let content = vec![text("a"); 1_000];
        let meta = json!({ "x": "y".repeat(1_000) });
        let messages = json!([{"role": "user", "content": content, "_meta": meta}]);
        let params = json!({"messages": messages, "maxTokens": 1});
        let passage = asked(Revision::V2025_06_18, "sampling/createMessage", &params);
        let plain = changed(passage);
        let messages = plain["messages"].as_array().expect("messages");
        assert_eq!(messages.len(), 1_000);
        assert!(messages.iter().all(|message| message["role"] == "user"));
        let with_meta = messages.iter().filter(|it| it.get("_meta").is_some());
        assert_eq!(with_meta.count(), 1);
    }

    #[test]
    fn a_model_says_one_thing_to_an_older_server() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let audio = json!({"type": "audio", "data": "", "mimeType": "audio/wav"});
        let said = |server, content: Value| {
            let result = json!({"role": "assistant", "model": "m", "content": content});
            let response = message(&json!({"jsonrpc": "2.0", "id": 1, "result": result}));
            let adapter = adapter(Revision::V2025_11_25, server);
            let plain = adapter.result_for_server("sampling/createMessage", &response);
            plain.map(|plain| value(&plain)["result"]["content"].clone())
        };
        let (first, second) = (Revision::V2024_11_05, Revision::V2025_03_26);
        assert_eq!(said(first, text("a")), None);
        assert_eq!(
            said(first, json!([text("a"), text("b")])),
            Some(text("a\nb"))
        );
        assert_eq!(said(second, json!([audio])), Some(audio.clone()));
        assert_eq!(said(second, audio.clone()), None);
        let words = said(first, audio).expect("a change");
        assert_eq!(words["type"], "text");
    }
}
