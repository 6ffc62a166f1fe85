//! Members of a JSON object in their order: a list while they are few, a hash table when they are many.

use indexmap::IndexMap;
use mcp_bridge_text::name::Name;

use super::json::Json;

/// The most members that are searched one after the other. Hashing a name costs more than comparing it with these, and
/// few objects have more.
const FEW: usize = 8;

/// Members by name, in order.
#[derive(Clone)]
pub(super) enum MemberMap {
    Few(Vec<(Name, Json)>),
    Many(IndexMap<Name, Json>),
}

impl MemberMap {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(members) => members.is_empty(),
            Self::Many(members) => members.is_empty(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        let (few, many) = match self {
            Self::Few(members) => (Some(members), None),
            Self::Many(members) => (None, Some(members)),
        };
        let few = few.into_iter().flatten().map(|(name, value)| (name, value));
        few.chain(many.into_iter().flatten())
            .map(|(name, value)| (&**name, value))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Few(members) => members
                .iter()
                .find(|(known, _)| known.is(name))
                .map(|(_, value)| value),
            Self::Many(members) => members.get(name),
        }
    }

    /// Gives a member a value, in its old place if there is one of this name.
    pub(super) fn put(&mut self, name: &str, value: Json) {
        match self {
            Self::Few(members) => {
                if let Some((_, known)) = members.iter_mut().find(|(known, _)| known.is(name)) {
                    *known = value;
                } else if members.len() < FEW {
                    members.push((name.to_owned().into(), value));
                } else {
                    let mut many: IndexMap<_, _> = members.drain(..).collect();
                    many.insert(name.to_owned().into(), value);
                    *self = Self::Many(many);
                }
            }
            Self::Many(members) => {
                if let Some(known) = members.get_mut(name) {
                    *known = value;
                } else {
                    members.insert(name.to_owned().into(), value);
                }
            }
        }
    }

    /// Takes a member out; those behind it move up.
    pub(super) fn remove(&mut self, name: &str) -> Option<Json> {
        match self {
            Self::Few(members) => {
                let place = members.iter().position(|(known, _)| known.is(name))?;
                Some(members.remove(place).1)
            }
            Self::Many(members) => members.shift_remove(name),
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        match self {
            Self::Few(members) => members.retain(|(name, _)| keep(name)),
            Self::Many(members) => members.retain(|name, _| keep(name)),
        }
    }
}

impl Default for MemberMap {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(map: &MemberMap) -> Vec<String> {
        map.iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn few_and_many_members_keep_order_and_places() {
        for count in [1, FEW - 1, FEW, FEW + 1, 3 * FEW] {
            let mut map = MemberMap::default();
            let all: Vec<_> = (0..count).map(|number| format!("m{number}")).collect();
            for name in &all {
                map.put(name, name.as_str().into());
            }
            assert_eq!(names(&map), all);
            map.put("m0", "again".into());
            assert_eq!(names(&map), all);
            assert_eq!(map.get("m0").unwrap().get(), "again");
            assert_eq!(map.get(&format!("m{count}")).map(Json::get), None);
            assert_eq!(map.remove("m0").unwrap().get(), "again");
            assert!(map.remove("m0").is_none());
            assert_eq!(names(&map), all[1..]);
            map.retain(|name| name == "m1");
            assert_eq!(
                names(&map),
                all[1..].iter().take(1).cloned().collect::<Vec<_>>()
            );
            assert_eq!(map.is_empty(), count == 1);
        }
    }
}
