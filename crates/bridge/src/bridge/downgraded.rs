//! Sessions with a legacy server for a modern app: one for each way in which the app describes itself.

use std::time::Duration;

use super::action::LinkId;
use super::pending_queue::{PendingQueue, Ticket};
use super::reply::Reply;
use crate::endpoint::Failure;
use mcp_bridge_protocol::era::downgrade::ModernClient;
use mcp_bridge_protocol::era::{Action, Downgrade};
use mcp_bridge_protocol::message::{Message, RequestId};

/// Sessions that are held at once.
const MAX_SESSIONS: usize = 16;

/// The sessions. Events go in, [`SessionStep`]s come out.
#[derive(Debug)]
pub(super) struct DowngradedSessions {
    /// The server's host and port.
    host: String,
    /// Time that a request waits for its session; `None` for as long as it takes.
    patience: Option<Duration>,
    sessions: Vec<DowngradedSession>,
}

#[derive(Debug)]
struct DowngradedSession {
    client: ModernClient,
    link: LinkId,
    state: DowngradedState,
}

#[derive(Debug)]
enum DowngradedState {
    /// The session is being opened; these wait for it.
    Opening(PendingQueue),
    Open(Box<Downgrade>),
    /// The session could not be opened. The next request tries again.
    Failed,
}

/// Something to be done for the sessions.
#[derive(Debug)]
pub(super) enum SessionStep {
    /// Send this request on the link.
    Send(LinkId, Message),
    /// Do what the translation on the link asks for.
    Translate(LinkId, Vec<Action>),
    /// Answer the app's request.
    Answer(Reply),
    /// Hand the ticket back after this time.
    After(Duration, LinkId, Ticket),
}

impl DowngradedSessions {
    pub(super) const fn new(host: String, patience: Option<Duration>) -> Self {
        Self {
            host,
            patience,
            sessions: Vec::new(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A request of the app, which goes to its session. Where there is none yet, `open_link` makes a link for it.
    pub(super) fn on_request(
        &mut self,
        request: Message,
        open_link: impl FnOnce() -> LinkId,
    ) -> Vec<SessionStep> {
        let sessions = &self.sessions;
        let spelled = sessions
            .iter()
            .position(|it| it.client.is_spelled_in(&request));
        let Some(at) = spelled.or_else(|| self.session_for(&request, open_link)) else {
            return refuse(&request);
        };
        let session = &mut self.sessions[at];
        let link = session.link;
        let mut steps = Vec::new();
        if matches!(session.state, DowngradedState::Failed) {
            session.state = DowngradedState::Opening(PendingQueue::default());
            steps.push(SessionStep::Send(link, session.initialize_request()));
        }
        match &mut session.state {
            DowngradedState::Open(downgrade) => {
                steps.push(SessionStep::Translate(
                    link,
                    downgrade.on_app_message(&request),
                ));
            }
            DowngradedState::Opening(pending) => {
                let ticket = pending.push(request);
                let wait = self.patience;
                steps.extend(wait.map(|wait| SessionStep::After(wait, link, ticket)));
            }
            DowngradedState::Failed => {}
        }
        steps
    }

    /// The place of the session for a request, which may be a new one; `None` if there are too many.
    fn session_for(
        &mut self,
        request: &Message,
        open_link: impl FnOnce() -> LinkId,
    ) -> Option<usize> {
        let client = ModernClient::from_request(request);
        let known = self.sessions.iter().position(|it| it.client == client);
        if known.is_some() || self.sessions.len() >= MAX_SESSIONS {
            return known;
        }
        self.sessions.push(DowngradedSession {
            client,
            link: open_link(),
            state: DowngradedState::Failed,
        });
        Some(self.sessions.len() - 1)
    }

    /// The reply to the `initialize` of the session on this link.
    pub(super) fn on_initialized(&mut self, link: LinkId, reply: &Reply) -> Vec<SessionStep> {
        let Some(session) = self.sessions.iter_mut().find(|it| it.link == link) else {
            return Vec::new();
        };
        let response = reply.response();
        let opened = response.and_then(|it| Downgrade::open(&session.client, it, &self.host));
        let (state, actions) = match opened {
            Some((downgrade, actions)) => (DowngradedState::Open(Box::new(downgrade)), actions),
            None => (DowngradedState::Failed, Vec::new()),
        };
        let failed = matches!(state, DowngradedState::Failed);
        let pending = match std::mem::replace(&mut session.state, state) {
            DowngradedState::Opening(pending) => pending,
            DowngradedState::Open(_) | DowngradedState::Failed => PendingQueue::default(),
        };
        let mut steps = vec![SessionStep::Translate(link, actions)];
        for request in pending {
            match (request.id(), &mut session.state) {
                (Some(id), _) if failed => steps.push(SessionStep::Answer(reply.with_id(id))),
                (_, DowngradedState::Open(downgrade)) => {
                    steps.push(SessionStep::Translate(
                        link,
                        downgrade.on_app_message(&request),
                    ));
                }
                (_, DowngradedState::Opening(_) | DowngradedState::Failed) => {}
            }
        }
        steps
    }

    /// The app has given up the request `id` by this notification.
    pub(super) fn on_cancelled(
        &mut self,
        id: &RequestId,
        notification: &Message,
    ) -> Vec<SessionStep> {
        let mut steps = Vec::new();
        for session in &mut self.sessions {
            match &mut session.state {
                DowngradedState::Open(downgrade) => {
                    let actions = downgrade.on_app_message(notification);
                    steps.push(SessionStep::Translate(session.link, actions));
                }
                DowngradedState::Opening(pending) => pending.withdraw(id),
                DowngradedState::Failed => {}
            }
        }
        steps
    }

    /// Takes out the request of a ticket, which has waited long enough for the session on this link.
    pub(super) fn take_expired(&mut self, link: LinkId, ticket: Ticket) -> Option<Message> {
        let session = self.sessions.iter_mut().find(|it| it.link == link)?;
        match &mut session.state {
            DowngradedState::Opening(pending) => pending.take(ticket),
            DowngradedState::Open(_) | DowngradedState::Failed => None,
        }
    }

    /// The translation on a link whose session is open.
    pub(super) fn on_link(&mut self, link: LinkId) -> Option<&mut Downgrade> {
        let session = self.sessions.iter_mut().find(|it| it.link == link)?;
        match &mut session.state {
            DowngradedState::Open(downgrade) => Some(downgrade),
            DowngradedState::Opening(_) | DowngradedState::Failed => None,
        }
    }

    /// The exchange by which the request `id` is with the server: its link and its id there.
    pub(super) fn exchange_of(&self, id: &RequestId) -> Option<(LinkId, RequestId)> {
        self.sessions
            .iter()
            .find_map(|session| match &session.state {
                DowngradedState::Open(downgrade) => {
                    Some((session.link, downgrade.exchange_of(id)?.clone()))
                }
                DowngradedState::Opening(_) | DowngradedState::Failed => None,
            })
    }

    /// The requests that wait for a session.
    pub(super) fn pending(&self) -> impl Iterator<Item = &RequestId> {
        let queues = self.sessions.iter().filter_map(|it| match &it.state {
            DowngradedState::Opening(pending) => Some(pending),
            DowngradedState::Open(_) | DowngradedState::Failed => None,
        });
        queues.flat_map(PendingQueue::ids)
    }
}

impl DowngradedSession {
    fn initialize_request(&self) -> Message {
        let id = format!("mcp-bridge-session-{}", self.link.number());
        self.client.initialize_request(&RequestId::from_string(&id))
    }
}

/// Refuses a request that would need one session too many.
fn refuse(request: &Message) -> Vec<SessionStep> {
    let failure = Failure::Overloaded {
        limit: MAX_SESSIONS,
    };
    let named = request.id().zip(request.method());
    let reply = named.map(|(id, method)| Reply::of_failure(id, method, failure));
    reply.map(SessionStep::Answer).into_iter().collect()
}
