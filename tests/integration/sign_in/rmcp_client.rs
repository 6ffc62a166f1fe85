//! An app on rmcp's client: an independent hand on the protocol.

use std::process::Stdio;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, Implementation, ProgressNotificationParam,
};
use rmcp::service::{NotificationContext, RequestContext, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ErrorData, RoleClient, ServiceExt as _};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::user::User;
use crate::support::LIMIT;

/// The app, with a person who answers every question in the same way.
pub(super) struct App {
    client: RunningService<RoleClient, Person>,
    questions: mpsc::UnboundedReceiver<String>,
    progress: mpsc::UnboundedReceiver<ProgressNotificationParam>,
}

struct Person {
    questions: mpsc::UnboundedSender<String>,
    progress: mpsc::UnboundedSender<ProgressNotificationParam>,
}

impl App {
    /// Starts the bridge as its child and initializes. Returns when the person has signed in.
    pub(super) async fn start(user: &mut User, url: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command
            .arg(url)
            .env("MCP_BRIDGE_DIR", user.store())
            .env("BROWSER", user.file("browser"))
            .kill_on_drop(true);
        let (transport, _) = TokioChildProcess::builder(command)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (asked, questions) = mpsc::unbounded_channel();
        let (advanced, progress) = mpsc::unbounded_channel();
        let person = Person {
            questions: asked,
            progress: advanced,
        };
        let sign_in = async { user.window().await.sign_in().await };
        let (client, ()) = tokio::join!(timeout(LIMIT, person.serve(transport)), sign_in);
        Self {
            client: client.expect("an answer to initialize").unwrap(),
            questions,
            progress,
        }
    }

    pub(super) async fn call(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object");
        };
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let answered = timeout(LIMIT, self.client.call_tool(params)).await;
        answered.expect("an answer").unwrap()
    }

    /// The next question that the person was asked.
    pub(super) async fn question(&mut self) -> String {
        let next = timeout(LIMIT, self.questions.recv()).await;
        next.expect("a question").unwrap()
    }

    /// The next report of how far a call is.
    pub(super) async fn progress(&mut self) -> ProgressNotificationParam {
        let next = timeout(LIMIT, self.progress.recv()).await;
        next.expect("progress").unwrap()
    }

    /// Closes the bridge's stdin and waits for its end.
    pub(super) async fn leave(self) {
        self.client.cancel().await.unwrap();
    }
}

impl ClientHandler for Person {
    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        self.questions.send(message).unwrap();
        let order = json!({ "coffee": "flat white", "sugar": 2 });
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(order))
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.progress.send(progress).unwrap();
    }

    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("rmcp's client", "0"))
    }
}
