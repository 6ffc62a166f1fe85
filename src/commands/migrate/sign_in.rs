//! Sign-ins of converted entries: whether they can be taken over, in words.

use std::collections::BTreeMap;

use super::conversion::variable;
use crate::cli::{self, Flags, SignInSource};
use crate::commands::install::flags;
use crate::commands::text::first_line;
use mcp_bridge_auth::{self as auth, Account, Leftover};

/// Program that connected to the server before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreviousProgram {
    McpRemote,
    App,
}

/// Fate of the sign-in of an entry whose arguments will be these.
pub(super) fn outcome(
    flags: Flags,
    environment: &BTreeMap<String, String>,
    arguments: &[String],
    origin: PreviousProgram,
) -> String {
    let promised = flags::variables(arguments);
    let way = flags.sign_in(&|name| variable(environment, name), &promised);
    match way {
        Some(SignInSource::OfTheUser) => {
            "it keeps its own Authorization, beside which there is no sign-in".to_owned()
        }
        Some(SignInSource::OfTheClient) => "the client signs in as itself, as before".to_owned(),
        Some(SignInSource::OfAPerson(url, config)) => of_a_person(&url, &config, origin),
        None => SIGN_IN.to_owned(),
    }
}

const SIGN_IN: &str = "if the server wants a sign-in, its page opens at the first start";

fn of_a_person(url: &url::Url, config: &auth::Config, origin: PreviousProgram) -> String {
    let name = auth::account_name(url, config);
    let accounts = cli::store_directory().map(|directory| Account::all(&directory));
    let mut accounts = accounts.unwrap_or_default().into_iter();
    if accounts.any(|it| it.name() == name && it.signed_in.is_some()) {
        return "the bridge is signed in there already".to_owned();
    }
    if origin == PreviousProgram::App {
        return "the app keeps its sign-in to itself; if the server wants one, its page opens at the first start"
            .to_owned();
    }
    match Leftover::find(url, config).map(|leftover| leftover.issuer()) {
        Some(Some(issuer)) => {
            let issuer = first_line(&issuer, None);
            format!("its sign-in with mcp-remote (at {issuer}) is taken over at the first start")
        }
        Some(None) => "its sign-in with mcp-remote does not say which authorization server it is from, so it is \
                       not taken over: the sign-in page opens at the first start"
            .to_owned(),
        None if Leftover::is_too_old(url, config) => {
            "its sign-in is one of an old mcp-remote, which is not taken over: the sign-in page opens at the \
             first start"
                .to_owned()
        }
        None => SIGN_IN.to_owned(),
    }
}
