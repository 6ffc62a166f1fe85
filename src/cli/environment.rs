//! Environment variables and secrets of the keychain: `${NAME}` and `{keychain:NAME}` in headers, and variables that flags
//! read.

use std::env;

/// Beginning and end of a reference to a secret of the keychain.
const KEYCHAIN: [&str; 2] = ["{keychain:", "}"];

/// Source of environment variables.
pub(super) trait Environment {
    /// The value of a variable, if it is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;
}

/// A text with references to secrets of the keychain, piece by piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// It stands for itself.
    Text(&'a str),
    /// The name in a reference, as it was written.
    Secret(&'a str),
}

/// The pieces of a text.
pub(super) fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let [open, close] = KEYCHAIN;
    let mut pieces = Vec::new();
    while let Some((before, after)) = text.split_once(open) {
        let Some((name, rest)) = after.split_once(close) else {
            break;
        };
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Secret(name));
        text = rest;
    }
    pieces.push(Piece::Text(text));
    pieces
}

/// True if a text has a reference to a secret of the keychain.
pub(super) fn names_secret(text: &str) -> bool {
    pieces(text).len() > 1
}

/// The process's own environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Replaces each `${NAME}` in `text` by what `written` makes of the variable's value. Fails with the name of
/// a variable that is not set.
pub(super) fn expand(
    text: &str,
    environment: &impl Environment,
    written: impl Fn(String) -> String,
) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        let value = environment.variable(name).ok_or(name)?;
        expanded.push_str(before);
        expanded.push_str(&written(value));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A reference to a variable in the notation of another program, which [`expand`] leaves as it is: `$NAME` of a
/// shell, `{env:NAME}` of opencode, `%NAME%` of cmd, `{{NAME}}` and `$(NAME)` of templates.
pub(super) fn foreign_reference(text: &str) -> Option<&str> {
    const NOTATIONS: [(&str, &str); 5] = [
        ("{env:", "}"),
        ("{{", "}}"),
        ("$(", ")"),
        ("%", "%"),
        ("$", ""),
    ];
    NOTATIONS.iter().find_map(|(open, close)| {
        text.match_indices(open).find_map(|(start, _)| {
            let inside = &text[start + open.len()..];
            let length = inside.find(|char: char| !(char == '_' || char.is_ascii_alphanumeric()));
            let (name, rest) = inside.split_at(length.unwrap_or(inside.len()));
            let is_name = name.starts_with(|char: char| char == '_' || char.is_ascii_uppercase());
            let end = start + open.len() + name.len() + close.len();
            (is_name && rest.starts_with(close)).then(|| &text[start..end])
        })
    })
}

#[cfg(test)]
pub(super) mod fixed {
    //! An environment for tests.

    use std::collections::HashMap;

    pub(in crate::cli) struct Fixed(HashMap<&'static str, &'static str>);

    impl Fixed {
        pub(in crate::cli) fn new(variables: &[(&'static str, &'static str)]) -> Self {
            Self(variables.iter().copied().collect())
        }
    }

    impl super::Environment for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|&value| value.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixed::Fixed;
    use super::*;

    #[test]
    fn references_in_the_notation_of_another_program_are_found() {
        for (text, expected) in [
            ("Bearer $TOKEN", Some("$TOKEN")),
            ("$_x!", Some("$_x")),
            ("Bearer {env:TOKEN}", Some("{env:TOKEN}")),
            ("%API_KEY%", Some("%API_KEY%")),
            ("{{TOKEN}}", Some("{{TOKEN}}")),
            ("$(TOKEN)", Some("$(TOKEN)")),
            ("pa$$word", None),
            ("100%A", None),
            ("a%20b%20c", None),
            ("$5", None),
            ("{\"a\":1}", None),
            ("é$", None),
            ("", None),
        ] {
            assert_eq!(foreign_reference(text), expected, "{text}");
        }
    }

    #[test]
    fn environment_variables_are_put_in() {
        let environment = Fixed::new(&[("TOKEN", "abc")]);
        for (text, expected) in [
            ("Bearer ${TOKEN}", Ok("Bearer abc")),
            ("${TOKEN}${TOKEN}!", Ok("abcabc!")),
            ("$TOKEN ${", Ok("$TOKEN ${")),
            ("${UNSET}", Err("UNSET")),
        ] {
            assert_eq!(
                expand(text, &environment, |value| value),
                expected.map(str::to_owned).map_err(str::to_owned)
            );
        }
    }
}
