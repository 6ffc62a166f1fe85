//! Properties of the parsers and translations that take text from outside, checked for any input.
//!
//! `fuzz/` looks for inputs that break them, and `cargo test` checks them for the inputs in `fuzz/corpus`. A property
//! that does not hold panics.

use bytes::Bytes;

use crate::message::Message;
use crate::{auth, command, endpoint, era};

/// A property, under the name of its target in `fuzz/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 9] = [
    ("message", message),
    ("event_stream", endpoint::fuzzing::event_stream),
    ("request_headers", endpoint::fuzzing::request_headers),
    ("challenge", auth::fuzzing::challenge),
    ("metadata", auth::fuzzing::metadata),
    ("token_response", auth::fuzzing::token_response),
    ("conversation", era::fuzzing::conversation),
    ("config_file", command::fuzzing::config_file),
    ("app_configuration", command::fuzzing::app_configuration),
];

/// Checks the property of the target `name`.
///
/// # Panics
///
/// If it does not hold, or there is no such target.
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, check) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    check(data);
}

/// A line of the app, or a body of the server: what was read as a message is the same message again after it was
/// written, on one line.
fn message(data: &[u8]) {
    let text = Bytes::copy_from_slice(data);
    for read in Message::parse_all(&text) {
        let message = read.unwrap_or_else(|invalid| invalid.to_response());
        let line = message.line();
        assert!(memchr::memchr2(b'\n', b'\r', &line).is_none());
        let again = Message::parse(&line).expect("what was written can be read");
        assert_eq!(again.kind(), message.kind());
        if let Some(id) = message.id() {
            let moved = message.with_id(id);
            assert_eq!(moved.id(), Some(id));
            assert_eq!(moved.method(), message.method());
        }
        for member in ["tools", "prompts"] {
            assert_eq!(
                message.with_elements(member, |_| true).kind(),
                message.kind()
            );
            let pages = [message.clone()];
            if let Some(joined) = message.with_pages(member, &pages) {
                assert_eq!(joined.kind(), message.kind());
            }
        }
    }
    let cut = &data[..data.len() / 2];
    let _ = Message::id_in_prefix(cut);
    let _ = Message::answered_id_in_prefix(cut);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn every_input_in_the_corpus_keeps_the_property_of_its_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, check) in TARGETS {
            let inputs = fs::read_to_string(corpus.join(name)).unwrap();
            assert!(!inputs.is_empty(), "the corpus of {name} is empty");
            for line in inputs.lines() {
                check(&BASE64_STANDARD.decode(line).unwrap());
            }
        }
    }

    #[test]
    fn every_target_has_a_fuzz_target_of_its_name() {
        let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        let mut names: Vec<String> = fs::read_dir(targets)
            .unwrap()
            .map(|file| {
                file.unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        let mut expected = TARGETS.map(|(name, _)| name.to_owned());
        expected.sort();
        assert_eq!(names, expected);
    }
}
