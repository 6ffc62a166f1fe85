//! State that several replicas of the server share, in Redis: clients, sign-ins, grants, hashes of tokens, and sessions.
//!
//! The [`Store`] is one value with a version. A replica reads it again when the version has changed, and a request that
//! changes it is carried out as a transaction: if another replica was faster, the request is carried out anew on what that one
//! has left (optimistic locking). So each rule of the store, such as "a code works once", holds for all replicas together. For
//! more than some thousand users, each token would be a key of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, TlsCertificates,
};
use rmcp::transport::streamable_http_server::session::{
    SessionState, SessionStore, SessionStoreError,
};
use tokio::sync::Mutex;

use super::store::Store;
use super::token::Token;
use super::{App, MAX_BODY_BYTES};

/// Key of the store.
const STORE: &str = "mcp-example:store";

/// Prefix of the keys of sessions.
const SESSION: &str = "mcp-example:session:";

/// Time that an unused session is remembered, in seconds.
const SESSION_LIFETIME: u64 = 24 * 60 * 60;

/// Time that Redis has for an answer. It is near.
const REDIS_LIMIT: Duration = Duration::from_secs(2);

/// Limit for repetitions of a request because other replicas were faster. Each time one of them got on.
const MAX_ATTEMPTS: u32 = 50;

/// Time after which a client should try again while Redis does not answer, in seconds.
const RETRY_AFTER: &str = "1";

/// Returns the version and the store, unless the version is the one that is known.
const READ_IF_CHANGED: &str = "\
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version == ARGV[1] then return false end
return {version, redis.call('HGET', KEYS[1], 'store')}";

/// Replaces the store, if it still has the version that is known.
const REPLACE: &str = "\
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', version + 1, 'store', ARGV[2])
return 1";

/// The Redis in which replicas share their state.
#[derive(Clone)]
pub(crate) struct RedisPlace {
    /// Its URL, which may have a password in it.
    pub(crate) url: Token,
    /// Certificates of the authorities to trust instead of those of the system, in PEM. For `rediss:` alone.
    pub(crate) authorities: Option<Vec<u8>>,
}

impl RedisPlace {
    fn client(self) -> RedisResult<Client> {
        let url = self.url.expose();
        if self.authorities.is_none() {
            return Client::open(url);
        }
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: self.authorities,
        };
        Client::build_with_tls(url, certificates)
    }
}

/// State that the replicas share.
pub(crate) struct SharedState {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    /// Version of the store in this process. Whoever holds the lock reads and replaces the store.
    turn: Mutex<StoreVersion>,
}

/// Version of a store in Redis; `None` if what is in this process may differ from all of them.
struct StoreVersion(Option<u64>);

impl SharedState {
    /// The state in this Redis. Nothing is connected yet.
    pub(crate) fn new(place: RedisPlace) -> RedisResult<Arc<Self>> {
        Ok(Arc::new(Self {
            client: place.client()?,
            connection: Mutex::default(),
            turn: Mutex::new(StoreVersion(None)),
        }))
    }

    /// Returns whether Redis answers.
    pub(crate) async fn is_reachable(&self) -> bool {
        self.ask::<String>(&redis::cmd("PING")).await.is_ok()
    }

    /// Sends a command that may be sent twice: if the connection is broken, over another one.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> RedisResult<T> {
        match self.ask_once(command).await {
            Err(error) if is_lost(&error) => self.ask_once(command).await,
            answer => answer,
        }
    }

    /// Sends a command. The connection is made when it is needed, and anew after it has failed.
    async fn ask_once<T: FromRedisValue>(&self, command: &redis::Cmd) -> RedisResult<T> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        *held = Some(connection.clone());
        drop(held);
        let answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(is_lost) {
            *self.connection.lock().await = None;
        }
        answer
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_LIMIT))
            .set_response_timeout(Some(REDIS_LIMIT));
        self.connect_with(&limits).await
    }

    /// Makes a connection of its own for the caller.
    pub(crate) async fn connect_with(
        &self,
        limits: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = &self.client;
        client
            .get_multiplexed_async_connection_with_config(limits)
            .await
    }

    /// Takes over what other replicas have changed.
    pub(crate) async fn catch_up(&self, app: &App) -> RedisResult<()> {
        let mut turn = self.turn.lock().await;
        self.read(app, &mut turn).await
    }

    async fn read(&self, app: &App, turn: &mut StoreVersion) -> RedisResult<()> {
        let known = turn
            .0
            .map_or_else(String::new, |version| version.to_string());
        let mut command = redis::cmd("EVAL");
        command.arg(READ_IF_CHANGED).arg(1).arg(STORE).arg(known);
        let Some((version, state)) = self.ask::<Option<(u64, Option<String>)>>(&command).await?
        else {
            return Ok(());
        };
        let store = match state {
            Some(state) => serde_json::from_str(&state).map_err(std::io::Error::from)?,
            None => Store::default(),
        };
        app.replace_store(store);
        turn.0 = Some(version);
        Ok(())
    }

    /// Makes the store of this process everybody's. False if another replica has changed it meanwhile.
    async fn write(&self, app: &App, turn: &mut StoreVersion) -> RedisResult<bool> {
        // Until the answer is there, nobody knows.
        let Some(known) = turn.0.take() else {
            return Ok(false);
        };
        let state = serde_json::to_string(&*app.store()).map_err(std::io::Error::from)?;
        let mut command = redis::cmd("EVAL");
        command.arg(REPLACE).arg(1).arg(STORE).arg(known).arg(state);
        let is_done = self.ask_once::<bool>(&command).await?;
        turn.0 = is_done.then_some(known + 1);
        Ok(is_done)
    }

    /// Records who opened a session.
    pub(crate) async fn session_opened(&self, id: &str, user_id: &str) -> RedisResult<()> {
        self.set_in_session(id, "owner", user_id).await
    }

    /// The user that opened this session, which is then remembered for longer.
    pub(crate) async fn owner(&self, id: &str) -> RedisResult<Option<String>> {
        let key = format!("{SESSION}{id}");
        let owner = self.ask(redis::cmd("HGET").arg(&key).arg("owner")).await?;
        let mut expire = redis::cmd("EXPIRE");
        self.ask::<()>(expire.arg(&key).arg(SESSION_LIFETIME))
            .await?;
        Ok(owner)
    }

    async fn set_in_session(&self, id: &str, field: &str, value: &str) -> RedisResult<()> {
        let key = format!("{SESSION}{id}");
        let mut set = redis::cmd("HSET");
        self.ask::<()>(set.arg(&key).arg(field).arg(value)).await?;
        let mut expire = redis::cmd("EXPIRE");
        self.ask::<()>(expire.arg(&key).arg(SESSION_LIFETIME)).await
    }
}

/// Returns whether the connection is of no further use.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped()
}

/// Carries out a request as a transaction on the shared store, if there is one.
pub(crate) async fn in_turn(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(shared) = app.shared.clone() else {
        return next.run(request).await;
    };
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut turn = shared.turn.lock().await;
    for _ in 0..MAX_ATTEMPTS {
        if let Err(error) = shared.read(&app, &mut turn).await {
            return unavailable(&error);
        }
        let before = app.store().version();
        let request = Request::from_parts(head.clone(), Body::from(body.clone()));
        let response = next.clone().run(request).await;
        if app.store().version() == before {
            return response;
        }
        match shared.write(&app, &mut turn).await {
            Ok(true) => return response,
            Ok(false) => {}
            Err(error) => return unavailable(&error),
        }
    }
    tracing::warn!("other replicas were faster {MAX_ATTEMPTS} times");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, RETRY_AFTER)],
    )
        .into_response()
}

fn unavailable(error: &RedisError) -> Response {
    tracing::warn!(%error, "Redis does not answer as it should");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, RETRY_AFTER)],
    )
        .into_response()
}

/// State of a session that rmcp needs to go on with it in another replica.
pub(crate) struct SharedSessions(pub(crate) Arc<SharedState>);

/// As the macro `async_trait` writes it.
type Outcome<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for SharedSessions {
    fn load<'s, 'i, 'a>(&'s self, id: &'i str) -> Outcome<'a, Option<SessionState>>
    where
        's: 'a,
        'i: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let mut get = redis::cmd("HGET");
            get.arg(format!("{SESSION}{id}")).arg("state");
            let state: Option<String> = self.0.ask(&get).await?;
            Ok(state
                .map(|state| serde_json::from_str(&state))
                .transpose()?)
        })
    }

    fn store<'s, 'i, 't, 'a>(&'s self, id: &'i str, state: &'t SessionState) -> Outcome<'a, ()>
    where
        's: 'a,
        'i: 'a,
        't: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let state = serde_json::to_string(state)?;
            Ok(self.0.set_in_session(id, "state", &state).await?)
        })
    }

    fn delete<'s, 'i, 'a>(&'s self, id: &'i str) -> Outcome<'a, ()>
    where
        's: 'a,
        'i: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let mut delete = redis::cmd("DEL");
            Ok(self
                .0
                .ask::<()>(delete.arg(format!("{SESSION}{id}")))
                .await?)
        })
    }
}
