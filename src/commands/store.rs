//! `mcp-bridge store`: where secrets are kept, and moving them.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use url::Url;

use super::account::{Paint, Style, place, title};
use super::{Stop, printed, runtime, start_quiet_log};
use crate::cli::{PlaceOrAddress, PlaceOrAddressParser, StoreFlags};
use mcp_bridge_auth::{
    Account, Config, Keychain, Place, Servers, SharedPlace, Store, StoreKeys, choose_place,
    place_of_new,
};
use mcp_bridge_core::stdio;

/// Show where tokens are kept, or move them to the keychain, to files or to Redis
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<StoreAction>,

    /// New place; or the address of a Redis, or @FILE with such an address
    #[arg(value_parser = PlaceOrAddressParser::<PlaceArgument>::new())]
    place: Option<PlaceOrAddress<PlaceArgument>>,

    /// The server whose tokens are moved; all of them by default
    #[arg(requires = "place")]
    url: Option<Url>,

    /// Move the tokens of all servers, and keep future ones there: the same as without a URL
    #[arg(long, requires = "place", conflicts_with = "url")]
    all: bool,

    #[command(flatten)]
    store: StoreFlags,
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
    let from = args.store.config()?;
    let mut out = stdio::report();
    let Some(to) = &args.place else {
        return show(&from, &mut out);
    };
    let to = Destination::new(to, &from)?;
    let runtime = runtime()?;
    let moved = runtime.block_on(to.moved(from, args.url.as_ref(), &mut out));
    runtime.shutdown_background();
    moved
}

fn no_directory() -> Stop {
    Stop::failed("there is no place to store anything")
        .hint("name a directory in the environment variable MCP_BRIDGE_DIR")
}

fn no_key() -> Stop {
    Stop::usage("what others keep for us is encrypted, and there is no key")
        .hint("make one with mcp-bridge store key, and pass --store-key-file")
}

/// Place to which accounts are moved.
struct Destination {
    place: Place,
    choices: Config,
}

fn show(from: &Config, out: &mut (impl Write + std::io::IsTerminal)) -> Result<ExitCode, Stop> {
    let style = Style::of(out);
    let accounts = Account::all_where(from)?;
    let mut text = String::new();
    for account in &accounts {
        let name = style.paint(Paint::Name, &title(account));
        let width = if account.place == Place::Shared {
            18
        } else {
            14
        };
        let _ = writeln!(text, "{:<width$}{name}", place(account.place));
    }
    if accounts.is_empty() {
        text += "No sign-in is stored yet.\n";
    }
    let _ = match (&from.store, &from.directory) {
        (Some(Store::Shared(place)), _) => writeln!(
            text,
            "Bridges with this store keep new sign-ins in {}.",
            place.address
        ),
        (_, Some(directory)) => writeln!(
            text,
            "New sign-ins are kept in {}, below {}.",
            place(place_of_new(directory)),
            directory.display()
        ),
        (_, None) => return Err(no_directory()),
    };
    printed(out.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

impl Destination {
    fn new(to: &PlaceOrAddress<PlaceArgument>, from: &Config) -> Result<Self, Stop> {
        let (place, store) = match to {
            PlaceOrAddress::Place(PlaceArgument::Keychain) => (Place::Keychain, Store::Keychain),
            PlaceOrAddress::Place(PlaceArgument::File) => (Place::File, Store::File),
            PlaceOrAddress::Address(text) => {
                let address = text.address("store")?;
                let keys = from.store_keys.clone().ok_or_else(no_key)?;
                (
                    Place::Shared,
                    Store::Shared(Box::new(SharedPlace { address, keys })),
                )
            }
        };
        let choices = Config {
            store: Some(store),
            ..from.clone()
        };
        Ok(Self { place, choices })
    }

    async fn moved(
        &self,
        mut from: Config,
        url: Option<&Url>,
        out: &mut impl Write,
    ) -> Result<ExitCode, Stop> {
        if from.store == self.choices.store {
            // That is where they go to, so they come from here.
            from.store = None;
        }
        let is_shared = matches!(from.store, Some(Store::Shared(_)));
        if self.place == Place::Keychain {
            let checked = Keychain::default();
            let check = tokio::task::spawn_blocking(move || checked.check());
            check.await.unwrap_or(Ok(())).map_err(Stop::from)?;
        }
        let servers = url.map_or(Servers::All, Servers::One);
        if self.place != Place::Shared {
            let directory = from.directory.as_ref().ok_or_else(no_directory)?;
            // First, so that a bridge that refreshes meanwhile moves its own.
            choose_place(directory, servers, self.place).map_err(|error| {
                Stop::failed(format!("cannot write to {}: {error}", directory.display()))
            })?;
        }
        let mut accounts = Account::all_where(&from)?;
        accounts.retain(|account| url.is_none_or(|url| account.is_at(url)));
        let mut status = ExitCode::SUCCESS;
        for account in &accounts {
            let moved = if is_shared || self.place == Place::Shared {
                account.move_into(&self.choices).await
            } else {
                account.move_to(self.place, &Keychain::default()).await
            };
            let (name, place) = (title(account), place(self.place));
            let line = match moved {
                Ok(true) => format!("{name}: moved to {place}"),
                Ok(false) => format!("{name}: was in {place} already"),
                Err(error) => {
                    status = ExitCode::FAILURE;
                    format!("{name}: not moved: {error}")
                }
            };
            printed(writeln!(out, "{line}"))?;
        }
        printed(writeln!(out, "{}", self.future(url)))?;
        Ok(status)
    }

    /// Sentence about future sign-ins.
    fn future(&self, url: Option<&Url>) -> String {
        let place = place(self.place);
        match (&self.choices.store, url) {
            (Some(Store::Shared(place)), _) => format!(
                "Start bridges with --store {} to use what is there.",
                place.address
            ),
            (_, None) => format!("New sign-ins are kept in {place}, too."),
            (_, Some(url)) => format!("New sign-ins at {} are kept in {place}, too.", host(url)),
        }
    }
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or(url.as_str())
}
