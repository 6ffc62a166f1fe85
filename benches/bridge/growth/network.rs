//! Growth with the delay of the network, and with calls in flight over TLS and HTTP/2.

use std::time::Duration;

use super::curve::Expected::{Flat, Linear};
use super::proxy;
use super::{Curve, Ground};
use crate::contender::Contender;
use crate::wire::{Reply, Tool};

/// Milliseconds for a round trip.
const ROUND_TRIPS: [f64; 3] = [5.0, 25.0, 100.0];

const IN_FLIGHT: [usize; 3] = [1, 8, 64];

/// Calls that are made at once in a delayed network, and how many times.
const BATCH: usize = 64;
const BATCHES: usize = 8;

/// Calls that are made one after the other in a delayed network.
const SINGLE: usize = 20;

pub(super) fn delay(ground: &Ground<'_>) -> Result<Vec<Curve>, String> {
    let mut urls = Vec::new();
    for milliseconds in ROUND_TRIPS {
        let one_way = Duration::from_secs_f64(milliseconds / 2e3);
        let address = proxy::start(ground.host.address(), one_way);
        let address = address.map_err(|error| error.to_string())?;
        urls.push(format!("http://{address}/mcp"));
    }
    let contenders = ground.contenders();
    let by = "ms of round trip";
    let curve =
        |title, unit, expected| Curve::new(title, by, unit, expected, &ROUND_TRIPS, &contenders);
    let mut curves = [
        curve("Delay, start to initialize", "ms", Linear),
        curve("Delay, one small call", "ms", Linear),
        curve("Delay, 64 calls at once", "ms", Linear),
    ];
    ground.sweep(&mut curves, |[start, single, batch], point, at| {
        let (mut driver, took) = contenders[at].start(&urls[point])?;
        start.add(at, point, took.as_secs_f64() * 1e3);
        let echo = Tool::Echo(Reply::Json);
        let done = ground.work(&mut driver, &echo, SINGLE, 1)?;
        single.add(at, point, done.quantile(0.5) * 1e3);
        // Opens the connections.
        ground.work(&mut driver, &echo, BATCH, BATCH)?;
        let done = ground.work(&mut driver, &echo, BATCH * BATCHES, BATCH)?;
        batch.add(at, point, done.elapsed.as_secs_f64() / BATCHES as f64 * 1e3);
        Ok(())
    });
    let added = added(&curves[1]);
    Ok(curves.into_iter().chain([added]).collect())
}

/// Time that each bridge adds to a call without one.
fn added(call: &Curve) -> Curve {
    let mut added = Curve {
        title: "Delay, time that a bridge adds to one call",
        by: call.by,
        unit: "µs",
        expected: Flat,
        xs: call.xs.clone(),
        series: Vec::new(),
    };
    let (limit, bridges) = call.series.split_first().expect("the limit is the first");
    added.series = bridges.iter().map(super::curve::Series::empty).collect();
    for (at, series) in bridges.iter().enumerate() {
        for point in 0..call.points() {
            if let Some((with, without)) = series.value(point).zip(limit.value(point)) {
                added.add(at, point, (with - without) * 1e3);
            }
        }
    }
    added
}

pub(super) fn protocols(ground: &Ground<'_>) -> Vec<Curve> {
    let authority = crate::certificate("authority.pem");
    let contenders = [
        Contender::limit(),
        Contender::least(ground.least),
        Contender::ours(ground.program).with(["--ca-cert", &authority]),
    ];
    let xs = IN_FLIGHT.map(|count| count as f64);
    let mut all = Vec::new();
    for (title, url) in [
        ("HTTP/1.1", ground.host.legacy()),
        ("HTTP/1.1 over TLS", ground.host.tls()),
        ("HTTP/2 over TLS", ground.host.http2()),
    ] {
        let by = "calls in flight";
        let mut curves = [Curve::new(title, by, "µs per call", Flat, &xs, &contenders)];
        ground.sweep(&mut curves, |[time], point, at| {
            let window = IN_FLIGHT[point];
            let (mut driver, _) = contenders[at].start(&url)?;
            let echo = Tool::Echo(Reply::Json);
            ground.work(&mut driver, &echo, 4 * window, window)?;
            let count = if window == 1 { 2000 } else { 8000 };
            let done = ground.work(&mut driver, &echo, count, window)?;
            time.add(at, point, done.elapsed.as_secs_f64() / count as f64 * 1e6);
            Ok(())
        });
        all.extend(curves);
    }
    all
}
