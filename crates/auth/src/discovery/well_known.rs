//! Well-known URLs (RFC 8615).

use url::Url;

/// The well-known URL `name` of `base`, with `path` inserted behind it.
pub(crate) fn well_known(base: &Url, name: &str, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("/.well-known/{name}{path}"));
    url.set_query(None);
    url.set_fragment(None);
    url
}
