//! Recording of what passes (`--record`), as HAR 1.2: HTTP exchanges as browsers record them, and messages of the app
//! and steps of the connection as entries of their own kinds.
//!
//! [`Recorder`] takes events in the middle of the work and keeps them for a thread, which alone masks, formats and
//! writes.

mod entry;
mod file;
mod har;
mod masking;

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, PoisonError};
use std::time::{Duration, SystemTime};

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::{EventKind, ObservedEvent, Observer};

use entry::Entries;
pub use entry::{HarEntry, rfc3339, step_entry};
use file::HarFile;

/// Bytes of events that wait for the thread. Beyond it events are left out, and counted: the disk is too slow.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// Memory of an event and of a header in it beside their text, in bytes.
const EVENT_BYTES: usize = 256;
const HEADER_BYTES: usize = 128;

/// Limit for the last events to be written at the end of the process.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// Time for which events are gathered before they are written. To wake the thread for each would cost a call more than
/// all the rest of the recording; a process that is killed loses no more than this.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// The same where the open exchanges are longer than [`LONG_TAIL_BYTES`], as they are written again each time.
const LONG_TAIL_TIME: Duration = Duration::from_millis(200);
const LONG_TAIL_BYTES: usize = 64 * 1024;

/// Destination of a recording.
pub trait Sink {
    /// Adds entries, and replaces those of the exchanges that are open.
    fn write(&mut self, finished: &[HarEntry], open: &[HarEntry]) -> io::Result<()>;
}

/// A recording under way.
#[derive(Debug)]
pub struct Recording {
    recorder: Arc<Recorder>,
    ended: Receiver<()>,
}

/// Observer that keeps events for the thread which writes them.
#[derive(Debug, Default)]
pub struct Recorder {
    queue: Mutex<Queue>,
    /// Told when the first event has come, and at the end.
    filled: Condvar,
}

/// Events on their way to the thread.
#[derive(Debug, Default)]
struct Queue {
    events: Vec<ObservedEvent>,
    bytes: usize,
    /// Events that were left out.
    lost: u64,
    is_over: bool,
}

impl Recording {
    /// Begins a recording in a new file. One of the same name is kept as `NAME.1`.
    pub fn start(path: &Path) -> io::Result<Self> {
        Self::into_sink(HarFile::create(path)?)
    }

    /// Begins a recording that goes there.
    pub fn into_sink(sink: impl Sink + Send + 'static) -> io::Result<Self> {
        let recorder = Arc::new(Recorder::default());
        let (ending, ended) = channel();
        let events = Arc::clone(&recorder);
        std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                write_events(&events, sink);
                // Who waits for it may have given up.
                let _ = ending.send(());
            })?;
        Ok(Self { recorder, ended })
    }

    /// The recording as an observer.
    #[must_use]
    pub fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    /// Ends the recording, once all is written or the time for that is over.
    pub fn finish(self) {
        self.recorder.stop();
        let _ = self.ended.recv_timeout(FINISH_LIMIT);
    }
}

impl Observer for Recorder {
    fn observe(&self, event: ObservedEvent) {
        let bytes = size(&event);
        let mut queue = self.queue.lock();
        if queue.bytes + bytes > MAX_QUEUED_BYTES {
            queue.lost += 1;
            return;
        }
        queue.bytes += bytes;
        queue.events.push(event);
        if queue.events.len() == 1 {
            self.filled.notify_one();
        }
    }
}

impl Recorder {
    /// Lets the thread write what there is, and end.
    pub fn stop(&self) {
        self.queue.lock().is_over = true;
        self.filled.notify_one();
    }

    /// Waits for an event, and takes with it those that come within the time; `None` if no more come.
    fn next_batch(&self, time: Duration) -> Option<Queue> {
        let queue = self.queue.lock();
        let has_none = |queue: &mut Queue| queue.events.is_empty() && !queue.is_over;
        let queue = self.filled.wait_while(queue, has_none);
        let queue = queue.unwrap_or_else(PoisonError::into_inner);
        let is_gathering = |queue: &mut Queue| !queue.is_over;
        let gathered = self.filled.wait_timeout_while(queue, time, is_gathering);
        let (mut queue, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let is_over = queue.is_over;
        let batch = std::mem::take(&mut *queue);
        queue.is_over = is_over;
        (!batch.events.is_empty() || batch.lost > 0).then_some(batch)
    }
}

/// Memory of an event, about.
fn size(event: &ObservedEvent) -> usize {
    let text = match &event.kind {
        EventKind::FromApp(text) | EventKind::ToApp(text) => text.len(),
        EventKind::Request(request) => request.body.len() + request.headers.len() * HEADER_BYTES,
        EventKind::ResponseBody { piece, .. } => piece.len(),
        EventKind::ResponseHead { headers, .. } => headers.len() * HEADER_BYTES,
        EventKind::ResponseEnd { .. } => 0,
        EventKind::Step { detail, .. } => detail.len(),
    };
    text + EVENT_BYTES
}

/// Writes events until there are no more. What has come is written soon, so that a crash loses next to nothing.
fn write_events(recorder: &Recorder, mut sink: impl Sink) {
    let mut entries = Entries::default();
    let mut was_failing = false;
    let mut time = BATCH_TIME;
    while let Some(batch) = recorder.next_batch(time) {
        let mut finished = Vec::new();
        for event in batch.events {
            finished.extend(entries.on_event(event));
        }
        if batch.lost > 0 {
            finished.push(entries.left_out(batch.lost, SystemTime::now()));
        }
        let open = entries.open();
        let tail_bytes: usize = open.iter().map(|entry| entry.json.len()).sum();
        let written = sink.write(&finished, &open);
        if let Err(error) = &written
            && !was_failing
        {
            tracing::warn!("the recording cannot be written: {error}");
        }
        was_failing = written.is_err();
        time = if tail_bytes > LONG_TAIL_BYTES {
            LONG_TAIL_TIME
        } else {
            BATCH_TIME
        };
    }
    // Exchanges that are still open stay in the file as they are.
}
