//! Cost of eras, TLS and recordings, compared with the plain way.

use std::fmt::Write as _;
use std::time::Duration;

use crate::app::{App, Started};
use crate::contender::Driver;
use crate::direct::Direct;
use crate::figures::median;
use crate::host::Host;
use crate::process;
use crate::rounds::Sizes;
use crate::wire::{Era, Reply, Tool};
use crate::work::{Work, calls};

const LIMIT: Duration = Duration::from_secs(30);

/// A way for calls to go.
struct Way {
    name: &'static str,
    driver: Driver,
    app: Era,
    reply: Reply,
    /// Of each round: start, p50 in µs, calls/s with 64 in flight, CPU s per 10,000 calls.
    values: [Vec<f64>; 4],
}

impl Way {
    fn bridged(name: &'static str, command: &[String], app: Era) -> Result<Self, String> {
        let Started { app: driver, took } = App::open(command, app)?;
        Ok(Self::new(name, Driver::App(driver), app, took))
    }

    fn direct(name: &'static str, url: &str) -> Result<Self, String> {
        let (direct, took) = Direct::start(url).map_err(|error| error.to_string())?;
        Ok(Self::new(name, Driver::Direct(direct), Era::Legacy, took))
    }

    fn new(name: &'static str, driver: Driver, app: Era, took: Duration) -> Self {
        let start = vec![took.as_secs_f64() * 1e3];
        Self {
            name,
            driver,
            app,
            reply: Reply::Json,
            values: [start, Vec::new(), Vec::new(), Vec::new()],
        }
    }

    fn answered_by(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    fn measure(&mut self, sizes: Sizes, first: u64) -> Result<(), String> {
        let work = |first, count, window| Work {
            calls: calls(&Tool::Echo(self.reply), first, count, self.app),
            window,
            era: self.app,
        };
        let (single, many) = (work(first, sizes.single, 1), work(first, sizes.many, 64));
        let done = self.driver.run(single, LIMIT)?;
        self.values[1].push(done.quantile(0.5) * 1e6);
        let before = process::cpu_seconds(self.driver.pid());
        let done = self.driver.run(many, LIMIT)?;
        let count = sizes.many as f64;
        self.values[2].push(count / done.elapsed.as_secs_f64());
        if let (Some(before), Some(after)) = (before, process::cpu_seconds(self.driver.pid())) {
            self.values[3].push((after - before) / count * 1e4);
        }
        Ok(())
    }

    fn values(&self) -> [Option<f64>; 4] {
        self.values.each_ref().map(|values| median(values.clone()))
    }
}

/// Measures all, and returns a table of each.
pub(crate) fn run(host: &Host, sizes: Sizes, executable: &str) -> Result<String, String> {
    let bridge = commands(executable);
    let (legacy, modern, tls) = (host.legacy(), host.modern(), host.tls());
    let authority = crate::certificate("authority.pem");
    let eras = vec![
        Way::bridged("a legacy app and server", &bridge(&[&legacy]), Era::Legacy)?,
        Way::bridged("a modern app and server", &bridge(&[&modern]), Era::Modern)?,
        Way::bridged(
            "a legacy app, a modern server",
            &bridge(&[&modern]),
            Era::Legacy,
        )?,
        Way::bridged(
            "a modern app, a legacy server",
            &bridge(&[&legacy]),
            Era::Modern,
        )?,
    ];
    let secure = vec![
        Way::direct("TLS without a bridge", &tls)?,
        Way::bridged(
            "TLS with mcp-bridge",
            &bridge(&["--ca-cert", &authority, &tls]),
            Era::Legacy,
        )?,
    ];
    let eras = measured(eras, sizes)?;
    let secure = measured(secure, sizes)?;
    let recorded = recorded(&bridge, &legacy, sizes)?;
    Ok(format!("{eras}\n{secure}\n{recorded}"))
}

/// Command lines of the bridge with these arguments.
pub(crate) fn commands(executable: &str) -> impl Fn(&[&str]) -> Vec<String> {
    move |words| {
        let words = std::iter::once(executable).chain(words.iter().copied());
        words.map(str::to_owned).collect()
    }
}

/// Measures the cost of `--record`, for both kinds of responses.
pub(crate) fn recorded(
    bridge: &impl Fn(&[&str]) -> Vec<String>,
    url: &str,
    sizes: Sizes,
) -> Result<String, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut text = String::new();
    for (reply, plain, recording) in [
        (Reply::Json, "JSON", "JSON with --record"),
        (Reply::Sse, "SSE", "SSE with --record"),
    ] {
        let file = directory.path().join(format!("{plain}.har"));
        let record = bridge(&["--record", &file.to_string_lossy(), url]);
        let ways = vec![
            Way::bridged(plain, &bridge(&[url]), Era::Legacy)?.answered_by(reply),
            Way::bridged(recording, &record, Era::Legacy)?.answered_by(reply),
        ];
        text += &measured(ways, sizes)?;
        text.push('\n');
    }
    Ok(text)
}

fn measured(mut ways: Vec<Way>, sizes: Sizes) -> Result<String, String> {
    let mut first = 1;
    for round in 0..sizes.rounds {
        for turn in 0..ways.len() {
            let way = (turn + round) % ways.len();
            eprintln!(
                "round {} of {}: {}",
                round + 1,
                sizes.rounds,
                ways[way].name
            );
            ways[way].measure(sizes, first)?;
            first += sizes.many as u64;
        }
    }
    let mut text = String::from(
        "| | start, ms | one small call, p50, µs | × | 64 in flight, calls/s | CPU s per 10,000 calls | × |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let base = ways[0].values();
    for way in &ways {
        let values = way.values();
        let show = |at: usize, decimals: usize| {
            values[at].map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
        };
        let times = |at: usize| match (values[at], base[at]) {
            (Some(value), Some(base)) => format!("{:.2}", value / base),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            way.name,
            show(0, 1),
            show(1, 0),
            times(1),
            show(2, 0),
            show(3, 2),
            times(3)
        );
    }
    Ok(text)
}
