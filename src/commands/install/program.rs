//! Path of this program in an entry.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Readers of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// The apps of this user on this machine.
    ThisUser,
    /// Everybody who works on a project.
    TheProject,
}

/// The name of the program `running`, for a `command`.
///
/// In a file of the user's own that is a whole path: an app that was started from the desktop has a
/// short `PATH`, and that the command is not found is the commonest failure there. The path is the one by
/// which `PATH` finds the program, since that stays when a package manager replaces what is behind it. In
/// a project's file a path of this machine would be wrong for everybody else, so there it is the bare
/// name, if that leads to this program.
pub(super) fn name(running: &Path, path: Option<&OsStr>, readers: Readers) -> PathBuf {
    match (found(running, path), readers) {
        (Some(_), Readers::TheProject) => PathBuf::from(env!("CARGO_PKG_NAME")),
        (Some(found), Readers::ThisUser) => found,
        (None, _) => running.to_owned(),
    }
}

/// Path by which `PATH` finds the program, if the first hit is this program.
fn found(running: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let file = format!("{}{}", env!("CARGO_PKG_NAME"), env::consts::EXE_SUFFIX);
    let directories = env::split_paths(path?).filter(|directory| directory.is_absolute());
    let mut files = directories.map(|directory| directory.join(&file));
    let first = files.find(|file| file.is_file())?;
    let is_running = fs::canonicalize(&first).ok()? == fs::canonicalize(running).ok()?;
    is_running.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_path_finds_is_named_as_it_finds_it() {
        let root = tempfile::tempdir().unwrap();
        let file = format!("mcp-bridge{}", env::consts::EXE_SUFFIX);
        let [empty, bin, other] = ["empty", "bin", "other"].map(|name| root.path().join(name));
        for directory in [&empty, &bin, &other] {
            fs::create_dir(directory).unwrap();
        }
        let running = bin.join(&file);
        fs::write(&running, "").unwrap();
        fs::write(other.join(&file), "").unwrap();
        let bare = PathBuf::from("mcp-bridge");
        for (path, own, shared) in [
            (vec![&empty, &bin, &other], &running, &bare),
            (vec![&other, &bin], &running, &running),
            (vec![&empty], &running, &running),
        ] {
            let path = env::join_paths(path).unwrap();
            assert_eq!(&name(&running, Some(&path), Readers::ThisUser), own);
            assert_eq!(&name(&running, Some(&path), Readers::TheProject), shared);
        }
        assert_eq!(name(&running, None, Readers::TheProject), running);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_a_package_manager_made_is_named_and_not_what_is_behind_it() {
        let root = tempfile::tempdir().unwrap();
        let cellar = root.path().join("mcp-bridge-1.2.3");
        fs::write(&cellar, "").unwrap();
        let link = root.path().join("mcp-bridge");
        std::os::unix::fs::symlink(&cellar, &link).unwrap();
        let path = root.path().as_os_str();
        assert_eq!(name(&cellar, Some(path), Readers::ThisUser), link);
    }
}
