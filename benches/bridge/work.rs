//! Work of a driver, and the account of what came back: each response once, under its id, with
//! its payload, after its notifications and those in order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{self, Call, Era};

/// Calls, and how many of them may be under way at once.
pub(crate) struct Work {
    pub(crate) calls: Vec<Call>,
    pub(crate) window: usize,
    /// Era of the app.
    pub(crate) era: Era,
}

/// A request whose response is looked at as a whole.
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) text: Bytes,
}

/// Outcome of the work.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// From the first request to the last response.
    pub(crate) elapsed: Duration,
    /// From each request to its response.
    pub(crate) latencies: Vec<Duration>,
}

impl Done {
    /// The latency that this share of the calls stayed under, in seconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len() - 1;
        sorted[(last as f64 * share).round() as usize].as_secs_f64()
    }
}

/// Keeps account of the calls of one piece of work.
pub(crate) struct Account {
    work: Work,
    by_id: HashMap<u64, usize>,
    began: Instant,
    sent: Vec<Instant>,
    latencies: Vec<Option<Duration>>,
    /// Notifications that have come for each call.
    notified: Vec<usize>,
    answered: usize,
}

/// A message as a bridge may have written it anew.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
    #[serde(borrow)]
    result: Option<Result_<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(rename = "progressToken")]
    token: Option<u64>,
    progress: Option<f64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Result_<'a> {
    #[serde(borrow)]
    content: Vec<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

impl Account {
    pub(crate) fn new(work: Work) -> Self {
        let by_id = work.calls.iter().enumerate();
        Self {
            by_id: by_id.map(|(at, call)| (call.id, at)).collect(),
            began: Instant::now(),
            sent: Vec::with_capacity(work.calls.len()),
            latencies: vec![None; work.calls.len()],
            notified: vec![0; work.calls.len()],
            answered: 0,
            work,
        }
    }

    pub(crate) fn window(&self) -> usize {
        self.work.window.min(self.work.calls.len())
    }

    /// The next request, if there is one left.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let call = self.work.calls.get(self.sent.len())?;
        self.sent.push(Instant::now());
        Some(call.request.clone())
    }

    /// Requests that wait for their response.
    pub(crate) fn under_way(&self) -> usize {
        self.sent.len() - self.answered
    }

    /// Returns whether all has come that was to come.
    pub(crate) fn is_complete(&self) -> bool {
        self.answered == self.work.calls.len() && self.is_notified()
    }

    /// Takes a message of the server.
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(at) = self.expected(line) {
            return self.answer(at);
        }
        let shown = || String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        let message: Incoming<'_> =
            serde_json::from_slice(line).map_err(|error| format!("{error}: {}", shown()))?;
        match (message.method.as_deref(), message.params, message.result) {
            (Some("notifications/progress"), Some(params), _) => {
                // A bridge that waits for the server, as on a busy machine, may say so with numbers below those of the server.
                if params.progress.is_some_and(|number| number < 0.0) {
                    return Ok(());
                }
                let at = params.token.and_then(|id| self.by_id.get(&id)).copied();
                self.notify(at, params.progress)
            }
            (Some("notifications/message"), Some(params), _) => {
                let number = params.data.and_then(|data| data.get().parse().ok());
                // There is only one call of its kind at a time.
                self.notify(Some(0), number)
            }
            (Some(_), ..) => Ok(()),
            (None, _, Some(result)) => {
                let id = message.id.and_then(|id| id.get().parse().ok());
                let at = id.and_then(|id: u64| self.by_id.get(&id)).copied();
                let at = at.ok_or_else(|| format!("a response to nothing: {}", shown()))?;
                match &result.content[..] {
                    [only] if only.text.as_bytes() == self.work.calls[at].text => self.answer(at),
                    _ => Err(format!("another payload: {}", shown())),
                }
            }
            _ => Err(format!("no result: {}", shown())),
        }
    }

    /// The call that `line` answers word for word.
    fn expected(&self, line: &[u8]) -> Option<usize> {
        let digits = line.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        let id = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
        let at = *self.by_id.get(&id)?;
        self.work.calls[at]
            .is_answered_by(line, self.work.era)
            .then_some(at)
    }

    fn notify(&mut self, at: Option<usize>, number: Option<f64>) -> Result<(), String> {
        let at = at.ok_or("a notification for nobody")?;
        if number != Some(self.notified[at] as f64) {
            let (id, due) = (self.work.calls[at].id, self.notified[at]);
            return Err(format!(
                "out of order: {number:?} instead of {due} for call {id}"
            ));
        }
        self.notified[at] += 1;
        Ok(())
    }

    fn answer(&mut self, at: usize) -> Result<(), String> {
        let Some(sent) = self.sent.get(at) else {
            return Err("an answer before the request".to_owned());
        };
        if self.latencies[at].is_some() {
            return Err("a second answer".to_owned());
        }
        let call = &self.work.calls[at];
        if self.notified[at] > call.notifications {
            return Err("too many notifications".to_owned());
        }
        self.latencies[at] = Some(sent.elapsed());
        self.answered += 1;
        Ok(())
    }

    /// Returns whether the notifications of all calls have come. Those of another stream may be late.
    pub(crate) fn is_notified(&self) -> bool {
        let calls = self.work.calls.iter();
        calls
            .zip(&self.notified)
            .all(|(call, notified)| call.notifications == *notified)
    }

    pub(crate) fn done(self) -> Result<Done, String> {
        if !self.is_notified() {
            return Err("notifications were lost".to_owned());
        }
        Ok(Done {
            elapsed: self.began.elapsed(),
            latencies: self.latencies.into_iter().flatten().collect(),
        })
    }
}

/// Calls of one tool, with ids from `first` on.
pub(crate) fn calls(tool: &wire::Tool, first: u64, count: usize, era: Era) -> Vec<Call> {
    (0..count as u64)
        .map(|number| Call::new(first + number, tool, era))
        .collect()
}
