//! Entries of a recording, or of the HAR file of a browser.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::commands::Stop;
use crate::recording::HarEntry;
use mcp_bridge_protocol::message::member;

/// The largest file that is read, in bytes: a recording has 32 MiB at most, and those of browsers may have more.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// The end of a document that was cut off between two entries.
const CLOSING: &str = "]}}";

/// A HAR file, as far as it is looked at.
#[derive(Deserialize)]
struct Har {
    log: HarLog,
}

#[derive(Deserialize)]
struct HarLog {
    entries: Vec<Box<RawValue>>,
}

/// Reads the entries, in the order in which they began.
pub(super) fn read(file: &Path) -> Result<Vec<HarEntry<'static>>, Stop> {
    let shown = file.display();
    let failed = |error: std::io::Error| Stop::usage(format!("cannot read {shown}: {error}"));
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(Stop::usage(format!("{shown} is too long")));
    }
    let text = std::fs::read(file).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    let har = parse(&text).map_err(|error| {
        Stop::usage(format!("{shown} is no recording: {error}"))
            .hint("mcp-bridge URL --record FILE writes one")
    })?;
    let mut entries: Vec<_> = har.log.entries.iter().map(|it| entry(it)).collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Parses a document, or as much of it as there is: a machine that fails may have cut it off.
fn parse(text: &str) -> Result<Har, serde_json::Error> {
    let error = match serde_json::from_str(text) {
        Ok(har) => return Ok(har),
        Err(error) => error,
    };
    // Each entry is a line.
    let whole = text
        .rfind(",\n")
        .map(|end| format!("{}{CLOSING}", &text[..end]));
    whole
        .and_then(|whole| serde_json::from_str(&whole).ok())
        .ok_or(error)
}

/// An entry on one line, with the moment of its beginning.
fn entry(entry: &RawValue) -> (String, HarEntry<'static>) {
    let begun = member::<String>(entry.get(), "startedDateTime").unwrap_or_default();
    // Line ends in JSON stand between tokens and nowhere else.
    let json = entry.get().replace(['\r', '\n'], " ");
    let entry = HarEntry {
        exchange: None,
        json: json.into(),
    };
    (begun, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let entries = read(file.path()).map_err(|stop| stop.error)?;
        Ok(entries
            .into_iter()
            .map(|entry| entry.json.into_owned())
            .collect())
    }

    #[test]
    fn entries_come_in_the_order_in_which_they_began() {
        let text = "{\"log\":{\"version\":\"1.2\",\"entries\":[\n\
            {\"startedDateTime\":\"2026-01-02\",\"a\":\n1.0},\n{\"startedDateTime\":\"2026-01-01\"}\n]}}\n";
        let expected = [
            r#"{"startedDateTime":"2026-01-01"}"#,
            r#"{"startedDateTime":"2026-01-02","a": 1.0}"#,
        ];
        assert_eq!(starts(text), Ok(expected.map(str::to_owned).to_vec()));
        // Cut off by a machine that failed.
        let cut = &text[..text.len() - 12];
        assert_eq!(starts(cut), Ok(vec![expected[1].to_owned()]));
    }

    #[test]
    fn what_is_no_recording_is_an_error() {
        for text in ["", "{}", "[]", "no JSON,\nat all"] {
            let error = starts(text).unwrap_err();
            assert!(error.contains("is no recording"), "{error}");
        }
    }
}
