//! Private sockets of bridges in a folder, on Windows: named pipes, each with a file beside the credentials.
//!
//! A pipe without an access list of its own has that of Windows: its user, administrators and the system may do everything,
//! and everybody may read (`CreateNamedPipe`, "lpSecurityAttributes"). So whoever can write is of this user, and nobody is
//! told anything before that. The list of all pipes is public, and so are their names. By the key in the file, which only
//! the user can read, each side knows that the other one is of the user, too: the pipe of a bridge that was killed may be
//! somebody else's by now.
//!
//! The file is open as long as its bridge lives, and the system removes it with the process; so one that can be removed
//! is left over from a crash of the system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::mem;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::windows::named_pipe::{
    ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions,
};
use tokio::time::sleep;

use super::FOLDER_LEVELS;
use super::proof::SharedKey;
use mcp_bridge_net::private_file::{private_folder, read_private};
use mcp_bridge_text::random;

/// Random bytes in a name.
const NAME_BYTES: usize = 16;

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// Ending of the names of the files.
const EXTENSION: &str = "pipe";

/// Of the Windows API, "File Attribute Constants" and `CreateFile`.
const FILE_SHARE_READ: u32 = 1;
const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;

/// Of the Windows API, "System Error Codes": another one is just connecting.
const ERROR_PIPE_BUSY: i32 = 231;

/// Pause before the next attempt to connect then. A bridge opens the pipe for the next one at once.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A connection, as who looks has it.
pub(super) type Connection = NamedPipeClient;

/// A pipe that ends with this.
pub(super) struct PrivateSocket {
    /// The end of the pipe for who connects next.
    next: NamedPipeServer,
    name: String,
    key: String,
    /// Dropped in this order.
    _file: File,
    _folder: Folder,
}

/// Someone who has connected, and may be anybody.
pub(super) struct Visitor {
    stream: NamedPipeServer,
    key: SharedKey,
}

/// A directory that is removed with its last file.
struct Folder(PathBuf);

impl PrivateSocket {
    /// Opens a pipe, and lists it in the folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        private_folder(folder, FOLDER_LEVELS)?;
        sweep(folder);
        let id = format!("{}-{}", std::process::id(), random::string::<NAME_BYTES>());
        let key = random::string::<KEY_BYTES>();
        let file = write(&folder.join(&id).with_extension(EXTENSION), &key)?;
        let name = pipe(&id);
        // Fails if somebody else has a pipe of this name.
        let next = ServerOptions::new()
            .first_pipe_instance(true)
            .create(&name)?;
        Ok(Self {
            next,
            name,
            key,
            _file: file,
            _folder: Folder(folder.to_owned()),
        })
    }

    /// Waits for somebody.
    pub(super) async fn accept(&mut self) -> io::Result<Visitor> {
        if let Err(error) = self.next.connect().await {
            // It has left already. The next one needs a fresh end.
            self.next.disconnect()?;
            return Err(error);
        }
        let next = ServerOptions::new().create(&self.name)?;
        Ok(Visitor {
            stream: mem::replace(&mut self.next, next),
            key: SharedKey::of(self.key.as_bytes()),
        })
    }
}

impl Visitor {
    /// The connection, if it is one of this user.
    pub(super) async fn admitted(mut self) -> io::Result<NamedPipeServer> {
        self.key.check_viewer(&mut self.stream).await?;
        Ok(self.stream)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If no other bridge has a file there.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Connects to a bridge, which proves that it has made the file.
pub(super) async fn connect(path: &Path) -> io::Result<Connection> {
    let key = read_private(path).map_err(io::Error::other)?;
    let key = key.ok_or(io::ErrorKind::NotFound)?;
    let id = path.file_stem().unwrap_or_default();
    let name = pipe(&id.to_string_lossy());
    loop {
        match ClientOptions::new().open(&name) {
            Ok(mut stream) => {
                SharedKey::of(&key).check_bridge(&mut stream).await?;
                return Ok(stream);
            }
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) => sleep(BUSY_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// The files of bridges.
pub(super) fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == EXTENSION))
        .collect()
}

/// Removes a file whose pipe is not there, unless its bridge is only about to open it, or runs on another machine.
pub(super) fn remove(path: &Path) {
    if fs::remove_file(path).is_ok() {
        tracing::debug!(file = %path.display(), "removed the file of a bridge that is gone");
    }
}

/// Removes the files of bridges that are gone.
fn sweep(folder: &Path) {
    for path in sockets(folder) {
        remove(&path);
    }
}

/// Writes a file that others can read and not remove, and that goes with this process.
fn write(path: &Path, key: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .share_mode(FILE_SHARE_READ)
        .custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
    let mut file = options.open(path)?;
    file.write_all(key.as_bytes())?;
    Ok(file)
}

fn pipe(id: &str) -> String {
    format!(r"\\.\pipe\mcp-bridge-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn only(folder: &Path) -> PathBuf {
        let all = sockets(folder);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    #[tokio::test]
    async fn both_ends_talk_and_the_file_stays_until_the_end() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("running");
        let mut socket = PrivateSocket::open(&folder).unwrap();
        let path = only(&folder);
        remove(&path);
        assert_eq!(only(&folder), path);
        for _ in 0..3 {
            let (visitor, viewer) = tokio::join!(
                async { socket.accept().await.unwrap().admitted().await },
                connect(&path)
            );
            let (mut bridge, mut viewer) = (visitor.unwrap(), viewer.unwrap());
            bridge.write_all(b"passes").await.unwrap();
            let mut heard = [0; 6];
            viewer.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"passes");
        }
        drop(socket);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn the_file_of_a_bridge_that_is_gone_is_removed_and_the_name_of_a_pipe_is_no_proof() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("running");
        fs::create_dir(&folder).unwrap();
        let id = random::string::<NAME_BYTES>();
        let stale = folder.join(&id).with_extension(EXTENSION);
        fs::write(&stale, "a key").unwrap();
        let missing = connect(&stale).await.map(|_| ()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        // Somebody else has taken the name.
        let squatted = ServerOptions::new().create(pipe(&id)).unwrap();
        let squatter = async {
            squatted.connect().await.unwrap();
            let mut visitor = Visitor {
                stream: squatted,
                key: SharedKey::of(b"another key"),
            };
            let _ = visitor.key.check_viewer(&mut visitor.stream).await;
        };
        let (connected, ()) = tokio::join!(connect(&stale), squatter);
        let refused = connected.map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let _socket = PrivateSocket::open(&folder).unwrap();
        assert!(!stale.exists());
    }

    #[tokio::test]
    async fn who_has_not_the_key_is_told_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut socket = PrivateSocket::open(&home.path().join("running")).unwrap();
        let mut other = ClientOptions::new().open(&socket.name).unwrap();
        let said = async {
            other.write_all(&[b'w'; 256]).await.unwrap();
            let mut heard = Vec::new();
            let _ = other.read_to_end(&mut heard).await;
            heard
        };
        let (visitor, heard) = tokio::join!(
            async { socket.accept().await.unwrap().admitted().await },
            said
        );
        assert_eq!(
            visitor.map(|_| ()).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        // A random text and a proof of the bridge's, which say nothing of it.
        assert_eq!(heard.len(), 64);
    }
}
