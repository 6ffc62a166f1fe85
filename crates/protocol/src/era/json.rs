//! JSON text of one value, shared with the text that it is part of.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::Deserialize;
use serde::ser::{self, Serialize, Serializer};
use serde_json::value::RawValue;

/// A value as it is spelled. Cheap to clone. It keeps all of the text alive that it was cut out of, so what is stored is
/// [detached](Self::detached) from it.
#[derive(Clone)]
pub(super) struct Json {
    whole: Arc<str>,
    at: Range<usize>,
}

impl Json {
    /// The text.
    pub(super) fn get(&self) -> &str {
        &self.whole[self.at.clone()]
    }

    /// The value, if it reads as `T`.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.get()).ok()
    }

    /// The elements, if the value is a list.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.get()).ok()?;
        let elements = elements.iter().map(|element| self.slice_of(element.get()));
        Some(elements.collect())
    }

    /// A part of the text, which has to be a slice of it.
    pub(super) fn slice_of(&self, part: &str) -> Self {
        let start = part.as_ptr() as usize - self.whole.as_ptr() as usize;
        Self {
            whole: Arc::clone(&self.whole),
            at: start..start + part.len(),
        }
    }

    /// The same value in a text of its own.
    pub(super) fn detached(&self) -> Self {
        Self::from(self.get())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self {
            whole: text.into(),
            at: 0..text.len(),
        }
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.get()).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
