//! The measurements. All bridges are up at once; each is measured in turn, in another order each round.

use std::time::Duration;

use crate::app::{self, App, Started};
use crate::contender::{Contender, Driver, Role};
use crate::figures::{Figure, Measured, median};
use crate::host::Host;
use crate::process;
use crate::wire::{Era, Reply, Tool};
use crate::work::{Done, Work, calls};

/// Limit for one measurement: the slowest bridges that do not fail need 18 s for one of them.
const LIMIT: Duration = Duration::from_secs(20);

/// Bridges of a kind that are up at once, as in an app with so many servers.
const BRIDGES: usize = 10;

/// Time in which a bridge comes to rest after its start.
const SETTLING: Duration = Duration::from_millis(300);

/// A bridge that needs longer for a call is asked for a tenth of the calls.
const SLOW: Duration = Duration::from_micros(600);

const MEGABYTE: usize = 1_000_000;

/// Extent of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    /// Rounds, of these the first, in which bridges of others take part.
    rounds_of_others: usize,
    starts: usize,
    /// Calls one after the other, and with many in flight.
    pub(crate) single: usize,
    pub(crate) many: usize,
    results: usize,
    large: usize,
    notifications: usize,
    idle: Duration,
    /// Calls after which memory must not have grown.
    flat: Option<usize>,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        rounds_of_others: 5,
        starts: 7,
        single: 2000,
        many: 20_000,
        results: 20,
        large: 3,
        notifications: 50_000,
        idle: Duration::from_secs(10),
        flat: Some(100_000),
    };
    /// With bridges that need a hundred times as long. The others, whose ratios are told, have rounds enough for a median.
    pub(crate) const PEERS: Self = Self {
        rounds: 9,
        rounds_of_others: 3,
        starts: 5,
        ..Self::FULL
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 2,
        rounds_of_others: 2,
        starts: 5,
        single: 1000,
        many: 6000,
        results: 10,
        large: 2,
        notifications: 20_000,
        idle: Duration::from_secs(3),
        flat: None,
    };
}

/// A measurement, which may give several figures.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Start,
    Single(Reply),
    Many(Reply),
    Crowd,
    Result(Reply),
    Large(Reply),
    LargeRequest,
    Progress,
    Push,
    BesideSlow,
    InFlight,
}

const PHASES: [Phase; 14] = [
    Phase::Start,
    Phase::Single(Reply::Json),
    Phase::Single(Reply::Sse),
    Phase::Many(Reply::Json),
    Phase::Many(Reply::Sse),
    Phase::Crowd,
    Phase::Result(Reply::Json),
    Phase::Result(Reply::Sse),
    Phase::Large(Reply::Json),
    Phase::Large(Reply::Sse),
    Phase::LargeRequest,
    Phase::Progress,
    Phase::Push,
    Phase::BesideSlow,
];

/// Those that concern bridges alone.
const ENDINGS: [Phase; 1] = [Phase::InFlight];

impl Phase {
    /// The figures that are missing if the measurement fails.
    const fn figures(self) -> &'static [Figure] {
        use Figure as F;
        match self {
            Self::Start => &[F::Start, F::StartCpu],
            Self::Single(Reply::Json) => &[F::CallJson, F::WorstJson],
            Self::Single(Reply::Sse) => &[F::CallSse, F::WorstSse],
            Self::Many(Reply::Json) => &[F::RateJson, F::Cpu],
            Self::Many(Reply::Sse) => &[F::RateSse],
            Self::Crowd => &[F::Crowd, F::CrowdWorst, F::CrowdRate, F::CrowdPeak],
            Self::Result(Reply::Json) => &[F::ResultJson],
            Self::Result(Reply::Sse) => &[F::ResultSse],
            Self::Large(Reply::Json) => &[F::LargeJson, F::ResultPeak],
            Self::Large(Reply::Sse) => &[F::LargeSse],
            Self::LargeRequest => &[F::LargeRequest, F::RequestPeak],
            Self::Progress => &[F::Progress],
            Self::Push => &[F::Push],
            Self::BesideSlow => &[F::BesideSlow],
            Self::InFlight => &[F::InFlight],
        }
    }
}

/// A contender that is up.
struct Lane {
    contender: Contender,
    measured: Measured,
    driver: Option<Driver>,
    /// Share of the whole work that it is asked for.
    share: f64,
}

pub(crate) struct Bench<'a> {
    host: &'a Host,
    sizes: Sizes,
    lanes: Vec<Lane>,
    next_id: u64,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(host: &'a Host, sizes: Sizes, contenders: Vec<Contender>) -> Self {
        let lane = |contender| Lane {
            contender,
            measured: Measured::default(),
            driver: None,
            share: 1.0,
        };
        Self {
            host,
            sizes,
            lanes: contenders.into_iter().map(lane).collect(),
            next_id: 1,
        }
    }

    pub(crate) fn run(mut self) -> Vec<(Contender, Measured)> {
        for at in 0..self.lanes.len() {
            self.bring_up(at);
        }
        self.idle();
        for round in 0..self.sizes.rounds {
            for phase in PHASES.into_iter().chain(ENDINGS) {
                eprintln!("round {} of {}: {phase:?}", round + 1, self.sizes.rounds);
                for turn in 0..self.lanes.len() {
                    let at = (turn + round) % self.lanes.len();
                    if round < self.sizes.rounds_of_others || !self.is_of_others(at) {
                        self.measure(phase, at);
                    }
                }
            }
        }
        if let Some(calls) = self.sizes.flat {
            self.flat(calls);
        }
        let lanes = self.lanes.into_iter();
        lanes.map(|lane| (lane.contender, lane.measured)).collect()
    }

    fn is_of_others(&self, at: usize) -> bool {
        self.lanes[at].contender.role == Role::Other
    }

    /// Starts a contender that stays for the whole run, and looks how fast it is.
    fn bring_up(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        eprintln!("starting {}", lane.contender.name);
        if let Some(bytes) = lane.contender.installed {
            lane.measured.add(Figure::Binary, bytes as f64 / 1e6);
        }
        match lane.contender.start(&self.host.legacy()) {
            Ok((mut driver, _)) => {
                if let Driver::App(app) = &mut driver {
                    app.settle(SETTLING);
                    if let Some(memory) = process::memory(app.pid()) {
                        lane.measured.add(Figure::Idle, memory);
                    }
                    if let Some(pages) = process::pages(app.pid()) {
                        let one = pages.proportional;
                        lane.measured.add(Figure::PssOne, one);
                    }
                }
                lane.driver = Some(driver);
            }
            Err(fault) => {
                for phase in PHASES.iter().chain(&ENDINGS) {
                    for figure in phase.figures() {
                        lane.measured.fail(*figure, fault.clone());
                    }
                }
                return;
            }
        }
        if let Err(fault) = self.many_bridges(at) {
            for figure in [Figure::PssTen, Figure::PrivateTen] {
                self.lanes[at].measured.fail(figure, fault.clone());
            }
        }
        if let Ok(done) = self.work(at, &Tool::Echo(Reply::Json), 300, 1)
            && done.quantile(0.5) > SLOW.as_secs_f64()
        {
            self.lanes[at].share = 0.1;
        }
    }

    /// Memory of several bridges of a kind, of which one is up.
    fn many_bridges(&mut self, at: usize) -> Result<(), String> {
        let lane = &mut self.lanes[at];
        let Some(Driver::App(first)) = &lane.driver else {
            return Ok(());
        };
        let mut others = Vec::new();
        for _ in 1..BRIDGES {
            others.push(lane.contender.start(&self.host.legacy())?.0);
        }
        app::pause(SETTLING);
        let pids = others.iter().map(Driver::pid).chain([first.pid()]);
        let pages: Option<Vec<_>> = pids.map(process::pages).collect();
        for pages in pages.iter().flatten() {
            lane.measured.add(Figure::PrivateTen, pages.private);
        }
        if let Some(pages) = pages {
            let all = pages.iter().map(|pages| pages.proportional).sum();
            lane.measured.add(Figure::PssTen, all);
        }
        Ok(())
    }

    fn measure(&mut self, phase: Phase, at: usize) {
        let failed = |figure: &Figure| self.lanes[at].measured.fault(*figure).is_some();
        if phase.figures().iter().any(failed) {
            return;
        }
        if let Err(fault) = self.figures_of(phase, at) {
            let lane = &mut self.lanes[at];
            eprintln!("{}: {phase:?}: {fault}", lane.contender.name);
            for figure in phase.figures() {
                lane.measured.fail(*figure, fault.clone());
            }
            // What it still owes must not be mistaken for what is asked next.
            let again = lane.contender.start(&self.host.legacy());
            lane.driver = again.ok().map(|(driver, _)| driver);
        }
    }

    fn figures_of(&mut self, phase: Phase, at: usize) -> Result<(), String> {
        use Figure as F;
        let sizes = self.sizes;
        match phase {
            Phase::Start => self.starts(at)?,
            Phase::Single(reply) => {
                let done = self.work(at, &Tool::Echo(reply), self.share(at, sizes.single), 1)?;
                let [median, worst] = match reply {
                    Reply::Json => [F::CallJson, F::WorstJson],
                    Reply::Sse => [F::CallSse, F::WorstSse],
                };
                self.add(at, median, done.quantile(0.5) * 1e6);
                self.add(at, worst, done.quantile(0.99) * 1e6);
            }
            Phase::Many(reply) => {
                let count = self.share(at, sizes.many);
                let before = self.cpu(at);
                let done = self.work(at, &Tool::Echo(reply), count, 64)?;
                let after = self.cpu(at);
                let rate = count as f64 / done.elapsed.as_secs_f64();
                match reply {
                    Reply::Json => {
                        self.add(at, F::RateJson, rate);
                        if let (Some(before), Some(after)) = (before, after) {
                            self.add(at, F::Cpu, (after - before) / count as f64 * 1e4);
                        }
                    }
                    Reply::Sse => self.add(at, F::RateSse, rate),
                }
            }
            Phase::Crowd => {
                let count = self.share(at, 512 * 8).max(512);
                let (done, peak) = self.watched(at, &Tool::Echo(Reply::Json), count, 512)?;
                self.add(at, F::Crowd, done.quantile(0.5) * 1e3);
                self.add(at, F::CrowdWorst, done.quantile(0.99) * 1e3);
                let rate = count as f64 / done.elapsed.as_secs_f64();
                self.add(at, F::CrowdRate, rate);
                self.add_peak(at, F::CrowdPeak, peak);
            }
            Phase::Result(reply) => {
                let done = self.work(at, &Tool::Give(MEGABYTE, reply), sizes.results, 1)?;
                let figure = match reply {
                    Reply::Json => F::ResultJson,
                    Reply::Sse => F::ResultSse,
                };
                self.add(at, figure, done.quantile(0.5) * 1e3);
            }
            Phase::Large(reply) => {
                let tool = Tool::Give(16 * MEGABYTE, reply);
                let done = self.work(at, &tool, self.share(at, sizes.large), 1)?;
                match reply {
                    Reply::Json => {
                        self.add(at, F::LargeJson, done.quantile(0.5) * 1e3);
                        self.fresh_peak(at, F::ResultPeak, &tool)?;
                    }
                    Reply::Sse => self.add(at, F::LargeSse, done.quantile(0.5) * 1e3),
                }
            }
            Phase::LargeRequest => {
                let tool = Tool::Take(16 * MEGABYTE);
                let done = self.work(at, &tool, self.share(at, sizes.large), 1)?;
                self.add(at, F::LargeRequest, done.quantile(0.5) * 1e3);
                self.fresh_peak(at, F::RequestPeak, &tool)?;
            }
            Phase::Progress => self.notifications(at, Tool::Progress, F::Progress)?,
            Phase::Push => self.notifications(at, Tool::Push, F::Push)?,
            Phase::BesideSlow => self.beside_slow(at)?,
            Phase::InFlight => self.in_flight(at)?,
        }
        Ok(())
    }

    /// Cold starts, each with its end.
    fn starts(&mut self, at: usize) -> Result<(), String> {
        let url = self.host.legacy();
        let [mut starts, mut times, mut exits] = [const { Vec::new() }; 3];
        for _ in 0..self.share(at, self.sizes.starts) {
            let before = self.host.count().map_err(|error| error.to_string())?;
            let contender = &self.lanes[at].contender;
            if contender.role == Role::Limit {
                let (_, took) = contender.start(&url)?;
                starts.push(took.as_secs_f64() * 1e3);
                continue;
            }
            let command = contender.command(&url);
            let Started { app, took } = App::start(&command, crate::wire::INITIALIZE)?;
            times.extend(process::cpu_seconds(app.pid()).map(|seconds| seconds * 1e3));
            let opened = self.host.count().map_err(|error| error.to_string())?;
            let (end, _) = app.leave()?;
            let after = self.host.count().map_err(|error| error.to_string())?;
            starts.push(took.as_secs_f64() * 1e3);
            exits.push(end.as_secs_f64() * 1e3);
            let requests = opened.requests - before.requests;
            self.add(at, Figure::Requests, requests as f64);
            self.add(at, Figure::Deleted, (after.deleted - before.deleted) as f64);
        }
        let figures = [
            (Figure::Start, starts),
            (Figure::StartCpu, times),
            (Figure::Exit, exits),
        ];
        for (figure, values) in figures {
            if let Some(value) = median(values) {
                self.add(at, figure, value);
            }
        }
        Ok(())
    }

    fn notifications(
        &mut self,
        at: usize,
        tool: fn(usize) -> Tool,
        figure: Figure,
    ) -> Result<(), String> {
        let count = self.share(at, self.sizes.notifications);
        let done = self.work(at, &tool(count), 1, 1)?;
        self.add(at, figure, count as f64 / done.elapsed.as_secs_f64());
        Ok(())
    }

    /// Small calls one after the other, while slow ones wait for their answers.
    fn beside_slow(&mut self, at: usize) -> Result<(), String> {
        const SLOW_CALLS: usize = 12;
        const SMALL_CALLS: usize = 20;
        let first = self.ids(SLOW_CALLS + SMALL_CALLS);
        let mut all = calls(&Tool::Wait(500), first, SLOW_CALLS, Era::Legacy);
        let echo = Tool::Echo(Reply::Json);
        let next = first + SLOW_CALLS as u64;
        all.extend(calls(&echo, next, SMALL_CALLS, Era::Legacy));
        let mut done = self.run_work(at, all, SLOW_CALLS + 1)?;
        done.latencies.drain(..SLOW_CALLS);
        self.add(at, Figure::BesideSlow, done.quantile(0.5) * 1e3);
        Ok(())
    }

    /// The app leaves while a call is with the server.
    fn in_flight(&mut self, at: usize) -> Result<(), String> {
        let contender = &self.lanes[at].contender;
        if contender.role == Role::Limit {
            return Ok(());
        }
        let command = contender.command(&self.host.legacy());
        let Started { mut app, .. } = App::open(&command, Era::Legacy)?;
        let call = calls(&Tool::Wait(300), self.ids(1), 1, Era::Legacy).remove(0);
        app.queue(call.request.clone());
        app.settle(Duration::from_millis(100));
        let (_, output) = app.leave()?;
        let mut lines = output.split(|byte| *byte == b'\n');
        let answered = lines.any(|line| String::from_utf8_lossy(line).contains(&answer(&call)));
        self.add(at, Figure::InFlight, f64::from(u8::from(answered)));
        Ok(())
    }

    /// CPU time while nobody says anything.
    fn idle(&mut self) {
        let times = |lane: &Lane| {
            let is_bridge = lane.contender.role != Role::Limit;
            let driver = lane.driver.as_ref().filter(|_| is_bridge)?;
            Some(process::times(driver.pid()))
        };
        let before: Vec<_> = self.lanes.iter().map(times).collect();
        eprintln!("idle for {} s", self.sizes.idle.as_secs());
        app::pause(self.sizes.idle);
        let share = 10.0 / self.sizes.idle.as_secs_f64();
        for (lane, before) in self.lanes.iter_mut().zip(before) {
            if let (Some(before), Some(after)) = (before, times(lane)) {
                let milliseconds = after.since(&before) * 1e3 * share;
                lane.measured.add(Figure::IdleCpu, milliseconds);
            }
        }
    }

    /// Growth of memory with the number of calls.
    fn flat(&mut self, count: usize) {
        for at in 0..self.lanes.len() {
            let fast = self.lanes[at].share >= 1.0;
            let is_bridge = self.lanes[at].contender.role != Role::Limit;
            let Some(pid) = self.lanes[at].driver.as_ref().map(Driver::pid) else {
                continue;
            };
            if !fast || !is_bridge {
                continue;
            }
            eprintln!("{count} calls: {}", self.lanes[at].contender.name);
            let mut work = |count| {
                let done = self.work(at, &Tool::Echo(Reply::Json), count, 64);
                done.map(|_| process::memory(pid))
            };
            let memories = work(count / 10).and_then(|before| Ok((before, work(count)?)));
            match memories {
                Ok((Some(before), Some(after))) => self.add(at, Figure::Flat, after / before),
                Ok(_) => {}
                Err(fault) => self.lanes[at].measured.fail(Figure::Flat, fault),
            }
        }
    }

    /// Calls of one tool, so many at once.
    fn work(
        &mut self,
        at: usize,
        tool: &Tool,
        count: usize,
        window: usize,
    ) -> Result<Done, String> {
        let first = self.ids(count);
        self.run_work(at, calls(tool, first, count, Era::Legacy), window)
    }

    fn run_work(
        &mut self,
        at: usize,
        calls: Vec<crate::wire::Call>,
        window: usize,
    ) -> Result<Done, String> {
        let work = Work {
            calls,
            window,
            era: Era::Legacy,
        };
        let driver = self.lanes[at].driver.as_mut().ok_or("it is not up")?;
        driver.run(work, LIMIT)
    }

    /// The same, and the most memory that was in use.
    fn watched(
        &mut self,
        at: usize,
        tool: &Tool,
        count: usize,
        window: usize,
    ) -> Result<(Done, Option<f64>), String> {
        let pid = self.lanes[at].driver.as_ref().map(Driver::pid);
        pid.into_iter().for_each(process::forget_peak);
        let done = self.work(at, tool, count, window)?;
        Ok((done, pid.and_then(process::peak)))
    }

    /// The most memory that one call takes in a process that has done nothing before.
    fn fresh_peak(&mut self, at: usize, figure: Figure, tool: &Tool) -> Result<(), String> {
        let contender = &self.lanes[at].contender;
        if contender.role == Role::Limit {
            return Ok(());
        }
        let (mut driver, _) = contender.start(&self.host.legacy())?;
        let work = Work {
            calls: calls(tool, self.ids(1), 1, Era::Legacy),
            window: 1,
            era: Era::Legacy,
        };
        driver.run(work, LIMIT)?;
        if let Some(peak) = process::peak(driver.pid()) {
            self.add(at, figure, peak);
        }
        Ok(())
    }

    fn cpu(&self, at: usize) -> Option<f64> {
        process::cpu_seconds(self.lanes[at].driver.as_ref()?.pid())
    }

    fn add(&mut self, at: usize, figure: Figure, value: f64) {
        self.lanes[at].measured.add(figure, value);
    }

    /// The driver's own memory tells nothing of a bridge.
    fn add_peak(&mut self, at: usize, figure: Figure, peak: Option<f64>) {
        if let Some(peak) = peak.filter(|_| self.lanes[at].contender.role != Role::Limit) {
            self.add(at, figure, peak);
        }
    }

    /// Part of `whole` that a contender is asked for.
    fn share(&self, at: usize, whole: usize) -> usize {
        ((whole as f64 * self.lanes[at].share) as usize).max(1)
    }

    fn ids(&mut self, count: usize) -> u64 {
        let first = self.next_id;
        self.next_id += count as u64;
        first
    }
}

fn answer(call: &crate::wire::Call) -> String {
    String::from_utf8_lossy(&call.text).into_owned()
}
