//! `mcp-bridge tools`: the tools of a server.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::value::RawValue;

use super::client::McpClient;
use super::json;
use super::schema::{Argument, Hints, Tool, as_typed};
use super::text::{columns, cut, first_line, padded};
use super::{Stop, run_async};
use crate::cli::ConnectionFlags;
use crate::log;
use mcp_bridge_core::stdio;
use mcp_bridge_text::printable;

/// The longest name and type of an argument that others are lined up with.
const MAX_COLUMN: usize = 24;

/// List the tools of a server, with their arguments
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint: https, or http on this machine
    url: String,

    /// Print the server's own JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Lists the tools.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let connection = args.connection.connection(&args.url, None)?;
    log::start_for_person(&connection.log);
    let tools = run_async(async {
        let client = McpClient::connect(connection).await?;
        let tools = client.tools().await;
        client.leave().await;
        tools
    })?;
    let mut out = stdio::report();
    let written = if args.json {
        write_json(&mut out, &tools)
    } else {
        let tools: Vec<_> = tools.iter().filter_map(|tool| Tool::read(tool)).collect();
        if tools.is_empty() {
            eprintln!("the server has no tools");
        }
        write_tools(&mut out, &tools, stdio::report_width())
    };
    super::printed(written)?;
    Ok(ExitCode::SUCCESS)
}

/// A tool a line, so that it can be read and compared.
fn write_json(out: &mut impl Write, tools: &[Box<RawValue>]) -> io::Result<()> {
    let tools: Vec<_> = tools.iter().map(|tool| one_line(tool)).collect();
    writeln!(out, "{{\"tools\":[\n{}\n]}}", tools.join(",\n"))
}

fn one_line(json: &RawValue) -> String {
    json::for_output(json.get())
}

fn write_tools(out: &mut impl Write, tools: &[Tool], width: Option<usize>) -> io::Result<()> {
    for (at, tool) in tools.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        write_tool(out, tool, width)?;
    }
    Ok(())
}

fn write_tool(out: &mut impl Write, tool: &Tool, width: Option<usize>) -> io::Result<()> {
    let name = printable::line(&tool.name);
    let hints = hints(&tool.hints);
    if hints.is_empty() {
        writeln!(out, "{}", bold(&name, width))?;
    } else {
        writeln!(out, "{}  ({})", bold(&name, width), hints.join(", "))?;
    }
    let said = [&tool.title, &tool.description];
    let said = said.into_iter().flatten().map(String::as_str);
    let said: Vec<_> = said.map(|text| first_line(text, None)).collect();
    write_line(out, "  ", &said.join(": "), width)?;
    let kinds: Vec<_> = tool.arguments.iter().map(kind).collect();
    let widest = |texts: &mut dyn Iterator<Item = usize>| {
        texts
            .filter(|width| *width <= MAX_COLUMN)
            .max()
            .unwrap_or(0)
    };
    let names: Vec<_> = tool
        .arguments
        .iter()
        .map(|it| printable::line(&it.name))
        .collect();
    let name_width = widest(&mut names.iter().map(|name| columns(name)));
    let kind_width = widest(&mut kinds.iter().map(|kind| columns(kind)));
    for ((argument, name), kind) in tool.arguments.iter().zip(&names).zip(&kinds) {
        let description = argument.description.as_deref().unwrap_or_default();
        let description = first_line(description, None);
        let line = format!(
            "{}  {}  {description}",
            padded(name, name_width),
            padded(kind, kind_width)
        );
        write_line(out, "    ", line.trim_end(), width)?;
    }
    Ok(())
}

/// A line, cut to the terminal; nothing if there is nothing in it.
fn write_line(
    out: &mut impl Write,
    indent: &str,
    text: &str,
    width: Option<usize>,
) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let room = width.map(|width| width.saturating_sub(indent.len()));
    let text = room.map_or_else(|| text.to_owned(), |room| cut(text, room));
    writeln!(out, "{indent}{text}")
}

/// On a terminal, names stand out.
fn bold(text: &str, width: Option<usize>) -> String {
    if width.is_none() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    format!("\u{1b}[1m{text}\u{1b}[0m")
}

/// Type of an argument, and a mark if it is required.
fn kind(argument: &Argument) -> String {
    let kind = first_line(&argument.kind(), None);
    match (&argument.default, argument.is_required) {
        (_, true) => format!("{kind}, required"),
        (Some(default), false) => {
            format!("{kind}, default {}", first_line(&as_typed(default), None))
        }
        (None, false) => kind,
    }
}

/// The server's annotations of the tool, if there are any.
fn hints(hints: &Hints) -> Vec<&'static str> {
    let mut said = Vec::new();
    match (hints.read_only, hints.destructive) {
        (Some(true), _) => said.push("read-only"),
        (_, Some(true)) => said.push("destructive"),
        (_, Some(false)) => said.push("not destructive"),
        (Some(false), None) => said.push("not read-only"),
        (None, None) => {}
    }
    if hints.idempotent == Some(true) && hints.read_only != Some(true) {
        said.push("idempotent");
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tools: &str, width: Option<usize>) -> String {
        let tools: Vec<&RawValue> = serde_json::from_str(tools).unwrap();
        let tools: Vec<_> = tools.into_iter().filter_map(Tool::read).collect();
        let mut out = Vec::new();
        write_tools(&mut out, &tools, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tools_are_laid_out_for_a_person() {
        let tools = r#"[
            {"name":"a","title":"First","description":"\n Does a lot.\nAnd more.","annotations":{"destructiveHint":true,"idempotentHint":true},
             "inputSchema":{"properties":{
                "zone":{"type":"string","description":"Where."},
                "n":{"type":["integer","null"],"default":3},
                "a-name-that-is-longer-than-all-others":{"enum":["x","y"]}},"required":["zone"]}},
            {"name":"b\u001b[2J","annotations":{"readOnlyHint":true}}
        ]"#;
        assert_eq!(
            written(tools, None),
            "\
a  (destructive, idempotent)
  First: Does a lot.
    zone  string, required    Where.
    n     integer, default 3
    a-name-that-is-longer-than-all-others  x|y

b\u{fffd}[2J  (read-only)
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let tools = r#"[{"name":"a","description":"0123456789012345678901234567890123456789",
            "inputSchema":{"properties":{"x":{"type":"string","description":"日本語日本語日本語日本語日本語"}}}}]"#;
        let text = written(tools, Some(30));
        let mut lines = text.lines().skip(1);
        assert_eq!(lines.next(), Some("  012345678901234567890123456…"));
        assert_eq!(lines.next(), Some("    x  string  日本語日本語日…"));
    }
}
