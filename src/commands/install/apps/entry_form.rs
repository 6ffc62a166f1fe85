//! Form of an entry in an app's configuration: its members, the environment variables that it passes on, flags about waiting.

use serde_json::{Value, json};

use super::super::entry::Extra;
use super::{AppConfiguration, System, terminals};

/// Form of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// `command` and `args`.
    Plain,
    /// The same with a further member before them.
    Tagged(&'static str, &'static str),
    /// `"type": "local"`, `tools` and the rest (Copilot CLI).
    Copilot,
    /// `"type": "local"`, and program and arguments in one list, `command`.
    OneList,
    /// An extension of Goose: `cmd`, `args`, `name` and the rest.
    Goose,
}

/// Variables of its own environment that an app passes on to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// All, as far as is known.
    All,
    /// A few, and those that the list `env_vars` of the entry names.
    Listed,
    /// Those whose names do not look like secrets, and those to which `env` of the entry refers as `$NAME`.
    NoSecrets,
}

/// Environment of the programs that an app starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum AppEnvironment {
    /// That of the desktop, from which the app is started.
    Desktop,
    /// That of the terminal in which the app is started.
    Terminal,
    /// The same, but a few variables and those that the entry lists.
    TerminalListed,
    /// The same, but nothing that looks like a secret.
    TerminalWithoutSecrets,
}

/// Variables that the bridge, and the programs that open a browser for it, look for: proxies, its directory and
/// profile, the sessions of a desktop.
const VARIABLES: [&str; 14] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
    "BROWSER",
    "MCP_BRIDGE_DIR",
    "MCP_BRIDGE_CLIENT_SECRET",
    "MCP_BRIDGE_PROFILE",
    "MCP_BRIDGE_STORE",
    "MCP_REMOTE_CONFIG_DIR",
];
const VARIABLES_ON_LINUX: [&str; 10] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP",
    "SSH_CONNECTION",
    "SSH_TTY",
];

/// Seconds that Codex waits for a server to start and list its tools. Its own 10 or 30 are less than a person needs
/// for a sign-in, and a server that is late then stays out for the whole session.
const START_OF_CODEX: u32 = 90;

/// Codex lists tools once in a session, so the bridge answers shortly before that time is over, and no earlier.
pub(super) const WAITS_IN_CODEX: [&str; 4] = ["--patience", "85", "--list-wait", "85"];

/// Flags about waiting; the first two do not go with the other two.
const WAIT_FLAGS: [&str; 4] = [
    "--patience",
    "--list-wait",
    "--wait-for-auth",
    "--fail-fast",
];

/// Seconds for a request, which Goose has to be told: its own default.
const TIMEOUT_OF_GOOSE: u32 = 300;

impl AppConfiguration {
    /// The environment of the programs that it starts.
    pub(in crate::commands) fn program_environment(&self) -> AppEnvironment {
        let is_in_terminal = terminals::APPS.iter().any(|app| app.name == self.name);
        match self.passes {
            Passes::All if is_in_terminal => AppEnvironment::Terminal,
            Passes::All => AppEnvironment::Desktop,
            Passes::Listed => AppEnvironment::TerminalListed,
            Passes::NoSecrets => AppEnvironment::TerminalWithoutSecrets,
        }
    }

    /// The name of the member with the variables that the app sets for the program.
    pub(in super::super) const fn environment(&self) -> &'static str {
        match self.shape {
            Shape::Plain | Shape::Tagged(..) | Shape::Copilot => "env",
            Shape::OneList => "environment",
            Shape::Goose => "envs",
        }
    }

    /// The arguments with flags that suit the app's limits, unless some of them are about that.
    pub(in super::super) fn with_waits(&self, arguments: &[String]) -> Vec<String> {
        let is_about_waiting = |it: &String| WAIT_FLAGS.iter().any(|flag| it.starts_with(flag));
        let waits = if arguments.iter().any(is_about_waiting) {
            &[]
        } else {
            self.waits
        };
        let waits = waits.iter().map(|word| (*word).to_owned());
        arguments.iter().cloned().chain(waits).collect()
    }

    /// Returns whether its limits ask for such flags.
    pub(in super::super) const fn has_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// The members of an entry of this name that starts `program` with `arguments`.
    pub(in super::super) fn entry(
        &self,
        name: &str,
        program: &str,
        arguments: &[String],
    ) -> Vec<(&'static str, Value)> {
        let arguments = self.with_waits(arguments);
        let plain = [("command", json!(program)), ("args", json!(arguments))];
        match self.shape {
            Shape::Plain => plain.into(),
            Shape::Tagged(name, value) => {
                let tag = (name, json!(value));
                [tag].into_iter().chain(plain).collect()
            }
            Shape::Copilot => {
                let tag = ("type", json!("local"));
                [tag].into_iter().chain(plain).collect()
            }
            Shape::OneList => {
                let words = [program].into_iter().map(str::to_owned);
                let words: Vec<_> = words.chain(arguments.iter().cloned()).collect();
                vec![("type", json!("local")), ("command", json!(words))]
            }
            Shape::Goose => vec![
                ("type", json!("stdio")),
                ("name", json!(name)),
                ("enabled", json!(true)),
                ("cmd", json!(program)),
                ("args", json!(arguments)),
            ],
        }
    }

    /// Members that an entry gets where it does not have them: what the app requires, and what lets the bridge see
    /// the variables that it needs, among them `named`, those that its flags name.
    pub(in super::super) fn extras(&self, system: System, named: &[&str]) -> Vec<Extra> {
        let mut extras = match self.shape {
            Shape::Plain | Shape::Tagged(..) | Shape::OneList => Vec::new(),
            Shape::Copilot => vec![Extra::Member("tools", json!(["*"]))],
            Shape::Goose => vec![
                Extra::Member("description", json!("")),
                Extra::Member("timeout", json!(TIMEOUT_OF_GOOSE)),
            ],
        };
        match self.passes {
            Passes::All => {}
            Passes::Listed => {
                let desktop: &[&str] = match system {
                    System::Linux => &VARIABLES_ON_LINUX,
                    System::MacOs | System::Windows => &[],
                };
                let variables = VARIABLES.iter().chain(desktop).chain(named);
                let variables = variables.map(|name| (*name).to_owned()).collect();
                extras.push(Extra::Elements("env_vars", variables));
                extras.push(Extra::Member("startup_timeout_sec", json!(START_OF_CODEX)));
            }
            Passes::NoSecrets if named.is_empty() => {}
            Passes::NoSecrets => {
                let references = named.iter();
                let references =
                    references.map(|name| ((*name).to_owned(), json!(format!("${name}"))));
                extras.push(Extra::Members("env", references.collect()));
            }
        }
        extras
    }

    /// Returns whether [`Self::extras`] lets the bridge see each variable that its flags name.
    pub(in super::super) const fn hands_over_variables(&self) -> bool {
        match self.passes {
            Passes::All => false,
            Passes::Listed | Passes::NoSecrets => true,
        }
    }
}
