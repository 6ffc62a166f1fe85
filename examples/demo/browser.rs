//! A browser without a window: opens the sign-in page of the example server and submits its form.

use mcp_bridge_net::http;
use reqwest::{Response, header};
use thiserror::Error;
use url::{Url, form_urlencoded};

/// Text before the form's token in the page.
const FORM_TOKEN: &str = r#"name="form_token" value=""#;

/// Reasons for a failed sign-in.
#[derive(Debug, Error)]
pub(crate) enum SignInError {
    /// The address is none.
    #[error("the sign-in address is not a URL")]
    Address(#[from] url::ParseError),
    /// The server cannot be reached or does not speak HTTP.
    #[error("cannot reach the sign-in page")]
    Http(#[from] reqwest::Error),
    /// No client can be made.
    #[error("cannot set up the browser")]
    Client(#[from] http::Error),
    /// Something else came instead of the page with the form.
    #[error("the sign-in page has no form (HTTP status {0})")]
    NoForm(u16),
    /// The form was not accepted.
    #[error("the answer was not accepted (HTTP status {0})")]
    NotAccepted(u16),
}

/// Picks `user` and presses the button `decision` (`allow` or `deny`). Returns where the server then
/// sends the browser, which is the app's callback with a code or an error.
pub(crate) async fn sign_in(address: &str, user: &str, decision: &str) -> Result<Url, SignInError> {
    let address = Url::parse(address)?;
    let client = http::Options::default().client(&address)?;

    let page = client.get(address.clone()).send().await?;
    let status = page.status().as_u16();
    let cookie = cookie(&page);
    let html = page.text().await?;
    let after = html.split_once(FORM_TOKEN).map(|(_, after)| after);
    let (form_token, _) = after
        .and_then(|after| after.split_once('"'))
        .ok_or(SignInError::NoForm(status))?;

    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("form_token", form_token)
        .append_pair("user", user)
        .append_pair("decision", decision)
        .finish();
    let answer = client
        .post(address.join("/consent")?)
        .header(header::ORIGIN, address.origin().ascii_serialization())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::COOKIE, cookie)
        .body(form)
        .send()
        .await?;
    let location = answer
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let location = location.ok_or(SignInError::NotAccepted(answer.status().as_u16()))?;
    Ok(Url::parse(location)?)
}

/// The name and value of the cookie that comes with the page.
fn cookie(page: &Response) -> String {
    let set = page.headers().get(header::SET_COOKIE);
    let set = set
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    set.split(';').next().unwrap_or_default().to_owned()
}
