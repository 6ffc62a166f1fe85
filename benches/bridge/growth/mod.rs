//! Growth: what one more call, byte, tool, notification, bridge or millisecond costs, beside the limit.

mod bridges;
mod curve;
mod network;
mod plot;
mod proxy;
mod report;
mod session;
mod volume;

use std::cell::Cell;
use std::time::Duration;

use clap::ValueEnum;

use crate::contender::{Contender, Driver};
use crate::host::Host;
use crate::wire::{Era, Tool};
use crate::work::{Done, Work, calls};

pub(crate) use curve::Curve;
pub(crate) use plot::svg;
pub(crate) use report::{json, markdown};

/// Limit for one measurement: a million notifications and 256 MB need a few seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Above the largest message that is measured, in MiB, as the bridge's option takes it.
const LARGEST_MESSAGE: &str = "512";

/// Subjects of the curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Calls in flight
    Calls,
    /// Size of messages
    Messages,
    /// Tools in a list
    Lists,
    /// Notifications in a session
    Notifications,
    /// Bridges on the machine
    Bridges,
    /// Calls in a long session
    Session,
    /// Delay of the network
    Delay,
    /// Calls in flight over TLS and HTTP/2
    Protocols,
}

/// Extent of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// The length of the long session.
    pub(crate) hours: f64,
}

/// State that all measurements share.
pub(crate) struct Ground<'a> {
    host: &'a Host,
    least: &'a str,
    program: &'a str,
    effort: Effort,
    next_id: Cell<u64>,
}

impl<'a> Ground<'a> {
    /// The server, and the executables of the least bridge and of mcp-bridge.
    pub(crate) fn new(host: &'a Host, least: &'a str, program: &'a str, effort: Effort) -> Self {
        Self {
            host,
            least,
            program,
            effort,
            next_id: Cell::new(1),
        }
    }

    pub(crate) fn measure(&self, subject: Subject) -> Result<Vec<Curve>, String> {
        eprintln!("growth: {subject:?}");
        match subject {
            Subject::Calls => Ok(volume::calls(self)),
            Subject::Messages => Ok(volume::messages(self)),
            Subject::Lists => Ok(volume::lists(self)),
            Subject::Notifications => Ok(volume::notifications(self)),
            Subject::Bridges => bridges::curves(self),
            Subject::Session => session::curves(self),
            Subject::Delay => network::delay(self),
            Subject::Protocols => Ok(network::protocols(self)),
        }
    }

    /// The limit, the least and mcp-bridge.
    fn contenders(&self) -> Vec<Contender> {
        vec![
            Contender::limit(),
            Contender::least(self.least),
            self.ours(),
        ]
    }

    fn ours(&self) -> Contender {
        Contender::ours(self.program).with(["--max-message-size", LARGEST_MESSAGE])
    }

    /// Makes so many calls of a tool, of which `window` are under way at once.
    fn work(
        &self,
        driver: &mut Driver,
        tool: &Tool,
        count: usize,
        window: usize,
    ) -> Result<Done, String> {
        let work = Work {
            calls: calls(tool, self.ids(count), count, Era::Legacy),
            window,
            era: Era::Legacy,
        };
        driver.run(work, LIMIT)
    }

    /// The first of so many ids that no other call has.
    fn ids(&self, count: usize) -> u64 {
        let first = self.next_id.get();
        self.next_id.set(first + count as u64);
        first
    }

    /// Visits each contender at each point, in another order each round. One that fails is not asked again; its fault goes into
    /// the curves.
    fn sweep<const N: usize>(
        &self,
        curves: &mut [Curve; N],
        mut visit: impl FnMut(&mut [Curve; N], usize, usize) -> Result<(), String>,
    ) {
        let (points, contenders) = (curves[0].points(), curves[0].series.len());
        for round in 0..self.effort.rounds {
            for point in 0..points {
                for turn in 0..contenders {
                    let at = (turn + round) % contenders;
                    if curves[0].series[at].fault.is_some() {
                        continue;
                    }
                    if let Err(fault) = visit(curves, point, at) {
                        let series = &curves[0].series[at];
                        let x = curves[0].xs[point];
                        let fault = format!("at {x}: {fault}");
                        eprintln!("{}: {}: {fault}", curves[0].title, series.name);
                        for curve in curves.iter_mut() {
                            curve.series[at].fault = Some(fault.clone());
                        }
                    }
                }
            }
        }
    }
}
