//! Life of the server as its surroundings see it: health, and calls under way when it is told to stop.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use super::App;

/// Calls under way, and whether the server has been told to stop.
#[derive(Clone, Default)]
pub(crate) struct Life(watch::Sender<LifeState>);

#[derive(Default)]
struct LifeState {
    calls: usize,
    is_leaving: bool,
}

/// A call under way, until this is dropped.
struct CallUnderWay(Life);

impl Life {
    /// Returns once no call is under way.
    pub(crate) async fn is_idle(&self) {
        let mut life = self.0.subscribe();
        // It fails only without a sender, and that is in `self`.
        let _ = life.wait_for(|life| life.calls == 0).await;
    }

    /// Has the readiness say no from now on.
    pub(crate) fn leave(&self) {
        self.0.send_modify(|life| life.is_leaving = true);
    }

    fn begin(&self) -> CallUnderWay {
        self.0.send_modify(|life| life.calls += 1);
        CallUnderWay(self.clone())
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|life| life.calls -= 1);
    }
}

/// Counts requests that a client waits for, until the last byte of the response. An event stream that was opened with GET is
/// none: its client opens another elsewhere.
pub(crate) async fn count_calls(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let call = app.life.begin();
    let response = next.run(request).await;
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _until_the_end = &call;
            frame
        }))
    })
}

/// Answers `GET /healthz`: the process is alive.
pub(crate) async fn health() -> &'static str {
    "alive\n"
}

/// Answers `GET /readyz`: requests may be sent here.
pub(crate) async fn readiness(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.life.0.borrow().is_leaving {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match &app.shared {
        Some(shared) if !shared.is_reachable().await => {
            (StatusCode::SERVICE_UNAVAILABLE, "Redis does not answer\n")
        }
        Some(_) | None => (StatusCode::OK, "ready\n"),
    }
}
