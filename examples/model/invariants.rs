//! Invariants: those that hold at any time, and those at the end.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use mcp_bridge_testkit::{HEADER_MARKER, SESSION_MARKER};

use crate::{
    authority::TOKEN_MARKER,
    process::{self, Found, Usage},
    world::{APPS, Shared},
};

/// Between two looks at processes and files.
const LOOK: Duration = Duration::from_secs(2);

/// Longest stay of a helper after the last bridge. It checks once a second whether it is needed.
const LAST_PROCESS: Duration = Duration::from_secs(20);
const LAST_LOOK: Duration = Duration::from_millis(250);

/// The secret in a text that must have none.
pub(crate) fn secret_in(text: &str) -> Option<&'static str> {
    let secrets = [TOKEN_MARKER, HEADER_MARKER, SESSION_MARKER];
    secrets.into_iter().find(|secret| text.contains(*secret))
}

/// Looks at processes and files again and again.
pub(crate) async fn watch(shared: Arc<Shared>) {
    loop {
        sleep(LOOK).await;
        let shared = shared.clone();
        let looked = tokio::task::spawn_blocking(move || look(&shared)).await;
        looked.expect("looking does not panic");
    }
}

fn look(shared: &Shared) {
    for Found { pid, arguments } in process::marked(&shared.mark) {
        if let Some(secret) = secret_in(&arguments) {
            shared
                .report
                .violate(format!("process {pid} shows {secret}: {arguments}"));
        }
        if let Some(excess) = Usage::of(pid).and_then(|usage| usage.excess()) {
            shared
                .report
                .violate(format!("process {pid} has {excess}: {arguments}"));
        }
    }
    check_stored(shared);
}

/// Files in the data directory are private, and tokens are in credentials alone.
fn check_stored(shared: &Shared) {
    const OTHERS: u32 = 0o077;
    for path in files(&shared.data()) {
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        let name = path.display();
        if found.permissions().mode() & OTHERS != 0 {
            shared.report.violate(format!("others can read {name}"));
        }
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let secret = secret_in(&text).filter(|secret| {
            let is_record = path.extension().is_some_and(|it| it == "json");
            let is_new = name.to_string().contains("/.new-");
            *secret != TOKEN_MARKER || !(is_record || is_new)
        });
        if let Some(secret) = secret {
            shared.report.violate(format!("{name} has {secret}"));
        }
    }
}

/// Invariants once all bridges have ended.
pub(crate) async fn check_end(shared: &Shared) {
    let deadline = Instant::now() + LAST_PROCESS;
    loop {
        let left = process::marked(&shared.mark);
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            for Found { pid, arguments } in left {
                shared
                    .report
                    .violate(format!("process {pid} is left: {arguments}"));
                process::signal(pid, rustix::process::Signal::KILL);
            }
            break;
        }
        sleep(LAST_LOOK).await;
    }
    check_stored(shared);
    check_logs(shared);
    for path in files(&shared.root.join("home")) {
        shared
            .report
            .violate(format!("a file is left at home: {}", path.display()));
    }
}

/// Resources that a process has kept since the beginning.
pub(crate) fn check_usage(shared: &Shared, before: &[Option<Usage>], after: &[Option<Usage>]) {
    for (kind, (before, after)) in APPS.iter().zip(before.iter().zip(after)) {
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        if let Some(excess) = after.excess_over(before) {
            shared.report.violate(format!("{} has {excess}", kind.name));
        }
    }
}

fn check_logs(shared: &Shared) {
    for path in files(&shared.logs()) {
        check_log(shared, &path);
    }
}

/// No log shows a secret.
pub(crate) fn check_log(shared: &Shared, path: &Path) {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    for line in text.lines() {
        if let Some(secret) = secret_in(line) {
            shared
                .report
                .violate(format!("{} shows {secret}: {line}", path.display()));
            return;
        }
    }
}

/// All files below a directory.
fn files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) => files.push(path),
                Err(_) => {}
            }
        }
    }
    files
}
