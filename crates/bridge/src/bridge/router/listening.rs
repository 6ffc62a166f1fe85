//! Subscriptions of a modern app (`subscriptions/listen`).

use super::replies::cancellation;
use super::{Asked, Router};
use crate::bridge::Answering;
use crate::bridge::action::Timer;
use crate::bridge::reply::Reply;
use crate::bridge::subscriptions::{
    self, FailureEnd, ServerAccess, SubscriptionStep, SubscriptionTimer,
};
use mcp_bridge_protocol::era::Era;
use mcp_bridge_protocol::message::{Message, RequestId};

impl Router {
    /// A modern app subscribes.
    pub(super) fn on_subscription(&mut self, request: &Message) {
        if self.patience.answering() == Answering::AfterServer {
            return;
        }
        let unanswered = &self.unanswered;
        let is_open = |id: &RequestId| unanswered.contains_key(id);
        let step = self
            .subscriptions
            .on_request(request, is_open, self.out.facts());
        self.follow_subscription_steps(step.into_iter().collect());
    }

    pub(super) fn on_subscription_timer(&mut self, timer: &SubscriptionTimer) {
        let (SubscriptionTimer::Acknowledge(id, opened) | SubscriptionTimer::Retry(id, opened)) =
            timer;
        if self.stopping || !self.unanswered.contains_key(id) {
            return;
        }
        let step = match timer {
            SubscriptionTimer::Acknowledge(..) => {
                let way = if self.is_blocked(id, Era::Modern) {
                    ServerAccess::Blocked
                } else {
                    ServerAccess::Free
                };
                let facts = self.out.facts();
                self.subscriptions
                    .on_acknowledgement_due(id, *opened, way, facts)
            }
            SubscriptionTimer::Retry(..) => self.subscriptions.on_retry_due(id, *opened),
        };
        self.follow_subscription_steps(step.into_iter().collect());
    }

    /// Returns whether a notification for the modern app is dealt with here.
    pub(super) fn is_held_by_subscriptions(&mut self, message: &Message) -> bool {
        let steps = self.subscriptions.on_notification(message);
        let is_taken = steps.is_some();
        self.follow_subscription_steps(steps.unwrap_or_default());
        is_taken
    }

    pub(super) fn follow_subscription_steps(&mut self, steps: Vec<SubscriptionStep>) {
        for step in steps {
            match step {
                SubscriptionStep::ToApp(message) => self.out.write(message),
                SubscriptionStep::Send(request) => self.on_modern_request(request),
                SubscriptionStep::End(id) => {
                    self.subscriptions.on_end(&id);
                    let ended = subscriptions::ended(&id);
                    self.on_cancelled(&ended);
                    self.out.write(ended);
                }
                SubscriptionStep::After(wait, timer) => {
                    self.out.after(wait, Timer::Subscription(timer));
                }
                SubscriptionStep::Available => self.on_server_available(),
            }
        }
    }

    /// Takes an error in place of the response to a subscription. True if the subscription goes on, because
    /// the app was promised it and the server has not been reached.
    pub(super) fn keeps_subscription(&mut self, asked: &Asked, error: &Reply) -> bool {
        if asked.method != "subscriptions/listen" || !error.is_unreached() || self.stopping {
            return false;
        }
        let end = match self.obstacle_of_lists(Some(error)) {
            None => FailureEnd::Passes,
            Some(_) => FailureEnd::Stays,
        };
        let Some(id) = error.id() else {
            return false;
        };
        let Some(steps) = self.subscriptions.on_failure(id, end) else {
            return false;
        };
        self.unanswered.insert(id.clone(), asked.clone());
        self.follow_subscription_steps(steps);
        true
    }

    /// A subscription has ended without a response, of which the app hears by a cancellation (MCP
    /// 2026-07-28, "Cancellation").
    pub(super) fn end_subscription(&mut self, id: &RequestId) {
        self.progress.end(id);
        if self.unanswered.remove(id).is_some() {
            self.out.write(cancellation(id, "the connection was lost"));
        }
    }
}
