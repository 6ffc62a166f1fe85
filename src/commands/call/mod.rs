//! `mcp-bridge call`: calls one tool of a server.

mod arguments;
mod output;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::client::McpClient;
use super::mistyped::closest;
use super::schema::Tool;
use super::{Stop, run_async};
use crate::cli::ConnectionFlags;
use crate::log;
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::Message;
use mcp_bridge_text::printable;
use output::OutputForm;

/// Names that a hint lists.
const MAX_NAMED: usize = 12;

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

    /// Print the whole result, in the server's own JSON
    #[arg(long)]
    json: bool,

    /// Write the result to a file: the first image, sound or file, otherwise the text
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,

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
    let connection = args.connection.connection(&args.url, None)?;
    log::start_for_person(&connection.log);
    let result = run_async(async {
        let client = McpClient::connect(connection).await?;
        let result = call(&client, &args.url, &args.tool, given).await;
        client.leave().await;
        result
    })?;
    let report = match (args.json, args.output) {
        (true, _) => OutputForm::Json,
        (false, Some(file)) => OutputForm::File(file),
        // A terminal that does not tell its size is one all the same.
        (false, None) if stdio::report().is_terminal() => OutputForm::Terminal,
        (false, None) => OutputForm::Plain,
    };
    let written = report.write(&result, &mut stdio::report())?;
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
    let tools = client.tools().await?;
    let tools: Vec<_> = tools.iter().filter_map(|tool| Tool::read(tool)).collect();
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        return Err(unknown(name, url, &tools));
    };
    let arguments = given.for_tool(tool, url)?;
    client.call(name, &arguments, tool.execution).await
}

fn unknown(name: &str, url: &str, tools: &[Tool]) -> Stop {
    let names = tools.iter().map(|tool| tool.name.as_str());
    let hint = match closest(name, names.clone()) {
        Some(other) => format!("did you mean {}?", printable::line(other)),
        None if tools.is_empty() => "the server has no tools".to_owned(),
        None if tools.len() <= MAX_NAMED => {
            let names: Vec<_> = names.map(printable::line).collect();
            format!("it has {}", names.join(", "))
        }
        None => format!("mcp-bridge tools {url} lists them"),
    };
    Stop {
        hint: Some(hint),
        ..Stop::usage(format!("the server has no tool \"{name}\""))
    }
}
