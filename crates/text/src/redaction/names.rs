//! Names of members, headers and parameters whose values are secret.

/// Ends of the names of members, headers and parameters whose values are secret, without `_` and `-`.
pub(super) const SECRET_NAMES: [&str; 18] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "assertion",
    "codeverifier",
    "sessionid",
    "devicecode",
    "usercode",
];

/// Names that end so and tell nothing.
const PUBLIC_NAMES: [&str; 1] = ["progresstoken"];

/// Parameters of a query that are secret there and are ordinary words elsewhere.
pub(super) const SECRET_PARAMETERS: [&str; 6] =
    ["code", "state", "key", "sig", "signature", "token"];

/// Letters at the end of a name by which most others are told apart.
const LAST_LETTERS: usize = 3;

/// The last letters of all these names. The shortest ones have no more.
const ENDS: [[u8; LAST_LETTERS]; SECRET_NAMES.len() + SECRET_PARAMETERS.len()] = {
    let mut ends = [[0; LAST_LETTERS]; SECRET_NAMES.len() + SECRET_PARAMETERS.len()];
    let mut at = 0;
    while at < ends.len() {
        let name = if at < SECRET_NAMES.len() {
            SECRET_NAMES[at]
        } else {
            SECRET_PARAMETERS[at - SECRET_NAMES.len()]
        };
        if let Some(end) = name.as_bytes().last_chunk() {
            ends[at] = *end;
        }
        at += 1;
    }
    ends
};

/// Of each letter, whether one of the names ends with it.
const IS_LAST: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < ENDS.len() {
        let last = ENDS[at][LAST_LETTERS - 1];
        table[last as usize] = true;
        table[last.to_ascii_uppercase() as usize] = true;
        at += 1;
    }
    // They may stand at the end of any name.
    table[b'_' as usize] = true;
    table[b'-' as usize] = true;
    table
};

/// Returns whether a text may end in one of the names. By its last letters, as most words are none of these.
pub(super) fn may_end_in_secret_name(text: &[u8]) -> bool {
    if !text.last().is_some_and(|last| IS_LAST[usize::from(*last)]) {
        return false;
    }
    let mut letters = plain_letters(text);
    let mut end = [0; LAST_LETTERS];
    for place in end.iter_mut().rev() {
        *place = letters.next().unwrap_or_default();
    }
    ENDS.contains(&end)
}

/// Returns whether the value of this name is secret, if it stands behind this sign.
pub(super) fn is_secret_name(name: &[u8], sign: u8) -> bool {
    let is_in = |names: &[&str]| names.iter().any(|it| is_plain_name(name, it));
    match sign {
        b'=' if is_in(&SECRET_PARAMETERS) => true,
        b':' | b'=' => {
            let is_named = SECRET_NAMES.iter().any(|end| ends_plainly(name, end));
            is_named && !is_in(&PUBLIC_NAMES)
        }
        _ => false,
    }
}

/// Returns whether a name without `_` and `-` ends so, in either case.
pub(super) fn ends_plainly(name: &[u8], end: &str) -> bool {
    let mut letters = plain_letters(name);
    end.bytes().rev().all(|byte| letters.next() == Some(byte))
}

/// Returns whether a name without `_` and `-` is this one, in either case.
fn is_plain_name(name: &[u8], plain: &str) -> bool {
    plain_letters(name).eq(plain.bytes().rev())
}

/// The letters and digits of the word at the end of a text in lower case, from the last one on.
fn plain_letters(text: &[u8]) -> impl Iterator<Item = u8> {
    let word = text.iter().rev().take_while(|byte| is_word(**byte));
    let letters = word.filter(|byte| byte.is_ascii_alphanumeric());
    letters.map(u8::to_ascii_lowercase)
}

/// Returns whether a byte is a letter, a digit, `_` or `-`.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_look_passes_all_names_of_secrets_and_few_others() {
        let names = SECRET_NAMES.iter().chain(&SECRET_PARAMETERS);
        for name in names {
            for name in [
                (*name).to_owned(),
                name.to_uppercase(),
                format!("a-{name}"),
                format!("x\"{name}_-"),
            ] {
                assert!(may_end_in_secret_name(name.as_bytes()), "{name}");
            }
        }
        for name in [
            "", "_", "id", "jsonrpc", "method", "params", "name", "text", "result", "type",
            "content",
        ] {
            assert!(!may_end_in_secret_name(name.as_bytes()), "{name}");
        }
    }
}
