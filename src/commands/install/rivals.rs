//! Other configuration files with an entry of the same name: those that the app prefers to the one that is written,
//! merges with it, or does not read.

use std::fs;
use std::path::{Path, PathBuf};

use super::apps::{AppConfiguration, Machine, Scope};
use super::edit::{EntryPosition, entries};
use super::file::ConfigFile;

/// Notes about other files with an entry `name` than the one of `scope`, for somebody in the directory `here`.
pub(super) fn notes(
    app: &AppConfiguration,
    machine: &Machine<'_>,
    scope: Scope<'_>,
    here: &Path,
    name: &str,
) -> Vec<String> {
    let title = app.title;
    let read = app.files(machine, scope);
    let written = read.last().cloned().unwrap_or_default();
    let mut notes = Vec::new();
    for file in app.every_file(machine, scope) {
        if file == written || !has_entry(app, machine, scope, &file, name) {
            continue;
        }
        let fate = if read.contains(&file) {
            "merges the two entries"
        } else {
            "does not read that file"
        };
        let file = file.display();
        notes.push(format!("{file} has \"{name}\" too; {title} {fate}"));
    }
    let preferred: &[Scope<'_>] = match scope {
        Scope::User => &[Scope::Project(here), Scope::Local(here)],
        Scope::Project(directory) => &[Scope::Local(directory)],
        Scope::Local(_) => &[],
    };
    for preferred in preferred {
        let is_other = |file: &PathBuf| {
            app.table(machine, *preferred) != app.table(machine, scope) || !is_same(file, &written)
        };
        let files = app.files(machine, *preferred).into_iter();
        let files = files.filter(is_other);
        for file in files.filter(|file| has_entry(app, machine, *preferred, file, name)) {
            let place = match preferred {
                Scope::Local(directory) | Scope::Project(directory) => directory.display(),
                Scope::User => continue,
            };
            let file = file.display();
            notes.push(format!(
                "{file} has \"{name}\" for {place}, and {title} prefers that one there"
            ));
        }
    }
    if scope == Scope::User {
        notes.extend(app.profiles(machine).iter().map(|profile| {
            let file = profile.join("mcp.json");
            let file = file.display();
            format!(
                "{title} has a profile with servers of its own; --config-file {file} writes that one"
            )
        }));
    }
    notes
}

fn is_same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    canonical(one) == canonical(other)
}

/// Returns whether a file has an entry. One that cannot be read has none: it is not the file that is written.
fn has_entry(
    app: &AppConfiguration,
    machine: &Machine<'_>,
    scope: Scope<'_>,
    path: &Path,
    name: &str,
) -> bool {
    let keys = app.table(machine, scope);
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let position = EntryPosition {
        format: app.format,
        servers: &keys,
        inner: app.inner,
        name,
    };
    let text = ConfigFile::find(path).ok().and_then(|file| file.text);
    let servers = entries(text.as_deref().unwrap_or_default(), position);
    servers.is_ok_and(|servers| servers.iter().any(|(found, _)| found == name))
}
