//! Package launchers (npx, uvx and the like), which start the bridge from a cache of theirs.

use std::path::Path;

use crate::commands::install::apps::System;

/// Name of the package on npm. Like the others it stands in `packaging/names.toml` too, which a test compares.
const NPM_PACKAGE: &str = "mcp-bridge";

/// Name of the package on the Python Package Index.
const PYPI_PACKAGE: &str = "mcp-bridge-cli";

/// Program that downloads a package into a cache and starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum PackageLauncher {
    Npx,
    Bunx,
    Pnpm,
    Yarn,
    Deno,
    Uvx,
    Pipx,
}

impl PackageLauncher {
    const ALL: [Self; 7] = [
        Self::Npx,
        Self::Bunx,
        Self::Pnpm,
        Self::Yarn,
        Self::Deno,
        Self::Uvx,
        Self::Pipx,
    ];

    /// The launcher whose cache a path is in.
    pub(super) fn with_cache(path: &Path) -> Option<Self> {
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        Self::ALL.into_iter().find(|launcher| launcher.owns(&parts))
    }

    /// Returns whether the path with these components is in the launcher's cache. Seen with npm 11, bun 1.4, pnpm 12,
    /// Yarn 4, deno 2.9, uv 0.13 and pipx 1.18.
    fn owns(self, parts: &[&str]) -> bool {
        let has = |is: &dyn Fn(&str) -> bool| parts.iter().any(|part| is(part));
        let has_pair = |first: &dyn Fn(&str) -> bool, second: &str| {
            let mut pairs = parts.windows(2);
            pairs.any(|pair| first(pair[0]) && pair[1] == second)
        };
        match self {
            Self::Npx => has(&|part| part == "_npx"),
            Self::Bunx => has(&|part| part.starts_with(".bunx-") || part.starts_with("bunx-")),
            Self::Pnpm => has_pair(&|part| part.starts_with("pnpm"), "dlx"),
            Self::Yarn => {
                let mut pairs = parts.windows(2);
                pairs.any(|pair| pair[0].starts_with("xfs-") && pair[1].starts_with("dlx-"))
            }
            Self::Deno => {
                let is_below = has_pair(&|part| matches!(part, "deno" | ".deno" | "Deno"), "npm");
                is_below && has(&|part| part.starts_with("@mcp-bridge"))
            }
            Self::Uvx => has(&|part| {
                let number = part
                    .strip_prefix("archive-v")
                    .or_else(|| part.strip_prefix("environments-v"));
                number.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
            }),
            Self::Pipx => {
                has_pair(&|part| part == "pipx", ".cache")
                    || has_pair(&|part| matches!(part, ".cache" | "Caches"), "pipx")
                    || has_pair(&|part| part == "pipx", "Cache")
            }
        }
    }

    /// The command, as people know it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Npx => "npx",
            Self::Bunx => "bunx",
            Self::Pnpm => "pnpm dlx",
            Self::Yarn => "yarn dlx",
            Self::Deno => "deno run",
            Self::Uvx => "uvx",
            Self::Pipx => "pipx run",
        }
    }

    /// The command that installs the package for good.
    pub(super) const fn installation(self) -> &'static str {
        match self {
            Self::Npx | Self::Deno | Self::Yarn => "npm install --global mcp-bridge",
            Self::Bunx => "bun add --global mcp-bridge",
            Self::Pnpm => "pnpm add --global mcp-bridge",
            Self::Uvx => "uv tool install mcp-bridge-cli",
            Self::Pipx => "pipx install mcp-bridge-cli",
        }
    }

    /// The words that start the bridge. What npm installs on Windows are batch files, which most apps cannot start
    /// without `cmd`.
    pub(super) fn words(self, system: System) -> Vec<&'static str> {
        let (words, is_batch_file): (&[&str], _) = match self {
            Self::Npx => (&["npx", "-y", NPM_PACKAGE], true),
            Self::Bunx => (&["bunx", NPM_PACKAGE], false),
            Self::Pnpm => (&["pnpm", "--silent", "dlx", NPM_PACKAGE], true),
            // Without -q it prints its progress on stdout.
            Self::Yarn => (&["yarn", "dlx", "-q", NPM_PACKAGE], true),
            Self::Deno => (&["deno", "run", "-A", "npm:mcp-bridge"], false),
            Self::Uvx => (&["uvx", PYPI_PACKAGE], false),
            Self::Pipx => (&["pipx", "run", PYPI_PACKAGE], false),
        };
        let shell: &[&str] = match system {
            System::Windows if is_batch_file => &["cmd", "/c"],
            System::Windows | System::Linux | System::MacOs => &[],
        };
        [shell, words].concat()
    }
}

/// Programs that start a package, of which the ones above are some.
const PROGRAMS: [&str; 13] = [
    "bun", "bunx", "deno", "npm", "npx", "pipx", "pnpm", "pnpx", "pnx", "pn", "uv", "uvx", "yarn",
];

/// Number of the launcher's words in a command line that starts the package of the bridge: `npx -y mcp-bridge`,
/// `cmd /c npx mcp-bridge@latest`, `uvx --from mcp-bridge-cli mcp-bridge`.
pub(in crate::commands) fn launcher_words(words: &[String]) -> Option<usize> {
    let first = shell_words(words);
    if !PROGRAMS.contains(&base_name(words.get(first)?).as_str()) {
        return None;
    }
    let is_url = |word: &String| word.contains("://");
    let rest = words.iter().enumerate().skip(first + 1);
    let mut before_url = rest.take_while(|(_, word)| !is_url(word));
    let (package, _) = before_url.find(|(_, word)| is_package(word))?;
    let more = words[package + 1..].iter();
    let more = more.take_while(|word| *word == "--" || is_package(word));
    Some(package + 1 + more.count())
}

/// Number of words of the Windows shell before the program that it starts: those of `cmd /c`.
pub(in crate::commands) fn shell_words(words: &[String]) -> usize {
    match words.split_first() {
        Some((program, rest)) if base_name(program) == "cmd" => {
            let options = rest.iter().take_while(|word| word.starts_with('/'));
            1 + options.count()
        }
        _ => 0,
    }
}

/// Returns whether a word names the package of the bridge: `mcp-bridge@0.1.0`, `npm:mcp-bridge`, `mcp-bridge-cli==0.1.0`.
fn is_package(word: &str) -> bool {
    let word = ["--package=", "--from=", "-p=", "npm:"]
        .into_iter()
        .fold(word, |word, prefix| {
            word.strip_prefix(prefix).unwrap_or(word)
        });
    let name = word.split(['@', '=', '<', '>', '~']).next();
    matches!(name, Some(NPM_PACKAGE | PYPI_PACKAGE))
}

/// `C:\…\npx.cmd` as `npx`.
pub(in crate::commands) fn base_name(program: &str) -> String {
    let last = program.rsplit(['/', '\\']).next().unwrap_or_default();
    let last = last.to_ascii_lowercase();
    let stem = [".exe", ".cmd", ".bat", ".ps1"]
        .iter()
        .find_map(|suffix| last.strip_suffix(suffix));
    stem.unwrap_or(&last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_is_known_by_its_cache() {
        for (path, expected) in [
            (
                "/home/a/.npm/_npx/75335/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
                Some(PackageLauncher::Npx),
            ),
            (
                "/home/a/.bun/install/cache/.bunx-0/mcp-bridge@latest/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
                Some(PackageLauncher::Bunx),
            ),
            (
                "/tmp/bunx-1000-mcp-bridge@latest/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
                Some(PackageLauncher::Bunx),
            ),
            (
                "/home/a/.cache/pnpm/dlx/33c5/mx0/node_modules/.pnpm/x/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
                Some(PackageLauncher::Pnpm),
            ),
            (
                "/tmp/xfs-cfa1/dlx-1055/.yarn/unplugged/x/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
                Some(PackageLauncher::Yarn),
            ),
            (
                "/home/a/.cache/deno/npm/registry/@mcp-bridge/linux-x64/0.1.0/bin/mcp-bridge",
                Some(PackageLauncher::Deno),
            ),
            (
                "/home/a/.cache/uv/archive-v0/rO-P3VqEsEmNDdnw/bin/mcp-bridge",
                Some(PackageLauncher::Uvx),
            ),
            (
                "/home/a/.cache/pipx/0123/bin/mcp-bridge",
                Some(PackageLauncher::Pipx),
            ),
            (
                "/home/a/.local/share/pipx/venvs/mcp-bridge-cli/bin/mcp-bridge",
                None,
            ),
            (
                "/usr/local/lib/node_modules/mcp-bridge/node_modules/@mcp-bridge/linux-x64/bin/mcp-bridge",
                None,
            ),
            ("/home/a/archive-videos/mcp-bridge", None),
            ("/home/a/.cargo/bin/mcp-bridge", None),
        ] {
            assert_eq!(
                PackageLauncher::with_cache(Path::new(path)),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn what_a_launcher_is_told_is_recognized_again() {
        for launcher in PackageLauncher::ALL {
            for system in [System::Linux, System::MacOs, System::Windows] {
                let words: Vec<_> = launcher.words(system);
                let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
                let length = words.len();
                let line = [words, vec!["https://x.example/mcp".to_owned()]].concat();
                assert_eq!(launcher_words(&line), Some(length), "{line:?}");
            }
        }
    }

    #[test]
    fn other_ways_to_write_it_are_recognized_too() {
        for (line, expected) in [
            ("npx --yes mcp-bridge@latest https://x.example/", Some(3)),
            (
                "npx -p mcp-bridge -- mcp-bridge https://x.example/",
                Some(5),
            ),
            ("cmd.exe /d /c npx mcp-bridge https://x.example/", Some(5)),
            (
                "uvx --from mcp-bridge-cli==0.1.0 mcp-bridge https://x.example/",
                Some(4),
            ),
            ("uv tool run mcp-bridge-cli https://x.example/", Some(4)),
            ("npx mcp-remote https://x.example/mcp-bridge", None),
            ("npx -y mcp-bridge-x https://x.example/", None),
            ("docker run mcp-bridge https://x.example/", None),
            ("cmd", None),
            ("npx", None),
        ] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(launcher_words(&words), expected, "{line}");
        }
    }

    #[test]
    fn packages_have_the_names_under_which_they_are_published() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names = std::fs::read_to_string(root.join("packaging/names.toml")).unwrap();
        for line in [
            format!("npm = \"{NPM_PACKAGE}\""),
            format!("pypi = \"{PYPI_PACKAGE}\""),
            format!(
                "npm-program = \"{}/{{os}}-{{cpu}}\"",
                super::super::NPM_SCOPE
            ),
        ] {
            assert!(names.lines().any(|it| it == line), "{line}");
        }
        for launcher in PackageLauncher::ALL {
            let installation = launcher.installation();
            let package = installation.split(' ').next_back().unwrap_or_default();
            assert!(is_package(package), "{installation}");
        }
    }
}
