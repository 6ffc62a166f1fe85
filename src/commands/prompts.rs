//! `mcp-bridge prompts`: the prompts of a server.

use std::process::ExitCode;

use serde_json::value::RawValue;

use super::Stop;
use super::client::{Listing, converse};
use super::listing::{ListItem, ListedArgument, write_items, write_json};
use crate::cli::ConnectionFlags;
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::member;

/// List the prompts of a server, with their arguments
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

/// A prompt of a list. What the server has spelled wrong is as if it were not there.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) name: String,
    title: Option<String>,
    description: Option<String>,
    /// In the server's order.
    pub(super) arguments: Vec<PromptArgument>,
}

/// An argument of a prompt, which is a string.
#[derive(Debug)]
pub(super) struct PromptArgument {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) is_required: bool,
}

/// Lists the prompts.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let prompts = converse(args.connection, &args.url, async |client| {
        client.list(Listing::Prompts).await
    })?;
    let mut out = stdio::report();
    let written = if args.json {
        write_json(&mut out, &[(Listing::Prompts.member(), prompts)])
    } else {
        let prompts = prompts.iter().filter_map(|prompt| Prompt::read(prompt));
        let items: Vec<_> = prompts.map(Prompt::into_item).collect();
        if items.is_empty() {
            eprintln!("the server has no prompts");
        }
        write_items(&mut out, &items, stdio::report_width())
    };
    super::written(written)
}

impl Prompt {
    /// Reads a prompt of a list; `None` if it has no name.
    pub(super) fn read(prompt: &RawValue) -> Option<Self> {
        let prompt = prompt.get();
        let arguments = member::<Vec<&RawValue>>(prompt, "arguments").unwrap_or_default();
        let arguments = arguments.into_iter();
        Some(Self {
            name: member(prompt, "name")?,
            title: member(prompt, "title"),
            description: member(prompt, "description"),
            arguments: arguments
                .filter_map(|argument| PromptArgument::read(argument.get()))
                .collect(),
        })
    }

    fn into_item(self) -> ListItem {
        let argument = |argument: PromptArgument| ListedArgument {
            name: argument.name,
            kind: if argument.is_required {
                "required".to_owned()
            } else {
                "optional".to_owned()
            },
            description: argument.description,
        };
        ListItem {
            name: self.name,
            marks: Vec::new(),
            title: self.title,
            description: self.description,
            arguments: self.arguments.into_iter().map(argument).collect(),
        }
    }
}

impl PromptArgument {
    fn read(argument: &str) -> Option<Self> {
        Some(Self {
            name: member(argument, "name")?,
            description: member(argument, "description").or_else(|| member(argument, "title")),
            is_required: member(argument, "required") == Some(true),
        })
    }
}
