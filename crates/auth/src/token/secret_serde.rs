//! Serialization of secrets, for the credential store alone. `Secret` itself does not serialize, so that
//! no other place can do so by accident.

use serde::{Deserialize, Deserializer, Serializer};

use mcp_bridge_text::secret::Secret;

pub(crate) fn serialize<S: Serializer>(
    secret: &Secret<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Secret<String>, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use mcp_bridge_text::secret::Secret;

    #[expect(
        clippy::ref_option,
        reason = "serde calls it with a reference to the field"
    )]
    pub(crate) fn serialize<S: Serializer>(
        secret: &Option<Secret<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Secret::new))
    }
}
