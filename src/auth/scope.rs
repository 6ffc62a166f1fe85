//! Scopes: a set of words without order (RFC 6749 §3.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::printable::is_identifier;

/// A set of scopes, in the order in which they were first named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Scopes(Vec<String>);

impl Scopes {
    /// The scopes of a space-delimited list.
    pub(super) fn parse(list: &str) -> Self {
        let words = list.split_whitespace();
        words.map(str::to_owned).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|known| known == scope)
    }

    /// These scopes and those of `others` that are new.
    pub(super) fn union(&self, others: &Self) -> Self {
        self.0.iter().chain(&others.0).cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromIterator<String> for Scopes {
    fn from_iter<I: IntoIterator<Item = String>>(scopes: I) -> Self {
        let mut set = Self::default();
        for scope in scopes {
            // What RFC 6749 §3.3 does not allow in a scope is no scope.
            if !is_identifier(&scope) {
                continue;
            }
            if !set.contains(&scope) {
                set.0.push(scope);
            }
        }
        set
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_names_each_scope_once_and_keeps_the_order() {
        let union = Scopes::parse("b a").union(&Scopes::parse("c  a"));
        assert_eq!(union.to_string(), "b a c");
    }
}
