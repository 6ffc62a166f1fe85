//! Host of a client ID metadata document, with TLS, that answers as the test says.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use mcp_bridge_net::http::{Names, Roots};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::client::REDIRECT_URI;
use crate::server::client_documents::{DocumentReach, DocumentSettings};
use mcp_bridge_testkit::tls_server::certificate;

/// Path of the document.
const PATH: &str = "/client.json";

/// Answer of the host.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Document {
    /// A good answer with this content.
    pub(super) fn of(content: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: content.to_string(),
        }
    }
}

pub(super) struct DocumentHost {
    /// URL of the document.
    pub(super) url: String,
    answer: Arc<Mutex<Option<Document>>>,
    paths: Arc<Mutex<Vec<String>>>,
}

impl DocumentHost {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = Self {
            url: format!("https://localhost:{port}{PATH}"),
            answer: Arc::default(),
            paths: Arc::default(),
        };
        host.give(Document::of(&host.content()));
        let (answer, paths) = (Arc::clone(&host.answer), Arc::clone(&host.paths));
        let tls = acceptor();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, paths, tls) = (answer.clone(), paths.clone(), tls.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate hangs up.
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request: Request<Incoming>| {
                        paths.lock().unwrap().push(request.uri().path().to_owned());
                        let answer = answer.lock().unwrap().clone();
                        respond(answer)
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        host
    }

    /// The content of a good document.
    pub(super) fn content(&self) -> Value {
        json!({
            "client_id": self.url,
            "client_name": "Described app",
            "redirect_uris": [REDIRECT_URI, "https://app.example.com/callback", "myapp:/callback"],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "scope": "openid",
        })
    }

    pub(super) fn give(&self, document: Document) {
        *self.answer.lock().unwrap() = Some(document);
    }

    /// From now on, requests get no answer.
    pub(super) fn hang(&self) {
        *self.answer.lock().unwrap() = None;
    }

    /// Requests so far.
    pub(super) fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }

    /// Settings with which a server can fetch the document.
    pub(super) fn settings() -> DocumentSettings {
        let authority = std::fs::read(certificate("authority.pem")).unwrap();
        DocumentSettings {
            reach: DocumentReach::Loopback,
            authorities: vec![Roots::from_pem(authority).unwrap()],
            names: Names::of_system(),
        }
    }
}

async fn respond(document: Option<Document>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(document) = document else {
        return std::future::pending().await;
    };
    let mut response = Response::builder().status(document.status);
    for (name, value) in document.headers {
        response = response.header(name, value);
    }
    Ok(response.body(document.body.into()).unwrap())
}

fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(certificate("good.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
