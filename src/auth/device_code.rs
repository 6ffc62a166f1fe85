//! A person signs in on any device, with a code that is shown here (RFC 8628).

use url::Url;

use super::SignInStage;
use super::attempt::{client_of, usable_registration};
use super::authorization::check_endpoint;
use super::discovery::{discover, refuse_foreign_issuer, resource_parameter, scopes};
use super::error::AuthError;
use super::grant::{GrantError, TokenEndpoint};
use super::registration::{ClientRegistration, register};
use super::session::{Session, Source};
use super::sign_in::{Order, SIGN_IN_TARGET};
use super::store::Credential;

/// A redirect URI that nothing ever comes to: registration asks for one even of devices without a browser.
const UNUSED_REDIRECT_URI: &str = "http://127.0.0.1/";

/// Shows the code and waits for the person.
pub(super) async fn sign_in(session: &Session, order: &Order) -> Result<(), AuthError> {
    let config = &session.config;
    let discovered = discover(session, order).await?;
    let metadata = discovered.metadata.clone();
    refuse_foreign_issuer(
        config,
        session.credential().as_ref(),
        &metadata,
        order.reason,
    )?;
    let device_endpoint = metadata.require_device_endpoint()?.clone();
    let issuer = metadata.issuer.clone();
    let stored = session
        .with_store(move |store| store.load_issuer(&issuer))
        .await
        .flatten();
    let registered = stored.as_ref().and_then(usable_registration);
    let registration = match (
        ClientRegistration::without_request(config, &metadata),
        registered,
    ) {
        (Some(given), _) => given,
        (None, Some(registered)) => ClientRegistration::Dynamic(registered),
        (None, None) => {
            let unused = Url::parse(UNUSED_REDIRECT_URI).expect("a constant URL parses");
            let registered = register(&session.transport, config, &metadata, &unused).await?;
            ClientRegistration::Dynamic(registered)
        }
    };
    let mut credential = Credential::new(
        session.server.clone(),
        metadata,
        resource_parameter(session, discovered.resource.as_ref()),
        registration,
    );
    let client = client_of(session, &credential)?;
    let endpoint = TokenEndpoint {
        transport: &session.transport,
        metadata: &credential.metadata,
        client: &client,
    };
    let scopes = scopes(config, order, &discovered);
    let codes = endpoint
        .device_codes(device_endpoint, &scopes, credential.resource())
        .await
        .map_err(GrantError::into_error)?;
    let page = codes
        .verification_uri_complete()
        .map_or(codes.verification_uri().as_str(), |complete| {
            complete.secret()
        });
    let page = Url::parse(page).map_err(|error| AuthError::UnsafeUrl {
        url: super::error::shown(page),
        reason: error.to_string(),
    })?;
    check_endpoint(&page)?;
    session.stage.send_replace(SignInStage::Page(page.clone()));
    tracing::warn!(
        target: SIGN_IN_TARGET,
        "{} wants you to sign in. On any device, open\n{}\nand enter the code {}",
        session.server.host_str().unwrap_or_default(),
        codes.verification_uri().as_str(),
        super::error::shown(codes.user_code().secret()),
    );
    let tokens = endpoint
        .device_tokens(&codes, scopes, credential.resource(), config.timeout)
        .await
        .map_err(|error| outcome(error, config.timeout, page))?;
    credential.tokens = Some(tokens);
    session.adopt(credential, Source::SignIn).await;
    Ok(())
}

/// RFC 8628 §3.5: the codes have run out, or the person said no.
fn outcome(error: GrantError, limit: std::time::Duration, page: Url) -> AuthError {
    match error {
        GrantError::Refused(refusal) if refusal.code() == "expired_token" => AuthError::TimedOut {
            limit,
            url: Some(page),
        },
        GrantError::Refused(refusal) if refusal.code() == "access_denied" => AuthError::Denied {
            reason: refusal.reason().into(),
        },
        other => other.into_error(),
    }
}
