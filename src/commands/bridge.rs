//! The program without a command: the bridge.

use std::ffi::OsString;
use std::io::{Write as _, stderr};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::level_filters::LevelFilter;

use super::{Stop, finish_sign_in, record, runtime};
#[cfg(feature = "commands")]
use crate::attach::{Introduction, Offer};
use crate::cli::{Flags, UnfinishedSignIn};
use crate::log;
use crate::metrics::{self, Metrics};
use crate::observers::Observers;
use crate::signals;
use mcp_bridge_core::bridge::{self, End, Input};
#[cfg(feature = "commands")]
use mcp_bridge_core::endpoint::EndpointConfig;
use mcp_bridge_core::stdio;
#[cfg(feature = "commands")]
use mcp_bridge_net::http;
use mcp_bridge_net::observer::{Observation, Observer};
use mcp_bridge_net::private_file::sweep_private;

/// For somebody who starts the bridge in a terminal, where nothing else would happen.
const FOR_A_PERSON: &str = "\
mcp-bridge waits for an app to speak MCP on its standard input: this command line is for an app's configuration.
To write it there: mcp-bridge install --client APP NAME URL
To try the server by hand: mcp-bridge login URL, mcp-bridge tools URL, mcp-bridge doctor URL (Ctrl-C ends this)";

/// Carries messages until the app leaves. `given` are the arguments of the process.
pub(super) fn run(flags: Flags, given: &[OsString]) -> Result<ExitCode, Stop> {
    // Before the log and the recording, which write files.
    let runtime = runtime()?;
    let mut settings = flags.settings()?;
    log::start(&settings.log);
    if settings.bridge.input == Input::Terminal && settings.log.level != LevelFilter::OFF {
        let _ = writeln!(stderr(), "{FOR_A_PERSON}");
    }
    if let (Some(auth), UnfinishedSignIn::Lingers) =
        (&mut settings.bridge.auth, settings.unfinished_sign_in)
    {
        auth.helper = finish_sign_in::helper(given);
    }
    if let Some(directory) = &settings.bridge.endpoint.directory {
        sweep_private(directory);
    }
    let recording = settings.record.as_deref().and_then(record::start);
    let observers = Arc::new(Observers::default());
    if let Some(recording) = &recording {
        observers.add(recording.recorder());
    }
    let observer = Arc::clone(&observers) as Arc<dyn Observer>;
    settings.bridge.endpoint.http.observation = Observation::by(observer);
    let end = runtime.block_on(async {
        if let Some(address) = settings.metrics {
            let metrics = Arc::new(Metrics::default());
            observers.add(Arc::clone(&metrics) as Arc<dyn Observer>);
            tokio::spawn(metrics::serve(address, metrics));
        }
        #[cfg(feature = "commands")]
        let offer = offer_view(&settings.bridge.endpoint, observers);
        let end = start(settings.bridge).await;
        #[cfg(feature = "commands")]
        if let Some(offer) = offer {
            offer.withdraw().await;
        }
        end
    });
    let end = end.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    // Reading stdin may take a thread that cannot be interrupted; it need not be waited for.
    runtime.shutdown_background();
    if let Some(recording) = recording {
        recording.finish();
    }
    match end {
        End::AppLeft | End::Stopped => Ok(ExitCode::SUCCESS),
        End::Unreachable(reason) => {
            Err(Stop::failed(reason).hint("start the server again in the app"))
        }
    }
}

/// Starts the session. It is a task, because the runtime asks the kernel for news before it goes on with what it blocks on.
/// The stack frame in which it is made is gone while it runs: it is large, and is moved more than once.
#[inline(never)]
fn start(config: bridge::Config) -> JoinHandle<End> {
    let (input, output) = (stdio::stdin(), stdio::stdout());
    tokio::spawn(bridge::run(config, input, output, signals::stop()))
}

/// Lets `inspect` look at the bridge.
#[cfg(feature = "commands")]
fn offer_view(endpoint: &EndpointConfig, observers: Arc<Observers>) -> Option<Offer> {
    let directory = endpoint.directory.clone()?;
    let mut server = http::bare(&endpoint.url).to_string();
    if endpoint.url.query().is_some() {
        server.push_str("?…");
    }
    let introduction = Introduction::of_this_process(server);
    Some(Offer::of(&directory, introduction, observers))
}
