//! A limit on the length of URLs that are requested or opened.

use url::Url;

use super::bare;
use mcp_bridge_text::printable;

/// The longest URL, in bytes. Servers take 8 to 16 KiB in a request line, and browsers little more.
pub const MAX_URL_BYTES: usize = 16 * 1024;

/// Limit for what is shown of the URL and of a parameter's name, in characters.
const SHOWN_CHARS: usize = 200;

/// A URL that is too long, told by the part that makes it so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the URL {url} would be {bytes} bytes long, above {MAX_URL_BYTES}: {part} has {part_bytes} of them"
)]
pub struct UrlTooLong {
    /// The URL without its query, shortened.
    url: String,
    bytes: usize,
    /// The longest part.
    part: String,
    part_bytes: usize,
}

/// Refuses a URL that is too long to be requested or opened.
pub fn check_length(url: &Url) -> Result<(), UrlTooLong> {
    let bytes = url.as_str().len();
    if bytes <= MAX_URL_BYTES {
        return Ok(());
    }
    let parameters = url.query().into_iter().flat_map(|query| query.split('&'));
    let longest = parameters.max_by_key(|parameter| parameter.len());
    let path = url.path().len();
    let (part, part_bytes) = match longest {
        Some(parameter) if parameter.len() >= path => {
            let name = url::form_urlencoded::parse(parameter.as_bytes()).next();
            let name = name.map(|(name, _)| name.into_owned()).unwrap_or_default();
            let name = printable::short_line(&name, SHOWN_CHARS);
            (format!("its parameter `{name}`"), parameter.len())
        }
        Some(_) | None => ("its path".to_owned(), path),
    };
    Err(UrlTooLong {
        url: printable::short_line(bare(url).as_str(), SHOWN_CHARS),
        bytes,
        part,
        part_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_url_too_long_is_named() {
        let long = "x".repeat(MAX_URL_BYTES);
        let check =
            |text: &str| check_length(&Url::parse(text).unwrap()).map_err(|it| it.to_string());
        assert_eq!(check("https://a.example/b?c=d"), Ok(()));
        let error = check(&format!("https://a.example/b?c=d&scope={long}&e=f")).unwrap_err();
        assert_eq!(
            error,
            "the URL https://a.example/b would be 16418 bytes long, above 16384: \
             its parameter `scope` has 16390 of them"
        );
        let error = check(&format!("https://a.example/{long}?c=d")).unwrap_err();
        assert!(
            error.ends_with("its path has 16385 of them") && error.len() < 400,
            "{error}"
        );
    }
}
