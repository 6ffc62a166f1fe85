//! `mcp-bridge logout`: sign-out.

use std::io::Write;
use std::process::ExitCode;

use url::Url;

use super::account::title;
use super::record::CommandRecording;
use super::{Stop, printed, runtime};
use crate::cli::{self, ConnectionFlags, ServerConnection};
use crate::log;
use mcp_bridge_auth::{self as auth, Account, Authorizer, Leftover, Revocation, SignedOut, Store};
use mcp_bridge_core::bridge::Memory;
use mcp_bridge_core::stdio;
use mcp_bridge_net::http::bare;
use mcp_bridge_net::private_file::sweep_private;
use mcp_bridge_text::printable;

const RUNNING: &str = "\
A bridge that is running keeps its token until the server refuses it, and then asks you to sign in.";

/// Sign out: revoke the tokens if the server supports it, and delete them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server to sign out of, with all its accounts or the one of --profile
    #[arg(required_unless_present = "all")]
    url: Option<String>,

    /// Sign out of every server
    #[arg(long, conflicts_with = "url")]
    all: bool,

    /// Also delete what npm mcp-remote has stored for the server
    #[arg(long)]
    mcp_remote: bool,

    #[command(flatten)]
    connection: ConnectionFlags,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let directory = cli::store_directory().unwrap_or_default();
    if args.all {
        auth::remove_remains(&directory);
    } else {
        sweep_private(&directory);
    }
    let choices = args.connection.place_of_accounts()?;
    let all = Account::all_where(&choices)?;
    let mut out = stdio::report();
    let runtime = runtime()?;
    let mut farewell = Farewell {
        place: match &choices.store {
            Some(Store::Shared(place)) => format!("in {}", place.address),
            Some(Store::File | Store::Keychain | Store::Memory) | None => "on this machine".into(),
        },
        flags: args.connection,
        recording: CommandRecording::default(),
        mcp_remote: args.mcp_remote,
        has_own_headers: !args.all,
        out: &mut out,
        status: ExitCode::SUCCESS,
    };
    let done = runtime.block_on(async {
        match &args.url {
            Some(url) => farewell.leave(url, &all).await,
            None => farewell.leave_all(&all).await,
        }
    });
    runtime.shutdown_background();
    done.map(|()| farewell.status)
}

struct Farewell<'a, O> {
    flags: ConnectionFlags,
    /// Place of the accounts, in words.
    place: String,
    recording: CommandRecording,
    mcp_remote: bool,
    /// True if headers of the command line are for the server: not if there are several servers.
    has_own_headers: bool,
    out: &'a mut O,
    status: ExitCode,
}

impl<O: Write> Farewell<'_, O> {
    async fn leave_all(&mut self, all: &[Account]) -> Result<(), Stop> {
        if all.is_empty() {
            return self.say(&format!("No sign-in is stored {}.", self.place));
        }
        let mut servers: Vec<_> = all.iter().map(|account| &account.server).collect();
        servers.dedup();
        for server in servers {
            self.leave(server.as_str(), all).await?;
        }
        Ok(())
    }

    /// Ends all sign-ins at one server that the flags do not exclude.
    async fn leave(&mut self, url: &str, all: &[Account]) -> Result<(), Stop> {
        let mut connection = self.flags.clone().connection(url, None)?;
        log::start(&connection.log);
        self.recording.observe(&mut connection);
        let server = connection.endpoint.url.clone();
        // Where secrets are is known of each account.
        let config = connection.auth.clone().map(|config| auth::Config {
            store: config
                .store
                .clone()
                .filter(|store| matches!(store, Store::Shared(_))),
            ..config
        });
        let Some(config) = config else {
            return Err(Stop {
                hint: Some("leave the header out to sign out of what is stored".into()),
                ..Stop::failed("with an Authorization header of your own nobody is signed in")
            });
        };
        let mut left: Vec<Account> = Vec::new();
        for account in all {
            let is_meant = account.is_at(&server)
                && (config.profile.is_none() || config.profile == account.profile);
            if is_meant && !left.iter().any(|it| it.is_same_account(account)) {
                self.sign_out(account, &config, &connection).await?;
                left.push(account.clone());
            }
        }
        if left.is_empty() {
            self.say(&format!("No sign-in is stored for {}.", bare(&server)))?;
        }
        self.tell_of_leftover(&server, &config)?;
        if left.is_empty() {
            return Ok(());
        }
        self.say(RUNNING)
    }

    async fn sign_out(
        &mut self,
        account: &Account,
        config: &auth::Config,
        connection: &ServerConnection,
    ) -> Result<(), Stop> {
        let endpoint = &connection.endpoint;
        let mut authorizer = Authorizer::of_account(account, config.clone(), endpoint.http.clone());
        if self.has_own_headers {
            authorizer = authorizer.with_headers(endpoint.own_headers());
        }
        match authorizer.sign_out().await {
            Ok(ended) => {
                if let Some(directory) = &connection.endpoint.directory {
                    Memory::of_account(directory, account.name()).forget();
                }
                for ended in ended {
                    self.say(&format!("{}: {}", title(account), in_words(&ended)))?;
                    if ended.forgotten.is_err() {
                        self.status = ExitCode::FAILURE;
                    }
                }
                Ok(())
            }
            Err(error) => {
                self.status = ExitCode::FAILURE;
                self.say(&format!("{}: not signed out: {error}", title(account)))
            }
        }
    }

    fn tell_of_leftover(&mut self, server: &Url, config: &auth::Config) -> Result<(), Stop> {
        let Some(leftover) = Leftover::find(server, config) else {
            return Ok(());
        };
        if !self.mcp_remote {
            return self.say(
                "npm mcp-remote has stored a sign-in for this server, which the bridge would use. \
                 To delete it, too, pass --mcp-remote.",
            );
        }
        match leftover.delete() {
            Ok(()) => self.say("What npm mcp-remote had stored for this server is deleted."),
            Err(error) => {
                self.status = ExitCode::FAILURE;
                self.say(&format!(
                    "What npm mcp-remote has stored could not be deleted: {error}"
                ))
            }
        }
    }

    fn say(&mut self, line: &str) -> Result<(), Stop> {
        printed(writeln!(self.out, "{}", printable::line(line)))
    }
}

fn in_words(ended: &SignedOut) -> String {
    let issuer = &ended.issuer;
    let revoked = match &ended.revocation {
        Revocation::Done => "revoked".to_owned(),
        Revocation::NoToken => "there was no token to revoke".to_owned(),
        Revocation::NotOffered => {
            format!("not revoked, because {issuer} offers no revocation")
        }
        Revocation::Failed(reason) => format!("not revoked ({reason})"),
        Revocation::Shared(others) => {
            let others = match others {
                1 => "another server goes".to_owned(),
                number => format!("{number} other servers go"),
            };
            return match &ended.forgotten {
                Ok(()) => format!(
                    "forgotten here; {others} on with the sign-in at {issuer} (mcp-bridge logout {issuer} ends it)"
                ),
                Err(error) => format!("not forgotten: {error}"),
            };
        }
    };
    match (&ended.forgotten, &ended.revocation) {
        (Ok(()), Revocation::Done) => format!("{revoked}, and forgotten here"),
        (Ok(()), Revocation::NoToken) => format!("forgotten here; {revoked}"),
        (Ok(()), Revocation::NotOffered | Revocation::Failed(_) | Revocation::Shared(_)) => {
            format!("{revoked}, but forgotten here")
        }
        (Err(error), _) => format!("{revoked}, and not forgotten: {error}"),
    }
}
