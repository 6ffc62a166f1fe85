//! Help screens, completions and the manual page.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use clap::{ArgAction, CommandFactory as _};
use mcp_bridge::cli::help;
use mcp_bridge::commands::CommandLine;
use mcp_bridge_testkit::program::CommandOutput;

use crate::program;

/// Size of a small terminal.
const SCREEN_LINES: usize = 40;
const SCREEN_COLUMNS: usize = 100;

fn run(args: &[&str]) -> CommandOutput {
    let program = program::program().args(args);
    program
        .env("COLUMNS", SCREEN_COLUMNS.to_string())
        .run_blocking()
}

/// Output of the program when it is asked for it.
fn printed(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.succeeded(), "{args:?}");
    assert!(output.stderr.is_empty(), "{args:?}");
    output.stdout
}

fn fits(args: &[&str]) -> String {
    let screen = printed(args);
    let lines = screen.lines().count();
    assert!(lines <= SCREEN_LINES, "{args:?} has {lines} lines");
    let widest = screen.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(SCREEN_COLUMNS), "{args:?}: {widest:?}");
    screen
}

fn commands() -> Vec<String> {
    let program = CommandLine::command();
    let commands = program.get_subcommands();
    commands
        .map(|command| command.get_name().to_owned())
        .collect()
}

#[test]
fn each_help_fits_a_screen() {
    let overview = fits(&["--help"]);
    assert_eq!(fits(&["-h"]), overview);
    assert_eq!(fits(&["help"]), overview);
    for topic in help::topics(&CommandLine::command()) {
        if topic != help::ALL {
            fits(&["help", &topic]);
            assert!(overview.contains(&topic), "{topic}");
        }
    }
    for command in commands() {
        let help = fits(&[&command, "--help"]);
        assert!(fits(&["help", &command]).starts_with(&help), "{command}");
        assert!(overview.contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn every_flag_stands_in_the_overview_or_in_one_group() {
    let topics = help::topics(&CommandLine::command());
    let topics = topics.iter().filter(|topic| *topic != help::ALL);
    // A command of the same name may stand before the group.
    let of_group = |topic: &String| {
        let is_title = |line: &&str| line.trim_end_matches(':').eq_ignore_ascii_case(topic);
        let screen = printed(&["help", topic]);
        let lines = screen.lines().skip_while(|line| !is_title(line));
        lines.collect::<Vec<_>>().join("\n")
    };
    let groups: Vec<_> = topics.map(of_group).collect();
    let overview = printed(&["--help"]);
    let all = printed(&["help", help::ALL]);
    for arg in CommandLine::command().get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        let flag = format!("  --{name}");
        let stands = |screen: &&String| {
            let mut lines = screen.lines().filter_map(|line| line.split_once(&flag));
            lines.any(|(before, after)| {
                before.trim().is_empty() && (after.is_empty() || after.starts_with(' '))
            })
        };
        let count = groups.iter().filter(stands).count();
        let is_general = arg.get_help_heading().is_none();
        assert_eq!(count, usize::from(!is_general), "{name}");
        assert!(!is_general || stands(&&overview), "{name}");
        assert!(stands(&&all), "{name}");
    }
}

/// A word in capitals with an underscore is a variable.
#[test]
fn every_variable_that_the_flags_read_is_explained() {
    // Set by the SSH server, and by Cargo for the compiler.
    const SET_BY_OTHERS: [&str; 2] = ["SSH_CONNECTION", "CARGO_PKG_NAME"];
    let screen = printed(&["help", help::ENVIRONMENT]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli");
    let mut found = 0;
    for file in std::fs::read_dir(folder).expect("the sources") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a source");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let text: String = text.lines().filter(is_code).collect();
        for word in text.split('"').skip(1).step_by(2) {
            let is_name = |it: char| it.is_ascii_uppercase() || it == '_';
            if word.contains('_') && word.chars().all(is_name) && !SET_BY_OTHERS.contains(&word) {
                assert!(screen.contains(word), "{word}");
                found += 1;
            }
        }
    }
    assert!(found >= 4);
}

/// B24: who mistypes is told the right word.
#[test]
fn an_unknown_topic_is_an_error_that_names_those_that_exist() {
    let output = run(&["help", "sing-in"]);
    assert_eq!(output.status, 2);
    assert!(output.stdout.is_empty());
    let stderr = output.stderr;
    assert!(
        stderr.contains("sign-in") && stderr.contains("hint: "),
        "{stderr}"
    );
}

/// A program that reads `input`, or nothing if this machine does not have it.
fn checked(program: &str, args: &[&str], input: &str) -> Option<Output> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    writer
        .join()
        .expect("it does not panic")
        .expect("the program reads on");
    Some(output)
}

#[test]
fn each_shell_gets_completions_that_it_can_read() {
    let flags = CommandLine::command();
    let flags: Vec<_> = flags
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .map(str::to_owned)
        .collect();
    for (shell, parse) in [
        ("bash", Some(["-n"].as_slice())),
        ("zsh", Some(&["-n"])),
        ("fish", Some(&["--no-execute"])),
        ("powershell", None),
        ("elvish", None),
    ] {
        let script = printed(&["completions", shell]);
        for word in flags.iter().chain(&commands()) {
            assert!(script.contains(word.as_str()), "{shell}: {word}");
        }
        let Some(output) = parse.and_then(|args| checked(shell, args, &script)) else {
            continue;
        };
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{shell}: {output:?}"
        );
    }
}

/// Completions of bash for the last of the words, where it is installed.
fn bash_completions(words: &[&str]) -> Option<Vec<String>> {
    let (last, before) = words.split_last().expect("words");
    let (index, previous) = (before.len(), before.last().expect("a word before"));
    let script = format!(
        "{completions}\nCOMP_WORDS=('{line}'); COMP_CWORD={index}\n\
         function=$(complete -p mcp-bridge | sed 's/.*-F \\([^ ]*\\) .*/\\1/')\n\
         $function mcp-bridge '{last}' '{previous}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        completions = printed(&["completions", "bash"]),
        line = words.join("' '"),
    );
    let output = checked("bash", &["--norc"], &script)?;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_each_word_of_a_command_line() {
    for (words, expected) in [
        (&["mcp-bridge", "logi"][..], "login"),
        (&["mcp-bridge", "login", "--no-br"], "--no-browser"),
        (
            &["mcp-bridge", "login", "https://x/", "--devi"],
            "--device-code",
        ),
        (&["mcp-bridge", "install", "--client", "curs"], "cursor"),
        (&["mcp-bridge", "completions", "fi"], "fish"),
    ] {
        let Some(found) = bash_completions(words) else {
            return eprintln!("skipped: bash is not installed");
        };
        assert_eq!(found, [expected], "{words:?}");
    }
}

#[test]
fn the_manual_page_can_be_typeset_and_names_every_flag() {
    let page = printed(&["man"]);
    for part in [
        ".TH mcp-bridge 1",
        ".SH NAME",
        ".SH SYNOPSIS",
        ".SH OPTIONS",
        ".SH ENVIRONMENT",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for arg in CommandLine::command().get_arguments() {
        if let (Some(name), false) = (arg.get_long(), matches!(arg.get_action(), ArgAction::Help)) {
            let name = name.replace('-', r"\-");
            assert!(page.contains(&format!(r"\fB\-\-{name}\fR")), "{name}");
        }
    }
    let mut pages = vec![page];
    pages.extend(commands().iter().map(|command| printed(&["man", command])));
    for page in pages {
        let typeset = checked("groff", &["-man", "-ww", "-Tascii"], &page);
        assert!(
            typeset.is_none_or(|it| it.status.success() && it.stderr.is_empty()),
            "{page}"
        );
    }
}
