//! Masking of secrets in the text of a configuration that is shown to a person.

use std::collections::BTreeSet;
use std::ops::Bound;

use serde_json::{Map, Value};

use super::launch::Launch;

/// Replacement for a secret.
const MASK: &str = "***";

/// A text that is shorter gives nothing away, and stands in too many places that are none.
const SHORTEST_SECRET: usize = 4;

/// Parts of names of secrets.
const NAMES_OF_SECRETS: [&str; 9] = [
    "apikey",
    "auth",
    "cookie",
    "credential",
    "key",
    "passw",
    "secret",
    "signature",
    "token",
];

/// Members that hold headers.
const HEADERS: [&str; 2] = ["headers", "http_headers"];

/// Schemes of an `Authorization` header.
const SCHEMES: [&str; 4] = ["bearer", "basic", "token", "apikey"];

/// The secrets in the entries of a file.
#[derive(Debug, Default)]
pub(in crate::commands) struct Mask {
    /// As they stand in the text.
    secrets: BTreeSet<String>,
    #[cfg(test)]
    comparisons: std::cell::Cell<usize>,
}

impl Mask {
    /// The secrets in these entries.
    pub(in crate::commands) fn of(entries: &[(String, Map<String, Value>)]) -> Self {
        let mut mask = Self::default();
        let secrets = &mut mask.secrets;
        for (_, entry) in entries {
            collect_from_object(entry, secrets);
            if let Some(launch) = Launch::read(entry) {
                collect_from_words(&launch.words, secrets);
            }
        }
        let escaped: Vec<_> = secrets.iter().map(|secret| escaped(secret)).collect();
        secrets.extend(escaped);
        mask
    }

    /// A line without them, and without what its own name says is one.
    pub(in crate::commands) fn apply(&self, line: &str) -> String {
        let mut masked = String::new();
        let mut rest = line;
        while let Some(letter) = rest.chars().next() {
            let length = self.secret_at_start(rest).map_or(0, str::len);
            if length > 0 {
                masked.push_str(MASK);
                rest = &rest[length..];
            } else {
                masked.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
        masked_by_name(&masked)
    }

    /// The longest secret that a text begins with. Of the secrets that sort before the text the last has the most in
    /// common with it; so the search is one in an ordered set, however many secrets there are.
    fn secret_at_start<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut start = text;
        loop {
            let before = (Bound::Unbounded, Bound::Included(start));
            let last = self.secrets.range::<str, _>(before).next_back()?;
            #[cfg(test)]
            self.comparisons.set(self.comparisons.get() + 1);
            let common = common_start(last, start);
            if common.len() == last.len() {
                return Some(common);
            }
            if common.len() < SHORTEST_SECRET {
                return None;
            }
            start = common;
        }
    }
}

/// Common prefix of two texts.
fn common_start<'a>(one: &str, other: &'a str) -> &'a str {
    let letters = one.chars().zip(other.chars());
    let letters = letters.take_while(|(one, other)| one == other);
    let length = letters.map(|(letter, _)| letter.len_utf8()).sum();
    &other[..length]
}

fn collect_from_object(object: &Map<String, Value>, secrets: &mut BTreeSet<String>) {
    for (name, value) in object {
        match value {
            Value::Object(headers) if HEADERS.contains(&name.as_str()) => {
                let values = headers.values().filter_map(Value::as_str);
                values.for_each(|value| add(value, secrets));
            }
            Value::Object(members) => collect_from_object(members, secrets),
            Value::String(text) if is_name_of_secret(name) => add(text, secrets),
            Value::String(text) if text.contains("://") => collect_from_url(text, secrets),
            _ => {}
        }
    }
}

fn collect_from_words(words: &[String], secrets: &mut BTreeSet<String>) {
    let mut before = "";
    for word in words {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, value),
            Some(_) | None => (before, word.as_str()),
        };
        before = word;
        if flag == "--header" || flag == "-H" {
            let value = value.split_once(':').map_or(value, |(_, value)| value);
            add(value.trim(), secrets);
            continue;
        }
        if let Ok(Value::Object(members)) = serde_json::from_str(value) {
            collect_from_object(&members, secrets);
        } else if is_flag_of_secret(flag) {
            add(value, secrets);
        }
        collect_from_url(word, secrets);
        // A header that a shell's line has in it.
        if word.contains(' ')
            && let Some(words) = shlex::split(word).filter(|it| it.len() > 1)
        {
            collect_from_words(&words, secrets);
        }
    }
}

/// Returns whether what stands behind a flag is a secret, and not the name of a place where one is.
fn is_flag_of_secret(flag: &str) -> bool {
    const PLACES: [&str; 6] = ["-env", "-file", "-key", "-url", "-endpoint", "-timeout"];
    const OTHERS: [&str; 3] = ["--auth-command", "--authorize-param", "--use-id-token"];
    let is_place = PLACES.iter().any(|end| flag.ends_with(end));
    flag.starts_with("--") && !is_place && !OTHERS.contains(&flag) && is_name_of_secret(flag)
}

fn collect_from_url(text: &str, secrets: &mut BTreeSet<String>) {
    let Some((_, rest)) = text.split_once("://") else {
        return;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((user, _)) = authority.rsplit_once('@') {
        add(
            user.split_once(':').map_or(user, |(_, password)| password),
            secrets,
        );
    }
    let Some((_, query)) = rest.split_once('?') else {
        return;
    };
    for pair in query.split(['&', '#']) {
        if let Some((name, value)) = pair.split_once('=')
            && is_name_of_secret(name)
        {
            add(value, secrets);
        }
    }
}

/// Adds what is secret in a value: not the scheme of an `Authorization` header, and no reference to a variable.
fn add(value: &str, secrets: &mut BTreeSet<String>) {
    let (first, rest) = value.split_once(' ').unwrap_or(("", value));
    let is_scheme = SCHEMES
        .iter()
        .any(|scheme| first.eq_ignore_ascii_case(scheme));
    let secret = if is_scheme { rest.trim() } else { value.trim() };
    if secret.len() >= SHORTEST_SECRET && !is_reference(secret) {
        secrets.insert(secret.to_owned());
    }
}

/// Returns whether a value is nothing but a reference: `${NAME}`, `$NAME`, `%NAME%`, `{env:NAME}`, `${env:NAME}`,
/// `{keychain:NAME}`.
fn is_reference(value: &str) -> bool {
    let inside = value
        .strip_prefix('%')
        .and_then(|rest| rest.strip_suffix('%'))
        .or_else(|| {
            value
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'))
        })
        .or_else(|| {
            value
                .strip_prefix("{env:")
                .and_then(|rest| rest.strip_suffix('}'))
        })
        .or_else(|| {
            value
                .strip_prefix("{keychain:")
                .and_then(|rest| rest.strip_suffix('}'))
        })
        .or_else(|| value.strip_prefix('$'));
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-:.".contains(letter);
    inside.is_some_and(|name| !name.is_empty() && name.chars().all(is_part))
}

fn is_name_of_secret(name: &str) -> bool {
    let plain = name.to_ascii_lowercase().replace(['-', '_'], "");
    // Names of places: `bearer_token_env_var`, `tokenUrl`, `authProviderType`, `envFile`.
    let is_place = [
        "envvar", "url", "type", "file", "endpoint", "timeout", "scopes", "uri", "headers",
    ]
    .iter()
    .any(|end| plain.ends_with(end));
    !is_place && NAMES_OF_SECRETS.iter().any(|part| plain.contains(part))
}

/// As it stands between the quotation marks of JSON.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A line whose quoted values are masked where the name before them is one of a secret: `"token": "…"`.
fn masked_by_name(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line;
    let mut name = String::new();
    while let Some(start) = rest.find(['"', '\'']) {
        let (between, quoted) = rest.split_at(start);
        let quote = &quoted[..1];
        let Some(end) = end_of_quoted(quoted) else {
            break;
        };
        let text = &quoted[1..end];
        // The key of TOML and YAML may stand without quotes.
        let bare = between.trim_end().trim_end_matches([':', '=']).trim();
        let bare = bare.rsplit([' ', '{', ',', '.']).next().unwrap_or_default();
        let is_value = between.trim_end().ends_with([':', '=']);
        let label = if bare.is_empty() { name.as_str() } else { bare };
        masked.push_str(between);
        let hides = is_value
            && is_name_of_secret(label)
            && text.len() >= SHORTEST_SECRET
            && !is_reference(text.rsplit(' ').next().unwrap_or_default())
            && !text.contains(MASK);
        masked.push_str(quote);
        masked.push_str(if hides { MASK } else { text });
        masked.push_str(quote);
        name = if is_value {
            String::new()
        } else {
            text.to_owned()
        };
        rest = &quoted[end + 1..];
    }
    masked.push_str(rest);
    masked
}

/// The place of the closing quotation mark.
fn end_of_quoted(quoted: &str) -> Option<usize> {
    let quote = quoted.chars().next()?;
    let mut is_escaped = false;
    for (place, letter) in quoted.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if quote == '"' => is_escaped = true,
            letter if letter == quote => return Some(place),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mask(entry: Value) -> Mask {
        let Value::Object(entry) = entry else {
            panic!("no object");
        };
        Mask::of(&[("example".to_owned(), entry)])
    }

    #[test]
    fn secrets_of_an_entry_are_masked_wherever_they_stand() {
        let mask = mask(json!({
            "command": "npx",
            "args": ["mcp-remote", "https://x.example/?api_key=in-query", "--header", "X-Key: in-header",
                "--header=Authorization:Bearer with\"quote", "--static-oauth-client-info",
                "{\"client_id\":\"known\",\"client_secret\":\"in-json\"}"],
            "env": {"SOME_TOKEN": "in-env", "LANG": "in-clear"},
        }));
        for (line, expected) in [
            ("\"X-Key: in-header\",", "\"X-Key: ***\","),
            (
                "\"--header=Authorization:Bearer with\\\"quote\"",
                "\"--header=Authorization:Bearer ***\"",
            ),
            (
                "\"https://x.example/?api_key=in-query\"",
                "\"https://x.example/?api_key=***\"",
            ),
            (
                "{\\\"client_id\\\":\\\"known\\\",\\\"client_secret\\\":\\\"in-json\\\"}",
                "{\\\"client_id\\\":\\\"known\\\",\\\"client_secret\\\":\\\"***\\\"}",
            ),
            ("\"SOME_TOKEN\": \"in-env\"", "\"SOME_TOKEN\": \"***\""),
            ("\"LANG\": \"in-clear\"", "\"LANG\": \"in-clear\""),
        ] {
            assert_eq!(mask.apply(line), expected);
        }
    }

    #[test]
    fn of_secrets_that_begin_alike_the_longest_is_masked_as_a_whole() {
        let mask = mask(json!({"headers": {
            "X-A": "sk-live", "X-B": "sk-live-123", "X-C": "sk-live-129", "X-D": "sk-live-123-4", "X-E": "éclair",
        }}));
        for (line, expected) in [
            ("a sk-live-123-4 b", "a *** b"),
            ("a sk-live-123-5 b", "a ***-5 b"),
            ("a sk-live-12 b", "a ***-12 b"),
            ("a sk-live-13 b", "a ***-13 b"),
            ("a sk-liv b", "a sk-liv b"),
            ("sk-livesk-live-129", "******"),
            ("éclairé écl", "***é écl"),
        ] {
            assert_eq!(mask.apply(line), expected);
        }
    }

    #[test]
    fn masking_a_line_grows_with_its_length_and_not_with_the_number_of_secrets() {
        const SECRETS: usize = 1_000;
        let secret = |number: usize| format!("sk-live-{number:05}");
        let headers = (0..SECRETS).map(|number| (number.to_string(), secret(number).into()));
        let headers: Map<_, _> = headers.collect();
        let mask = mask(json!({ "headers": headers }));
        let line: Vec<_> = (0..SECRETS).map(secret).collect();
        assert_eq!(mask.apply(&line.join(",")).len(), 4 * SECRETS - 1);
        let most = 3 * SECRETS;
        assert!((SECRETS..most).contains(&mask.comparisons.get()));
    }

    #[test]
    fn headers_of_a_remote_entry_are_masked_and_references_are_not() {
        let mask = mask(json!({
            "url": "https://x.example/",
            "headers": {"Authorization": "Bearer hunter2", "X-Tenant": "acme", "X-A": "${input:key}"},
        }));
        assert_eq!(
            mask.apply("\"Authorization\": \"Bearer hunter2\""),
            "\"Authorization\": \"Bearer ***\""
        );
        assert_eq!(
            mask.apply("\"X-Tenant\": \"acme\""),
            "\"X-Tenant\": \"***\""
        );
        assert_eq!(
            mask.apply("\"X-A\": \"${input:key}\""),
            "\"X-A\": \"${input:key}\""
        );
    }

    #[test]
    fn what_is_called_a_secret_is_masked_in_each_format() {
        let mask = Mask::default();
        for (line, expected) in [
            (
                "\"apiKey\": \"hunter2\", \"a\": 1",
                "\"apiKey\": \"***\", \"a\": 1",
            ),
            ("api_key = \"hunter2\"", "api_key = \"***\""),
            ("  - password: 'hunter2'", "  - password: '***'"),
            (
                "env = { TOKEN = \"hunter2\", A = \"b\" }",
                "env = { TOKEN = \"***\", A = \"b\" }",
            ),
            ("\"token\": \"${env:T}\"", "\"token\": \"${env:T}\""),
            (
                "\"Authorization\": \"Bearer ${T}\"",
                "\"Authorization\": \"Bearer ${T}\"",
            ),
            (
                "bearer_token_env_var = \"NAME\"",
                "bearer_token_env_var = \"NAME\"",
            ),
            (
                "\"--client-secret-env\", \"NAME\"",
                "\"--client-secret-env\", \"NAME\"",
            ),
            ("\"open", "\"open"),
        ] {
            assert_eq!(mask.apply(line), expected);
        }
    }
}
