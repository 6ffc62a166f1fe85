//! Memory and CPU time of a process and its children, on Linux.

use std::collections::HashMap;
use std::fs;

/// CPU time of each thread of a tree of processes, in nanoseconds.
pub(crate) struct Times(HashMap<(u32, u32), u64>);

/// CPU times of the tree now.
pub(crate) fn times(pid: u32) -> Times {
    let threads = tree(pid).into_iter().flat_map(|process| {
        let tasks = tasks(process).into_iter();
        tasks.map(move |task| (process, task))
    });
    let time = |(process, task)| {
        let path = format!("/proc/{process}/task/{task}/schedstat");
        let text = fs::read_to_string(path).ok()?;
        let first = text.split_whitespace().next()?.parse().ok()?;
        Some(((process, task), first))
    };
    Times(threads.filter_map(time).collect())
}

impl Times {
    /// CPU time since then, in seconds. What a thread took that has ended meanwhile is not known.
    pub(crate) fn since(&self, before: &Self) -> f64 {
        let threads = self.0.iter();
        let grown = threads.map(|(thread, now)| now - before.0.get(thread).unwrap_or(&0));
        grown.sum::<u64>() as f64 / 1e9
    }
}

/// CPU time of the tree, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let nanoseconds: u64 = times(pid).0.values().sum();
    (nanoseconds > 0).then(|| nanoseconds as f64 / 1e9)
}

/// Memory of the tree now, in MB (10^6 bytes).
pub(crate) fn memory(pid: u32) -> Option<f64> {
    megabytes(pid, "VmRSS:")
}

/// The most that the tree has had since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> Option<f64> {
    megabytes(pid, "VmHWM:")
}

/// Pages of a process, in MB (10^6 bytes).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pages {
    /// Proportional set size: a page that n processes share counts as 1/n of it.
    pub(crate) proportional: f64,
    /// Pages that no other process has.
    pub(crate) private: f64,
}

/// The pages of the tree now.
pub(crate) fn pages(pid: u32) -> Option<Pages> {
    let mut pages = Pages::default();
    for process in tree(pid) {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(kib)) = (words.next(), words.next()) else {
                continue;
            };
            let megabytes = kib.parse::<f64>().unwrap_or(0.0) * 1024.0 / 1e6;
            match name {
                "Pss:" => pages.proportional += megabytes,
                "Private_Clean:" | "Private_Dirty:" => pages.private += megabytes,
                _ => {}
            }
        }
    }
    Some(pages)
}

pub(crate) fn forget_peak(pid: u32) {
    for process in tree(pid) {
        // Without it the peak is that of the whole life.
        let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
    }
}

fn megabytes(pid: u32, name: &str) -> Option<f64> {
    let kib = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
    };
    let all: Vec<f64> = tree(pid).into_iter().filter_map(kib).collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() * 1024.0 / 1e6)
}

/// A process, its children and theirs.
fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(process) = all.get(at).copied() {
        for task in tasks(process) {
            let path = format!("/proc/{process}/task/{task}/children");
            let text = fs::read_to_string(path).unwrap_or_default();
            all.extend(
                text.split_whitespace()
                    .filter_map(|word| word.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    all
}

fn tasks(process: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}
