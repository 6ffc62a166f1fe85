//! An app on rmcp's client: an independent hand on the protocol.

use std::process::Stdio;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, Implementation, ProgressNotificationParam, ServerNotification,
    SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, RequestContext, RunningService, Subscription,
};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, ErrorData, RoleClient};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::user::User;
use crate::program;
use mcp_bridge_testkit::LIMIT;

/// The app, with a person who answers every question in the same way.
pub(crate) struct App {
    client: RunningService<RoleClient, Person>,
    questions: mpsc::UnboundedReceiver<String>,
    progress: mpsc::UnboundedReceiver<ProgressNotificationParam>,
    changes: mpsc::UnboundedReceiver<()>,
}

struct Person {
    questions: mpsc::UnboundedSender<String>,
    progress: mpsc::UnboundedSender<ProgressNotificationParam>,
    changes: mpsc::UnboundedSender<()>,
}

impl App {
    /// Starts the bridge as its child and initializes. Returns when the person has signed in.
    pub(crate) async fn start(user: &mut User, url: &str) -> Self {
        let start = Self::start_as(ClientLifecycleMode::Initialize, user, url);
        let sign_in = async { user.window().await.sign_in().await };
        let (app, ()) = tokio::join!(start, sign_in);
        app.unwrap()
    }

    /// Starts the bridge as its child, and begins as it is told. Nobody signs in.
    pub(crate) fn start_as(
        begin: ClientLifecycleMode,
        user: &User,
        url: &str,
    ) -> impl Future<Output = Result<Self, ClientInitializeError>> + use<> {
        let program = program::program().arg(url).home(user.home());
        let program = program
            .env("MCP_BRIDGE_DIR", user.store())
            .env("BROWSER", user.browser());
        let (transport, _) = TokioChildProcess::builder(program.command())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (asked, questions) = mpsc::unbounded_channel();
        let (advanced, progress) = mpsc::unbounded_channel();
        let (announce, changes) = mpsc::unbounded_channel();
        let person = Person {
            questions: asked,
            progress: advanced,
            changes: announce,
        };
        async move {
            let client = timeout(LIMIT, person.serve_with_lifecycle(transport, begin)).await;
            Ok(Self {
                client: client.expect("an answer to the first request")?,
                questions,
                progress,
                changes,
            })
        }
    }

    /// The version that the app and the bridge speak.
    pub(crate) fn version(&self) -> String {
        let peer = self.client.peer_info().expect("a beginning");
        peer.protocol_version.to_string()
    }

    /// The names of the tools.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let tools = timeout(LIMIT, self.client.list_all_tools()).await;
        let tools = tools.expect("an answer").unwrap().into_iter();
        tools.map(|tool| tool.name.into_owned()).collect()
    }

    /// The names of the resources.
    pub(crate) async fn resources(&self) -> Vec<String> {
        let resources = timeout(LIMIT, self.client.list_all_resources()).await;
        let resources = resources.expect("an answer").unwrap().into_iter();
        resources.map(|resource| resource.name.clone()).collect()
    }

    /// Modern era: asks to be told when the resources change.
    pub(crate) async fn listen(&self) -> Subscription {
        let mut filter = SubscriptionFilter::new();
        filter.resources_list_changed = Some(true);
        let subscription = timeout(LIMIT, self.client.listen(filter)).await;
        subscription.expect("an acknowledgement").unwrap()
    }

    /// Legacy era: is told that the resources changed.
    pub(crate) async fn change(&mut self) {
        let next = timeout(LIMIT, self.changes.recv()).await;
        next.expect("a notification").unwrap();
    }

    pub(crate) async fn call(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object");
        };
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let answered = timeout(LIMIT, self.client.call_tool(params)).await;
        answered.expect("an answer").unwrap()
    }

    /// The next question that the person was asked.
    pub(crate) async fn question(&mut self) -> String {
        let next = timeout(LIMIT, self.questions.recv()).await;
        next.expect("a question").unwrap()
    }

    /// The next report of how far a call is.
    pub(crate) async fn progress(&mut self) -> ProgressNotificationParam {
        let next = timeout(LIMIT, self.progress.recv()).await;
        next.expect("progress").unwrap()
    }

    /// Closes the bridge's stdin and waits for its end.
    pub(crate) async fn leave(self) {
        self.client.cancel().await.unwrap();
    }
}

/// Modern era: is told that the resources changed.
pub(crate) async fn change(subscription: &mut Subscription) {
    let next = timeout(LIMIT, subscription.next()).await;
    let notification = next.expect("a notification").unwrap();
    assert!(matches!(
        notification,
        Some(ServerNotification::ResourceListChangedNotification(_))
    ));
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
        // The bridge shows the sign-in page, which has a window of its own here.
        if message.starts_with("Sign in to ") {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        }
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

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.send(()).unwrap();
    }

    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("rmcp's client", "0"))
    }
}
