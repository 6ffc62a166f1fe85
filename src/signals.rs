//! Termination signals, and resource limits of the process.

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Exit status when a second signal cuts the shutdown short (128 + SIGINT).
pub(crate) const CUT_SHORT: u8 = 130;

/// Resolves at the first signal to stop. At the second the process exits at once.
pub(crate) async fn stop() {
    let (stopped, first) = oneshot::channel();
    tokio::spawn(async move {
        let Ok(mut signals) = Signals::new() else {
            return;
        };
        signals.next().await;
        // Nobody may wait for it any more.
        let _ = stopped.send(());
        signals.next().await;
        std::process::exit(CUT_SHORT.into());
    });
    if first.await.is_err() {
        // The system has no signals to give. The end of the input still ends the bridge.
        std::future::pending::<()>().await;
    }
}

/// Lets writing beyond the limit on the size of files (`RLIMIT_FSIZE`) fail, instead of ending the process: a token that
/// cannot be saved is still in memory. Programs that are started get the signal as ever. The handler stays when the
/// runtime is gone.
#[cfg(unix)]
pub(crate) fn survive_file_size_limit(runtime: &Runtime) {
    use tokio::signal::unix::{SignalKind, signal};
    let _entered = runtime.enter();
    let exceeded = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // Without a handler a full quota ends the process; that is no reason not to start.
    let _ = signal(exceeded);
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn survive_file_size_limit(_: &Runtime) {}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    break_key: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            interrupt: windows::ctrl_c()?,
            break_key: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.break_key.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}
