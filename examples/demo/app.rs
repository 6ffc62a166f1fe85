//! The app: rmcp's client, which begins with `initialize` as the apps of today do. It speaks MCP over the
//! bridge's stdin and stdout, and knows nothing of OAuth, nor of the version that the server speaks.

use std::error::Error;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, Implementation,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ErrorData, RoleClient, ServiceExt};
use serde_json::{Value, json};

use super::terminal::Terminal;

/// The conversation, from its beginning to its end.
pub(crate) async fn converse(
    transport: TokioChildProcess,
    terminal: &Arc<Terminal>,
) -> Result<(), Box<dyn Error>> {
    terminal.step("Connect");
    let app = App {
        terminal: terminal.clone(),
    };
    let client = app.serve(transport).await?;
    if let Some(peer) = client.peer_info() {
        let name = peer
            .server_info
            .as_ref()
            .map_or("?", |server| server.name.as_str());
        terminal.value("server", name);
        terminal.value("protocol", &peer.protocol_version);
    }

    terminal.step("List the tools");
    for tool in client.list_all_tools().await? {
        terminal.value(&tool.name, tool.description.as_deref().unwrap_or_default());
    }

    let result = call(&client, "get-user-data", terminal).await?;
    let data = result
        .structured_content
        .ok_or("get-user-data returned no data")?;
    for (name, value) in data.as_object().into_iter().flatten() {
        terminal.value(name, plain(value));
    }

    let result = call(&client, "order-coffee", terminal).await?;
    let text = result.content.first().and_then(|block| block.as_text());
    let text = text.ok_or("order-coffee said nothing")?;
    terminal.value("the server says", &text.text);
    client.cancel().await?;
    Ok(())
}

async fn call(
    client: &RunningService<RoleClient, App>,
    tool: &'static str,
    terminal: &Terminal,
) -> Result<CallToolResult, Box<dyn Error>> {
    terminal.step(&format!("Call {tool}"));
    let result = client.call_tool(CallToolRequestParams::new(tool)).await?;
    if result.is_error == Some(true) {
        return Err(format!("{tool} failed: {:?}", result.content).into());
    }
    Ok(result)
}

/// The app's side of the connection: its answers to the server's questions.
struct App {
    terminal: Arc<Terminal>,
}

impl ClientHandler for App {
    /// Shows the question and answers it. Another app would show a form.
    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        // The sign-in page is open in the browser already.
        if message.starts_with("Sign in to ") {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        }
        self.terminal.value("the app is asked", &message);
        let order = json!({ "coffee": "flat white", "sugar": 1 });
        self.terminal.value("its answer", &order);
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(order))
    }

    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        let version = env!("CARGO_PKG_VERSION");
        ClientConfig::new(
            capabilities,
            Implementation::new("mcp-bridge demo", version),
        )
    }
}

/// A value as a person would write it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
