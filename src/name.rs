//! Names that are looked up among many, such as scopes and members of objects. Tests count how often they are
//! compared, so that a loop that grows with the square of what a server sends is noticed.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A name in a table.
#[derive(Debug, Clone)]
pub struct Name(Box<str>);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        comparisons::count();
        self.0 == other.0
    }
}

impl Eq for Name {}

// As that of its text, for the lookup by a text.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Count of the comparisons of names.
#[cfg(test)]
pub mod comparisons {
    use std::cell::Cell;

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts one more in this thread.
    pub(super) fn count() {
        COMPARISONS.set(COMPARISONS.get() + 1);
    }

    /// Fails if `work` on twice as many names takes much more than twice as many comparisons.
    pub fn grow_linearly(work: impl Fn(usize)) {
        const NAMES: usize = 1_000;
        /// Two names of which only the hashes agree are compared now and then.
        const CHANCE: u64 = 100;
        let counted = |names: usize| {
            let before = COMPARISONS.get();
            work(names);
            COMPARISONS.get() - before
        };
        let (once, twice) = (counted(NAMES), counted(2 * NAMES));
        let most = 2 * once + CHANCE;
        assert!(
            twice <= most && once <= 10 * NAMES as u64,
            "{once}, {twice}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "499500")]
    fn a_search_from_the_beginning_for_each_name_is_noticed() {
        comparisons::grow_linearly(|names| {
            let mut seen: Vec<Name> = Vec::new();
            for number in 0..names {
                let name = Name::from(number.to_string());
                if !seen.contains(&name) {
                    seen.push(name);
                }
            }
        });
    }
}
