//! Candidates for secrets: the words of a text that may name one or be one.
//!
//! Each is recognized at a byte that is rare elsewhere, as to look at each word would cost a recording more than all the
//! rest.

use memchr::{memchr2_iter, memchr3_iter};

use super::names::{is_word, may_end_in_secret_name};

/// Beginnings of keys and tokens of well-known issuers, each with the place of a byte in it that is rare elsewhere: one
/// of those that [`candidates`] looks for.
pub(super) const TOKEN_PREFIXES: [(&str, usize); 13] = [
    ("eyJ", 2),
    ("sk-", 2),
    ("ghp_", 3),
    ("gho_", 3),
    ("ghs_", 3),
    ("ghu_", 3),
    ("github_pat_", 6),
    ("glpat-", 5),
    ("xoxb-", 4),
    ("xoxp-", 4),
    ("AKIA", 1),
    ("AIza", 1),
    ("ya29.", 3),
];

/// Schemes of credentials.
pub(super) const SCHEMES: [&[u8]; 2] = [b"bearer", b"basic"];

/// The shortest word that is taken for such a token, in bytes.
pub(super) const SHORTEST_TOKEN_BYTES: usize = 16;

/// Beginnings of the words that may name a secret or be one, in their order.
pub(super) fn candidates(bytes: &[u8]) -> Vec<usize> {
    // What stands behind a name, the first letter of a scheme, and a letter near the beginning of a token.
    let signs = memchr2_iter(b':', b'=', bytes)
        .chain(memchr2_iter(b'b', b'B', bytes))
        .chain(memchr3_iter(b'J', b'K', b'I', bytes))
        .chain(memchr3_iter(b'-', b'_', b'9', bytes));
    let mut found: Vec<usize> = signs.filter_map(|at| candidate_at(bytes, at)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Beginning of the word that is recognized at a sign.
fn candidate_at(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at] {
        b':' | b'=' => {
            let before = bytes[..at].trim_ascii_end();
            let end = before.iter().rposition(|byte| !is_quotation(*byte))?;
            let name = &before[..=end];
            may_end_in_secret_name(name).then(|| word_start(bytes, name.len()))
        }
        b'b' | b'B' => {
            let is_scheme = |scheme: &&[u8]| {
                let word = bytes[at..].get(..scheme.len()).unwrap_or_default();
                word.eq_ignore_ascii_case(scheme)
            };
            let is_first = begins_word(bytes, at);
            (is_first && SCHEMES.iter().any(is_scheme)).then_some(at)
        }
        _ => {
            let start = |(prefix, rare_at): &(&str, usize)| {
                let start = at.checked_sub(*rare_at)?;
                let is_it = bytes[start..].starts_with(prefix.as_bytes());
                (is_it && begins_word(bytes, start)).then_some(start)
            };
            TOKEN_PREFIXES.iter().find_map(start)
        }
    }
}

fn is_quotation(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\')
}

/// Beginning of the word that ends at a place.
fn word_start(bytes: &[u8], end: usize) -> usize {
    let before = bytes[..end].iter().rposition(|byte| !is_word(*byte));
    before.map_or(0, |last| last + 1)
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1)
        .is_none_or(|before| !is_word(bytes[before]))
}
