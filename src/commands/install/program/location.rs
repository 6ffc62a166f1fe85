//! Location of a program, by how long it stays there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::launcher::PackageLauncher;

/// A component of the paths under which macOS runs a quarantined app.
const TRANSLOCATED: &str = "AppTranslocation";

/// Place of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Location {
    /// It stays, as far as can be told.
    Lasting,
    /// A cache of a package launcher.
    Cache(PackageLauncher),
    /// The directory for temporary files.
    Temporary,
    /// A copy that macOS has made for one run.
    Translocated,
    /// A volume that has to be mounted.
    Volume,
    /// The Nix store, by no profile.
    NixStore,
    /// The build directory of Cargo.
    BuildDirectory,
}

impl Location {
    /// Place of the program at this path, which does not have to exist.
    pub(in crate::commands) fn of(path: &Path) -> Self {
        if let Some(launcher) = PackageLauncher::with_cache(path) {
            return Self::Cache(launcher);
        }
        let has = |name: &str| path.iter().any(|part| part == name);
        if has(TRANSLOCATED) {
            Self::Translocated
        } else if is_temporary(path) {
            Self::Temporary
        } else if path.starts_with("/Volumes") {
            Self::Volume
        } else if path.starts_with("/nix/store") {
            Self::NixStore
        } else if is_built_by_cargo(path) {
            Self::BuildDirectory
        } else {
            Self::Lasting
        }
    }

    /// Returns whether an entry with this path will break by itself.
    pub(in crate::commands) const fn is_short_lived(self) -> bool {
        match self {
            Self::Cache(_) | Self::Temporary | Self::Translocated => true,
            Self::Lasting | Self::Volume | Self::NixStore | Self::BuildDirectory => false,
        }
    }

    /// The reason why a path there is not for an entry. None if it is.
    pub(in crate::commands) fn objection(self) -> Option<String> {
        Some(match self {
            Self::Lasting => return None,
            Self::Cache(launcher) => {
                format!("is in a cache of {}, which is cleaned", launcher.title())
            }
            Self::Temporary => "is in a directory for temporary files".to_owned(),
            Self::Translocated => "is a copy that macOS makes for one run".to_owned(),
            Self::Volume => "is on a volume that has to be mounted when the app starts".to_owned(),
            Self::NixStore => {
                "is in the Nix store, where it stays until it is collected as garbage".to_owned()
            }
            Self::BuildDirectory => "is in a build directory, which cargo clean empties".to_owned(),
        })
    }

    /// Advice about it.
    pub(in crate::commands) const fn advice(self) -> &'static str {
        match self {
            Self::Lasting => "",
            Self::Cache(_) => "mcp-bridge install --repair replaces it",
            Self::Temporary | Self::Volume => {
                "move the program to a directory that stays, and run install again from there"
            }
            Self::Translocated => {
                "move the program to another folder in the Finder, and run install again from there"
            }
            Self::NixStore => "add it to a profile, and run install again from there",
            Self::BuildDirectory => {
                "run cargo install --path . and then install again, from ~/.cargo/bin"
            }
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    let directory = env::temp_dir();
    let real = fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone());
    [directory, real].iter().any(|it| path.starts_with(it))
}

/// `…/target/debug/mcp-bridge`: a directory in which Cargo keeps its notes.
fn is_built_by_cargo(path: &Path) -> bool {
    let directory = path.parent();
    directory.is_some_and(|it| it.join(".fingerprint").is_dir() && it.join("deps").is_dir())
}

/// The path that a package manager keeps for the program while its versions come and go: Homebrew's link in `bin` for
/// a path in its Cellar, Scoop's `current` for a path with a version.
pub(in crate::commands) fn lasting_alias(path: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = path.iter().collect();
    let index = |name: &str| parts.iter().rposition(|part| *part == name);
    let below = |end: usize| parts[..end].iter().collect::<PathBuf>();
    let rest = |start: usize| {
        parts
            .get(start..)
            .map(|rest| rest.iter().collect::<PathBuf>())
    };
    let is_same = |alias: &PathBuf| {
        fs::canonicalize(alias).is_ok_and(|real| fs::canonicalize(path).is_ok_and(|it| it == real))
    };
    if let Some(cellar) = index("Cellar") {
        // Cellar/NAME/VERSION/bin/PROGRAM
        let (prefix, program) = (below(cellar), rest(cellar + 3)?);
        let opt = prefix.join("opt").join(parts.get(cellar + 1)?);
        let aliases = [prefix.join(&program), opt.join(&program)];
        return aliases.into_iter().find(is_same);
    }
    // apps/NAME/VERSION/PROGRAM
    let apps = index("apps")?;
    let current = below(apps + 2).join("current").join(rest(apps + 3)?);
    (current != path && is_same(&current)).then_some(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_their_paths() {
        for (path, expected) in [
            ("/usr/local/bin/mcp-bridge", Location::Lasting),
            (
                "/private/var/folders/x/T/AppTranslocation/1-2/d/mcp-bridge",
                Location::Translocated,
            ),
            ("/Volumes/mcp-bridge/mcp-bridge", Location::Volume),
            (
                "/nix/store/0123-mcp-bridge-0.1.0/bin/mcp-bridge",
                Location::NixStore,
            ),
        ] {
            assert_eq!(Location::of(Path::new(path)), expected, "{path}");
        }
        let temporary = env::temp_dir().join("x/mcp-bridge");
        assert_eq!(Location::of(&temporary), Location::Temporary);
    }

    #[test]
    fn a_build_directory_is_known_by_what_cargo_keeps_in_it() {
        let target = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let program = target.path().join("mcp-bridge");
        assert_eq!(Location::of(&program), Location::Lasting);
        for name in [".fingerprint", "deps"] {
            fs::create_dir(target.path().join(name)).unwrap();
        }
        assert_eq!(Location::of(&program), Location::BuildDirectory);
    }

    #[cfg(unix)]
    #[test]
    fn a_package_manager_has_a_path_that_stays() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let touch = |path: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let cellar = touch("brew/Cellar/mcp-bridge/0.1.0/bin/mcp-bridge");
        assert_eq!(lasting_alias(&cellar), None);
        fs::create_dir_all(root.join("brew/opt")).unwrap();
        symlink(
            "../Cellar/mcp-bridge/0.1.0",
            root.join("brew/opt/mcp-bridge"),
        )
        .unwrap();
        let opt = root.join("brew/opt/mcp-bridge/bin/mcp-bridge");
        assert_eq!(lasting_alias(&cellar), Some(opt));
        fs::create_dir_all(root.join("brew/bin")).unwrap();
        symlink(&cellar, root.join("brew/bin/mcp-bridge")).unwrap();
        assert_eq!(
            lasting_alias(&cellar),
            Some(root.join("brew/bin/mcp-bridge"))
        );

        let scoop = touch("scoop/apps/mcp-bridge/0.1.0/mcp-bridge.exe");
        assert_eq!(lasting_alias(&scoop), None);
        symlink("0.1.0", root.join("scoop/apps/mcp-bridge/current")).unwrap();
        let current = root.join("scoop/apps/mcp-bridge/current/mcp-bridge.exe");
        assert_eq!(lasting_alias(&scoop), Some(current.clone()));
        assert_eq!(lasting_alias(&current), None);
        assert_eq!(lasting_alias(&touch("bin/mcp-bridge")), None);
    }
}
