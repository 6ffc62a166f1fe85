//! Requests in flight, for responses that come on another stream than that of the request.
//!
//! HTTP+SSE has but one stream. In streamable HTTP a response belongs on the stream of its POST, and some servers
//! send it elsewhere: the official Ruby SDK (0.4 to 0.10) on the session's GET stream while that is open, with
//! only an acknowledgement for the POST.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::PostAnswer;
use super::request_progress::Track;
use super::{Endpoint, Failure};
use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_protocol::message::{IdMap, Message, RequestId};

/// Limit for the silence of a session's stream, after which a response is no longer expected on it.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Limit for the wait for a response on a session's stream, however much else comes.
const RESPONSE_LIMIT: Duration = Duration::from_secs(600);

/// Limit for a POST to end after its response has come elsewhere. In nearly every case it ends in the same
/// moment, and a connection that has nothing under way can be used again.
const POST_GRACE: Duration = Duration::from_millis(50);

type Outcome = Result<Message, Failure>;

/// Table of the requests in flight, by id.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<InFlightTable>);

#[derive(Debug, Default)]
struct InFlightTable {
    waiting: IdMap<RequestId, (u64, oneshot::Sender<Outcome>)>,
    registered: u64,
}

/// A request that is in flight as long as this is held.
#[derive(Debug)]
pub(super) struct InFlightRequest<'a> {
    table: &'a InFlight,
    id: &'a RequestId,
    number: u64,
    /// `None` once the id is in use by another request, or the response has been taken.
    response: Option<oneshot::Receiver<Outcome>>,
}

/// End of the POST of a request.
#[derive(Debug)]
pub(super) enum PostEnd {
    /// The response is there.
    Response(Message),
    /// The server has only said so much, in the session of this generation: its stream may bring the response.
    Acknowledged { said: String, generation: u64 },
}

impl InFlight {
    pub(super) fn register<'a>(&'a self, id: &'a RequestId) -> InFlightRequest<'a> {
        let (sender, response) = oneshot::channel();
        let mut table = self.lock();
        table.registered += 1;
        let number = table.registered;
        table.waiting.insert(id.clone(), (number, sender));
        InFlightRequest {
            table: self,
            id,
            number,
            response: Some(response),
        }
    }

    /// Ends the wait for the response to the request `id`. False if nobody waits for it.
    pub(super) fn settle(&self, id: &RequestId, outcome: Outcome) -> bool {
        let waiting = self.lock().waiting.remove(id);
        waiting.is_some_and(|(_, sender)| sender.send(outcome).is_ok())
    }

    /// Nobody will get a response, for this reason.
    pub(super) fn fail_all(&self, failure: &Failure) {
        for (_, (_, sender)) in std::mem::take(&mut self.lock().waiting) {
            // Whoever waited may have given up meanwhile.
            let _ = sender.send(Err(failure.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InFlightTable> {
        self.0.lock()
    }
}

impl Drop for InFlightRequest<'_> {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        // The id may be in use again, after a cancellation.
        if table.waiting.get(self.id).map(|(number, _)| *number) == Some(self.number) {
            table.waiting.remove(self.id);
        }
    }
}

impl InFlightRequest<'_> {
    /// The response, once another stream has brought it. Where the id is in use again, this request was
    /// cancelled: nobody wants its response, and its task is about to be aborted.
    pub(super) async fn response(&mut self) -> Outcome {
        if let Some(receiver) = &mut self.response {
            let response = receiver.await;
            self.response = None;
            if let Ok(response) = response {
                return response;
            }
        }
        std::future::pending().await
    }

    /// The response, if another stream has brought it already.
    fn received(&mut self) -> Option<Outcome> {
        self.response.as_mut()?.try_recv().ok()
    }

    /// Waits for the end of the request's own POST in a session, or for the response if another stream brings it
    /// first.
    pub(super) async fn or_elsewhere(
        &mut self,
        mut post: Pin<&mut impl Future<Output = Result<(PostAnswer, u64), Failure>>>,
    ) -> Result<PostEnd, Failure> {
        tokio::select! {
            biased;
            outcome = &mut post => match (outcome, self.received()) {
                (Err(_) | Ok((PostAnswer::Acknowledged(_), _)), Some(response)) => {
                    Ok(PostEnd::Response(response?))
                }
                (Err(failure), None) => Err(failure),
                (Ok((PostAnswer::Response(response), _)), _) => Ok(PostEnd::Response(response)),
                (Ok((PostAnswer::Acknowledged(said), generation)), None) => {
                    Ok(PostEnd::Acknowledged { said, generation })
                }
            },
            response = self.response() => {
                let _ = timeout(POST_GRACE, post).await;
                Ok(PostEnd::Response(response?))
            }
        }
    }

    /// Waits for the response to a request that the server has only acknowledged, as long as the stream of its
    /// session can bring it.
    pub(super) async fn on_session_stream(
        &mut self,
        endpoint: &Arc<Endpoint>,
        generation: u64,
        track: &Track,
        acknowledged: &str,
    ) -> Outcome {
        let listener = &endpoint.listener;
        let mut stream = listener.watch();
        let unanswered = |why: &str| Failure::Unanswered(format!("{acknowledged}, and {why}"));
        if !stream.borrow().is_of(generation) {
            return Err(unanswered("no other stream is open that could bring it"));
        }
        let ceiling = Instant::now() + RESPONSE_LIMIT;
        let mut deadline = Instant::now() + SILENCE_LIMIT;
        loop {
            let no_hope = async {
                let hopeless = stream.wait_for(|stream| stream.no_hope(generation).is_some());
                let stream = hopeless.await;
                stream.map_or(None, |stream| stream.no_hope(generation))
            };
            tokio::select! {
                biased;
                response = self.response() => return response,
                failure = no_hope => {
                    return Err(match failure {
                        Some(Failure::Unanswered(why)) => unanswered(&why),
                        Some(failure) => failure,
                        None => Failure::ShuttingDown,
                    });
                }
                () = listener.brought_something() => {
                    track.advanced();
                    deadline = ceiling.min(Instant::now() + SILENCE_LIMIT);
                }
                () = sleep_until(deadline) => {
                    let limit = if deadline == ceiling { RESPONSE_LIMIT } else { SILENCE_LIMIT };
                    let (limit, trouble) = (limit.as_secs(), stream.borrow().trouble());
                    return Err(unanswered(&format!(
                        "the session's event stream has not brought it for {limit} s{trouble}"
                    )));
                }
            }
        }
    }
}
