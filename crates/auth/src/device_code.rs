//! Sign-in on another device, with a code that is shown here (RFC 8628).

use std::time::Duration;

use oauth2::StandardDeviceAuthorizationResponse;
use url::Url;

use super::SignInStage;
use super::attempt::{client_of, usable_registration};
use super::client_authentication::LearntMethod;
use super::discovery::{Discovered, discover, refuse_foreign_issuer, resource_parameter, scopes};
use super::error::AuthError;
use super::grant::{GrantError, Meaning, TokenEndpoint};
use super::registration::ClientRegistration;
use super::registration_request::{Kind, register};
use super::session::{Session, Source};
use super::sign_in::{Order, SIGN_IN_TARGET};
use super::sign_in_page::SignInPage;
use super::store::Credential;
use mcp_bridge_net::http::check_length;
use mcp_bridge_text::printable::{NO_IDENTIFIER, is_identifier};

/// A redirect URI that nothing ever comes to: registration asks for one even of devices without a browser.
const UNUSED_REDIRECT_URI: &str = "http://127.0.0.1/";

/// Shows the code and waits for the person. A stored client that the server has forgotten is registered anew, once.
pub(super) async fn sign_in(session: &Session, order: &Order) -> Result<(), AuthError> {
    let config = &session.config;
    let discovered = discover(session, order).await?;
    let metadata = &discovered.metadata;
    refuse_foreign_issuer(
        config,
        session.credential().as_ref(),
        metadata,
        order.reason,
    )?;
    let stored = session.stored(&metadata.issuer).await;
    let registered = stored
        .as_ref()
        .and_then(usable_registration)
        .filter(|registration| registration.is_for(&config.grant));
    let learnt = stored.and_then(|stored| stored.quirks.authentication);
    let attempt = Attempt {
        session,
        order,
        discovered: &discovered,
        learnt,
    };
    let given = ClientRegistration::without_request(config, metadata);
    if let Some(client) = given {
        return attempt
            .run(client)
            .await
            .map_err(|failure| failure.into_error(config.timeout));
    }
    if let Some(registered) = registered {
        match attempt.run(ClientRegistration::Dynamic(registered)).await {
            Err(failure) if failure.is_about_client() => {
                tracing::info!(
                    "the authorization server does not accept this client; registering anew"
                );
            }
            outcome => return outcome.map_err(|failure| failure.into_error(config.timeout)),
        }
    }
    let unused = Url::parse(UNUSED_REDIRECT_URI).expect("a constant URL parses");
    let new = register(&session.transport, config, metadata, &unused, Kind::Public).await?;
    attempt
        .run(ClientRegistration::Dynamic(new))
        .await
        .map_err(|failure| failure.into_error(config.timeout))
}

/// A sign-in with one client.
struct Attempt<'a> {
    session: &'a Session,
    order: &'a Order,
    discovered: &'a Discovered,
    learnt: Option<LearntMethod>,
}

impl Attempt<'_> {
    async fn run(&self, registration: ClientRegistration) -> Result<(), Failure> {
        let Self {
            session,
            discovered,
            ..
        } = *self;
        let config = &session.config;
        let metadata = discovered.metadata.clone();
        let device_endpoint = metadata.require_device_endpoint()?.clone();
        let mut credential = Credential::new(
            session.server.clone(),
            metadata,
            resource_parameter(session, discovered.resource.as_ref()),
            registration,
        );
        credential.quirks.authentication = self.learnt;
        let client = client_of(session, &credential)?;
        let endpoint = TokenEndpoint {
            transport: &session.transport,
            metadata: &credential.metadata,
            client: &client,
        };
        let scopes = scopes(config, self.order, discovered);
        let codes = endpoint
            .device_codes(device_endpoint, &scopes, credential.resource())
            .await
            .map_err(|error| Failure::Grant(error, None))?;
        let page = show(session, &codes).await?;
        let granted = endpoint
            .device_tokens(&codes, scopes, credential.resource(), config.timeout)
            .await
            .map_err(|error| Failure::Grant(error, Some(page)))?;
        credential.receive(granted);
        session.adopt(credential, Source::SignIn).await;
        Ok(())
    }
}

/// Shows the page and the code. Returns the page.
async fn show(
    session: &Session,
    codes: &StandardDeviceAuthorizationResponse,
) -> Result<Url, AuthError> {
    let plain = verification_page(session, codes.verification_uri().as_str()).await?;
    let page = match codes.verification_uri_complete() {
        Some(complete) => verification_page(session, complete.secret()).await?,
        None => plain.clone(),
    };
    session
        .stage
        .send_replace(SignInStage::Page(SignInPage::whole(page.clone())));
    tracing::warn!(
        target: SIGN_IN_TARGET,
        "{} wants you to sign in. On any device, open\n{}\nand enter the code {}",
        session.server.host_str().unwrap_or_default(),
        plain,
        super::error::shown(codes.user_code().secret()),
    );
    Ok(page)
}

/// A page that a person may be sent to.
async fn verification_page(session: &Session, text: &str) -> Result<Url, AuthError> {
    if !is_identifier(text) {
        return Err(AuthError::UnsafeUrl {
            url: super::error::shown(text),
            reason: NO_IDENTIFIER.to_owned(),
        });
    }
    let page = Url::parse(text).map_err(|error| AuthError::UnsafeUrl {
        url: super::error::shown(text),
        reason: error.to_string(),
    })?;
    check_length(&page)?;
    session.transport.check_page(&page).await?;
    Ok(page)
}

/// Why an attempt brought no tokens.
enum Failure {
    /// The endpoints' answer, and the page that was shown by then.
    Grant(GrantError, Option<Url>),
    Other(AuthError),
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    fn is_about_client(&self) -> bool {
        matches!(self, Self::Grant(GrantError::Refused(refusal), _)
            if refusal.meaning() == Meaning::ClientIsDead)
    }

    fn into_error(self, limit: Duration) -> AuthError {
        match self {
            Self::Grant(error, page) => outcome(error, limit, page),
            Self::Other(error) => error,
        }
    }
}

/// RFC 8628 §3.5: the codes have run out, or the person said no.
fn outcome(error: GrantError, limit: Duration, page: Option<Url>) -> AuthError {
    match error {
        GrantError::Refused(refusal) if refusal.code() == "expired_token" => AuthError::TimedOut {
            limit,
            url: page.map(SignInPage::whole),
        },
        GrantError::Refused(refusal) if refusal.code() == "access_denied" => AuthError::Denied {
            reason: refusal.reason().into(),
        },
        other => other.into_error(),
    }
}
