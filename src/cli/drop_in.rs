//! Launcher words of npm `mcp-remote` configurations (`npx -y mcp-remote …`), left out of the arguments, so that
//! only the command of such a configuration has to be changed.

use std::ffi::OsString;

use clap::Command;

/// A launcher that takes more words than this before the package is not recognised.
const MAX_LAUNCHER_WORDS: usize = 32;

/// The npm package that the bridge replaces, and the name of its program.
const PACKAGE: &str = "mcp-remote";

/// The arguments without everything up to the word that names the package `mcp-remote`: as an npm package with or
/// without a version, a scoped fork of it, its program, or a script inside the package. Nothing is left out
/// behind the server's URL, or behind a command or an option of `program`, which is built only if it matters.
#[must_use]
pub fn without_launcher(args: Vec<OsString>, program: impl FnOnce() -> Command) -> Vec<OsString> {
    let args = without_shell(args);
    let Some(end) = launcher_end(&args) else {
        return args;
    };
    let program = program();
    if args[1..end].iter().any(|word| is_known(word, &program)) {
        return args;
    }
    let mut args = args;
    args.drain(1..end);
    args
}

/// The index behind the launcher's words, if there are any.
fn launcher_end(args: &[OsString]) -> Option<usize> {
    let words = args.iter().enumerate().skip(1).take(MAX_LAUNCHER_WORDS);
    let mut before_url = words.take_while(|(_, word)| !word.to_string_lossy().contains("://"));
    let (package, _) = before_url.find(|(_, word)| names_package(&word.to_string_lossy()))?;
    // The program's name may follow: `npx --package mcp-remote -- mcp-remote`.
    let is_part = |word: &&OsString| *word == "--" || names_package(&word.to_string_lossy());
    let rest = args[package + 1..].iter().take_while(is_part);
    Some(package + 1 + rest.count())
}

/// A command line that stands in one word behind `-c` or `/c`, for a shell, as words of its own.
fn without_shell(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_line = |pair: &[OsString]| {
        let (option, line) = (pair[0].to_string_lossy(), pair[1].to_string_lossy());
        let is_command = option.len() <= 4
            && option.starts_with(['-', '/'])
            && option.to_ascii_lowercase().ends_with('c');
        is_command && line.contains(char::is_whitespace) && line.contains(PACKAGE)
    };
    let mut pairs = args[..].windows(2).take(MAX_LAUNCHER_WORDS);
    let Some(option) = pairs.position(is_line) else {
        return args;
    };
    let line = args[option + 1].to_string_lossy();
    let Some(words) = shlex::split(&line) else {
        return args;
    };
    let is_operator = |word: &String| matches!(word.as_str(), "&&" | "||" | ";" | "|" | "&");
    let mut simple_commands = words.split(is_operator);
    let Some(command) = simple_commands.find(|words| words.iter().any(|it| names_package(it)))
    else {
        return args;
    };
    let command: Vec<_> = command.iter().map(OsString::from).collect();
    args.splice(option..=option + 1, command);
    args
}

/// True if the word is a command or an option of the program itself.
fn is_known(word: &OsString, program: &Command) -> bool {
    let word = word.to_string_lossy();
    match word.strip_prefix("--") {
        Some(option) => {
            let name = option.split_once('=').map_or(option, |(name, _)| name);
            let mut options = program.get_arguments();
            options.any(|it| it.get_long() == Some(name))
        }
        None => program.find_subcommand(&*word).is_some(),
    }
}

/// Returns whether the word names the package `mcp-remote`, or a program or script of it: `mcp-remote@latest`,
/// `@scope/mcp-remote`, `npm:mcp-remote`, `--package=mcp-remote`, `owner/mcp-remote#branch`, `…/bin/mcp-remote`, `…\mcp-remote.cmd`,
/// `…/mcp-remote/dist/proxy.js`.
#[must_use]
pub fn names_package(word: &str) -> bool {
    let word = ["--package=", "-p=", "npm:", "github:"]
        .into_iter()
        .fold(word, |word, prefix| {
            word.strip_prefix(prefix).unwrap_or(word)
        });
    let mut parts = word.rsplit(['/', '\\']);
    let last = parts.next().unwrap_or_default();
    let is_script = [".js", ".mjs", ".cjs", ".ts"]
        .iter()
        .any(|suffix| last.ends_with(suffix));
    if is_script {
        return parts.any(|directory| directory == PACKAGE);
    }
    let name = last.split(['@', '#']).next().unwrap_or_default();
    let name = [".cmd", ".ps1", ".exe"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    name == PACKAGE
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn program() -> Command {
        Command::new("b")
            .arg(Arg::new("client-id").long("client-id"))
            .subcommand(Command::new("install"))
    }

    fn without(words: &[&str]) -> Vec<OsString> {
        without_launcher(words.iter().map(OsString::from).collect(), program)
    }

    #[test]
    fn the_words_of_a_launcher_are_left_out() {
        for launcher in [
            "mcp-remote",
            "mcp-remote@latest",
            "-y mcp-remote@0.15.1",
            "--yes mcp-remote",
            "npx -y mcp-remote",
            "/c npx -y mcp-remote",
            "/C npx mcp-remote@latest",
            "/d /s /c npx.cmd --yes mcp-remote",
            "-y @scope/mcp-remote@1.0.0-beta.1",
            "-p mcp-remote@latest mcp-remote",
            "--package=mcp-remote -- mcp-remote",
            "--package mcp-remote mcp-remote",
            "exec --yes -- mcp-remote",
            "dlx mcp-remote@^0.1",
            "bunx --bun mcp-remote",
            "run -A npm:mcp-remote@0.15.1",
            "github:geelen/mcp-remote#main",
            "node /usr/lib/node_modules/mcp-remote/dist/proxy.js",
            r"C:\Users\me\AppData\Roaming\npm\node_modules\mcp-remote\dist\proxy.js",
            r"C:\Users\me\AppData\Roaming\npm\mcp-remote.cmd",
            "/opt/homebrew/bin/mcp-remote",
        ] {
            let mut words = vec!["b"];
            words.extend(launcher.split_whitespace());
            words.extend(["https://x/", "80", "--header", "X: mcp-remote"]);
            let expected = ["b", "https://x/", "80", "--header", "X: mcp-remote"];
            assert_eq!(without(&words), expected, "{launcher}");
        }
    }

    #[test]
    fn a_command_line_for_a_shell_is_read_as_words() {
        for (option, line) in [
            ("-c", "npx -y mcp-remote https://x/ --header 'X: 1'"),
            (
                "-lc",
                ". ~/.nvm/nvm.sh && exec npx mcp-remote https://x/ --header \"X: 1\"",
            ),
            ("/c", "npx mcp-remote https://x/ --header \"X: 1\""),
        ] {
            let expected = ["b", "https://x/", "--header", "X: 1"];
            assert_eq!(without(&["b", option, line]), expected, "{line}");
        }
    }

    #[test]
    fn words_of_our_own_stay() {
        for line in [
            "b https://x/ mcp-remote",
            "b -y https://x/",
            "b --client-id mcp-remote https://x/",
            "b --client-id=1 mcp-remote",
            "b install mcp-remote https://x/",
            "b /tmp/mcp-remote/notes.txt",
            "b mcp-remote-client https://x/",
            "b",
            "",
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(without(&words), words, "{line}");
        }
    }
}
