//! `mcp-bridge secret`: API keys and the like in the keychain, for `{keychain:NAME}` in headers.

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::process::ExitCode;

use super::{Stop, printed, start_quiet_log};
use mcp_bridge_auth::{Keychain, KeychainError, SecretName};
use mcp_bridge_core::stdio;
use mcp_bridge_text::secret::Secret;

/// The most that is read of a secret, in bytes; the keychain takes less.
const LARGEST_INPUT: u64 = 64 * 1024;

const AFTER_HELP: &str = "\
The secret is typed without being shown, or read from standard input. A header refers to it by its name, so that \
it stands in no configuration of an app and in no list of processes:

  mcp-bridge secret set example-key
  mcp-bridge https://mcp.example.com/mcp --header 'X-Api-Key: {keychain:example-key}'";

/// Keep API keys in the keychain, for {keychain:NAME} in a --header
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    action: SecretAction,
}

#[derive(Debug, clap::Subcommand)]
enum SecretAction {
    /// Keep a secret, or replace it
    Set {
        /// Its name: letters, digits, -, _ and .
        name: SecretName,
    },
    /// List the names of the secrets
    List,
    /// Delete a secret
    Delete {
        /// Its name
        name: SecretName,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Stop> {
    start_quiet_log();
    let keychain = Keychain::default();
    let mut out = stdio::report();
    match &args.action {
        SecretAction::Set { name } => {
            // Before a person has typed it in vain.
            keychain.check().map_err(|error| stop(&error))?;
            let secret = read(name)?;
            keychain
                .set_named(name, &secret)
                .map_err(|error| stop(&error))?;
            let text =
                format!("Kept in the keychain. A header refers to it by {{keychain:{name}}}.");
            printed(writeln!(out, "{text}"))?;
        }
        SecretAction::List => {
            let names = keychain.names().map_err(|error| stop(&error))?;
            for name in &names {
                printed(writeln!(out, "{name}"))?;
            }
            if names.is_empty() {
                printed(writeln!(out, "No secret is in the keychain."))?;
            }
        }
        SecretAction::Delete { name } => {
            if !keychain.delete_named(name).map_err(|error| stop(&error))? {
                return Err(Stop {
                    hint: Some("mcp-bridge secret list shows those that there are".to_owned()),
                    ..Stop::failed(format!("there is no secret {name} in the keychain"))
                });
            }
            printed(writeln!(out, "Deleted."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(error: &KeychainError) -> Stop {
    Stop {
        hint: Some(error.hint_for_named()),
        ..Stop::failed(error.to_string())
    }
}

/// The secret, from a person who does not see what they type, or from standard input without the line break at its end.
fn read(name: &SecretName) -> Result<Secret<String>, Stop> {
    let input = io::stdin();
    let text = if input.is_terminal() {
        rpassword::prompt_password(format!("{name}: "))
    } else {
        let mut text = String::new();
        let read = input.lock().take(LARGEST_INPUT).read_to_string(&mut text);
        read.map(|_| text)
    };
    let text = text.map_err(|error| Stop::failed(format!("cannot read the secret: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Stop::failed(
            "the secret is empty, so nothing was kept".to_owned(),
        ));
    }
    if text.contains(char::is_control) {
        return Err(Stop::failed(
            "the secret has line breaks or other control characters, so nothing was kept"
                .to_owned(),
        ));
    }
    Ok(Secret::new(text.to_owned()))
}
