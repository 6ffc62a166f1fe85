//! The program without a command: the bridge.

use std::ffi::OsString;
use std::io::{Write as _, stderr};
use std::process::ExitCode;
#[cfg(feature = "commands")]
use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use super::{Stop, finish_sign_in, record, runtime};
#[cfg(feature = "commands")]
use crate::attach::{Introduction, Observers, Offer};
use crate::cli::{Flags, UnfinishedSignIn};
use crate::log;
#[cfg(feature = "commands")]
use crate::recording::Recording;
use crate::signals;
use mcp_bridge_core::bridge::{self, End, Input};
#[cfg(feature = "commands")]
use mcp_bridge_core::endpoint::EndpointConfig;
use mcp_bridge_core::stdio;
#[cfg(feature = "commands")]
use mcp_bridge_net::http;
#[cfg(feature = "commands")]
use mcp_bridge_net::observer::{Observation, Observer};
use mcp_bridge_net::private_file::sweep_private;

/// For somebody who starts the bridge in a terminal, where nothing else would happen.
const FOR_A_PERSON: &str = "\
mcp-bridge waits for an app to speak MCP on its standard input: this command line is for an app's configuration.
To write it there: mcp-bridge install --client APP NAME URL
To try the server by hand: mcp-bridge login URL, mcp-bridge tools URL, mcp-bridge doctor URL (Ctrl-C ends this)";

/// Carries messages until the app leaves. `given` are the arguments of the process.
pub(super) fn run(flags: Flags, given: &[OsString]) -> Result<ExitCode, Stop> {
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
    if let Some(recording) = &recording {
        settings.bridge.endpoint.http.observation = recording.observation();
    }
    let runtime = runtime()?;
    let end = runtime.block_on(async {
        #[cfg(feature = "commands")]
        let offer = offer_view(&mut settings.bridge.endpoint, recording.as_ref());
        let (input, output) = (stdio::stdin(), stdio::stdout());
        let bridge = bridge::run(settings.bridge, input, output, signals::stop());
        // A task, because the runtime asks the kernel for news before it goes on with what it blocks on.
        let end = tokio::spawn(bridge).await;
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

/// Lets `inspect` look at the bridge, beside a recording that goes on anyway.
#[cfg(feature = "commands")]
fn offer_view(endpoint: &mut EndpointConfig, recording: Option<&Recording>) -> Option<Offer> {
    let directory = endpoint.directory.clone()?;
    let observers = Arc::new(Observers::default());
    if let Some(recording) = recording {
        observers.add(recording.recorder());
    }
    endpoint.http.observation = Observation::by(Arc::clone(&observers) as Arc<dyn Observer>);
    let mut server = http::bare(&endpoint.url).to_string();
    if endpoint.url.query().is_some() {
        server.push_str("?…");
    }
    let introduction = Introduction::of_this_process(server);
    Some(Offer::of(&directory, introduction, observers))
}
