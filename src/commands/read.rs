//! `mcp-bridge read`: reads one resource of a server.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::value::RawValue;

use super::arguments::name_value_pairs;
use super::client::{Reference, converse};
use super::completion::{Suggestion, print_values};
use super::content::Block;
use super::output::{OutputFlags, OutputForm};
use super::text::without_query;
use super::uri_template::UriTemplate;
use super::{ASK_THE_DOCTOR, Stop};
use crate::cli::ConnectionFlags;
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::Message;

/// Read a resource of a server
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's MCP endpoint: https, or http on this machine
    url: String,

    /// The resource's address, or the template of one with {NAME} in it
    uri: String,

    /// The values for a template: NAME=VALUE for each
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,

    /// Print the values that the server suggests for a name that begins so, and do not read
    #[arg(long, value_name = "NAME=BEGINNING", conflicts_with = "output")]
    complete: Option<String>,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Reads the resource, or values for a template.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    if let Some(wanted) = &args.complete {
        let suggestion = Suggestion::read(wanted, &args.arguments)?;
        let completed = converse(args.connection, &args.url, async |client| {
            suggestion.ask(client, Reference::Template(&args.uri)).await
        })?;
        return print_values(&completed, args.output.form());
    }
    let uri = address(&args.uri, &args.arguments)?;
    let result = converse(args.connection, &args.url, async |client| {
        client.read_resource(&uri).await
    });
    let result = result.map_err(|stop| match stop.hint {
        Some(_) => stop,
        None => stop.hint(format!(
            "mcp-bridge resources {} lists them",
            without_query(&args.url)
        )),
    })?;
    let blocks = blocks(&result)?;
    let form = args.output.form();
    let mut out = stdio::report();
    let written = match (form, blocks.as_slice()) {
        (OutputForm::Plain, [content]) => write_exactly(content, &mut out)?,
        (form, _) => form.write(&result, blocks, &mut out)?,
    };
    super::written(written)
}

/// The address of the resource, from the template where it is one.
fn address(uri: &str, arguments: &[String]) -> Result<String, Stop> {
    let values = name_value_pairs(arguments)?;
    let template = UriTemplate::parse(uri)
        .map_err(|reason| Stop::usage(format!("{uri:?} is no address: {reason}")))?;
    let names = template.names();
    let is_unknown = |(name, _): &&(String, String)| !names.contains(&name.as_str());
    if let Some((name, _)) = values.iter().find(is_unknown) {
        let stop = Stop::usage(format!("the address has no {{{name}}}"));
        return Err(if names.is_empty() {
            stop
        } else {
            stop.hint(format!("it has {}", names.join(", ")))
        });
    }
    let is_missing = |name: &&str| !values.iter().any(|(known, _)| known == name);
    let missing: Vec<_> = template
        .required_names()
        .into_iter()
        .filter(is_missing)
        .collect();
    if !missing.is_empty() {
        let pairs: Vec<_> = missing.iter().map(|name| format!("{name}=…")).collect();
        return Err(Stop::usage("the address is a template, which needs values")
            .hint(format!("add {}", pairs.join(" "))));
    }
    Ok(template.expand(&values))
}

/// The contents of the resource.
fn blocks(response: &Message) -> Result<Vec<Block>, Stop> {
    let contents = response.result_member::<Vec<&RawValue>>("contents");
    let contents = contents.ok_or_else(|| {
        Stop::failed("the server's answer to resources/read has no contents").hint(ASK_THE_DOCTOR)
    })?;
    if contents.is_empty() {
        eprintln!("the resource has no contents");
    }
    let contents = contents.into_iter().map(RawValue::get);
    Ok(contents.map(Block::of_resource).collect())
}

/// Writes the one content of a resource as it is, for another program or a file. The outer error is about the
/// content, the inner about `out`.
fn write_exactly(content: &Block, out: &mut impl Write) -> Result<io::Result<()>, Stop> {
    match content {
        Block::Text(text) => Ok(out.write_all(text.as_bytes())),
        Block::Other {
            bytes: Some(bytes), ..
        } => Ok(out.write_all(bytes)),
        Block::Other { description, .. } => Err(Stop::failed(description.clone())),
    }
}
