//! Subscriptions of a modern app (`subscriptions/listen`).

use super::replies::cancellation;
use super::{Asked, Router};
use crate::bridge::Answering;
use crate::bridge::action::{Action, Timer};
use crate::bridge::exchanges::Lane;
use crate::bridge::reply::Reply;
use crate::bridge::subscriptions::{FailureEnd, ServerAccess, SubscriptionStep, SubscriptionTimer};
use crate::endpoint::{Failure, Initiative, LostSubscription};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Message, RequestId};

impl Router {
    /// A modern app subscribes. With `--wait-for-auth` it waits for the server's own acknowledgement.
    pub(super) fn on_subscription(&mut self, request: &Message) {
        let unanswered = &self.unanswered;
        let is_open = |id: &RequestId| unanswered.contains_key(id);
        let step = self
            .subscriptions
            .on_request(request, is_open, self.out.facts());
        let is_promised = self.patience.answering() != Answering::AfterServer;
        let step = step.filter(|_| is_promised);
        self.follow_subscription_steps(step.into_iter().collect());
    }

    pub(super) fn on_subscription_timer(&mut self, timer: &SubscriptionTimer) {
        let (SubscriptionTimer::Acknowledge(id, _) | SubscriptionTimer::Retry(id, ..)) = timer;
        if self.stopping || !self.unanswered.contains_key(id) {
            return;
        }
        let step = match timer {
            SubscriptionTimer::Acknowledge(_, opened) => {
                let way = if self.is_blocked(id, Era::Modern) {
                    ServerAccess::Blocked
                } else {
                    ServerAccess::Free
                };
                let facts = self.out.facts();
                self.subscriptions
                    .on_acknowledgement_due(id, *opened, way, facts)
            }
            SubscriptionTimer::Retry(_, opened, resent) => {
                self.subscriptions.on_retry_due(id, *opened, *resent)
            }
        };
        self.follow_subscription_steps(step.into_iter().collect());
    }

    /// Returns whether a notification for the modern app is dealt with here. `stream` is the request on whose stream it
    /// came.
    pub(super) fn is_held_by_subscriptions(
        &mut self,
        message: &Message,
        stream: Option<&RequestId>,
    ) -> bool {
        let steps = self
            .subscriptions
            .on_notification(message, stream, self.out.facts());
        let is_taken = steps.is_some();
        self.follow_subscription_steps(steps.unwrap_or_default());
        is_taken
    }

    pub(super) fn follow_subscription_steps(&mut self, steps: Vec<SubscriptionStep>) {
        for step in steps {
            match step {
                SubscriptionStep::ToApp(message) => self.out.write(message),
                SubscriptionStep::Send(request) => self.on_modern_request(request),
                // Without a response the app hears of it by a cancellation (MCP 2026-07-28, "Cancellation").
                SubscriptionStep::End(id, reason) => {
                    let ended = cancellation(&id, reason);
                    self.on_cancelled(&ended);
                    self.out.write(ended);
                }
                SubscriptionStep::After(wait, timer) => {
                    self.out.after(wait, Timer::Subscription(timer));
                }
                SubscriptionStep::AfterAbout(wait, timer) => {
                    let timer = Timer::Subscription(timer);
                    self.out.push(Action::AfterAbout(wait, timer));
                }
                SubscriptionStep::Available => self.on_server_available(),
            }
        }
    }

    /// Takes the reply to a subscription. True if the subscription goes on, because the app was promised it and the
    /// server has not been reached.
    pub(super) fn keeps_subscription(&mut self, asked: &Asked, reply: &Reply) -> bool {
        let Some(id) = reply.id() else {
            return false;
        };
        let steps = if reply.is_unreached() && !self.stopping {
            let end = match self.obstacle_of_lists(Some(reply)) {
                None => FailureEnd::Passes,
                Some(_) => FailureEnd::Stays,
            };
            self.subscriptions.on_failure(id, end)
        } else {
            None
        };
        let Some(steps) = steps else {
            self.subscriptions.on_end(id);
            return false;
        };
        self.unanswered.insert(id.clone(), asked.clone());
        self.follow_subscription_steps(steps);
        true
    }

    /// The connection of a subscription is lost. While the bridge ends, nothing is opened any more.
    pub(super) fn on_subscription_lost(&mut self, id: &RequestId, lost: &LostSubscription) {
        if self.stopping || !self.unanswered.contains_key(id) {
            return;
        }
        let step = self.subscriptions.on_lost(id, lost, self.out.facts());
        self.follow_subscription_steps(step.into_iter().collect());
    }

    /// The app has asked for something.
    pub(super) fn reopen_lost_subscriptions(&mut self) {
        let unanswered = &self.unanswered;
        let steps = self
            .subscriptions
            .on_app_request(|id| unanswered.contains_key(id));
        self.follow_subscription_steps(steps);
    }

    /// The one who wants a request: the bridge, if it keeps up a stream.
    pub(super) fn initiative(&self, request: &Message, lane: Lane) -> Initiative {
        if request.method() != Some("subscriptions/listen") {
            return Initiative::App;
        }
        let is_reopening = |id| self.subscriptions.is_reopening(id);
        match lane {
            Lane::Upgraded => Initiative::Bridge,
            Lane::Native if request.id().is_some_and(is_reopening) => Initiative::Bridge,
            Lane::Native | Lane::Downgraded(_) => Initiative::App,
        }
    }
}

/// The reply to a subscription of a translation whose stream is over without a response. A refusal in the server's words
/// is one, unless it may pass.
pub(super) fn stream_reply(id: &RequestId, method: &str, failure: Failure) -> Reply {
    if failure.stream_may_return() {
        Reply::without_response(id, method, failure)
    } else {
        Reply::of_failure(id, method, failure)
    }
}
