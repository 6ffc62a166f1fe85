//! `mcp-bridge call`: calls one tool of a server.

use std::process::ExitCode;

use super::Stop;
use super::arguments::{self, unknown};
use super::client::{Listing, McpClient, converse};
use super::output::{OutputFlags, call_blocks};
use super::schema::Tool;
use crate::cli::ConnectionFlags;
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::Message;
use mcp_bridge_text::printable;

/// Call a tool of a server
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint: https, or http on this machine
    url: String,

    /// The tool's name
    tool: String,

    /// The tool's arguments: NAME=VALUE for each, or a JSON object, which may come from @FILE or, with -, from stdin
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Calls the tool.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    if args.tool.contains("://") && !args.url.contains("://") {
        return Err(
            Stop::usage("the server's URL comes first, then the tool").hint(format!(
                "mcp-bridge call {} {}",
                printable::line(&args.tool),
                printable::line(&args.url)
            )),
        );
    }
    let given = arguments::Given::read(&args.arguments, std::io::stdin())?;
    let result = converse(args.connection, &args.url, async |client| {
        call(client, &args.url, &args.tool, given).await
    })?;
    let blocks = call_blocks(&result);
    let form = args.output.form();
    let written = form.write(&result, blocks, &mut stdio::report())?;
    super::printed(written)?;
    if result.result_member("isError") == Some(true) {
        let name = printable::line(&args.tool);
        return Err(Stop::failed(format!(
            "the tool \"{name}\" says that it failed"
        )));
    }
    Ok(ExitCode::SUCCESS)
}

async fn call(
    client: &McpClient,
    url: &str,
    name: &str,
    given: arguments::Given,
) -> Result<Message, Stop> {
    let tools = client.list(Listing::Tools).await?;
    let tools: Vec<_> = tools.iter().filter_map(|tool| Tool::read(tool)).collect();
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
        return Err(unknown("tool", name, url, &names));
    };
    let arguments = given.for_tool(tool, url)?;
    client.call(name, &arguments, tool.execution).await
}
