//! Batches: several messages in one text.

use std::fmt;

use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Invalid, Message};

/// Limit for the messages of a batch. Each takes much more memory than its text.
const MAX_BATCH: usize = 10_000;

/// The messages in a text. Nearly always it is one, which needs no list.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// At most one.
    One(Option<Result<Message, Invalid>>),
    /// Those of a batch.
    Many(std::vec::IntoIter<Result<Message, Invalid>>),
}

impl Parsed {
    /// The messages in `text`.
    pub(super) fn of(text: &Bytes) -> Self {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'[') {
            return Self::One(Some(Message::parse(text)));
        }
        let batch = std::str::from_utf8(text)
            .map_err(|error| Invalid::NotJson(error.to_string()))
            .and_then(|text| {
                serde_json::from_str::<Batch>(text)
                    .map_err(|error| Invalid::NotJson(error.to_string()))
            });
        let invalid = |reason| Self::One(Some(Err(Invalid::not_a_message(None, reason))));
        match batch {
            Err(invalid) => Self::One(Some(Err(invalid))),
            Ok(Batch(items)) if items.len() > MAX_BATCH => {
                invalid("the batch has too many messages")
            }
            Ok(Batch(items)) if items.is_empty() => invalid("the batch is empty"),
            Ok(Batch(items)) => {
                let items = items.into_iter();
                let parsed =
                    items.map(|item| Message::parse(&text.slice_ref(item.get().as_bytes())));
                Self::Many(parsed.collect::<Vec<_>>().into_iter())
            }
        }
    }

    /// Returns whether all of them are messages.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self {
            Self::One(message) => message.as_ref().is_none_or(Result::is_ok),
            Self::Many(messages) => messages.as_slice().iter().all(Result::is_ok),
        }
    }
}

impl Iterator for Parsed {
    type Item = Result<Message, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(message) => message.take(),
            Self::Many(messages) => messages.next(),
        }
    }
}

/// The elements of a JSON array, and no more of them than one above [`MAX_BATCH`].
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while elements.len() <= MAX_BATCH
                    && let Some(element) = seq.next_element()?
                {
                    elements.push(element);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(Elements).map(Self)
    }
}
