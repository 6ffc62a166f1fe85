//! Members of JSON objects: found in the text, by the scanner where that is enough.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::{range_in, scanner};

/// Members that most objects do not have more of.
const USUAL_MEMBERS: usize = 8;

/// One member of a JSON object, found without reading the others into memory.
#[must_use]
pub fn member<'a, T: Deserialize<'a>>(object: &'a str, name: &str) -> Option<T> {
    serde_json::from_str(member_json(object, name)?).ok()
}

/// The JSON text of one member of a JSON object.
#[must_use]
pub fn member_json<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let scanned = scanner::members(object, |known, value| {
        // The last of two equal names counts.
        if known == name {
            found = Some(value);
        }
    });
    match scanned {
        Some(_) => found,
        None => parsed_member(object, name),
    }
}

/// Hands on the name and the JSON text of each member of an object. `None` for what is no object.
pub(crate) fn each_member(object: &str, mut member: impl FnMut(&str, &str)) -> Option<()> {
    // The scanner may give up in the middle, so its members wait until it has not.
    let mut scanned = Vec::with_capacity(USUAL_MEMBERS);
    if scanner::members(object, |name, value| scanned.push((name, value))).is_some() {
        for (name, value) in scanned {
            member(name, value);
        }
        return Some(());
    }
    for (name, value) in parsed_members(object)? {
        member(&name, value);
    }
    Some(())
}

/// Returns whether a JSON text is an object that can be read.
pub(crate) fn is_object(json: &str) -> bool {
    scanner::members(json, |_, _| ()).is_some() || parsed_members(json).is_some()
}

/// The value of a JSON string; `None` of what is none.
#[must_use]
pub fn decoded(json: &str) -> Option<Cow<'_, str>> {
    let quoted = json.strip_prefix('"')?;
    let is_plain = memchr::memchr(b'\\', quoted.as_bytes()).is_none();
    match quoted.strip_suffix('"') {
        Some(plain) if is_plain => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// Member of an object, by where it stands in the text.
#[derive(Debug)]
pub(super) struct Member {
    name: MemberName,
    pub(super) value: Range<usize>,
}

#[derive(Debug)]
enum MemberName {
    Spelled(Range<usize>),
    /// It stands there with escapes.
    Decoded(Box<str>),
}

impl Member {
    pub(super) fn has_name(&self, name: &str, object: &[u8]) -> bool {
        match &self.name {
            MemberName::Spelled(range) => object[range.clone()] == *name.as_bytes(),
            MemberName::Decoded(decoded) => **decoded == *name,
        }
    }
}

/// The member of this name. The last of two equal names counts.
pub(super) fn last_named<'a>(
    members: &'a [Member],
    name: &str,
    object: &[u8],
) -> Option<&'a Member> {
    let mut last_first = members.iter().rev();
    last_first.find(|member| member.has_name(name, object))
}

/// The members of a JSON object, and where their values stand in it; none of what is no object.
pub(super) fn members(object: &str) -> Vec<Member> {
    let range = |part: &str| range_in(object.as_bytes(), part);
    let mut members = Vec::with_capacity(USUAL_MEMBERS);
    let scanned = scanner::members(object, |name, value| {
        members.push(Member {
            name: MemberName::Spelled(range(name)),
            value: range(value),
        });
    });
    if scanned.is_some() {
        return members;
    }
    let parsed = parsed_members(object).unwrap_or_default().into_iter();
    parsed
        .map(|(name, value)| Member {
            name: MemberName::Decoded(name),
            value: range(value),
        })
        .collect()
}

/// Returns whether it is worth while to look for a member. Without an escape a name stands there as it is or not at
/// all, and mostly it is not there.
pub(super) fn may_have(object: &[u8], name: &str) -> bool {
    memchr::memmem::find(object, name.as_bytes()).is_some()
        || memchr::memchr(b'\\', object).is_some()
}

/// The same for an object that the scanner leaves to the parser.
fn parsed_member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    struct Find<'n>(&'n str);

    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Key(key)) = map.next_key()? {
                if key == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    let found = json.deserialize_map(Find(name)).ok()?;
    found.map(RawValue::get)
}

/// The same for an object that the scanner leaves to the parser.
fn parsed_members(object: &str) -> Option<Vec<(Box<str>, &str)>> {
    struct All;

    impl<'de> Visitor<'de> for All {
        type Value = Vec<(Box<str>, &'de str)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((Key(key), value)) = map.next_entry::<_, &RawValue>()? {
                members.push((key.into(), value.get()));
            }
            Ok(members)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    let members = json.deserialize_map(All).ok()?;
    json.end().ok()?;
    Some(members)
}

/// The name of a member, which stays in the text unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
