//! What all metadata documents have in common: where they lie (RFC 8615), and how loosely they are written.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

/// The well-known URL `name` of `base`, with `path` inserted behind it.
pub(super) fn well_known(base: &Url, name: &str, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("/.well-known/{name}{path}"));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// An optional member of the wrong type (`null`, an empty string for a URL) counts as absent: real
/// documents have them, and what a sign-in needs is asked for where it is needed.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}
