//! Addresses of a sign-in page: the authorization URL, and a short one on this machine that redirects to it.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use url::Url;

use crate::error::AuthError;
use crate::store::STORE_RETRY;
use mcp_bridge_net::http::is_loopback;

/// A page that waits for a person. It is shown as the address that the person should open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInPage(Arc<PageAddresses>);

#[derive(Debug, PartialEq, Eq)]
struct PageAddresses {
    url: Url,
    short: Option<Url>,
}

/// State of a sign-in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SignInStage {
    /// Nobody is asked to sign in.
    #[default]
    None,
    /// This page waits for a person.
    Page(SignInPage),
    /// A person has to sign in on another machine, by this command.
    Elsewhere(String),
    /// The store that several machines share is away, for this reason. Whether a person has to sign in is not known.
    StoreAway(String),
    /// The sign-in has brought a token.
    Done,
}

impl SignInStage {
    /// The page that waits for a person.
    #[must_use]
    pub const fn page(&self) -> Option<&SignInPage> {
        match self {
            Self::Page(page) => Some(page),
            Self::None | Self::Elsewhere(_) | Self::StoreAway(_) | Self::Done => None,
        }
    }

    /// The error for those who cannot wait for the sign-in that is under way; none if none is.
    #[must_use]
    pub fn obstacle(&self) -> Option<AuthError> {
        match self {
            Self::Page(page) => Some(AuthError::SignInRequired {
                url: Some(page.clone()),
            }),
            Self::Elsewhere(command) => Some(AuthError::SignInElsewhere {
                command: command.clone(),
            }),
            Self::StoreAway(reason) => Some(AuthError::StoreUnavailable {
                reason: reason.clone(),
                locked: false,
                retry_after: STORE_RETRY,
            }),
            Self::None | Self::Done => None,
        }
    }
}

/// The machine of the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrowserPlace {
    /// This one.
    Here,
    /// The one from which the person is logged in here.
    Elsewhere,
}

impl SignInPage {
    /// The page of an authorization request, whose callback is served by this program.
    pub(crate) fn for_request(url: &Url, redirect_uri: &Url, place: BrowserPlace) -> Self {
        let leads_here = is_loopback(redirect_uri) && redirect_uri.scheme() == "http";
        let short = match place {
            BrowserPlace::Here if leads_here => redirect_uri.join("/").ok(),
            BrowserPlace::Here | BrowserPlace::Elsewhere => None,
        };
        Self::new(url.clone(), short)
    }

    /// A page that has no other address.
    #[must_use]
    pub fn whole(url: Url) -> Self {
        Self::new(url, None)
    }

    fn new(url: Url, short: Option<Url>) -> Self {
        Self(Arc::new(PageAddresses { url, short }))
    }

    /// The whole address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.url.as_str()
    }

    /// The short address, for a browser on this machine.
    #[must_use]
    pub fn short(&self) -> Option<&Url> {
        self.0.short.as_ref()
    }
}

/// The short address where there is one.
impl fmt::Display for SignInPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.short().unwrap_or(self.url()).fmt(f)
    }
}

/// The whole address.
impl Serialize for SignInPage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_shown_by_its_short_address_where_the_browser_is_here() {
        let url = Url::parse("https://auth.example/authorize?state=s").unwrap();
        for (redirect_uri, place, shown) in [
            (
                "http://localhost:3334/oauth/callback",
                BrowserPlace::Here,
                "http://localhost:3334/",
            ),
            (
                "http://[::1]:3334/oauth/callback",
                BrowserPlace::Here,
                "http://[::1]:3334/",
            ),
            (
                "http://localhost:3334/oauth/callback",
                BrowserPlace::Elsewhere,
                url.as_str(),
            ),
            (
                "https://tunnel.example/cb",
                BrowserPlace::Here,
                url.as_str(),
            ),
            (
                "https://localhost:3334/cb",
                BrowserPlace::Here,
                url.as_str(),
            ),
        ] {
            let redirect_uri = Url::parse(redirect_uri).unwrap();
            let page = SignInPage::for_request(&url, &redirect_uri, place);
            assert_eq!(page.to_string(), shown);
            assert_eq!(page.as_str(), url.as_str());
        }
    }
}
