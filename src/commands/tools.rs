//! `mcp-bridge tools`: the tools of a server.

use std::process::ExitCode;

use super::Stop;
use super::client::{Listing, converse};
use super::listing::{ListItem, ListedArgument, write_items, write_json};
use super::schema::{Argument, Execution, Hints, Tool, as_typed};
use super::text::first_line;
use crate::cli::ConnectionFlags;
use mcp_bridge_core::stdio;

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
    let tools = converse(args.connection, &args.url, async |client| {
        client.list(Listing::Tools).await
    })?;
    let mut out = stdio::report();
    let written = if args.json {
        write_json(&mut out, &[(Listing::Tools.member(), tools)])
    } else {
        let tools: Vec<_> = tools.iter().filter_map(|tool| Tool::read(tool)).collect();
        if tools.is_empty() {
            eprintln!("the server has no tools");
        }
        let items: Vec<_> = tools.iter().map(item).collect();
        write_items(&mut out, &items, stdio::report_width())
    };
    super::written(written)
}

fn item(tool: &Tool) -> ListItem {
    let mut marks = hints(&tool.hints);
    if tool.execution == Execution::AsTask {
        marks.push("runs as a task");
    }
    let argument = |argument: &Argument| ListedArgument {
        name: argument.name.clone(),
        kind: kind(argument),
        description: argument.description.clone(),
    };
    ListItem {
        name: tool.name.clone(),
        marks: marks.into_iter().map(str::to_owned).collect(),
        title: tool.title.clone(),
        description: tool.description.clone(),
        arguments: tool.arguments.iter().map(argument).collect(),
    }
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
    use serde_json::value::RawValue;

    fn written(tools: &str, width: Option<usize>) -> String {
        let tools: Vec<&RawValue> = serde_json::from_str(tools).unwrap();
        let tools: Vec<_> = tools.into_iter().filter_map(Tool::read).collect();
        let items: Vec<_> = tools.iter().map(item).collect();
        let mut out = Vec::new();
        write_items(&mut out, &items, width).unwrap();
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
            {"name":"b\u001b[2J","annotations":{"readOnlyHint":true},"execution":{"taskSupport":"required"}}
        ]"#;
        assert_eq!(
            written(tools, None),
            "\
a  (destructive, idempotent)
  First: Does a lot.
    zone  string, required    Where.
    n     integer, default 3
    a-name-that-is-longer-than-all-others  x|y

b\u{fffd}[2J  (read-only, runs as a task)
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
