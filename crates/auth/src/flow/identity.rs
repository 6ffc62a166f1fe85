//! Enterprise-managed authorization: the sign-in at the company's identity provider as a grant at the authorization servers of
//! MCP servers (MCP extension `io.modelcontextprotocol/enterprise-managed-authorization`;
//! draft-ietf-oauth-identity-assertion-authz-grant).
//!
//! The identity is a session of its own, with the identity provider in the place of the server: it has a record, locks, refreshes
//! and a page like any other, and its key tells nothing of an MCP server. So all servers of a company share it.
//!
//! ```text
//! sign-in or refresh at the identity provider ─ ID token, checked
//! token exchange at the identity provider     ─ grant for one authorization server (ID-JAG)
//! JWT bearer at that authorization server     ─ token for one MCP server
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use url::Url;

use crate::client::registration::{ClientIdentity, ClientRegistration};
use crate::config::{Bearer, Config, Dpop, Grant, IdentityProvider, ResourceParameter, TokenType};
use crate::discovery::Discovered;
use crate::discovery::authorization_server::{
    AuthorizationServerMetadata, fetch_authorization_server,
};
use crate::discovery::challenge::BearerChallenge;
use crate::discovery::search::Search;
use crate::error::{AuthError, ClockDifference, shown};
use crate::flow::client_choice::client_of;
use crate::flow::order::{Order, Wanted};
use crate::flow::policy::{self, Interaction};
use crate::flow::session::SignInSession;
use crate::grant::extension_grant::ExchangeRequest;
use crate::grant::token_endpoint::{GrantError, Granted, TokenEndpoint};
use crate::store::Credential;
use crate::token::id_token::{ExpectedClaims, IdToken};
use crate::token::scope::Scopes;
use crate::token::{AccessToken, unix_millis};
use crate::transport::NoDocument;
use mcp_bridge_text::secret::Secret;

/// Scope of the sign-in at an identity provider (OpenID Connect Core §3.1.2.1).
const OPENID: &str = "openid";

/// Limit for the document with the keys of an identity provider.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

/// Age below which an identity that is refused is not asked for again: the next one would be refused, too, and each would open
/// a page.
const YOUNG: Duration = Duration::from_secs(300);

/// Codes that ask for the person (OpenID Connect Core §3.1.2.6, RFC 9470 §3), or say that the identity is over.
const IDENTITY_IS_OVER: [&str; 5] = [
    "invalid_grant",
    "interaction_required",
    "login_required",
    "consent_required",
    "insufficient_user_authentication",
];

impl Config {
    /// The configuration of the sign-in at `provider`.
    pub(crate) fn at_identity_provider(&self, provider: &IdentityProvider) -> Self {
        Self {
            server_as_given: None,
            headers_as_given: Secret::new(Vec::new()),
            mcp_remote_directory: None,
            identity_headers: Secret::new(Vec::new()),
            issuer: Some(provider.issuer.as_str().to_owned()),
            client: Some(provider.client.clone()),
            client_metadata: serde_json::Map::new(),
            client_metadata_url: None,
            scope: provider.scope.clone(),
            resource: ResourceParameter::Omitted,
            bearer: Bearer::IdToken,
            dpop: Dpop::Off,
            grant: Grant::AuthorizationCode,
            command: None,
            ..self.clone()
        }
    }
}

/// A token of the identity provider, as the subject of an exchange.
struct IdentitySubject {
    token: Secret<String>,
    token_type: TokenType,
    metadata: AuthorizationServerMetadata,
    client: ClientIdentity,
    /// Token that stands for the identity in the session; none if it comes from outside.
    identity: Option<AccessToken>,
}

/// A grant for the authorization server of `credential`, from the identity provider. It is made for one request: it lives for
/// minutes.
///
/// The type of the future is named, because the policy of the identity's session is the one that leads here.
pub(crate) fn obtain_grant<'a>(
    session: &'a SignInSession,
    provider: &'a IdentityProvider,
    credential: &'a Credential,
    scopes: &'a Scopes,
    interaction: Interaction,
) -> Pin<Box<dyn Future<Output = Result<Secret<String>, AuthError>> + Send + 'a>> {
    Box::pin(find_grant(
        session,
        provider,
        credential,
        scopes,
        interaction,
    ))
}

async fn find_grant(
    session: &SignInSession,
    provider: &IdentityProvider,
    credential: &Credential,
    scopes: &Scopes,
    interaction: Interaction,
) -> Result<Secret<String>, AuthError> {
    let Some(identity) = &session.identity else {
        return Err(AuthError::Interrupted);
    };
    let first = subject(identity, provider, Wanted::Fresh, interaction).await?;
    let refusal = match exchange(identity, &first, credential, scopes).await {
        Ok(grant) => return Ok(grant),
        Err(refusal) => refusal,
    };
    let is_over =
        matches!(&refusal, GrantError::Refused(it) if IDENTITY_IS_OVER.contains(&it.code()));
    let refused = first.identity.filter(|_| is_over && !is_young(identity));
    let Some(refused) = refused else {
        return Err(about(provider, credential, refusal));
    };
    let wanted = Wanted::OtherThan(Some(refused));
    let second = subject(identity, provider, wanted, interaction).await?;
    let grant = exchange(identity, &second, credential, scopes).await;
    grant.map_err(|refusal| about(provider, credential, refusal))
}

/// True if the identity was obtained only just now, by whichever process.
fn is_young(identity: &SignInSession) -> bool {
    let tokens = identity.credential().and_then(|it| it.tokens);
    let age = tokens.map(|it| unix_millis(SystemTime::now()).saturating_sub(it.obtained_at));
    age.is_some_and(|age| Duration::from_millis(age) < YOUNG)
}

/// The ID token, or the refresh token where the identity provider renews no ID tokens.
async fn subject(
    identity: &Arc<SignInSession>,
    provider: &IdentityProvider,
    wanted: Wanted,
    interaction: Interaction,
) -> Result<IdentitySubject, AuthError> {
    if let Some(source) = &provider.id_token {
        let token = source.read().await?;
        let now = unix_millis(SystemTime::now()) / 1000;
        if let Some(parsed) = IdToken::parse(token.expose()) {
            parsed
                .check_time(now)
                .map_err(|reason| source.failed(reason))?;
            warn_of_clock(provider.issuer.as_str(), parsed.clock_ahead(now));
        }
        let metadata = metadata(identity).await?;
        let client = ClientRegistration::PreRegistered;
        let client = client.client(&identity.config, &metadata, None);
        return Ok(IdentitySubject {
            token,
            token_type: TokenType::ID_TOKEN,
            client: client.ok_or(AuthError::Interrupted)?,
            metadata,
            identity: None,
        });
    }
    policy::token(identity).await;
    if !identity.has_usable(&wanted) {
        sign_in(identity, wanted, interaction).await?;
    }
    let credential = identity.credential().ok_or(AuthError::Interrupted)?;
    let client = client_of(identity, &credential)?;
    let tokens = credential.tokens.as_ref().ok_or(AuthError::Interrupted)?;
    let (token, token_type) = match (&tokens.id_token, &tokens.refresh_token) {
        (Some(token), _) => (Secret::new(token.expose().to_owned()), TokenType::ID_TOKEN),
        (None, Some(token)) => (token.clone(), TokenType::REFRESH_TOKEN),
        (None, None) => return Err(no_identity(&identity.server, "it issued no ID token", None)),
    };
    Ok(IdentitySubject {
        token,
        token_type,
        client,
        metadata: credential.metadata.clone(),
        identity: identity.token(),
    })
}

/// Renews the identity, or asks the person.
async fn sign_in(
    identity: &Arc<SignInSession>,
    wanted: Wanted,
    interaction: Interaction,
) -> Result<(), AuthError> {
    let challenge = BearerChallenge {
        scope: Some(OPENID.to_owned()),
        ..BearerChallenge::default()
    };
    let mut order = Order::new(challenge, wanted);
    if interaction == Interaction::Allowed {
        order = order.with_discovered(Some(Discovered {
            resource: None,
            metadata: metadata(identity).await?,
        }));
    }
    policy::replace(identity, order, interaction).await
}

/// The metadata of the identity provider.
pub(crate) async fn metadata(
    identity: &SignInSession,
) -> Result<AuthorizationServerMetadata, AuthError> {
    let config = &identity.config;
    let issuer = config.issuer.as_deref().unwrap_or_default();
    let mut search = Search::new(&identity.transport);
    fetch_authorization_server(&mut search, issuer, config.issuer_check).await
}

async fn exchange(
    identity: &SignInSession,
    subject: &IdentitySubject,
    credential: &Credential,
    scopes: &Scopes,
) -> Result<Secret<String>, GrantError> {
    let endpoint = TokenEndpoint {
        transport: &identity.transport,
        metadata: &subject.metadata,
        client: &subject.client,
    };
    let exchange = ExchangeRequest {
        subject: subject.token.clone(),
        subject_type: &subject.token_type,
        audience: Some(&credential.metadata.issuer),
        resource: credential.resource(),
        scopes,
    };
    endpoint
        .exchange_for_grant(&exchange, &TokenType::ID_JAG)
        .await
}

/// The error that names the side which refused.
fn about(provider: &IdentityProvider, credential: &Credential, refusal: GrantError) -> AuthError {
    match refusal {
        GrantError::Refused(refusal) => AuthError::IdentityRefused {
            provider: provider.issuer.as_str().to_owned(),
            audience: credential.metadata.issuer.clone(),
            reason: refusal.reason().to_owned(),
        },
        GrantError::Failed(error) => error,
    }
}

fn no_identity(provider: &Url, reason: &str, clock: Option<ClockDifference>) -> AuthError {
    AuthError::InvalidIdentity {
        provider: provider.to_string(),
        reason: reason.to_owned(),
        clock,
    }
}

/// Tells the person of a wrong clock, which has done no harm yet.
fn warn_of_clock(issuer: &str, clock: Option<ClockDifference>) {
    if let Some(clock) = clock {
        let issuer = shown(issuer);
        tracing::warn!("the clock of this machine is {clock} that of {issuer}: set it right");
    }
}

/// Looks at the clocks where nothing else of an ID token is used, once for each sign-in.
fn look_at_clock(credential: &Credential, nonce: Option<&str>, granted: &Granted) {
    let issued = granted.tokens.id_token.as_ref().filter(|_| nonce.is_some());
    let token = issued.and_then(|it| IdToken::parse(it.expose()));
    let now = unix_millis(SystemTime::now()) / 1000;
    let clock = token.and_then(|token| token.clock_at_issue(now));
    warn_of_clock(&credential.metadata.issuer, clock);
}

/// Checks the ID token that an identity provider has just issued, for a request with this `nonce` or for a refresh. Its
/// lifetime is that of the tokens from then on: nothing else of them is used.
pub(crate) async fn verified(
    session: &SignInSession,
    credential: &Credential,
    nonce: Option<&str>,
    mut granted: Granted,
) -> Result<Granted, GrantError> {
    if !session.is_identity() {
        look_at_clock(credential, nonce, &granted);
        return Ok(granted);
    }
    let invalid = |reason: &str| GrantError::Failed(no_identity(&session.server, reason, None));
    let before = credential
        .tokens
        .as_ref()
        .and_then(|it| it.id_token.as_ref());
    let issued = granted.tokens.id_token.take();
    let issued = issued.filter(|it| nonce.is_some() || Some(it) != before);
    let Some(text) = issued else {
        return match nonce {
            // A refresh need not bring one (OpenID Connect Core §12.2).
            None => Ok(granted),
            Some(_) => Err(invalid("it issued no ID token")),
        };
    };
    let token = IdToken::parse(text.expose()).ok_or_else(|| invalid("its ID token is no JWT"))?;
    let client = session.config.client.as_ref();
    let expected = ExpectedClaims {
        issuer: &credential.metadata.issuer,
        client_id: client.map_or("", |client| &client.id),
        nonce,
        now: unix_millis(SystemTime::now()) / 1000,
    };
    let clock = token.clock_at_issue(expected.now);
    let wrong = |reason: String| {
        let reason = format!("its ID token cannot be used: {reason}");
        GrantError::Failed(no_identity(&session.server, &reason, clock))
    };
    token.check(expected).map_err(wrong)?;
    if let Some(url) = &credential.metadata.jwks_uri {
        let keys = session.transport.fetch_document(url, KEYS_TIMEOUT).await;
        let keys = keys.map_err(|missing| GrantError::Failed(without_keys(url, missing)))?;
        token.check_signature(&keys).map_err(wrong)?;
    }
    warn_of_clock(&credential.metadata.issuer, clock);
    if let Some(lifetime) = token.lifetime() {
        granted.tokens.lifetime = Some(lifetime.as_secs());
    }
    granted.tokens.id_token = Some(text);
    Ok(granted)
}

fn without_keys(url: &Url, missing: NoDocument) -> AuthError {
    match missing {
        NoDocument::Absent(status) => AuthError::Metadata {
            url: url.clone(),
            reason: format!("the keys of the identity provider are not there ({status})"),
        },
        NoDocument::Unusable(error)
        | NoDocument::Unreachable(error)
        | NoDocument::TimedOut(error) => error,
    }
}
