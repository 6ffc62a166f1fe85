//! Running bridges for the inspector: the list, the choice, and the view of one.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use super::feed::{Feed, FeedSink};
use crate::attach::{Introduction, Viewed, running};
use crate::cli;
use crate::commands::{Stop, written};
use crate::recording::step_entry;
use mcp_bridge_core::stdio;
use mcp_bridge_text::printable;

/// Choice among the bridges that are running.
pub(super) enum Found {
    /// This one is wanted, or is the only one.
    One(Box<Viewed>),
    /// There are several, which were listed.
    Listed(ExitCode),
}

/// Looks for the bridges, and chooses the one of this process, or the only one.
pub(super) async fn find(pid: Option<u32>) -> Result<Found, Stop> {
    let mut bridges = all(&cli::store_directories()).await?;
    match pid {
        Some(pid) => {
            let wanted = bridges.into_iter().find(|it| it.introduction().pid == pid);
            let none = || {
                Stop::failed(format!("no bridge of yours has the process id {pid}"))
                    .hint("mcp-bridge inspect lists those that are running")
            };
            Ok(Found::One(Box::new(wanted.ok_or_else(none)?)))
        }
        None if bridges.len() == 1 => Ok(Found::One(Box::new(bridges.remove(0)))),
        None => {
            let introductions = bridges.iter().map(Viewed::introduction);
            Ok(Found::Listed(list(introductions)?))
        }
    }
}

async fn all(directories: &[PathBuf]) -> Result<Vec<Viewed>, Stop> {
    let bridges = running(directories).await;
    if bridges.is_empty() {
        let none = Stop::failed("no bridge of yours is running on this machine");
        return Err(none.hint(
            "apps start bridges, which can be looked at after a second; \
             mcp-bridge inspect URL connects to a server without an app",
        ));
    }
    Ok(bridges)
}

fn list<'a>(bridges: impl Iterator<Item = &'a Introduction>) -> Result<ExitCode, Stop> {
    let mut out = stdio::report();
    let lines = bridges.map(|bridge| {
        let server = printable::line(&bridge.server);
        let started = printable::line(&bridge.started);
        writeln!(out, "{:>8}  {started}  {server}", bridge.pid)
    });
    let mut lines: Vec<_> = lines.collect();
    lines.push(writeln!(
        out,
        "\nmcp-bridge inspect --bridge ID shows the one with this process id."
    ));
    written(lines.into_iter().collect())
}

/// The bridge, for people.
pub(super) fn title(bridge: &Viewed) -> String {
    let Introduction { pid, server, .. } = bridge.introduction();
    format!("bridge {pid} at {server}")
}

/// Fills the feed with what passes at the bridge. Its end is the last entry.
pub(super) async fn follow(bridge: Viewed, feed: Arc<Feed>) {
    let pid = bridge.introduction().pid;
    let end = match bridge.watch(FeedSink(Arc::clone(&feed))).await {
        Ok(()) => format!("bridge {pid} has ended"),
        Err(error) => format!("bridge {pid} can no longer be looked at: {error}"),
    };
    eprintln!("{end}. The page stays until Ctrl-C.");
    feed.push(&step_entry(SystemTime::now(), "bridge", &end), false);
}
