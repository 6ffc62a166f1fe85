//! Provisional `initialize` result, given while a sign-in is missing or the server is down: from the cache, or with
//! all capabilities that a server may have.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use mcp_bridge_protocol::era::{Revision, presumed_version};
use mcp_bridge_protocol::lists::{SERVER_LISTS, ServerList};
use mcp_bridge_protocol::message::{Message, RequestId};

/// Capabilities of a server that matter here.
const CAPABILITIES: [&str; 5] = ["tools", "prompts", "resources", "completions", "logging"];

/// Version and capabilities by an answer to `initialize`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AnnouncedServer {
    /// The version that it speaks since.
    version: String,
    /// The capabilities that matter here.
    capabilities: Vec<&'static str>,
    /// The lists of which it expects to be told when they change.
    lists: Vec<ServerList>,
}

impl AnnouncedServer {
    /// Reads an answer to `initialize`.
    pub(super) fn from_response(response: &Message) -> Self {
        let capabilities: Value = response.result_member("capabilities").unwrap_or_default();
        let has = |name: &&str| capabilities[*name].is_object();
        let changes = |list: &ServerList| capabilities[list.capability]["listChanged"] == true;
        Self {
            version: response
                .result_member("protocolVersion")
                .unwrap_or_default(),
            capabilities: CAPABILITIES.into_iter().filter(has).collect(),
            lists: SERVER_LISTS.into_iter().filter(changes).collect(),
        }
    }

    /// The version that the app speaks.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Returns whether the version is one in which an app can be asked to open a page.
    pub(super) fn has_url_elicitation(&self) -> bool {
        Revision::closest_to(&self.version) >= Revision::V2025_11_25
    }

    /// Returns whether the server has this capability.
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Tells the app to ask again for these lists, named by their capabilities, as far as it expects to be
    /// told of them.
    pub(super) fn list_changes(&self, changed: &HashSet<&str>) -> impl Iterator<Item = Message> {
        let lists = self.lists.iter();
        let lists = lists.filter(|list| changed.contains(list.capability));
        lists.map(|list| Message::notification(list.changed, &json!({})))
    }
}

/// The answer to `initialize` in the name of a server that has not given one: the last one known, or else
/// one that rules nothing out. Either says that lists change, for that is how the app hears when the
/// server is there.
pub(super) fn answer(id: &RequestId, asked: &str, known: Option<&Value>, host: &str) -> Message {
    let asked = presumed_version(asked);
    let mut result = superset(asked, host);
    if let Some(known) = known.and_then(Value::as_object) {
        result = completed(known.clone(), asked, host).into();
    }
    for list in SERVER_LISTS {
        let capability = result.pointer_mut(&format!("/capabilities/{}", list.capability));
        if let Some(capability) = capability.and_then(Value::as_object_mut) {
            capability.insert("listChanged".to_owned(), true.into());
        }
    }
    Message::result(id, &result.to_string())
}

/// A remembered answer with all that the specification wants in one, and without `null` for what is absent:
/// some servers write that, and apps refuse it.
fn completed(mut known: Map<String, Value>, version: &str, host: &str) -> Map<String, Value> {
    known.retain(|_, member| !member.is_null());
    let version = known
        .get("protocolVersion")
        .and_then(Value::as_str)
        .map_or(version, presumed_version)
        .to_owned();
    known.insert("protocolVersion".to_owned(), version.into());
    let mut capabilities = object(known.remove("capabilities"));
    for capability in capabilities.values_mut().filter_map(Value::as_object_mut) {
        capability.retain(|_, member| !member.is_null());
    }
    known.insert("capabilities".to_owned(), capabilities.into());
    let mut info = object(known.remove("serverInfo"));
    for (name, value) in [("name", host), ("version", "unknown")] {
        if !info.get(name).is_some_and(Value::is_string) {
            info.insert(name.to_owned(), value.into());
        }
    }
    known.insert("serverInfo".to_owned(), info.into());
    known
}

/// The members of an object but for those that are `null`; none of anything else.
fn object(value: Option<Value>) -> Map<String, Value> {
    let Some(Value::Object(mut members)) = value else {
        return Map::new();
    };
    members.retain(|_, member| !member.is_null());
    members
}

/// All that a server of that version may have.
fn superset(version: &str, host: &str) -> Value {
    json!({
        "protocolVersion": version,
        "capabilities": {
            "tools": {},
            "prompts": {},
            "resources": { "subscribe": true },
            "completions": {},
            "logging": {},
        },
        "serverInfo": { "name": host, "version": "unknown" },
        "instructions": format!(
            "{host} is reached through mcp-bridge. If a tool or an error asks for a sign-in, tell the user \
             to open the address in it, and try again afterwards."
        ),
    })
}

/// The answers of one server to one account, by the version that was asked for: a server answers with
/// that version if it speaks it, so what it says depends on who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answers(Map<String, Value>);

/// Versions that are remembered; there are four.
const MAX_ANSWERS: usize = 8;

impl Answers {
    pub(super) fn parse(json: &[u8]) -> Self {
        Self(serde_json::from_slice(json).unwrap_or_default())
    }

    pub(super) fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The versions in which the server has answered, each once.
    pub(super) fn versions(&self) -> Vec<String> {
        let versions = self
            .0
            .values()
            .filter_map(|answer| answer["protocolVersion"].as_str());
        let mut versions: Vec<_> = versions.map(str::to_owned).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// The presumable answer to an app that asks for the version `asked`.
    pub(super) fn answer_to(&self, asked: &str) -> Option<Value> {
        if let Some(same) = self.0.get(asked) {
            return Some(same.clone());
        }
        let (other, answer) = self.0.iter().next()?;
        let mut answer = answer.clone();
        // It spoke what it was asked for, so it will again; else it named the newest that it knows.
        if let Some(version) = answer.get_mut("protocolVersion")
            && *version == **other
        {
            *version = asked.into();
        }
        Some(answer)
    }

    /// Takes down what the server said. False if that was known.
    pub(super) fn learn(&mut self, asked: &str, result: Value) -> bool {
        if self.0.get(asked) == Some(&result) {
            return false;
        }
        if self.0.len() >= MAX_ANSWERS {
            self.0.clear();
        }
        self.0.insert(asked.to_owned(), result);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> RequestId {
        RequestId::from_string("1")
    }

    fn real(version: &str) -> Value {
        json!({ "protocolVersion": version, "capabilities": { "tools": {} }, "serverInfo": {} })
    }

    #[test]
    fn an_unknown_server_may_have_everything() {
        let announced =
            AnnouncedServer::from_response(&answer(&id(), "2025-06-18", None, "example.com"));
        assert_eq!(announced.version(), "2025-06-18");
        assert_eq!(announced.lists, SERVER_LISTS);
        let result = answer(&id(), "2025-06-18", None, "example.com");
        let instructions: String = result.result_member("instructions").unwrap();
        // They stay with the app's model for the whole session.
        assert!(!instructions.contains("yet"), "{instructions}");
        assert_eq!(announced.capabilities, CAPABILITIES);
        let methods: Vec<_> = announced
            .list_changes(&SERVER_LISTS.iter().map(|list| list.capability).collect())
            .map(|message| message.method().map(str::to_owned))
            .collect();
        assert_eq!(
            methods[2].as_deref(),
            Some("notifications/resources/list_changed")
        );
    }

    #[test]
    fn a_known_server_has_what_it_had_and_its_lists_may_change() {
        let announced = AnnouncedServer::from_response(&answer(
            &id(),
            "2025-06-18",
            Some(&real("2025-06-18")),
            "x",
        ));
        assert_eq!(announced.lists, SERVER_LISTS[..1]);
        assert_eq!(announced.capabilities, ["tools"]);
    }

    #[test]
    fn what_a_known_server_does_not_say_stays_unsaid() {
        for known in [
            json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": {} }),
            json!({
                "protocolVersion": null,
                "capabilities": { "tools": { "listChanged": null }, "prompts": null },
                "serverInfo": { "name": null },
                "instructions": null,
            }),
        ] {
            let answer = answer(&id(), "2025-06-18", Some(&known), "host");
            let announced: Value = serde_json::from_str(answer.result_json().unwrap()).unwrap();
            assert_eq!(
                announced,
                json!({
                    "protocolVersion": "2025-06-18",
                    "capabilities": { "tools": { "listChanged": true } },
                    "serverInfo": { "name": "host", "version": "unknown" },
                })
            );
        }
        for useless in [json!([]), json!(7), Value::Null] {
            let answer = answer(&id(), "2025-06-18", Some(&useless), "host");
            assert_eq!(
                AnnouncedServer::from_response(&answer).capabilities,
                CAPABILITIES,
                "{useless}"
            );
        }
    }

    #[test]
    fn what_a_server_answers_depends_on_the_version_it_is_asked_for() {
        let mut answers = Answers::default();
        assert_eq!(answers.answer_to("2025-06-18"), None);
        assert!(answers.learn("2025-06-18", real("2025-06-18")));
        assert!(!answers.learn("2025-06-18", real("2025-06-18")));
        assert_eq!(answers.answer_to("2025-11-25"), Some(real("2025-11-25")));

        let mut older = Answers::default();
        older.learn("2025-11-25", real("2025-03-26"));
        assert_eq!(older.answer_to("2025-06-18"), Some(real("2025-03-26")));
        let text = serde_json::to_vec(older.as_map()).unwrap();
        assert_eq!(Answers::parse(&text), older);
        assert_eq!(Answers::parse(b"{"), Answers::default());
    }
}
