//! `mcp-bridge status`: sign-ins and their expiry.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::account::{Paint, Style, rows, title};
use super::{Stop, printed, start_quiet_log};
use crate::cli::StoreFlags;
use mcp_bridge_auth::{self as auth, Account, Expiry, Place, Store, Voucher};
use mcp_bridge_core::bridge::Memory;
use mcp_bridge_core::endpoint::KnownServer;
use mcp_bridge_core::stdio;
use mcp_bridge_text::printable;

const EMPTY: &str = "\
The bridge opens the sign-in page when your app first needs it. To sign in now:

  mcp-bridge login https://mcp.example.com/mcp
";

/// Show where you are signed in, and until when
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreFlags,
}

/// A server, and what is known of it.
struct StatusEntry {
    account: Option<Account>,
    server: Option<KnownServer>,
    /// The versions in which it has answered.
    versions: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    start_quiet_log();
    let choices = args.store.config()?;
    let known = known(&choices)?;
    let mut out = stdio::report();
    printed(if args.json {
        print_json(&known, &mut out)
    } else {
        print(&known, &choices, Style::of(&out), &mut out)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Each account, then the servers that are known for what they speak alone.
fn known(choices: &auth::Config) -> Result<Vec<StatusEntry>, Stop> {
    let accounts = Account::all_where(choices)?;
    let directory = choices.directory.clone().unwrap_or_default();
    let mut servers = match choices.store {
        // What this machine knows of servers is no matter of the others.
        Some(Store::Shared(_)) => Vec::new(),
        Some(Store::File | Store::Keychain | Store::Memory) | None => KnownServer::all(&directory),
    };
    let mut known: Vec<_> = accounts
        .into_iter()
        .map(|account| StatusEntry {
            server: servers.iter().find(|it| it.url == account.server).cloned(),
            versions: Memory::of_account(&directory, account.name()).versions(),
            account: Some(account),
        })
        .collect();
    servers.retain(|server| !known.iter().any(|it| it.is_at(server)));
    known.extend(servers.into_iter().map(|server| StatusEntry {
        account: None,
        server: Some(server),
        versions: Vec::new(),
    }));
    Ok(known)
}

fn print(
    known: &[StatusEntry],
    choices: &auth::Config,
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    if known.is_empty() {
        let place = match &choices.store {
            Some(Store::Shared(place)) => format!("in {}", place.address),
            Some(Store::File | Store::Keychain | Store::Memory) | None => "on this machine".into(),
        };
        return write!(out, "No sign-in is stored {place} yet.\n{EMPTY}");
    }
    for (number, known) in known.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        match (&known.account, &known.server) {
            (Some(account), _) => {
                writeln!(out, "{}", style.paint(Paint::Name, &title(account)))?;
                write!(out, "{}", rows(style, account))?;
            }
            (None, Some(server)) => {
                writeln!(out, "{}", style.paint(Paint::Name, server.url.as_str()))?;
                let signed_in = if server.is_open { "not needed" } else { "no" };
                write!(out, "{}", style.row("signed in", signed_in))?;
            }
            (None, None) => {}
        }
        if let Some(speaks) = known.speaks() {
            write!(out, "{}", style.row("speaks", &speaks))?;
        }
    }
    Ok(())
}

fn print_json(known: &[StatusEntry], out: &mut impl Write) -> io::Result<()> {
    let values: Vec<_> = known.iter().map(StatusEntry::to_json).collect();
    let text = serde_json::to_string_pretty(&values)?;
    // Issuers and names of people come from others.
    writeln!(out, "{}", printable::json(&text))
}

impl StatusEntry {
    fn is_at(&self, server: &KnownServer) -> bool {
        let account = self.account.as_ref();
        account.is_some_and(|account| account.is_at(&server.url))
    }

    /// Era and transport of the server, in words.
    fn speaks(&self) -> Option<String> {
        if let Some(server) = &self.server {
            return Some(server.speaks.to_owned());
        }
        (!self.versions.is_empty()).then(|| format!("MCP {}", self.versions.join(", ")))
    }

    /// Times are seconds from now: negative for what is over, null where nothing is known.
    fn to_json(&self) -> Value {
        let account = self.account.as_ref();
        let signed_in = account.and_then(|it| it.signed_in.as_ref()).map(|it| {
            json!({
                "user": it.user,
                "scopes": it.scopes.split_whitespace().collect::<Vec<_>>(),
                "expiresIn": seconds(it.expiry),
                "renewable": it.renewable,
                "boundToKey": it.is_bound,
            })
        });
        let url = account
            .map(|it| &it.server)
            .or(self.server.as_ref().map(|it| &it.url));
        let mut value = json!({
            "server": url,
            "profile": account.and_then(|it| it.profile.clone()),
            "issuer": account.map(|it| &it.issuer),
            "signedIn": signed_in,
            "signInPending": account.is_some_and(|it| it.is_pending),
            "store": account.map(|it| match it.place {
                Place::File => "file",
                Place::Keychain => "keychain",
                Place::Shared => "redis",
            }),
            "signInNeeded": self.server.as_ref().filter(|it| it.is_open).map(|_| false),
            "speaks": self.speaks(),
        });
        match account.and_then(|it| it.voucher.as_ref()) {
            Some(Voucher::IdentityProvider(provider)) => {
                value["identityProvider"] = provider.as_str().into();
            }
            Some(Voucher::ExternalToken(place)) => value["externalToken"] = place.as_str().into(),
            Some(Voucher::SharedSignIn(_)) | None => {}
        }
        if let Some(account) = account.filter(|it| it.shared_account().is_some()) {
            value["sharedSignIn"] = account.issuer.as_str().into();
        }
        if let Some(servers) = account.and_then(|it| it.shared_by.as_ref()) {
            value["sharedBy"] = servers.iter().map(ToString::to_string).collect();
        }
        value
    }
}

fn seconds(expiry: Expiry) -> Option<i64> {
    let number = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match expiry {
        Expiry::Unknown => None,
        Expiry::In(left) => Some(number(left)),
        Expiry::Ago(since) => Some(-number(since)),
    }
}
