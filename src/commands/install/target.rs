//! Entry that `install` makes for one app.

use serde_json::Value;

use super::apps::{AppConfiguration, AppId};
use super::arguments::{Args, OwnedScope};
use super::edit::EntryPosition;
use super::entry::{Extra, NewEntry};
use super::error::InstallError;
use super::program::{Readers, RunningProgram};
use super::{Host, flags};

/// An app, and the entry for it.
pub(super) struct Target {
    pub(super) app: &'static AppConfiguration,
    pub(super) scope: OwnedScope,
    /// The keys that lead to the table of servers.
    pub(super) keys: Vec<String>,
    pub(super) new: EntryParts,
}

/// An entry before it is written.
#[derive(Default)]
pub(super) struct EntryParts {
    members: Vec<(&'static str, Value)>,
    extras: Vec<Extra>,
}

impl Target {
    pub(super) fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// Place of the entry in the files of the app.
    pub(super) fn position<'a>(&self, args: &'a Args, keys: &'a [&'a str]) -> EntryPosition<'a> {
        EntryPosition {
            format: self.app.format,
            servers: keys,
            inner: self.app.inner,
            name: args.name(),
        }
    }

    pub(super) fn entry<'a>(&'a self, args: &'a Args) -> NewEntry<'a> {
        NewEntry {
            members: &self.new.members,
            extras: &self.new.extras,
            kept: self.app.kept,
            url: args.url.as_deref().unwrap_or_default(),
            removed: None,
        }
    }
}

impl Host<'_> {
    /// An app, and the entry for it. What there is to say of it on stderr is left out if it has been `said`.
    pub(super) fn target(
        &self,
        args: &Args,
        client: AppId,
        said: &mut Vec<String>,
    ) -> Result<Target, InstallError> {
        let app = client.app();
        let scope = args.scope()?;
        let new = match &args.url {
            Some(url) => self.parts(args, app, url, said)?,
            None => EntryParts::default(),
        };
        let keys = app.table(&self.machine, scope.borrowed());
        Ok(Target {
            app,
            scope,
            keys,
            new,
        })
    }

    /// The entry for a server. Says on stderr which secrets would stand in the file, and what the app has
    /// to provide.
    fn parts(
        &self,
        args: &Args,
        app: &AppConfiguration,
        url: &str,
        said: &mut Vec<String>,
    ) -> Result<EntryParts, InstallError> {
        let (program, arguments) = self.command(args, url, said)?;
        let variables = flags::variables(&args.flags);
        if !app.hands_over_variables() {
            for variable in &variables {
                let note = format!(
                    "note: the bridge will look for {variable} in its environment; put it into the \"{}\" of \
                     the entry, unless {} has it\n",
                    app.environment(),
                    app.title
                );
                say(note, said);
            }
        }
        Ok(EntryParts {
            members: app.entry(args.name(), &program, &arguments),
            extras: app.extras(self.machine.system, &variables),
        })
    }

    /// The program and its arguments. Says on stderr which secrets are among them.
    pub(super) fn command(
        &self,
        args: &Args,
        url: &str,
        said: &mut Vec<String>,
    ) -> Result<(String, Vec<String>), InstallError> {
        let bridge = flags::check(url, &args.flags)?;
        for secret in bridge.plain_secrets() {
            say(format!("warning: {secret}\n"), said);
        }
        let readers = match args.project {
            Some(_) => Readers::TheProject,
            None => Readers::ThisUser,
        };
        let command = self.running_program().command(readers)?;
        if let Some(note) = &command.note {
            say(format!("{note}\n"), said);
        }
        let arguments = [url.to_owned()].into_iter();
        let arguments: Vec<_> = arguments.chain(args.flags.iter().cloned()).collect();
        let arguments = command.arguments(&arguments);
        Ok((command.program, arguments))
    }

    pub(super) fn running_program(&self) -> RunningProgram<'_> {
        RunningProgram {
            running: &self.running,
            path: self.path.as_deref(),
            system: self.machine.system,
        }
    }
}

/// Says something on stderr, unless that has been said.
fn say(text: String, said: &mut Vec<String>) {
    if !said.contains(&text) {
        eprintln!("{text}");
        said.push(text);
    }
}
