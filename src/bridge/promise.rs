//! What a legacy app is told of a server that has not answered its `initialize` yet: that a person signs
//! in meanwhile, or that the server is down, is no reason for an app to give up.

use serde_json::{Map, Value, json};

use crate::message::{Message, RequestId};

/// The lists that a server may have, by their capability.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// What the app was told of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The version that it speaks since.
    version: String,
    /// The lists of which it expects to be told when they change.
    lists: Vec<&'static str>,
    /// Whether it may be sent log messages.
    logging: bool,
}

impl Told {
    /// What an answer to `initialize` tells.
    pub(super) fn by(response: &Message) -> Self {
        let capabilities: Value = response.result_member("capabilities").unwrap_or_default();
        let changes = |list: &&str| capabilities[*list]["listChanged"] == true;
        Self {
            version: response
                .result_member("protocolVersion")
                .unwrap_or_default(),
            lists: LISTS.into_iter().filter(changes).collect(),
            logging: capabilities["logging"].is_object(),
        }
    }

    /// The version that the app speaks.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Whether the app may be sent log messages.
    pub(super) const fn has_logging(&self) -> bool {
        self.logging
    }

    /// Tells the app to ask for all that it may have missed.
    pub(super) fn list_changes(&self) -> impl Iterator<Item = Message> {
        self.lists.iter().map(|list| {
            Message::notification(&format!("notifications/{list}/list_changed"), &json!({}))
        })
    }
}

/// The answer to `initialize` in the name of a server that has not given one: the last one known, or else
/// one that rules nothing out. Either says that lists change, for that is how the app hears when the
/// server is there.
pub(super) fn answer(id: &RequestId, asked: &str, known: Option<&Value>, host: &str) -> Message {
    let mut result = match known {
        Some(known) => known.clone(),
        None => superset(asked, host),
    };
    for list in LISTS {
        if let Some(capability) = result["capabilities"][list].as_object_mut() {
            capability.insert("listChanged".to_owned(), true.into());
        }
    }
    Message::result(id, &result.to_string())
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
            "{host} has not been reached yet. If a call fails because a sign-in is missing, tell the \
             user to open the address in the error, and try again afterwards."
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

    /// What the server will presumably say to an app that asks for the version `asked`.
    pub(super) fn to(&self, asked: &str) -> Option<Value> {
        if let Some(same) = self.0.get(asked) {
            return Some(same.clone());
        }
        let (other, answer) = self.0.iter().next()?;
        let mut answer = answer.clone();
        // It spoke what it was asked for, so it will again; else it named the newest that it knows.
        if answer["protocolVersion"] == **other {
            answer["protocolVersion"] = asked.into();
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
        let told = Told::by(&answer(&id(), "2025-06-18", None, "example.com"));
        assert_eq!(told.version(), "2025-06-18");
        assert_eq!(told.lists, LISTS);
        assert!(told.has_logging());
        let methods: Vec<_> = told
            .list_changes()
            .map(|message| message.method().map(str::to_owned))
            .collect();
        assert_eq!(
            methods[2].as_deref(),
            Some("notifications/resources/list_changed")
        );
    }

    #[test]
    fn a_known_server_has_what_it_had_and_its_lists_may_change() {
        let told = Told::by(&answer(&id(), "2025-06-18", Some(&real("2025-06-18")), "x"));
        assert_eq!(told.lists, ["tools"]);
        assert!(!told.has_logging());
    }

    #[test]
    fn what_a_server_answers_depends_on_the_version_it_is_asked_for() {
        let mut answers = Answers::default();
        assert_eq!(answers.to("2025-06-18"), None);
        assert!(answers.learn("2025-06-18", real("2025-06-18")));
        assert!(!answers.learn("2025-06-18", real("2025-06-18")));
        assert_eq!(answers.to("2025-11-25"), Some(real("2025-11-25")));

        let mut older = Answers::default();
        older.learn("2025-11-25", real("2025-03-26"));
        assert_eq!(older.to("2025-06-18"), Some(real("2025-03-26")));
        let text = serde_json::to_vec(older.as_map()).unwrap();
        assert_eq!(Answers::parse(&text), older);
        assert_eq!(Answers::parse(b"{"), Answers::default());
    }
}
