//! Launchers of npm `mcp-remote` (`npx -y mcp-remote …`): what they start it with, and what would be lost without
//! them.

use crate::cli::names_package;
use crate::commands::install::program::launcher::base_name;

/// Programs that find and start a package and pass everything else on, and shells.
const PROGRAMS: [&str; 27] = [
    "ash",
    "asdf",
    "bash",
    "bun",
    "bunx",
    "cmd",
    "corepack",
    "dash",
    "deno",
    "env",
    "fish",
    "fnm",
    "ksh",
    "mise",
    "node",
    "nodejs",
    "npm",
    "npx",
    "nvm-exec",
    "pnpm",
    "pnpx",
    "powershell",
    "pwsh",
    "sh",
    "volta",
    "yarn",
    "zsh",
];

/// Subcommands of these programs.
const COMMANDS: [&str; 7] = ["call", "dlx", "exec", "run", "start", "tool", "x"];

/// Their options whose value is the next word.
const OPTIONS_WITH_VALUE: [&str; 10] = [
    "--cache",
    "--import",
    "--package",
    "--prefix",
    "--registry",
    "--require",
    "--userconfig",
    "--using",
    "-p",
    "-r",
];

/// Words in commands of a shell line that do no more than find Node.
const ABOUT_NODE: [&str; 7] = [
    "nvm",
    "fnm",
    "asdf",
    "mise",
    "volta",
    "PATH=",
    "brew shellenv",
];

/// Returns whether the words start `mcp-remote`, by whatever launcher.
pub(super) fn starts_mcp_remote(words: &[String]) -> bool {
    words.iter().any(|word| is_package(word)) || shell_line(words).is_some()
}

fn is_package(word: &str) -> bool {
    !word.contains("://") && names_package(word)
}

/// The index of a line for a shell that has the package in it: what stands behind `-c`, `/c` and the like.
fn shell_line(words: &[String]) -> Option<usize> {
    let takes_line = |option: &str| {
        let option = option.to_ascii_lowercase();
        let is_short = option.len() <= 4 && option.starts_with(['-', '/']) && option.ends_with('c');
        is_short || matches!(option.as_str(), "-command" | "--call")
    };
    let has_package = |line: &str| {
        let between = |letter: char| letter.is_whitespace() || ";&|'\"".contains(letter);
        line.contains(char::is_whitespace) && line.split(between).any(is_package)
    };
    let pairs = words.windows(2);
    let option = pairs
        .into_iter()
        .position(|pair| takes_line(&pair[0]) && has_package(&pair[1]))?;
    Some(option + 1)
}

/// The arguments that `mcp-remote` is started with, as the bridge can take them. Fails with the reason why the
/// launcher cannot be left out.
pub(super) fn arguments(words: &[String]) -> Result<Vec<String>, String> {
    let mut words = words.to_vec();
    let mut notation = Notation::None;
    if let Some(place) = shell_line(&words) {
        let line = command_in(&words[place])?;
        words.splice(place - 1..=place, line);
        notation = Notation::Shell;
    }
    let package = words.iter().position(|word| is_package(word));
    let package = package.ok_or("the shell line cannot be read")?;
    let launcher = &words[..package];
    check_launcher(launcher)?;
    if launcher.iter().any(|word| base_name(word) == "cmd") {
        notation = Notation::Cmd;
    }
    let is_part = |word: &&String| *word == "--" || is_package(word);
    let rest = words[package + 1..].iter().skip_while(is_part);
    rest.map(|word| notation.in_ours(word)).collect()
}

/// Fails if the words before the package do more than find and start it.
fn check_launcher(words: &[String]) -> Result<(), String> {
    let is_cmd = words
        .first()
        .is_some_and(|program| base_name(program) == "cmd");
    let mut is_value = false;
    for word in words {
        check_assignment(word)?;
        let name = base_name(word);
        let is_known = PROGRAMS.contains(&name.as_str())
            || COMMANDS.contains(&name.as_str())
            || word.starts_with('-')
            || word.contains("://")
            || is_cmd && word.starts_with('/')
            // `mise exec node@22 -- npx`
            || name.starts_with(|first: char| first.is_ascii_digit())
            || name.starts_with("node@");
        if !is_known && !is_value {
            return Err(format!(
                "{name} has a part in starting it, which would be lost"
            ));
        }
        is_value = OPTIONS_WITH_VALUE.contains(&word.as_str());
    }
    Ok(())
}

/// `env NAME=VALUE npx …`: the variable would be lost.
fn check_assignment(word: &str) -> Result<(), String> {
    let Some((name, _)) = word.split_once('=') else {
        return Ok(());
    };
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Ok(());
    }
    Err(format!(
        "its command line sets the variable {name}; put that into the variables of the entry first"
    ))
}

/// The one command of a shell line that starts `mcp-remote`. Others may only look for Node.
fn command_in(line: &str) -> Result<Vec<String>, String> {
    if line.contains("$(") || line.contains('`') || line.contains("$env:") {
        return Err("a shell computes a part of its command line".to_owned());
    }
    let words = shlex::split(line).ok_or("the shell line cannot be read")?;
    let is_operator = |word: &String| matches!(word.as_str(), "&&" | "||" | ";" | "|" | "&");
    let mut found = None;
    for command in words.split(is_operator).filter(|words| !words.is_empty()) {
        let text = command.join(" ");
        if found.is_none() && command.iter().any(|word| is_package(word)) {
            found = Some(command.to_vec());
        } else if !ABOUT_NODE.iter().any(|part| text.contains(part)) {
            return Err(format!(
                "the shell line also runs {}",
                command[0].trim_end_matches(';')
            ));
        }
    }
    let command = found.ok_or("the shell line cannot be read")?;
    let is_redirection = |word: &&String| word.contains(['<', '>']) && !word.contains(' ');
    if let Some(word) = command.iter().find(is_redirection) {
        return Err(format!("the shell line redirects ({word})"));
    }
    Ok(command)
}

/// Notations of variables that a launcher fills in.
#[derive(Debug, Clone, Copy)]
enum Notation {
    None,
    /// `$NAME`
    Shell,
    /// `%NAME%`
    Cmd,
}

impl Notation {
    /// A word with its variables written as the bridge reads them, which does so in header values alone.
    fn in_ours(self, word: &str) -> Result<String, String> {
        let ours = match self {
            Self::None => return Ok(word.to_owned()),
            Self::Shell => from_shell(word),
            Self::Cmd => from_cmd(word),
        };
        let is_header = word.contains(':') && !word.contains("://");
        if ours != word && !is_header {
            return Err(format!(
                "a shell fills variables into {word}, which the bridge does in header values only"
            ));
        }
        if matches!(self, Self::Shell) && word.starts_with('~') {
            return Err(format!(
                "a shell completes {word}; write the whole path first"
            ));
        }
        Ok(ours)
    }
}

fn is_in_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// `$NAME` as `${NAME}`.
fn from_shell(word: &str) -> String {
    let mut parts = word.split('$');
    let mut ours = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|letter| !is_in_name(letter))
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        if name.is_empty() {
            ours.push('$');
            ours.push_str(part);
        } else {
            ours.extend(["${", name, "}", rest]);
        }
    }
    ours
}

/// `%NAME%` as `${NAME}`.
fn from_cmd(word: &str) -> String {
    let mut ours = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('%') {
        ours.push_str(before);
        match after.split_once('%') {
            Some((name, after)) if !name.is_empty() && name.chars().all(is_in_name) => {
                ours.extend(["${", name, "}"]);
                rest = after;
            }
            _ => {
                ours.push('%');
                rest = after;
            }
        }
    }
    ours.push_str(rest);
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
        assert!(starts_mcp_remote(&words), "{line:?}");
        arguments(&words)
    }

    #[test]
    fn launchers_are_left_out_with_what_they_say_to_themselves() {
        let rest = ["https://x.example/mcp", "3334", "--header", "X: mcp-remote"];
        for launcher in [
            "npx mcp-remote",
            "npx -y mcp-remote@latest",
            "npx --yes @scope/mcp-remote@1.0.0-beta.1",
            "npx --registry https://registry.example.com -y mcp-remote@0.15.1",
            "npx -p mcp-remote@latest mcp-remote",
            "mise exec node@22 -- npx -y mcp-remote",
            "npx --package=mcp-remote -- mcp-remote",
            "npm exec --yes -- mcp-remote",
            "npm x -y -- mcp-remote@0.1",
            "bunx --bun mcp-remote",
            "bun x mcp-remote",
            "pnpm dlx mcp-remote@^0.1",
            "pnpx mcp-remote",
            "yarn dlx mcp-remote",
            "deno run -A npm:mcp-remote@0.15.1",
            "cmd /c npx -y mcp-remote",
            "cmd.exe /d /s /C npx.cmd --yes mcp-remote@latest",
            "powershell -NoProfile -Command npx -y mcp-remote",
            "node /usr/lib/node_modules/mcp-remote/dist/proxy.js",
            "/home/me/.nvm/versions/node/v22.1.0/bin/npx -y mcp-remote",
            r"C:\nvm4w\nodejs\node.exe C:\npm\node_modules\mcp-remote\dist\proxy.js",
            r"C:\Users\me\AppData\Roaming\npm\mcp-remote.cmd",
            "/opt/homebrew/bin/mcp-remote",
            "mcp-remote",
            "env npx mcp-remote",
            "volta run npx mcp-remote",
            "npx -y github:geelen/mcp-remote#main",
        ] {
            let words: Vec<_> = launcher.split(' ').chain(rest).collect();
            assert_eq!(
                of(&words).as_deref(),
                Ok(&rest.map(str::to_owned)[..]),
                "{launcher}"
            );
        }
    }

    #[test]
    fn a_line_for_a_shell_is_read_as_words() {
        for line in [
            &[
                "sh",
                "-c",
                "npx -y mcp-remote https://x.example/mcp --header 'X: ${KEY}'",
            ][..],
            &[
                "zsh",
                "-lc",
                ". ~/.nvm/nvm.sh && exec npx mcp-remote https://x.example/mcp --header \"X: $KEY\"",
            ],
            &[
                "cmd",
                "/c",
                "npx mcp-remote https://x.example/mcp --header \"X: %KEY%\"",
            ],
            &[
                "npx",
                "-p",
                "mcp-remote",
                "-c",
                "mcp-remote https://x.example/mcp --header \"X: $KEY\"",
            ],
            &[
                "cmd",
                "/c",
                "npx",
                "mcp-remote",
                "https://x.example/mcp",
                "--header",
                "X: %KEY%",
            ],
        ] {
            let expected = ["https://x.example/mcp", "--header", "X: ${KEY}"].map(str::to_owned);
            assert_eq!(of(line).as_deref(), Ok(&expected[..]), "{line:?}");
        }
    }

    #[test]
    fn what_would_be_lost_without_the_launcher_is_named() {
        for (line, reason) in [
            (
                &[
                    "docker",
                    "run",
                    "-i",
                    "node",
                    "npx",
                    "mcp-remote",
                    "https://x/",
                ][..],
                "docker",
            ),
            (
                &["op", "run", "--", "npx", "-y", "mcp-remote", "https://x/"],
                "op",
            ),
            (&["wsl", "npx", "-y", "mcp-remote", "https://x/"], "wsl"),
            (&["env", "A_B=1", "npx", "mcp-remote", "https://x/"], "A_B"),
            (&["sh", "-c", "A=1 npx mcp-remote https://x/"], "variable A"),
            (
                &["sh", "-c", "source .env && npx mcp-remote https://x/"],
                "source",
            ),
            (
                &["sh", "-c", "npx mcp-remote https://x/ 2>/dev/null"],
                "2>/dev/null",
            ),
            (&["sh", "-c", "npx mcp-remote $URL"], "$URL"),
            (
                &[
                    "sh",
                    "-c",
                    "npx mcp-remote https://x/ --header \"X: $(cat key)\"",
                ],
                "computes",
            ),
            (
                &["npx", "-y", "mcp-proxy", "npx", "mcp-remote", "https://x/"],
                "mcp-proxy",
            ),
            (
                &["sh", "-c", "docker run npx mcp-remote https://x/"],
                "docker",
            ),
        ] {
            let error = of(line).unwrap_err();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }

    #[test]
    fn other_programs_are_no_launchers() {
        for line in [
            "npx -y other https://x/mcp-remote",
            "mcp-remote-client https://x/",
            "node /tmp/a.js",
        ] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert!(!starts_mcp_remote(&words), "{line}");
        }
    }
}
