//! Running time: that in which this process runs, without that in which it is stopped.
//!
//! Clocks go on while a process is stopped (SIGSTOP, a frozen container or virtual machine). If that time counted, the process
//! would give up what it waits for as soon as it goes on, without having looked at it.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Steps in which time is counted. A stop counts as one of them, however long it is.
const STEP: Duration = Duration::from_millis(250);

/// The outcome of `work`, and the running time that it took.
pub(super) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = pin!(work);
    let mut took = Duration::ZERO;
    loop {
        let begun = Instant::now();
        if let Ok(outcome) = timeout(STEP, &mut work).await {
            return (outcome, took + begun.elapsed().min(STEP));
        }
        took += STEP;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_takes_the_time_that_it_takes() {
        let ((), took) = timed(sleep(7 * SECOND)).await;
        assert!(took >= 7 * SECOND && took < 8 * SECOND, "{took:?}");
        let (outcome, took) = timed(async { 5 }).await;
        assert_eq!((outcome, took), (5, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_counts_as_one_step() {
        let work = async {
            sleep(SECOND).await;
            advance(25 * SECOND).await;
            sleep(SECOND).await;
        };
        let ((), took) = timed(work).await;
        assert!(
            took >= 2 * SECOND && took <= 2 * SECOND + 2 * STEP,
            "{took:?}"
        );
    }
}
