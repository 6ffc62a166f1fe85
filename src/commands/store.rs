//! `mcp-bridge store`: where secrets are kept, and moving them.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use url::Url;

use super::account::{Paint, Style, place, title};
use super::{Stop, printed, runtime, start_quiet_log};
use crate::cli;
use mcp_bridge_auth::{Account, Keychain, Place, Servers, StoreKeys, choose_place, place_of_new};
use mcp_bridge_core::stdio;

/// Show where tokens are kept, or move them to the keychain or to files
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<StoreAction>,

    /// Where to move them
    #[arg(value_enum)]
    place: Option<PlaceArgument>,

    /// The server whose tokens are moved; all of them by default
    #[arg(requires = "place")]
    url: Option<Url>,

    /// Move the tokens of all servers, and keep future ones there: the same as without a URL
    #[arg(long, requires = "place", conflicts_with = "url")]
    all: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PlaceArgument {
    /// The keychain of the operating system
    Keychain,
    /// A file that only you can read
    File,
}

#[derive(Debug, clap::Subcommand)]
enum StoreAction {
    /// Print a new key, for a file that --store-key-file names
    Key,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    start_quiet_log();
    if let Some(StoreAction::Key) = args.action {
        let key = StoreKeys::generate();
        printed(writeln!(stdio::report(), "{}", key.expose()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let directory = cli::store_directory().ok_or_else(|| Stop {
        hint: Some("name a directory in the environment variable MCP_BRIDGE_DIR".into()),
        ..Stop::failed("there is no place to store anything")
    })?;
    let mut out = stdio::report();
    let Some(to) = args.place else {
        return show(&directory, &mut out);
    };
    let to = match to {
        PlaceArgument::Keychain => Place::Keychain,
        PlaceArgument::File => Place::File,
    };
    let runtime = runtime()?;
    let moved = runtime.block_on(moved(&directory, to, args.url.as_ref(), &mut out));
    runtime.shutdown_background();
    moved
}

fn show(directory: &Path, out: &mut (impl Write + std::io::IsTerminal)) -> Result<ExitCode, Stop> {
    let style = Style::of(out);
    let accounts = Account::all(directory);
    let mut text = String::new();
    for account in &accounts {
        let name = style.paint(Paint::Name, &title(account));
        let _ = writeln!(text, "{:<14}{name}", place(account.place));
    }
    if accounts.is_empty() {
        text += "No sign-in is stored yet.\n";
    }
    let future = place(place_of_new(directory));
    let _ = writeln!(
        text,
        "New sign-ins are kept in {future}, below {}.",
        directory.display()
    );
    printed(out.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

async fn moved(
    directory: &Path,
    to: Place,
    url: Option<&Url>,
    out: &mut impl Write,
) -> Result<ExitCode, Stop> {
    let keychain = Keychain::default();
    if to == Place::Keychain {
        let checked = keychain.clone();
        let check = tokio::task::spawn_blocking(move || checked.check());
        check.await.unwrap_or(Ok(())).map_err(Stop::from)?;
    }
    let servers = url.map_or(Servers::All, Servers::One);
    // First, so that a bridge that refreshes meanwhile moves its own.
    choose_place(directory, servers, to).map_err(|error| {
        Stop::failed(format!("cannot write to {}: {error}", directory.display()))
    })?;
    let mut status = ExitCode::SUCCESS;
    let mut accounts = Account::all(directory);
    accounts.retain(|account| url.is_none_or(|url| account.is_at(url)));
    for account in &accounts {
        let name = title(account);
        let place = place(to);
        let line = match account.move_to(to, &keychain).await {
            Ok(true) => format!("{name}: moved to {place}"),
            Ok(false) => format!("{name}: was in {place} already"),
            Err(error) => {
                status = ExitCode::FAILURE;
                format!("{name}: not moved: {error}")
            }
        };
        printed(writeln!(out, "{line}"))?;
    }
    let place = place(to);
    let future = match url {
        None => format!("New sign-ins are kept in {place}, too."),
        Some(url) => format!("New sign-ins at {} are kept in {place}, too.", host(url)),
    };
    printed(writeln!(out, "{future}"))?;
    Ok(status)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or(url.as_str())
}
