//! `mcp-bridge resources`: the resources of a server, and the templates of their addresses.

use std::process::ExitCode;

use serde_json::value::RawValue;

use super::Stop;
use super::client::{Listing, McpClient, converse};
use super::content::size;
use super::listing::{ListItem, write_items, write_json};
use crate::cli::ConnectionFlags;
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::member;

/// List the resources of a server, and the templates of their addresses
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

/// Lists the resources.
pub(super) fn run(args: Args) -> Result<ExitCode, Stop> {
    let (resources, templates) = converse(args.connection, &args.url, lists)?;
    let mut out = stdio::report();
    let written = if args.json {
        let lists = [
            (Listing::Resources.member(), resources),
            (Listing::ResourceTemplates.member(), templates),
        ];
        write_json(&mut out, &lists)
    } else {
        let resources = resources.iter().filter_map(|it| resource(it));
        let templates = templates.iter().filter_map(|it| template(it));
        let items: Vec<_> = resources.chain(templates).collect();
        if items.is_empty() {
            eprintln!("the server has no resources");
        }
        write_items(&mut out, &items, stdio::report_width())
    };
    super::written(written)
}

type RawList = Vec<Box<RawValue>>;

async fn lists(client: &McpClient) -> Result<(RawList, RawList), Stop> {
    let resources = client.list(Listing::Resources).await?;
    let templates = client.list(Listing::ResourceTemplates).await?;
    Ok((resources, templates))
}

fn resource(resource: &RawValue) -> Option<ListItem> {
    item(resource.get(), "uri", None)
}

fn template(template: &RawValue) -> Option<ListItem> {
    item(template.get(), "uriTemplate", Some("template"))
}

/// An element of either list; `None` if it has no address.
fn item(resource: &str, address: &str, kind: Option<&str>) -> Option<ListItem> {
    let text = |name: &str| member::<String>(resource, name);
    let size = member::<usize>(resource, "size").map(size);
    let kind = kind.map(str::to_owned);
    let marks = [kind, text("mimeType"), size].into_iter().flatten();
    Some(ListItem {
        name: text(address)?,
        marks: marks.chain(annotations(resource)).collect(),
        title: text("title").or_else(|| text("name")),
        description: text("description"),
        arguments: Vec::new(),
    })
}

/// The server's annotations of a resource (MCP "Resources", `annotations`).
fn annotations(resource: &str) -> Vec<String> {
    let Some(annotations) = member::<&RawValue>(resource, "annotations") else {
        return Vec::new();
    };
    let annotations = annotations.get();
    let audience = member::<Vec<String>>(annotations, "audience").filter(|it| !it.is_empty());
    let audience = audience.map(|roles| format!("for the {}", roles.join(" and the ")));
    let priority = member::<f64>(annotations, "priority").map(|it| format!("priority {it}"));
    let modified = member::<String>(annotations, "lastModified");
    let modified = modified.map(|date| format!("changed {date}"));
    [audience, priority, modified]
        .into_iter()
        .flatten()
        .collect()
}
