//! Curves: a quantity at several points for each contender, and its growth, as an exponent and a verdict.

use std::fmt;

use crate::contender::{Contender, Role};
use crate::figures::median;

/// The growth is taken from the last points, where constant costs count least: from so many at least, and from all within
/// the last decade, for over a shorter range the scatter of a flat cost would look like growth.
const TAIL: usize = 3;
const DECADE: f64 = 10.0;

/// A cost that grows with a lower power than this is called flat: a tenth of the points' range is noise.
const FLAT: f64 = 0.15;

/// A cost that grows with a lower power than this is called linear.
const LINEAR: f64 = 1.15;

/// An exponent that is higher than that of the limit by no more than this is the machine's, not the bridge's.
const NOISE: f64 = 0.1;

/// Permitted growth of a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Flat,
    Linear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Flat,
    Linear,
    /// Worse than expected, as what it is compared with.
    WorseAsReference,
    Worse,
}

pub(crate) struct Curve {
    pub(crate) title: &'static str,
    /// Name of the quantity.
    pub(crate) by: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) expected: Expected,
    pub(crate) xs: Vec<f64>,
    pub(crate) series: Vec<Series>,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// For each point, the values of all rounds.
    values: Vec<Vec<f64>>,
    pub(crate) fault: Option<String>,
}

impl Curve {
    pub(crate) fn new(
        title: &'static str,
        by: &'static str,
        unit: &'static str,
        expected: Expected,
        xs: &[f64],
        contenders: &[Contender],
    ) -> Self {
        let series = contenders.iter().map(|contender| Series {
            name: contender.name.clone(),
            role: contender.role,
            values: vec![Vec::new(); xs.len()],
            fault: None,
        });
        Self {
            title,
            by,
            unit,
            expected,
            xs: xs.to_vec(),
            series: series.collect(),
        }
    }

    pub(crate) fn points(&self) -> usize {
        self.xs.len()
    }

    pub(crate) fn add(&mut self, series: usize, point: usize, value: f64) {
        self.series[series].values[point].push(value);
    }

    /// Memory of the driver itself says nothing, so the limit has none.
    pub(crate) fn add_memory(&mut self, series: usize, point: usize, value: Option<f64>) {
        if let Some(value) = value.filter(|_| self.series[series].role != Role::Limit) {
            self.add(series, point, value);
        }
    }

    /// Contender that the bridge's growth is compared with: the limit, or the least where that has none.
    pub(crate) fn reference(&self) -> Option<&Series> {
        [Role::Limit, Role::Least].into_iter().find_map(|role| {
            let mut all = self.series.iter();
            all.find(|series| series.role == role && series.value(0).is_some())
        })
    }

    /// The verdict on a series; none if too little is known.
    pub(crate) fn verdict(&self, series: &Series) -> Option<Verdict> {
        let exponent = series.exponent(&self.xs)?;
        let bound = match self.expected {
            Expected::Flat => FLAT,
            Expected::Linear => LINEAR,
        };
        let reference = self.reference().and_then(|other| other.exponent(&self.xs));
        Some(if exponent <= FLAT {
            Verdict::Flat
        } else if exponent <= bound {
            Verdict::Linear
        } else if reference.is_some_and(|other| exponent <= other + NOISE) {
            Verdict::WorseAsReference
        } else {
            Verdict::Worse
        })
    }
}

impl Series {
    /// A series of the same contender, without values.
    pub(crate) fn empty(&self) -> Self {
        Self {
            name: self.name.clone(),
            role: self.role,
            values: vec![Vec::new(); self.values.len()],
            fault: self.fault.clone(),
        }
    }

    pub(crate) fn value(&self, point: usize) -> Option<f64> {
        median(self.values[point].clone())
    }

    /// The power of x with which the value grows at the end: the slope of the straight line through the logarithms.
    pub(crate) fn exponent(&self, xs: &[f64]) -> Option<f64> {
        let last = *xs.last()?;
        let in_decade = xs.iter().filter(|x| **x * DECADE >= last).count();
        let tail = in_decade.max(TAIL);
        let points = xs.iter().enumerate().skip(xs.len().saturating_sub(tail));
        let logarithms: Option<Vec<_>> = points
            .map(|(point, x)| {
                let y = self.value(point).filter(|y| *y > 0.0)?;
                Some((x.ln(), y.ln()))
            })
            .collect();
        slope(&logarithms?)
    }

    /// Cost of one more of x: the slope of the straight line through the values.
    pub(crate) fn each(&self, xs: &[f64]) -> Option<f64> {
        let points = xs.iter().enumerate();
        let points: Option<Vec<_>> = points
            .map(|(point, x)| Some((*x, self.value(point)?)))
            .collect();
        slope(&points?)
    }
}

/// The slope of the straight line with the least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        let dx = point.0 - x;
        (above + dx * (point.1 - y), below + dx * dx)
    });
    (below > 0.0).then(|| above / below)
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flat => "flat",
            Self::Linear => "linear",
            Self::WorseAsReference => "grows, as the limit",
            Self::Worse => "worse",
        })
    }
}

/// A number with three digits that count.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        return thousands(value);
    }
    let decimals = match size {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        0.01.. => 4,
        _ if size == 0.0 => 0,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

fn thousands(value: f64) -> String {
    let mut text = format!("{value:.0}");
    let mut at = text.len();
    let first = usize::from(value < 0.0);
    while at > first + 3 {
        at -= 3;
        text.insert(at, ',');
    }
    text
}
