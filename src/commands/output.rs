//! Output of a result with content, for people or as JSON.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::Stop;
use super::content::{Block, size};
use super::json::{self, pretty};
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::Message;
use mcp_bridge_text::printable;

/// The flags about the form of a result.
#[derive(Debug, clap::Args)]
pub(super) struct OutputFlags {
    /// Print the whole result, in the server's own JSON
    #[arg(long)]
    json: bool,

    /// Write the result to a file: the first image, sound or file, otherwise the text
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
}

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

impl OutputFlags {
    /// The form that they mean.
    pub(super) fn form(self) -> OutputForm {
        match (self.json, self.output) {
            (true, _) => OutputForm::Json,
            (false, Some(file)) => OutputForm::File(file),
            // A terminal that does not tell its size is one all the same.
            (false, None) if stdio::report().is_terminal() => OutputForm::Terminal,
            (false, None) => OutputForm::Plain,
        }
    }
}

impl OutputForm {
    /// Writes the result that `response` holds, whose content is `blocks`. The outer error is about a file, the inner
    /// about `out`.
    pub(super) fn write(
        self,
        response: &Message,
        blocks: Vec<Block>,
        out: &mut impl Write,
    ) -> Result<io::Result<()>, Stop> {
        match self {
            Self::Json => {
                let result = response.result_json().unwrap_or("null");
                Ok(writeln!(out, "{}", json::for_output(result)))
            }
            Self::Terminal => Ok(write_blocks(&blocks, out, |text| {
                printable::block(text).into()
            })),
            Self::Plain => Ok(write_blocks(&blocks, out, |text| text.into())),
            Self::File(file) => {
                save(blocks, &file)?;
                Ok(Ok(()))
            }
        }
    }
}

/// The content of a tool's result. The structured content counts where there is no text, or the whole result where
/// there are no blocks either.
pub(super) fn call_blocks(response: &Message) -> Vec<Block> {
    let content = response.result_member::<Vec<&RawValue>>("content");
    let content = content.unwrap_or_default().into_iter();
    let mut blocks: Vec<_> = content.map(|block| Block::read(block.get())).collect();
    if !blocks.iter().any(|block| matches!(block, Block::Text(_))) {
        blocks.extend(structured(response).map(Block::Text));
    }
    blocks
}

fn structured(response: &Message) -> Option<String> {
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

fn write_blocks(
    blocks: &[Block],
    out: &mut impl Write,
    shown: impl Fn(&str) -> Cow<'_, str>,
) -> io::Result<()> {
    for block in blocks {
        match block {
            Block::Text(text) => write_text(out, &shown(text))?,
            Block::Other { description, .. } => writeln!(out, "[{description}]")?,
        }
    }
    Ok(())
}

fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Saves the first piece that is no text, or else all that is.
fn save(mut blocks: Vec<Block>, file: &Path) -> Result<(), Stop> {
    let bytes = blocks.iter_mut().find_map(|block| match block {
        Block::Other { bytes, .. } => bytes.take(),
        Block::Text(_) => None,
    });
    let bytes = bytes.unwrap_or_else(|| {
        let texts = blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::Other { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n").into_bytes()
    });
    std::fs::write(file, &bytes)
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", file.display())))?;
    eprintln!("wrote {} to {}", size(bytes.len()), file.display());
    Ok(())
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
        let written = report.write(&response(result), call_blocks(&response(result)), &mut out);
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
