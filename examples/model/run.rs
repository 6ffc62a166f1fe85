//! One run: the beginning, the storm, the calm after it, and the end.

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::{sleep, sleep_until};

use crate::{
    Args,
    actions::Actions,
    invariants,
    plan::{Plan, Step},
    random,
    report::Report,
    world::World,
};

/// Interval between two checks of the invariants.
const LOOK: Duration = Duration::from_millis(100);

/// Threads for the doubles. The bridges are processes of their own.
const THREADS: usize = 2;

pub(crate) fn main(args: &Args) -> ExitCode {
    let seed = args.seed.unwrap_or_else(random::seed);
    let time = Duration::from_secs(args.seconds);
    println!("seed {seed}, {} seconds", args.seconds);
    if args.plan {
        for Step { number, at, action } in Plan::new(seed).take_while(|step| step.at < time) {
            println!("{:>8.3} {number:>5} {action:?}", at.as_secs_f64());
        }
        return ExitCode::SUCCESS;
    }
    // It is kept if something is wrong.
    let path = TempDir::new().expect("a directory for the run").keep();
    let report = Report::new(&path.join("history"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    let started = Instant::now();
    runtime
        .expect("a runtime")
        .block_on(run(&path, seed, time, &report));
    println!("{}", report.summary());
    println!("{:.1} s", started.elapsed().as_secs_f64());
    let violations = report.violations();
    if violations.is_empty() && args.keep {
        println!("all events and logs are in {}", path.display());
        return ExitCode::SUCCESS;
    }
    if violations.is_empty() {
        let _ = std::fs::remove_dir_all(path);
        return ExitCode::SUCCESS;
    }
    eprintln!("\nthe last events:");
    for event in report.last_events() {
        eprintln!("{event}");
    }
    eprintln!();
    for violation in violations {
        eprintln!("error: {violation}");
    }
    eprintln!(
        "\nhint: all events and logs are in {}\nhint: cargo run --example model -- --seed {seed} --seconds {}",
        path.display(),
        args.seconds
    );
    ExitCode::FAILURE
}

async fn run(root: &Path, seed: u64, time: Duration, report: &Report) {
    let world = Arc::new(World::start(root, seed, report).await);
    let watching = tokio::spawn(invariants::watch(world.shared.clone()));
    let before = world.calm().await;
    if !report.has_violations() {
        report.event("the storm begins");
        storm(&world, seed, time, report).await;
        report.event("the storm is over");
    }
    if !report.has_violations() {
        let after = world.calm().await;
        invariants::check_usage(&world.shared, &before, &after);
        world.finish().await;
    }
    watching.abort();
    let _ = watching.await;
    if !report.has_violations() {
        invariants::check_end(&world.shared).await;
    }
}

async fn storm(world: &Arc<World>, seed: u64, time: Duration, report: &Report) {
    for service in &world.services {
        service.misbehave();
    }
    world.resume();
    let mut actions = Actions::new(world);
    let beginning = tokio::time::Instant::now();
    for step in Plan::new(seed) {
        let at = beginning + step.at.min(time);
        while tokio::time::Instant::now() < at && !report.has_violations() {
            sleep_until(at.min(tokio::time::Instant::now() + LOOK)).await;
        }
        if step.at >= time || report.has_violations() {
            break;
        }
        actions.begin(step);
    }
    actions.end().await;
    sleep(LOOK).await;
}
