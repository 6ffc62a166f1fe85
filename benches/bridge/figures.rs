//! The figures: what each is called, how it is shown, and what the bridge has to reach.

use std::collections::BTreeMap;

use crate::contender::Role;

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    Start,
    StartCpu,
    Requests,
    Idle,
    PssOne,
    PssTen,
    PrivateTen,
    CallJson,
    CallSse,
    WorstJson,
    WorstSse,
    RateJson,
    RateSse,
    Cpu,
    Crowd,
    CrowdWorst,
    CrowdRate,
    CrowdPeak,
    ResultJson,
    ResultSse,
    LargeJson,
    LargeSse,
    LargeRequest,
    ResultPeak,
    RequestPeak,
    Progress,
    Push,
    BesideSlow,
    IdleCpu,
    Exit,
    Deleted,
    InFlight,
    Binary,
    Flat,
}

/// Format of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    Decimals(usize),
    /// In thousands.
    Thousands,
    YesNo,
}

/// Contender that a figure is compared with, and the bound. Values that grow with speed are named rates.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times what this contender has.
    Times(Role, f64),
    /// At least so many times the rate that this contender has.
    Rate(Role, f64),
    AtMost(f64),
    Yes,
}

pub(crate) struct Row {
    pub(crate) figure: Figure,
    pub(crate) title: &'static str,
    pub(crate) format: Format,
    pub(crate) goal: Goal,
}

const fn row(figure: Figure, title: &'static str, format: Format, goal: Goal) -> Row {
    Row {
        figure,
        title,
        format,
        goal,
    }
}

/// The table, from top to bottom.
pub(crate) const ROWS: [Row; 34] = {
    use Figure as F;
    use Format::{Decimals, Thousands, YesNo};
    use Goal::{AtMost, Rate, Times, Yes};
    use Role::Least;
    [
        row(
            F::Start,
            "spawn → `initialize` answered, ms",
            Decimals(2),
            Times(Least, 1.7),
        ),
        row(
            F::StartCpu,
            "CPU until then, ms",
            Decimals(2),
            Times(Least, 1.7),
        ),
        row(
            F::Requests,
            "HTTP requests before it",
            Decimals(0),
            AtMost(1.0),
        ),
        row(F::Idle, "memory idle (RSS), MB", Decimals(1), AtMost(5.0)),
        row(
            F::PssOne,
            "one bridge, idle (PSS), MB",
            Decimals(1),
            AtMost(4.0),
        ),
        row(
            F::PssTen,
            "ten bridges, idle (PSS), MB",
            Decimals(1),
            AtMost(11.0),
        ),
        row(
            F::PrivateTen,
            "private memory of each of ten, MB",
            Decimals(2),
            AtMost(0.8),
        ),
        row(
            F::CallJson,
            "one small call, p50, µs, JSON",
            Decimals(0),
            Times(Least, 1.08),
        ),
        row(F::CallSse, "the same, SSE", Decimals(0), Times(Least, 1.08)),
        row(
            F::WorstJson,
            "one small call, p99, µs, JSON",
            Decimals(0),
            Times(Least, 1.08),
        ),
        row(
            F::WorstSse,
            "the same, SSE",
            Decimals(0),
            Times(Least, 1.08),
        ),
        row(
            F::RateJson,
            "64 in flight, calls/s, JSON",
            Decimals(0),
            Rate(Least, 0.9),
        ),
        row(F::RateSse, "the same, SSE", Decimals(0), Rate(Least, 0.9)),
        row(
            F::Cpu,
            "CPU s per 10,000 calls",
            Decimals(3),
            Times(Least, 1.2),
        ),
        row(
            F::Crowd,
            "512 in flight, p50, ms",
            Decimals(1),
            Times(Least, 1.15),
        ),
        row(
            F::CrowdWorst,
            "512 in flight, p99, ms",
            Decimals(1),
            Times(Least, 1.15),
        ),
        row(
            F::CrowdRate,
            "512 in flight, calls/s",
            Decimals(0),
            Rate(Least, 0.85),
        ),
        row(
            F::CrowdPeak,
            "peak memory then, MB",
            Decimals(1),
            Times(Least, 1.3),
        ),
        row(
            F::ResultJson,
            "1 MB result, ms, JSON",
            Decimals(2),
            Times(Least, 1.15),
        ),
        row(
            F::ResultSse,
            "the same, SSE",
            Decimals(2),
            Times(Least, 1.15),
        ),
        row(
            F::LargeJson,
            "16 MB result, ms, JSON",
            Decimals(1),
            Times(Least, 1.15),
        ),
        row(
            F::LargeSse,
            "the same, SSE",
            Decimals(1),
            Times(Least, 1.15),
        ),
        row(
            F::LargeRequest,
            "16 MB request, ms",
            Decimals(1),
            Times(Least, 0.9),
        ),
        row(
            F::ResultPeak,
            "peak memory, 16 MB result, MB",
            Decimals(1),
            AtMost(30.0),
        ),
        row(
            F::RequestPeak,
            "peak memory, 16 MB request, MB",
            Decimals(1),
            AtMost(75.0),
        ),
        row(
            F::Progress,
            "progress notifications, 1000/s, in order",
            Thousands,
            Rate(Least, 0.8),
        ),
        row(
            F::Push,
            "the same on the session's own stream",
            Thousands,
            Rate(Least, 0.8),
        ),
        row(
            F::BesideSlow,
            "a small call while 12 slow ones are open, ms",
            Decimals(2),
            AtMost(2.0),
        ),
        row(F::IdleCpu, "idle, CPU ms in 10 s", Decimals(2), AtMost(0.2)),
        row(F::Exit, "stdin EOF → exit, ms", Decimals(2), AtMost(5.0)),
        row(F::Deleted, "its session DELETEd", YesNo, Yes),
        row(
            F::InFlight,
            "a call in flight at EOF is answered",
            YesNo,
            Yes,
        ),
        row(
            F::Binary,
            "program, without its runtime, MB",
            Decimals(2),
            AtMost(7.0),
        ),
        row(
            F::Flat,
            "memory after 100,000 calls ÷ after 10,000",
            Decimals(2),
            AtMost(1.1),
        ),
    ]
};

/// Measurements of one contender: a value for each round, or why there is none.
#[derive(Default)]
pub(crate) struct Measured {
    values: BTreeMap<Figure, Vec<f64>>,
    faults: BTreeMap<Figure, String>,
}

impl Measured {
    pub(crate) fn add(&mut self, figure: Figure, value: f64) {
        self.values.entry(figure).or_default().push(value);
    }

    pub(crate) fn fail(&mut self, figure: Figure, fault: String) {
        self.faults.insert(figure, fault);
    }

    pub(crate) fn fault(&self, figure: Figure) -> Option<&str> {
        self.faults.get(&figure).map(String::as_str)
    }

    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        median(self.values.get(&figure)?.clone())
    }

    /// Ratio to the other's value: the median over the rounds.
    pub(crate) fn ratio(&self, to: &Self, figure: Figure) -> Option<f64> {
        let (mine, theirs) = (self.values.get(&figure)?, to.values.get(&figure)?);
        median(
            mine.iter()
                .zip(theirs)
                .map(|(mine, theirs)| mine / theirs)
                .collect(),
        )
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

impl Format {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Decimals(decimals) => format!("{value:.decimals$}"),
            Self::Thousands => format!("{:.1}", value / 1000.0),
            Self::YesNo if value > 0.0 => "yes".to_owned(),
            Self::YesNo => "no".to_owned(),
        }
    }
}
