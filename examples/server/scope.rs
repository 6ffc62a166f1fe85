//! Scopes: what a token allows.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One permission (RFC 6749 §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// To talk to the MCP server at all and to see who the user is.
    Profile,
    /// To order coffee in the user's name.
    Coffee,
}

impl Scope {
    /// Every scope there is.
    pub(crate) const ALL: [Self; 2] = [Self::Profile, Self::Coffee];

    /// The name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Coffee => "coffee",
        }
    }

    /// Sentence of the consent page about it.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Profile => "See your name and e-mail address",
            Self::Coffee => "Order coffee in your name",
        }
    }
}

/// A set of scopes, written as a list with spaces between (RFC 6749 §3.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Reads a `scope` parameter. The error is the first name that is not known here.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        list.split_whitespace()
            .map(|name| {
                let known = Scope::ALL.into_iter().find(|scope| scope.name() == name);
                known.ok_or_else(|| name.to_owned())
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns whether every scope of `other` is in this set too.
    pub(crate) fn include(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// The scopes of both sets.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// The scopes, in a fixed order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

impl<const N: usize> From<[Scope; N]> for Scopes {
    fn from(scopes: [Scope; N]) -> Self {
        Self(scopes.into())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::name).collect();
        f.write_str(&names.join(" "))
    }
}
