//! A pseudo-terminal that nobody has given a size.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::{fd::OwnedFd, unix::ffi::OsStrExt as _};
use std::path::Path;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The side of the person in front of it.
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Opens a terminal.
    pub fn open() -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("it is ours");
        unlockpt(&terminal).expect("it is ours");
        Self(terminal)
    }

    /// The side of a program.
    pub fn other_end(&self) -> File {
        let name = ptsname(&self.0, Vec::new()).expect("it has a name");
        let path = Path::new(OsStr::from_bytes(name.as_bytes()));
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).expect("a flag"),
        );
        options
            .read(true)
            .write(true)
            .open(path)
            .expect("its other end")
    }

    /// Text that the program has written and the terminal shows.
    pub fn shows(&self) -> String {
        let mut shown = vec![0; 64 * 1024];
        let length = rustix::io::read(&self.0, &mut shown).expect("something was written");
        // The terminal itself makes CR LF of LF.
        String::from_utf8_lossy(&shown[..length]).replace("\r\n", "\n")
    }

    /// A second handle, for a thread that reads all that is shown.
    pub fn screen(&self) -> File {
        File::from(self.0.try_clone().expect("a second handle"))
    }

    /// Types on its keyboard.
    pub fn types(&self, text: &str) {
        rustix::io::write(&self.0, text.as_bytes()).expect("the terminal takes it");
    }
}
