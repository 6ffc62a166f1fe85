//! Table of supported apps: their configuration files, and the form of an entry there.
//!
//! An app is one row in the table of its family. A row says only what differs from [`AppConfiguration::USUAL`]; the comment above
//! it names the documentation or the source that it was taken from, and when.

mod desktop;
mod editors;
mod entry_form;
mod places;
mod terminals;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;

pub(in crate::commands) use entry_form::AppEnvironment;
use entry_form::{Passes, Shape};
use places::Files;
pub(super) use places::Machine;
pub(in crate::commands) use places::System;

/// The table of apps, in the order in which they are listed.
static CLIENTS: LazyLock<Vec<AppId>> = LazyLock::new(|| {
    let families = [desktop::APPS, editors::APPS, terminals::APPS];
    let mut clients: Vec<_> = families.iter().copied().flatten().map(AppId).collect();
    clients.sort_by_key(|client| client.0.name);
    clients
});

/// An app, as a value of `--client`.
#[derive(Clone, Copy)]
pub(in crate::commands) struct AppId(&'static AppConfiguration);

/// Configuration of an app.
pub(in crate::commands) struct AppConfiguration {
    /// The value of `--client`.
    pub(in crate::commands) name: &'static str,
    /// Its name as people know it.
    pub(super) title: &'static str,
    /// The user's own files.
    user: Files,
    /// The files in the directory of a project.
    project: Files,
    /// The keys around a project's directory, in the user's own file, of a table of servers that are the user's alone
    /// and for that project alone.
    local: Option<(&'static str, &'static str)>,
    /// The menu that leads to the servers of an app without a file.
    pub(super) menu: Option<&'static str>,
    /// The keys that lead to the table of servers.
    pub(super) servers: &'static [&'static str],
    /// The key of a table in it that holds the servers instead, where a file has one.
    pub(super) inner: Option<&'static str>,
    /// The members that an entry for a remote server and one with a command have in common.
    pub(super) kept: &'static [&'static str],
    pub(super) format: Format,
    shape: Shape,
    passes: Passes,
    /// Flags for the bridge that suit the app's limits, for an entry whose flags say nothing about waiting.
    waits: &'static [&'static str],
    /// A directory with a directory for each profile of the user, which has a file of its own.
    profiles: Option<places::ConfigPath>,
    /// Steps after a change of the user's own file; empty for a restart.
    then: &'static str,
    /// The same for the file of a project.
    then_in_project: &'static str,
}

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Format {
    /// JSON; comments and trailing commas are kept.
    Json,
    Toml,
    /// YAML, in block style.
    Yaml,
}

/// Part of an app's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// The user's own, everywhere.
    User,
    /// Shared by everybody who works on the project in a directory.
    Project(&'a Path),
    /// The user's own, for the project in a directory.
    Local(&'a Path),
}

impl AppId {
    /// The app with this name.
    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self::from_str(name, false).expect("the name of an app")
    }

    pub(in crate::commands) const fn app(self) -> &'static AppConfiguration {
        self.0
    }
}

impl ValueEnum for AppId {
    fn value_variants<'a>() -> &'a [Self] {
        &CLIENTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name))
    }
}

impl PartialEq for AppId {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for AppId {}

impl fmt::Debug for AppId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name)
    }
}

impl AppConfiguration {
    /// The commonest form: `mcpServers` in JSON, with `command` and `args`.
    const USUAL: Self = Self {
        name: "",
        title: "",
        user: Files::NONE,
        project: Files::NONE,
        local: None,
        menu: None,
        servers: &["mcpServers"],
        inner: None,
        kept: &["env"],
        format: Format::Json,
        shape: Shape::Plain,
        passes: Passes::All,
        waits: &[],
        profiles: None,
        then: "",
        then_in_project: "",
    };

    /// The user's own files that the app reads, of which the last counts most. Empty without a home directory, and
    /// for an app without files.
    pub(super) fn user_files(&self, machine: &Machine<'_>) -> Vec<PathBuf> {
        self.user.read(machine, None)
    }

    /// The files of the project in `directory` that the app reads, likewise.
    pub(super) fn project_files(&self, machine: &Machine<'_>, directory: &Path) -> Vec<PathBuf> {
        self.project.read(machine, Some(directory))
    }

    /// The files of a scope that the app reads, likewise.
    pub(super) fn files(&self, machine: &Machine<'_>, scope: Scope<'_>) -> Vec<PathBuf> {
        match scope {
            Scope::Local(_) if self.local.is_none() => Vec::new(),
            Scope::User | Scope::Local(_) => self.user_files(machine),
            Scope::Project(directory) => self.project_files(machine, directory),
        }
    }

    /// All files of a scope, whether they exist and are read or not, in ascending precedence.
    pub(super) fn every_file(&self, machine: &Machine<'_>, scope: Scope<'_>) -> Vec<PathBuf> {
        match scope {
            Scope::Local(_) if self.local.is_none() => Vec::new(),
            Scope::User | Scope::Local(_) => self.every_user_file(machine),
            Scope::Project(directory) => self.every_project_file(machine, directory),
        }
    }

    /// All of the user's own files, whether they exist or not, in ascending precedence.
    pub(super) fn every_user_file(&self, machine: &Machine<'_>) -> Vec<PathBuf> {
        self.user.every(machine, None)
    }

    /// All files of the project in `directory`, likewise.
    pub(super) fn every_project_file(
        &self,
        machine: &Machine<'_>,
        directory: &Path,
    ) -> Vec<PathBuf> {
        self.project.every(machine, Some(directory))
    }

    /// The keys that lead to the table of servers in a file of this scope.
    pub(super) fn table(&self, machine: &Machine<'_>, scope: Scope<'_>) -> Vec<String> {
        if let (Scope::Local(directory), Some((projects, servers))) = (scope, self.local) {
            let directory = directory.to_string_lossy();
            let directory = match machine.system {
                System::Windows => directory.replace('\\', "/"),
                System::Linux | System::MacOs => directory.into_owned(),
            };
            return vec![projects.to_owned(), directory, servers.to_owned()];
        }
        self.servers.iter().map(|key| (*key).to_owned()).collect()
    }

    /// The directories of the user's profiles, each of which has a file of its own.
    pub(super) fn profiles(&self, machine: &Machine<'_>) -> Vec<PathBuf> {
        let directory = self.profiles.and_then(|place| place.of_user(machine));
        let entries = directory.and_then(|directory| std::fs::read_dir(directory).ok());
        let paths = entries.into_iter().flatten().flatten();
        let mut profiles: Vec<_> = paths.map(|entry| entry.path()).collect();
        profiles.retain(|path| path.is_dir());
        profiles.sort();
        profiles
    }

    /// Its name as people know it.
    pub(in crate::commands) const fn title(&self) -> &'static str {
        self.title
    }

    /// The menu that leads to the servers of an app without a file.
    pub(in crate::commands) const fn menu(&self) -> Option<&'static str> {
        self.menu
    }

    /// Returns whether it keeps servers of one person for one project.
    pub(super) const fn has_local_scope(&self) -> bool {
        self.local.is_some()
    }

    /// Steps for the person after a change.
    pub(super) fn then(&self, scope: Scope<'_>) -> String {
        let then = match scope {
            Scope::Project(_) if !self.then_in_project.is_empty() => self.then_in_project,
            Scope::User | Scope::Project(_) | Scope::Local(_) => self.then,
        };
        if then.is_empty() {
            return Self::restart(self.title);
        }
        then.to_owned()
    }

    /// Steps for the person where an app says nothing else.
    pub(super) fn restart(title: &str) -> String {
        format!("If {title} is running, restart it.")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;

    /// A machine without a home directory.
    fn nowhere() -> Machine<'static> {
        Machine {
            system: System::Linux,
            variable: &|_| None,
        }
    }

    const HOME: &str = "/home/ada";

    fn user_file(client: &str, system: System, variables: &[(&str, &str)]) -> Option<String> {
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
        let files = AppId::named(client).app().user_files(&machine);
        Some(files.first()?.to_str().unwrap().replace('\\', "/"))
    }

    #[test]
    fn every_app_has_its_file_on_every_system() {
        let mac = "/home/ada/Library/Application Support";
        let roaming = "/home/ada/AppData/Roaming";
        let config = "/home/ada/.config";
        let home = |path: &str| [path; 3].map(|path| format!("/home/ada/{path}"));
        let data = |path: &str| [config, mac, roaming].map(|it| format!("{it}/{path}"));
        let xdg = |path: &str| [config; 3].map(|it| format!("{it}/{path}"));
        let xdg_or_data = |path: &str| [config, config, roaming].map(|it| format!("{it}/{path}"));
        let roo = "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json";
        let table = [
            ("amazonq", home(".aws/amazonq/mcp.json")),
            ("amp", home(".config/amp/settings.json")),
            ("antigravity", home(".gemini/config/mcp_config.json")),
            ("claude", data("Claude/claude_desktop_config.json")),
            ("claude-code", home(".claude.json")),
            (
                "cline",
                home(".cline/data/settings/cline_mcp_settings.json"),
            ),
            ("codex", home(".codex/config.toml")),
            ("continue", home(".continue/mcpServers/mcp.json")),
            ("copilot", home(".copilot/mcp-config.json")),
            ("crush", xdg("crush/crush.json")),
            ("cursor", home(".cursor/mcp.json")),
            ("gemini", home(".gemini/settings.json")),
            (
                "goose",
                [
                    format!("{config}/goose/config.yaml"),
                    format!("{config}/goose/config.yaml"),
                    format!("{roaming}/Block/goose/config/config.yaml"),
                ],
            ),
            ("junie", home(".junie/mcp/mcp.json")),
            ("kilo", xdg("kilo/kilo.jsonc")),
            ("kiro", home(".kiro/settings/mcp.json")),
            ("lmstudio", home(".lmstudio/mcp.json")),
            ("opencode", xdg("opencode/opencode.json")),
            ("qwen", home(".qwen/settings.json")),
            ("roo", data(roo)),
            ("vscode", data("Code/User/mcp.json")),
            ("warp", home(".warp/.mcp.json")),
            ("windsurf", xdg_or_data("devin/mcp_config.json")),
            ("zed", xdg_or_data("zed/settings.json")),
        ];
        let named = table.iter().map(|(name, _)| *name);
        let with_a_file = CLIENTS.iter().map(|client| client.app());
        let with_a_file = with_a_file.filter(|app| app.menu.is_none());
        assert!(named.eq(with_a_file.map(|app| app.name)));
        for (client, expected) in table {
            let systems = [System::Linux, System::MacOs, System::Windows];
            let found = systems.map(|system| user_file(client, system, &[]).unwrap());
            assert_eq!(found, expected, "{client}");
        }
    }

    #[test]
    fn variables_move_the_files_of_those_who_look_at_them() {
        for (client, system, variable, expected) in [
            (
                "zed",
                System::Linux,
                "XDG_CONFIG_HOME",
                "/else/zed/settings.json",
            ),
            (
                "zed",
                System::MacOs,
                "XDG_CONFIG_HOME",
                "/else/zed/settings.json",
            ),
            (
                "vscode",
                System::Linux,
                "XDG_CONFIG_HOME",
                "/else/Code/User/mcp.json",
            ),
            (
                "vscode",
                System::Windows,
                "APPDATA",
                "/else/Code/User/mcp.json",
            ),
            (
                "claude-code",
                System::MacOs,
                "CLAUDE_CONFIG_DIR",
                "/else/.claude.json",
            ),
            ("codex", System::Windows, "CODEX_HOME", "/else/config.toml"),
            (
                "cursor",
                System::Linux,
                "XDG_CONFIG_HOME",
                "/home/ada/.cursor/mcp.json",
            ),
        ] {
            let found = user_file(client, system, &[(variable, "/else")]);
            assert_eq!(found.as_deref(), Some(expected), "{client}");
        }
        let found = user_file("zed", System::Linux, &[("XDG_CONFIG_HOME", "else")]);
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
        let found = user_file("claude", System::Windows, &variables).unwrap();
        let expected = package.join("LocalCache/Roaming/Claude/claude_desktop_config.json");
        assert_eq!(found, expected.to_str().unwrap().replace('\\', "/"));
        let found = user_file("claude", System::Linux, &variables).unwrap();
        assert_eq!(found, "/home/ada/.config/Claude/claude_desktop_config.json");
    }

    #[test]
    fn of_several_files_those_count_that_exist() {
        let project = tempfile::tempdir().unwrap();
        let app = AppId::named("opencode").app();
        let plain = project.path().join("opencode.json");
        assert_eq!(
            app.project_files(&nowhere(), project.path()),
            std::slice::from_ref(&plain)
        );
        let commented = project.path().join("opencode.jsonc");
        fs::write(&commented, "{}").unwrap();
        assert_eq!(
            app.project_files(&nowhere(), project.path()),
            std::slice::from_ref(&commented)
        );
        fs::write(&plain, "{}").unwrap();
        assert_eq!(
            app.project_files(&nowhere(), project.path()),
            [plain, commented]
        );
        let none = AppId::named("claude")
            .app()
            .project_files(&nowhere(), project.path());
        assert!(none.is_empty());
    }

    #[test]
    fn without_a_home_there_is_no_file() {
        for home in [None, Some(""), Some("relative")] {
            let machine = Machine {
                system: System::Linux,
                variable: &|name| home.filter(|_| name == "HOME").map(OsString::from),
            };
            for client in AppId::value_variants() {
                assert!(client.app().user_files(&machine).is_empty(), "{client:?}");
            }
        }
    }

    #[test]
    fn the_directory_tells_which_version_of_an_app_is_installed() {
        let home = tempfile::tempdir().unwrap();
        let find = |name: &str| (name == "HOME").then(|| OsString::from(home.path()));
        let machine = Machine {
            system: System::Linux,
            variable: &find,
        };
        let storage = "Code/User/globalStorage/saoudrizwan.claude-dev/settings";
        for (client, old, new) in [
            ("windsurf", ".codeium/windsurf", ".config/devin"),
            ("antigravity", ".gemini/antigravity", ".gemini/config"),
            ("lmstudio", ".cache/lm-studio", ".lmstudio"),
            (
                "cline",
                &format!(".config/{storage}"),
                ".cline/data/settings",
            ),
        ] {
            let directory = || {
                let files = AppId::named(client).app().user_files(&machine);
                let parent = files[0].parent().unwrap();
                parent.strip_prefix(home.path()).unwrap().to_owned()
            };
            assert_eq!(directory(), Path::new(new), "{client}");
            fs::create_dir_all(home.path().join(old)).unwrap();
            assert_eq!(directory(), Path::new(old), "{client}");
            fs::create_dir_all(home.path().join(new)).unwrap();
            assert_eq!(directory(), Path::new(new), "{client}");
        }
    }

    #[test]
    fn the_table_of_one_person_for_one_project_is_found_by_the_directory() {
        let app = AppId::named("claude-code").app();
        for (system, directory, key) in [
            (System::Linux, "/work/a b", "/work/a b"),
            (System::Windows, r"C:\work", "C:/work"),
        ] {
            let machine = Machine {
                system,
                variable: &|_| None,
            };
            let table = app.table(&machine, Scope::Local(Path::new(directory)));
            assert_eq!(table, ["projects", key, "mcpServers"]);
            assert_eq!(app.table(&machine, Scope::User), ["mcpServers"]);
        }
    }
}
