//! HTML page that the browser shows after the callback. All text is constant: nothing from a server or another web
//! page is repeated here.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use sha2::{Digest, Sha256};
use url::Url;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Nothing may be loaded or run; our own style is let in by its hash.
pub(crate) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// An answer to the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// The code was exchanged and the tokens are stored.
    SignedIn,
    /// The same, shown by a page of the user's choice.
    SignedInAt(Url),
    /// The authorization server or the person said no.
    Denied,
    /// The code could not be exchanged.
    Failed,
    /// Somebody else's answer came first.
    AlreadyAnswered,
    /// The answer is not for the sign-in under way, which goes on.
    Unexpected,
    /// The answer lacks what it is checked by; the sign-in goes on.
    IncompleteAnswer,
    /// There is no such page.
    NotFound,
    /// The sign-in has to be asked for in another way, there.
    Redirect(Url),
}

impl Page {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::SignedIn | Self::Denied | Self::Failed | Self::AlreadyAnswered => StatusCode::OK,
            Self::Unexpected | Self::IncompleteAnswer => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::SignedInAt(_) | Self::Redirect(_) => StatusCode::SEE_OTHER,
        }
    }

    /// Location to which the browser is redirected instead of being shown the page.
    pub(crate) fn location(&self) -> Option<&Url> {
        match self {
            Self::SignedInAt(url) | Self::Redirect(url) => Some(url),
            Self::SignedIn
            | Self::Denied
            | Self::Failed
            | Self::AlreadyAnswered
            | Self::Unexpected
            | Self::IncompleteAnswer
            | Self::NotFound => None,
        }
    }

    pub(crate) fn html(&self) -> String {
        let (tone, mark, title, text) = self.content();
        TEMPLATE
            .replace("{style}", STYLE)
            .replace("{tone}", tone)
            .replace("{mark}", mark)
            .replace("{title}", title)
            .replace("{text}", text)
    }

    fn content(&self) -> (&str, &str, &str, &str) {
        match self {
            Self::SignedIn | Self::SignedInAt(_) => (
                "good",
                "✓",
                "You are signed in",
                "Your app is connected to the server now. You can close this tab and go back to it.",
            ),
            Self::Denied => (
                "bad",
                "✕",
                "The sign-in was refused",
                "Nothing was stored. You can close this tab. To try again, use the server from your \
                 app once more.",
            ),
            Self::Failed => (
                "bad",
                "!",
                "The sign-in did not work",
                "You can close this tab. Your app, or its log, says what went wrong.",
            ),
            Self::AlreadyAnswered => (
                "plain",
                "✓",
                "This sign-in has already been answered",
                "There is nothing left to do here. You can close this tab and go back to your app.",
            ),
            Self::Unexpected | Self::IncompleteAnswer => (
                "bad",
                "?",
                "This is not the sign-in we are waiting for",
                "The answer was ignored. If you came here from a sign-in page, open the newest one \
                 and try again.",
            ),
            Self::NotFound => (
                "plain",
                "?",
                "There is nothing here",
                "You can close this tab.",
            ),
            Self::Redirect(_) => (
                "plain",
                "→",
                "One more step",
                "Going on to the sign-in page.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_whole_and_loads_nothing() {
        let html = Page::SignedIn.html();
        assert!(html.contains("You can close this tab"));
        for trace in [
            "{title}", "{text}", "{style}", "{mark}", "{tone}", "src=", "href=", "<script",
        ] {
            assert!(!html.contains(trace), "{trace}");
        }
    }
}
