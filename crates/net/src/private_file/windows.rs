//! Access lists of directories, on Windows.
//!
//! Files in the user's profile are private by the access list of that, which they inherit. A directory elsewhere gets an
//! access list of its own while it is empty.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that changes access lists, below the directory of the system.
const ICACLS: &str = "System32/icacls.exe";

/// Of the Windows API, "Process Creation Flags".
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// Nothing is inherited from the directory above, and owner and system may do everything, also with what will be in it
/// (well-known security identifiers `OWNER RIGHTS` and `SYSTEM`).
const FOR_THE_OWNER: [&str; 4] = [
    "/inheritance:r",
    "/grant:r",
    "*S-1-3-4:(OI)(CI)F",
    "*S-1-5-18:(OI)(CI)F",
];

pub(super) fn restrict(_: &mut DirBuilder) {}

pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path)
}

pub(super) fn check_file(_: &Path, _: &Metadata) -> Result<(), String> {
    Ok(())
}

pub(super) fn check_kind(_: &Metadata) -> Result<(), String> {
    Ok(())
}

pub(super) fn check_owner(_: &Path) -> Result<(), String> {
    Ok(())
}

pub(super) fn check_directory(_: &Path) -> Result<(), String> {
    Ok(())
}

pub(super) fn tighten(_: &Path, _: &File, _: &Metadata) {}

/// Returns whether it may be: whether it is outside of the user's profile.
pub(super) fn is_writable_by_others(directory: &Path) -> io::Result<bool> {
    let directory = std::path::absolute(directory)?;
    Ok(!std::env::home_dir().is_some_and(|home| is_below(&directory, &home)))
}

/// Names are compared as Windows does, without regard to case.
fn is_below(path: &Path, directory: &Path) -> bool {
    let lower = |path: &Path| PathBuf::from(path.to_string_lossy().to_lowercase());
    lower(path).starts_with(lower(directory))
}

/// Some file systems have no access lists, so a failure is told and no more.
pub(super) fn tighten_empty_directory(directory: &Path) -> io::Result<()> {
    let system = std::env::var_os("SystemRoot").map_or_else(|| "C:/Windows".into(), PathBuf::from);
    let mut icacls = Command::new(system.join(ICACLS));
    icacls
        .arg(directory)
        .args(FOR_THE_OWNER)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    icacls.creation_flags(CREATE_NO_WINDOW);
    let reason = match icacls.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        directory = %directory.display(), reason,
        "others may be able to read this directory, which is outside of your profile"
    );
    Ok(())
}

pub(super) fn tighten_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_outside_of_the_profile_is_known_as_that() {
        let home = Path::new(r"C:\Users\Ada");
        assert!(is_below(
            Path::new(r"c:\users\ada\AppData\Local\mcp-bridge"),
            home
        ));
        assert!(!is_below(Path::new(r"C:\Users\Adam\mcp-bridge"), home));
        assert!(!is_below(Path::new(r"D:\mcp-bridge"), home));
        let directory = tempfile::tempdir().unwrap();
        tighten_empty_directory(directory.path()).unwrap();
        std::fs::write(directory.path().join("token.json"), "").unwrap();
    }
}
