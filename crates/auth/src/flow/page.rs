//! The sign-in page as it is shown here: its addresses, its instructions, and the browser that opens it.

use url::Url;

use crate::flow::session::SignInSession;
use crate::grant::authorization::AuthorizationRequest;
use crate::prompt::announcement::{CallbackRoute, SignInInstructions};
use crate::prompt::browser_launcher::{self, BrowserLaunch};
use crate::sign_in_page::SignInPage;
use mcp_bridge_net::http::is_loopback;

/// Sends the browser of the configuration to `url`.
pub(crate) async fn open_browser(session: &SignInSession, url: &Url) -> BrowserLaunch {
    let config = &session.config;
    browser_launcher::open(&config.browser, url, config.browser_place()).await
}

/// The page of a request, as a person here reaches it.
pub(crate) fn for_request(session: &SignInSession, request: &AuthorizationRequest) -> SignInPage {
    let place = session.config.browser_place();
    SignInPage::for_request(&request.url, &request.redirect_uri, place)
}

/// Instructions for the person who has to open `page`.
pub(crate) fn announcement<'a>(
    session: &'a SignInSession,
    page: &'a SignInPage,
    opened: BrowserLaunch,
) -> SignInInstructions<'a> {
    let mut pairs = page.url().query_pairs();
    let redirect_uri = pairs.find(|(name, _)| name == "redirect_uri");
    let redirect_uri = redirect_uri.and_then(|(_, uri)| Url::parse(&uri).ok());
    let port = redirect_uri.and_then(|uri| listening_port(session, &uri));
    SignInInstructions {
        host: session.server.host_str().unwrap_or_default(),
        page,
        opened,
        reach: match (&session.config.remote_login, port) {
            (Some(login), Some(port)) => CallbackRoute::Forwarded { port, login },
            (Some(_), None) | (None, _) => CallbackRoute::Direct,
        },
        input: session.config.answer_input,
    }
}

/// The port that a browser elsewhere has to reach; none where the redirect URI does not lead here.
fn listening_port(session: &SignInSession, redirect_uri: &Url) -> Option<u16> {
    let here = is_loopback(redirect_uri);
    session
        .config
        .callback
        .port
        .or(redirect_uri.port())
        .filter(|_| here)
}
