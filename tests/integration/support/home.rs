//! A home directory with configurations of apps, for commands that edit them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The path of the program.
pub(crate) const BRIDGE: &str = env!("CARGO_BIN_EXE_mcp-bridge");

/// A home directory. In what is compared it stands as `~`, and the bridge as `BRIDGE`.
pub(crate) struct Home(TempDir);

/// The end of a command.
pub(crate) struct Ran {
    /// The exit status.
    pub(crate) status: i32,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Home {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a directory for the test"))
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and the directories above it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the home is ours");
        fs::write(path, text).expect("the home is ours");
    }

    /// A file, with the bridge as `BRIDGE`.
    pub(crate) fn read(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).expect(name);
        text.replace(BRIDGE, "BRIDGE")
    }

    /// The bytes of each file, by its name.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(self.0.path())
    }

    /// The names of the files, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    /// The program with these arguments, in this home and in a directory of it.
    pub(crate) fn command(&self, directory: &str, args: &[&str]) -> Command {
        let mut command = Command::new(BRIDGE);
        command
            .args(args)
            .env_clear()
            .env("HOME", self.0.path())
            .current_dir(self.path(directory))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, directory: &str, args: &[&str]) -> Ran {
        self.finish(&mut self.command(directory, args))
    }

    /// Runs such a command to its end.
    pub(crate) fn finish(&self, command: &mut Command) -> Ran {
        let output = command.output().expect("the bridge starts");
        let home = self.0.path().to_str().expect("UTF-8");
        let text = |bytes| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.replace(BRIDGE, "BRIDGE").replace(home, "~")
        };
        Ran {
            status: output.status.code().expect("no signal"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// Checks all of it.
    #[track_caller]
    pub(crate) fn is(&self, status: i32, stdout: &str, stderr: &str) {
        assert_eq!(self.stdout, stdout);
        assert_eq!(self.stderr, stderr);
        assert_eq!(self.status, status);
    }
}

/// The bytes of each file below a directory, by its name there.
pub(crate) fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut folders = vec![root.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("it is below");
            let name = name.to_str().expect("UTF-8").to_owned();
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
    files
}
