//! Events of the Linux kernel: exit of the parent process, and jumps of the wall clock.

#![allow(
    deprecated,
    reason = "the successor of `AsyncFd::new` is unsafe, because a type might replace its descriptor; `OwnedFd` does not"
)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, read};
use rustix::process::{PidfdFlags, getppid, pidfd_open};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The parent process, as a descriptor that becomes readable when it exits.
#[derive(Debug)]
pub(super) struct ParentExit(AsyncFd<OwnedFd>);

impl ParentExit {
    /// Fails without a parent in this namespace, on a kernel before 5.3, and in a sandbox that denies it.
    pub(super) fn new() -> io::Result<Self> {
        let parent = getppid();
        let process = pidfd_open(parent.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        // The id may have passed to another process before it was opened.
        if getppid() != parent {
            return Err(Errno::SRCH.into());
        }
        AsyncFd::with_interest(process, Interest::READABLE).map(Self)
    }

    pub(super) async fn happened(&mut self) {
        if self.0.readable().await.is_err() {
            // The runtime ends.
            std::future::pending::<()>().await;
        }
    }
}

/// A timer that never expires, and is cancelled whenever the wall clock is set or the machine resumes from a suspend
/// (`timerfd_create(2)`, `TFD_TIMER_CANCEL_ON_SET`).
#[derive(Debug)]
pub(super) struct ClockJumps(AsyncFd<OwnedFd>);

impl ClockJumps {
    /// Fails in a sandbox that denies it.
    pub(super) fn new() -> io::Result<Self> {
        const AT_ONCE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        const NEVER: Timespec = Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        };
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &Itimerspec {
                it_interval: AT_ONCE,
                it_value: NEVER,
            },
        )?;
        AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
    }

    /// Resolves with the next jump. Reading the timer arms it for the one after that.
    pub(super) async fn next(&mut self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                // The runtime ends.
                return std::future::pending().await;
            };
            let mut expirations = [0; 8];
            let read = ready.try_io(|timer| match read(timer.get_ref(), &mut expirations) {
                Err(Errno::CANCELED) => Ok(()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            });
            if read.is_ok() {
                return;
            }
        }
    }
}
