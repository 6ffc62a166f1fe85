//! Bridges of others, in pinned versions, installed from their registries into a cache below the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contender::Contender;

/// A bridge of others.
struct Peer {
    name: &'static str,
    version: &'static str,
    registry: Registry,
    /// Its arguments, in which `{url}` stands for the server's.
    arguments: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Registry {
    /// npm, and the script that `node` runs.
    Npm(&'static str),
    PyPi,
    CratesIo,
}

const PEERS: [Peer; 4] = [
    Peer {
        name: "mcp-remote",
        version: "0.15.1",
        registry: Registry::Npm("dist/proxy.js"),
        arguments: &["{url}", "--allow-http"],
    },
    Peer {
        name: "hyper-mcp-remote",
        version: "0.5.0",
        registry: Registry::CratesIo,
        arguments: &["{url}", "--allow-http"],
    },
    Peer {
        name: "mcp-relay",
        version: "1.0.0",
        registry: Registry::CratesIo,
        arguments: &["{url}"],
    },
    Peer {
        name: "mcp-stdio",
        version: "0.45.2",
        registry: Registry::PyPi,
        arguments: &["{url}"],
    },
];

/// The file that says that an installation was complete.
const COMPLETE: &str = "complete";

/// The bridges that could be had, and a sentence for each that could not.
pub(crate) fn install() -> (Vec<Contender>, Vec<String>) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let (mut contenders, mut missing) = (Vec::new(), Vec::new());
    for peer in &PEERS {
        match peer.contender(&cache) {
            Ok(contender) => contenders.push(contender),
            Err(reason) => {
                let line = format!("{} {} was skipped: {reason}", peer.name, peer.version);
                eprintln!("{line}");
                missing.push(line);
            }
        }
    }
    (contenders, missing)
}

impl Peer {
    fn contender(&self, cache: &Path) -> Result<Contender, String> {
        let directory = cache.join(format!("{}-{}", self.name, self.version));
        let complete = directory.join(COMPLETE);
        if !complete.exists() {
            eprintln!(
                "installing {} {} into {}",
                self.name,
                self.version,
                directory.display()
            );
            fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
            self.install(&directory, cache)?;
            fs::write(&complete, "").map_err(|error| error.to_string())?;
        }
        let arguments = self.arguments.iter().map(|word| (*word).to_owned());
        let command = self.program(&directory).into_iter().chain(arguments);
        let place = self.place(&directory)?;
        let name = format!("{} {}", self.name, self.version);
        Ok(Contender::peer(&name, command.collect(), &place))
    }

    fn install(&self, directory: &Path, cache: &Path) -> Result<(), String> {
        let Self { name, version, .. } = self;
        match self.registry {
            Registry::Npm(_) => run(Command::new("npm")
                .args([
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--prefix",
                ])
                .arg(directory)
                .arg(format!("{name}@{version}"))),
            Registry::PyPi => {
                // Without pip in it, it has nothing but the bridge.
                run(Command::new("python3")
                    .args(["-m", "venv", "--without-pip"])
                    .arg(directory))?;
                run(Command::new("python3")
                    .args([
                        "-m",
                        "pip",
                        "--quiet",
                        "--disable-pip-version-check",
                        "--python",
                    ])
                    .arg(directory.join("bin/python"))
                    .arg("install")
                    .arg(format!("{name}=={version}")))
            }
            Registry::CratesIo => {
                eprintln!("this builds it, which takes minutes");
                run(Command::new("cargo")
                    .args([
                        "install",
                        "--quiet",
                        "--locked",
                        "--version",
                        version,
                        "--root",
                    ])
                    .arg(directory)
                    .arg("--target-dir")
                    .arg(cache.join("build"))
                    .arg(name))
            }
        }
    }

    /// The first words of its command line.
    fn program(&self, directory: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        match self.registry {
            Registry::Npm(script) => {
                let package = directory.join("node_modules").join(self.name);
                vec!["node".to_owned(), text(package.join(script))]
            }
            Registry::PyPi | Registry::CratesIo => {
                vec![text(directory.join("bin").join(self.name))]
            }
        }
    }

    /// The file or directory that holds the bridge, without the runtime that it needs.
    fn place(&self, directory: &Path) -> Result<PathBuf, String> {
        match self.registry {
            Registry::Npm(_) => Ok(directory.join("node_modules")),
            Registry::CratesIo => Ok(directory.join("bin").join(self.name)),
            Registry::PyPi => {
                // Its name contains Python's version.
                let mut entries = directory
                    .join("lib")
                    .read_dir()
                    .map_err(|error| error.to_string())?;
                let python = entries.find_map(Result::ok).ok_or("no library")?;
                Ok(python.path().join("site-packages"))
            }
        }
    }
}

/// Runs a command of a package manager.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    Err(format!("{program}: {}", last.unwrap_or("it failed")))
}
