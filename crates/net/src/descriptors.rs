//! The limit on open file descriptors (`RLIMIT_NOFILE`), and waits for descriptors that others will give back.
//!
//! At start the soft limit is raised to the hard limit. Programs that this one starts get the original soft limit: those
//! that call `select` break on descriptors from `FD_SETSIZE` (1024) on, and rely on a limit that keeps them below it.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
#[cfg(unix)]
pub use limit::{free, raise, with_original_limit};
#[cfg(not(unix))]
pub use no_limit::{free, raise, with_original_limit};

/// Longest wait for a descriptor. What holds one for longer than this will not give it back soon.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Longest wait of a thread that others may wait for.
const LONGEST_BLOCKING_WAIT: Duration = Duration::from_secs(2);

/// The first and the longest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Pauses between tries to get a descriptor: longer and longer, and bounded in all.
#[derive(Debug)]
pub struct Pauses {
    since: Instant,
    longest_wait: Duration,
    backoff: Backoff,
}

impl Default for Pauses {
    fn default() -> Self {
        Self::within(LONGEST_WAIT)
    }
}

impl Pauses {
    fn within(longest_wait: Duration) -> Self {
        Self {
            since: Instant::now(),
            longest_wait,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// Pause before the next try after this error; `None` if the error is another one, or if it was tried long enough.
    pub fn after(&mut self, error: &(dyn Error + 'static)) -> Option<Duration> {
        if !is_shortage(error) || self.since.elapsed() >= self.longest_wait {
            return None;
        }
        if self.backoff.is_fresh() {
            tracing::debug!(%error, "waiting for a file descriptor");
        }
        Some(self.backoff.pause())
    }
}

/// Does something that needs a descriptor, and tries again for a moment while there is none. Blocks.
pub fn retry_blocking<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pauses = Pauses::within(LONGEST_BLOCKING_WAIT);
    loop {
        match attempt() {
            Err(error) => match pauses.after(&error) {
                Some(pause) => std::thread::park_timeout(pause),
                None => return Err(error),
            },
            done => return done,
        }
    }
}

/// The same for what does not say why it fails.
pub fn retry_unexplained<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut pauses = Pauses::within(LONGEST_BLOCKING_WAIT);
    loop {
        let failed = match attempt() {
            Err(failed) => failed,
            done => return done,
        };
        match shortage_now().and_then(|error| pauses.after(&error)) {
            Some(pause) => std::thread::park_timeout(pause),
            None => return Err(failed),
        }
    }
}

/// The same without blocking, for as long as [`Pauses`] allow.
pub async fn retry<T, F>(mut attempt: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut pauses = Pauses::default();
    loop {
        match attempt().await {
            Err(error) => match pauses.after(&error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
            done => return done,
        }
    }
}

/// Returns whether an error was caused by a lack of file descriptors, of this process or of the whole system.
pub fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(is_io_shortage)
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_io_shortage(error: &io::Error) -> bool {
    if let Some(code) = error.raw_os_error() {
        return SHORTAGE_CODES.contains(&code);
    }
    let inner = error.get_ref();
    inner.is_some_and(|inner| is_shortage(inner))
}

/// The error of an operation that does not say why it failed, such as name resolution: a lack of descriptors, if there
/// is one now.
#[must_use]
pub fn explain(error: io::Error) -> io::Error {
    shortage_now().unwrap_or(error)
}

/// The error that opening one more descriptor fails with, if it is a lack of descriptors.
pub fn shortage_now() -> Option<io::Error> {
    #[cfg(unix)]
    let another = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    #[cfg(not(unix))]
    let another: io::Result<()> = Ok(());
    another.err().filter(is_io_shortage)
}

/// `EMFILE` and `ENFILE`.
#[cfg(unix)]
const SHORTAGE_CODES: [i32; 2] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
];

/// `ERROR_TOO_MANY_OPEN_FILES` and `WSAEMFILE`.
#[cfg(not(unix))]
const SHORTAGE_CODES: [i32; 2] = [4, 10024];

#[cfg(unix)]
mod limit {
    use crate::mutex::Mutex;
    use std::io;
    use std::sync::OnceLock;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::is_shortage;

    /// The soft limit is raised no further than this. It is many times what one bridge needs, and less than `OPEN_MAX`
    /// (10240), above which macOS refuses a soft limit.
    const HIGHEST_SOFT_LIMIT: u64 = 8192;

    /// Descriptors that are taken to be open where the system does not tell.
    const ASSUMED_OPEN: usize = 16;

    /// The limits before they were raised; empty if they were not.
    static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

    /// One at a time changes the limit for a child.
    static CHANGING: Mutex<()> = Mutex::new(());

    /// Raises the soft limit to the hard limit. Without success everything works, with fewer connections at once.
    pub fn raise() {
        let original = getrlimit(Resource::Nofile);
        let hard = original.maximum.unwrap_or(u64::MAX);
        let wanted = hard.min(HIGHEST_SOFT_LIMIT);
        let raised = Rlimit {
            current: Some(wanted),
            maximum: original.maximum,
        };
        let is_lower = original.current.is_some_and(|current| current < wanted);
        if is_lower && setrlimit(Resource::Nofile, raised).is_ok() {
            let _ = ORIGINAL.set(original);
        }
    }

    /// Starts a child, which inherits the soft limit that this process was started with.
    ///
    /// The limit is lowered for the moment of the start. If this process has so many descriptors open that it cannot
    /// start a child below the original limit, the child gets the raised one.
    pub fn with_original_limit<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let Some(original) = ORIGINAL.get() else {
            return start();
        };
        let changing = CHANGING.lock();
        let raised = getrlimit(Resource::Nofile);
        let lowered = setrlimit(Resource::Nofile, *original).is_ok();
        let started = start();
        if lowered {
            let _ = setrlimit(Resource::Nofile, raised);
        }
        drop(changing);
        match started {
            Err(error) if is_shortage(&error) => start(),
            started => started,
        }
    }

    /// Descriptors that can still be opened.
    #[must_use]
    pub fn free() -> usize {
        let Some(limit) = getrlimit(Resource::Nofile).current else {
            return usize::MAX;
        };
        // On Linux a link to the directory of this process in /proc. It is open itself while it is read.
        let open = std::fs::read_dir("/dev/fd")
            .map_or(ASSUMED_OPEN, |open| open.count().saturating_sub(1));
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(open)
    }
}

/// Systems without such a limit.
#[cfg(not(unix))]
mod no_limit {
    use std::io;

    /// Does nothing.
    pub const fn raise() {}

    /// Starts a child.
    pub fn with_original_limit<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        start()
    }

    /// Descriptors that can still be opened.
    #[must_use]
    pub const fn free() -> usize {
        usize::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortage() -> io::Error {
        io::Error::from_raw_os_error(SHORTAGE_CODES[0])
    }

    #[test]
    fn a_lack_of_descriptors_is_recognized_within_other_errors() {
        assert!(is_shortage(&shortage()));
        assert!(is_shortage(&io::Error::other(shortage())));
        assert!(!is_shortage(&io::Error::other("too many open files")));
        assert!(!is_shortage(&io::Error::from(io::ErrorKind::NotFound)));
    }

    #[test]
    fn it_is_tried_again_while_descriptors_are_lacking_and_only_then() {
        let mut left = 3;
        let opened = retry_blocking(|| {
            if left == 0 {
                return Ok("opened");
            }
            left -= 1;
            Err(shortage())
        });
        assert_eq!(opened.unwrap(), "opened");
        let mut tries = 0;
        let refused: io::Result<()> = retry_blocking(|| {
            tries += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(tries, 1);
    }

    #[test]
    fn the_wait_for_descriptors_has_an_end() {
        let mut pauses = Pauses::within(Duration::ZERO);
        assert_eq!(pauses.after(&shortage()), None);
        let mut pauses = Pauses::default();
        let waits: Vec<_> = (0..10).filter_map(|_| pauses.after(&shortage())).collect();
        assert_eq!(waits.len(), 10);
        assert!(waits.iter().all(|pause| *pause <= LONGEST_PAUSE));
    }
}
