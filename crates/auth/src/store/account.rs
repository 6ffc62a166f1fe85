//! List of stored accounts, without their secrets, for `status` and `logout`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use url::Url;

use crate::config::{Config, SERVER_FAILURES};
use crate::keychain::Keychain;
use crate::store::CredentialStore;
use crate::store::credential::{Summary, Voucher, without_query};
use crate::store::credentials;
use crate::store::key::CredentialKey;
use crate::store::lock;
use crate::store::pending;
use crate::store::record::{Place, Record, StoreError, move_to};
use crate::store::records::{self, Records, SharedRecords};
use crate::store::refused_renewal::{self, AccessTokenState, RefusedRenewal};
use crate::token::unix_millis;

/// Account at a server, as one authorization server has signed it in.
#[derive(Debug, Clone)]
pub struct Account {
    /// The MCP server, without the query.
    pub server: Url,
    /// The name that the user gave the account.
    pub profile: Option<String>,
    /// The authorization server.
    pub issuer: String,
    /// The sign-in; none if there are no tokens.
    pub signed_in: Option<SignedIn>,
    /// Voucher for it beside the authorization server, if there is one.
    pub voucher: Option<Voucher>,
    /// Servers whose tokens are of this sign-in; none if it is not one that servers share.
    pub shared_by: Option<Vec<Url>>,
    /// Place of the secrets.
    pub place: Place,
    /// True if a sign-in page of this account waits for a person.
    pub is_pending: bool,
    /// When it was stored, in milliseconds since 1970.
    pub saved_at: u64,
    pub(crate) records: SharedRecords,
    /// The name of its record.
    pub(crate) record: String,
    pub(crate) key: CredentialKey,
}

/// Sign-in of an account, without its tokens.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person's name, if the authorization server told it.
    pub user: Option<String>,
    /// Scopes that were granted, separated by spaces.
    pub scopes: String,
    /// Expiry of the token.
    pub expiry: Expiry,
    /// True if it is renewed without a person.
    pub renewable: bool,
    /// True if the token is bound to a key (RFC 9449).
    pub is_bound: bool,
}

/// Expiry of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The authorization server did not say.
    Unknown,
    /// For so long.
    In(Duration),
    /// It was, so long ago.
    Ago(Duration),
}

impl Account {
    /// The name under which everything is kept that belongs to it ([`crate::account_name`]).
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// All that is stored in `directory`, by server, but what is encrypted. Never asks the keychain.
    #[must_use]
    pub fn all(directory: &Path) -> Vec<Self> {
        let records = records::in_directory(directory, None);
        let names = credentials(&*records, "").unwrap_or_default().into_iter();
        let accounts = names.filter_map(|(key, name)| Self::read(&records, key, name).ok()?);
        Self::sorted(accounts.collect())
    }

    /// All that is stored where these choices say, by server. Never asks the keychain.
    pub fn all_where(choices: &Config) -> Result<Vec<Self>, StoreError> {
        match CredentialStore::place_of(choices).0 {
            Some(records) => Self::all_in(&records),
            None => Ok(Vec::new()),
        }
    }

    /// All that is stored in a place.
    pub(crate) fn all_in(records: &SharedRecords) -> Result<Vec<Self>, StoreError> {
        Self::of_prefix(records, "")
    }

    /// Those in a place whose records have names that begin so.
    pub(crate) fn of_prefix(
        records: &SharedRecords,
        prefix: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let mut accounts = Vec::new();
        for (key, name) in credentials(&**records, prefix)? {
            accounts.extend(Self::read(records, key, name)?);
        }
        Ok(Self::sorted(accounts))
    }

    fn sorted(mut accounts: Vec<Self>) -> Vec<Self> {
        accounts.sort_by(|a, b| (&a.server, &a.profile).cmp(&(&b.server, &b.profile)));
        let members: Vec<_> = accounts
            .iter()
            .filter_map(|it| Some((it.shared_account()?.to_owned(), it.server.clone())))
            .collect();
        for account in &mut accounts {
            let Some(servers) = &mut account.shared_by else {
                continue;
            };
            let ours = members
                .iter()
                .filter(|(name, _)| *name == account.key.name());
            servers.extend(ours.map(|(_, server)| server.clone()));
        }
        accounts
    }

    /// None if the record cannot be used.
    fn read(
        records: &SharedRecords,
        key: CredentialKey,
        name: String,
    ) -> Result<Option<Self>, StoreError> {
        let Some(record) = Record::read(&**records, &name)? else {
            return Ok(None);
        };
        let refused = refused_renewal::read_of_account(&**records, &key)?;
        let issuer = &record.credential.metadata.issuer;
        let signed_in = record.summary().and_then(|summary| {
            let refused = refused.as_ref();
            let refused = refused.filter(|it| it.is_about(issuer, summary.obtained_at));
            let mut signed_in = SignedIn::from_summary(summary, refused, SystemTime::now())?;
            let voucher = record.credential.voucher.as_ref();
            signed_in.renewable |= voucher.is_some_and(|it| it.renews(&**records, issuer));
            Some(signed_in)
        });
        let voucher = record.credential.voucher.as_ref();
        let is_shared = voucher == Some(&Voucher::SharedSignIn(key.name().to_owned()));
        Ok(Some(Self {
            is_pending: pending::is_open(&**records, &key)?,
            signed_in,
            place: record.place(&**records),
            voucher: record.credential.voucher.clone(),
            shared_by: is_shared.then(Vec::new),
            issuer: printable(issuer),
            server: record.credential.server,
            profile: record.credential.profile,
            saved_at: record.credential.saved_at,
            records: SharedRecords::clone(records),
            record: name,
            key,
        }))
    }

    /// The name of the account of the shared sign-in that its tokens are of.
    #[must_use]
    pub fn shared_account(&self) -> Option<&str> {
        match &self.voucher {
            Some(Voucher::SharedSignIn(name)) if name != self.key.name() => Some(name),
            Some(
                Voucher::SharedSignIn(_) | Voucher::IdentityProvider(_) | Voucher::ExternalToken(_),
            )
            | None => None,
        }
    }

    /// True if its tokens are of the shared sign-in with this name.
    pub(crate) fn shares(&self, name: &str) -> bool {
        self.shared_account() == Some(name)
    }

    /// True if this is one of the server at `url`, whatever the query.
    #[must_use]
    pub fn is_at(&self, url: &Url) -> bool {
        self.server == without_query(url.clone())
    }

    /// True if the other one is the same account, at another authorization server perhaps.
    #[must_use]
    pub fn is_same_account(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Moves the secrets to `place`. They are deleted where they were only after they were read where they
    /// are now. False if they were there already. Takes as long as a person takes to unlock the keychain;
    /// a refresh in another process is waited for.
    pub async fn move_to(&self, place: Place, keychain: &Keychain) -> Result<bool, StoreError> {
        let name = self.key.sibling("lock");
        let lock = lock::acquire_named(&self.records, &name, lock::REFRESH_WAIT);
        let Some(lock) = lock.await? else {
            return Err(StoreError::Busy);
        };
        let (records, record) = (SharedRecords::clone(&self.records), self.record.clone());
        let keychain = keychain.clone();
        let moving = tokio::task::spawn_blocking(move || {
            let _lock = lock;
            move_to(&*records, &record, place, &keychain)
        });
        moving.await.unwrap_or(Err(StoreError::Busy))
    }
}

impl SignedIn {
    /// None if the server refuses the access token and the authorization server another one.
    fn from_summary(
        summary: Summary,
        refused: Option<&RefusedRenewal>,
        now: SystemTime,
    ) -> Option<Self> {
        let needs_sign_in =
            refused.is_some_and(|it| it.needs_sign_in(it.access_token, SERVER_FAILURES));
        let is_over = refused.is_some_and(|it| it.access_token == AccessTokenState::Over);
        if needs_sign_in && is_over {
            return None;
        }
        Some(Self {
            user: summary.user,
            scopes: printable(&summary.granted.to_string()),
            renewable: summary.renewable && !needs_sign_in,
            is_bound: summary.is_bound,
            expiry: Expiry::at(summary.obtained_at, summary.lifetime, unix_millis(now)),
        })
    }
}

impl Voucher {
    /// True if it brings further tokens of `issuer`, and is not the issuer itself.
    fn renews(&self, records: &dyn Records, issuer: &str) -> bool {
        match self {
            Self::IdentityProvider(provider) => provider != issuer,
            Self::ExternalToken(_) => true,
            Self::SharedSignIn(name) => {
                let shared = CredentialKey::from_name(name).map(|key| key.record(issuer));
                let record = shared.and_then(|name| Record::read(records, &name).ok()?);
                let summary = record.and_then(|record| record.summary());
                summary.is_some_and(|summary| summary.renewable)
            }
        }
    }
}

/// Text that a stranger has chosen, as it may stand on a terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "")
}

impl Expiry {
    /// Of a token that was `obtained_at` (milliseconds since 1970) for `lifetime` seconds.
    fn at(obtained_at: u64, lifetime: Option<u64>, now: u64) -> Self {
        let Some(lifetime) = lifetime else {
            return Self::Unknown;
        };
        let end = obtained_at.saturating_add(lifetime.saturating_mul(1000));
        match end.checked_sub(now) {
            Some(left) if left > 0 => Self::In(Duration::from_millis(left)),
            Some(_) | None => Self::Ago(Duration::from_millis(now - end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_its_lifetime_is_over() {
        let check = |lifetime, now, expected| {
            assert_eq!(Expiry::at(10_000, lifetime, now), expected);
        };
        check(None, 20_000, Expiry::Unknown);
        check(Some(60), 20_000, Expiry::In(Duration::from_secs(50)));
        check(Some(60), 70_000, Expiry::Ago(Duration::ZERO));
        check(Some(60), 71_000, Expiry::Ago(Duration::from_secs(1)));
        check(
            Some(u64::MAX),
            0,
            Expiry::In(Duration::from_millis(u64::MAX)),
        );
    }
}
