//! `mcp-bridge inspect`: a web page that shows a connection to a server, a running bridge, or a recording.

mod access;
mod answers;
mod attached;
mod feed;
mod findings;
mod live;
mod recorded;
mod sign_in;
mod site;
mod state_news;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::record::CommandRecording;
use super::{Stop, run_async};
use crate::cli::ConnectionFlags;
use crate::log;
use crate::observers::Observers;
use crate::recording::Recording;
use crate::signals;
use attached::Found;
use feed::{Feed, FeedSink};
use live::Live;
use mcp_bridge_auth as auth;
use mcp_bridge_net::observer::Observation;
use site::{About, InspectorSite, PageSubject};

/// Show a connection to a server, a running bridge, or a recording, in the browser
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint: https, or http on this machine; without it, a bridge that an app has started is
    /// shown, read-only
    url: Option<String>,

    /// The process id of that bridge, if there are several
    #[arg(long, value_name = "ID", conflicts_with_all = ["url", "recording"])]
    bridge: Option<u32>,

    /// Show what --record has written instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "record"])]
    recording: Option<PathBuf>,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the inspector until the person ends it.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let browser = args.connection.browser();
    match (args.recording, args.url) {
        (Some(file), _) => show_recording(&file, browser),
        (None, Some(url)) => connect(&url, args.connection, browser),
        (None, None) => {
            super::start_quiet_log();
            run_async(attach(args.bridge, browser))
        }
    }
}

fn show_recording(file: &Path, browser: auth::Browser) -> Result<ExitCode, Stop> {
    super::start_quiet_log();
    let feed = Feed::new();
    for entry in recorded::read(file)? {
        feed.push(&entry, false);
    }
    let about = About::of(file.display().to_string(), PageSubject::Recording);
    run_async(serve(about, feed, None, browser, std::future::pending()))
}

fn connect(
    url: &str,
    connection: ConnectionFlags,
    browser: auth::Browser,
) -> Result<ExitCode, Stop> {
    let mut connection = connection.connection(url, None)?;
    log::start_for_person(&connection.log);
    let feed = Feed::new();
    let recording = Recording::into_sink(FeedSink(Arc::clone(&feed)))
        .map_err(|error| Stop::failed(format!("cannot start: {error}")))?;
    // And in a file, if that is wanted.
    let file = CommandRecording::of(&mut connection);
    let observers = Arc::new(Observers::default());
    let recordings = [Some(&recording), file.recording()];
    for recording in recordings.into_iter().flatten() {
        observers.add(recording.recorder());
    }
    connection.endpoint.http.observation = Observation::by(observers);
    let about = About::of(connection.endpoint.host(), PageSubject::Connection);
    let live = Arc::new(Live::new(connection));
    let connecting = Arc::clone(&live);
    let work = async move {
        if let Err(reason) = connecting.connect().await {
            eprintln!("error: {}", mcp_bridge_text::printable::block(&reason));
        }
    };
    run_async(serve(about, feed, Some(live), browser, work))
}

async fn attach(pid: Option<u32>, browser: auth::Browser) -> Result<ExitCode, Stop> {
    let bridge = match attached::find(pid).await? {
        Found::One(bridge) => *bridge,
        Found::Listed(status) => return Ok(status),
    };
    let feed = Feed::new();
    let about = About::of(attached::title(&bridge), PageSubject::RunningBridge);
    let work = attached::follow(bridge, Arc::clone(&feed));
    serve(about, feed, None, browser, work).await
}

/// Serves the page until the person ends it; meanwhile the `work` that fills it is done.
async fn serve(
    about: About,
    feed: Arc<Feed>,
    live: Option<Arc<Live>>,
    browser: auth::Browser,
    work: impl Future<Output = ()>,
) -> Result<ExitCode, Stop> {
    let opened = InspectorSite::open(about, feed, live.clone()).await;
    let (site, listener) =
        opened.map_err(|error| Stop::failed(format!("cannot listen on this machine: {error}")))?;
    let address = site.address();
    eprintln!("The inspector is at\n{address}\nIt is for you alone, and ends with Ctrl-C.");
    let work = async {
        tokio::join!(auth::open_page(&browser, &address), work);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        never = site.serve(listener) => match never {},
        () = work => {}
        () = signals::stop() => {}
    }
    if let Some(live) = live {
        live.depart().await;
    }
    Ok(ExitCode::SUCCESS)
}
