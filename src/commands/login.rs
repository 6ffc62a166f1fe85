//! `mcp-bridge login`: a sign-in from the terminal, before an app needs it.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;

use super::account::{Paint, Style, rows};
use super::client::McpClient;
use super::record::CommandRecording;
use super::{Stop, printed, runtime};
use crate::cli::{self, ConnectionFlags, ServerConnection};
use crate::log;
use crate::signals;
use mcp_bridge_auth::{
    self as auth, Account, AnswerInput, Authorizer, Place, Servers, SignInStage, Store,
    choose_place,
};
use mcp_bridge_core::stdio::{self, Line, LineReader};
use mcp_bridge_net::http::bare;
use mcp_bridge_net::private_file::sweep_private;
use mcp_bridge_text::printable;

/// The longest line that is read as a pasted address, in bytes.
const LONGEST_PASTE: usize = 16 * 1024;

/// Sign in to a server now, before an app needs it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint
    url: String,

    /// The port of the sign-in's callback, if it has to be a fixed one
    #[arg(value_parser = cli::port)]
    callback_port: Option<u16>,

    /// Sign out first, to sign in as somebody else or with other scopes
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    connection: ConnectionFlags,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let mut connection = args.connection.connection(&args.url, args.callback_port)?;
    log::start_for_person(&connection.log);
    let _recording = CommandRecording::of(&mut connection);
    let mut auth = connection.auth.clone().ok_or_else(|| Stop {
        hint: Some("leave the header out to sign in".into()),
        ..Stop::failed("with an Authorization header of your own there is no sign-in")
    })?;
    if auth.store == Some(Store::Memory) {
        return Err(Stop::usage(
            "--store memory would forget the sign-in as soon as it is done",
        ));
    }
    if std::io::stdin().is_terminal() {
        auth.answer_input = AnswerInput::Terminal;
    }
    // Somebody wants to sign in, so the first refusal is enough.
    auth.server_failures = 1;
    let mut out = stdio::report();
    let style = Style::of(&out);
    if let Some(directory) = &auth.directory {
        sweep_private(directory);
    }
    let login = Login::new(&connection, auth, args.force);
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = login.run(style, &mut out) => done,
            () = signals::stop() => Err(Stop::failed("interrupted; nobody has signed in")),
        }
    });
    // Reading stdin may take a thread that cannot be interrupted; it need not be waited for.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

struct Login<'a> {
    connection: &'a ServerConnection,
    auth: auth::Config,
    authorizer: Arc<Authorizer>,
    beginning: Beginning,
}

/// A server that took the token.
struct Visit {
    /// The name and version that it tells.
    name: Option<String>,
    /// The number of its tools, if it lists them.
    tools: Option<usize>,
}

/// Policy for a sign-in that exists already.
enum Beginning {
    /// Use it.
    AsItIs,
    /// End it.
    SignOut,
}

impl<'a> Login<'a> {
    fn new(connection: &'a ServerConnection, auth: auth::Config, force: bool) -> Self {
        let authorizer = connection.endpoint.authorizer(auth.clone());
        Self {
            connection,
            auth,
            authorizer: Arc::new(authorizer),
            beginning: if force {
                Beginning::SignOut
            } else {
                Beginning::AsItIs
            },
        }
    }

    async fn run(&self, style: Style, out: &mut impl Write) -> Result<(), Stop> {
        self.authorizer.check_store().await?;
        match self.beginning {
            Beginning::AsItIs => {}
            Beginning::SignOut => _ = self.authorizer.sign_out().await?,
        }
        let had_token = self.authorizer.token().await?.is_some();
        let stage = self.authorizer.watch_sign_in();
        let pasting = tokio::spawn(submit_pasted(Arc::clone(&self.authorizer)));
        let visit = self.visit().await;
        pasting.abort();
        let visit = visit?;
        let is_old = had_token && *stage.borrow() != SignInStage::Done;
        let opening = if is_old {
            "Already signed in to"
        } else {
            "Signed in to"
        };
        if let Err(error) = cli::note_store_directory() {
            tracing::debug!(%error, "apps without XDG_DATA_HOME do not find this sign-in");
        }
        let server = bare(&self.connection.endpoint.url).to_string();
        let text = if self.authorizer.token().await?.is_none() {
            format!("{server} wants no sign-in: it answered without one, and offers none.\n")
        } else {
            let account = self.kept().await?;
            let title = style.paint(Paint::Name, &server);
            format!("{opening} {title}\n{}", rows(style, &account))
        };
        printed(writeln!(out, "{text}{}", greeting(&visit)))?;
        if is_old {
            let advice = "To sign in anew, perhaps as somebody else, pass --force.";
            printed(writeln!(out, "{advice}"))?;
        }
        Ok(())
    }

    /// Visits the server until it takes a token. One that answers without a token is visited again with the
    /// token of the sign-in that it offers, if it offers one.
    async fn visit(&self) -> Result<Visit, Stop> {
        let visit = self.visit_once().await?;
        let used = self.authorizer.token().await?;
        let token = self.authorizer.volunteer().await?;
        if token == used {
            return Ok(visit);
        }
        self.visit_once().await
    }

    /// Opens a session and lists the tools: some servers want a token for that alone.
    async fn visit_once(&self) -> Result<Visit, Stop> {
        let authorizer = Arc::clone(&self.authorizer);
        let client = McpClient::visit(self.connection.clone(), authorizer).await?;
        let server = client.server();
        let tools = client.count_tools().await;
        client.leave().await;
        Ok(Visit {
            name: server,
            tools: tools?,
        })
    }

    /// The account as it is stored, where the flags want it.
    async fn kept(&self) -> Result<Account, Stop> {
        let not_kept = || Stop {
            hint: Some("see the warnings above; --debug says more".into()),
            ..Stop::failed("signed in, but the sign-in could not be kept")
        };
        let place = match &self.auth.store {
            Some(Store::Keychain) => Some(Place::Keychain),
            Some(Store::File) => Some(Place::File),
            Some(Store::Memory | Store::Shared(_)) | None => None,
        };
        if let (Some(place), Some(directory)) = (place, &self.auth.directory) {
            // For the bridge, which has no such flag in the app's configuration.
            let server = Servers::One(&self.connection.endpoint.url);
            choose_place(directory, server, place)
                .map_err(|error| Stop::failed(format!("the choice of --store is lost: {error}")))?;
            for account in self.authorizer.accounts().await {
                account.move_to(place, &self.auth.keychain).await?;
            }
        }
        let accounts = self.authorizer.accounts().await.into_iter();
        let signed_in = accounts.filter(|account| account.signed_in.is_some());
        signed_in
            .max_by_key(|account| account.saved_at)
            .ok_or_else(not_kept)
    }
}

/// Evidence that the token is accepted.
fn greeting(visit: &Visit) -> String {
    let tools = match visit.tools {
        Some(1) => " and offers 1 tool".to_owned(),
        Some(number) => format!(" and offers {number} tools"),
        None => String::new(),
    };
    match &visit.name {
        Some(name) => format!("The server is {}{tools}.", printable::line(name)),
        None => format!("The server answers{tools}."),
    }
}

/// Takes the address at which the browser ended from somebody whose browser is on another machine.
async fn submit_pasted(authorizer: Arc<Authorizer>) {
    let mut lines = LineReader::new(stdio::stdin(), LONGEST_PASTE);
    while let Ok(Some(line)) = lines.next().await {
        // No answer of an authorization server is too long.
        let Line::Text(text) = &line else { continue };
        let text = String::from_utf8_lossy(text);
        if text.trim().is_empty() {
            continue;
        }
        if let Err(error) = authorizer.submit(text.trim()).await {
            tracing::warn!(target: auth::SIGN_IN_TARGET, "Not accepted: {error}.");
        }
    }
}
