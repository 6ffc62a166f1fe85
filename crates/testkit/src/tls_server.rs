//! An MCP server over TLS and HTTP/2, with the faults that only HTTP/2 has.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::http::{Request, Response};
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, server::SendResponse};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{envelope::Envelope, mcp::initialize_result, reply::Gate};

/// Reaction of the server to a `tools/call`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCall {
    /// The answer of a good server.
    Answer,
    /// `RST_STREAM` with this reason.
    Reset(Reason),
    /// The answer, and then GOAWAY: the next request needs another connection.
    AnswerAndGoAway,
    /// GOAWAY with an error instead of an answer.
    GoAway(Reason),
}

/// The server; it ends with this handle.
pub struct TlsServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _connections: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    script: Vec<OnCall>,
    methods: Vec<String>,
    connections: usize,
    /// Opened by a cancellation.
    calls_wait_for: Option<Gate>,
}

impl TlsServer {
    /// Starts with a certificate of the directory `certificates`. Calls are answered by the script,
    /// and well once that has come to its end.
    pub async fn start(certificate: &str, script: &[OnCall]) -> Self {
        Self::start_with(acceptor(certificate, None), script).await
    }

    /// Starts a server that serves those alone who show this certificate of the directory.
    pub async fn start_for(client: &str) -> Self {
        let client = CertificateDer::from_pem_file(certificate(client)).expect("a certificate");
        Self::start_with(acceptor("good.pem", Some(client)), &[]).await
    }

    /// Starts a server that takes so many requests at once on a connection, and answers calls only when a notification
    /// of a cancellation has come.
    pub async fn start_with_streams(streams: u32) -> Self {
        let acceptor = acceptor("good.pem", None);
        let server = Self::serving(&[], move |stream, state| {
            serve_at_once(acceptor.clone(), stream, state, streams)
        });
        let server = server.await;
        server
            .state
            .lock()
            .expect("no task panics with it")
            .calls_wait_for = Some(Gate::closed());
        server
    }

    async fn start_with(acceptor: TlsAcceptor, script: &[OnCall]) -> Self {
        Self::serving(script, move |stream, state| {
            serve(acceptor.clone(), stream, state)
        })
        .await
    }

    async fn serving<F>(
        script: &[OnCall],
        serve: impl Fn(TcpStream, Arc<Mutex<State>>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            script: script.iter().rev().copied().collect(),
            ..State::default()
        }));
        let mut connections = JoinSet::new();
        let shared = state.clone();
        connections.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self {
            address,
            state,
            _connections: connections,
        }
    }

    /// The URL for the bridge.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/mcp", self.address.port())
    }

    /// Number of requests that called this method.
    pub fn count(&self, method: &str) -> usize {
        let state = self.state.lock().expect("no task panics with it");
        state.methods.iter().filter(|name| *name == method).count()
    }

    /// Number of connections that were established, TLS included.
    pub fn connections(&self) -> usize {
        self.state
            .lock()
            .expect("no task panics with it")
            .connections
    }
}

/// Path of a file of the directory `certificates`.
pub fn certificate(name: &str) -> String {
    format!(
        "{}/../../tests/integration/certificates/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// A TLS acceptor with this certificate, which serves all clients or those with one certificate.
pub fn acceptor(name: &str, client: Option<CertificateDer<'static>>) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(certificate(name)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certificate("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider's own");
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(certificate) => builder.with_client_cert_verifier(Arc::new(OneClient {
            certificate,
            algorithms: provider.signature_verification_algorithms,
        })),
    };
    let mut config = builder
        .with_single_cert(vec![chain], key)
        .expect("the key is the certificate's");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Lets one client in, and asks it to prove that the certificate is its own.
#[derive(Debug)]
struct OneClient {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for OneClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if *shown == self.certificate {
            return Ok(ClientCertVerified::assertion());
        }
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    state.lock().expect("no task panics with it").connections += 1;
    while let Some(Ok((request, respond))) = connection.accept().await {
        let on_call = answer(request, respond, &state);
        // The body comes only while the connection is driven.
        let closed = std::future::poll_fn(|context| connection.poll_closed(context));
        let on_call = tokio::select! {
            biased;
            on_call = on_call => on_call,
            _ = closed => return,
        };
        match on_call {
            OnCall::Answer | OnCall::Reset(_) => {}
            OnCall::AnswerAndGoAway => connection.graceful_shutdown(),
            OnCall::GoAway(reason) => connection.abrupt_shutdown(reason),
        }
    }
}

/// Serves so many requests of a connection at once.
async fn serve_at_once(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    state: Arc<Mutex<State>>,
    streams: u32,
) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake(stream).await else {
        return;
    };
    state.lock().expect("no task panics with it").connections += 1;
    let mut answers = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let state = state.clone();
        answers.spawn(async move { answer(request, respond, &state).await });
    }
}

/// Answers one request, by the script if it is a call; returns what is left to do for the connection.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &Mutex<State>,
) -> OnCall {
    let message = read(request.into_body()).await;
    let method = message.method().unwrap_or_default();
    let on_call = {
        let mut state = state.lock().expect("no task panics with it");
        state.methods.push(method.clone());
        let scripted = (method == "tools/call")
            .then(|| state.script.pop())
            .flatten();
        scripted.unwrap_or(OnCall::Answer)
    };
    let gate = state
        .lock()
        .expect("no task panics with it")
        .calls_wait_for
        .clone();
    match (method.as_str(), gate) {
        ("tools/call", Some(gate)) => gate.opened().await,
        ("notifications/cancelled", Some(gate)) => gate.open(),
        _ => {}
    }
    if let OnCall::Reset(reason) = on_call {
        respond.send_reset(reason);
        return on_call;
    }
    if let OnCall::GoAway(_) = on_call {
        return on_call;
    }
    let result = match method.as_str() {
        "initialize" => initialize_result(&"2025-06-18".into()),
        _ => r#"{"content":[]}"#.to_owned(),
    };
    let id = message.id().unwrap_or("null");
    let (status, body) = match message.is_owed_an_answer() {
        true => (
            200,
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        ),
        false if method.is_empty() => (405, String::new()),
        false => (202, String::new()),
    };
    let head = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(())
        .expect("a legal head");
    // A client that has left gets no answer.
    if let Ok(mut stream) = respond.send_response(head, body.is_empty()) {
        let _ = stream.send_data(body.into(), true);
    }
    on_call
}

async fn read(mut body: RecvStream) -> Envelope {
    let mut whole = BytesMut::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        whole.extend(&data);
    }
    Envelope::parse(&String::from_utf8_lossy(&whole)).unwrap_or_default()
}
