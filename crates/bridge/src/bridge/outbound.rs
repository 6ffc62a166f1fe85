//! Outbound messages: tasks for requests, and notifications in order.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tracing::Instrument as _;

use super::conversation::Conversation;
use super::panics::survived;
use super::send_order::Turns;
use crate::endpoint::{self, Endpoint, Event, Failure, Outcome, Phase, Track, WaitLimits};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Kind, Message, RequestId};

/// Notifications and responses of the app that may wait to be sent.
const MAX_OUTBOUND: usize = 10_000;

/// Time that a request waits for a server that cannot be reached where the app waits for everything
/// (`--wait-for-auth`): apps end a call after a minute.
const UNLIMITED_PATIENCE: Duration = Duration::from_secs(45);

/// An endpoint, and what has to go before what on the way to it.
pub(super) struct Link {
    pub(super) endpoint: Arc<Endpoint>,
    turns: Turns,
}

/// A request that is with the server.
pub(super) struct Exchange {
    pub(super) request: Message,
    pub(super) lane: Lane,
    pub(super) track: Arc<Track>,
    pub(super) task: AbortHandle,
}

/// On whose behalf something is with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// The app's own words, as they are.
    Native,
    /// A legacy app's, translated for a modern server.
    Upgraded,
    /// A modern app's, translated for a session with a legacy server: the link of this number.
    Downgraded(usize),
}

impl Lane {
    /// The link that carries it.
    pub(super) const fn link(self) -> usize {
        match self {
            Self::Native | Self::Upgraded => 0,
            Self::Downgraded(link) => link,
        }
    }
}

impl Conversation {
    /// Another endpoint at the same server; returns its number.
    pub(super) fn add_link(&mut self, config: endpoint::Config) -> usize {
        let number = self.links.len();
        let authorizer = self.authorizer.clone();
        self.links.push(Link {
            endpoint: Endpoint::new(number, config, authorizer, self.sender.clone()),
            turns: Turns::default(),
        });
        number
    }

    /// The endpoint of the app's own words.
    pub(super) fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.links[0].endpoint)
    }

    /// Sends a request to the server, on behalf of `lane`.
    pub(super) fn start_exchange(&mut self, request: Message, lane: Lane) {
        let era = match lane {
            Lane::Native => {
                let asked = request.id().and_then(|id| self.unanswered.get(id));
                asked.map_or_else(|| Era::of_request(&request), |asked| asked.era)
            }
            Lane::Upgraded => Era::Modern,
            Lane::Downgraded(_) => Era::Legacy,
        };
        let Some(to_send) = endpoint::Request::new(request.clone(), era) else {
            return;
        };
        let id = to_send.id().clone();
        let number = lane.link();
        let link = &self.links[number];
        let wait = link.turns.for_request();
        // At other levels than `debug` neither the span nor what comes with it costs anything.
        let span = tracing::debug_span!("request", %id, method = request.method());
        let track = Arc::new(Track::new(self.wait_limits(&request, lane)).in_span_of(&id));
        let endpoint = Arc::clone(&link.endpoint);
        let carried = {
            let (id, track) = (id.clone(), Arc::clone(&track));
            async move {
                wait.passed().await;
                let work = pin!(endpoint.request(&to_send, &track));
                let outcome = survived(work).await;
                let outcome = outcome.unwrap_or(Outcome::Failed(Failure::Internal));
                endpoint.tell(Event::Outcome { id, outcome }).await;
            }
        };
        // Boxed: the runtime moves what it is given more than once, and this is large.
        let task = if span.is_disabled() {
            tokio::spawn(Box::pin(carried)).abort_handle()
        } else {
            let is_long = request.method() == Some("subscriptions/listen");
            let track = Arc::clone(&track);
            let watched = async move {
                tokio::select! {
                    () = carried => {}
                    _ = track.report_silence(None), if !is_long => {}
                }
            };
            tokio::spawn(Box::pin(watched.instrument(span))).abort_handle()
        };
        let exchange = Exchange {
            request,
            lane,
            track,
            task,
        };
        self.exchanges.insert((number, id), exchange);
    }

    /// The limits of a request's waits.
    fn wait_limits(&self, request: &Message, lane: Lane) -> WaitLimits {
        let method = request.method();
        let patience = self.patience_with(method);
        let signs_in_at_leisure = matches!(method, Some("initialize" | "subscriptions/listen"));
        // Whoever sends the app's own `initialize` tries again by itself.
        let is_tried_again = method == Some("initialize") && lane == Lane::Native;
        WaitLimits {
            sign_in: patience.filter(|_| !signs_in_at_leisure),
            server: (!is_tried_again).then(|| patience.unwrap_or(UNLIMITED_PATIENCE)),
        }
    }

    /// Ends an exchange; nothing of it will be heard any more.
    pub(super) fn abort(&mut self, lane: Lane, id: &RequestId) {
        if let Some(exchange) = self.exchanges.remove(&(lane.link(), id.clone())) {
            exchange.task.abort();
        }
    }

    /// Sends a notification, or a response for a request of the server in the session `session`, after
    /// the notifications that came before it.
    pub(super) fn send_in_turn(&mut self, number: usize, message: Message, session: Option<u64>) {
        if self.outbound.len() >= MAX_OUTBOUND {
            tracing::warn!("dropped a message of the app: {MAX_OUTBOUND} wait to be sent");
            return;
        }
        let link = &mut self.links[number];
        let endpoint = Arc::clone(&link.endpoint);
        let (turn, wait) = if matches!(message.kind(), Kind::Response { .. }) {
            (None, link.turns.for_response())
        } else {
            let turn = link.turns.take();
            if message.method() == Some("notifications/initialized") {
                link.turns.requests_wait_for(&turn);
            }
            let wait = turn.before();
            (Some(turn), wait)
        };
        self.outbound.spawn(async move {
            wait.passed().await;
            if session.is_some_and(|session| session != endpoint.generation()) {
                tracing::debug!("dropped a response of the app for a session that is gone");
            } else {
                endpoint.notify(&message).await;
            }
            drop(turn);
        });
    }

    /// Where a request of the app's own words stands with the server.
    pub(super) fn phase_of(&self, id: &RequestId) -> Option<Phase> {
        let exchange = self.exchanges.get(&(0, id.clone()))?;
        Some(exchange.track.phase())
    }
}
