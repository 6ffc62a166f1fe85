//! Replay of the inputs that fuzzing has found.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Gives each input in `fuzz/corpus/NAME` to `check`, which panics where a property does not hold.
///
/// # Panics
///
/// If the corpus is missing, empty or not readable, or the property does not hold.
pub fn replay(name: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let inputs = fs::read_to_string(corpus.join(name)).expect("the corpus is readable");
    assert!(!inputs.is_empty(), "the corpus of {name} is empty");
    for line in inputs.lines() {
        check(&BASE64_STANDARD.decode(line).expect("a line of Base64"));
    }
}
