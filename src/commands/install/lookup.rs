//! Search for the program of an entry, as the app does it when it starts the entry.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Extensions that Windows adds to a name without one.
const EXTENSIONS_ON_WINDOWS: [&str; 4] = [".exe", ".cmd", ".bat", ".com"];

/// Reason why a program cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands) enum LookupError {
    /// There is no such file.
    Missing,
    /// `PATH` has none of that name.
    NotInPath,
    /// The file at this path is no program.
    NotExecutable(PathBuf),
}

/// The file that starts with `program`, which is a path or a name to be found in `path`.
pub(in crate::commands) fn find(program: &str, path: &OsStr) -> Result<PathBuf, LookupError> {
    if is_path(program) {
        let file = with_extension(Path::new(program)).ok_or(LookupError::Missing)?;
        return if is_executable(&file) {
            Ok(file)
        } else {
            Err(LookupError::NotExecutable(file))
        };
    }
    let directories = env::split_paths(path);
    let files = directories.filter_map(|directory| with_extension(&directory.join(program)));
    let mut refused = None;
    for file in files {
        if is_executable(&file) {
            return Ok(file);
        }
        refused.get_or_insert(file);
    }
    Err(refused.map_or(LookupError::NotInPath, LookupError::NotExecutable))
}

/// Returns whether the first word of a command line is a path, and not a name.
pub(in crate::commands) fn is_path(program: &str) -> bool {
    program.contains('/') || cfg!(windows) && program.contains('\\')
}

/// The file of that name, or on Windows with one of the extensions of programs.
fn with_extension(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    if !cfg!(windows) {
        return None;
    }
    let candidates = EXTENSIONS_ON_WINDOWS.iter().map(|extension| {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    });
    candidates.into_iter().find(|file| file.is_file())
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    const ANY_EXECUTE: u32 = 0o111;
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & ANY_EXECUTE != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_program_in_path_counts() {
        let root = tempfile::tempdir().unwrap();
        let [plain, bin] = ["plain", "bin"].map(|name| root.path().join(name));
        for (directory, mode) in [(&plain, 0o644), (&bin, 0o755)] {
            fs::create_dir(directory).unwrap();
            let file = directory.join("tool");
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = env::join_paths([&plain, &bin]).unwrap();
        assert_eq!(find("tool", &path), Ok(bin.join("tool")));
        assert_eq!(find("other", &path), Err(LookupError::NotInPath));
        let refused = LookupError::NotExecutable(plain.join("tool"));
        assert_eq!(find("tool", plain.as_os_str()), Err(refused));
        let whole = bin.join("tool");
        assert_eq!(find(whole.to_str().unwrap(), OsStr::new("")), Ok(whole));
        let gone = bin.join("gone");
        assert_eq!(
            find(gone.to_str().unwrap(), &path),
            Err(LookupError::Missing)
        );
    }
}
