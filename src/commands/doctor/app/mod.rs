//! Diagnosis of the entries of an app that start the bridge: what stands in the file, and what happens when the app starts
//! it.

mod entry;
mod environment;
mod quoting;
mod session;

use std::env;
use std::io::{self, Write};

use serde_json::{Map, Value};

use self::entry::ExaminedEntry;
use super::report::{Report, ReportForm, Subject};
use crate::commands::Stop;
use crate::commands::doctor::check::{Check, CheckName};
use crate::commands::install::apps::AppId;
use crate::commands::install::rewrite::by_file;
use crate::commands::install::survey::{self, ConfigFile, ConfigLocation, EntryCommands};
use mcp_bridge_text::printable;

/// An entry, and the file in which it stands.
struct FoundEntry {
    place: ConfigLocation,
    name: String,
    entry: Map<String, Value>,
}

/// A file that cannot be read.
struct UnreadableFile {
    place: ConfigLocation,
    error: String,
}

/// Examines the entries of these apps, or the one with this name, and reports on each. Returns whether nothing failed.
pub(super) async fn examine(
    apps: &[AppId],
    name: Option<&str>,
    form: ReportForm,
    out: &mut (dyn Write + Send),
) -> Result<io::Result<bool>, Stop> {
    let commands = EntryCommands::of_this_process().ok();
    let mut passed = true;
    let mut is_first = true;
    for app in apps {
        let (found, unreadable) = entries(*app)?;
        let is_meant = |it: &&FoundEntry| {
            let is_bridge = match &commands {
                Some(commands) => commands.is_bridge(&it.entry),
                None => survey::is_bridge(&it.entry),
            };
            is_bridge && name.is_none_or(|name| name == it.name)
        };
        let meant: Vec<_> = found.iter().filter(is_meant).collect();
        if meant.is_empty() && unreadable.is_empty() {
            return Err(no_entry(*app, name, &found));
        }
        for file in &unreadable {
            separate(form, &mut is_first, out);
            match report_unreadable(file, form, out) {
                Ok(fine) => passed &= fine,
                Err(error) => return Ok(Err(error)),
            }
        }
        for it in meant {
            separate(form, &mut is_first, out);
            let subject = subject(&it.place, &it.name);
            let mut report = Report::new(out, form, subject, Vec::new());
            let reason = ExaminedEntry::new(it, &found).examine(&mut report).await;
            match report.finish(reason) {
                Ok(fine) => passed &= fine,
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    Ok(Ok(passed))
}

/// An empty line between two reports. A failure to write it is one of the next line as well.
fn separate(form: ReportForm, is_first: &mut bool, out: &mut (dyn Write + Send)) {
    if !*is_first && form.is_text() {
        let _ = writeln!(out);
    }
    *is_first = false;
}

fn subject(place: &ConfigLocation, name: &str) -> Subject {
    Subject::Entry {
        app: place.title(),
        entry: printable::line(name),
        file: place.path.display().to_string(),
    }
}

/// All entries of an app, in the files of the user and of the project in the current directory.
fn entries(app: AppId) -> Result<(Vec<FoundEntry>, Vec<UnreadableFile>), Stop> {
    let project = env::current_dir()
        .map_err(|error| Stop::failed(format!("cannot find the current directory: {error}")))?;
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for place in each_once(survey::places(&[app], &project)) {
        let read = ConfigFile::find(&place.path).map_err(|error| error.to_string());
        let read = read.and_then(|file| {
            let text = file.text.unwrap_or_default();
            place.entries(&text).map_err(|error| error.to_string())
        });
        match read {
            Ok(entries) => found.extend(entries.into_iter().map(|(name, entry)| FoundEntry {
                place: place.clone(),
                name,
                entry,
            })),
            Err(error) => unreadable.push(UnreadableFile { place, error }),
        }
    }
    Ok((found, unreadable))
}

/// The places without those that are in the same file: that of the user may be the project's too.
fn each_once(places: Vec<ConfigLocation>) -> Vec<ConfigLocation> {
    let files = by_file(places).into_iter();
    let different = files.flat_map(|places| {
        let mut kept: Vec<ConfigLocation> = Vec::new();
        for place in places {
            if !kept.iter().any(|other| other.is_same_set(&place)) {
                kept.push(place);
            }
        }
        kept
    });
    different.collect()
}

fn report_unreadable(
    file: &UnreadableFile,
    form: ReportForm,
    out: &mut (dyn Write + Send),
) -> io::Result<bool> {
    let mut report = Report::new(out, form, subject(&file.place, "?"), Vec::new());
    report.add(
        Check::failed(CheckName::File, &file.error)
            .fix("correct that in an editor; the app cannot read the file either"),
    );
    report.finish("the file cannot be read")
}

fn no_entry(app: AppId, name: Option<&str>, found: &[FoundEntry]) -> Stop {
    let (title, app_name) = (app.app().title(), app.app().name);
    if let Some(menu) = app.app().menu() {
        return Stop::failed(format!(
            "{title} keeps its servers in its settings, where they cannot be read: {menu}"
        ));
    }
    match name {
        Some(name) if found.iter().any(|it| it.name == name) => Stop::failed(format!(
            "the entry {name:?} of {title} does not start the bridge"
        ))
        .hint("mcp-bridge migrate converts entries of mcp-remote"),
        Some(name) => Stop::failed(format!("{title} has no entry {name:?}"))
            .hint("mcp-bridge install --list shows the entries that start the bridge"),
        None => Stop::failed(format!("no entry of {title} starts the bridge")).hint(format!(
            "mcp-bridge install --client {app_name} NAME URL writes one"
        )),
    }
}
