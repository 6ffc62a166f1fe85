//! `mcp-bridge prompt`: gets one prompt of a server, filled in.

use std::process::ExitCode;

use serde_json::value::RawValue;

use super::arguments::{self, unknown};
use super::client::{Listing, McpClient, Reference, converse};
use super::completion::{Suggestion, print_values};
use super::content::Block;
use super::output::OutputFlags;
use super::prompts::Prompt;
use super::{ASK_THE_DOCTOR, Stop};
use crate::cli::ConnectionFlags;
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::{Message, member};

/// Get a prompt of a server, filled in
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint: https, or http on this machine
    url: String,

    /// The prompt's name
    name: String,

    /// The prompt's arguments: NAME=VALUE for each, or a JSON object, which may come from @FILE or, with -, from stdin
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,

    /// Print the values that the server suggests for an argument that begins so, and do not get the prompt
    #[arg(long, value_name = "NAME=BEGINNING", conflicts_with = "output")]
    complete: Option<String>,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Gets the prompt, or values for one of its arguments.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    if let Some(wanted) = &args.complete {
        let suggestion = Suggestion::read(wanted, &args.arguments)?;
        let completed = converse(args.connection, &args.url, async |client| {
            suggestion.ask(client, Reference::Prompt(&args.name)).await
        })?;
        return print_values(&completed, args.output.form());
    }
    let given = arguments::Given::read(&args.arguments, std::io::stdin())?;
    let result = converse(args.connection, &args.url, async |client| {
        prompt(client, &args.url, &args.name, given).await
    })?;
    let blocks = blocks(&result)?;
    let form = args.output.form();
    let written = form.write(&result, blocks, &mut stdio::report())?;
    super::written(written)
}

async fn prompt(
    client: &McpClient,
    url: &str,
    name: &str,
    given: arguments::Given,
) -> Result<Message, Stop> {
    let prompts = client.list(Listing::Prompts).await?;
    let prompts: Vec<_> = prompts.iter().filter_map(|it| Prompt::read(it)).collect();
    let Some(prompt) = prompts.iter().find(|prompt| prompt.name == name) else {
        let names: Vec<_> = prompts.iter().map(|it| it.name.as_str()).collect();
        return Err(unknown("prompt", name, url, &names));
    };
    let arguments = given.for_prompt(prompt, url)?;
    client.prompt(name, &arguments).await
}

/// The messages, each below the role that it has.
fn blocks(response: &Message) -> Result<Vec<Block>, Stop> {
    let messages = response.result_member::<Vec<&RawValue>>("messages");
    let messages = messages.ok_or_else(|| {
        Stop::failed("the server's answer to prompts/get has no list of messages")
            .hint(ASK_THE_DOCTOR)
    })?;
    let mut blocks = Vec::new();
    let mut last_role = None;
    for message in messages {
        let role = member::<String>(message.get(), "role").unwrap_or_default();
        if last_role.as_ref() != Some(&role) {
            blocks.push(Block::Text(format!("{role}:")));
        }
        last_role = Some(role);
        blocks.extend(content(message.get()).into_iter().map(Block::read));
    }
    Ok(blocks)
}

/// The blocks of a message, which has one, or several by later drafts of MCP.
fn content(message: &str) -> Vec<&str> {
    let several = member::<Vec<&RawValue>>(message, "content");
    let one = || {
        member::<&RawValue>(message, "content")
            .into_iter()
            .collect()
    };
    let content = several.unwrap_or_else(one);
    content.into_iter().map(RawValue::get).collect()
}
