//! Ctrl-C and other signals to stop, for as long as the process runs.

use std::io;
use std::time::Duration;

use tokio::sync::watch;

use crate::signals;

/// Limit of printing after an interrupt, once the conversation is over: its reader may be stuck.
const PRINT_GRACE: Duration = Duration::from_millis(500);

/// A flag that is raised once, by the first signal to stop.
#[derive(Clone)]
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Watches for signals until the process ends, on a thread of its own: what comes after the runtime,
    /// such as printing, can be interrupted too.
    pub(super) fn watch() -> io::Result<Self> {
        let (stopped, interrupt) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    signals::stop().await;
                    stopped.send_replace(true);
                    stopped.closed().await;
                    tokio::time::sleep(PRINT_GRACE).await;
                    std::process::exit(signals::CUT_SHORT.into());
                });
            })?;
        Ok(Self(interrupt))
    }

    /// A flag that is never raised: somebody else watches for signals.
    pub(super) fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// A flag that is raised by the sender.
    pub(super) fn by_hand() -> (watch::Sender<bool>, Self) {
        let (sender, flag) = watch::channel(false);
        (sender, Self(flag))
    }

    /// Returns true once the flag is raised.
    pub(super) fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once the flag is raised.
    pub(super) async fn came(&self) {
        let mut interrupt = self.0.clone();
        if interrupt.wait_for(|came| *came).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
