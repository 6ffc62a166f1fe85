//! Growth with the number of bridges on one machine: memory, start, CPU time of idle ones.

use std::time::Duration;

use super::curve::Expected::{Flat, Linear};
use super::{Curve, Ground};
use crate::app;
use crate::contender::{Contender, Driver};
use crate::figures::median;
use crate::process::{self, Pages};

const BRIDGES: [usize; 5] = [1, 10, 50, 100, 200];

/// Time in which bridges come to rest after their start.
const SETTLING: Duration = Duration::from_millis(500);

/// Time for which idle bridges are watched.
const IDLE: Duration = Duration::from_secs(4);

/// The time that CPU time is given for, in seconds.
const IDLE_UNIT: f64 = 10.0;

pub(super) fn curves(ground: &Ground<'_>) -> Result<Vec<Curve>, String> {
    let contenders = [
        Contender::least(ground.least),
        Contender::ours(ground.program),
    ];
    let xs = BRIDGES.map(|count| count as f64);
    let by = "bridges";
    let mut all = [
        Curve::new(
            "Bridges on the machine, memory (PSS)",
            by,
            "MB",
            Linear,
            &xs,
            &contenders,
        ),
        Curve::new(
            "Bridges on the machine, start of a further one",
            by,
            "ms",
            Flat,
            &xs,
            &contenders,
        ),
        Curve::new(
            "Idle bridges, CPU in 10 s",
            by,
            "ms",
            Linear,
            &xs,
            &contenders,
        ),
    ];
    for (at, contender) in contenders.iter().enumerate() {
        let mut bridges: Vec<Driver> = Vec::new();
        for (point, count) in BRIDGES.into_iter().enumerate() {
            let mut starts = Vec::new();
            // The first one is measured by another that leaves again.
            let (_, took) = contender.start(&ground.host.legacy())?;
            starts.push(took.as_secs_f64() * 1e3);
            while bridges.len() < count {
                let (bridge, took) = contender.start(&ground.host.legacy())?;
                starts.push(took.as_secs_f64() * 1e3);
                bridges.push(bridge);
            }
            // Those that started last found as many beside them as the point says.
            let last = starts.split_off(starts.len().saturating_sub(10));
            all[1].add(at, point, median(last).ok_or("no start")?);
            app::pause(SETTLING);
            let pages: Option<Vec<Pages>> = bridges
                .iter()
                .map(|bridge| process::pages(bridge.pid()))
                .collect();
            if let Some(pages) = pages {
                all[0].add(
                    at,
                    point,
                    pages.iter().map(|pages| pages.proportional).sum(),
                );
            }
            let before: Vec<_> = bridges
                .iter()
                .map(|bridge| process::times(bridge.pid()))
                .collect();
            app::pause(IDLE);
            let grown = bridges
                .iter()
                .zip(&before)
                .map(|(bridge, before)| process::times(bridge.pid()).since(before));
            let share = IDLE_UNIT / IDLE.as_secs_f64();
            all[2].add(at, point, grown.sum::<f64>() * 1e3 * share);
        }
    }
    Ok(all.into())
}
