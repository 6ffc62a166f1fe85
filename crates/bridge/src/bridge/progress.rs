//! Progress of requests whose app wants to hear of it (MCP "Progress"): reports while a request waits for a sign-in or
//! for a server that cannot be reached, so that a person sees the reason and the app's time limit starts anew; and
//! the distance between progress and the response behind it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::facts::Facts;
use super::reply::Reply;
use mcp_bridge_protocol::message::{IdMap, Message, RequestId};

/// Number of looks between two reports that say the same.
const LOOKS_PER_REPORT: u32 = 3;

/// Interval at which to look which requests wait, while there are any that want to hear of progress.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Time that a response is kept back that comes right behind the progress of its request, from the moment
/// in which that is written. Apps on the TypeScript SDK drop progress that they read together with the
/// response, and two lines that are written at once are read at once.
const APART: Duration = Duration::from_millis(3);

/// The requests that want to hear of progress and have no response yet. Events go in, messages for the app and waits
/// come out.
#[derive(Debug, Default)]
pub(super) struct ProgressReports {
    requests: IdMap<RequestId, Watched>,
    /// By the token.
    ids: IdMap<RequestId, RequestId>,
    /// True if a timer is set to look which of them wait.
    is_looking: bool,
    /// Responses that come right behind progress.
    held_back: Vec<(HeldBackId, Reply)>,
    /// Makes ids.
    count: u64,
}

/// Stands for one response that is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldBackId(u64);

/// An obstacle before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitReason {
    /// A person who signs in.
    SignIn,
    /// The server.
    Server,
}

/// A wait for the sake of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressTimer {
    /// It is time to look which requests wait.
    Look,
    /// A response has been kept back long enough.
    HeldBack(HeldBackId),
}

/// Something to be done with a reply.
#[derive(Debug)]
pub(super) enum ReplyTiming {
    /// Write it to the app.
    Write(Reply),
    /// Hand the timer back this time after everything is written.
    AfterWritten(Duration, ProgressTimer),
}

#[derive(Debug)]
struct Watched {
    token: RequestId,
    /// Moment when the app was written to about it last.
    written: Option<Instant>,
    /// True if the server has reported progress: then nobody else does.
    is_reported: bool,
    /// The reports of the bridge itself so far.
    reports: u32,
    /// The last of them, and how often it was looked since.
    last: Option<(String, u32)>,
}

impl ProgressReports {
    /// A request of the app that has this progress token. Returns the time after which to look which ones wait,
    /// unless a timer is set already.
    pub(super) fn on_request(&mut self, id: &RequestId, token: RequestId) -> Option<Duration> {
        self.begin(id, token);
        (!std::mem::replace(&mut self.is_looking, true)).then_some(LOOK_INTERVAL)
    }

    /// It is time to look which requests wait. Returns those that want to hear of progress and have not heard of the
    /// server's, and the time after which to look again.
    pub(super) fn on_look(
        &mut self,
        is_unanswered: impl Fn(&RequestId) -> bool,
    ) -> Option<(Vec<RequestId>, Duration)> {
        self.retain(is_unanswered);
        self.is_looking = !self.requests.is_empty();
        self.is_looking.then(|| (self.unreported(), LOOK_INTERVAL))
    }

    /// A request waits for this. Returns what to tell the app, from time to time.
    pub(super) fn on_waiting(
        &mut self,
        id: &RequestId,
        obstacle: WaitReason,
        host: &str,
        facts: &Facts,
    ) -> Option<Message> {
        let text = match (obstacle, facts.sign_in.page()) {
            (WaitReason::SignIn, Some(page)) => format!("Sign in: {page}"),
            (WaitReason::SignIn, None) | (WaitReason::Server, _) => format!("waiting for {host}"),
        };
        self.report(id, text, facts.now)
    }

    /// The reply to a request of the app, which is written a moment later if it comes right behind progress.
    pub(super) fn on_reply(&mut self, reply: Reply, facts: &Facts) -> ReplyTiming {
        if self.requests.is_empty() {
            return ReplyTiming::Write(reply);
        }
        let written = reply.id().and_then(|id| self.end(id));
        let is_apart = |written| facts.now - written >= APART && facts.all_is_written;
        if written.is_none_or(is_apart) {
            return ReplyTiming::Write(reply);
        }
        self.count += 1;
        let id = HeldBackId(self.count);
        self.held_back.push((id, reply));
        ReplyTiming::AfterWritten(APART, ProgressTimer::HeldBack(id))
    }

    /// Takes out a response that has been kept back long enough.
    pub(super) fn take_held_back(&mut self, id: HeldBackId) -> Option<Reply> {
        let at = self.held_back.iter().position(|(held, _)| *held == id)?;
        Some(self.held_back.remove(at).1)
    }

    /// Takes out all responses that are kept back: no more time is left.
    pub(super) fn take_all_held_back(&mut self) -> Vec<Reply> {
        let held = std::mem::take(&mut self.held_back).into_iter();
        held.map(|(_, reply)| reply).collect()
    }

    /// Returns whether a response is kept back.
    pub(super) fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    fn begin(&mut self, id: &RequestId, token: RequestId) {
        self.ids.insert(token.clone(), id.clone());
        let watched = Watched {
            token,
            written: None,
            is_reported: false,
            reports: 0,
            last: None,
        };
        self.requests.insert(id.clone(), watched);
    }

    /// A request is over. Returns when the app was written to about it last.
    pub(super) fn end(&mut self, id: &RequestId) -> Option<Instant> {
        let Watched { token, written, .. } = self.requests.remove(id)?;
        // Another request may have the same token, against the rules.
        if self.ids.get(&token) == Some(id) {
            self.ids.remove(&token);
        }
        written
    }

    /// Forgets the requests that were answered or given up elsewhere.
    fn retain(&mut self, is_unanswered: impl Fn(&RequestId) -> bool) {
        self.requests.retain(|id, _| is_unanswered(id));
        self.ids.retain(|_, id| is_unanswered(id));
    }

    /// The app gets a `notifications/progress` of the server.
    pub(super) fn on_progress(&mut self, notification: &Message, now: Instant) {
        if self.requests.is_empty() {
            return;
        }
        let id = notification
            .id_param("progressToken")
            .and_then(|token| self.ids.get(&token));
        if let Some(watched) = id.and_then(|id| self.requests.get_mut(id)) {
            watched.written = Some(now);
            watched.is_reported = true;
        }
    }

    /// The requests of which nothing but the bridge's own reports is known.
    fn unreported(&self) -> Vec<RequestId> {
        let unreported = self.requests.iter().filter(|(_, it)| !it.is_reported);
        unreported.map(|(id, _)| id.clone()).collect()
    }

    /// The request was seen waiting for what `text` says. Returns what to tell the app, from time to time.
    ///
    /// The value grows, as MCP wants it, and stays below 0: the server's own progress begins there at the
    /// least, and has to be greater.
    fn report(&mut self, id: &RequestId, text: String, now: Instant) -> Option<Message> {
        let watched = self.requests.get_mut(id)?;
        if let Some((last, looks)) = &mut watched.last
            && *last == text
        {
            *looks += 1;
            if *looks < LOOKS_PER_REPORT {
                return None;
            }
        }
        watched.reports += 1;
        watched.written = Some(now);
        let token: Value = serde_json::from_str(watched.token.as_json()).unwrap_or_default();
        let progress = -1.0 / f64::from(watched.reports);
        let params = json!({ "progressToken": token, "progress": progress, "message": text });
        watched.last = Some((text, 0));
        Some(Message::notification("notifications/progress", &params))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RequestId {
        RequestId::from_string(text)
    }

    fn value(report: &Message) -> f64 {
        report.param("progress").unwrap()
    }

    #[test]
    fn reports_grow_and_stay_below_what_a_server_may_say_first() {
        let mut progress = ProgressReports::default();
        progress.begin(&id("a"), id("token"));
        let mut last = f64::NEG_INFINITY;
        for number in 0..10_000 {
            let report = progress
                .report(&id("a"), number.to_string(), Instant::now())
                .unwrap();
            assert_eq!(report.id_param("progressToken"), Some(id("token")));
            assert!(last < value(&report) && value(&report) < 0.0);
            last = value(&report);
        }
    }

    #[test]
    fn the_same_report_is_made_from_time_to_time() {
        let mut progress = ProgressReports::default();
        progress.begin(&id("a"), id("token"));
        let mut report = |text: &str| {
            progress
                .report(&id("a"), text.to_owned(), Instant::now())
                .is_some()
        };
        let reports: Vec<bool> = (0..5).map(|_| report("x")).collect();
        assert_eq!(reports, [true, false, false, true, false]);
        assert!(report("y"), "something else is news");
        assert!(
            progress
                .report(&id("b"), "x".to_owned(), Instant::now())
                .is_none()
        );
    }

    #[test]
    fn what_is_answered_elsewhere_is_forgotten() {
        let mut progress = ProgressReports::default();
        for (request, token) in [("a", "1"), ("b", "2")] {
            progress.begin(&id(request), id(token));
        }
        progress.retain(|request| *request == id("b"));
        assert_eq!(progress.unreported(), [id("b")]);
        assert_eq!(progress.ids.len(), 1);
    }

    #[test]
    fn what_was_written_is_known_of_each_request() {
        let mut progress = ProgressReports::default();
        let of_server = |token| {
            let params = json!({ "progressToken": token, "progress": 1 });
            Message::notification("notifications/progress", &params)
        };
        for (request, token) in [("a", "1"), ("b", "2"), ("c", "3")] {
            progress.begin(&id(request), id(token));
        }
        progress.on_progress(&of_server("2"), Instant::now());
        progress.on_progress(&of_server("unknown"), Instant::now());
        let mut unreported = progress.unreported();
        unreported.sort();
        assert_eq!(unreported, [id("a"), id("c")]);
        progress.report(&id("c"), "waiting".to_owned(), Instant::now());
        assert_eq!(progress.end(&id("a")), None);
        assert!(progress.end(&id("b")).is_some());
        assert!(progress.end(&id("c")).is_some());
        assert_eq!(progress.end(&id("c")), None);
        assert!(progress.requests.is_empty() && progress.ids.is_empty());
    }
}
