//! OAuth settings of entries with a URL, as flags of the bridge.

use serde_json::{Map, Value};
use url::Url;

use super::remote::{is_empty, without_counterpart};
use mcp_bridge_net::http;

/// The redirect URI that the bridge has without flags.
const HOST: &str = "localhost";
const PATH: &str = "/oauth/callback";

/// The redirect URI that an app has for a client that was registered by hand.
#[derive(Debug, Clone, Copy)]
enum FixedRedirect {
    /// One on this machine: host, port unless it is any, path.
    Local(&'static str, Option<&'static str>, &'static str),
    /// One that only the app itself receives.
    OfTheApp(&'static str),
    Unknown,
}

/// The redirect URIs of apps, from their documentation.
fn redirect(client: &str) -> FixedRedirect {
    match client {
        "claude-code" => FixedRedirect::Local(HOST, None, "/callback"),
        "codex" => FixedRedirect::Local("127.0.0.1", None, "/callback"),
        "cursor" => FixedRedirect::OfTheApp("cursor://anysphere.cursor-mcp/oauth/callback"),
        "gemini" | "qwen" => FixedRedirect::Local(HOST, Some("7777"), PATH),
        "opencode" => FixedRedirect::Local("127.0.0.1", Some("19876"), "/mcp/oauth/callback"),
        "vscode" => FixedRedirect::Local("127.0.0.1", Some("33418"), "/"),
        _ => FixedRedirect::Unknown,
    }
}

/// The settings, as flags.
#[derive(Debug, Default)]
pub(super) struct OAuth {
    has_client_id: bool,
    has_redirect_uri: bool,
    /// The callback port.
    pub(super) port: Option<String>,
    pub(super) flags: Vec<String>,
    pub(super) client_secret: Option<String>,
}

/// Returns whether a member of an entry is about the sign-in.
pub(super) fn is_about(member: &str) -> bool {
    matches!(
        member,
        "auth" | "oauth" | "authentication" | "scopes" | "oauth_resource" | "oauth_client_id"
    )
}

impl OAuth {
    /// Adds a member of an entry. Fails with what the bridge has nothing for.
    pub(super) fn add(
        &mut self,
        member: &str,
        value: &Value,
        has_authorization: bool,
    ) -> Result<(), String> {
        match (member, value) {
            ("scopes" | "oauth_resource" | "oauth_client_id", _) => {
                self.add_setting(member.trim_start_matches("oauth_"), value)
            }
            (_, Value::Object(settings)) => self.add_settings(settings),
            // Signing in is what the bridge does when the server asks for it.
            (_, Value::Bool(true)) => Ok(()),
            (_, Value::Bool(false)) if has_authorization => Ok(()),
            (_, Value::Bool(false)) => Err(format!(
                "its \"{member}\" switches the sign-in off, and the bridge signs in where the server asks for it"
            )),
            (_, Value::String(kind)) if kind.eq_ignore_ascii_case("oauth") => Ok(()),
            _ => Err(without_counterpart(member)),
        }
    }

    fn add_settings(&mut self, settings: &Map<String, Value>) -> Result<(), String> {
        let settings = settings.iter().filter(|(_, value)| !is_empty(value));
        settings
            .into_iter()
            .try_for_each(|(name, value)| self.add_setting(name, value))
    }

    /// Adds a setting, however the app spells its name: `clientId`, `client_id`, `CLIENT_ID`.
    fn add_setting(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let spelling = name.to_ascii_lowercase().replace(['-', '_'], "");
        let text = || match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Array(texts) => {
                let texts = texts.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
                texts
                    .map(|texts| texts.join(" "))
                    .ok_or_else(|| without_counterpart(name))
            }
            _ => Err(without_counterpart(name)),
        };
        match spelling.as_str() {
            "clientid" => {
                self.has_client_id = true;
                self.flag("--client-id", text()?);
            }
            "clientsecret" => self.client_secret = Some(text()?),
            "scope" | "scopes" => self.flag("--scope", text()?),
            "resource" => self.flag("--resource", text()?),
            "issuer" => self.flag("--issuer", text()?),
            "clientmetadataurl" => self.flag("--client-metadata-url", text()?),
            "callbackport" | "redirectport" => self.port = Some(text()?),
            "callbackpath" | "redirectpath" => self.flag("--callback-path", text()?),
            "redirecturi" | "redirecturl" | "callbackurl" => self.add_redirect_uri(&text()?),
            "enabled" if *value == Value::Bool(true) => {}
            "type"
                if value
                    .as_str()
                    .is_some_and(|kind| kind.eq_ignore_ascii_case("oauth")) => {}
            _ => return Err(without_counterpart(name)),
        }
        Ok(())
    }

    /// Takes the redirect URI that the app registers a client with by default. Returns what a person has to know
    /// about it.
    pub(super) fn add_redirect_uri_of(&mut self, client: &str) -> Result<Option<String>, String> {
        if !self.has_client_id || self.has_redirect_uri {
            return Ok(None);
        }
        let (host, port, path) = match redirect(client) {
            FixedRedirect::Local(host, port, path) => (host, port, path),
            FixedRedirect::OfTheApp(uri) => {
                return Err(format!(
                    "its client is registered with the redirect URI {uri}, which only the app receives"
                ));
            }
            FixedRedirect::Unknown => {
                return Ok(Some(
                    "the redirect URI http://localhost/oauth/callback has to be registered for its client"
                        .to_owned(),
                ));
            }
        };
        self.port = self.port.take().or(port.map(str::to_owned));
        self.add_place(host, path);
        Ok(None)
    }

    fn add_place(&mut self, host: &str, path: &str) {
        if host != HOST {
            self.flag("--host", host.to_owned());
        }
        if path != PATH {
            self.flag("--callback-path", path.to_owned());
        }
    }

    /// The parts of a redirect URI on this machine; another one as a whole.
    fn add_redirect_uri(&mut self, text: &str) {
        self.has_redirect_uri = true;
        let local = Url::parse(text).ok();
        let local = local.filter(|url| url.scheme() == "http" && http::is_loopback(url));
        let Some((url, port)) = local.and_then(|url| Some((url.clone(), url.port()?))) else {
            return self.flag("--redirect-uri", text.to_owned());
        };
        self.port = Some(port.to_string());
        self.add_place(url.host_str().unwrap_or(HOST), url.path());
    }

    fn flag(&mut self, flag: &str, value: String) {
        self.flags.extend([flag.to_owned(), value]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: &Value) -> Result<(Option<String>, String), String> {
        let mut oauth = OAuth::default();
        oauth.add("oauth", settings, false)?;
        Ok((oauth.port, oauth.flags.join(" ")))
    }

    #[test]
    fn settings_of_apps_become_flags() {
        for (settings, port, flags) in [
            (
                json!({"clientId": "c", "scope": "a b"}),
                None,
                "--client-id c --scope a b",
            ),
            (
                json!({"CLIENT_ID": "c", "scopes": ["a", "b"]}),
                None,
                "--client-id c --scope a b",
            ),
            (
                json!({"callbackPort": 8080, "enabled": true}),
                Some("8080"),
                "",
            ),
            (
                json!({"redirectUri": "http://localhost:7777/oauth/callback"}),
                Some("7777"),
                "",
            ),
            (
                json!({"redirectUri": "http://127.0.0.1:19876/mcp/oauth/callback"}),
                Some("19876"),
                "--host 127.0.0.1 --callback-path /mcp/oauth/callback",
            ),
            (
                json!({"redirectUri": "https://relay.example/cb"}),
                None,
                "--redirect-uri https://relay.example/cb",
            ),
            (json!(true), None, ""),
            (json!({"clientId": null, "scopes": []}), None, ""),
        ] {
            let expected = (port.map(str::to_owned), flags.to_owned());
            assert_eq!(read(&settings), Ok(expected), "{settings}");
        }
    }

    #[test]
    fn a_client_keeps_the_redirect_uri_that_the_app_registers() {
        for (client, settings, port, flags) in [
            (
                "claude-code",
                json!({"callbackPort": 8080, "clientId": "c"}),
                Some("8080"),
                "--client-id c --callback-path /callback",
            ),
            (
                "opencode",
                json!({"clientId": "c"}),
                Some("19876"),
                "--client-id c --host 127.0.0.1 --callback-path /mcp/oauth/callback",
            ),
            (
                "opencode",
                json!({"clientId": "c", "redirectUri": "http://localhost:1/oauth/callback"}),
                Some("1"),
                "--client-id c",
            ),
            ("gemini", json!({"scopes": ["a"]}), None, "--scope a"),
        ] {
            let mut oauth = OAuth::default();
            oauth.add("oauth", &settings, false).unwrap();
            assert_eq!(oauth.add_redirect_uri_of(client), Ok(None));
            assert_eq!(
                (oauth.port.as_deref(), oauth.flags.join(" ").as_str()),
                (port, flags)
            );
        }
        let mut oauth = OAuth::default();
        oauth
            .add("auth", &json!({"CLIENT_ID": "c"}), false)
            .unwrap();
        let error = oauth.add_redirect_uri_of("cursor").unwrap_err();
        assert!(error.contains("cursor://"), "{error}");
    }

    #[test]
    fn settings_that_the_bridge_has_nothing_for_are_named() {
        for (settings, named) in [
            (
                json!({"clientId": "c", "authorizationUrl": "https://as.example/a"}),
                "authorizationUrl",
            ),
            (json!({"audiences": ["a"]}), "audiences"),
            (json!({"enabled": false}), "enabled"),
            (json!({"scopes": [1]}), "scopes"),
            (json!(false), "switches the sign-in off"),
        ] {
            let error = read(&settings).unwrap_err();
            assert!(error.contains(named), "{settings}: {error}");
        }
    }
}
