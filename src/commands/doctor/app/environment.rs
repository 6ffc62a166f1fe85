//! Environment that an app gives to the programs it starts.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::time::Duration;

use crate::commands::install::apps::{AppEnvironment, System};
use crate::commands::program_output::program_output;

/// `PATH` of an app that was started from the Dock or the Finder: that of launchd.
const PATH_OF_LAUNCHD: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// `PATH` of an app that was started from a desktop on Linux, where the session does not say.
const PATH_OF_DESKTOP: &str = "/usr/local/bin:/usr/bin:/bin";

/// Limit of a question to the system about its session.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// Variables that an app started from a desktop has as well as a terminal.
const OF_SESSION: [&str; 18] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "LANG",
    "LOGNAME",
    "SHELL",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "USER",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_TYPE",
    "XDG_STATE_HOME",
];

/// Variables that Codex passes on by itself.
const PASSED_BY_CODEX: [&str; 8] = [
    "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER",
];

/// Parts of names of variables that Gemini CLI withholds.
const SECRET_TO_GEMINI: [&str; 8] = [
    "AUTH",
    "CERT",
    "CREDENTIAL",
    "KEY",
    "PASSWORD",
    "PRIVATE",
    "SECRET",
    "TOKEN",
];

/// The variables of a program that such an app starts, without those that the entry sets. `listed` are those that the
/// entry asks for by name.
pub(super) fn variables(
    app: AppEnvironment,
    system: System,
    listed: &[String],
) -> BTreeMap<OsString, OsString> {
    let own = env::vars_os();
    let is_in = |name: &OsString, names: &[&str]| names.iter().any(|it| name == *it);
    match app {
        // A desktop app on Windows has the environment of the registry, as a new terminal has.
        AppEnvironment::Desktop if system == System::Windows => own.collect(),
        AppEnvironment::Desktop => {
            let mut variables: BTreeMap<_, _> =
                own.filter(|(name, _)| is_in(name, &OF_SESSION)).collect();
            variables.extend(of_session(system));
            variables
        }
        AppEnvironment::Terminal => own.collect(),
        AppEnvironment::TerminalListed => {
            let is_listed = |name: &OsString| listed.iter().any(|it| name == it.as_str());
            own.filter(|(name, _)| is_in(name, &PASSED_BY_CODEX) || is_listed(name))
                .collect()
        }
        AppEnvironment::TerminalWithoutSecrets => own
            .filter(|(name, _)| {
                let name = name.to_string_lossy().to_ascii_uppercase();
                !SECRET_TO_GEMINI.iter().any(|part| name.contains(part))
            })
            .collect(),
    }
}

/// Variables of the desktop session, as far as the system tells them; `PATH` in any case.
fn of_session(system: System) -> BTreeMap<OsString, OsString> {
    let mut variables = BTreeMap::new();
    let default = match system {
        System::MacOs => PATH_OF_LAUNCHD,
        System::Linux | System::Windows => PATH_OF_DESKTOP,
    };
    variables.insert("PATH".into(), default.into());
    match system {
        System::MacOs => {
            let path = program_output("launchctl", &["getenv", "PATH"], QUESTION_LIMIT)
                .unwrap_or_default();
            if !path.trim().is_empty() {
                variables.insert("PATH".into(), path.trim().into());
            }
        }
        System::Linux => {
            let shown =
                program_output("systemctl", &["--user", "show-environment"], QUESTION_LIMIT)
                    .unwrap_or_default();
            // A value in $'…' has characters that no search path or address has.
            let lines = shown.lines().filter_map(|line| line.split_once('='));
            let plain = lines.filter(|(_, value)| !value.starts_with("$'"));
            variables.extend(plain.map(|(name, value)| (name.into(), value.into())));
        }
        System::Windows => {}
    }
    variables
}
