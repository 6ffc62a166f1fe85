//! Recording of what passes (`--record`), as HAR 1.2: HTTP exchanges as browsers record them, and messages of the app
//! and steps of the connection as entries of their own kinds.
//!
//! [`Recorder`] takes events in the middle of the work and hands them to a thread, which alone masks, formats and
//! writes.

mod entry;
mod file;
mod masking;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::{Event, EventKind, Observation, Observer};

use entry::Entries;
pub(crate) use entry::HarEntry;
use file::HarFile;

/// Bytes of events that wait for the thread. Beyond it events are left out, and counted: the disk is too slow.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// What an event takes beside the text in it, in bytes.
const EVENT_BYTES: usize = 512;

/// Limit for the last events to be written at the end of the process.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// Time for which events are gathered after a write whose open exchanges are longer than [`LONG_TAIL_BYTES`]: they are written again each time.
const LONG_TAIL_PAUSE: Duration = Duration::from_millis(200);
const LONG_TAIL_BYTES: usize = 64 * 1024;

/// Destination of a recording.
pub(crate) trait Sink {
    /// Adds entries, and replaces those of the exchanges that are open.
    fn write(&mut self, finished: &[HarEntry], open: &[HarEntry]) -> io::Result<()>;
}

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Recording {
    recorder: Arc<Recorder>,
    ended: Receiver<()>,
}

/// Observer that hands events to the thread which writes them.
#[derive(Debug)]
struct Recorder {
    /// Absent once the recording is over.
    events: Mutex<Option<Sender<Event>>>,
    queue: Arc<Queue>,
}

/// Events on their way to the thread.
#[derive(Debug, Default)]
struct Queue {
    bytes: AtomicUsize,
    /// Events that were left out.
    lost: AtomicU64,
}

impl Recording {
    /// Begins a recording in a new file. One of the same name is kept as `NAME.1`.
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        Self::into_sink(HarFile::create(path)?)
    }

    /// Begins a recording that goes there.
    pub(crate) fn into_sink(sink: impl Sink + Send + 'static) -> io::Result<Self> {
        let (sender, events) = channel();
        let (ending, ended) = channel();
        let queue = Arc::new(Queue::default());
        let recorder = Recorder {
            events: Mutex::new(Some(sender)),
            queue: Arc::clone(&queue),
        };
        std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                write_events(&events, &queue, sink);
                // Who waits for it may have given up.
                let _ = ending.send(());
            })?;
        Ok(Self {
            recorder: Arc::new(recorder),
            ended,
        })
    }

    /// The recording as an observer.
    pub(crate) fn observation(&self) -> Observation {
        Observation::by(Arc::clone(&self.recorder) as Arc<dyn Observer>)
    }

    /// Ends the recording, once all is written or the time for that is over.
    pub(crate) fn finish(self) {
        *self.recorder.events.lock() = None;
        let _ = self.ended.recv_timeout(FINISH_LIMIT);
    }
}

impl Observer for Recorder {
    fn observe(&self, event: Event) {
        let bytes = size(&event);
        if self.queue.bytes.load(Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES {
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.queue.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(events) = &*self.events.lock() {
            // The thread ends only with the recording.
            let _ = events.send(event);
        }
    }
}

/// Memory of an event, about.
fn size(event: &Event) -> usize {
    let text = match &event.kind {
        EventKind::FromApp(text) | EventKind::ToApp(text) => text.len(),
        EventKind::Request(request) => request.body.len(),
        EventKind::ResponseBody { piece, .. } => piece.len(),
        EventKind::ResponseHead { .. } | EventKind::ResponseEnd { .. } => 0,
        EventKind::Step { detail, .. } => detail.len(),
    };
    text + EVENT_BYTES
}

/// Writes events until there are no more. What has come is written at once, so that a crash loses nothing.
fn write_events(events: &Receiver<Event>, queue: &Queue, mut sink: impl Sink) {
    let mut entries = Entries::default();
    let mut was_failing = false;
    let mut pause = Duration::ZERO;
    while let Some(batch) = next_batch(events, pause) {
        let mut finished = Vec::new();
        for event in batch {
            queue.bytes.fetch_sub(size(&event), Ordering::Relaxed);
            finished.extend(entries.on_event(event));
        }
        let lost = queue.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            finished.push(entries.left_out(lost, SystemTime::now()));
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
        pause = if tail_bytes > LONG_TAIL_BYTES {
            LONG_TAIL_PAUSE
        } else {
            Duration::ZERO
        };
    }
    // Exchanges that are still open stay in the file as they are.
}

/// Waits for an event, and takes with it those that come within the pause; `None` if no more come.
fn next_batch(events: &Receiver<Event>, pause: Duration) -> Option<Vec<Event>> {
    let mut batch = vec![events.recv().ok()?];
    let until = Instant::now() + pause;
    while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        batch.push(event);
    }
    Some(batch)
}
