//! Two replicas of the server behind a proxy that hands requests to them in turn, with nothing in common but Redis. Skipped,
//! with a message, where `redis-server` is not installed.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::header::HOST;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::client::{Answer, Client, answer, form, options_for};
use super::prover::{Prover, challenges, message_claims, send, token_claims};
use super::tools::{FLAT_WHITE, Messages, ORDER_COFFEE, SESSION, open_session};
use crate::auth::sign_in::user::User;
use crate::era::Eras;
use crate::server::deployment::Deployment;
use crate::server::dpop::{DpopPolicy, DpopSettings, NoncePolicy};
use crate::server::{Options, RedisPlace, Server, Token};
use mcp_bridge_testkit::limits;
use mcp_bridge_testkit::redis_server::RedisServer;

/// Certificate of Redis for `localhost`, its key, and the authority that signed it.
const CERTIFICATES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/integration/certificates"
);

fn place(redis: &RedisServer) -> RedisPlace {
    RedisPlace {
        url: Token::from(redis.url()),
        authorities: None,
    }
}

fn place_with_tls(port: u16, authorities: Option<Vec<u8>>) -> RedisPlace {
    RedisPlace {
        url: Token::from(format!("rediss://localhost:{port}")),
        authorities,
    }
}

/// All that is in it, as text.
async fn dump(redis: &RedisServer) -> String {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut dump = String::new();
    for key in keys {
        let mut kind = redis::cmd("TYPE");
        let kind: String = kind.arg(&key).query_async(&mut connection).await.unwrap();
        let mut get = redis::cmd(if kind == "hash" { "HGETALL" } else { "GET" });
        let fields: Vec<String> = get.arg(&key).query_async(&mut connection).await.unwrap();
        dump += &[&[key][..], &fields].concat().join(" ");
    }
    dump
}

/// A replica on threads of its own, so that it can be killed with all its connections.
struct Replica {
    runtime: Runtime,
    server: Server,
}

impl Replica {
    async fn start(redis: RedisPlace, public_url: &str) -> Self {
        let options = Options {
            redis: Some(redis),
            // The bridge has to bring the nonce of one replica to the other.
            dpop: DpopSettings {
                policy: DpopPolicy::Auto,
                nonces: NoncePolicy::Needed,
            },
            deployment: Deployment {
                bind: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
                public_url: Some(public_url.parse().unwrap()),
                trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
                ..Deployment::default()
            },
            ..options_for(Eras::Legacy)
        };
        let start = move || {
            let mut runtime = Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
            let server = runtime.block_on(Server::start(options)).unwrap();
            Self { runtime, server }
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A reverse proxy that gives each request to the next replica, and to the one after it if that cannot be reached.
struct RoundRobin {
    url: String,
    replicas: Arc<Vec<(SocketAddr, AtomicUsize)>>,
}

impl RoundRobin {
    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        (listener, url)
    }

    fn start(listener: TcpListener, url: String, replicas: &[SocketAddr]) -> Self {
        let replicas = replicas
            .iter()
            .map(|address| (*address, AtomicUsize::new(0)));
        let replicas = Arc::new(replicas.collect::<Vec<_>>());
        let turn = Arc::new(AtomicUsize::new(0));
        let known = Arc::clone(&replicas);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (known, turn) = (Arc::clone(&known), Arc::clone(&turn));
                let service = service_fn(move |request| {
                    let (known, turn) = (Arc::clone(&known), Arc::clone(&turn));
                    async move { Ok::<_, Infallible>(forward(request, &known, &turn).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, replicas }
    }

    fn mcp_url(&self) -> String {
        format!("{}/mcp", self.url)
    }

    /// Requests that each replica got.
    fn counts(&self) -> Vec<usize> {
        let counts = self.replicas.iter();
        counts
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .collect()
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, hyper::Error>;

async fn forward(
    mut request: Request<Incoming>,
    replicas: &[(SocketAddr, AtomicUsize)],
    turn: &AtomicUsize,
) -> Response<Body> {
    let client = "203.0.113.7".parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", client);
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for place in 0..replicas.len() {
        let (address, count) = &replicas[(first + place) % replicas.len()];
        let Ok(stream) = TcpStream::connect(address).await else {
            continue;
        };
        count.fetch_add(1, Ordering::Relaxed);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        return match sender.send_request(request).await {
            Ok(response) => response.map(http_body_util::BodyExt::boxed),
            Err(_) => failed(),
        };
    }
    failed()
}

fn failed() -> Response<Body> {
    let body = http_body_util::Empty::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Two replicas and their proxy.
async fn two_replicas(redis: &RedisServer) -> ([Replica; 2], RoundRobin) {
    two_replicas_with(&place(redis)).await
}

async fn two_replicas_with(redis: &RedisPlace) -> ([Replica; 2], RoundRobin) {
    let (listener, url) = RoundRobin::listen().await;
    let first = Replica::start(redis.clone(), &url).await;
    let second = Replica::start(redis.clone(), &url).await;
    let addresses = [first.server.address(), second.server.address()];
    let proxy = RoundRobin::start(listener, url, &addresses);
    ([first, second], proxy)
}

#[tokio::test]
async fn a_sign_in_and_a_session_go_on_over_two_replicas_and_the_death_of_one() {
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let (replicas, proxy) = two_replicas(&redis).await;
    let user = User::new();
    let mut app = user.launch(&proxy.mcp_url()).start();
    app.initialize().await;
    app.request("who", "tools/list", &json!({})).await;
    user.window().await.sign_in().await;
    app.result("who").await;
    for call in 0..6 {
        app.request(
            call,
            "tools/call",
            &json!({"name": "get-user-data", "arguments": {}}),
        )
        .await;
        let data = app.result(call).await;
        assert_eq!(data["structuredContent"]["name"], "Ada Lovelace", "{data}");
    }
    let before = proxy.counts();
    assert!(before.iter().all(|count| *count >= 4), "{before:?}");

    let [first, second] = replicas;
    first.kill();
    for call in 10..16 {
        app.request(
            call,
            "tools/call",
            &json!({"name": "get-user-data", "arguments": {}}),
        )
        .await;
        let data = app.result(call).await;
        assert_eq!(data["structuredContent"]["name"], "Ada Lovelace", "{data}");
    }
    let tokens = user.tokens().expect("somebody has signed in");
    let stored = dump(&redis).await;
    assert!(stored.contains("mcp-example:session:"), "{stored}");
    for secret in [tokens.access, tokens.refresh] {
        assert!(!stored.contains(&secret), "a token is readable in Redis");
    }
    app.finish().await;
    user.saw_every_window();
    let sessions = dump(&redis).await;
    assert!(!sessions.contains("\"initialize_params\""), "{sessions}");
    second.kill();
}

/// RFC 6749 §4.1.2, RFC 9700 §4.14.2: the rules hold for all replicas together, also when they are asked at the same moment.
#[tokio::test]
async fn a_code_and_a_refresh_token_are_good_once_for_both_replicas_together() {
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let (replicas, proxy) = two_replicas(&redis).await;
    let client = Client::registered_at(&proxy.mcp_url()).await;
    let code = client.code("ada", "profile").await;
    let exchange = client.code_exchange(&code);
    let (one, two) = tokio::join!(client.token(&exchange), client.token(&exchange));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::BAD_REQUEST]);

    let tokens = client.tokens("ada", "profile").await;
    let refresh = client.refresh(&tokens.refresh);
    let (one, two) = tokio::join!(client.token(&refresh), client.token(&refresh));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::BAD_REQUEST]);
    // The second use has ended the grant, at whichever replica one looks.
    let newest = if one.status == StatusCode::OK {
        one
    } else {
        two
    };
    let newest = newest.tokens();
    for _ in 0..2 {
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        let refused = client.mcp(&newest.access, &ping).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    replicas.into_iter().for_each(Replica::kill);
}

/// The answer to a token request with a proof, which has this nonce, and the nonce for the next.
async fn token_with_nonce(
    client: &Client,
    parameters: &[(&str, String)],
    prover: &Prover,
    nonce: Option<&str>,
) -> (Answer, String) {
    let mut claims = token_claims(client);
    nonce.inspect(|nonce| claims["nonce"] = json!(nonce));
    let request = form(client.post("/token"), parameters).header("dpop", prover.proof(&claims));
    let response = request.send().await.unwrap();
    let next = response.headers()["dpop-nonce"]
        .to_str()
        .unwrap()
        .to_owned();
    (answer(response).await, next)
}

/// RFC 9449 §8, §11.1
#[tokio::test]
async fn a_nonce_of_one_replica_is_good_at_the_other_and_a_proof_is_good_at_one() {
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let (replicas, proxy) = two_replicas(&redis).await;
    let client = Client::registered_at(&proxy.mcp_url()).await;
    let prover = Prover::new();
    let exchange = client.code_exchange(&client.code("ada", "profile").await);
    let other = client.code_exchange(&client.code("ada", "profile").await);
    let (refused, nonce) = token_with_nonce(&client, &exchange, &prover, None).await;
    assert_eq!(refused.error(), "use_dpop_nonce");
    // One of them may be carried out again, since the other has changed the store: its proof still counts.
    let ((one, _), (two, _)) = tokio::join!(
        token_with_nonce(&client, &exchange, &prover, Some(&nonce)),
        token_with_nonce(&client, &other, &prover, Some(&nonce)),
    );
    two.tokens();
    let token = one.tokens().access;

    let refused = prover.send(&client, &token).await;
    assert!(challenges(&refused)[0].contains("use_dpop_nonce"));
    let mut claims = message_claims(&client, &token);
    claims["nonce"] = json!(refused.headers()["dpop-nonce"].to_str().unwrap());
    let proof = prover.proof(&claims);
    let accepted = send(&client, &token, &proof).await;
    assert_eq!(accepted.status(), StatusCode::OK);
    // The next one in turn.
    let before = proxy.counts();
    let replayed = send(&client, &token, &proof).await;
    let challenge = challenges(&replayed).remove(0);
    assert!(
        challenge.contains("the proof was used before"),
        "{challenge}"
    );
    let after = proxy.counts();
    assert_ne!(before, after);
    replicas.into_iter().for_each(Replica::kill);
}

/// MCP 2025-11-25: the server asks on the stream of a call, and the answer is a request of its own, which the proxy gives to
/// the other replica. A cancellation goes the same way.
#[tokio::test]
async fn an_answer_and_a_cancellation_reach_the_replica_that_waits_for_them() {
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let (replicas, proxy) = two_replicas(&redis).await;
    let client = Client::registered_at(&proxy.mcp_url()).await;
    let tokens = client.tokens("ada", "profile coffee").await;
    let session = open_session(&client, &tokens.access).await;
    let send = |message: Value| {
        let request = client.mcp(&tokens.access, &message);
        request.header(SESSION, &session).send()
    };
    // Each replica asks and is answered by way of the other.
    for id in 2..4 {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": ORDER_COFFEE}});
        let mut messages = Messages::of(send(call).await.unwrap());
        let question = messages.next().await.unwrap();
        assert_eq!(question["method"], "elicitation/create");
        let result = json!({"action": "accept", "content": {"coffee": "flat white"}});
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
        assert_eq!(send(answer).await.unwrap().status(), StatusCode::ACCEPTED);
        let result = messages.next().await.unwrap();
        assert_eq!(result["result"]["content"][0]["text"], FLAT_WHITE);
        let ping = json!({"jsonrpc": "2.0", "id": format!("ping {id}"), "method": "ping"});
        assert_eq!(send(ping).await.unwrap().status(), StatusCode::OK);
    }

    let arguments =
        json!({"name": "count-down", "arguments": {"from": 50}, "_meta": {"progressToken": "p"}});
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": arguments});
    let mut messages = Messages::of(send(call).await.unwrap());
    let progress = messages.next().await.unwrap();
    assert_eq!(progress["method"], "notifications/progress");
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}});
    let accepted = send(cancelled).await.unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let mut last = progress;
    while let Some(message) = messages.next().await {
        last = message;
    }
    assert_ne!(last["result"]["content"][0]["text"], "Lift-off!", "{last}");
    replicas.into_iter().for_each(Replica::kill);
}

/// Status of a replica's readiness probe.
async fn readiness(replica: SocketAddr) -> StatusCode {
    let http = limits::client().build().unwrap();
    let probe = http.get(format!("http://{replica}/readyz"));
    let probe = probe.header(HOST, "10.0.0.1");
    probe.send().await.unwrap().status()
}

#[tokio::test]
async fn replicas_share_their_state_over_tls_with_the_authority_that_was_named() {
    let Some((redis, port)) = RedisServer::with_tls(CERTIFICATES) else {
        return;
    };
    let authority = std::fs::read(format!("{CERTIFICATES}/authority.pem")).unwrap();
    let (replicas, proxy) = two_replicas_with(&place_with_tls(port, Some(authority))).await;
    let client = Client::registered_at(&proxy.mcp_url()).await;
    let tokens = client.tokens("ada", "profile").await;
    client
        .token(&client.refresh(&tokens.refresh))
        .await
        .tokens();
    assert!(dump(&redis).await.contains("mcp-example:store"));

    let strict = Replica::start(place_with_tls(port, None), &proxy.url).await;
    let status = readiness(strict.server.address()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    strict.kill();
    replicas.into_iter().for_each(Replica::kill);
}

#[tokio::test]
async fn without_redis_a_replica_is_not_ready_and_goes_on_when_it_is_back() {
    let Some(mut redis) = RedisServer::start() else {
        return;
    };
    let (replicas, proxy) = two_replicas(&redis).await;
    let client = Client::registered_at(&proxy.mcp_url()).await;
    let tokens = client.tokens("ada", "profile").await;
    let address = replicas[0].server.address();
    assert_eq!(readiness(address).await, StatusCode::OK);
    redis.stop();
    assert_eq!(readiness(address).await, StatusCode::SERVICE_UNAVAILABLE);
    let refresh = client.refresh(&tokens.refresh);
    let refused = client.token(&refresh).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);

    redis.start_again();
    redis.ask("FLUSHALL");
    assert_eq!(readiness(address).await, StatusCode::OK);
    // It has kept nothing, so the app begins anew, which works.
    let client = Client::registered_at(&proxy.mcp_url()).await;
    client.tokens("ada", "profile").await;
    replicas.into_iter().for_each(Replica::kill);
}
