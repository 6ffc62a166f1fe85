//! Rules of the tool filter: `--allow-tool`, `--ignore-tool`, `--read-only`.

use std::convert::Infallible;
use std::str::FromStr;

use serde_json::json;
use serde_json::value::RawValue;

use mcp_bridge_net::setting::Setting;
use mcp_bridge_protocol::codes::INTERNAL_ERROR;
use mcp_bridge_protocol::message::{Message, RequestId, member};

/// Filter for the server's tools.
#[derive(Debug, Clone)]
pub struct ToolFilter {
    /// Tools that are hidden.
    pub ignored: Vec<Glob>,
    /// The only tools that are not; if there are none, all.
    pub allowed: Vec<Glob>,
    /// Limit for the effects of a tool.
    pub access: Access,
}

/// Limit for the effects of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anything.
    Any,
    /// Nothing that changes anything: the server says so in `annotations.readOnlyHint`.
    ReadOnly,
}

/// A pattern for names: `*` stands for any text, upper and lower case are the same (as in `--ignore-tool`
/// of npm mcp-remote).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// The text before, between and after the stars.
    pieces: Vec<String>,
}

/// Reason for which a tool is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hidden {
    /// Its name is one of those that are hidden.
    Ignored,
    /// Its name is none of those that are allowed.
    NotAllowed,
    /// The server does not say that it only reads.
    NotReadOnly,
    /// It has no name that could be looked at.
    Nameless,
}

impl FromStr for Glob {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let pieces = text.to_lowercase().split('*').map(str::to_owned).collect();
        Ok(Self { pieces })
    }
}

impl Glob {
    fn matches(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let [first, between @ .., last] = &self.pieces[..] else {
            return self.pieces.first().is_some_and(|whole| *whole == name);
        };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else {
            return false;
        };
        for piece in between {
            let Some(at) = rest.find(piece.as_str()) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

impl ToolFilter {
    /// Reason for which the name alone hides a tool, if it does.
    pub(super) fn hides_name(&self, name: &str) -> Option<Hidden> {
        let is_one_of = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(name));
        if is_one_of(&self.ignored) {
            return Some(Hidden::Ignored);
        }
        (!self.allowed.is_empty() && !is_one_of(&self.allowed)).then_some(Hidden::NotAllowed)
    }

    /// Reason for which a tool of a list is hidden, if it is.
    pub(super) fn hides(&self, tool: &RawValue) -> Option<Hidden> {
        let Some(name) = name(tool) else {
            return Some(Hidden::Nameless);
        };
        self.hides_name(&name).or_else(|| {
            (self.access == Access::ReadOnly && !is_read_only(tool)).then_some(Hidden::NotReadOnly)
        })
    }
}

impl Hidden {
    /// The answer to the call `id` of such a tool.
    pub(super) fn to_response(self, id: &RequestId, tool: &str, host: &str) -> Message {
        let data = json!({
            "source": "mcp-bridge",
            "kind": "tool_not_available",
            "host": host,
            "hint": self.hint(),
        });
        let text = format!("Tool \"{tool}\" is not available");
        Message::error(Some(id), INTERNAL_ERROR, &text, Some(&data))
    }

    fn hint(self) -> String {
        match self {
            Self::Ignored => format!("mcp-bridge was told to hide it, by {}", Setting::IgnoreTool),
            Self::NotAllowed => format!(
                "mcp-bridge was told which tools to let through, by {}",
                Setting::AllowTool
            ),
            Self::NotReadOnly => {
                format!(
                    "mcp-bridge was told to let through only what the server calls read-only, by {}",
                    Setting::ReadOnly
                )
            }
            Self::Nameless => "a call has to name its tool".to_owned(),
        }
    }
}

/// The name of a tool of a list.
pub(super) fn name(tool: &RawValue) -> Option<String> {
    member(tool.get(), "name")
}

/// Returns whether the server says that a tool of a list changes nothing.
pub(super) fn is_read_only(tool: &RawValue) -> bool {
    let annotations = member::<&RawValue>(tool.get(), "annotations");
    annotations.and_then(|annotations| member(annotations.get(), "readOnlyHint")) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        let Ok(glob) = text.parse();
        glob
    }

    fn filter(ignored: &[&str], allowed: &[&str], access: Access) -> ToolFilter {
        ToolFilter {
            ignored: ignored.iter().map(|text| glob(text)).collect(),
            allowed: allowed.iter().map(|text| glob(text)).collect(),
            access,
        }
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        for (pattern, name, expected) in [
            ("delete", "delete", true),
            ("delete", "Delete", true),
            ("DELETE*", "delete_all", true),
            ("delete", "delete_all", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*delete*", "undeleted", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*a", "ab", false),
            ("a**b", "ab", true),
            ("a.c", "abc", false),
            ("a?c", "abc", false),
            ("[ab]", "a", false),
            ("größe*", "GRÖSSE", false),
            ("größe*", "GRÖßE_x", true),
        ] {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    /// All patterns and names of up to four letters, against a definition that is plainly right.
    #[test]
    fn globs_match_what_their_definition_says() {
        fn defined(pattern: &[u8], name: &[u8]) -> bool {
            match (pattern, name) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| defined(rest, &name[at..])),
                ([a, rest @ ..], [b, name @ ..]) => a == b && defined(rest, name),
                _ => false,
            }
        }
        fn words(letters: &[u8], length: u32) -> Vec<String> {
            let mut all = vec![String::new()];
            let mut last = all.clone();
            for _ in 0..length {
                let longer = |word: &String| {
                    let word = word.clone();
                    letters
                        .iter()
                        .map(move |letter| format!("{word}{}", char::from(*letter)))
                };
                last = last.iter().flat_map(longer).collect();
                all.extend(last.clone());
            }
            all
        }
        for pattern in words(b"ab*", 4) {
            let glob = glob(&pattern);
            for name in words(b"ab", 4) {
                let expected = defined(pattern.as_bytes(), name.as_bytes());
                assert_eq!(glob.matches(&name), expected, "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_is_hidden_has_a_reason() {
        let check = |filter: &ToolFilter, tool: &str, expected| {
            let tool: &RawValue = serde_json::from_str(tool).unwrap();
            assert_eq!(filter.hides(tool), expected, "{tool}");
        };
        let ignores = filter(&["del*"], &[], Access::Any);
        check(&ignores, r#"{"name":"\u0064elete"}"#, Some(Hidden::Ignored));
        check(&ignores, r#"{"name":"read","x":1e400}"#, None);
        check(&ignores, r#"{"name":"\ud800"}"#, Some(Hidden::Nameless));
        check(&ignores, "7", Some(Hidden::Nameless));
        let allows = filter(&["read-b"], &["read*"], Access::Any);
        check(&allows, r#"{"name":"read-a"}"#, None);
        check(&allows, r#"{"name":"read-b"}"#, Some(Hidden::Ignored));
        check(&allows, r#"{"name":"write"}"#, Some(Hidden::NotAllowed));
        let reads = filter(&[], &[], Access::ReadOnly);
        let hidden = Some(Hidden::NotReadOnly);
        check(
            &reads,
            r#"{"name":"a","annotations":{"readOnlyHint":true}}"#,
            None,
        );
        for tool in [
            r#"{"name":"a"}"#,
            r#"{"name":"a","annotations":null}"#,
            r#"{"name":"a","annotations":{"readOnlyHint":"true"}}"#,
            r#"{"name":"a","annotations":{"readOnlyHint":true,"readOnlyHint":false}}"#,
            r#"{"name":"a","readOnlyHint":true}"#,
        ] {
            check(&reads, tool, hidden);
        }
    }
}
