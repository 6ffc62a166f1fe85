//! Desktop session of the user, found in its standard places.
//!
//! Apps start a bridge with few variables: the official SDKs pass six, and none of them says where the session bus or
//! the display is. systemd, Wayland and X have them in known places.

use std::ffi::OsString;
use std::fs::{DirEntry, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Directory of the sockets of X servers.
const X_SOCKETS: &str = "/tmp/.X11-unix";

/// The variables that name a screen.
const SCREENS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];

/// File that the Windows Subsystem for Linux has where it can start programs of Windows, a browser among them.
const WINDOWS_PROGRAMS: [&str; 2] = [
    "/proc/sys/fs/binfmt_misc/WSLInterop",
    "/proc/sys/fs/binfmt_misc/WSLInterop-late",
];

/// Entries of one directory that are looked at.
const MOST_ENTRIES: usize = 256;

/// The address of the session bus, if `DBUS_SESSION_BUS_ADDRESS` does not say it.
pub(crate) fn bus_address() -> Option<String> {
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|value| !value.is_empty()) {
        return None;
    }
    Desktop::of_this_user().bus_address()
}

/// The variables of the desktop session that this process lacks, for a program that needs them.
pub(crate) fn missing_variables() -> Vec<(&'static str, OsString)> {
    Desktop::of_this_user().missing(|name| std::env::var_os(name))
}

/// Returns whether there is a screen for a browser, in the environment or among the `found` variables. Without one the
/// launchers start a browser for terminals, which nobody sees.
pub(crate) fn has_screen(found: &[(&'static str, OsString)]) -> bool {
    let is_display = |name: &str| SCREENS.contains(&name);
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "android")
        || SCREENS.iter().any(is_set)
        || found.iter().any(|(name, _)| is_display(name))
        || WINDOWS_PROGRAMS.iter().any(|it| Path::new(it).exists())
}

/// The places where the parts of a session are looked for.
struct Desktop {
    user: u32,
    /// By precedence.
    runtime_directories: Vec<PathBuf>,
    x_sockets: PathBuf,
    home: Option<PathBuf>,
}

impl Desktop {
    fn of_this_user() -> Self {
        let user = rustix::process::getuid().as_raw();
        let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let usual = PathBuf::from(format!("/run/user/{user}"));
        Self {
            user,
            runtime_directories: named.into_iter().chain([usual]).collect(),
            x_sockets: X_SOCKETS.into(),
            home: std::env::home_dir(),
        }
    }

    fn missing(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(&'static str, OsString)> {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let mut found: Vec<(&'static str, OsString)> = Vec::new();
        if !is_set("HOME")
            && let Some(home) = &self.home
        {
            found.push(("HOME", home.into()));
        }
        if !is_set("XDG_RUNTIME_DIR")
            && let Some(directory) = self.runtime_directory()
        {
            found.push(("XDG_RUNTIME_DIR", directory.into()));
        }
        if !is_set("DBUS_SESSION_BUS_ADDRESS")
            && let Some(address) = self.bus_address()
        {
            found.push(("DBUS_SESSION_BUS_ADDRESS", address.into()));
        }
        // Who has one of them set means that display.
        if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
            return found;
        }
        if let Some(display) = self.wayland_display() {
            found.push(("WAYLAND_DISPLAY", display));
        }
        if let Some(display) = self.x_display() {
            found.push(("DISPLAY", display));
            if !is_set("XAUTHORITY")
                && let Some(file) = self.x_authority()
            {
                found.push(("XAUTHORITY", file.into()));
            }
        }
        found
    }

    /// The first that exists and is the user's own.
    fn runtime_directory(&self) -> Option<&Path> {
        let mut directories = self.runtime_directories.iter();
        let is_own = |it: &&PathBuf| it.metadata().is_ok_and(|it| it.is_dir() && self.owns(&it));
        directories.find(is_own).map(PathBuf::as_path)
    }

    fn bus_address(&self) -> Option<String> {
        let mut sockets = self.runtime_directories.iter().map(|it| it.join("bus"));
        let socket = sockets.find(|it| self.is_own_socket(it))?;
        Some(format!("unix:path={}", escaped(socket.to_str()?)))
    }

    /// The name of the first socket of a compositor: `wayland-0`.
    fn wayland_display(&self) -> Option<OsString> {
        let directory = self.runtime_directory()?;
        let names = entries(directory).filter(|it| self.is_own_socket(&it.path()));
        let displays = names.filter_map(|it| number(&it, "wayland-"));
        displays.min().map(|(_, name)| name)
    }

    /// The first display whose X server runs for this user, or the only one if root runs it.
    fn x_display(&self) -> Option<OsString> {
        let sockets = entries(&self.x_sockets).filter_map(|entry| {
            let found = entry.metadata().ok()?;
            let (number, _) = number(&entry, "X")?;
            found.file_type().is_socket().then_some((number, found))
        });
        let sockets: Vec<_> = sockets.collect();
        let own = sockets.iter().filter(|(_, found)| self.owns(found));
        let own = own.map(|(number, _)| *number).min();
        let only = match &sockets[..] {
            [(number, found)] if found.uid() == 0 => Some(*number),
            _ => None,
        };
        own.or(only).map(|number| format!(":{number}").into())
    }

    /// The file that lets programs use the display, unless it is where they look by themselves. Display managers
    /// keep it in the runtime directory; the newest is that of the session under way.
    fn x_authority(&self) -> Option<PathBuf> {
        let directory = self.runtime_directory()?;
        let named = entries(directory).filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let is_one = name.starts_with("xauth_") || name.starts_with(".mutter-Xwaylandauth.");
            is_one.then(|| entry.path())
        });
        let candidates = named.chain([directory.join("gdm/Xauthority")]);
        let own = candidates.filter_map(|path| {
            let found = path.metadata().ok()?;
            let is_own = found.is_file() && self.owns(&found);
            Some((found.modified().ok()?, path)).filter(|_| is_own)
        });
        own.max().map(|(_, path)| path)
    }

    fn is_own_socket(&self, path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|found| found.file_type().is_socket() && self.owns(&found))
    }

    fn owns(&self, found: &Metadata) -> bool {
        found.uid() == self.user
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.take(MOST_ENTRIES)
}

/// The number behind `prefix` in the name of an entry, with that name.
fn number(entry: &DirEntry, prefix: &str) -> Option<(u32, OsString)> {
    let name = entry.file_name();
    let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
    Some((number, name))
}

/// A value in an address of D-Bus (D-Bus specification, "Server Addresses").
fn escaped(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte);
    let escape = |byte: u8| {
        if is_plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02x}")
        }
    };
    value.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// A user with a runtime directory and X sockets.
    struct Place {
        root: TempDir,
        sockets: Vec<UnixListener>,
    }

    impl Place {
        fn new(sockets: &[&str]) -> Self {
            let root = tempdir().unwrap();
            for directory in ["run", "x", "home"] {
                fs::create_dir(root.path().join(directory)).unwrap();
            }
            let bind = |name: &&str| UnixListener::bind(root.path().join(name)).unwrap();
            Self {
                sockets: sockets.iter().map(bind).collect(),
                root,
            }
        }

        fn path(&self, name: &str) -> String {
            self.root.path().join(name).to_str().unwrap().to_owned()
        }

        fn missing(&self, variables: &[(&str, &str)]) -> Vec<String> {
            let desktop = Desktop {
                user: rustix::process::getuid().as_raw(),
                runtime_directories: vec!["/nowhere".into(), self.root.path().join("run")],
                x_sockets: self.root.path().join("x"),
                home: Some(self.root.path().join("home")),
            };
            let set = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let missing = desktop.missing(set).into_iter();
            missing
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                .collect()
        }
    }

    #[test]
    fn a_bare_environment_gets_what_is_in_the_standard_places() {
        let place = Place::new(&["run/bus", "run/wayland-1", "run/wayland-0", "x/X1"]);
        fs::write(place.path("run/wayland-0.lock"), "").unwrap();
        fs::write(place.path("run/xauth_abc"), "").unwrap();
        assert_eq!(
            place.missing(&[]),
            [
                format!("HOME={}", place.path("home")),
                format!("XDG_RUNTIME_DIR={}", place.path("run")),
                format!(
                    "DBUS_SESSION_BUS_ADDRESS=unix:path={}",
                    place.path("run/bus")
                ),
                "WAYLAND_DISPLAY=wayland-0".into(),
                "DISPLAY=:1".into(),
                format!("XAUTHORITY={}", place.path("run/xauth_abc")),
            ]
        );
        assert_eq!(place.sockets.len(), 4);
    }

    #[test]
    fn what_is_set_stays_and_what_is_nowhere_is_left_out() {
        let place = Place::new(&["run/bus", "run/wayland-0", "x/X0"]);
        let set = [
            ("HOME", "/home/ada"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/mine"),
            ("DISPLAY", ":7"),
        ];
        assert!(place.missing(&set).is_empty());
        let bare = Place::new(&[]);
        fs::write(bare.path("run/bus"), "no socket").unwrap();
        fs::write(bare.path("x/X0"), "no socket").unwrap();
        let found = bare.missing(&[("HOME", "/home/ada")]);
        assert_eq!(found, [format!("XDG_RUNTIME_DIR={}", bare.path("run"))]);
    }

    #[test]
    fn the_bus_is_found_at_a_path_with_spaces() {
        assert_eq!(escaped("/run/user/1 000/bus"), "/run/user/1%20000/bus");
    }
}
