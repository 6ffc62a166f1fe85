//! JSON objects whose values stay text, so that an edit changes nothing else.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{self, Serialize, Serializer};
use serde_json::value::RawValue;

use super::json::Json;
use super::member_map::MemberMap;
use crate::message::{Message, RequestId, each_member, push_string};

/// An object with its members in order. Only the names are read; a value keeps its text, be it a number
/// beyond 2^53, `1e400`, a lone surrogate or a megabyte of base64.
#[derive(Clone, Default)]
pub(super) struct Object(MemberMap);

impl Object {
    /// Reads the text of an object; `None` for any other JSON.
    pub(super) fn parse(json: &str) -> Option<Self> {
        Self::of(&Json::from(json))
    }

    /// Reads the value as an object, without a copy; `None` if it is none.
    pub(super) fn of(json: &Json) -> Option<Self> {
        let mut object = Self::default();
        // The last of two equal names counts, as in every common parser.
        each_member(json.get(), |name, value| {
            object.put(name, json.slice_of(value));
        })?;
        Some(object)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    /// The member `name`, if there is one that reads as `T`.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The member `name`, if it is an object.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Self::of(self.get(name)?)
    }

    /// The member `name`, if it is an id.
    pub(super) fn id(&self, name: &str) -> Option<RequestId> {
        RequestId::from_json(self.get(name)?.get())
    }

    /// Returns whether there is a capability at `path`: an object, or `true`.
    pub(super) fn declares(&self, path: &[&str]) -> bool {
        match path {
            [] => true,
            [name] => self.object(name).is_some() || self.read(name) == Some(true),
            [name, rest @ ..] => self.object(name).is_some_and(|inner| inner.declares(rest)),
        }
    }

    /// Gives the member `name` this value, in its old place if it had one.
    pub(super) fn set(&mut self, name: &str, value: &impl Serialize) {
        if let Ok(value) = serde_json::to_string(value) {
            self.put(name, value.into());
        }
    }

    /// Likewise, with the JSON text of the value.
    pub(super) fn set_json(&mut self, name: &str, json: &str) {
        self.put(name, json.into());
    }

    /// Likewise, with another object.
    pub(super) fn set_object(&mut self, name: &str, object: &Self) {
        self.put(name, object.to_json().into());
    }

    /// Likewise, with a value as it stands elsewhere.
    pub(super) fn put(&mut self, name: &str, value: Json) {
        self.0.put(name, value);
    }

    /// Likewise, with all members of another object.
    pub(super) fn put_all(&mut self, other: &Self) {
        for (name, value) in other.iter() {
            self.put(name, value.clone());
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Json> {
        self.0.remove(name)
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&str) -> bool) {
        self.0.retain(keep);
    }

    /// Changes the member `name`, which is an object, and removes it if it is empty then.
    pub(super) fn edit(&mut self, name: &str, change: impl FnOnce(&mut Self)) {
        let Some(mut inner) = self.object(name) else {
            return;
        };
        change(&mut inner);
        if inner.is_empty() {
            self.remove(name);
        } else {
            self.set_object(name, &inner);
        }
    }

    /// Removes those members of the member `name`, which is an object, that `goes` names, and the whole if nothing else is
    /// in it.
    pub(super) fn strip(&mut self, name: &str, goes: impl Fn(&str) -> bool) {
        let Some(json) = self.get(name) else {
            return;
        };
        let (mut all, mut gone) = (0, 0);
        let read = each_member(json.get(), |member, _| {
            all += 1;
            gone += usize::from(goes(member));
        });
        match read {
            None => {}
            Some(()) if gone == all => drop(self.remove(name)),
            Some(()) if gone == 0 => {}
            Some(()) => self.edit(name, |inner| inner.retain(|member| !goes(member))),
        }
    }

    /// The JSON text.
    pub(super) fn to_json(&self) -> String {
        // Quotes, a colon and a comma; names with escapes are rare.
        const AROUND_MEMBER: usize = 4;
        let members = self.iter();
        let length: usize = members
            .map(|(name, value)| name.len() + value.get().len() + AROUND_MEMBER)
            .sum();
        let mut json = String::with_capacity(length + 2);
        json.push('{');
        for (name, value) in self.iter() {
            if json.len() > 1 {
                json.push(',');
            }
            push_string(&mut json, name);
            json.push(':');
            json.push_str(value.get());
        }
        json.push('}');
        json
    }

    /// The message that this object is; for the envelope of messages of our own.
    pub(super) fn into_message(self) -> Message {
        Message::parse(&Bytes::from(self.to_json()))
            .unwrap_or_else(|error| unreachable!("a message of our own: {error}"))
    }

    /// The notification with this object as its params.
    pub(super) fn into_notification(self, method: &str) -> Message {
        let mut message = Self::default();
        message.set("jsonrpc", &"2.0");
        message.set("method", &method);
        if !self.is_empty() {
            message.set_object("params", &self);
        }
        message.into_message()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.to_json());
        raw.map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).ok_or_else(|| de::Error::custom("not an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_members_their_order() {
        let json = r#"{"z":1.0,"a":12345678901234567890123,"e":1e400,"s":"\ud800","q":"\u0061"}"#;
        assert_eq!(Object::parse(json).unwrap().to_json(), json);
    }

    #[test]
    fn a_member_is_set_in_its_place_and_removed() {
        let mut object = Object::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        object.set("a", &"x");
        object.set_json("c", "1e400");
        object.remove("b");
        assert_eq!(object.to_json(), r#"{"a":"x","c":1e400}"#);
    }

    #[test]
    fn an_object_that_is_edited_to_nothing_goes() {
        let mut object = Object::parse(r#"{"_meta":{"k":1},"x":[]}"#).unwrap();
        object.edit("_meta", |meta| {
            meta.remove("k");
        });
        object.edit("x", |_| unreachable!("not an object"));
        assert_eq!(object.to_json(), r#"{"x":[]}"#);
    }

    #[test]
    fn members_of_a_member_go_by_name_and_the_rest_keeps_its_text() {
        for (json, stripped) in [
            (r#"{"_meta":{"k":1}}"#, "{}"),
            (r#"{"_meta":{}}"#, "{}"),
            (
                r#"{"_meta":{"k":1,"a":1.0,"k":2}}"#,
                r#"{"_meta":{"a":1.0}}"#,
            ),
            (r#"{"_meta":{"a" : 1}}"#, r#"{"_meta":{"a" : 1}}"#),
            (r#"{"_meta":7}"#, r#"{"_meta":7}"#),
        ] {
            let mut object = Object::parse(json).unwrap();
            object.strip("_meta", |name| name == "k");
            assert_eq!(object.to_json(), stripped);
        }
    }

    #[test]
    fn each_member_is_compared_a_few_times_however_many_there_are() {
        mcp_bridge_text::name::comparisons::grow_linearly(|members| {
            let member = |number: usize| format!(r#""member-{number}":{number}"#);
            let list: Vec<_> = (0..members).map(member).collect();
            let json = format!("{{{}}}", list.join(","));
            let mut object = Object::parse(&json).unwrap();
            assert_eq!(object.to_json(), json);
            for number in 0..members {
                object.set(&format!("page-{number}"), &number);
            }
        });
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for json in ["null", "[]", "7", r#""{}""#] {
            assert!(Object::parse(json).is_none(), "{json}");
        }
    }
}
