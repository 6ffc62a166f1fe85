//! Output of `call`: a tool's result, for people or as JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use crate::commands::Stop;
use crate::commands::json::{self, pretty};
use crate::commands::text::first_line;
use mcp_bridge_protocol::message::{Message, member};
use mcp_bridge_text::printable;

/// Form of a result.
pub(super) enum OutputForm {
    /// For a person at a terminal.
    Terminal,
    /// For a file or another program: text as it is.
    Plain,
    /// As the server spells it.
    Json,
    /// Saves the content into this file.
    File(PathBuf),
}

/// A piece of a result.
enum Block {
    Text(String),
    /// Anything else, described; with its bytes if they came along.
    Other {
        description: String,
        bytes: Option<Vec<u8>>,
    },
}

impl OutputForm {
    /// Writes the result that `response` holds. The outer error is about a file, the inner about `out`.
    pub(super) fn write(
        self,
        response: &Message,
        out: &mut impl Write,
    ) -> Result<io::Result<()>, Stop> {
        match self {
            Self::Json => {
                let result = response.result_json().unwrap_or("null");
                Ok(writeln!(out, "{}", json::for_output(result)))
            }
            Self::Terminal => Ok(write_blocks(response, out, |text| {
                printable::block(text).into()
            })),
            Self::Plain => Ok(write_blocks(response, out, |text| text.into())),
            Self::File(file) => {
                save(response, &file)?;
                Ok(Ok(()))
            }
        }
    }
}

fn write_blocks(
    response: &Message,
    out: &mut impl Write,
    shown: impl Fn(&str) -> Cow<'_, str>,
) -> io::Result<()> {
    let blocks = blocks(response);
    for block in &blocks {
        match block {
            Block::Text(text) => write_text(out, &shown(text))?,
            Block::Other { description, .. } => writeln!(out, "[{description}]")?,
        }
    }
    match structured(response, &blocks) {
        Some(structured) => write_text(out, &shown(&structured)),
        None => Ok(()),
    }
}

fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Content that no block has: the structured content where there is no text, or the whole result where there are
/// no blocks either.
fn structured(response: &Message, blocks: &[Block]) -> Option<String> {
    if blocks.iter().any(|block| matches!(block, Block::Text(_))) {
        return None;
    }
    let structured = response.result_member::<&RawValue>("structuredContent");
    if let Some(structured) = structured.filter(|it| it.get() != "null") {
        return Some(pretty(structured));
    }
    let is_usual = response
        .result_member::<Vec<&RawValue>>("content")
        .is_some_and(|content| content.iter().all(|block| block.get().starts_with('{')));
    let result = serde_json::from_str(response.result_json()?).ok();
    result.filter(|_| !is_usual).map(pretty)
}

/// Saves the first piece that is no text, or else all that is.
fn save(response: &Message, file: &Path) -> Result<(), Stop> {
    let mut blocks = blocks(response);
    let bytes = blocks.iter_mut().find_map(|block| match block {
        Block::Other { bytes, .. } => bytes.take(),
        Block::Text(_) => None,
    });
    let bytes = bytes.unwrap_or_else(|| {
        let texts = blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::Other { .. } => None,
        });
        let texts: Vec<_> = texts.collect();
        let structured = structured(response, &blocks);
        structured.unwrap_or_else(|| texts.join("\n")).into_bytes()
    });
    std::fs::write(file, &bytes)
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", file.display())))?;
    eprintln!("wrote {} to {}", size(bytes.len()), file.display());
    Ok(())
}

fn blocks(response: &Message) -> Vec<Block> {
    let content = response.result_member::<Vec<&RawValue>>("content");
    let content = content.unwrap_or_default();
    content
        .into_iter()
        .map(|block| Block::read(block.get()))
        .collect()
}

impl Block {
    fn read(block: &str) -> Self {
        let text = |name: &str| member::<String>(block, name);
        let kind = text("type").unwrap_or_default();
        match kind.as_str() {
            "text" => text("text").map_or_else(|| Self::unknown(&kind), Self::Text),
            "image" | "audio" => Self::encoded(&kind, text("mimeType"), text("data")),
            "resource" => {
                let resource = member::<&RawValue>(block, "resource").map_or("{}", RawValue::get);
                let inner = |name: &str| member::<String>(resource, name);
                if let Some(text) = inner("text") {
                    return Self::Text(text);
                }
                let what = format!("resource {}", inner("uri").unwrap_or_default());
                Self::encoded(&what, inner("mimeType"), inner("blob"))
            }
            "resource_link" => {
                let name = text("title").or_else(|| text("name"));
                let parts = [name, text("uri"), text("mimeType"), text("description")];
                let parts: Vec<_> = parts.into_iter().flatten().collect();
                Self::described(&format!("link: {}", parts.join(", ")), None)
            }
            _ => Self::unknown(&kind),
        }
    }

    fn unknown(kind: &str) -> Self {
        Self::described(&format!("content of the type \"{kind}\", see --json"), None)
    }

    fn encoded(what: &str, mime_type: Option<String>, data: Option<String>) -> Self {
        let mime_type = mime_type.unwrap_or_else(|| "of no type".to_owned());
        let bytes = BASE64_STANDARD.decode(data.unwrap_or_default()).ok();
        let size = bytes.as_ref().map_or_else(
            || "which is no base64".to_owned(),
            |bytes| format!("{}, saved by --output FILE", size(bytes.len())),
        );
        Self::described(&format!("{what}: {mime_type}, {size}"), bytes)
    }

    fn described(description: &str, bytes: Option<Vec<u8>>) -> Self {
        Self::Other {
            description: first_line(description, None),
            bytes,
        }
    }
}

/// A number of bytes, for people.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit behind the point is all that is shown"
)]
fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = KIB * KIB;
    match bytes {
        MIB.. => format!("{:.1} MiB", bytes as f64 / MIB as f64),
        KIB.. => format!("{:.1} KiB", bytes as f64 / KIB as f64),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const MIXED: &str = r#"{"content":[
        {"type":"text","text":"a\u001b[2J\nb\n"},
        {"type":"image","mimeType":"image/png","data":"AAEC"},
        {"type":"audio","data":"?"},
        {"type":"resource","resource":{"uri":"x://1","mimeType":"application/pdf","blob":"AAAA"}},
        {"type":"resource","resource":{"uri":"x://2","text":"inside"}},
        {"type":"resource_link","uri":"x://3","name":"three","description":"The\nthird."},
        {"type":"hologram"}],
        "structuredContent":{"not":"shown"},"isError":false}"#;

    fn response(result: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        Message::parse(&Bytes::from(text)).unwrap()
    }

    fn written(report: OutputForm, result: &str) -> String {
        let mut out = Vec::new();
        let written = report.write(&response(result), &mut out);
        let Ok(Ok(())) = written else {
            panic!("{result}")
        };
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_printed_and_everything_else_described() {
        assert_eq!(
            written(OutputForm::Plain, MIXED),
            "\
a\u{1b}[2J
b
[image: image/png, 3 bytes, saved by --output FILE]
[audio: of no type, which is no base64]
[resource x://1: application/pdf, 3 bytes, saved by --output FILE]
inside
[link: three, x://3, The]
[content of the type \"hologram\", see --json]
"
        );
    }

    #[test]
    fn a_terminal_gets_no_commands_of_the_server() {
        assert!(written(OutputForm::Terminal, MIXED).starts_with("a\u{fffd}[2J\nb\n"));
    }

    #[test]
    fn structured_content_counts_where_there_is_no_text() {
        let result =
            r#"{"content":[],"structuredContent":{"z":12345678901234567890123,"a":[1e400]}}"#;
        assert_eq!(
            written(OutputForm::Plain, result),
            "{\n  \"z\": 12345678901234567890123,\n  \"a\": [\n    1e400\n  ]\n}\n"
        );
        assert_eq!(written(OutputForm::Plain, r#"{"content":[]}"#), "");
        let null = r#"{"content":[{"type":"hologram"}],"structuredContent":null}"#;
        assert!(written(OutputForm::Plain, null).starts_with("[content of the type"));
    }

    #[test]
    fn a_result_of_another_shape_is_printed_as_json() {
        for (result, expected) in [
            ("{}", "{}\n"),
            (r#"{"content":"plain"}"#, "{\n  \"content\": \"plain\"\n}\n"),
            (r#"{"content":null,"structuredContent":7}"#, "7\n"),
            (r#"{"toolResult":44}"#, "{\n  \"toolResult\": 44\n}\n"),
            ("[1]", "[\n  1\n]\n"),
        ] {
            assert_eq!(written(OutputForm::Plain, result), expected, "{result}");
        }
    }

    #[test]
    fn json_is_what_the_server_wrote() {
        let result = r#"{"x":1e400,"content" : []}"#;
        assert_eq!(written(OutputForm::Json, result), format!("{result}\n"));
    }

    #[test]
    fn a_file_gets_the_first_thing_that_is_no_text_or_the_text() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("it");
        for (result, expected) in [
            (MIXED, &[0, 1, 2][..]),
            (
                r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
                b"a\nb",
            ),
            (r#"{"structuredContent":{"a":1}}"#, b"{\n  \"a\": 1\n}"),
        ] {
            assert_eq!(written(OutputForm::File(file.clone()), result), "");
            assert_eq!(std::fs::read(&file).unwrap(), expected);
        }
    }
}
