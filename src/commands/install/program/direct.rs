//! Search of `PATH` for a bridge that an entry can start without a package launcher.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::location::Location;
use super::{FILE_NAME, NPM_SCOPE};
use crate::commands::program_output::program_output;

/// Limit of `mcp-bridge --version`, which takes milliseconds. Another program of that name may never end.
const VERSION_LIMIT: Duration = Duration::from_secs(3);

/// A program that is the bridge and stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct InstalledProgram {
    pub(in crate::commands) path: PathBuf,
    /// True if `PATH` leads to it by its name.
    pub(in crate::commands) is_by_name: bool,
}

/// The first one that `PATH` leads to. Launchers put their own caches first, which are passed over.
pub(in crate::commands) fn installed(path: Option<&OsStr>) -> Option<InstalledProgram> {
    let directories = env::split_paths(path?).filter(|directory| directory.is_absolute());
    let mut programs = directories.filter_map(|directory| in_directory(&directory));
    programs.find(|program| is_bridge(&program.path))
}

fn in_directory(directory: &Path) -> Option<InstalledProgram> {
    let file = directory.join(FILE_NAME);
    let real = fs::canonicalize(&file).ok();
    if let Some(real) = real.filter(|real| real.is_file()) {
        let stays = |path: &Path| !Location::of(path).is_short_lived();
        if !stays(&file) || !stays(&real) {
            return None;
        }
        if !is_script(&real) {
            return Some(InstalledProgram {
                path: file,
                is_by_name: true,
            });
        }
        // npm's link leads to bin/mcp-bridge.js of the main package.
        let package = real.parent()?.parent()?;
        return of_npm(package);
    }
    // npm on Windows writes a batch file beside node_modules.
    of_npm(&directory.join("node_modules").join(env!("CARGO_PKG_NAME")))
}

/// The program that npm has installed for this machine beside or below the main package.
fn of_npm(package: &Path) -> Option<InstalledProgram> {
    let system = match env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let parts = [
        NPM_SCOPE,
        &format!("{system}-{processor}"),
        "bin",
        FILE_NAME,
    ];
    let program: PathBuf = parts.iter().collect();
    let folders = [package.join("node_modules"), package.parent()?.to_owned()];
    let mut programs = folders.iter().map(|folder| folder.join(&program));
    let path = programs.find(|path| path.is_file() && !Location::of(path).is_short_lived())?;
    Some(InstalledProgram {
        path,
        is_by_name: false,
    })
}

/// Returns whether a file is a text that another program reads.
fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let file = fs::File::open(path);
    file.is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && &start == b"#!")
}

/// Returns whether a program says that it is the bridge. Others are published under the same name.
fn is_bridge(path: &Path) -> bool {
    let version = program_output(path, &["--version"], VERSION_LIMIT).unwrap_or_default();
    let mut words = version.split_whitespace();
    words.next() == Some(env!("CARGO_PKG_NAME"))
        && words
            .next()
            .is_some_and(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        && words.next().is_none()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A stand-in for a program with this output.
    fn write(path: &Path, printed: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("the directory is ours");
        fs::write(path, format!("#!/bin/sh\necho {printed}\n")).expect("the directory is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .expect("the directory is ours");
    }

    #[test]
    fn what_prints_another_name_is_not_the_bridge() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("mcp-bridge");
        for (printed, expected) in [
            ("mcp-bridge 0.1.0", true),
            ("mcp-bridge, version 0.5", false),
            ("mcp_bridge 1.0", false),
            ("mcp-bridge 1.0 and more", false),
            ("mcp-bridge", false),
        ] {
            write(&program, printed);
            assert_eq!(is_bridge(&program), expected, "{printed}");
        }
        assert!(!is_bridge(&root.path().join("missing")));
    }

    #[test]
    fn behind_a_script_of_npm_is_the_program_for_this_machine() {
        let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let package = root.join("lib/node_modules/mcp-bridge");
        write(&package.join("bin/mcp-bridge.js"), "unused");
        fs::create_dir(root.join("bin")).unwrap();
        let link = root.join("bin/mcp-bridge");
        symlink(package.join("bin/mcp-bridge.js"), &link).unwrap();
        let path = root.join("bin").into_os_string();
        assert_eq!(installed(Some(&path)), None);

        let platform = match env::consts::ARCH {
            "x86_64" => "x64",
            _ => "arm64",
        };
        let system = if cfg!(target_os = "macos") {
            "darwin"
        } else {
            "linux"
        };
        let program = format!("node_modules/@mcp-bridge/{system}-{platform}/bin/mcp-bridge");
        let program = package.join(program);
        write(&program, "mcp-bridge 9.9.9");
        let found = installed(Some(&path)).unwrap();
        assert_eq!((found.path, found.is_by_name), (program, false));
    }
}
