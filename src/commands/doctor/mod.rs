//! `mcp-bridge doctor`: diagnosis of the connection to a server, or of an app's entry, one check after the other. It opens
//! no browser, registers no client and calls no tool.

mod app;
mod authorization;
mod certificate;
mod check;
mod conversation;
mod endpoint;
mod network;
mod report;

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName};
use tokio::time::timeout;
use url::Url;

use self::check::{Check, CheckName};
use self::endpoint::Speaks;
pub(super) use self::endpoint::leave;
use self::report::{Report, ReportForm, Subject};
use super::account::colours_are_unwanted;
use super::install::apps::AppId;
use super::record::CommandRecording;
use super::{Stop, runtime};
use crate::cli::{self, ConnectionFlags, ServerConnection};
use crate::commands::client::request::bare_initialize;
use crate::log;
use crate::terminal::has_colours;
use mcp_bridge_auth::{AccessToken, Authorizer, HeaderProgram, SecretHeaders};
use mcp_bridge_core::endpoint::{EndpointConfig, Failure, Probe, Reply};
use mcp_bridge_core::stdio;
use mcp_bridge_net::http::bare;

/// Limit of the whole examination. Each step has a limit of its own, and a server that uses up all of them
/// would take more patience than anybody has.
const TOTAL_LIMIT: Duration = Duration::from_secs(45);

/// A shorter value says nothing, and would be found in innocent text.
const SHORTEST_SECRET: usize = 8;

/// Reason for which there is no sign-in to examine.
const OWN_HEADER: &str = "your own Authorization header is the way in";

const RESULT: &str = "\
Exit status: 0 if nothing failed, 1 if something did, 2 for arguments that make no sense.
Nothing is changed: no browser opens, no client is registered, no tool is called.

With --json: { format, program, url, outcome, checks }, each check { name, outcome, found } and,
where it helps, fix and specification. An outcome is passed, warning, failed or skipped. With --app
there is a document for each entry, with app, entry and file in place of url.

With --app, the entries of the app are started as the app does it: with its search path and
environment, except for --no-browser. The argument is the name of an entry; without one, all
entries of the bridge are checked.";

/// Diagnose the connection to a server, or the entry of an app
#[derive(Debug, clap::Args)]
#[command(after_help = RESULT)]
pub(super) struct Args {
    /// The server's MCP endpoint; with --app the name of an entry
    #[arg(required_unless_present = "app")]
    url: Option<String>,

    /// The port that a sign-in's callback would use
    #[arg(value_parser = cli::port, conflicts_with = "app")]
    callback_port: Option<u16>,

    /// Check the entries of this app (repeatable): cursor, claude and so on
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    app: Vec<AppId>,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Examines the server and prints what was found.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let mut out = stdio::report();
    let form = match (args.json, out.is_terminal()) {
        (true, _) => ReportForm::Json,
        (false, true) if colours_are_unwanted() => ReportForm::Signs,
        (false, true) if has_colours(&out) => ReportForm::Coloured,
        (false, true) => ReportForm::Signs,
        (false, false) => ReportForm::Plain,
    };
    let runtime = runtime()?;
    if !args.app.is_empty() {
        let passed = runtime.block_on(app::examine(&args.app, args.url.as_deref(), form, &mut out));
        return status(passed?);
    }
    let url = args.url.unwrap_or_default();
    let mut connection = args.connection.connection(&url, args.callback_port)?;
    log::start(&connection.log);
    let _recording = CommandRecording::of(&mut connection);
    let passed = runtime.block_on(report(&connection, form, &mut out));
    // A name that is being resolved takes a thread that cannot be interrupted.
    runtime.shutdown_background();
    status(passed)
}

/// Exit status for a report: whether nothing failed, as far as it could be written.
fn status(passed: io::Result<bool>) -> Result<ExitCode, Stop> {
    match passed {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads has seen enough.
        Err(error) if stdio::is_closed_pipe(&error) => Ok(ExitCode::FAILURE),
        Err(error) => Err(Stop::failed(format!("cannot write the report: {error}"))),
    }
}

/// Examines the server with the tokens of this source, and writes each check as a line of JSON as soon as it is made. The
/// last line has the outcome.
pub(super) async fn write_findings(
    connection: &ServerConnection,
    authorizer: Option<&Authorizer>,
    out: &mut (dyn Write + Send),
) -> io::Result<bool> {
    report_with(connection, authorizer, ReportForm::JsonLines, out).await
}

async fn report(
    connection: &ServerConnection,
    form: ReportForm,
    out: &mut (dyn Write + Send),
) -> io::Result<bool> {
    let authorizer = authorizer(connection);
    report_with(connection, authorizer.as_ref(), form, out).await
}

async fn report_with(
    connection: &ServerConnection,
    authorizer: Option<&Authorizer>,
    form: ReportForm,
    out: &mut (dyn Write + Send),
) -> io::Result<bool> {
    let config = &connection.endpoint;
    let subject = Subject::Server {
        url: bare(&config.url).into(),
    };
    let mut report = Report::new(out, form, subject, secrets(config));
    let examining = Box::pin(examine(&mut report, connection, authorizer));
    let reason = match timeout(TOTAL_LIMIT, examining).await {
        Ok(Ok(())) if connection.auth.is_none() => OWN_HEADER,
        Ok(Ok(())) => "the server asks for none",
        Ok(Err(reason)) => reason,
        Err(_) => {
            let limit = TOTAL_LIMIT.as_secs();
            report.fail_at_last(&format!("no end of it within {limit} s"));
            "the time is over"
        }
    };
    report.finish(reason)
}

/// Looks at one thing after the other, as far as it makes sense: the reason why it does not.
async fn examine(
    report: &mut Report<'_>,
    connection: &ServerConnection,
    authorizer: Option<&Authorizer>,
) -> Result<(), &'static str> {
    let config = &connection.endpoint;
    let url = &config.url;
    let way = network::reach(report, url, &config.http).await?;
    if let Some(der) = config.http.client_certificate(url) {
        report.add(network::client_certificate(der));
    }
    let mut probe = Probe::new(config);
    if let Some(headers) = &config.secret_headers {
        let headers = secret_headers(report, headers).await?;
        probe = probe.map(|probe| probe.with_headers(headers));
    }
    if let Some(program) = &config.header_program {
        let headers = printed_headers(report, program).await?;
        probe = probe.map(|probe| probe.with_headers(headers));
    }
    let first = match &probe {
        Ok(probe) => probe.post(url, &bare_initialize()).await,
        Err(failure) => Err(failure.clone()),
    };
    let seen = match &first {
        Ok(reply) => match &reply.failure {
            // A proxy for plain http answers in the server's place.
            Some(failure) if reply.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(failure)
            }
            Some(_) | None => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    network::judge(report, url, &way, seen).await?;
    let mut probe = probe.map_err(|_| "there is no trusted connection")?;
    let mut speaks = Box::pin(endpoint::examine(report, &probe, config, first)).await?;
    let mut asks_for_token = false;
    if let Speaks::WantsToken(refused) = &speaks {
        asks_for_token = true;
        let (token, first) = sign_in(report, config, authorizer, &probe, refused).await?;
        probe = probe.authorized(&token);
        speaks = Box::pin(endpoint::examine(report, &probe, config, first)).await?;
    }
    let refused = conversation::examine(report, &probe, config, speaks).await;
    if let Some(refused) = refused {
        // The conversation is over; only what the sign-in looks like was left to tell.
        let (token, reply) = sign_in(report, config, authorizer, &probe, &refused).await?;
        if let Ok(reply) = reply {
            endpoint::leave(&probe.authorized(&token), &reply).await;
        }
    } else if !asks_for_token && let Some(authorizer) = authorizer {
        authorization::examine_offer(report, authorizer).await;
    }
    Ok(())
}

/// The headers with secrets of the keychain, which are not shown.
async fn secret_headers(
    report: &mut Report<'_>,
    headers: &SecretHeaders,
) -> Result<HeaderMap, &'static str> {
    const NAME: CheckName = CheckName::HeaderSecrets;
    match headers.headers().await {
        Ok(headers) => {
            headers.values().for_each(|value| report.hide(value));
            let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            report.add(Check::passed(
                NAME,
                format!("in the keychain, for {}", names.join(", ")),
            ));
            Ok(headers.clone())
        }
        Err(error) => {
            report.add(Check::failed(NAME, error.to_string()).fix_of_auth(&error));
            Err("a header lacks its secret")
        }
    }
}

/// The headers that a program prints, without their values.
async fn printed_headers(
    report: &mut Report<'_>,
    program: &HeaderProgram,
) -> Result<HeaderMap, &'static str> {
    const NAME: CheckName = CheckName::HeaderCommand;
    match program.headers().await {
        Ok(headers) => {
            headers.values().for_each(|value| report.hide(value));
            let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            report.add(Check::passed(NAME, format!("prints {}", names.join(", "))));
            Ok(headers)
        }
        Err(error) => {
            report.add(Check::failed(NAME, error.to_string()).fix_of_auth(&error));
            Err("the header command prints no header")
        }
    }
}

/// The source of tokens; none where the user has a header of their own.
fn authorizer(connection: &ServerConnection) -> Option<Authorizer> {
    let auth = connection.auth.clone()?;
    Some(connection.endpoint.authorizer(auth))
}

async fn sign_in(
    report: &mut Report<'_>,
    config: &EndpointConfig,
    authorizer: Option<&Authorizer>,
    probe: &Probe,
    refused: &Reply,
) -> Result<(AccessToken, Result<Reply, Failure>), &'static str> {
    let authorizer = authorizer.ok_or(OWN_HEADER)?;
    Box::pin(authorization::examine(
        report,
        authorizer,
        probe,
        &config.url,
        refused,
    ))
    .await
}

/// Secrets in the user's own settings.
fn secrets(config: &EndpointConfig) -> Vec<String> {
    let of_url = |url: &Url| -> Vec<String> {
        let pairs = url.query_pairs().map(|(_, value)| value.into_owned());
        pairs.chain(url.query().map(str::to_owned)).collect()
    };
    let headers = config.headers.values();
    let headers = headers.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut secrets: Vec<_> = headers.chain(of_url(&config.url)).collect();
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    secrets
}
