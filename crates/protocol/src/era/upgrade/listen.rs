//! Subscription of a legacy app at a modern server: list changes and resource updates (MCP 2026-07-28,
//! "Subscriptions").

use std::time::Duration;

use super::handshake::{LegacyApp, ModernServer};
use super::{BEGAN_ANEW, SESSION_LOST, without_modern_meta};
use crate::codes::{INTERNAL_ERROR, INVALID_PARAMS};
use crate::era::filter::{Filter, RESOURCE_UPDATED};
use crate::era::object::Object;
use crate::era::outbox::Outbox;
use crate::era::request_meta::SUBSCRIPTION_ID;
use crate::era::{Action, ExchangeFailure, Prospect, Timer};
use crate::lists::SERVER_LISTS;
use crate::message::{Message, RequestId};

/// Resources that one app may be subscribed to.
const MAX_SUBSCRIPTIONS: usize = 1_000;

/// Time that the server has to acknowledge a stream.
const ACKNOWLEDGEMENT_LIMIT: Duration = Duration::from_secs(30);

/// The wait before another stream after the server has ended one, doubled up to the longest as long as nothing
/// comes through.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(5 * 60)];

/// The wait before another stream after the connection of one broke, doubled up to the longest until one lasts.
const BREAK_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Life of an acknowledged stream after which its break is an accident, and the waits begin again with the first. The app
/// asks for its lists anew after each acknowledgement, so a server that drops each stream at once is asked ever less often.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Streams in a row that are not acknowledged after one broke, until the server counts as one that has ended it:
/// five minutes at least.
const MAX_BREAKS: u32 = 10;

/// The streams for one app: one that is heard, and at times another that is to take its place.
#[derive(Debug)]
pub(super) struct Listen {
    wanted: Filter,
    current: Option<ListenStream>,
    next: Option<PendingStream>,
    /// The app's `resources/subscribe` that wait for an acknowledgement.
    subscribers: Vec<Subscriber>,
    /// The wait before another stream.
    pause: Option<Timer>,
    /// Streams that were tried since one that lasted broke; `None` if none broke.
    breaks: Option<u32>,
    /// True if the last stream was acknowledged and broke before it had lasted, and one before it, too.
    drops: bool,
    /// Streams that have ended since something came through.
    ends: u32,
    /// True if something may have been missed since the last stream.
    gap: bool,
}

#[derive(Debug)]
struct ListenStream {
    id: RequestId,
    requested: Filter,
    acknowledged: Filter,
    /// Until the stream has lasted, if the one before it broke.
    steady: Option<Timer>,
}

#[derive(Debug)]
struct PendingStream {
    id: RequestId,
    requested: Filter,
    limit: Timer,
}

#[derive(Debug)]
struct Subscriber {
    id: RequestId,
    uri: String,
}

/// End of a stream.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// The server has ended it, or something else is in the way. Another one may do better, later.
    Ended,
    /// Its connection broke, or did not come up. The server may be back in a moment.
    Broken,
    /// The server refuses it, in these words, and will not say otherwise the next time.
    Refused(String),
}

impl StreamEnd {
    /// The end by the server's response.
    pub(super) fn of_response(response: &Message) -> Self {
        match response.error_text() {
            Some((code, text)) if code != INTERNAL_ERROR => Self::Refused(text),
            Some(_) | None => Self::Ended,
        }
    }

    /// The end without a response.
    pub(super) fn of_failure(failure: &ExchangeFailure) -> Self {
        match failure.prospect {
            Prospect::Broken => Self::Broken,
            Prospect::MayPass => Self::Ended,
            Prospect::Final => Self::Refused(failure.text.clone()),
        }
    }

    fn refusal(&self) -> Option<&str> {
        match self {
            Self::Ended | Self::Broken => None,
            Self::Refused(text) => Some(text),
        }
    }
}

impl Listen {
    /// Will listen for the changes that the server says it tells of.
    pub(super) fn new(server: &ModernServer) -> Self {
        Self {
            wanted: server.tells_of(),
            current: None,
            next: None,
            subscribers: Vec::new(),
            pause: None,
            breaks: None,
            drops: false,
            ends: 0,
            gap: false,
        }
    }

    /// The app is ready to hear of changes.
    pub(super) fn start(&mut self, app: &LegacyApp, outbox: &mut Outbox) {
        self.refresh(app, outbox);
    }

    /// The app asks for something, so that it is sent now: a good moment to try a stream that broke again. Not if the
    /// server drops each of them, for then the app may ask because of the last one.
    pub(super) fn on_request(&mut self, app: &LegacyApp, outbox: &mut Outbox) {
        if self.breaks.is_some() && self.pause.is_some() && !self.drops {
            self.refresh(app, outbox);
        }
    }

    /// Returns whether the exchange is one of the streams.
    pub(super) fn owns(&self, id: &RequestId) -> bool {
        self.is_next(id) || self.is_current(id)
    }

    /// Subscribes; the answer waits for the server's acknowledgement.
    pub(super) fn subscribe(
        &mut self,
        id: &RequestId,
        uri: String,
        app: &LegacyApp,
        outbox: &mut Outbox,
    ) {
        let acknowledged = self.current.as_ref().map(|stream| &stream.acknowledged);
        if acknowledged.is_some_and(|filter| filter.uris.contains(&uri)) {
            self.wanted.uris.insert(uri);
            return outbox.reply(id, &Object::default());
        }
        if self.wanted.uris.len() >= MAX_SUBSCRIPTIONS {
            return outbox.fail(id, "overloaded", "too many subscriptions");
        }
        self.wanted.uris.insert(uri.clone());
        let id = id.clone();
        self.subscribers.push(Subscriber { id, uri });
        self.refresh(app, outbox);
    }

    /// Unsubscribes, at once as far as the app can tell.
    pub(super) fn unsubscribe(
        &mut self,
        id: &RequestId,
        uri: &str,
        app: &LegacyApp,
        outbox: &mut Outbox,
    ) {
        self.wanted.uris.remove(uri);
        for subscriber in self
            .subscribers
            .extract_if(.., |waiting| waiting.uri == uri)
        {
            outbox.reply(&subscriber.id, &Object::default());
        }
        outbox.reply(id, &Object::default());
        self.refresh(app, outbox);
    }

    /// The app does not want the answer to a `resources/subscribe` any more.
    pub(super) fn cancel(&mut self, id: &RequestId) {
        let at = self
            .subscribers
            .iter()
            .position(|waiting| waiting.id == *id);
        let Some(cancelled) = at.map(|at| self.subscribers.remove(at)) else {
            return;
        };
        if !self
            .subscribers
            .iter()
            .any(|other| other.uri == cancelled.uri)
        {
            self.wanted.uris.remove(&cancelled.uri);
        }
    }

    /// The first message of a stream.
    pub(super) fn on_acknowledgement(
        &mut self,
        event: &Message,
        stream: Option<&RequestId>,
        app: &LegacyApp,
        outbox: &mut Outbox,
    ) {
        let id = subscription(event, stream);
        let Some(next) = self.next.take_if(|next| Some(&next.id) == id.as_ref()) else {
            return tracing::debug!("dropped an acknowledgement of no subscription");
        };
        // It does not count towards the streams that are not acknowledged.
        self.breaks = self.breaks.map(|breaks| breaks.min(MAX_BREAKS - 1));
        let params = event.params_json().and_then(Object::parse);
        let mut acknowledged = Filter::read(&params.unwrap_or_default());
        // Nobody asked for more, and the server may name any number of others.
        let was_requested = |uri: &String| next.requested.uris.contains(uri);
        acknowledged.uris.retain(was_requested);
        for subscriber in self.answerable(&next.requested) {
            if acknowledged.uris.contains(&subscriber.uri) {
                outbox.reply(&subscriber.id, &Object::default());
            } else {
                let text =
                    "Invalid params: the server does not support subscribing to this resource";
                outbox.refuse(&subscriber.id, INVALID_PARAMS, text);
            }
        }
        // What the server did not take is not wanted any more, until the app asks for it anew.
        let mut requested = next.requested;
        for uri in requested.uris.difference(&acknowledged.uris) {
            self.wanted.uris.remove(uri);
        }
        requested.uris.retain(|uri| acknowledged.uris.contains(uri));
        if requested.lists != acknowledged.lists {
            tracing::info!("the server does not announce all the changes that it declares");
        }
        let stream = ListenStream {
            id: next.id,
            requested,
            acknowledged,
            steady: self.breaks.map(|_| outbox.after(STEADY_AFTER)),
        };
        if std::mem::take(&mut self.gap) {
            report_gap(&stream.acknowledged, outbox);
        }
        if let Some(previous) = self.current.replace(stream) {
            outbox.push(Action::Abort(previous.id));
        }
        self.refresh(app, outbox);
    }

    /// Something has changed.
    pub(super) fn on_event(
        &mut self,
        event: &Message,
        stream: Option<&RequestId>,
        outbox: &mut Outbox,
    ) {
        let id = subscription(event, stream);
        let current = self
            .current
            .as_ref()
            .map(|stream| (&stream.id, &stream.acknowledged));
        // The acknowledgement should have come first; nothing is lost by not insisting.
        let next = self.next.as_ref().map(|next| (&next.id, &next.requested));
        let filter = [current, next]
            .into_iter()
            .flatten()
            .find(|(own, _)| Some(*own) == id.as_ref());
        let method = event.method().unwrap_or_default();
        let uri: Option<String> = event.param("uri");
        if !filter.is_some_and(|(_, filter)| filter.covers(method, uri.as_deref())) {
            return tracing::debug!(method, "dropped a notification that nobody subscribed to");
        }
        self.ends = 0;
        outbox.tell_app(without_modern_meta(event));
    }

    /// A stream has ended: by a result, an error, or a notification instead of a response, or with its connection.
    pub(super) fn on_end(
        &mut self,
        id: &RequestId,
        end: &StreamEnd,
        app: &LegacyApp,
        outbox: &mut Outbox,
    ) {
        let refusal = end.refusal();
        if let Some(stream) = self.current.take_if(|stream| stream.id == *id) {
            self.gap = true;
            let is_broken = matches!(end, StreamEnd::Broken);
            self.drops = is_broken && stream.steady.is_some();
            self.breaks = is_broken.then(|| self.breaks.unwrap_or_default());
        } else if let Some(next) = self.next.take_if(|next| next.id == *id) {
            self.breaks.take_if(|_| !matches!(end, StreamEnd::Broken));
            self.fail(&next, refusal, outbox);
        } else {
            return;
        }
        if refusal.is_some() && self.current.is_none() {
            // The server has no such streams, or not this one: changes of lists go unnoticed.
            tracing::warn!("the server refuses to announce changes");
            return self.refresh_if_wanted(app, outbox);
        }
        self.reopen_later(outbox);
    }

    /// A wait is over, if it is one of these.
    pub(super) fn on_timer(&mut self, timer: Timer, app: &LegacyApp, outbox: &mut Outbox) {
        if self.pause.take_if(|pause| *pause == timer).is_some() {
            return self.refresh(app, outbox);
        }
        if let Some(stream) = &mut self.current
            && stream.steady.take_if(|steady| *steady == timer).is_some()
        {
            self.breaks = None;
        }
        if let Some(next) = self.next.take_if(|next| next.limit == timer) {
            outbox.push(Action::Abort(next.id.clone()));
            self.fail(&next, None, outbox);
            self.reopen_later(outbox);
        }
    }

    /// Ends the streams, and answers those who waited for one.
    pub(super) fn close(&mut self, outbox: &mut Outbox) {
        for subscriber in self.subscribers.drain(..) {
            outbox.fail(&subscriber.id, SESSION_LOST, BEGAN_ANEW);
        }
        let current = self.current.take().map(|stream| stream.id);
        let next = self.next.take().map(|next| next.id);
        for id in current.into_iter().chain(next) {
            outbox.push(Action::Abort(id));
        }
        self.wanted = Filter::default();
        self.pause = None;
    }

    /// Opens a stream for what is wanted, if the present one is for something else. One at a time: what
    /// is wanted meanwhile is seen to when it is acknowledged. The present one ends after that, so that
    /// nothing is missed.
    fn refresh(&mut self, app: &LegacyApp, outbox: &mut Outbox) {
        let requested = self.current.as_ref().map(|stream| &stream.requested);
        if self.next.is_some() || requested == Some(&self.wanted) {
            return;
        }
        self.pause = None;
        if self.wanted.is_empty() {
            if let Some(stream) = self.current.take() {
                outbox.push(Action::Abort(stream.id));
            }
            return;
        }
        let id = outbox.ids.id();
        let mut params = Object::default();
        params.set("notifications", &self.wanted.to_object());
        app.sign(&mut params);
        outbox.request(&id, "subscriptions/listen", &params);
        self.next = Some(PendingStream {
            id,
            requested: self.wanted.clone(),
            limit: outbox.after(ACKNOWLEDGEMENT_LIMIT),
        });
    }

    /// Opens a stream only for subscriptions that were asked for meanwhile.
    fn refresh_if_wanted(&mut self, app: &LegacyApp, outbox: &mut Outbox) {
        if !self.subscribers.is_empty() {
            self.refresh(app, outbox);
        }
    }

    fn reopen_later(&mut self, outbox: &mut Outbox) {
        let requested = self.current.as_ref().map(|stream| &stream.requested);
        if self.wanted.is_empty() || requested == Some(&self.wanted) || self.next.is_some() {
            return;
        }
        self.breaks.take_if(|breaks| *breaks >= MAX_BREAKS);
        self.pause = Some(if let Some(breaks) = &mut self.breaks {
            let wait = pause(BREAK_PAUSES, *breaks);
            *breaks += 1;
            outbox.after_about(wait)
        } else {
            let wait = pause(PAUSES, self.ends);
            self.ends += 1;
            outbox.after(wait)
        });
    }

    /// Answers those who waited for a stream that did not come to be.
    fn fail(&mut self, opening: &PendingStream, refusal: Option<&str>, outbox: &mut Outbox) {
        for subscriber in self.answerable(&opening.requested) {
            self.wanted.uris.remove(&subscriber.uri);
            if let Some(text) = refusal {
                outbox.refuse(&subscriber.id, INVALID_PARAMS, text);
            } else {
                let text = "the server did not take the subscription";
                outbox.fail(&subscriber.id, "subscription", text);
            }
        }
    }

    /// Takes out those whose resource was asked for in this filter.
    fn answerable(&mut self, requested: &Filter) -> Vec<Subscriber> {
        self.subscribers
            .extract_if(.., |waiting| requested.uris.contains(&waiting.uri))
            .collect()
    }

    fn is_current(&self, id: &RequestId) -> bool {
        self.current.as_ref().is_some_and(|stream| stream.id == *id)
    }

    fn is_next(&self, id: &RequestId) -> bool {
        self.next.as_ref().is_some_and(|next| next.id == *id)
    }
}

/// The pause after so many others.
fn pause([first, longest]: [Duration; 2], others: u32) -> Duration {
    first
        .saturating_mul(2_u32.saturating_pow(others))
        .min(longest)
}

/// The subscription that a notification belongs to: the one it names, else the one on whose stream it
/// came.
fn subscription(event: &Message, stream: Option<&RequestId>) -> Option<RequestId> {
    let meta: Option<Object> = event.param("_meta");
    let named = meta.and_then(|meta| meta.id(SUBSCRIPTION_ID));
    named.or_else(|| stream.cloned())
}

/// Announces all that may have changed while nobody listened.
fn report_gap(filter: &Filter, outbox: &mut Outbox) {
    for list in SERVER_LISTS {
        if filter.lists.contains(list.filter) {
            outbox.tell_app(Object::default().into_notification(list.changed));
        }
    }
    for uri in &filter.uris {
        let mut params = Object::default();
        params.set("uri", uri);
        outbox.tell_app(params.into_notification(RESOURCE_UPDATED));
    }
}
