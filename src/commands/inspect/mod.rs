//! `mcp-bridge inspect`: a web page that shows a connection to a server, or a recording of one.

mod access;
mod answers;
mod feed;
mod findings;
mod live;
mod recorded;
mod sign_in;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{Stop, run_async};
use crate::cli::ConnectionFlags;
use crate::log;
use crate::recording::Recording;
use crate::signals;
use feed::{Feed, FeedSink};
use live::Live;
use mcp_bridge_auth as auth;
use site::InspectorSite;

/// Show a connection to a server, or a recording, in the browser
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint: https, or http on this machine
    #[arg(required_unless_present = "recording")]
    url: Option<String>,

    /// Show what --record has written instead
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    recording: Option<PathBuf>,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Serves the page until the person ends it.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let browser = args.connection.browser();
    match (args.recording, args.url) {
        (Some(file), _) => {
            super::start_quiet_log();
            let feed = Feed::new();
            for entry in recorded::read(&file)? {
                feed.push(&entry, false);
            }
            let title = file.display().to_string();
            run_async(serve(title, feed, None, browser))
        }
        (None, url) => {
            let url = url.unwrap_or_default();
            let mut connection = args.connection.connection(&url, None)?;
            log::start_for_person(&connection.log);
            let feed = Feed::new();
            let recording = Recording::into_sink(FeedSink(Arc::clone(&feed)))
                .map_err(|error| Stop::failed(format!("cannot start: {error}")))?;
            connection.endpoint.http.observation = recording.observation();
            let title = connection.endpoint.host();
            let live = Arc::new(Live::new(connection));
            run_async(serve(title, feed, Some(live), browser))
        }
    }
}

async fn serve(
    title: String,
    feed: Arc<Feed>,
    live: Option<Arc<Live>>,
    browser: auth::Browser,
) -> Result<ExitCode, Stop> {
    let opened = InspectorSite::open(title, feed, live.clone()).await;
    let (site, listener) =
        opened.map_err(|error| Stop::failed(format!("cannot listen on this machine: {error}")))?;
    let address = site.address();
    eprintln!("The inspector is at\n{address}\nIt is for you alone, and ends with Ctrl-C.");
    let work = async {
        auth::open_page(&browser, &address).await;
        if let Some(live) = &live
            && let Err(reason) = live.connect().await
        {
            eprintln!("error: {}", mcp_bridge_text::printable::block(&reason));
        }
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
