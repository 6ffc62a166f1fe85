//! The helper that finishes a sign-in when an app has ended its bridge (`auth::linger`).
//!
//! It is no command for people, so it is none of clap's: help, completions and the manual page do not know it. It
//! gets the bridge's own arguments through its stdin, where nobody can list them, and is thereby set up as the
//! bridge was. It writes nothing but the file of `--log-file`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read as _};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use super::{CommandLine, runtime};
use crate::log;
use mcp_bridge_auth::{HandedOver, Helper, inherited_sockets, leave_console};

/// The argument by which the program is the helper.
const WORD: &str = "finish-sign-in";

/// The argument behind it by which the program starts the helper and ends.
const DETACHED: &str = "detached";

/// All that the bridge may write, in bytes: its arguments, and a page for each way of asking.
const LARGEST_INPUT: u64 = 4 << 20;

/// The first line that the helper reads.
#[derive(Serialize, Deserialize)]
struct Brief {
    /// The arguments of the bridge, of which the first is its name.
    args: Vec<String>,
}

/// The helper of a bridge that was started with `args`. None if they are no text, or the program cannot be found.
pub(super) fn helper(args: &[OsString]) -> Option<Helper> {
    let args = args.iter().cloned().map(OsString::into_string);
    let args = args.collect::<Result<_, _>>().ok()?;
    let program = std::env::current_exe().ok()?;
    let brief = serde_json::to_string(&Brief { args }).ok()?;
    let arguments = vec![WORD.into(), DETACHED.into()];
    Some(Helper::new(program, arguments, brief))
}

/// Is the helper, if these are its arguments. None if they are not.
pub(crate) fn run_helper(args: &[OsString]) -> Option<ExitCode> {
    let words: Vec<_> = args.iter().skip(1).collect();
    let done = match words[..] {
        [word] if word == WORD => finish(),
        [word, detached] if word == WORD && detached == DETACHED => start_detached(),
        _ => return None,
    };
    Some(match done {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// Starts the helper with the pipe and the sockets of this process.
fn start_detached() -> Option<()> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.arg(WORD);
    leave_console(&mut command);
    command.spawn().ok().map(|_| ())
}

fn finish() -> Option<()> {
    // Before the log, which writes a file.
    let runtime = runtime().ok()?;
    let sockets = inherited_sockets().ok()?;
    let mut lines = BufReader::new(std::io::stdin().lock().take(LARGEST_INPUT));
    let mut brief = String::new();
    lines.read_line(&mut brief).ok()?;
    let brief: Brief = serde_json::from_str(&brief).ok()?;
    let line = CommandLine::read(brief.args.into_iter().map(OsString::from)).ok()?;
    let settings = line.flags.settings().ok()?;
    if settings.log.file.is_some() {
        log::start(&settings.log);
    }
    let auth = settings.bridge.auth?;
    let Some(handed_over) = HandedOver::await_end_of_bridge(lines).ok()? else {
        return Some(());
    };
    let authorizer = settings.bridge.endpoint.authorizer(auth);
    runtime.block_on(authorizer.finish_sign_in(handed_over, sockets));
    Some(())
}
