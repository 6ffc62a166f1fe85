//! The MCP server: its tools, and the menu as resources. Both eras of the protocol are served with the
//! same code; where they differ, that is said.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::request::Parts;
use rmcp::handler::server::common::Extension;
use rmcp::handler::server::tool::InputResponses;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, ElicitRequest, ElicitRequestParams,
    ElicitResult, ElicitationAction, ElicitationSchema, ErrorData, Implementation, InputRequest,
    InputRequests, InputRequiredResult, ListResourcesResult, PaginatedRequestParams,
    ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceContents, ServerCapabilities, ServerConfig,
    SubscriptionFilter,
};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::menu::Menu;
use super::resource::Authorized;
use super::scope::Scope;

/// Name of the tool that needs [`Scope::Coffee`].
pub(crate) const ORDER_COFFEE: &str = "order-coffee";

/// Largest start of the count-down.
const MAX_COUNT: u8 = 50;

/// Time between two numbers of the count-down.
const TICK: Duration = Duration::from_millis(200);

/// Limit for a person's answer about an order.
const ANSWER_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Key of the question and its answer in a multi-round request.
const ORDER: &str = "order";

/// One session of the legacy era, or one request of the modern one. It has no state of its own: who
/// asks is in the request, and the menu is everybody's.
pub(crate) struct ExampleServer {
    versions: &'static [ProtocolVersion],
    menu: Menu,
    /// Changes since this began, so that none is missed before the first look.
    changes: watch::Receiver<Vec<String>>,
}

impl ExampleServer {
    pub(crate) fn new(versions: &'static [ProtocolVersion], menu: Menu) -> Self {
        let changes = menu.changes();
        Self {
            versions,
            menu,
            changes,
        }
    }
}

#[tool_router]
impl ExampleServer {
    /// The data of the user that authorized this very request. The token check left it in the HTTP
    /// request's extensions, so it is never a matter of the session, whose id is no proof of
    /// anything (MCP, security best practices: Session Hijacking).
    #[tool(
        name = "get-user-data",
        description = "Who is signed in: name, e-mail address and what the app may do",
        annotations(read_only_hint = true)
    )]
    async fn get_user_data(
        &self,
        Extension(http): Extension<Parts>,
    ) -> Result<Json<UserData>, ErrorData> {
        let Authorized {
            account,
            client_name,
            scopes,
        } = authorized(&http)?;
        Ok(Json(UserData {
            id: account.id,
            name: account.name,
            email: account.email,
            favourite_coffee: account.favourite_coffee,
            app: client_name,
            scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        }))
    }

    /// The simplest tool there is.
    #[tool(
        name = "echo",
        description = "Returns the text it is given",
        annotations(read_only_hint = true)
    )]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    /// Changes what `resources/list` returns, which clients that want to know are told. The argument
    /// comes a second time in the header `Mcp-Param-Coffee`, in the modern era, for those on the way
    /// who do not read bodies; rmcp compares the two (MCP, transports: Custom Headers).
    #[tool(
        name = "add-to-menu",
        description = "Puts a coffee on the menu",
        annotations(read_only_hint = false, destructive_hint = false)
    )]
    async fn add_to_menu(
        &self,
        Parameters(NewCoffee { coffee }): Parameters<NewCoffee>,
    ) -> CallToolResult {
        match self.menu.add(&coffee) {
            Ok(()) => {
                let text = format!("{coffee} is on the menu.");
                CallToolResult::success(vec![ContentBlock::text(text)])
            }
            Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]),
        }
    }

    /// Takes a while and says how far it is (MCP, utilities: Progress). Ends early if the client
    /// cancels the request (MCP, utilities: Cancellation).
    #[tool(
        name = "count-down",
        description = "Counts down to zero and reports progress on the way",
        annotations(read_only_hint = true)
    )]
    async fn count_down(
        &self,
        Parameters(CountDown { from }): Parameters<CountDown>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        if from > MAX_COUNT {
            let text = format!("counting from {from} takes too long, {MAX_COUNT} is the most");
            return Err(ErrorData::invalid_params(text, None));
        }
        for passed in 0..from {
            // Only a client that sent a progress token wants to know.
            if let Some(token) = context.meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, f64::from(passed))
                    .with_total(f64::from(from))
                    .with_message(format!("{} …", from - passed));
                // A client that is gone has cancelled, which the next lines see.
                let _ = context.peer.notify_progress(progress).await;
            }
            tokio::select! {
                () = context.ct.cancelled() => {
                    return Err(ErrorData::internal_error("cancelled", None));
                }
                () = tokio::time::sleep(TICK) => {}
            }
        }
        Ok("Lift-off!".to_owned())
    }

    /// Asks the user something while the call is under way (MCP, client features: Elicitation), and
    /// needs a scope that a first sign-in does not ask for.
    #[tool(
        name = "order-coffee",
        description = "Orders a coffee for the user, who is asked which one",
        annotations(read_only_hint = false, destructive_hint = false)
    )]
    async fn order_coffee(
        &self,
        Extension(http): Extension<Parts>,
        InputResponses(answers): InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Authorized {
            account, scopes, ..
        } = authorized(&http)?;
        // The HTTP check lets the client ask for the scope. This one is the lock: it does not
        // depend on what the check could read from the body.
        if !scopes.iter().any(|scope| scope == Scope::Coffee) {
            return Err(ErrorData::invalid_request(
                "the scope coffee is needed",
                None,
            ));
        }
        let question = question(&account.name)?;
        let asks_in_rounds = context
            .protocol_version()
            .is_some_and(|v| !v.has_initialize());
        let answer = match answers {
            Some(answers) => given_answer(&answers)?,
            // From 2026-07-28 on a server cannot send requests: the result says what is missing,
            // and the client calls again with the answer.
            None if asks_in_rounds => {
                let question = InputRequest::Elicitation(ElicitRequest::new(question));
                let questions = InputRequests::from([(ORDER.to_owned(), question)]);
                return Ok(InputRequiredResult::from_input_requests(questions).into());
            }
            None if context.peer.supported_elicitation_modes().is_empty() => {
                let text = "This app cannot ask you anything, so there is no coffee.";
                return Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into());
            }
            None => context
                .peer
                .create_elicitation_with_timeout(question, Some(ANSWER_LIMIT))
                .await
                .map_err(|error| ErrorData::internal_error(error.to_string(), None))?,
        };
        let text = match answer.action {
            ElicitationAction::Accept => confirmation(&account.name, answer)?,
            _ => "No coffee, then.".to_owned(),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

#[tool_handler]
impl ServerHandler for ExampleServer {
    fn get_info(&self) -> ServerConfig {
        let version = env!("CARGO_PKG_VERSION");
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("mcp-bridge-example", version))
            .with_instructions("Call get-user-data to see who is signed in.")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let coffees = self.menu.coffees().into_iter();
        let resources = coffees.map(|(uri, name)| Resource::new(uri, name));
        Ok(ListResourcesResult::with_all_items(resources.collect()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let coffee = self.menu.coffee(&request.uri);
        let coffee = coffee.ok_or_else(|| {
            ErrorData::resource_not_found("there is no such coffee on the menu", None)
        })?;
        let contents = ResourceContents::text(coffee, request.uri);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    /// Legacy era: changes are announced to every session, by the stream that its client opens with GET
    /// (MCP, transports: Listening for Messages from the Server).
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let mut changes = self.changes.clone();
        tokio::spawn(async move {
            // Ends when the server does, and with the first announcement that a client is not there for.
            while changes.changed().await.is_ok() {
                if context.peer.notify_resource_list_changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Modern era: a client says what it wants to know. rmcp takes out what [`Self::get_info`] does not
    /// offer.
    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    /// Modern era: changes are announced in answer to `subscriptions/listen`, for as long as the client
    /// keeps that request open.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.clone();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                next = changes.changed() => next.map_err(|_| {
                    ErrorData::internal_error("the menu is gone", None)
                })?,
            }
            // A client that is gone has cancelled; one that did not ask for this is not told.
            let _ = context.sink().notify_resource_list_changed().await;
        }
    }
}

/// Arguments of `add-to-menu`.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "schemars")]
struct NewCoffee {
    /// Name of the coffee.
    #[schemars(extend("x-mcp-header" = "Coffee"))]
    coffee: String,
}

/// Arguments of `echo`.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "schemars")]
struct Echo {
    /// Text to return.
    text: String,
}

/// Arguments of `count-down`.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "schemars")]
struct CountDown {
    /// First number, at most 50.
    #[serde(default = "ten")]
    #[schemars(range(max = MAX_COUNT))]
    from: u8,
}

/// Result of `get-user-data`.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "schemars")]
struct UserData {
    /// Account id.
    id: String,
    /// Full name.
    name: String,
    /// E-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Coffee to order if nobody says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    favourite_coffee: Option<String>,
    /// Name of the app that asks.
    app: String,
    /// Scopes that the user granted the app.
    scopes: Vec<String>,
}

/// Fields of the form that the user fills in.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "schemars")]
struct CoffeeOrder {
    /// Espresso, filter, cappuccino …
    coffee: String,
    /// Number of lumps of sugar.
    #[serde(default)]
    sugar: u8,
}

fn ten() -> u8 {
    10
}

fn authorized(http: &Parts) -> Result<Authorized, ErrorData> {
    let authorized = http.extensions.get::<Authorized>().cloned();
    // Cannot happen as long as the check stands before the service.
    authorized.ok_or_else(|| ErrorData::internal_error("the request is not authorized", None))
}

fn question(name: &str) -> Result<ElicitRequestParams, ErrorData> {
    let requested_schema = ElicitationSchema::from_type::<CoffeeOrder>()
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: format!("Which coffee would you like, {name}?"),
        requested_schema,
    })
}

fn given_answer(answers: &rmcp::model::InputResponses) -> Result<ElicitResult, ErrorData> {
    let answer = answers.get(ORDER).cloned().unwrap_or_default();
    serde_json::from_value(answer).map_err(|error| invalid_answer(&error))
}

fn confirmation(name: &str, answer: ElicitResult) -> Result<String, ErrorData> {
    let order = serde_json::from_value(answer.content.unwrap_or_default());
    let CoffeeOrder { coffee, sugar } = order.map_err(|error| invalid_answer(&error))?;
    Ok(format!(
        "One {coffee} for {name} is on its way, with {sugar} lumps of sugar."
    ))
}

fn invalid_answer(error: &serde_json::Error) -> ErrorData {
    ErrorData::invalid_params(
        format!("the answer does not fit the question: {error}"),
        None,
    )
}
