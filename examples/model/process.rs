//! Processes as the system shows them: memory, descriptors, sockets, arguments; and signals to them.

use std::{fs, net::SocketAddr, path::Path};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// The largest a process may ever be, in KiB. Debug builds have larger pages of code.
const MOST_MEMORY_KIB: u64 = 160 * 1024;

/// The most descriptors that a bridge needs with all of its requests under way.
const MOST_DESCRIPTORS: usize = 120;

/// Descriptors that a bridge may have more in the end: an idle connection for each of the requests that were under way at
/// once, which it keeps for a while.
const SPARE_DESCRIPTORS: usize = 24;
const SPARE_MEMORY_KIB: u64 = 24 * 1024;

/// Memory and descriptors of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
}

impl Usage {
    /// None for a process that has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            resident_kib: line.trim().strip_suffix(" kB")?.parse().ok()?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(),
        })
    }

    /// Usage that is too much at any time.
    pub(crate) fn excess(&self) -> Option<String> {
        let Self {
            resident_kib,
            descriptors,
        } = self;
        if *resident_kib > MOST_MEMORY_KIB {
            return Some(format!("{resident_kib} KiB of memory"));
        }
        (*descriptors > MOST_DESCRIPTORS).then(|| format!("{descriptors} descriptors"))
    }

    /// Resources that the process has kept although it is done.
    pub(crate) fn excess_over(&self, before: &Self) -> Option<String> {
        if self.descriptors > before.descriptors + SPARE_DESCRIPTORS {
            let (had, has) = (before.descriptors, self.descriptors);
            return Some(format!("{has} descriptors, after {had} at the beginning"));
        }
        let (had, has) = (before.resident_kib, self.resident_kib);
        (has > had + SPARE_MEMORY_KIB)
            .then(|| format!("{has} KiB of memory, after {had} at the beginning"))
    }
}

/// Sends a signal to a process that may have ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// State of the disk for bridges that write files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Free,
    Full,
}

/// Makes writes to files fail in this process, or work again. It has to ignore `SIGXFSZ`.
pub(crate) fn set_disk(pid: u32, disk: Disk) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let current = match disk {
        Disk::Free => None,
        Disk::Full => Some(0),
    };
    let _ = prlimit(
        Some(pid),
        Resource::Fsize,
        Rlimit {
            current,
            maximum: None,
        },
    );
}

/// Finds the one of these processes that has the other end of a connection on this machine, whose address is `peer`.
pub(crate) fn owner(peer: SocketAddr, pids: &[u32]) -> Option<u32> {
    let inode = inode(peer)?;
    let link = format!("socket:[{inode}]");
    pids.iter().copied().find(|pid| {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            return false;
        };
        let mut links = entries.flatten().map(|entry| fs::read_link(entry.path()));
        links.any(|target| target.is_ok_and(|target| target == Path::new(&link)))
    })
}

/// The inode of the socket with this local port.
fn inode(local: SocketAddr) -> Option<String> {
    const LOCAL: usize = 1;
    const INODE: usize = 9;
    let port = format!(":{:04X}", local.port());
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables.into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let is_it = fields.get(LOCAL)?.ends_with(&port);
            let inode = fields.get(INODE).filter(|inode| is_it && **inode != "0");
            inode.map(|inode| (*inode).to_owned())
        })
    })
}

/// A process of this run.
pub(crate) struct Found {
    pub(crate) pid: u32,
    pub(crate) arguments: String,
}

/// All processes that have `mark` in their environment, which children inherit.
pub(crate) fn marked(mark: &str) -> Vec<Found> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.filter_map(|pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let has_mark = environment
            .split(|byte| *byte == 0)
            .any(|it| it == mark.as_bytes());
        if !has_mark {
            return None;
        }
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        Some(Found { pid, arguments })
    });
    found.collect()
}
