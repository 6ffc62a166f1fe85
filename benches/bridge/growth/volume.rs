//! Growth with the traffic of a session: calls in flight, size of messages, tools in a list, notifications.

use super::curve::Expected::{Flat, Linear};
use super::{Curve, Ground, LIMIT};
use crate::contender::{Driver, Role};
use crate::process;
use crate::wire::{self, Reply, Tool};
use crate::work::Request;

const IN_FLIGHT: [usize; 5] = [1, 10, 100, 1000, 10_000];
const MEGABYTES: [f64; 7] = [0.001, 0.01, 0.1, 1.0, 16.0, 64.0, 256.0];
const TOOLS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
const NOTIFICATIONS: [usize; 7] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

/// Tools in a list that comes in pages. Above a hundred pages the bridge leaves merging to the app.
const PAGED_TOOLS: [usize; 5] = [1, 10, 100, 1000, 10_000];

/// Tools in a page of a list that comes in pages.
const PAGE: usize = 100;

fn floats(numbers: &[usize]) -> Vec<f64> {
    numbers.iter().map(|number| *number as f64).collect()
}

pub(super) fn calls(ground: &Ground<'_>) -> Vec<Curve> {
    let contenders = ground.contenders();
    let xs = floats(&IN_FLIGHT);
    let by = "calls in flight";
    let mut curves = [
        Curve::new(
            "Calls in flight, time",
            by,
            "µs per call",
            Flat,
            &xs,
            &contenders,
        ),
        Curve::new(
            "Calls in flight, peak memory",
            by,
            "MB",
            Linear,
            &xs,
            &contenders,
        ),
    ];
    let url = ground.host.legacy();
    ground.sweep(&mut curves, |[time, memory], point, at| {
        let window = IN_FLIGHT[point];
        let (mut driver, _) = contenders[at].start(&url)?;
        let echo = Tool::Echo(Reply::Json);
        // The handshake is over then: until it is, it counts among the messages that wait.
        ground.work(&mut driver, &echo, 1, 1)?;
        // Opens the connections.
        ground.work(&mut driver, &echo, window, window)?;
        let count = (4 * window).clamp(4000, 20_000);
        let done = ground.work(&mut driver, &echo, count, window)?;
        time.add(at, point, done.elapsed.as_secs_f64() / count as f64 * 1e6);
        memory.add_memory(at, point, process::peak(driver.pid()));
        Ok(())
    });
    curves.into()
}

pub(super) fn messages(ground: &Ground<'_>) -> Vec<Curve> {
    let titles = [
        (
            "Size of results in JSON, time",
            "Size of results in JSON, peak memory",
        ),
        (
            "Size of results in SSE, time",
            "Size of results in SSE, peak memory",
        ),
        ("Size of requests, time", "Size of requests, peak memory"),
    ];
    let tools: [fn(usize) -> Tool; 3] = [
        |bytes| Tool::Give(bytes, Reply::Json),
        |bytes| Tool::Give(bytes, Reply::Sse),
        Tool::Take,
    ];
    let contenders = ground.contenders();
    let url = ground.host.legacy();
    let mut all = Vec::new();
    for (titles, tool) in titles.into_iter().zip(tools) {
        let by = "MB";
        let mut curves = [
            Curve::new(titles.0, by, "ms", Linear, &MEGABYTES, &contenders),
            Curve::new(titles.1, by, "MB", Linear, &MEGABYTES, &contenders),
        ];
        ground.sweep(&mut curves, |[time, memory], point, at| {
            let megabytes = MEGABYTES[point];
            let (mut driver, _) = contenders[at].start(&url)?;
            ground.work(&mut driver, &Tool::Echo(Reply::Json), 20, 1)?;
            let count = match megabytes {
                64.0.. => 1,
                16.0.. => 3,
                1.0.. => 20,
                _ => 200,
            };
            let tool = tool((megabytes * 1e6) as usize);
            let done = ground.work(&mut driver, &tool, count, 1)?;
            time.add(at, point, done.quantile(0.5) * 1e3);
            memory.add_memory(at, point, process::peak(driver.pid()));
            Ok(())
        });
        all.extend(curves);
    }
    all
}

pub(super) fn lists(ground: &Ground<'_>) -> Vec<Curve> {
    let mut whole = ground.contenders();
    let hiding = ground.ours().with(["--ignore-tool", "hidden-*"]);
    whole.push(hiding.named("mcp-bridge, hiding tools"));
    let plain = ground.contenders();
    let xs = floats(&TOOLS);
    let by = "tools";
    let url = ground.host.legacy();

    let mut lists = [Curve::new(
        "Tools in a list, time",
        by,
        "ms",
        Linear,
        &xs,
        &whole,
    )];
    ground.sweep(&mut lists, |[time], point, at| {
        let count = TOOLS[point];
        let (mut driver, _) = whole[at].start(&url)?;
        let expected = if whole[at].name.ends_with("hiding tools") {
            wire::visible(count)
        } else {
            count
        };
        for _ in 0..repetitions(count) {
            let milliseconds = list(ground, &mut driver, count, expected)?;
            time.add(at, point, milliseconds);
        }
        Ok(())
    });

    let mut pages = [Curve::new(
        "Tools in pages of 100, time",
        by,
        "ms",
        Linear,
        &floats(&PAGED_TOOLS),
        &plain,
    )];
    ground.sweep(&mut pages, |[time], point, at| {
        let count = PAGED_TOOLS[point];
        let (mut driver, _) = plain[at].start(&url)?;
        for _ in 0..repetitions(count) {
            let milliseconds = match plain[at].role {
                Role::Limit | Role::Least => each_page(ground, &mut driver, count)?,
                Role::Ours | Role::Other => merged(ground, &mut driver, count)?,
            };
            time.add(at, point, milliseconds);
        }
        Ok(())
    });
    lists.into_iter().chain(pages).collect()
}

const fn repetitions(tools: usize) -> usize {
    if tools > 1000 { 3 } else { 20 }
}

/// Fetches a list in one page; returns the milliseconds.
fn list(
    ground: &Ground<'_>,
    driver: &mut Driver,
    count: usize,
    expected: usize,
) -> Result<f64, String> {
    let id = ground.ids(1);
    let text = wire::list(id, count, count);
    let (took, answer) = driver.ask(&Request { id, text }, LIMIT)?;
    found(&answer, expected)?;
    Ok(took.as_secs_f64() * 1e3)
}

/// Fetches the pages of a list as a bridge has merged them.
fn merged(ground: &Ground<'_>, driver: &mut Driver, count: usize) -> Result<f64, String> {
    let id = ground.ids(1);
    let text = wire::list(id, count, PAGE);
    let (took, answer) = driver.ask(&Request { id, text }, LIMIT)?;
    found(&answer, count)?;
    Ok(took.as_secs_f64() * 1e3)
}

/// Fetches page after page, as an app does.
fn each_page(ground: &Ground<'_>, driver: &mut Driver, count: usize) -> Result<f64, String> {
    let mut milliseconds = 0.0;
    for from in (0..count).step_by(PAGE) {
        let id = ground.ids(1);
        let text = match from {
            0 => wire::list(id, count, PAGE),
            _ => wire::list_from(id, &format!("{count}/{PAGE}/{from}")),
        };
        let (took, answer) = driver.ask(&Request { id, text }, LIMIT)?;
        found(&answer, PAGE.min(count - from))?;
        milliseconds += took.as_secs_f64() * 1e3;
    }
    Ok(milliseconds)
}

/// Checks that a list has so many tools.
fn found(answer: &[u8], expected: usize) -> Result<(), String> {
    let found = memchr::memmem::find_iter(answer, wire::SCHEMA).count();
    if found == expected {
        Ok(())
    } else {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        Err(format!("{found} tools instead of {expected}: {shown}"))
    }
}

pub(super) fn notifications(ground: &Ground<'_>) -> Vec<Curve> {
    let titles = [
        (
            "Progress notifications, time",
            "Progress notifications, peak memory",
        ),
        (
            "Notifications of the session, time",
            "Notifications of the session, peak memory",
        ),
    ];
    let tools: [fn(usize) -> Tool; 2] = [Tool::Progress, Tool::Push];
    let contenders = ground.contenders();
    let xs = floats(&NOTIFICATIONS);
    let url = ground.host.legacy();
    let mut all = Vec::new();
    for (titles, tool) in titles.into_iter().zip(tools) {
        let by = "notifications";
        let mut curves = [
            Curve::new(titles.0, by, "ms", Linear, &xs, &contenders),
            Curve::new(titles.1, by, "MB", Flat, &xs, &contenders),
        ];
        ground.sweep(&mut curves, |[time, memory], point, at| {
            let count = NOTIFICATIONS[point];
            let (mut driver, _) = contenders[at].start(&url)?;
            ground.work(&mut driver, &Tool::Echo(Reply::Json), 20, 1)?;
            let done = ground.work(&mut driver, &tool(count), 1, 1)?;
            time.add(at, point, done.elapsed.as_secs_f64() * 1e3);
            memory.add_memory(at, point, process::peak(driver.pid()));
            Ok(())
        });
        all.extend(curves);
    }
    all
}
