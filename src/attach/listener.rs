//! Offer of a view: a bridge's socket, and what is told to those who look.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::introduction::Introduction;
use super::socket::{PrivateSocket, Visitor};
use super::view_sink::{ViewSink, line};
use super::{WORD, folder};
use crate::observers::Observers;
use crate::recording::{Recorder, Recording, step_entry};
use mcp_bridge_net::observer::Observer;

/// Time after the start at which the socket is opened. A bridge that is only tried out has ended by then.
const OPEN_AFTER: Duration = Duration::from_secs(1);

/// Views at once, and connections that may become one. More are refused until some end.
const MAX_VIEWERS: usize = 8;

/// Lists of bridges are asked for without looking at one; who looks says the word at once.
const WORD_LIMIT: Duration = Duration::from_secs(10);

/// Lines on their way to one viewer. Events wait behind them, see the limit of a recording.
const LINES_UNDER_WAY: usize = 64;

/// Time in which a viewer has to take a line.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Time at the end of the bridge for its last events to be told.
const LAST_EVENTS_LIMIT: Duration = Duration::from_millis(250);

/// First entry of a view.
const BEGUN: &str = "what passes from here on is shown; what was before is not";

/// Offer of a view of this bridge.
pub(crate) struct Offer {
    ending: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Offer {
    /// Offers a view with a socket for this directory of credentials.
    pub(crate) fn of(
        directory: &Path,
        introduction: Introduction,
        observers: Arc<Observers>,
    ) -> Self {
        let (ending, is_ending) = watch::channel(false);
        let folder = folder(directory);
        let task = tokio::spawn(serve(folder, introduction, observers, is_ending));
        Self { ending, task }
    }

    /// Ends it, once the last events are told or the time for that is over.
    pub(crate) async fn withdraw(self) {
        self.ending.send_replace(true);
        let _ = timeout(LAST_EVENTS_LIMIT, self.task).await;
    }
}

async fn serve(
    folder: PathBuf,
    introduction: Introduction,
    observers: Arc<Observers>,
    mut is_ending: watch::Receiver<bool>,
) {
    tokio::select! {
        () = sleep(OPEN_AFTER) => {}
        _ = is_ending.changed() => return,
    }
    let mut socket = match PrivateSocket::open(&folder) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "nobody can look at this bridge: it has no socket");
            return;
        }
    };
    tracing::debug!("mcp-bridge inspect can look at this bridge");
    let mut viewers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(visitor) if viewers.len() < MAX_VIEWERS => {
                    let view = View { introduction: introduction.clone(), observers: Arc::clone(&observers), is_ending: is_ending.clone() };
                    viewers.spawn(view.show(visitor));
                }
                Ok(_) => {}
                // No file descriptors, most likely, or it has left again.
                Err(_) => sleep(OPEN_AFTER).await,
            },
            Some(_) = viewers.join_next() => {}
            _ = is_ending.changed() => break,
        }
    }
    drop(socket);
    while viewers.join_next().await.is_some() {}
}

/// A view for one who looks.
struct View {
    introduction: Introduction,
    observers: Arc<Observers>,
    is_ending: watch::Receiver<bool>,
}

impl View {
    /// Shows what passes until the bridge ends or the viewer leaves.
    async fn show(mut self, visitor: Visitor) {
        if let Err(error) = self.try_to_show(visitor).await {
            tracing::debug!(%error, "a view of this bridge has ended");
        }
    }

    async fn try_to_show(&mut self, visitor: Visitor) -> io::Result<()> {
        let mut stream = tokio::select! {
            stream = timeout(WORD_LIMIT, greet(visitor, &self.introduction)) => stream??,
            _ = self.is_ending.changed() => return Ok(()),
        };
        let (sender, lines) = mpsc::channel(LINES_UNDER_WAY);
        let recording = Recording::into_sink(ViewSink::new(sender))?;
        let observed = Observed::begin(&self.observers, recording.recorder());
        let begun = step_entry(SystemTime::now(), "bridge", BEGUN);
        stream.write_all(&line(&begun, false)).await?;
        tell(stream, lines, &observed.recorder, &mut self.is_ending).await
    }
}

/// Introduces the bridge to a visitor who may look, and hears the word.
async fn greet(
    visitor: Visitor,
    introduction: &Introduction,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let mut stream = visitor.admitted().await?;
    let mut introduction = serde_json::to_vec(introduction)?;
    introduction.push(b'\n');
    stream.write_all(&introduction).await?;
    let mut word = [0; WORD.len()];
    stream.read_exact(&mut word).await?;
    if word != WORD {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(stream)
}

/// Tells what is recorded, until there is no more or the viewer has left.
async fn tell(
    stream: impl AsyncRead + AsyncWrite,
    mut lines: mpsc::Receiver<Bytes>,
    recorder: &Recorder,
    is_ending: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let (mut reading, mut writing) = split(stream);
    let mut anything = [0];
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => timeout(WRITE_LIMIT, writing.write_all(&line)).await??,
                None => return Ok(()),
            },
            // It has left, or says something although there is nothing to say.
            _ = reading.read(&mut anything) => return Ok(()),
            // The last events come, and then no more.
            Ok(()) = is_ending.changed() => recorder.stop(),
        }
    }
}

/// A recording that is among the observers as long as this is there.
struct Observed<'a> {
    observers: &'a Observers,
    observer: Arc<dyn Observer>,
    recorder: Arc<Recorder>,
}

impl<'a> Observed<'a> {
    fn begin(observers: &'a Observers, recorder: Arc<Recorder>) -> Self {
        let observer = Arc::clone(&recorder) as Arc<dyn Observer>;
        observers.add(Arc::clone(&observer));
        Self {
            observers,
            observer,
            recorder,
        }
    }
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        self.observers.remove(&self.observer);
        self.recorder.stop();
    }
}
