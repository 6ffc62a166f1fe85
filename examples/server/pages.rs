//! HTML pages of the server. No script, nothing from elsewhere, and every value escaped.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use url::Url;

use super::authorization::{is_plain_loopback, no_store};
use super::scope::Scopes;
use super::users::{USERS, User};
use super::{App, PRE_REGISTERED_CLIENT_ID, Registration};

const LAYOUT: &str = include_str!("pages/layout.html");
const STYLE: &str = include_str!("pages/style.css");
const CONSENT: &str = include_str!("pages/consent.html");
const ACCOUNT: &str = include_str!("pages/account.html");
const SCOPE: &str = include_str!("pages/scope.html");
const ORIGIN: &str = include_str!("pages/origin.html");
const LOOPBACK_WARNING: &str = include_str!("pages/loopback_warning.html");
const ERROR: &str = include_str!("pages/error.html");
const REFUSED: &str = include_str!("pages/refused.html");
const WELCOME: &str = include_str!("pages/welcome.html");

/// The page may be shown in no frame (so that no other page can get the click), may load nothing and
/// run nothing. `form-action` is not restricted: browsers apply it to redirects too, and the form's
/// answer redirects to the client.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// The page that asks who the user is and whether the app may have what it wants.
pub(crate) struct Consent<'a> {
    /// The name that the client gave itself.
    pub(crate) client_name: &'a str,
    /// The host that vouches for the name, by a document about the client; `None` if nobody does.
    pub(crate) client_host: Option<String>,
    /// Scopes that it asks for.
    pub(crate) scopes: Scopes,
    /// Address that gets the answer: the one certain thing about the client.
    pub(crate) redirect_uri: &'a str,
    /// Comes back with the answer.
    pub(crate) form_token: &'a str,
}

impl Consent<'_> {
    /// The page.
    pub(crate) fn render(&self) -> Response {
        let accounts = USERS
            .iter()
            .enumerate()
            .map(|(n, user)| account(n, user))
            .collect();
        let scopes = self
            .scopes
            .iter()
            .map(|scope| {
                let values = [
                    ("name", Markup::text(scope.name())),
                    ("description", Markup::text(scope.description())),
                ];
                fill(SCOPE, &values)
            })
            .collect();
        let values = [
            ("client_name", Markup::text(self.client_name)),
            ("origin", self.origin()),
            ("warning", self.warning()),
            ("scopes", Markup(scopes)),
            ("accounts", Markup(accounts)),
            ("redirect_uri", Markup::text(self.redirect_uri)),
            ("form_token", Markup::text(self.form_token)),
        ];
        page(StatusCode::OK, "Sign in", fill(CONSENT, &values))
    }

    fn origin(&self) -> Markup {
        let Some(host) = &self.client_host else {
            return Markup(String::new());
        };
        Markup(fill(ORIGIN, &[("host", Markup::text(host))]))
    }

    /// Everybody can read the document of a client and send its `client_id`. If the answer goes to an address of the host,
    /// nobody else gets it; on the user's machine, any program may (MCP, Localhost Redirect URI Impersonation).
    fn warning(&self) -> Markup {
        let uri = Url::parse(self.redirect_uri);
        let stays_here = uri.is_ok_and(|uri| is_plain_loopback(&uri));
        if self.client_host.is_none() || !stays_here {
            return Markup(String::new());
        }
        let values = [("client_name", Markup::text(self.client_name))];
        Markup(fill(LOOPBACK_WARNING, &values))
    }
}

/// A page for an error that must not be sent to the client, or has no client to go to.
pub(crate) fn error(description: &str) -> Response {
    let content = fill(ERROR, &[("description", Markup::text(description))]);
    page(StatusCode::BAD_REQUEST, "This did not work", content)
}

/// A page for an error that the client may be told of, if the user wants to go to `address`.
pub(crate) fn refused(description: &str, address: &str) -> Response {
    let values = [
        ("description", Markup::text(description)),
        ("address", Markup::text(address)),
    ];
    page(
        StatusCode::BAD_REQUEST,
        "This did not work",
        fill(REFUSED, &values),
    )
}

/// The page for somebody who opens the server's address in a browser.
pub(crate) async fn welcome(State(app): State<Arc<App>>) -> Response {
    let (options, arguments) = match app.registration {
        Registration::Dynamic => (String::new(), vec![app.resource.as_str()]),
        Registration::BeforehandOnly => (
            format!(" --client-id {PRE_REGISTERED_CLIENT_ID}"),
            vec![&app.resource, "--client-id", PRE_REGISTERED_CLIENT_ID],
        ),
    };
    // In the order in which people write it.
    let entry = format!(
        "{{\n  \"mcpServers\": {{\n    \"example\": {{\n      \"command\": \"mcp-bridge\",\n      \"args\": {}\n    \
         }}\n  }}\n}}",
        json!(arguments)
    );
    let (authority, people) = match &app.issuer {
        Some(issuer) => (issuer.identifier(), "there is no coffee behind it"),
        None => (
            "this server",
            "the people who can sign in are made up, and everything stays on this machine",
        ),
    };
    let values = [
        ("endpoint", Markup::text(&app.resource)),
        ("options", Markup::text(&options)),
        ("entry", Markup::text(&entry)),
        ("authority", Markup::text(authority)),
        ("people", Markup::text(people)),
    ];
    page(StatusCode::OK, "Welcome", fill(WELCOME, &values))
}

/// Answers browsers at the MCP endpoint with that page. Clients of MCP ask there for an event stream
/// (MCP, transports: Listening for Messages from the Server).
pub(crate) async fn greet_browsers(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::GET && is_from_browser(request.headers()) {
        return welcome(State(app)).await;
    }
    next.run(request).await
}

/// Returns whether a web page is asked for, and no event stream.
fn is_from_browser(headers: &HeaderMap) -> bool {
    let accepts = |kind: &str| {
        let values = headers.get_all(header::ACCEPT).into_iter();
        let mut values = values.filter_map(|value| value.to_str().ok());
        values.any(|value| value.to_ascii_lowercase().contains(kind))
    };
    accepts("text/html") && !accepts("text/event-stream")
}

fn account(index: usize, user: &User) -> String {
    let initials: String = user
        .name
        .split(' ')
        .filter_map(|word| word.chars().next())
        .collect();
    let values = [
        ("id", Markup::text(user.id)),
        ("initials", Markup(initials)),
        ("name", Markup::text(user.name)),
        ("email", Markup::text(user.email)),
        (
            "checked",
            Markup(if index == 0 { "checked" } else { "" }.to_owned()),
        ),
    ];
    fill(ACCOUNT, &values)
}

fn page(status: StatusCode, title: &str, content: String) -> Response {
    let values = [
        ("title", Markup::text(title)),
        ("style", Markup(STYLE.to_owned())),
        ("content", Markup(content)),
    ];
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // For the form: with `no-referrer` a browser would send `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (status, headers, no_store(Html(fill(LAYOUT, &values)))).into_response()
}

/// Text that is HTML already.
struct Markup(String);

impl Markup {
    /// Escapes text for an element's content and for a quoted attribute.
    fn text(text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                other => escaped.push(other),
            }
        }
        Self(escaped)
    }
}

/// Replaces each `{{name}}` in the template by its value, in one pass, so that braces in a value
/// mean nothing.
fn fill(template: &str, values: &[(&str, Markup)]) -> String {
    let mut pieces = template.split("{{");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        debug_assert!(
            value.is_some(),
            "the template names a value that is not there: {name}"
        );
        filled.extend(value.map(|(_, markup)| markup.0.as_str()));
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_never_expanded_again() {
        let values = [
            ("a", Markup::text(r#"<b title="{{b}}">'&"#)),
            ("b", Markup::text("no")),
        ];
        assert_eq!(
            fill("<p>{{a}}</p>", &values),
            "<p>&lt;b title=&quot;{{b}}&quot;&gt;&#39;&amp;</p>"
        );
    }
}
