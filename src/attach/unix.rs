//! Private sockets of bridges in a folder, on Unix: their names, their making and their removal.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use sha2::{Digest as _, Sha256};
use tokio::net::UnixListener;

use super::FOLDER_LEVELS;
use mcp_bridge_net::private_file::private_folder;
use mcp_bridge_text::random;

/// Random bytes in a name: numbers of processes come again, and containers have the same ones.
const RANDOM_BYTES: usize = 4;

/// A socket that is removed with this. Only its owner can connect.
pub(super) struct PrivateSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// A connection, as who looks has it.
pub(super) type Connection = tokio::net::UnixStream;

/// Someone who has connected, and may be anybody.
pub(super) struct Visitor(Connection);

impl PrivateSocket {
    /// Opens a socket in the folder, from which those of killed bridges are removed.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        private_folder(folder, FOLDER_LEVELS)?;
        sweep(folder);
        Self::bind(folder).or_else(|error| match error.kind() {
            // The last bridge but this one has removed the folder with its socket.
            io::ErrorKind::NotFound => {
                private_folder(folder, FOLDER_LEVELS)?;
                Self::bind(folder)
            }
            _ => Err(error),
        })
    }

    fn bind(folder: &Path) -> io::Result<Self> {
        let (pid, random) = (std::process::id(), random::string::<RANDOM_BYTES>());
        let path = folder.join(format!("{}-{pid}-{random}.sock", machine()));
        let listener = UnixListener::bind(&path)?;
        let socket = Self { listener, path };
        // Until then the folder keeps others out, as it does afterwards.
        fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// Waits for somebody.
    pub(super) async fn accept(&mut self) -> io::Result<Visitor> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Visitor(stream))
    }
}

impl Visitor {
    /// The connection, if it is one of this user. The socket keeps others out; this is for the moment before it does, and
    /// for a directory that was opened by hand.
    pub(super) async fn admitted(self) -> io::Result<Connection> {
        let user = self.0.peer_cred()?.uid();
        let is_own = user == rustix::process::geteuid().as_raw();
        let refused = || io::ErrorKind::PermissionDenied.into();
        std::future::ready(is_own.then_some(self.0).ok_or_else(refused)).await
    }
}

/// Connects to a bridge, which only its user can have listed there.
pub(super) async fn connect(path: &Path) -> io::Result<Connection> {
    Connection::connect(path).await
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        // If it is the last one.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

/// The sockets of bridges on this machine. A home may be shared among several.
pub(super) fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| pid_in(path).is_some()).collect()
}

/// Removes the sockets of bridges that were killed.
fn sweep(folder: &Path) {
    for path in sockets(folder) {
        if pid_in(&path).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)) {
            remove_stale(&path);
        }
    }
}

/// Removes a socket to which nobody listens.
fn remove_stale(path: &Path) {
    if UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        remove(path);
    }
}

/// Removes a socket that has refused a connection.
pub(super) fn remove(path: &Path) {
    if fs::remove_file(path).is_ok() {
        tracing::debug!(file = %path.display(), "removed the socket of a bridge that was killed");
    }
}

/// The process in the name of a socket of this machine.
fn pid_in(path: &Path) -> Option<Pid> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let rest = name.strip_suffix(".sock")?.strip_prefix(&machine())?;
    let (pid, _) = rest.strip_prefix('-')?.split_once('-')?;
    Pid::from_raw(pid.parse().ok()?)
}

/// A short name of this machine: its host name without the domain, which depends on the network.
fn machine() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_bytes();
    let name = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let digest = Sha256::digest(name);
    let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of processes are not as high.
    const NOBODY: u32 = 0x7fff_fff0;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_socket_is_private_and_goes_with_its_owner_and_that_of_a_killed_process_goes_before()
    {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("bridge/running");
        fs::create_dir_all(&folder).unwrap();
        let elsewhere = "00000000-1-abcd.sock".to_owned();
        let stale = format!("{}-{NOBODY}-abcd.sock", machine());
        for name in [&elsewhere, &stale] {
            drop(std::os::unix::net::UnixListener::bind(folder.join(name)).unwrap());
        }
        let socket = PrivateSocket::open(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&socket.path)), (0o700, 0o600));
        let own = socket.path.file_name().unwrap().to_string_lossy();
        assert!(names(&folder).contains(&own.into_owned()));
        assert!(!names(&folder).contains(&stale), "{:?}", names(&folder));
        assert_eq!(sockets(&folder), std::slice::from_ref(&socket.path));
        drop(socket);
        assert_eq!(names(&folder), [elsewhere]);
    }

    #[tokio::test]
    async fn a_folder_that_others_can_write_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("running");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), "").unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(PrivateSocket::open(&folder).is_err());
    }
}
