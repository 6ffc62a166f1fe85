//! Name lookup among many names, such as scopes and members of objects. Tests count how often names are compared,
//! so that a loop that grows with the square of what a server sends is noticed.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A name in a table.
#[derive(Debug, Clone)]
pub struct Name(Box<str>);

impl Name {
    /// Compares it with a text.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        #[cfg(any(test, feature = "count-comparisons"))]
        comparisons::count();
        *self.0 == *text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
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

/// A table by names that a stranger chooses, bounded in entries and in bytes of names.
#[derive(Debug)]
pub struct NameTable<V> {
    entries: HashMap<Name, V>,
    bytes: usize,
}

impl<V> NameTable<V> {
    const MAX_ENTRIES: usize = 10_000;
    const MAX_BYTES: usize = 1024 * 1024;

    /// The entry of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        self.entries.get(name)
    }

    /// Enters a name, or changes its entry. Without room for it nothing happens.
    pub fn insert(&mut self, name: &str, value: V) {
        if let Some(known) = self.entries.get_mut(name) {
            *known = value;
            return;
        }
        let has_room =
            self.entries.len() < Self::MAX_ENTRIES && self.bytes + name.len() <= Self::MAX_BYTES;
        if has_room {
            self.bytes += name.len();
            self.entries.insert(Name(name.into()), value);
        }
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &str) {
        if self.entries.remove(name).is_some() {
            self.bytes -= name.len();
        }
    }

    /// Removes all names.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

impl<V> Default for NameTable<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            bytes: 0,
        }
    }
}

/// Count of the comparisons of names.
#[cfg(any(test, feature = "count-comparisons"))]
pub mod comparisons {
    use std::cell::Cell;

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts one more in this thread.
    pub(super) fn count() {
        COMPARISONS.set(COMPARISONS.get() + 1);
    }

    /// Shows that `work` on twice as many names takes hardly more than twice as many comparisons.
    ///
    /// # Panics
    ///
    /// If it takes more.
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
    fn a_table_is_bounded_in_entries_and_in_bytes() {
        type Table = NameTable<usize>;
        let longest = "x".repeat(Table::MAX_BYTES / 2);
        for (padding, names) in [("", 20_000), (&longest, 3)] {
            let mut table = Table::default();
            for number in 0..names {
                table.insert(&format!("{padding}{number}"), number);
            }
            let most = if padding.is_empty() {
                Table::MAX_ENTRIES
            } else {
                1
            };
            assert_eq!(table.entries.len(), most);
            assert_eq!(
                table.get(&format!("{padding}{}", most - 1)),
                Some(&(most - 1))
            );
            assert_eq!(table.get(&format!("{padding}{most}")), None);
            table.insert(&format!("{padding}0"), 7);
            assert_eq!(table.get(&format!("{padding}0")), Some(&7));
            for number in 0..names {
                table.remove(&format!("{padding}{number}"));
            }
            assert_eq!((table.entries.len(), table.bytes), (0, 0));
        }
    }

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
