//! Growth with the length of a session: memory of a bridge that has carried millions of calls of several kinds.

use std::time::{Duration, Instant};

use super::curve::Expected::Flat;
use super::{Curve, Ground, LIMIT};
use crate::app;
use crate::contender::Contender;
use crate::process;
use crate::wire::{Call, Era, Reply, Tool};
use crate::work::{Work, calls};

/// Calls in an hour.
const CALLS_PER_HOUR: f64 = 10e6;

/// A session of a minute has more for its time, so that memory that is not given back shows.
const LEAST_CALLS: f64 = 1e6;

/// The session is that many bursts of calls, with idle time after each.
const BURSTS: usize = 480;

/// Points of the curve.
const POINTS: usize = 8;

/// Calls under way at once.
const WINDOW: usize = 64;

/// Of a hundred calls, and what each asks for.
const MIX: [(usize, Tool); 5] = [
    (50, Tool::Echo(Reply::Json)),
    (30, Tool::Echo(Reply::Sse)),
    (9, Tool::Give(10_000, Reply::Json)),
    (1, Tool::Give(200_000, Reply::Sse)),
    (10, Tool::Progress(5)),
];

pub(super) fn curves(ground: &Ground<'_>) -> Result<Vec<Curve>, String> {
    let contenders = [
        Contender::least(ground.least),
        Contender::ours(ground.program),
    ];
    let total = (CALLS_PER_HOUR * ground.effort.hours).max(LEAST_CALLS);
    let hundreds = (total / BURSTS as f64 / 100.0).round() as usize;
    let per_burst = hundreds * 100;
    let per_point = BURSTS / POINTS;
    let xs: Vec<f64> = (1..=POINTS)
        .map(|point| (point * per_point * per_burst) as f64)
        .collect();
    let by = "calls in the session";
    let mut curves = [
        ("A long session, memory (RSS)", "MB"),
        ("A long session, private memory", "MB"),
        ("A long session, time of the last calls", "µs per call"),
    ]
    .map(|(title, unit)| Curve::new(title, by, unit, Flat, &xs, &contenders));
    let url = ground.host.legacy();
    let mut drivers = Vec::new();
    for contender in &contenders {
        drivers.push(contender.start(&url)?.0);
    }
    let length = Duration::from_secs_f64(3600.0 * ground.effort.hours);
    let began = Instant::now();
    for burst in 0..BURSTS {
        let point = burst / per_point;
        for (at, driver) in drivers.iter_mut().enumerate() {
            let work = Work {
                calls: mixed(ground, hundreds),
                window: WINDOW,
                era: Era::Legacy,
            };
            let done = driver.run(work, LIMIT);
            let done = done.map_err(|fault| format!("{}: {fault}", contenders[at].name))?;
            curves[2].add(
                at,
                point,
                done.elapsed.as_secs_f64() / per_burst as f64 * 1e6,
            );
            if (burst + 1) % per_point == 0 {
                let pid = driver.pid();
                curves[0].add_memory(at, point, process::memory(pid));
                let private = process::pages(pid).map(|pages| pages.private);
                curves[1].add_memory(at, point, private);
                eprintln!("{} of {POINTS}: {}", point + 1, contenders[at].name);
            }
        }
        let due = length.mul_f64((burst + 1) as f64 / BURSTS as f64);
        app::pause(due.saturating_sub(began.elapsed()));
    }
    Ok(curves.into())
}

/// Calls of all kinds, mixed.
fn mixed(ground: &Ground<'_>, hundreds: usize) -> Vec<Call> {
    let mut all = Vec::new();
    for _ in 0..hundreds {
        for (count, tool) in &MIX {
            all.extend(calls(tool, ground.ids(*count), *count, Era::Legacy));
        }
    }
    all
}
