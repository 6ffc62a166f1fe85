//! Recording of what passes (`--record`), as HAR 1.2: HTTP exchanges as browsers record them, and messages of the app
//! and steps of the connection as entries of their own kinds.
//!
//! [`Recorder`] takes events in the middle of the work and keeps them for a thread, which alone masks, formats and
//! writes.

mod date;
mod entry;
mod exchange;
mod file;
mod har;
mod headers;
mod json;
mod masking;
mod queue;
mod recent;
mod shown_url;

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, PoisonError};
use std::time::{Duration, SystemTime};

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::{ObservedEvent, Observer};

pub use date::rfc3339;
use entry::Entries;
pub use entry::step_entry;
use file::HarFile;
pub use har::{HarEntries, HarEntry};
use queue::EventBatch;

/// Bytes of events that wait for the thread. Beyond it events are left out, and counted: the disk is too slow.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// Limit for the last events to be written at the end of the process.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// Time for which events are gathered before they are written. To wake the thread for each would cost a call more than
/// all the rest of the recording; a process that is killed loses no more than this.
///
/// An exchange that is open is written once it has lasted as long: most have ended before, and each is written once.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// The same where the open exchanges are longer than [`LONG_TAIL_BYTES`], as they are written again each time.
const LONG_TAIL_TIME: Duration = Duration::from_millis(200);
const LONG_TAIL_BYTES: usize = 64 * 1024;

/// Destination of a recording.
pub trait Sink {
    /// Adds entries, and replaces those of the exchanges that are open.
    fn write(&mut self, entries: &HarEntries) -> io::Result<()>;
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
    batch: EventBatch,
    is_over: bool,
}

/// State of a recording, as the thread sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// More events may come.
    GoesOn,
    /// No more come.
    IsOver,
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
    fn observe(&self, event: &ObservedEvent<'_>) {
        let mut queue = self.queue.lock();
        if queue.batch.bytes() > MAX_QUEUED_BYTES {
            queue.batch.lost += 1;
            return;
        }
        queue.batch.push(event);
        let is_first = queue.batch.len() == 1;
        drop(queue);
        if is_first {
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

    /// Waits for an event, though no longer than `patience`, and takes with it those that come within `time`. `batch`,
    /// which is empty, is used for the next ones.
    fn next_batch(
        &self,
        batch: &mut EventBatch,
        time: Duration,
        patience: Option<Duration>,
    ) -> Progress {
        let queue = self.queue.lock();
        let has_none = |queue: &mut Queue| queue.batch.is_empty() && !queue.is_over;
        let queue = match patience {
            None => self.filled.wait_while(queue, has_none),
            Some(patience) => {
                let waited = self.filled.wait_timeout_while(queue, patience, has_none);
                Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
            }
        };
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        if !queue.batch.is_empty() {
            let is_gathering = |queue: &mut Queue| !queue.is_over;
            let gathered = self.filled.wait_timeout_while(queue, time, is_gathering);
            (queue, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.batch, batch);
        if queue.is_over {
            Progress::IsOver
        } else {
            Progress::GoesOn
        }
    }
}

/// Writes events until there are no more. What has come is written soon, so that a crash loses next to nothing.
fn write_events(recorder: &Recorder, mut sink: impl Sink) {
    let mut entries = Entries::default();
    let (mut batch, mut text) = (EventBatch::default(), HarEntries::default());
    let mut was_failing = false;
    let mut time = BATCH_TIME;
    let mut patience = None;
    loop {
        let progress = recorder.next_batch(&mut batch, time, patience);
        entries.on_events(&batch, &mut text);
        batch.clear();
        let shown_from = match progress {
            Progress::GoesOn => SystemTime::now() - BATCH_TIME,
            // Exchanges that are still open stay in the file as they are.
            Progress::IsOver => SystemTime::now(),
        };
        let are_young = entries.add_open(shown_from, &mut text);
        let written = sink.write(&text);
        if let Err(error) = &written
            && !was_failing
        {
            tracing::warn!("the recording cannot be written: {error}");
        }
        if progress == Progress::IsOver {
            return;
        }
        was_failing = written.is_err();
        time = if text.open_bytes() > LONG_TAIL_BYTES {
            LONG_TAIL_TIME
        } else {
            BATCH_TIME
        };
        patience = are_young.then_some(BATCH_TIME);
        text.clear();
    }
}
