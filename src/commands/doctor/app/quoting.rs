//! Words of a command line that change on their way from the app to the program.

use std::path::Path;

use crate::commands::install::apps::System;
use crate::commands::install::program::launcher::base_name;

/// Programs that are batch files on Windows.
const BATCH_FILES: [&str; 5] = ["npm", "npx", "pnpm", "pnpx", "yarn"];

/// Characters with a meaning for `cmd`.
const SPECIAL_TO_CMD: [char; 6] = ['&', '|', '<', '>', '^', '%'];

/// A defect of the words, with what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QuotingDefect {
    pub(super) found: String,
    pub(super) fix: &'static str,
}

/// Defects of a command line on this system. `file` is the program that was found.
pub(super) fn defects(words: &[String], file: &str, system: System) -> Vec<QuotingDefect> {
    let mut defects = Vec::new();
    for (number, word) in words.iter().enumerate() {
        if word.trim() != word {
            defects.push(QuotingDefect {
                found: format!("{} begins or ends with a space", shown(words, number)),
                fix: "take the space out",
            });
        }
        if is_quoted(word) {
            defects.push(QuotingDefect {
                found: format!(
                    "{} has quotation marks of its own, which reach the bridge",
                    shown(words, number)
                ),
                fix: "leave the inner quotation marks out: a list of arguments needs none",
            });
        }
    }
    if system == System::Windows {
        defects.extend(on_windows(words, file));
    }
    defects
}

fn on_windows(words: &[String], file: &str) -> Vec<QuotingDefect> {
    let mut defects = Vec::new();
    let program = words
        .first()
        .map(|word| base_name(word))
        .unwrap_or_default();
    let is_batch_file = Path::new(file).extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("cmd") || extension.eq_ignore_ascii_case("bat")
    });
    if is_batch_file || BATCH_FILES.contains(&program.as_str()) {
        defects.push(QuotingDefect {
            found: format!("{program} is a batch file, which some apps cannot start"),
            fix: "start it with \"command\": \"cmd\" and \"/c\" before it in the arguments",
        });
    }
    if program != "cmd" && !is_batch_file {
        return defects;
    }
    for (number, word) in words.iter().enumerate().skip(1) {
        if word.contains(' ') {
            defects.push(QuotingDefect {
                found: format!(
                    "{} has a space, at which cmd and some apps on Windows cut it",
                    shown(words, number)
                ),
                fix: "put the value into the variables of the entry and write NAME:${VARIABLE} without a space, or \
                      use --bearer-env or --header-env",
            });
        } else if word.contains(SPECIAL_TO_CMD) && !word.contains("${") {
            defects.push(QuotingDefect {
                found: format!(
                    "{} has a character that cmd takes for itself (& | < > ^ %)",
                    shown(words, number)
                ),
                fix: "start the program itself instead of cmd: mcp-bridge install writes its path",
            });
        }
    }
    defects
}

fn is_quoted(word: &str) -> bool {
    let has = |mark: char| word.len() > 1 && word.starts_with(mark) && word.ends_with(mark);
    has('"') || has('\'')
}

/// An argument as it may be shown: by its option or its place, since values may be secrets.
fn shown(words: &[String], number: usize) -> String {
    let option = number.checked_sub(1).and_then(|before| words.get(before));
    match (words.get(number), option) {
        (Some(word), _) if word.contains("://") => "the URL".to_owned(),
        (Some(word), _) if word.starts_with("--") => {
            let name = word.split(['=', ' ']).next().unwrap_or_default();
            format!("the value of {name}")
        }
        (Some(_), Some(option)) if option.starts_with("--") => format!("the value of {option}"),
        _ if number == 0 => "the command".to_owned(),
        _ => format!("argument {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &[&str], file: &str, system: System) -> Vec<String> {
        let words: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
        let defects = defects(&words, file, system).into_iter();
        defects.map(|defect| defect.found).collect()
    }

    const HEADER: [&str; 4] = [
        "mcp-bridge",
        "https://x.example/mcp?a=1&b=2",
        "--header",
        "Authorization: Bearer x",
    ];

    #[test]
    fn a_program_gets_its_arguments_as_they_are() {
        for system in [System::Linux, System::MacOs, System::Windows] {
            let defects = found(&HEADER, r"C:\Program Files\mcp-bridge.exe", system);
            assert!(defects.is_empty(), "{defects:?}");
        }
        let npx = [&["npx", "-y"][..], &HEADER].concat();
        assert!(found(&npx, "/usr/bin/npx", System::Linux).is_empty());
    }

    #[test]
    fn on_windows_a_batch_file_and_what_goes_through_cmd_are_told() {
        let npx = [&["npx", "-y"][..], &HEADER].concat();
        let defects = found(&npx, r"C:\nodejs\npx.cmd", System::Windows);
        assert_eq!(
            defects,
            [
                "npx is a batch file, which some apps cannot start",
                "the URL has a character that cmd takes for itself (& | < > ^ %)",
                "the value of --header has a space, at which cmd and some apps on Windows cut it",
            ]
        );
        let cmd = [&["cmd", "/c", "npx", "-y"][..], &HEADER].concat();
        let defects = found(&cmd, r"C:\Windows\System32\cmd.exe", System::Windows);
        assert_eq!(defects.len(), 2, "{defects:?}");
        let fine = [
            "cmd",
            "/c",
            "npx",
            "mcp-bridge",
            "https://x.example/mcp",
            "--header",
            "Authorization:${AUTH}",
        ];
        assert!(found(&fine, "cmd.exe", System::Windows).is_empty());
    }

    #[test]
    fn quotation_marks_and_spaces_around_a_word_are_told_everywhere() {
        let line = [
            "mcp-bridge",
            "\"https://x.example/mcp\"",
            "--profile",
            "work ",
        ];
        assert_eq!(
            found(&line, "/bin/mcp-bridge", System::Linux),
            [
                "the URL has quotation marks of its own, which reach the bridge",
                "the value of --profile begins or ends with a space",
            ]
        );
    }
}
