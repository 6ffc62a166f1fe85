//! Device code sign-in (device authorization grant, RFC 8628): on another device, with a code that is shown here.

use std::time::Duration;

use oauth2::StandardDeviceAuthorizationResponse;
use url::Url;

use crate::client::authentication::LearntMethod;
use crate::client::registration::ClientRegistration;
use crate::client::registration_request::{ClientType, register};
use crate::discovery::{Discovered, resource_parameter};
use crate::error::{AuthError, shown};
use crate::flow::client_choice::{self, ClientChoice, client_of, refuse_foreign_issuer};
use crate::flow::order::Order;
use crate::flow::proof_of_possession::equip;
use crate::flow::session::{SignInSession, TokenSource};
use crate::flow::shared_sign_in;
use crate::grant::token_endpoint::{GrantError, TokenEndpoint};
use crate::prompt::announcement::SIGN_IN_TARGET;
use crate::sign_in_page::{SignInPage, SignInStage};
use crate::store::{Credential, Voucher};
use crate::transport::error_code::Meaning;
use mcp_bridge_net::http::check_length;
use mcp_bridge_net::observer::SignInStep;
use mcp_bridge_text::printable::{NO_IDENTIFIER, is_identifier};

/// A redirect URI that nothing ever comes to: registration asks for one even of devices without a browser.
const UNUSED_REDIRECT_URI: &str = "http://127.0.0.1/";

/// Shows the code and waits for the person. A stored client that the server has forgotten is registered anew, once.
pub(crate) async fn sign_in(session: &SignInSession, order: &Order) -> Result<(), AuthError> {
    let config = &session.config;
    let discovered = order.discover(session).await?;
    let metadata = &discovered.metadata;
    refuse_foreign_issuer(session, metadata, order.reason)?;
    let stored = session.load_stored(&metadata.issuer).await;
    let remembered = client_choice::remembered(stored.as_ref(), &config.grant);
    let attempt = DeviceSignIn {
        session,
        order,
        discovered,
        learnt: stored.and_then(|stored| stored.quirks.authentication),
    };
    let outcome = match ClientChoice::new(config, metadata, remembered) {
        ClientChoice::Configured(client) => attempt.run(client).await,
        ClientChoice::Remembered(client) => {
            match attempt.run(ClientRegistration::Dynamic(client)).await {
                Err(failure) if failure.is_about_client() => {
                    tracing::info!(
                        "the authorization server does not accept this client; registering anew"
                    );
                    attempt.register_and_run().await
                }
                outcome => outcome,
            }
        }
        ClientChoice::Unregistered => attempt.register_and_run().await,
    };
    outcome.map_err(|failure| failure.into_error(config.timeout))
}

/// A sign-in with one client.
struct DeviceSignIn<'a> {
    session: &'a SignInSession,
    order: &'a Order,
    discovered: &'a Discovered,
    learnt: Option<LearntMethod>,
}

impl DeviceSignIn<'_> {
    async fn register_and_run(&self) -> Result<(), DeviceSignInFailure> {
        let SignInSession {
            transport, config, ..
        } = self.session;
        let unused = Url::parse(UNUSED_REDIRECT_URI).expect("a constant URL parses");
        let metadata = &self.discovered.metadata;
        let new = register(transport, config, metadata, &unused, ClientType::Public).await?;
        self.run(ClientRegistration::Dynamic(new)).await
    }

    async fn run(&self, registration: ClientRegistration) -> Result<(), DeviceSignInFailure> {
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
            resource_parameter(config, &session.server, discovered.resource.as_ref()),
            registration,
        );
        credential.quirks.authentication = self.learnt;
        if session.is_shared() {
            credential.voucher = Some(Voucher::SharedSignIn(session.store.account_name()));
        }
        let stored = session.load_stored(&credential.metadata.issuer).await;
        let stored = stored.as_ref();
        equip(
            session,
            self.order,
            Some(discovered),
            stored,
            &mut credential,
        )?;
        let client = client_of(session, &credential)?;
        let endpoint = TokenEndpoint {
            transport: &session.transport,
            metadata: &credential.metadata,
            client: &client,
        };
        let scopes = self.order.select_scopes(config, Some(discovered));
        let codes = endpoint
            .device_codes(device_endpoint, &scopes, credential.resource())
            .await
            .map_err(|error| DeviceSignInFailure::Grant(error, None))?;
        let page = show_code(session, &codes).await?;
        let granted = endpoint
            .device_tokens(&codes, scopes, credential.resource(), config.timeout)
            .await
            .map_err(|error| DeviceSignInFailure::Grant(error, Some(page)))?;
        shared_sign_in::examine(session, &mut credential, &client, None, &granted).await?;
        credential.receive(granted);
        session.adopt(credential, TokenSource::SignIn).await;
        Ok(())
    }
}

/// Shows the page and the code. Returns the page.
async fn show_code(
    session: &SignInSession,
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
    session.transport.step(SignInStep::Waiting, || {
        format!("waiting for a person at {plain}")
    });
    tracing::warn!(
        target: SIGN_IN_TARGET,
        "{} wants you to sign in. On any device, open\n{}\nand enter the code {}",
        session.server.host_str().unwrap_or_default(),
        plain,
        shown(codes.user_code().secret()),
    );
    Ok(page)
}

/// A page that a person may be sent to.
async fn verification_page(session: &SignInSession, text: &str) -> Result<Url, AuthError> {
    if !is_identifier(text) {
        return Err(AuthError::UnsafeUrl {
            url: shown(text),
            reason: NO_IDENTIFIER.to_owned(),
        });
    }
    let page = Url::parse(text).map_err(|error| AuthError::UnsafeUrl {
        url: shown(text),
        reason: error.to_string(),
    })?;
    check_length(&page)?;
    session.transport.check_page(&page).await?;
    Ok(page)
}

/// Reason why an attempt brought no tokens.
enum DeviceSignInFailure {
    /// The endpoints' answer, and the page that was shown by then.
    Grant(GrantError, Option<Url>),
    Other(AuthError),
}

impl From<AuthError> for DeviceSignInFailure {
    fn from(error: AuthError) -> Self {
        Self::Other(error)
    }
}

impl DeviceSignInFailure {
    fn is_about_client(&self) -> bool {
        matches!(self, Self::Grant(GrantError::Refused(refusal), _)
            if refusal.meaning() == Meaning::ClientIsDead)
    }

    fn into_error(self, limit: Duration) -> AuthError {
        match self {
            Self::Grant(error, page) => into_error(error, limit, page),
            Self::Other(error) => error,
        }
    }
}

/// RFC 8628 §3.5: the codes have run out, or the person said no.
fn into_error(error: GrantError, limit: Duration, page: Option<Url>) -> AuthError {
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
