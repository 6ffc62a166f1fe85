//! Authorization request and response: PKCE, `state`, `resource`, `iss` (RFC 6749 §4.1, RFC 7636, RFC 8707, RFC
//! 9207).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::client::registration::ClientIdentity;
use crate::config::{Bearer, Config};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::error::{AuthError, shown};
use crate::token::scope::Scopes;
use crate::token::secret_serde;
use crate::transport::bare;
use mcp_bridge_net::http::{check_length, is_loopback};
use mcp_bridge_text::random;
use mcp_bridge_text::secret::Secret;

/// Length of `state` before encoding: twice the 128 bit that are asked for.
const STATE_BYTES: usize = 32;

/// Length of the verifier before encoding (RFC 7636 §4.1).
const VERIFIER_BYTES: usize = 32;

/// Names that the flow itself sets; a user's parameter must not replace them.
pub const RESERVED_PARAMETERS: [&str; 6] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// One attempt to get an authorization code: everything that its answer is checked against and that the
/// token request repeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    /// Authorization URL, to which the person goes.
    pub(crate) url: Url,
    /// The issuer, as its validated metadata has it.
    pub(crate) issuer: String,
    /// Client that asks; a request of another client can't be continued.
    pub(crate) client_id: String,
    /// True if that issuer promised to name itself in its answers.
    pub(crate) iss_promised: bool,
    #[serde(with = "secret_serde")]
    pub(crate) state: Secret<String>,
    #[serde(with = "secret_serde")]
    pub(crate) verifier: Secret<String>,
    pub(crate) redirect_uri: Url,
    pub(crate) resource: Option<String>,
    /// Resources of other servers that the sign-in is for (RFC 8707 §2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) further_resources: Vec<String>,
    pub(crate) scopes: Scopes,
}

impl AuthorizationRequest {
    /// A request with a fresh `state` and verifier.
    pub(crate) fn new(
        config: &Config,
        metadata: &AuthorizationServerMetadata,
        client: &ClientIdentity,
        redirect_uri: Url,
        resource: Option<String>,
        further_resources: Vec<String>,
        scopes: Scopes,
    ) -> Result<Self, AuthError> {
        let endpoint = metadata.require_authorization_endpoint()?;
        check_endpoint(endpoint)?;
        let verifier = PkceCodeVerifier::new(random::string::<VERIFIER_BYTES>());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let oauth = oauth2::basic::BasicClient::new(ClientId::new(client.id.clone()))
            .set_auth_uri(AuthUrl::from_url(endpoint.clone()))
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        let mut request = oauth
            .authorize_url(|| CsrfToken::new(random::string::<STATE_BYTES>()))
            .set_pkce_challenge(challenge)
            .add_scopes(scopes.iter().map(|scope| Scope::new(scope.to_owned())));
        for resource in resource.iter().chain(&further_resources) {
            request = request.add_extra_param("resource", resource);
        }
        // RFC 9449 §10: the code is of use to nobody without the key.
        if let Some(prover) = &client.prover {
            request = request.add_extra_param("dpop_jkt", prover.key().thumbprint());
        }
        // Only who relies on the ID token needs proof that it answers this request.
        if config.bearer == Bearer::IdToken && scopes.contains("openid") {
            request = request.add_extra_param("nonce", nonce(verifier.secret()));
        }
        // An OpenID provider grants offline access only to who asks the person for consent (OpenID
        // Connect Core §11).
        if scopes.contains("offline_access") && scopes.contains("openid") {
            request = request.add_extra_param("prompt", "consent");
        }
        for (name, value) in &config.authorize_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        check_length(&url)?;
        Ok(Self {
            url,
            issuer: metadata.issuer.clone(),
            client_id: client.id.clone(),
            iss_promised: metadata.authorization_response_iss_parameter_supported,
            state: Secret::new(state.into_secret()),
            verifier: Secret::new(verifier.into_secret()),
            redirect_uri,
            resource,
            further_resources,
            scopes,
        })
    }

    /// True if `answer` belongs to this request.
    pub(crate) fn is_answered_by(&self, answer: &AuthorizationResponse) -> bool {
        match (&answer.state, answer.bearer) {
            (Some(state), _) => equal_in_constant_time(state, self.state.expose()),
            (None, AnswerSource::Person) => true,
            (None, AnswerSource::Browser) => false,
        }
    }

    /// The code in `answer`, checked in the order `state`, `iss`, `error`, `code`: nothing is believed,
    /// nor shown, before it is known who says it (RFC 9207 §2.4).
    pub(crate) fn code(
        &self,
        answer: AuthorizationResponse,
    ) -> Result<Secret<String>, AuthorizationError> {
        if !self.is_answered_by(&answer) {
            return Err(AuthorizationError::WrongState);
        }
        let mismatch = |found: &str| {
            let mismatch = AuthError::ResponseIssuerMismatch {
                expected: self.issuer.clone(),
                found: shown(found),
            };
            Err(AuthorizationError::WrongIssuer(mismatch))
        };
        match answer.iss {
            Some(iss) if iss != self.issuer => return mismatch(&iss),
            None if self.iss_promised => return mismatch("none"),
            Some(_) | None => {}
        }
        if let Some(error) = answer.error {
            return Err(AuthorizationError::Refused {
                description: answer.error_description,
                error,
            });
        }
        answer.code.ok_or(AuthorizationError::NoCode)
    }

    /// The `nonce` that an ID token has to have.
    pub(crate) fn nonce(&self) -> String {
        nonce(self.verifier.expose())
    }

    /// The verifier in the type that the token request takes.
    pub(crate) fn pkce_verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.verifier.expose().clone())
    }
}

/// The `nonce` of a request (OpenID Connect Core §3.1.2.1). Who has the verifier knows it, so it need not be kept, and nobody
/// learns the verifier from it.
fn nonce(verifier: &str) -> String {
    let digest = Sha256::digest(format!("nonce {verifier}"));
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}

/// Authorization response, which the browser brings back (RFC 6749 §4.1.2).
#[derive(Debug, Default)]
pub(crate) struct AuthorizationResponse {
    state: Option<String>,
    iss: Option<String>,
    code: Option<Secret<String>>,
    error: Option<String>,
    error_description: Option<String>,
    bearer: AnswerSource,
}

/// Bringer of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum AnswerSource {
    /// A browser, which any web page can send here.
    #[default]
    Browser,
    /// The person, who typed the code alone and thereby says which sign-in it is for.
    Person,
}

impl AuthorizationResponse {
    /// Reads what a person pasted: the address that the browser ended at, its query, or the code alone.
    pub(crate) fn pasted(text: &str) -> Result<Self, UnusablePaste> {
        let text = text.trim();
        // Base64 may end so.
        let is_query = text.trim_end_matches('=').contains('=');
        if is_query || text.contains("://") {
            let query = query_of(text);
            let answer = Self::parse(query).filter(Self::is_complete);
            let is_request = || {
                let mut names = url::form_urlencoded::parse(query.as_bytes());
                names.any(|(name, _)| name == "client_id")
            };
            return match answer {
                Some(answer) => Ok(answer),
                None if is_request() => Err(UnusablePaste::SignInPage),
                None => Err(UnusablePaste::NoAnswer),
            };
        }
        if !may_be_code(text) {
            return Err(UnusablePaste::Word);
        }
        Ok(Self {
            code: Some(Secret::new(text.to_owned())),
            bearer: AnswerSource::Person,
            ..Self::default()
        })
    }

    /// Returns whether it is a code that a person typed, which names no sign-in and no issuer.
    pub(crate) fn is_code_alone(&self) -> bool {
        self.bearer == AnswerSource::Person
    }

    /// Reads the query of the callback. None if a parameter occurs twice (RFC 6749 §3.1), or if it brings a
    /// code and an error.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        let mut answer = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let known = match &*name {
                "state" => &mut answer.state,
                "iss" => &mut answer.iss,
                "error" => &mut answer.error,
                "error_description" => &mut answer.error_description,
                "code" => {
                    let code = Some(Secret::new(value.into_owned()));
                    if std::mem::replace(&mut answer.code, code).is_some() {
                        return None;
                    }
                    continue;
                }
                _ => continue,
            };
            if known.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let both = answer.code.is_some() && answer.error.is_some();
        (!both).then_some(answer)
    }

    /// True if it carries an outcome at all.
    pub(crate) fn is_complete(&self) -> bool {
        self.code.is_some() || self.error.is_some()
    }
}

/// Reason why something that was pasted is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnusablePaste {
    /// It is no address, and too short or too plain for a code.
    Word,
    /// It is an address without an answer in it.
    NoAnswer,
    /// It is the address of an authorization request.
    SignInPage,
}

/// The query in an address, which may lack its beginning.
pub(crate) fn query_of(address: &str) -> &str {
    let address = address.trim();
    let query = address.split_once('?').map_or(address, |(_, query)| query);
    query.split_once('#').map_or(query, |(query, _)| query)
}

/// Returns whether a word may be an authorization code. Those are random, so a word as people type it is not one.
fn may_be_code(word: &str) -> bool {
    const SHORTEST: usize = 6;
    const SHORTEST_OF_LETTERS: usize = 20;
    let is_one_word = word.bytes().all(|byte| byte.is_ascii_graphic());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    is_one_word
        && word.len()
            >= if has_digit {
                SHORTEST
            } else {
                SHORTEST_OF_LETTERS
            }
}

/// Reason why an answer brings no code.
#[derive(Debug)]
pub(crate) enum AuthorizationError {
    /// It does not belong to this request.
    WrongState,
    /// Another authorization server speaks.
    WrongIssuer(AuthError),
    /// The authorization server says no (RFC 6749 §4.1.2.1).
    Refused {
        error: String,
        description: Option<String>,
    },
    /// Neither a code nor an error.
    NoCode,
}

impl From<AuthorizationError> for AuthError {
    fn from(error: AuthorizationError) -> Self {
        match error {
            AuthorizationError::WrongIssuer(mismatch) => mismatch,
            AuthorizationError::Refused { error, description } => Self::Denied {
                reason: shown(&match description {
                    Some(description) => format!("{error}: {description}"),
                    None => error,
                }),
            },
            AuthorizationError::WrongState => Self::Denied {
                reason: "the answer belongs to another sign-in".into(),
            },
            AuthorizationError::NoCode => Self::Denied {
                reason: "the answer has no code".into(),
            },
        }
    }
}

/// Refuses what must not be given to a browser. It gets a web address of a host, over https or to this machine.
///
/// Browser launchers have run programs for URLs of other schemes (CVE-2025-6514).
pub(crate) fn check_endpoint(endpoint: &Url) -> Result<(), AuthError> {
    let reason = match endpoint.scheme() {
        "https" if endpoint.host().is_some() => None,
        "http" if is_loopback(endpoint) => None,
        "http" => Some("the sign-in page needs https"),
        _ => Some("it is no web address"),
    };
    let has_user = !endpoint.username().is_empty() || endpoint.password().is_some();
    match reason.or(has_user.then_some("it carries a user name")) {
        None => Ok(()),
        Some(reason) => Err(AuthError::UnsafeUrl {
            url: shown(bare(endpoint).as_str()),
            reason: reason.into(),
        }),
    }
}

/// Compares without telling by its duration how much agrees: any web page can send us guesses.
fn equal_in_constant_time(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .fold(0, |different, (a, b)| different | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_word_is_no_code_and_an_address_needs_an_answer() {
        for (text, expected) in [
            ("hello", Some(UnusablePaste::Word)),
            ("yes please", Some(UnusablePaste::Word)),
            ("", Some(UnusablePaste::Word)),
            ("copy-the-address", Some(UnusablePaste::Word)),
            ("http://localhost:3334/", Some(UnusablePaste::NoAnswer)),
            (
                "http://localhost:3334/oauth/callback?state=s",
                Some(UnusablePaste::NoAnswer),
            ),
            (
                "https://auth.example/authorize?client_id=c&state=s",
                Some(UnusablePaste::SignInPage),
            ),
            ("http://localhost:3334/oauth/callback?code=c&state=s", None),
            ("localhost:3334/oauth/callback?code=c&state=s#_=_", None),
            ("?code=c&state=s", None),
            ("error=access_denied&state=s", None),
            ("4/0AbCdEf-gh", None),
            ("SplxlOBeZQQYbYS6WxSbIA==", None),
        ] {
            let found = AuthorizationResponse::pasted(text).err();
            assert_eq!(found, expected, "{text}");
        }
    }
}
