//! What a configuration for npm `mcp-remote` has before its arguments.

use std::ffi::OsString;

/// The arguments without the words by which `npx` found `mcp-remote`: in a configuration for it, only the
/// command has to be changed.
#[must_use]
pub fn without_npx(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_switch = |word: &OsString| word == "-y" || word == "--yes";
    let switches = args.iter().skip(1).take_while(|word| is_switch(word));
    let package = 1 + switches.count();
    let name = args.get(package).and_then(|word| word.to_str());
    let name = name.map(|word| word.split_once('@').map_or(word, |(name, _)| name));
    if name == Some("mcp-remote") {
        args.drain(1..=package);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_npx_are_left_out() {
        for (line, expected) in [
            ("b mcp-remote https://x/ 80", "b https://x/ 80"),
            ("b mcp-remote@latest https://x/", "b https://x/"),
            ("b -y mcp-remote@0.15.1 https://x/ -y", "b https://x/ -y"),
            ("b https://x/ mcp-remote", "b https://x/ mcp-remote"),
            ("b -y https://x/", "b -y https://x/"),
            ("b", "b"),
            ("", ""),
        ] {
            let words = |line: &str| line.split_whitespace().map(OsString::from).collect();
            let expected: Vec<_> = words(expected);
            assert_eq!(without_npx(words(line)), expected, "{line}");
        }
    }
}
