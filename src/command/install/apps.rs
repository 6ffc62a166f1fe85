//! The apps: where each keeps its configuration, and how it wants a server written there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

/// An app that starts MCP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::command) enum Client {
    Cursor,
    Claude,
    ClaudeCode,
    #[value(name = "vscode")]
    VsCode,
    Windsurf,
    Zed,
    Gemini,
    Codex,
    Cline,
    Roo,
    #[value(name = "opencode")]
    OpenCode,
    #[value(name = "lmstudio")]
    LmStudio,
}

/// What is to be known of an app.
pub(super) struct App {
    /// Its name as people know it.
    pub(super) title: &'static str,
    /// The user's own file, in one of several places.
    user: &'static [Place],
    /// The file in the directory of a project, likewise; empty where the app has none.
    project: &'static [&'static str],
    reads: Reads,
    /// The key of the object that holds the servers.
    pub(super) servers: &'static str,
    /// The key of an object in it that holds them instead, where a file has one.
    pub(super) inner: Option<&'static str>,
    /// The members of a remote entry that mean the same in one with a command.
    pub(super) kept: &'static [&'static str],
    pub(super) format: Format,
    shape: Shape,
}

/// Choice of an app among several files. Where none exists, the first is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// The first that exists.
    First,
    /// All of them; what a later one says counts more.
    All,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Format {
    /// JSON; comments and trailing commas are kept where there are some.
    Json,
    Toml,
}

/// A path, below a directory that differs between systems and users.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The home directory.
    Home(&'static str),
    /// What a variable names, else a directory in the home directory.
    Variable(&'static str, &'static str, &'static str),
    /// `$XDG_CONFIG_HOME`, else `~/.config`, on each system.
    Xdg(&'static str),
    /// The same, but `%APPDATA%` on Windows.
    XdgOrAppData(&'static str),
    /// The place for the data of apps: as above on Linux and Windows, `~/Library/Application Support`
    /// on macOS.
    AppData(&'static str),
    /// `%APPDATA%` as a packaged app (MSIX) on Windows sees it, if an app is installed whose package
    /// begins so.
    Packaged(&'static str, &'static str),
}

/// How an app wants an entry to be written.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `command` and `args`.
    Plain,
    /// The same with a further member before them.
    Tagged(&'static str, &'static str),
    /// `"type": "local"`, and program and arguments in one list, `command`.
    OneList,
}

impl Client {
    /// The table. Each row is from the documentation of the app, or from its source (Zed's macOS path).
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) const fn app(self) -> App {
        match self {
            Self::Cursor => App {
                title: "Cursor",
                user: &[Place::Home(".cursor/mcp.json")],
                project: &[".cursor/mcp.json"],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &["env", "envFile"],
                format: Format::Json,
                shape: Shape::Plain,
            },
            Self::Claude => App {
                title: "Claude Desktop",
                user: &[
                    Place::Packaged("Claude_", "Claude/claude_desktop_config.json"),
                    Place::AppData("Claude/claude_desktop_config.json"),
                ],
                project: &[],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &["env"],
                format: Format::Json,
                shape: Shape::Plain,
            },
            Self::ClaudeCode => App {
                title: "Claude Code",
                user: &[Place::Variable("CLAUDE_CONFIG_DIR", "", ".claude.json")],
                project: &[".mcp.json"],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &["env", "timeout", "alwaysLoad"],
                format: Format::Json,
                shape: Shape::Tagged("type", "stdio"),
            },
            Self::VsCode => App {
                title: "VS Code",
                user: &[Place::AppData("Code/User/mcp.json")],
                project: &[".vscode/mcp.json"],
                reads: Reads::First,
                servers: "servers",
                inner: None,
                kept: &["env", "envFile", "cwd", "dev", "gallery", "version"],
                format: Format::Json,
                shape: Shape::Tagged("type", "stdio"),
            },
            Self::Windsurf => App {
                title: "Windsurf",
                user: &[Place::Home(".codeium/windsurf/mcp_config.json")],
                project: &[],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &["env", "disabled", "disabledTools", "alwaysAllow"],
                format: Format::Json,
                shape: Shape::Plain,
            },
            Self::Zed => App {
                title: "Zed",
                user: &[Place::XdgOrAppData("zed/settings.json")],
                project: &[".zed/settings.json"],
                reads: Reads::First,
                servers: "context_servers",
                inner: None,
                kept: &["env", "enabled", "timeout"],
                format: Format::Json,
                // Older versions insist on the tag, newer ones do not look at it.
                shape: Shape::Tagged("source", "custom"),
            },
            Self::Gemini => App {
                title: "Gemini CLI",
                user: &[Place::Home(".gemini/settings.json")],
                project: &[".gemini/settings.json"],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &[
                    "env",
                    "cwd",
                    "timeout",
                    "trust",
                    "description",
                    "includeTools",
                    "excludeTools",
                ],
                format: Format::Json,
                shape: Shape::Plain,
            },
            Self::Codex => App {
                title: "Codex",
                user: &[Place::Variable("CODEX_HOME", ".codex", "config.toml")],
                project: &[".codex/config.toml"],
                reads: Reads::First,
                servers: "mcp_servers",
                inner: None,
                kept: &[
                    "cwd",
                    "default_tools_approval_mode",
                    "disabled_tools",
                    "enabled",
                    "enabled_tools",
                    "env",
                    "env_vars",
                    "required",
                    "scopes",
                    "startup_timeout_ms",
                    "startup_timeout_sec",
                    "supports_parallel_tool_calls",
                    "tool_timeout_sec",
                    "tools",
                ],
                format: Format::Toml,
                shape: Shape::Plain,
            },
            Self::Cline => App {
                title: "Cline",
                user: &[Place::AppData(
                    "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
                )],
                project: &[],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &["env", "disabled", "timeout", "autoApprove", "alwaysAllow"],
                format: Format::Json,
                shape: Shape::Plain,
            },
            Self::Roo => App {
                title: "Roo Code",
                user: &[Place::AppData(
                    "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
                )],
                project: &[".roo/mcp.json"],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &[
                    "env",
                    "cwd",
                    "disabled",
                    "timeout",
                    "alwaysAllow",
                    "disabledTools",
                    "watchPaths",
                ],
                format: Format::Json,
                shape: Shape::Plain,
            },
            Self::OpenCode => App {
                title: "opencode",
                user: &[
                    Place::Xdg("opencode/opencode.json"),
                    Place::Xdg("opencode/opencode.jsonc"),
                ],
                project: &["opencode.json", "opencode.jsonc"],
                reads: Reads::All,
                servers: "mcp",
                inner: Some("servers"),
                kept: &["environment", "enabled", "timeout", "cwd"],
                format: Format::Json,
                shape: Shape::OneList,
            },
            Self::LmStudio => App {
                title: "LM Studio",
                user: &[
                    Place::Home(".lmstudio/mcp.json"),
                    Place::Home(".cache/lm-studio/mcp.json"),
                ],
                project: &[],
                reads: Reads::First,
                servers: "mcpServers",
                inner: None,
                kept: &["env", "timeout"],
                format: Format::Json,
                shape: Shape::Plain,
            },
        }
    }
}

impl App {
    /// The user's own files, of which the last counts most. Empty without a home directory.
    pub(super) fn user_files(&self, machine: &Machine<'_>) -> Vec<PathBuf> {
        let places = self.user.iter().filter_map(|place| place.on(machine));
        self.reads.files(places.collect())
    }

    /// The files of the project in `directory`, likewise. Empty where the app has none.
    pub(super) fn project_files(&self, directory: &Path) -> Vec<PathBuf> {
        let files = self.project.iter().map(|path| below(directory, path));
        self.reads.files(files.collect())
    }

    /// What an entry calls the variables that the app sets for the program.
    pub(super) const fn environment(&self) -> &'static str {
        match self.shape {
            Shape::Plain | Shape::Tagged(..) => "env",
            Shape::OneList => "environment",
        }
    }

    /// Every file of the user's that the app reads or has read, most wanted first.
    pub(super) fn every_user_file(&self, machine: &Machine<'_>) -> Vec<PathBuf> {
        let places = self.user.iter();
        places.filter_map(|place| place.on(machine)).collect()
    }

    /// The same in a project.
    pub(super) fn every_project_file(&self, directory: &Path) -> Vec<PathBuf> {
        let paths = self.project.iter();
        paths.map(|path| below(directory, path)).collect()
    }

    /// The members of an entry that starts `program` with `arguments`.
    pub(super) fn entry(&self, program: &str, arguments: &[String]) -> Vec<(&'static str, Value)> {
        let plain = [("command", json!(program)), ("args", json!(arguments))];
        match self.shape {
            Shape::Plain => plain.into(),
            Shape::Tagged(name, value) => {
                let tag = (name, json!(value));
                [tag].into_iter().chain(plain).collect()
            }
            Shape::OneList => {
                let words = [program].into_iter().map(str::to_owned);
                let words: Vec<_> = words.chain(arguments.iter().cloned()).collect();
                vec![("type", json!("local")), ("command", json!(words))]
            }
        }
    }
}

/// What tells where files are on this machine.
pub(super) struct Machine<'a> {
    pub(super) system: System,
    /// Looks up a variable of the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The systems between which places differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// Linux, and what follows its conventions.
    Linux,
    MacOs,
    Windows,
}

impl System {
    /// By the name that [`std::env::consts::OS`] has for it.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "macos" => Self::MacOs,
            "windows" => Self::Windows,
            _ => Self::Linux,
        }
    }
}

impl Machine<'_> {
    /// The directory that a variable names. Relative ones are ignored, as the XDG specification wants.
    fn named(&self, variable: &str) -> Option<PathBuf> {
        let directory = PathBuf::from((self.variable)(variable)?);
        let is_path = match self.system {
            System::Linux | System::MacOs => directory.is_absolute(),
            System::Windows => !directory.as_os_str().is_empty(),
        };
        is_path.then_some(directory)
    }

    /// A path below the user's home directory. What the user database says of it is not asked: whoever
    /// runs a program without `HOME` does not mean that user's files.
    fn at_home(&self, path: &str) -> Option<PathBuf> {
        let home = match self.system {
            System::Linux | System::MacOs => self.named("HOME"),
            System::Windows => self.named("USERPROFILE"),
        };
        Some(below(&home?, path))
    }
}

impl Place {
    fn on(self, machine: &Machine<'_>) -> Option<PathBuf> {
        match self {
            Self::Home(path) => machine.at_home(path),
            Self::Variable(variable, default, path) => {
                let directory = machine.named(variable);
                let directory = directory.or_else(|| machine.at_home(default))?;
                Some(below(&directory, path))
            }
            Self::Xdg(path) => {
                let directory = machine.named("XDG_CONFIG_HOME");
                let directory = directory.or_else(|| machine.at_home(".config"))?;
                Some(below(&directory, path))
            }
            Self::XdgOrAppData(path) => match machine.system {
                System::Linux | System::MacOs => Self::Xdg(path).on(machine),
                System::Windows => Self::AppData(path).on(machine),
            },
            Self::AppData(path) => match machine.system {
                System::Linux => Self::Xdg(path).on(machine),
                System::MacOs => {
                    let directory = machine.at_home("Library/Application Support")?;
                    Some(below(&directory, path))
                }
                System::Windows => {
                    let directory = machine.named("APPDATA");
                    let directory = directory.or_else(|| machine.at_home("AppData/Roaming"))?;
                    Some(below(&directory, path))
                }
            },
            Self::Packaged(prefix, path) => {
                if machine.system != System::Windows {
                    return None;
                }
                let packages = below(&machine.named("LOCALAPPDATA")?, "Packages");
                let names = fs::read_dir(&packages).ok()?.flatten();
                let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
                names.sort();
                let is_it = |name: &&OsString| name.to_string_lossy().starts_with(prefix);
                let package = packages.join(names.iter().find(is_it)?);
                Some(below(&below(&package, "LocalCache/Roaming"), path))
            }
        }
    }
}

/// A path with the separators of this system.
fn below(directory: &Path, path: &str) -> PathBuf {
    let mut whole = directory.to_owned();
    whole.extend(path.split('/').filter(|part| !part.is_empty()));
    whole
}

impl Reads {
    /// Those of the files that an app reads.
    fn files(self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut existing: Vec<_> = paths.iter().filter(|path| path.exists()).cloned().collect();
        if existing.is_empty() {
            paths.truncate(1);
            return paths;
        }
        if self == Self::First {
            existing.truncate(1);
        }
        existing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/ada";

    fn user_file(client: Client, system: System, variables: &[(&str, &str)]) -> Option<String> {
        let home = match system {
            System::Linux | System::MacOs => ("HOME", HOME),
            System::Windows => ("USERPROFILE", HOME),
        };
        let find = |name: &str| {
            let mut variables = variables.iter().chain([&home]);
            let found = variables.find(|(it, _)| *it == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let machine = Machine {
            system,
            variable: &find,
        };
        let files = client.app().user_files(&machine);
        Some(files.first()?.to_str().unwrap().replace('\\', "/"))
    }

    #[test]
    fn every_app_has_its_file_on_every_system() {
        use Client::*;
        let cline =
            "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json";
        let roo = "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json";
        let claude = "Claude/claude_desktop_config.json";
        let code = "Code/User/mcp.json";
        let mac = "/home/ada/Library/Application Support";
        let roaming = "/home/ada/AppData/Roaming";
        let table = [
            (Cursor, ["/home/ada/.cursor/mcp.json"; 3].map(str::to_owned)),
            (
                Claude,
                ["/home/ada/.config", mac, roaming].map(|it| format!("{it}/{claude}")),
            ),
            (ClaudeCode, ["/home/ada/.claude.json"; 3].map(str::to_owned)),
            (
                VsCode,
                ["/home/ada/.config", mac, roaming].map(|it| format!("{it}/{code}")),
            ),
            (
                Windsurf,
                ["/home/ada/.codeium/windsurf/mcp_config.json"; 3].map(str::to_owned),
            ),
            (
                Zed,
                ["/home/ada/.config", "/home/ada/.config", roaming]
                    .map(|it| format!("{it}/zed/settings.json")),
            ),
            (
                Gemini,
                ["/home/ada/.gemini/settings.json"; 3].map(str::to_owned),
            ),
            (
                Codex,
                ["/home/ada/.codex/config.toml"; 3].map(str::to_owned),
            ),
            (
                Cline,
                ["/home/ada/.config", mac, roaming].map(|it| format!("{it}/{cline}")),
            ),
            (
                Roo,
                ["/home/ada/.config", mac, roaming].map(|it| format!("{it}/{roo}")),
            ),
            (
                OpenCode,
                ["/home/ada/.config/opencode/opencode.json"; 3].map(str::to_owned),
            ),
            (
                LmStudio,
                ["/home/ada/.lmstudio/mcp.json"; 3].map(str::to_owned),
            ),
        ];
        assert_eq!(table.len(), Client::value_variants().len());
        for (client, expected) in table {
            let systems = [System::Linux, System::MacOs, System::Windows];
            let found = systems.map(|system| user_file(client, system, &[]).unwrap());
            assert_eq!(found, expected, "{client:?}");
        }
    }

    #[test]
    fn variables_move_the_files_of_those_who_look_at_them() {
        for (client, system, variable, expected) in [
            (
                Client::Zed,
                System::Linux,
                "XDG_CONFIG_HOME",
                "/else/zed/settings.json",
            ),
            (
                Client::Zed,
                System::MacOs,
                "XDG_CONFIG_HOME",
                "/else/zed/settings.json",
            ),
            (
                Client::VsCode,
                System::Linux,
                "XDG_CONFIG_HOME",
                "/else/Code/User/mcp.json",
            ),
            (
                Client::VsCode,
                System::Windows,
                "APPDATA",
                "/else/Code/User/mcp.json",
            ),
            (
                Client::ClaudeCode,
                System::MacOs,
                "CLAUDE_CONFIG_DIR",
                "/else/.claude.json",
            ),
            (
                Client::Codex,
                System::Windows,
                "CODEX_HOME",
                "/else/config.toml",
            ),
            (
                Client::Cursor,
                System::Linux,
                "XDG_CONFIG_HOME",
                "/home/ada/.cursor/mcp.json",
            ),
        ] {
            let found = user_file(client, system, &[(variable, "/else")]);
            assert_eq!(found.as_deref(), Some(expected), "{client:?}");
        }
        let found = user_file(Client::Zed, System::Linux, &[("XDG_CONFIG_HOME", "else")]);
        assert_eq!(
            found.as_deref(),
            Some("/home/ada/.config/zed/settings.json")
        );
    }

    #[test]
    fn a_packaged_claude_desktop_has_its_file_in_its_package() {
        let local = tempfile::tempdir().unwrap();
        let package = local.path().join("Packages/Claude_pzs8sxrjxfjjc");
        fs::create_dir_all(&package).unwrap();
        fs::create_dir_all(local.path().join("Packages/Another_app")).unwrap();
        let variables = [("LOCALAPPDATA", local.path().to_str().unwrap())];
        let found = user_file(Client::Claude, System::Windows, &variables).unwrap();
        let expected = package.join("LocalCache/Roaming/Claude/claude_desktop_config.json");
        assert_eq!(found, expected.to_str().unwrap());
        let found = user_file(Client::Claude, System::Linux, &variables).unwrap();
        assert_eq!(found, "/home/ada/.config/Claude/claude_desktop_config.json");
    }

    #[test]
    fn of_several_files_those_count_that_exist() {
        let project = tempfile::tempdir().unwrap();
        let app = Client::OpenCode.app();
        let plain = project.path().join("opencode.json");
        assert_eq!(
            app.project_files(project.path()),
            std::slice::from_ref(&plain)
        );
        let commented = project.path().join("opencode.jsonc");
        fs::write(&commented, "{}").unwrap();
        assert_eq!(
            app.project_files(project.path()),
            std::slice::from_ref(&commented)
        );
        fs::write(&plain, "{}").unwrap();
        assert_eq!(app.project_files(project.path()), [plain, commented]);
        let none = Client::Claude.app().project_files(project.path());
        assert!(none.is_empty());
    }

    #[test]
    fn without_a_home_there_is_no_file() {
        for home in [None, Some(""), Some("relative")] {
            let machine = Machine {
                system: System::Linux,
                variable: &|name| home.filter(|_| name == "HOME").map(OsString::from),
            };
            for client in Client::value_variants() {
                assert!(client.app().user_files(&machine).is_empty(), "{client:?}");
            }
        }
    }
}
