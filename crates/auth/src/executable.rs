//! Lookup of a program by its name, as a shell of the system does it.
//!
//! On Unix the system does it by itself. On Windows it finds a bare name with `.exe` alone, while the commands of many tools are
//! batch files: `gcloud.cmd`, `az.cmd`, `npx.cmd`.

use std::path::{Path, PathBuf};

/// Path of the program that a shell would start for this name. Where none is found it is the name itself, and the error of
/// starting that tells the rest.
pub(crate) fn find(name: &Path) -> PathBuf {
    system::find(name).unwrap_or_else(|| name.to_owned())
}

#[cfg(not(windows))]
mod system {
    use std::path::{Path, PathBuf};

    pub(super) const fn find(_: &Path) -> Option<PathBuf> {
        None
    }
}

#[cfg(windows)]
mod system {
    use std::env;
    use std::path::{Path, PathBuf};

    pub(super) fn find(name: &Path) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let extensions = env::var("PATHEXT").unwrap_or_default();
        super::find_among(name, env::split_paths(&path), &extensions, Path::is_file)
    }
}

/// Extensions of programs that can be started without another program, in the order in which Windows tries them.
#[cfg(any(windows, test))]
const EXTENSIONS: [&str; 4] = [".com", ".exe", ".bat", ".cmd"];

/// The first file in `directories` with the name and one of the `extensions`, which are those of `PATHEXT`. A name with a path
/// is looked for there alone, and one with an extension not at all. The working directory does not count, unlike in `cmd`: it
/// may hold anybody's files.
#[cfg(any(windows, test))]
fn find_among(
    name: &Path,
    directories: impl Iterator<Item = PathBuf>,
    extensions: &str,
    is_file: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    if name.extension().is_some() {
        return None;
    }
    let can_be_started = |extension: &&str| {
        let mut known = EXTENSIONS.iter();
        known.any(|known| known.eq_ignore_ascii_case(extension))
    };
    let mut extensions: Vec<_> = extensions.split(';').filter(can_be_started).collect();
    if extensions.is_empty() {
        extensions.extend(EXTENSIONS);
    }
    let in_directory = |directory: PathBuf| {
        let mut files = extensions.iter().map(|extension| {
            let mut file = directory.join(name).into_os_string();
            file.push(extension);
            PathBuf::from(file)
        });
        files.find(|file| is_file(file))
    };
    if name.components().count() > 1 {
        return in_directory(PathBuf::new());
    }
    let mut directories = directories.filter(|directory| directory.is_absolute());
    directories.find_map(in_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_file_is_found_along_the_path_and_no_script_of_another_program() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| root.path().join(name));
        for directory in [&first, &second] {
            std::fs::create_dir(directory).unwrap();
        }
        // What the installers of the tools of Google and of npm leave in one directory.
        for file in ["gcloud", "gcloud.ps1", "gcloud.cmd"] {
            std::fs::write(first.join(file), "").unwrap();
        }
        for file in ["gcloud.exe", "az.js", "az.cmd"] {
            std::fs::write(second.join(file), "").unwrap();
        }
        let found = |name: &str, extensions: &str| {
            let directories = [PathBuf::from("."), first.clone(), second.clone()];
            find_among(
                Path::new(name),
                directories.into_iter(),
                extensions,
                Path::is_file,
            )
        };
        let usual = ".COM;.exe;.BAT;.cmd;.JS;.ps1";
        assert_eq!(found("gcloud", usual), Some(first.join("gcloud.cmd")));
        assert_eq!(found("az", usual), Some(second.join("az.cmd")));
        assert_eq!(found("az", ""), Some(second.join("az.cmd")));
        assert_eq!(found("az", ".js"), Some(second.join("az.cmd")));
        assert_eq!(found("kubectl", usual), None);
        assert_eq!(found("az.cmd", usual), None, "the system finds it");
        let whole = second.join("az");
        let whole = whole.to_str().unwrap();
        assert_eq!(found(whole, usual), Some(second.join("az.cmd")));
    }
}
