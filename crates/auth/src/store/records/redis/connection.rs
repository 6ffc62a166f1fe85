//! Connection to Redis: made when it is needed, bounded in time, and made again when it broke.

use std::error::Error;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Cmd, Connection, ErrorKind, FromRedisValue, RedisError, RedisResult, TlsCertificates};
use tokio::time::Instant;

use crate::config::StoreAddress;
use crate::store::record::StoreError;
use mcp_bridge_net::mutex::Mutex;

/// Time to connect, TLS and authentication included. Redis is near.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Time for an answer. Redis takes less than a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Time for which a Redis that could not be reached is not tried again, so that several questions in a row wait once.
const REST: Duration = Duration::from_millis(200);

/// Limit for repetitions of what a signal has interrupted: more stops within seconds than anybody makes.
const MOST_REPETITIONS: usize = 16;

/// Connections that are kept for those who wait. A process rarely waits for more than one lock.
const MOST_IDLE: usize = 2;

/// A connection that makes itself.
#[derive(Debug)]
pub(super) struct RedisConnection {
    address: StoreAddress,
    state: Mutex<State>,
    /// Connections for those who wait, which nobody uses.
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle(Vec<Connection>);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    failed: Option<(Instant, String)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl RedisConnection {
    /// The connection of this process to this address. Connects to nothing yet.
    pub(super) fn shared(address: &StoreAddress) -> Arc<Self> {
        static OPEN: Mutex<Vec<Weak<RedisConnection>>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock();
        open.retain(|connection| connection.strong_count() > 0);
        let mut living = open.iter().filter_map(Weak::upgrade);
        if let Some(known) = living.find(|known| known.address == *address) {
            return known;
        }
        let connection = Arc::new(Self {
            address: address.clone(),
            state: Mutex::default(),
            idle: Mutex::default(),
        });
        open.push(Arc::downgrade(&connection));
        connection
    }

    /// The answer to a command. It may be carried out twice, if the connection breaks: all of ours can be.
    pub(super) fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let had_connection = state.connection.is_some();
        let mut answer = repeated(|| state.ask(&self.address, command));
        if had_connection && matches!(&answer, Err(error) if is_broken(error)) {
            // It may have been idle for long, and closed by the other side.
            answer = repeated(|| state.ask(&self.address, command));
        }
        answer.map_err(|error| self.unreachable(&error))
    }

    /// A connection for one that waits. [`Self::give_back`] keeps it for the next wait.
    pub(super) fn another(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().0.pop();
        // It may have been closed meanwhile.
        if let Some(idle) = idle.and_then(answering) {
            return Ok(idle);
        }
        repeated(|| connect(&self.address)).map_err(|error| self.unreachable(&error))
    }

    /// Keeps a connection on which nobody waits any more.
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.0.len() < MOST_IDLE {
            idle.0.push(connection);
        }
    }

    /// The error as a person reads it. It carries no secret: Redis repeats none.
    pub(super) fn unreachable(&self, error: &RedisError) -> StoreError {
        StoreError::Unreachable {
            store: self.address.to_string(),
            reason: reason(error),
        }
    }
}

impl State {
    fn ask<T: FromRedisValue>(&mut self, address: &StoreAddress, command: &Cmd) -> RedisResult<T> {
        if let Some((moment, reason)) = &self.failed
            && moment.elapsed() < REST
        {
            let error = (ErrorKind::Io, "still", reason.clone());
            return Err(error.into());
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(address)?,
        };
        let answer = command.query(&mut connection);
        if !matches!(&answer, Err(error) if is_broken(error)) {
            self.connection = Some(connection);
        }
        answer
    }

    fn connect(&mut self, address: &StoreAddress) -> RedisResult<Connection> {
        let connected = connect(address);
        self.failed = match &connected {
            Err(error) if !is_interrupted(error) => Some((Instant::now(), reason(error))),
            Ok(_) | Err(_) => None,
        };
        connected
    }
}

fn connect(address: &StoreAddress) -> RedisResult<Connection> {
    let url = address.url().expose().as_str();
    let client = match address.authority() {
        None => redis::Client::open(url)?,
        Some(file) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(std::fs::read(file)?),
            };
            redis::Client::build_with_tls(url, certificates)?
        }
    };
    let connection = client.get_connection_with_timeout(CONNECT_LIMIT)?;
    connection.set_read_timeout(Some(ANSWER_LIMIT))?;
    connection.set_write_timeout(Some(ANSWER_LIMIT))?;
    Ok(connection)
}

/// The connection, if it still answers.
fn answering(mut connection: Connection) -> Option<Connection> {
    connection.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    let pong: RedisResult<()> = redis::cmd("PING").query(&mut connection);
    pong.is_ok().then_some(connection)
}

/// The outcome of an operation, which is repeated as long as signals interrupt it. That it was stopped says nothing about Redis:
/// on Linux each read with a time limit ends by that (signal(7), "Interruption of system calls and library functions by stop
/// signals").
fn repeated<T>(mut operation: impl FnMut() -> RedisResult<T>) -> RedisResult<T> {
    for _ in 0..MOST_REPETITIONS {
        match operation() {
            Err(error) if is_interrupted(&error) => {}
            outcome => return outcome,
        }
    }
    operation()
}

/// True if a signal has ended what was waited for, such as one that stops the process.
pub(super) fn is_interrupted(error: &RedisError) -> bool {
    // The client has it behind an `Arc`, which is an error itself.
    let shared = error.source().and_then(<dyn Error>::downcast_ref);
    let cause = shared.and_then(|shared: &Arc<dyn Error + Send + Sync>| shared.downcast_ref());
    cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::Interrupted)
}

/// True if the connection cannot be used any more: an answer that comes late would be taken for that of the next question.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

fn reason(error: &RedisError) -> String {
    if error.is_timeout() {
        // "Resource temporarily unavailable" on Unix.
        return format!("it has not answered for {} s", ANSWER_LIMIT.as_secs());
    }
    let text = error.to_string();
    match error.detail() {
        Some(detail) if error.kind() == ErrorKind::Io => detail.to_owned(),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_signal_interrupts_is_repeated_and_nothing_else_is() {
        let failing = |kind: io::ErrorKind, times: usize| {
            let mut asked = 0;
            let answer = repeated(|| {
                asked += 1;
                if asked > times {
                    Ok(())
                } else {
                    Err(RedisError::from(io::Error::from(kind)))
                }
            });
            (answer.is_ok(), asked)
        };
        assert_eq!(failing(io::ErrorKind::Interrupted, 3), (true, 4));
        assert_eq!(failing(io::ErrorKind::WouldBlock, 3), (false, 1));
        let always = failing(io::ErrorKind::Interrupted, usize::MAX);
        assert_eq!(always, (false, MOST_REPETITIONS + 1));
    }
}
