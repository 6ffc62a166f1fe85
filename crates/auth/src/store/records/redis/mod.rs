//! Records in Redis (or Valkey), which processes on any number of machines share.
//!
//! An account is one hash, so that it expires as a whole. Each record has two fields: its text, and with `#` the fence of the
//! write. A record that was removed keeps its fence, which tells it from one that was lost. Locks are leases ([`lease`]).
//!
//! ```text
//! PREFIX{KEY}                 hash    .ISSUER.json, .ISSUER.json#, .sign-in, .sign-in#, …
//! PREFIX{KEY}.lock            string  the holder of a lease
//! PREFIX{KEY}                 channel the field of each change, and a message for each release
//! ```

mod connection;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use self::connection::RedisConnection;
use self::lease::LeaseName;
use super::{Attempt, Condition, Custody, Fence, Presence, Records, SharedRecords};
use crate::config::StoreAddress;
use crate::store::record::StoreError;

/// Time after which an account vanishes that nobody reads or writes: longer than refresh tokens live that are not used.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Keys that one step of a search looks at.
const SCAN_STEP: usize = 1000;

/// Largest text of a record, in bytes, as with files.
const LARGEST_RECORD: usize = 1 << 20;

/// Declares `next_fence`: the time of Redis in microseconds, or one more than the last. So a fence grows even if Redis has lost
/// its memory.
macro_rules! next_fence {
    () => {
        "\
local function next_fence(account)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('HGET', account, '#') or '0')
  local fence = string.format('%.0f', math.max(last + 1, now))
  redis.call('HSET', account, '#', fence)
  return fence
end
"
    };
}
use next_fence;

/// Writes (with a text) or removes (without one) a record, unless its fence is larger. KEYS: account. ARGV: field, fence or
/// nothing, lifetime in ms, text.
const CHANGE: &str = concat!(
    next_fence!(),
    "\
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1] .. '#') or '0')
local fence = ARGV[2]
if fence == '' then fence = next_fence(KEYS[1])
elseif tonumber(fence) < held then return 0 end
if ARGV[4] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
else redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1] .. '#', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1"
);

/// Names the records of an account, and puts off its end. KEYS: account. ARGV: lifetime in ms.
const NAMES: &str = "\
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HKEYS', KEYS[1])";

/// Records in one database, below one prefix.
#[derive(Debug)]
pub(crate) struct Redis {
    connection: Arc<RedisConnection>,
    address: StoreAddress,
}

/// The parts of a name: the account's key in Redis, and the rest.
struct NameParts<'a> {
    account: String,
    field: &'a str,
}

impl Redis {
    /// Connects to nothing yet.
    pub(crate) fn open(address: &StoreAddress) -> SharedRecords {
        Arc::new(Self {
            connection: RedisConnection::shared(address),
            address: address.clone(),
        })
    }

    /// Braces keep what belongs to one account together in a cluster.
    fn account(&self, key: &str) -> String {
        format!("{}{{{key}}}", self.address.prefix())
    }

    fn parts<'a>(&self, name: &'a str) -> NameParts<'a> {
        let end = name.find('.').unwrap_or(name.len());
        let (key, field) = name.split_at(end);
        NameParts {
            account: self.account(key),
            field,
        }
    }

    fn change(
        &self,
        name: &str,
        text: Option<&[u8]>,
        condition: Condition,
    ) -> Result<(), StoreError> {
        let NameParts { account, field } = self.parts(name);
        let fence = match condition {
            Condition::None => String::new(),
            Condition::NotLaterThan(Fence(fence)) => fence.to_string(),
        };
        let mut command = redis::cmd("EVAL");
        command.arg(CHANGE).arg(1).arg(account);
        command
            .arg(field)
            .arg(fence)
            .arg(millis(LIFETIME))
            .arg(text);
        match self.connection.ask::<u8>(&command)? {
            0 => Err(StoreError::Superseded),
            _ => Ok(()),
        }
    }

    /// The names of all records of one account.
    fn names_of(&self, key: &str) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(NAMES).arg(1).arg(self.account(key));
        command.arg(millis(LIFETIME));
        let fields: Vec<String> = self.connection.ask(&command)?;
        let records = fields.into_iter().filter(|field| !field.ends_with('#'));
        Ok(records.map(|field| format!("{key}{field}")).collect())
    }

    /// The keys of all accounts.
    fn keys(&self) -> Result<Vec<String>, StoreError> {
        let before = self.account("");
        let (before, after) = before.split_at(before.len() - 1);
        let pattern = format!("{}*{after}", escaped(before));
        let mut keys = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(&pattern);
            command.arg("COUNT").arg(SCAN_STEP);
            let found: Vec<String>;
            (cursor, found) = self.connection.ask(&command)?;
            let found = found.iter().filter_map(|key| {
                let key = key.strip_prefix(before)?.strip_suffix(after)?;
                Some(key.to_owned())
            });
            keys.extend(found);
            if cursor == 0 {
                // A step may name what another one has named.
                keys.sort_unstable();
                keys.dedup();
                return Ok(keys);
            }
        }
    }
}

impl Records for Redis {
    fn read(&self, name: &str, kind: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let NameParts { account, field } = self.parts(name);
        let mut command = redis::cmd("HGET");
        command.arg(account).arg(field);
        let text: Option<Vec<u8>> = self.connection.ask(&command)?;
        Ok(text.filter(|text| {
            let is_ours = text.len() <= LARGEST_RECORD;
            if !is_ours {
                tracing::warn!(record = %self.shown(name), "{kind} is ignored: it is too large");
            }
            is_ours
        }))
    }

    fn write(&self, name: &str, text: &[u8], condition: Condition) -> Result<(), StoreError> {
        self.change(name, Some(text), condition)
    }

    fn remove(&self, name: &str, condition: Condition) -> Result<(), StoreError> {
        self.change(name, None, condition)
    }

    fn presence(&self, name: &str) -> Presence {
        let NameParts { account, field } = self.parts(name);
        let mut command = redis::cmd("HMGET");
        command.arg(account).arg(field).arg(format!("{field}#"));
        match self.connection.ask::<[Value; 2]>(&command) {
            Err(_) => Presence::Unknown,
            Ok([Value::Nil, Value::Nil]) => Presence::Lost,
            Ok([Value::Nil, _]) => Presence::Removed,
            Ok(_) => Presence::There,
        }
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let keys = match prefix.split_once('.') {
            Some((key, _)) => vec![key.to_owned()],
            None => self.keys()?,
        };
        let mut names = Vec::new();
        for key in keys {
            names.extend(self.names_of(&key)?);
        }
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        Ok(names)
    }

    /// Leaves it: another version of this program may understand it, and it expires.
    fn set_aside(&self, _: &str) {}

    fn sweep(&self, _: &str) {}

    fn try_lock(&self, name: &str, patience: Duration) -> Result<Attempt, StoreError> {
        let NameParts { account, field } = self.parts(name);
        let name = LeaseName {
            lease: format!("{account}{field}"),
            account,
        };
        lease::take(&self.connection, name, patience)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.connection.ask::<String>(&redis::cmd("PING"))?;
        Ok(())
    }

    fn shown(&self, name: &str) -> String {
        format!("{} {name}", self.address)
    }

    fn custody(&self) -> Custody {
        Custody::Fleet
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text as it stands for itself in a pattern of Redis.
fn escaped(text: &str) -> String {
    let special = |char| matches!(char, '*' | '?' | '[' | ']' | '^' | '\\');
    text.chars()
        .flat_map(|char| special(char).then_some('\\').into_iter().chain([char]))
        .collect()
}
