//! Search for one metadata document at several places (RFC 8414 §3.1, RFC 9728 §3.1).

use std::time::Duration;

use serde_json::Value;
use url::{Origin, Url};

use crate::error::AuthError;
use crate::transport::{NoDocument, Transport, bare};

/// Limit for one metadata document.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The same once a place has not answered in time, so that a server that never answers does not take the limit
/// as many times as there are places.
const TIMEOUT_AFTER_A_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at one place after the other. What is wrong with a place is remembered, because it matters only if no
/// place has a document.
#[derive(Debug, Clone)]
pub(crate) struct Search<'a> {
    transport: &'a Transport,
    timeout: Duration,
    /// Origins that no connection leads to. One for each place at most.
    unreachable: Vec<Origin>,
    failure: Option<AuthError>,
    /// Outages by the origin that has them. One for each place at most.
    outages: Vec<(Origin, AuthError)>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self {
            transport,
            timeout: TIMEOUT,
            unreachable: Vec::new(),
            failure: None,
            outages: Vec::new(),
        }
    }

    /// The JSON object at `url`.
    pub(crate) async fn fetch_document(&mut self, url: &Url) -> Option<Value> {
        if self.unreachable.contains(&url.origin()) {
            return None;
        }
        let error = match self.transport.fetch_document(url, self.timeout).await {
            Ok(document) => return Some(document),
            Err(NoDocument::Absent(status)) => {
                tracing::debug!(url = %bare(url), %status, "no metadata there");
                return None;
            }
            Err(NoDocument::Unusable(error)) => error,
            Err(NoDocument::Unreachable(error)) => {
                self.unreachable.push(url.origin());
                error
            }
            Err(NoDocument::TimedOut(error)) => {
                self.timeout = TIMEOUT_AFTER_A_TIMEOUT;
                error
            }
        };
        if matches!(error, AuthError::Unavailable { .. }) {
            self.outages.push((url.origin(), error.clone()));
        }
        self.reject(error);
        None
    }

    /// An outage of a place at this origin, which may have hidden its document.
    pub(crate) fn outage_at(&self, origin: &Origin) -> Option<&AuthError> {
        let mut outages = self.outages.iter();
        outages.find(|(it, _)| it == origin).map(|(_, error)| error)
    }

    /// Remembers what is wrong with a place or its document, if that tells more than what is remembered.
    pub(crate) fn reject(&mut self, error: AuthError) {
        tracing::debug!(%error, "no usable metadata there");
        let known = self.failure.as_ref().map(weight);
        if known.is_none_or(|known| known < weight(&error)) {
            self.failure = Some(error);
        }
    }

    /// The most telling failure so far; none if all places were simply empty.
    pub(crate) const fn failure(&self) -> Option<&AuthError> {
        self.failure.as_ref()
    }
}

/// Rank of an error by what it tells. A possible attack goes before all; then what may pass, so that nothing is given up
/// for an outage.
const fn weight(error: &AuthError) -> u8 {
    match error {
        AuthError::IssuerMismatch { .. } => 3,
        AuthError::Unavailable { .. } => 2,
        AuthError::UnsafeUrl { .. } | AuthError::UrlTooLong(_) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_tells_more_than_an_outage_and_an_outage_more_than_a_page() {
        let url = Url::parse("https://x.example/").unwrap();
        let page = |reason: &str| AuthError::Metadata {
            url: url.clone(),
            reason: reason.into(),
        };
        let outage = AuthError::Unavailable {
            reason: "503".into(),
            retry_after: TIMEOUT,
        };
        let attack = AuthError::IssuerMismatch {
            place: url.to_string(),
            expected: "a".into(),
            found: "b".into(),
        };
        let transport = Transport::new(
            mcp_bridge_net::http::Options::default(),
            crate::transport::address::AddressGuard::new(
                url.clone(),
                crate::config::Addresses::Any,
                mcp_bridge_net::http::Options::default(),
            ),
        );
        let mut search = Search::new(&transport);
        let mut kind_after = |error: &AuthError| {
            search.reject(error.clone());
            search.failure().unwrap().to_string()
        };
        let first = page("first").to_string();
        assert_eq!(kind_after(&page("first")), first);
        assert_eq!(kind_after(&page("second")), first);
        assert_eq!(kind_after(&outage), outage.to_string());
        assert_eq!(kind_after(&page("third")), outage.to_string());
        assert_eq!(kind_after(&attack), attack.to_string());
    }
}
