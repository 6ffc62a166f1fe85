//! The `WWW-Authenticate` header (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1, RFC 9449 §7.1).

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::token::proof::ProofObjection;

/// Name that AWS API Gateway gives to `WWW-Authenticate`.
const REMAPPED: &str = "x-amzn-remapped-www-authenticate";

/// Limit for the part of a header line that is read, in bytes. Challenges have some hundred.
const LONGEST_LINE: usize = 16 * 1024;

/// The challenges of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenges {
    /// There is no such header.
    Missing,
    /// There is one without a Bearer or DPoP challenge that could be read.
    NotBearer,
    /// The Bearer or DPoP challenge (RFC 6750 §3, RFC 9449 §7.1).
    Bearer(BearerChallenge),
}

impl Challenges {
    /// Parses the headers of an answer.
    ///
    /// The header that a gateway has renamed counts where there is no Bearer challenge in the real one.
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let all = |name: &str| -> Vec<_> { headers.get_all(name).iter().cloned().collect() };
        let real = all(WWW_AUTHENTICATE.as_str());
        let remapped = all(REMAPPED);
        let bearer = BearerChallenge::find(&real);
        match bearer.or_else(|| BearerChallenge::find(&remapped)) {
            Some(bearer) => Self::Bearer(bearer),
            None if real.is_empty() && remapped.is_empty() => Self::Missing,
            None => Self::NotBearer,
        }
    }

    /// The Bearer challenge, if there is one.
    pub(crate) const fn bearer(&self) -> Option<&BearerChallenge> {
        match self {
            Self::Bearer(bearer) => Some(bearer),
            Self::Missing | Self::NotBearer => None,
        }
    }

    /// The Bearer challenge; an empty one where there is none.
    pub(crate) fn into_bearer(self) -> BearerChallenge {
        match self {
            Self::Bearer(bearer) => bearer,
            Self::Missing | Self::NotBearer => BearerChallenge::default(),
        }
    }
}

/// Tells whether an answer has any challenge.
#[must_use]
pub fn has_challenge(headers: &HeaderMap) -> bool {
    headers.contains_key(WWW_AUTHENTICATE) || headers.contains_key(REMAPPED)
}

/// Bearer challenge of a refused request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BearerChallenge {
    /// Address of the protected resource metadata (RFC 9728 §5.1).
    pub(crate) resource_metadata: Option<String>,
    /// The scopes that the request needs (RFC 6750 §3).
    pub(crate) scope: Option<String>,
    /// The error code (RFC 6750 §3.1).
    pub(crate) error: Option<String>,
    /// True if a challenge of the answer asks for tokens that are bound to a key (RFC 9449 §7.1).
    pub(crate) wants_proof: bool,
    /// True if a challenge of the answer asks for a bearer token.
    pub(crate) takes_bearer: bool,
    /// Objection to the proof of the request.
    pub(crate) objection: Option<ProofObjection>,
}

impl BearerChallenge {
    /// The Bearer or DPoP challenge among all challenges of all header lines; none when there is none.
    ///
    /// A challenge that names the metadata goes before one that does not. What a DPoP challenge says of proofs is kept
    /// also if another one is chosen: a server that takes both kinds of token sends both (RFC 9449 §7.2).
    pub(crate) fn find(headers: &[HeaderValue]) -> Option<Self> {
        let mut bearer = headers
            .iter()
            .flat_map(|header| challenges(&String::from_utf8_lossy(header.as_bytes())))
            .filter_map(Challenge::into_bearer)
            .collect::<Vec<_>>();
        let best = bearer
            .iter()
            .position(|challenge| challenge.resource_metadata.is_some())
            .unwrap_or(0);
        let wants_proof = bearer.iter().any(|challenge| challenge.wants_proof);
        let takes_bearer = bearer.iter().any(|challenge| challenge.takes_bearer);
        let objection = bearer
            .iter()
            .find_map(|challenge| challenge.objection.clone());
        (!bearer.is_empty()).then(|| Self {
            wants_proof,
            takes_bearer,
            objection,
            ..bearer.swap_remove(best)
        })
    }

    /// True if the token was fine but allows too little (RFC 6750 §3.1).
    pub(crate) fn wants_more_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

/// One challenge of any scheme.
#[derive(Debug)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// None for another scheme. A parameter that occurs twice counts once: the first.
    fn into_bearer(self) -> Option<BearerChallenge> {
        let wants_proof = self.scheme.eq_ignore_ascii_case("dpop");
        if !wants_proof && !self.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |wanted: &str| {
            self.parameters
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        let error = value("error");
        let objection = ProofObjection::from_code(error.as_deref(), || value("error_description"));
        Some(BearerChallenge {
            resource_metadata: value("resource_metadata"),
            scope: value("scope"),
            error,
            wants_proof,
            takes_bearer: !wants_proof,
            objection,
        })
    }
}

/// The challenges of one header line. What does not follow the grammar is skipped up to the next comma;
/// a semicolon, which other headers have between parameters, counts as one.
fn challenges(line: &str) -> Vec<Challenge> {
    // What is unclosed is looked for to the end of the line, again and again.
    let end = (0..=line.len().min(LONGEST_LINE)).rev();
    let end = end.into_iter().find(|&end| line.is_char_boundary(end));
    let line = &line[..end.unwrap_or(0)];
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = Scanner {
        rest: line,
        has_single_quotes: true,
    };
    while !rest.is_empty() {
        rest.skip_separators();
        let Some(token) = rest.token() else {
            rest.skip_to_separator();
            continue;
        };
        // `name = value` belongs to the challenge before; a token alone opens the next challenge.
        match (rest.parameter_value(), found.last_mut()) {
            (Some(value), Some(challenge)) => challenge.parameters.push((token.into(), value)),
            (Some(_), None) => {}
            (None, _) => {
                rest.skip_token68();
                found.push(Challenge {
                    scheme: token.into(),
                    parameters: Vec::new(),
                });
            }
        }
    }
    found
}

struct Scanner<'a> {
    rest: &'a str,
    /// True if a closing single quote may follow. Once it was looked for in vain, there is none further on, either.
    has_single_quotes: bool,
}

impl<'a> Scanner<'a> {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn skip_separators(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',', ';']);
    }

    fn skip_to_separator(&mut self) {
        let end = self.rest.find([',', ';']);
        self.rest = end.map_or("", |at| &self.rest[at..]);
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self
            .rest
            .find(|c: char| !is_token_char(c))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        if token.is_empty() {
            return None;
        }
        self.rest = rest;
        Some(token)
    }

    /// `= value` with white space around the sign, the value a token or a quoted string.
    fn parameter_value(&mut self) -> Option<String> {
        let after = self
            .rest
            .trim_start_matches([' ', '\t'])
            .strip_prefix('=')?;
        // `==` is the padding of a token68, not a parameter.
        if after.starts_with('=') {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        if let Some(quoted) = after.strip_prefix('"') {
            return Some(self.quoted(quoted));
        }
        // Single quotes are token characters, so that by the grammar they would be part of the value.
        if self.has_single_quotes
            && let Some(after) = after.strip_prefix('\'')
        {
            if let Some((value, rest)) = until_single_quote(after) {
                self.rest = rest;
                return Some(value.into());
            }
            self.has_single_quotes = false;
        }
        // Servers send URLs without quotes; up to the comma there is no doubt what is meant. Quotes that are
        // escaped, or not closed, are not meant at all.
        let end = after.find([',', ' ', '\t']).unwrap_or(after.len());
        let (value, rest) = after.split_at(end);
        self.rest = rest;
        let value = value.trim_end_matches(';');
        Some(value.trim_matches(['\'', '"', '\\']).into())
    }

    fn quoted(&mut self, text: &'a str) -> String {
        let mut value = String::new();
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &text[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => value.push(c),
            }
        }
        self.rest = "";
        value
    }

    /// The single blob that some schemes carry instead of parameters (`Negotiate YII=`).
    fn skip_token68(&mut self) {
        let after = self.rest.trim_start_matches([' ', '\t']);
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/=".contains(c)))
            .unwrap_or(after.len());
        let (blob, rest) = after.split_at(end);
        let ends_here = matches!(
            rest.trim_start_matches([' ', '\t']).chars().next(),
            None | Some(',')
        );
        // Inside `realm=x` the sign is no padding.
        if ends_here && !blob.trim_end_matches('=').contains('=') {
            self.rest = rest;
        }
    }
}

/// Splits at the closing single quote. A single quote within the value has no
/// separator after it.
fn until_single_quote(text: &str) -> Option<(&str, &str)> {
    let (end, _) = text.match_indices('\'').find(|(at, _)| {
        let next = text[at + 1..].chars().next();
        matches!(next, None | Some(',' | ';' | ' ' | '\t'))
    })?;
    Some((&text[..end], &text[end + 1..]))
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    fn find(lines: &[&str]) -> BearerChallenge {
        let headers: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap())
            .collect();
        BearerChallenge::find(&headers).unwrap_or_default()
    }

    fn check(lines: &[&str], metadata: Option<&str>, scope: Option<&str>, error: Option<&str>) {
        let found = find(lines);
        let expected = BearerChallenge {
            resource_metadata: metadata.map(Into::into),
            scope: scope.map(Into::into),
            error: error.map(Into::into),
            takes_bearer: found.takes_bearer,
            ..BearerChallenge::default()
        };
        assert_eq!(found, expected, "{lines:?}");
    }

    /// A-2
    #[test]
    fn the_whole_grammar_of_challenges_is_read() {
        check(&[], None, None, None);
        check(&["Bearer"], None, None, None);
        check(&["bearer scope=files"], None, Some("files"), None);
        check(&[r#"BEARER SCOPE = "a b""#], None, Some("a b"), None);
        check(
            &[r#"Bearer realm="x", error="invalid_token", resource_metadata="https://x/p""#],
            Some("https://x/p"),
            None,
            Some("invalid_token"),
        );
        check(
            &[r#"Basic realm="scope=wrong", Bearer scope="right", Digest scope="other""#],
            None,
            Some("right"),
            None,
        );
        check(
            &[r"Negotiate YIIabc==, Bearer scope=right"],
            None,
            Some("right"),
            None,
        );
        check(
            &[r#"Basic realm="x""#, r#"Bearer scope="second line""#],
            None,
            Some("second line"),
            None,
        );
        check(
            &[r#"Bearer error_description="needs scope=admin, or \"x\"", scope="read""#],
            None,
            Some("read"),
            None,
        );
        check(
            &[r#"Bearer x_error="no", error="yes""#],
            None,
            None,
            Some("yes"),
        );
        check(
            &["Bearer resource_metadata=https://x/.well-known/a?b=c, scope=s"],
            Some("https://x/.well-known/a?b=c"),
            Some("s"),
            None,
        );
        check(
            &[r#"Bearer realm="one", Bearer resource_metadata="https://x/p""#],
            Some("https://x/p"),
            None,
            None,
        );
        check(&[r#",, ,Bearer , scope="x","#], None, Some("x"), None);
        check(
            &[r#"Bearer scope="unterminated"#],
            None,
            Some("unterminated"),
            None,
        );
        check(
            &[r#"(broken) "x", Bearer scope=ok"#],
            None,
            Some("ok"),
            None,
        );
        check(&[r#"Bearer scope="""#], None, None, None);
    }

    #[test]
    fn what_is_meant_is_read_where_the_grammar_is_not_kept() {
        check(
            &["Bearer resource_metadata='https://x/p', scope='a b', error='invalid_token'"],
            Some("https://x/p"),
            Some("a b"),
            Some("invalid_token"),
        );
        check(
            &["bearer resource_metadata = 'https://x/it's' scope =\t'a'"],
            Some("https://x/it's"),
            Some("a"),
            None,
        );
        check(
            &["Bearer scope='unterminated"],
            None,
            Some("unterminated"),
            None,
        );
        check(&["Bearer scope=''"], None, None, None);
        check(
            &[r#"Bearer resource_metadata=\"https://x/p\", scope=\"a\""#],
            Some("https://x/p"),
            Some("a"),
            None,
        );
        check(
            &[r#"Bearer realm="x"; resource_metadata="https://x/p;q"; scope=a; error=b"#],
            Some("https://x/p;q"),
            Some("a"),
            Some("b"),
        );
        check(
            &[r#"Bearer realm="x" resource_metadata="https://x/p" scope="a""#],
            Some("https://x/p"),
            Some("a"),
            None,
        );
    }

    #[test]
    fn a_renamed_header_counts_where_the_real_one_has_no_bearer_challenge() {
        let renamed = |real: &[&str], remapped: &[&str]| {
            let named = |name: &'static str, values: &[&str]| {
                let name = HeaderName::from_static(name);
                let values = values.iter().map(|&value| HeaderValue::from_str(value));
                values
                    .map(|value| (name.clone(), value.unwrap()))
                    .collect::<Vec<_>>()
            };
            let mut headers = HeaderMap::new();
            for (name, value) in named("www-authenticate", real)
                .into_iter()
                .chain(named(REMAPPED, remapped))
            {
                headers.append(name, value);
            }
            Challenges::parse(&headers).into_bearer().scope
        };
        let scope = |scope: &str| Some(scope.to_owned());
        assert_eq!(renamed(&[], &["Bearer scope=other"]), scope("other"));
        assert_eq!(
            renamed(&["Bearer scope=real"], &["Bearer scope=other"]),
            scope("real")
        );
        assert_eq!(renamed(&["Bearer"], &["Bearer scope=other"]), None);
        assert_eq!(
            renamed(&["Basic realm=x"], &["Bearer scope=other"]),
            scope("other")
        );
        assert_eq!(
            renamed(&["Basic realm=x", "Bearer scope=real"], &[]),
            scope("real")
        );
        assert_eq!(renamed(&[], &[]), None);
    }
}
