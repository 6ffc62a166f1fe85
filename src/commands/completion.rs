//! Suggested values of an argument of a prompt or a resource template (MCP "Completion").

use std::process::ExitCode;

use serde_json::{Map, Value};

use super::arguments::name_value_pairs;
use super::client::{Completion, McpClient, Reference};
use super::content::Block;
use super::output::OutputForm;
use super::{ASK_THE_DOCTOR, Stop};
use mcp_bridge_core::stdio;
use mcp_bridge_protocol::message::Message;

/// An argument that a value is wanted for.
pub(super) struct Suggestion {
    name: String,
    beginning: String,
    /// The arguments that have a value already.
    others: Map<String, Value>,
}

impl Suggestion {
    /// Reads `NAME=BEGINNING` and the other arguments.
    pub(super) fn read(wanted: &str, others: &[String]) -> Result<Self, Stop> {
        let mut wanted = name_value_pairs(&[wanted.to_owned()])?;
        let (name, beginning) = wanted.pop().unwrap_or_default();
        let others = name_value_pairs(others)?.into_iter();
        Ok(Self {
            name,
            beginning,
            others: others.map(|(name, value)| (name, value.into())).collect(),
        })
    }

    /// Asks the server. Returns the response, which holds a result.
    pub(super) async fn ask(
        &self,
        client: &McpClient,
        reference: Reference<'_>,
    ) -> Result<Message, Stop> {
        let completion = Completion {
            reference,
            argument: &self.name,
            value: &self.beginning,
            others: &self.others,
        };
        client.complete(&completion).await
    }
}

/// Prints the values, each on a line of its own.
pub(super) fn print_values(completed: &Message, form: OutputForm) -> Result<ExitCode, Stop> {
    let completion = completed.result_member::<Value>("completion");
    let completion = completion.unwrap_or_default();
    let values = completion["values"].as_array().ok_or_else(|| {
        Stop::failed("the server's answer to completion/complete has no values")
            .hint(ASK_THE_DOCTOR)
    })?;
    let values = values.iter().filter_map(Value::as_str);
    let blocks = values.map(|value| Block::Text(value.to_owned())).collect();
    let written = form.write(completed, blocks, &mut stdio::report())?;
    super::printed(written)?;
    if completion["hasMore"] == true {
        eprintln!("the server has more values");
    }
    Ok(ExitCode::SUCCESS)
}
