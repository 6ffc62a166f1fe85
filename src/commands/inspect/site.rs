//! HTTP server of the inspector's page, on loopback.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION,
    SET_COOKIE,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::access::{Admission, PageAccess};
use super::feed::Feed;
use super::live::Live;
use super::state_news::StateNews;
use super::{answers, findings, sign_in};
use crate::small_server::{self, ServerLimits};

/// A page has six connections, and a browser sends its headers at once.
const LIMITS: ServerLimits = ServerLimits {
    connections: 32,
    head_time: Duration::from_secs(5),
};

/// Largest message that the page may send, in bytes.
const LARGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// Events on their way to one page.
const EVENTS_UNDER_WAY: usize = 64;

/// Nothing from elsewhere, no inline script, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; media-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
];

/// The files of the page: path, type, and content compressed by gzip.
const ASSETS: [(&str, &str, &[u8]); 8] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/index.html.gz")),
    ),
    (
        "/app.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/app.js.gz")),
    ),
    (
        "/lists.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/lists.js.gz")),
    ),
    (
        "/tools.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/tools.js.gz")),
    ),
    (
        "/signin.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/signin.js.gz")),
    ),
    (
        "/requests.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/requests.js.gz")),
    ),
    (
        "/findings.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/findings.js.gz")),
    ),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/style.css.gz")),
    ),
];

const READ_ONLY: &str = "nothing can be asked here: the page only shows what passes";
const NO_SUCH_PAGE: &str = "there is no such page";

type PageBody = BoxBody<Bytes, Infallible>;

/// Subject of the page.
pub(super) struct About {
    /// The server, the bridge or the file, for people.
    title: String,
    subject: PageSubject,
}

/// The kinds of subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageSubject {
    /// A connection of the inspector's own.
    Connection,
    /// A bridge that an app has started, which is only looked at.
    RunningBridge,
    /// A file.
    Recording,
}

impl About {
    pub(super) fn of(title: String, subject: PageSubject) -> Self {
        Self { title, subject }
    }
}

/// The page and what it is about.
pub(super) struct InspectorSite {
    access: PageAccess,
    feed: Arc<Feed>,
    /// The connection; `None` for a recording.
    live: Option<Arc<Live>>,
    about: About,
}

impl InspectorSite {
    /// Listens on a random port of this machine alone.
    pub(super) async fn open(
        about: About,
        feed: Arc<Feed>,
        live: Option<Arc<Live>>,
    ) -> io::Result<(Arc<Self>, TcpListener)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let access = PageAccess::new(listener.local_addr()?.port());
        let site = Self {
            access,
            feed,
            live,
            about,
        };
        Ok((Arc::new(site), listener))
    }

    /// The address for the person.
    pub(super) fn address(&self) -> String {
        self.access.address()
    }

    /// Serves the page, without end.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> Infallible {
        let respond = move |request| Arc::clone(&self).respond(request);
        small_server::serve(listener, LIMITS, respond).await
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Response<PageBody> {
        let mut response =
            match self
                .access
                .decide(request.method(), request.uri(), request.headers())
            {
                Admission::Admitted => Arc::clone(&self).answer(request).await,
                Admission::HasToken => self.enter(),
                Admission::Refused(reason) => plain(StatusCode::FORBIDDEN, reason),
            };
        for (name, value) in HEADERS {
            let value = hyper::header::HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Exchanges the token for the cookie, so that it is no longer in the address.
    fn enter(&self) -> Response<PageBody> {
        let response = Response::builder()
            .status(StatusCode::SEE_OTHER)
            .header(LOCATION, "/")
            .header(SET_COOKIE, self.access.set_cookie());
        finished(response, Bytes::new())
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<PageBody> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/events") => self.events(&request),
            (&Method::GET, "/sign-in") => match &self.live {
                Some(live) => json(&sign_in::overview(live).await),
                None => plain(StatusCode::CONFLICT, READ_ONLY),
            },
            (&Method::GET, path) => match ASSETS.iter().find(|(known, _, _)| *known == path) {
                Some((_, kind, content)) => {
                    let response = Response::builder()
                        .header(CONTENT_TYPE, *kind)
                        .header(CONTENT_ENCODING, "gzip");
                    finished(response, Bytes::from_static(content))
                }
                None => plain(StatusCode::NOT_FOUND, NO_SUCH_PAGE),
            },
            (&Method::POST, _) => self.act(request).await,
            _ => plain(StatusCode::NOT_FOUND, NO_SUCH_PAGE),
        }
    }

    /// Does what the page wants done.
    async fn act(&self, request: Request<Incoming>) -> Response<PageBody> {
        let Some(live) = &self.live else {
            return plain(StatusCode::CONFLICT, READ_ONLY);
        };
        let path = request.uri().path().to_owned();
        let body = Limited::new(request.into_body(), LARGEST_MESSAGE).collect();
        let Ok(body) = body.await else {
            return plain(StatusCode::BAD_REQUEST, "the message is too long");
        };
        let body = body.to_bytes();
        let done = match path.as_str() {
            "/rpc" => {
                return match live.request(&body).await {
                    Ok(response) => finished(
                        Response::builder().header(CONTENT_TYPE, "application/json"),
                        response,
                    ),
                    Err(reason) => plain(StatusCode::BAD_GATEWAY, &reason),
                };
            }
            "/answer" => {
                return match answers::hand_in(live, &body) {
                    Ok(()) => plain(StatusCode::OK, "answered"),
                    Err(reason) => plain(StatusCode::CONFLICT, &reason),
                };
            }
            "/findings" => {
                let response = Response::builder().header(CONTENT_TYPE, "application/jsonl");
                let body = EventBody(findings::examine(live)).boxed();
                return response.body(body).unwrap_or_default();
            }
            "/sign-in/look" => sign_in::look(live).await,
            "/sign-in/start" => sign_in::sign_in(live).await,
            "/sign-in/refresh" => sign_in::refresh(live).await,
            "/sign-in/end" => sign_in::sign_out(live).await,
            "/sign-in/client" => sign_in::take_client(live, &body).await,
            "/sign-in/paste" => sign_in::paste(live, &body).await,
            _ => return plain(StatusCode::NOT_FOUND, NO_SUCH_PAGE),
        };
        match done {
            Ok(told) => json(&told),
            Err(reason) => plain(StatusCode::BAD_GATEWAY, &reason),
        }
    }

    /// The entries so far and those to come, as an event stream. A page that lost it goes on where it was.
    fn events(&self, request: &Request<Incoming>) -> Response<PageBody> {
        let last = request.headers().get("last-event-id");
        let last = last.and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
        let (sender, events) = mpsc::channel(EVENTS_UNDER_WAY);
        let about = serde_json::json!({
            "title": self.about.title,
            "isLive": self.about.subject == PageSubject::Connection,
            "isAttached": self.about.subject == PageSubject::RunningBridge,
            "version": env!("CARGO_PKG_VERSION"),
        });
        let feed = Arc::clone(&self.feed);
        let live = self.live.clone();
        tokio::spawn(async move {
            let mut state = StateNews::of(live);
            let hello = format!("event: about\ndata: {about}\n\n");
            let mut next = last.map_or(0, |last| last + 1);
            let mut sent = sender.send(hello.into()).await;
            while sent.is_ok() {
                sent = if let Some(news) = state.take() {
                    sender.send(news).await
                } else if let Some((number, entry)) = feed.from(next) {
                    next = number + 1;
                    let event = format!("id: {number}\ndata: {entry}\n\n");
                    sender.send(event.into()).await
                } else {
                    tokio::select! {
                        () = feed.has(next) => Ok(()),
                        () = state.comes() => Ok(()),
                        () = sender.closed() => return,
                    }
                };
            }
        });
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        let body = EventBody(events).boxed();
        response.body(body).unwrap_or_default()
    }
}

fn plain(status: StatusCode, text: &str) -> Response<PageBody> {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8");
    finished(response, format!("{text}\n").into())
}

fn json(value: &serde_json::Value) -> Response<PageBody> {
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    finished(response, value.to_string().into())
}

fn finished(response: hyper::http::response::Builder, body: Bytes) -> Response<PageBody> {
    let body = Full::new(body).boxed();
    // The headers are ours and valid.
    response.body(body).unwrap_or_default()
}

/// Body of an event stream.
struct EventBody(mpsc::Receiver<Bytes>);

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.0.poll_recv(context);
        event.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
