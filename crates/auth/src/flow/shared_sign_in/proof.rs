//! Proof that an access token is for one server alone: by its own audience, or by the word of the authorization server
//! (RFC 7662).
//!
//! Without it a server that gets the token could use it at the others, so it is asked of each token of a shared sign-in.

use std::time::SystemTime;

use crate::client::registration::ClientIdentity;
use crate::error::{AuthError, shown};
use crate::flow::session::SignInSession;
use crate::grant::authorization::AuthorizationRequest;
use crate::grant::token_endpoint::{Granted, TokenEndpoint};
use crate::store::{Credential, SharedGrant};
use crate::token::{AccessToken, audience, unix_millis};

/// Audiences of a token that are named in a message.
const MOST_SHOWN: usize = 3;

/// Examines what the sign-in of a shared account has brought, and notes in `credential` whether it can be shared. An error if the
/// request was for several servers, and its token may be good at more than one of them: it is for nobody then. A sign-in with a
/// device code has no `request`.
pub(crate) async fn examine(
    session: &SignInSession,
    credential: &mut Credential,
    client: &ClientIdentity,
    request: Option<&AuthorizationRequest>,
    granted: &Granted,
) -> Result<(), AuthError> {
    if !session.is_shared() {
        return Ok(());
    }
    let (asked, further) = match request {
        Some(request) => (request.resource.clone(), request.further_resources.clone()),
        None => (credential.resource().map(str::to_owned), Vec::new()),
    };
    if asked.is_some() {
        credential.resource.clone_from(&asked);
    }
    let token = &granted.tokens.access_token;
    let mut unproven = objection_to(session, credential, client, token, asked.as_deref()).await;
    if unproven.is_none() && granted.tokens.refresh_token.is_none() {
        unproven = Some("it issues no refresh token".to_owned());
    }
    if let Some(reason) = &unproven {
        tracing::info!(%reason, "the sign-in can't be shared with other servers");
        if !further.is_empty() {
            return Err(AuthError::NotShared {
                issuer: credential.metadata.issuer.clone(),
                reason: reason.clone(),
            });
        }
    }
    credential.shared = Some(SharedGrant {
        signed_in_at: unix_millis(SystemTime::now()),
        resources: asked.into_iter().chain(further).collect(),
        unproven,
    });
    Ok(())
}

/// The reason why the token of `credential` is not proven to be for its server alone; none if it is.
pub(super) async fn objection(
    session: &SignInSession,
    credential: &Credential,
    client: &ClientIdentity,
) -> Option<String> {
    let Some(tokens) = &credential.tokens else {
        return Some("there is no token".to_owned());
    };
    let asked = credential.resource();
    objection_to(session, credential, client, &tokens.access_token, asked).await
}

async fn objection_to(
    session: &SignInSession,
    credential: &Credential,
    client: &ClientIdentity,
    token: &AccessToken,
    asked: Option<&str>,
) -> Option<String> {
    let Some(asked) = asked else {
        return Some("it takes no resource parameter".to_owned());
    };
    let audience = match audience::of_jwt(token.expose()) {
        Some(audience) => audience,
        None => match introspected(session, credential, client, token).await {
            Ok(audience) => audience,
            Err(reason) => return Some(reason),
        },
    };
    if audience == [asked] {
        return None;
    }
    let found: Vec<_> = audience
        .iter()
        .take(MOST_SHOWN)
        .map(|it| shown(it))
        .collect();
    Some(match &*found {
        [] => "its token is for no server in particular".to_owned(),
        found => format!(
            "its token is for {} instead of {}",
            found.join(", "),
            shown(asked)
        ),
    })
}

/// The audience of a token by the word of the authorization server, or the reason why there is none.
async fn introspected(
    session: &SignInSession,
    credential: &Credential,
    client: &ClientIdentity,
    token: &AccessToken,
) -> Result<Vec<String>, String> {
    const OPAQUE: &str = "its tokens do not say which server they are for";
    let metadata = &credential.metadata;
    let Some(url) = metadata.introspection_endpoint.clone() else {
        return Err(OPAQUE.to_owned());
    };
    let endpoint = TokenEndpoint {
        transport: &session.transport,
        metadata,
        client,
    };
    match endpoint.introspect(url, token).await {
        Ok(audience) => audience.ok_or_else(|| OPAQUE.to_owned()),
        Err(error) => Err(format!(
            "{OPAQUE}, and asking fails: {}",
            error.into_error()
        )),
    }
}
