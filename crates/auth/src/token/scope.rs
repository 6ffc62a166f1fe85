//! Scopes: a set of words without order (RFC 6749 §3.3).

use std::fmt;

use indexmap::IndexSet;
use serde::{Deserialize, Serialize, Serializer};

use mcp_bridge_text::name::Name;
use mcp_bridge_text::printable::is_identifier;

/// Limits for a set, in scopes and in bytes of their names. Servers have some hundred at most; a request with more
/// would be refused for its length.
const MAX_SCOPES: usize = 4_096;
const MAX_BYTES: usize = 64 * 1024;

/// A set of scopes, in the order in which they were first named. What is beyond the limits is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<String>")]
pub(crate) struct Scopes(Box<Set>);

/// Boxed, because futures have many of them and mostly they are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Set {
    names: IndexSet<Name>,
    /// The bytes of all names.
    bytes: usize,
}

impl Scopes {
    /// The scopes of a space-delimited list.
    pub(crate) fn parse(list: &str) -> Self {
        let words = list.split_whitespace();
        words.map(str::to_owned).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.names.is_empty()
    }

    pub(crate) fn contains(&self, scope: &str) -> bool {
        self.0.names.contains(scope)
    }

    /// These scopes and those of `others` that are new.
    pub(crate) fn union(&self, others: &Self) -> Self {
        let mut union = self.clone();
        for scope in &others.0.names {
            union.insert(scope.clone());
        }
        union
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(|name| &**name)
    }

    fn insert(&mut self, scope: Name) {
        let size = scope.len();
        if self.0.names.len() >= MAX_SCOPES || self.0.bytes + size > MAX_BYTES {
            return;
        }
        if self.0.names.insert(scope) {
            self.0.bytes += size;
        }
    }
}

impl FromIterator<String> for Scopes {
    fn from_iter<I: IntoIterator<Item = String>>(scopes: I) -> Self {
        let mut set = Self::default();
        for scope in scopes {
            // What RFC 6749 §3.3 does not allow in a scope is no scope.
            if is_identifier(&scope) {
                set.insert(scope.into());
            }
        }
        set
    }
}

impl From<Vec<String>> for Scopes {
    fn from(scopes: Vec<String>) -> Self {
        scopes.into_iter().collect()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_bridge_text::name::comparisons::grow_linearly;

    fn many(scopes: usize) -> Scopes {
        (0..scopes)
            .map(|number| format!("scope-{number}"))
            .collect()
    }

    #[test]
    fn a_union_names_each_scope_once_and_keeps_the_order() {
        let union = Scopes::parse("b a").union(&Scopes::parse("c  a"));
        assert_eq!(union.to_string(), "b a c");
        assert!(union.contains("c") && !union.contains("d"));
    }

    #[test]
    fn a_set_is_stored_as_a_list() {
        let json = r#"["b","a"]"#;
        let stored: Scopes = serde_json::from_str(json).unwrap();
        assert_eq!(stored, Scopes::parse("b a"));
        assert_eq!(serde_json::to_string(&stored).unwrap(), json);
    }

    #[test]
    fn a_set_is_bounded() {
        assert_eq!(many(80_000).iter().count(), MAX_SCOPES);
        let long: Scopes = (0..100)
            .map(|it| format!("{it}{}", "x".repeat(1024)))
            .collect();
        assert_eq!(long.iter().count(), 63);
        assert_eq!(long.union(&many(3)).iter().count(), 66);
        assert_eq!(
            many(MAX_SCOPES).union(&Scopes::parse("x")),
            many(MAX_SCOPES)
        );
    }

    #[test]
    fn each_scope_is_compared_a_few_times_however_many_there_are() {
        grow_linearly(|scopes| {
            let all = many(scopes);
            let union = all.union(&many(scopes));
            assert!(union == all);
        });
    }
}
