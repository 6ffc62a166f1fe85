//! Edit of one entry in the text of a configuration: all else stays as the user wrote it, comments, order and
//! unknown members too.

use serde_json::{Map, Value};

use super::apps::Format;
use super::entry::NewEntry;
use super::{jsonc, toml, yaml};

const BOM: char = '\u{feff}';

/// The entries of a file: the name of each, and its members.
pub(in crate::commands) type Servers = Vec<(String, Map<String, Value>)>;

/// Position of an entry in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryPosition<'a> {
    pub(super) format: Format,
    /// The keys that lead to the table of servers.
    pub(super) servers: &'a [&'a str],
    /// The key of an object in it that holds them instead, where the file has one.
    pub(super) inner: Option<&'a str>,
    /// The key of the entry.
    pub(super) name: &'a str,
}

/// Change that is wanted for an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'a> {
    /// It has these members, and of those that it had before the ones that go with them.
    Put(NewEntry<'a>),
    /// It is not there.
    Remove,
}

/// A text after the edit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    pub(super) change: EditChange,
    /// Headers that the entry sent as a remote one, and does not send any more.
    pub(super) lost_headers: Vec<String>,
}

/// Change that an edit has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EditChange {
    /// There was no entry of that name.
    Added,
    /// There was one, and it said something else.
    Changed,
    /// There was one.
    Removed,
    /// All is as it is wanted.
    Nothing,
}

/// Error of an edit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::commands) enum EditError {
    /// Not JSON, TOML or YAML.
    #[error("line {line}, column {column}: {what}")]
    Syntax {
        line: usize,
        column: usize,
        what: String,
    },
    /// Something else stands where the servers should.
    #[error("{0} is no {kind}", kind = .1.object())]
    NotAnObject(String, Format),
    /// A limit of [`super::bounds`] is exceeded.
    #[error("{name} has more than {most} {unit}")]
    TooLarge {
        name: String,
        most: usize,
        unit: &'static str,
    },
    /// The edit would have changed something else too.
    #[error("it is written in a way that cannot be edited with certainty")]
    Unsafe,
}

impl Format {
    /// Word of the format for a set of members.
    const fn object(self) -> &'static str {
        match self {
            Self::Json => "object",
            Self::Toml => "table",
            Self::Yaml => "mapping",
        }
    }
}

/// Carries out a wish. A text without content becomes a file that holds nothing else.
pub(super) fn edit(
    text: &str,
    position: EntryPosition<'_>,
    wish: Wish<'_>,
) -> Result<Edited, EditError> {
    let (mark, body) = match text.strip_prefix(BOM) {
        Some(body) => (&text[..BOM.len_utf8()], body),
        None => ("", text),
    };
    let body = if body.trim().is_empty() { "" } else { body };
    let edited = match position.format {
        Format::Json => jsonc::edit(body, position, wish)?,
        Format::Toml => toml::edit(body, position, wish)?,
        Format::Yaml => yaml::edit(body, position, wish)?,
    };
    let body = with_the_line_ends_of(body, edited.text);
    Ok(Edited {
        text: format!("{mark}{body}"),
        ..edited
    })
}

/// The servers in a text, by name. Those that are no object are left out.
pub(super) fn entries(text: &str, position: EntryPosition<'_>) -> Result<Servers, EditError> {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    if body.trim().is_empty() {
        return Ok(Vec::new());
    }
    match position.format {
        Format::Json => jsonc::entries(body, position),
        Format::Toml => toml::entries(body, position),
        Format::Yaml => yaml::entries(body, position),
    }
}

/// True if a text begins with a byte order mark, which many parsers of JSON refuse.
pub(super) fn has_byte_order_mark(text: &str) -> bool {
    text.starts_with(BOM)
}

/// Gives inserted lines the line ends of the rest of the file.
fn with_the_line_ends_of(before: &str, after: String) -> String {
    let lines = before.matches('\n').count();
    if lines == 0 || before.matches("\r\n").count() != lines {
        return after;
    }
    after.replace("\r\n", "\n").replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JSON: EntryPosition<'_> = EntryPosition {
        format: Format::Json,
        servers: &["mcpServers"],
        inner: None,
        name: "example",
    };
    const TOML: EntryPosition<'_> = EntryPosition {
        format: Format::Toml,
        servers: &["mcp_servers"],
        inner: None,
        name: "example",
    };

    fn put(position: EntryPosition<'_>, text: &str) -> Result<Edited, EditError> {
        let members = [
            ("command", json!("mcp-bridge")),
            ("args", json!(["https://example.com/mcp", "--debug"])),
        ];
        let entry = NewEntry {
            members: &members,
            extras: &[],
            kept: &["env", "enabled", "disabled"],
            url: "https://example.com/mcp",
            removed: None,
        };
        edit(text, position, Wish::Put(entry))
    }

    #[track_caller]
    fn check(position: EntryPosition<'_>, before: &str, change: EditChange, after: &str) {
        let edited = put(position, before).unwrap();
        assert_eq!(edited.text, after);
        assert_eq!(edited.change, change);
        let again = put(position, after).unwrap();
        assert_eq!(
            (again.text.as_str(), again.change),
            (after, EditChange::Nothing)
        );
    }

    #[track_caller]
    fn check_removed(position: EntryPosition<'_>, before: &str, after: &str) {
        let edited = edit(before, position, Wish::Remove).unwrap();
        assert_eq!(
            (edited.text.as_str(), edited.change),
            (after, EditChange::Removed)
        );
        let again = edit(after, position, Wish::Remove).unwrap();
        assert_eq!(
            (again.text.as_str(), again.change),
            (after, EditChange::Nothing)
        );
    }

    const FRESH: &str = r#"{
  "mcpServers": {
    "example": {
      "command": "mcp-bridge",
      "args": ["https://example.com/mcp", "--debug"]
    }
  }
}
"#;

    #[test]
    fn an_empty_text_becomes_a_file_with_one_entry() {
        for text in [
            "",
            "\n",
            "  \n\n",
            "{}",
            "{}\n",
            "null",
            "{ \"mcpServers\": {} }\n",
            "{ \"mcpServers\": null }\n",
        ] {
            let edited = put(JSON, text).unwrap();
            assert_eq!(edited.text.trim_end(), FRESH.trim_end(), "{text:?}");
            assert_eq!(edited.change, EditChange::Added);
        }
        assert_eq!(put(JSON, "").unwrap().text, FRESH);
        assert_eq!(
            put(JSON, "\u{feff}").unwrap().text,
            format!("\u{feff}{FRESH}")
        );
    }

    #[test]
    fn comments_trailing_commas_and_unknown_members_stay() {
        check(
            JSON,
            r#"// My settings
{
    "theme": "dark", // at night
    "mcpServers": {
        // the first
        "one": { "command": "one", "autoApprove": ["a",] },
    },
    /* the end */
}
"#,
            EditChange::Added,
            r#"// My settings
{
    "theme": "dark", // at night
    "mcpServers": {
        // the first
        "one": { "command": "one", "autoApprove": ["a",] },
        "example": {
            "command": "mcp-bridge",
            "args": ["https://example.com/mcp", "--debug"],
        },
    },
    /* the end */
}
"#,
        );
    }

    #[test]
    fn a_file_of_other_settings_gets_the_servers_at_its_end() {
        check(
            JSON,
            "{\n\t\"numStartups\": 12345678901234567890123,\n\t\"a\": 1e400\n}",
            EditChange::Added,
            "{\n\t\"numStartups\": 12345678901234567890123,\n\t\"a\": 1e400,\n\t\"mcpServers\": {\n\t\t\"example\": {\n\t\t\t\
             \"command\": \"mcp-bridge\",\n\t\t\t\"args\": [\"https://example.com/mcp\", \"--debug\"]\n\t\t}\n\t}\n}",
        );
    }

    #[test]
    fn an_entry_of_the_same_name_keeps_what_is_not_about_the_transport() {
        check(
            JSON,
            r#"{
  "mcpServers": {
    "example": {
      "type": "http",
      "url": "https://example.com/mcp", // remote
      "headers": { "X-Key": "1" },
      "env": { "KEY": "1" }, // mine
      "disabled": false
    },
    "other": {}
  }
}
"#,
            EditChange::Changed,
            r#"{
  "mcpServers": {
    "example": {
      "env": { "KEY": "1" }, // mine
      "disabled": false,
      "command": "mcp-bridge",
      "args": ["https://example.com/mcp", "--debug"]
    },
    "other": {}
  }
}
"#,
        );
        check(
            JSON,
            r#"{ "mcpServers": { "example": { "command": "npx", "args": ["mcp-remote", "https://example.com/mcp"] } } }"#,
            EditChange::Changed,
            r#"{ "mcpServers": { "example": { "command": "mcp-bridge", "args": ["https://example.com/mcp", "--debug"] } } }"#,
        );
    }

    #[test]
    fn an_entry_that_says_the_same_in_another_way_is_left_alone() {
        let text = "{\"mcpServers\":{\"ex\\u0061mple\":{\"args\":[\n\"https:\\/\\/example.com/mcp\",\"--debug\"],\"command\":\"mcp-bridge\",\"x\":1}}}";
        assert_eq!(
            put(JSON, text).unwrap(),
            Edited {
                text: text.to_owned(),
                change: EditChange::Nothing,
                lost_headers: Vec::new(),
            }
        );
    }

    /// Apps read the last one.
    #[test]
    fn of_members_of_one_name_the_last_is_changed() {
        let edited = put(
            JSON,
            r#"{ "mcpServers": { "example": null }, "mcpServers": { "example": { "command": "old" }, "example": 1 } }"#,
        );
        let edited = edited.unwrap();
        assert!(edited.text.starts_with(r#"{ "mcpServers": { "example": null }, "mcpServers": { "example": { "command": "old" }, "example": {"#));
        let value: Value = serde_json::from_str(&edited.text).unwrap();
        assert_eq!(value["mcpServers"]["example"]["command"], "mcp-bridge");
    }

    #[test]
    fn line_ends_and_byte_order_mark_stay() {
        let before = "\u{feff}{\r\n  \"a\": 1\r\n}\r\n";
        let after = put(JSON, before).unwrap().text;
        assert!(after.starts_with("\u{feff}{\r\n  \"a\": 1,\r\n  \"mcpServers\": {\r\n"));
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        let after = put(TOML, "a = 1\r\n").unwrap().text;
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, line) in [
            ("{\n  \"a\": 1\n  \"b\": 2\n}", 2),
            ("{\n  'a': 1\n}", 2),
            ("{\n  \"a\": }", 2),
            ("{", 1),
            ("{} {}", 1),
            ("{ a: 1 }", 1),
        ] {
            let error = put(JSON, text).unwrap_err();
            assert!(
                matches!(error, EditError::Syntax { line: it, .. } if it == line),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn what_holds_no_servers_is_refused() {
        for (text, what) in [
            ("[]", "the file"),
            ("7", "the file"),
            ("{ \"mcpServers\": [] }", "\"mcpServers\""),
        ] {
            let error = put(JSON, text).unwrap_err();
            assert_eq!(error, EditError::NotAnObject(what.to_owned(), Format::Json));
        }
        let error = put(TOML, "mcp_servers = 1").unwrap_err();
        assert_eq!(
            error,
            EditError::NotAnObject("\"mcp_servers\"".to_owned(), Format::Toml)
        );
    }

    #[test]
    fn an_inner_object_of_servers_counts_where_there_is_one() {
        const NESTED: EntryPosition<'_> = EntryPosition {
            servers: &["mcp"],
            inner: Some("servers"),
            ..JSON
        };
        let inner =
            r#"{ "mcp": { "servers": { "example": { "url": "https://example.com/mcp" } } } }"#;
        let after = put(NESTED, inner).unwrap().text;
        let value: Value = serde_json::from_str(&after).unwrap();
        assert_eq!(value["mcp"]["servers"]["example"]["command"], "mcp-bridge");
        // A server of that name is no such object.
        let flat = r#"{ "mcp": { "servers": { "type": "local", "command": ["x"] } } }"#;
        let after = put(NESTED, flat).unwrap().text;
        let value: Value = serde_json::from_str(&after).unwrap();
        assert_eq!(value["mcp"]["example"]["command"], "mcp-bridge");
        let both = r#"{ "mcp": { "example": {}, "servers": { "example": {} } } }"#;
        check_removed(NESTED, both, r#"{ "mcp": { "servers": {} } }"#);
    }

    #[test]
    fn an_entry_is_removed_and_all_else_stays() {
        check_removed(
            JSON,
            "{\n  \"mcpServers\": {\n    // one\n    \"one\": {},\n    \"example\": {\n      \"command\": \"x\"\n    }\n  }\n}\n",
            "{\n  \"mcpServers\": {\n    // one\n    \"one\": {}\n  }\n}\n",
        );
        check_removed(
            TOML,
            "a = 1\n\n[mcp_servers.example]\ncommand = \"x\"\n\n# two\n[mcp_servers.two]\ncommand = \"y\"\n",
            "a = 1\n\n# two\n[mcp_servers.two]\ncommand = \"y\"\n",
        );
        let nothing = edit("", JSON, Wish::Remove).unwrap();
        assert_eq!(
            (nothing.text.as_str(), nothing.change),
            ("", EditChange::Nothing)
        );
    }

    #[test]
    fn toml_keeps_comments_and_order() {
        let fresh = "[mcp_servers.example]\ncommand = \"mcp-bridge\"\nargs = [\"https://example.com/mcp\", \"--debug\"]\n";
        check(TOML, "", EditChange::Added, fresh);
        check(
            TOML,
            "# mine\nmodel = \"o\" # best\n\n[mcp_servers.one]\ncommand = \"one\"\n\n[tui]\ntheme = \"x\"\n",
            EditChange::Added,
            "# mine\nmodel = \"o\" # best\n\n[mcp_servers.one]\ncommand = \"one\"\n\n[mcp_servers.example]\ncommand = \"mcp-bridge\"\nargs = [\"https://example.com/mcp\", \"--debug\"]\n\n[tui]\ntheme = \"x\"\n",
        );
        check(
            TOML,
            "[mcp_servers.example]\nurl = \"https://example.com/mcp\"\nenabled = true # for now\n\n[mcp_servers.example.env]\nKEY = \"1\"\n",
            EditChange::Changed,
            "[mcp_servers.example]\nenabled = true # for now\ncommand = \"mcp-bridge\"\nargs = [\"https://example.com/mcp\", \"--debug\"]\n\n[mcp_servers.example.env]\nKEY = \"1\"\n",
        );
        check(
            TOML,
            "mcp_servers = { one = { command = \"one\" } }\n",
            EditChange::Added,
            "mcp_servers = { one = { command = \"one\" } , example = { command = \"mcp-bridge\", args = [\"https://example.com/mcp\", \"--debug\"] } }\n",
        );
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        let error = put(TOML, "a = 1\nb = = 2\n").unwrap_err();
        assert!(
            matches!(error, EditError::Syntax { line: 2, .. }),
            "{error}"
        );
    }
}
