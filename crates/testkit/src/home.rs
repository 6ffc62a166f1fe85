//! A home directory with configurations of apps, for commands that edit them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::program::{CommandOutput, Program};

/// A home directory. In what is compared it stands as `~`, and the program as `BRIDGE`.
pub struct Home {
    directory: TempDir,
    program: PathBuf,
}

impl Home {
    /// An empty one, for the program at this path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            directory: TempDir::new().expect("a directory for the test"),
            program: program.into(),
        }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and the directories above it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the home is ours");
        fs::write(path, text).expect("the home is ours");
    }

    /// A file, with the program as `BRIDGE`.
    pub fn read(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).expect(name);
        self.without_program(&text)
    }

    /// The text with the program as `BRIDGE`.
    pub fn without_program(&self, text: &str) -> String {
        text.replace(self.program.to_str().expect("UTF-8"), "BRIDGE")
    }

    /// The bytes of each file, by its name.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(self.directory.path())
    }

    /// The names of the files, in order.
    pub fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    /// The program with these arguments, in this home and in a directory of it. It finds all that it keeps by `HOME` alone.
    pub fn command(&self, directory: &str, args: &[&str]) -> Program {
        Program::new(&self.program)
            .args(args)
            .home_variables(self.directory.path())
            .env_remove("MCP_BRIDGE_DIR")
            .in_directory(&self.path(directory))
    }

    /// The program as it stands at another path, which is a file of this home from now on. The home is not taken for
    /// temporary files.
    pub fn command_at(&self, name: &str, args: &[&str]) -> Program {
        let path = self.install(name);
        let program = self.command("", args).at(path);
        program.env("TMPDIR", self.path("tmp"))
    }

    /// Puts the program at another path.
    pub fn install(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the home is ours");
        if !path.exists() {
            // Another file system has no links to this one.
            fs::hard_link(&self.program, &path)
                .or_else(|_| fs::copy(&self.program, &path).map(drop))
                .expect("the home is ours");
        }
        path
    }

    /// Runs it to its end.
    pub fn run(&self, directory: &str, args: &[&str]) -> CommandOutput {
        self.finish(self.command(directory, args))
    }

    /// Writes a script that can be executed.
    #[cfg(unix)]
    pub fn write_program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;

        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755))
            .expect("the home is ours");
    }

    /// Runs such a command to its end.
    pub fn finish(&self, command: Program) -> CommandOutput {
        self.shown(&command.run_blocking())
    }

    /// The same beside servers of the test.
    pub async fn finish_async(&self, command: Program) -> CommandOutput {
        self.shown(&command.run().await)
    }

    fn shown(&self, output: &CommandOutput) -> CommandOutput {
        let home = self.directory.path().to_str().expect("UTF-8");
        let text = |text: &str| self.without_program(text).replace(home, "~");
        CommandOutput {
            status: output.status,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// The bytes of each file below a directory, by its name there.
pub fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
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
