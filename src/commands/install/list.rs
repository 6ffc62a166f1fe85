//! `mcp-bridge install --list`: the apps, their files, and the entries in them that start the bridge.

use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum as _;

use super::apps::{AppId, Machine, Scope};
use super::arguments::OwnedScope;
use super::survey::{ConfigFile, ConfigLocation, is_found, places_read};
use super::{Args, launch};
use crate::commands::text::{columns, padded};
use mcp_bridge_text::printable;

const HEADINGS: [&str; 5] = ["APP", "--client", "FOUND", "ENTRIES", "FILE"];

/// Writes the table: a line for each file that an app reads.
pub(super) fn write(
    machine: &Machine<'_>,
    running: &Path,
    args: &Args,
    out: &mut dyn Write,
) -> io::Result<()> {
    let clients = match &args.client[..] {
        [] => AppId::value_variants(),
        some => some,
    };
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for client in clients {
        let app = client.app();
        let scope = args.scope();
        let scope = scope.as_ref().map_or(Scope::User, OwnedScope::borrowed);
        let found = if is_found(*client, machine) {
            "yes"
        } else {
            "no"
        };
        for place in places_read(*client, machine, scope) {
            rows.push([
                app.title.to_owned(),
                app.name.to_owned(),
                found.to_owned(),
                entries(&place, running),
                place.path.display().to_string(),
            ]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| columns(&row[column])).max();
    let widths: Vec<_> = (0..HEADINGS.len() - 1)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(out, "{}  ", padded(cell, *width))?;
        }
        writeln!(out, "{}", row[HEADINGS.len() - 1])?;
    }
    Ok(())
}

/// The names of entries that start the bridge.
fn entries(place: &ConfigLocation, running: &Path) -> String {
    let text = match ConfigFile::find(&place.path) {
        Ok(file) => file.text,
        Err(_) => return "unreadable".to_owned(),
    };
    let Ok(servers) = place.entries(text.as_deref().unwrap_or_default()) else {
        return "unreadable".to_owned();
    };
    let ours = servers
        .iter()
        .filter(|(_, entry)| launch::is_bridge(entry, running));
    let names: Vec<_> = ours.map(|(name, _)| printable::line(name)).collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    }
}
