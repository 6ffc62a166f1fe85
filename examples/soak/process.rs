//! What a process uses, as far as the system tells.

use std::{fmt, fs};

use crate::{SPARE_DESCRIPTORS, SPARE_MEMORY_KIB};

/// Samples at the beginning that are not compared: the process still grows into its work.
const WARM_UP: usize = 2;

/// Memory and descriptors of a process. Only Linux tells them in this way; elsewhere all are zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    resident_kib: u64,
    /// The most it ever had.
    pub(crate) peak_kib: u64,
    descriptors: usize,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            number.unwrap_or(0)
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        Self {
            resident_kib: kib("VmRSS:"),
            peak_kib: kib("VmHWM:"),
            descriptors: descriptors.map_or(0, Iterator::count),
        }
    }

    /// What the process has kept although it is done.
    pub(crate) fn excess_over(&self, before: &Self, during: &[Self]) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.descriptors > before.descriptors + SPARE_DESCRIPTORS {
            let (had, has) = (before.descriptors, self.descriptors);
            complaints.push(format!("{has} descriptors, after {had} at the beginning"));
        }
        let warm = during.get(WARM_UP).unwrap_or(before).resident_kib;
        if self.resident_kib > warm + SPARE_MEMORY_KIB {
            let has = self.resident_kib;
            complaints.push(format!(
                "{has} KiB of memory, after {warm} KiB when it was warm"
            ));
        }
        complaints
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5} KiB  {:>11}", self.resident_kib, self.descriptors)
    }
}
