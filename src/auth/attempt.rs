//! From a refused request to an authorization request that can be shown to a person.

use std::time::SystemTime;

use url::Url;

use super::authorization::AuthorizationRequest;
use super::authorization_server::AuthorizationServerMetadata;
use super::config::{ClientAuthentication, Config};
use super::discovery::{discover, refuse_foreign_issuer, resource_parameter, scopes};
use super::error::AuthError;
use super::loopback::{LoopbackListener, LoopbackServer, Ports};
use super::mcp_remote;
use super::registration::{Client, ClientRegistration, DynamicRegistration};
use super::registration_request::{Kind, register};
use super::scope::Scopes;
use super::session::Session;
use super::sign_in::{Order, Reason};
use super::store::Credential;

/// How many ports beside the derived one are tried, so that the redirect URI changes seldom.
const NEIGHBOUR_PORTS: u16 = 7;

/// A sign-in that is ready for a person: the listener is bound, the client is known there.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) credential: Credential,
    pub(super) client: Client,
    pub(super) request: AuthorizationRequest,
    pub(super) listener: LoopbackServer,
    /// Whether a code turned out to be used up; that is worth another try, once.
    pub(super) has_lost_code: bool,
    /// What the scopes are chosen from if the request has to be made again.
    scopes: Scopes,
    /// Where the client came from.
    registration: Registration,
}

/// Whether the client is known to be alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    /// Stored by an earlier run; the authorization server may have forgotten it.
    Stored,
    /// Made, proven or chosen in this run.
    Current,
    /// Made with a secret, after a public client was refused.
    Confidential,
}

impl Attempt {
    /// Discovers, listens, registers: the steps of MCP authorization, "Authorization Flow Steps".
    pub(super) async fn prepare(session: &Session, order: &Order) -> Result<Self, AuthError> {
        let config = &session.config;
        let discovered = discover(session, order).await?;
        let metadata = &discovered.metadata;
        let known = session.credential();
        refuse_foreign_issuer(config, known.as_ref(), metadata, order.reason)?;
        metadata.require_pkce(config.missing_pkce_metadata)?;
        metadata.require_authorization_endpoint()?;

        let issuer = metadata.issuer.clone();
        let stored = session
            .with_store(move |store| store.load_issuer(&issuer))
            .await
            .flatten();
        let stored_client = stored.as_ref().and_then(usable_registration);
        let listener = LoopbackListener::bind(
            &config.callback,
            &ports(session, metadata, stored_client.as_ref()),
        )
        .await?;
        let redirect_uri = redirect_uri(config, listener.port())?;
        let same_uri = stored_client.filter(|client| client.redirect_uri == redirect_uri.as_str());

        let mut registration = Registration::Current;
        let client = match (
            ClientRegistration::without_request(config, metadata),
            same_uri,
        ) {
            (Some(given), _) => given,
            (None, Some(stored)) => {
                if !session.has_proven_client(&stored.client_id) {
                    registration = Registration::Stored;
                }
                ClientRegistration::Dynamic(stored)
            }
            (None, None) => ClientRegistration::Dynamic(
                register(
                    &session.transport,
                    config,
                    metadata,
                    &redirect_uri,
                    Kind::Public,
                )
                .await?,
            ),
        };
        let resource = resource_parameter(session, discovered.resource.as_ref());
        let mut credential = Credential::new(
            session.server.clone(),
            discovered.metadata.clone(),
            resource,
            client,
        );
        if let Some(stored) = stored {
            credential.quirks = stored.quirks;
            credential.tokens = stored.tokens.filter(|_| stored.client == credential.client);
        }
        let scopes = scopes(config, order, &discovered);
        let client = client_of(session, &credential)?;
        let request = request(session, &credential, &client, &redirect_uri, &scopes)?;
        let mut attempt = Self {
            credential,
            client,
            listener: listener.serve(&request.redirect_uri),
            request,
            has_lost_code: false,
            scopes,
            registration,
        };
        attempt.replace_dead_registration(session).await?;
        attempt.remember_registration(session).await;
        Ok(attempt)
    }

    /// Goes on with the request of a process that is gone: its browser tab is still open. None if it can't
    /// be continued here.
    pub(super) async fn resume(
        session: &Session,
        order: &Order,
        request: &AuthorizationRequest,
    ) -> Option<Self> {
        let asks_enough = order
            .scopes
            .iter()
            .all(|scope| request.scopes.contains(scope));
        if order.reason == Reason::FreshTokenRefused || !asks_enough {
            return None;
        }
        let issuer = request.issuer.clone();
        let credential = session
            .with_store(move |store| store.load_issuer(&issuer))
            .await
            .flatten()?;
        let client = client_of(session, &credential).ok()?;
        if client.id != request.client_id {
            return None;
        }
        let port = match session.config.callback.port {
            Some(port) => port,
            None => request.redirect_uri.port()?,
        };
        let listener = LoopbackListener::bind(&session.config.callback, &Ports::Only(port))
            .await
            .ok()?;
        Some(Self {
            listener: listener.serve(&request.redirect_uri),
            scopes: request.scopes.clone(),
            request: request.clone(),
            has_lost_code: false,
            registration: Registration::Current,
            credential,
            client,
        })
    }

    /// Makes the request anew, after the credential's quirks or its client have changed.
    pub(super) fn renew_request(&mut self, session: &Session) -> Result<(), AuthError> {
        self.client = client_of(session, &self.credential)?;
        self.request = request(
            session,
            &self.credential,
            &self.client,
            &self.request.redirect_uri,
            &self.scopes,
        )?;
        Ok(())
    }

    /// Registers anew, if the client was our own and has not just been made, or was made without a secret at a
    /// server that does not list public clients. False if there is nothing to replace.
    pub(super) async fn replace_registration(
        &mut self,
        session: &Session,
    ) -> Result<bool, AuthError> {
        let is_ours = matches!(self.credential.client, ClientRegistration::Dynamic(_));
        let kind = match self.registration {
            Registration::Stored => Kind::Public,
            Registration::Current if self.is_doubtful() => Kind::Confidential,
            Registration::Current | Registration::Confidential => return Ok(false),
        };
        if !is_ours {
            return Ok(false);
        }
        tracing::info!("the authorization server does not accept this client; registering anew");
        let registered = register(
            &session.transport,
            &session.config,
            &self.credential.metadata,
            &self.request.redirect_uri,
            kind,
        )
        .await?;
        self.credential.client = ClientRegistration::Dynamic(registered);
        self.credential.tokens = None;
        self.registration = match kind {
            Kind::Public => Registration::Current,
            Kind::Confidential => Registration::Confidential,
        };
        self.renew_request(session)?;
        self.remember_registration(session).await;
        Ok(true)
    }

    /// Whether the client is public at a server whose metadata lists methods, and `none` is not one of them.
    fn is_doubtful(&self) -> bool {
        let metadata = &self.credential.metadata;
        let listed = metadata.token_endpoint_auth_methods_supported.is_some();
        self.client.is_public()
            && listed
            && !metadata.lists_authentication(ClientAuthentication::None)
    }

    /// Looks at the authorization endpoint before a person does: a server that has forgotten the client
    /// shows them an error page, and no answer ever comes back.
    async fn replace_dead_registration(&mut self, session: &Session) -> Result<(), AuthError> {
        if self.registration != Registration::Stored {
            return Ok(());
        }
        let Ok(status) = session.transport.status(&self.request.url).await else {
            return Ok(());
        };
        // 403 and 429 are about who looks, 405 about how.
        let turns_away = status.is_client_error() && !matches!(status.as_u16(), 403 | 405 | 429);
        if turns_away {
            self.replace_registration(session).await?;
        }
        Ok(())
    }

    /// Stores the client before the person comes, so that whoever continues this sign-in knows it. Tokens
    /// of an older client stay until there are new ones.
    async fn remember_registration(&self, session: &Session) {
        let credential = self.credential.clone();
        session
            .with_store(move |store| {
                let has_tokens = store
                    .load_issuer(&credential.metadata.issuer)
                    .is_some_and(|stored| stored.tokens.is_some());
                if !has_tokens {
                    store.save(&credential);
                }
            })
            .await;
    }
}

pub(super) fn usable_registration(stored: &Credential) -> Option<DynamicRegistration> {
    match &stored.client {
        ClientRegistration::Dynamic(registration)
            if !registration.is_expired(SystemTime::now()) =>
        {
            Some(registration.clone())
        }
        ClientRegistration::Dynamic(_)
        | ClientRegistration::PreRegistered
        | ClientRegistration::MetadataDocument => None,
    }
}

pub(super) fn client_of(session: &Session, credential: &Credential) -> Result<Client, AuthError> {
    credential
        .client
        .client(&session.config, &credential.metadata, credential.quirks)
        .ok_or_else(|| AuthError::Configuration("the stored client is no longer configured".into()))
}

/// The ports to try: exactly the registered one where a redirect URI was registered by hand, else the one
/// that our registration has, else the one that belongs to the server.
pub(super) fn ports(
    session: &Session,
    metadata: &AuthorizationServerMetadata,
    stored: Option<&DynamicRegistration>,
) -> Ports {
    let config = &session.config;
    let derived = mcp_remote::callback_port(&session.server, config);
    let in_redirect_uri = config.callback.redirect_uri.as_ref().and_then(Url::port);
    if let Some(port) = config.callback.port.or(in_redirect_uri) {
        return Ports::Only(port);
    }
    let by_hand = config.callback.redirect_uri.is_some()
        || ClientRegistration::without_request(config, metadata).is_some();
    if by_hand {
        return Ports::Only(derived);
    }
    let registered = stored
        .and_then(|client| Url::parse(&client.redirect_uri).ok())
        .and_then(|uri| uri.port());
    let neighbours = derived..=derived.saturating_add(NEIGHBOUR_PORTS);
    Ports::Prefer(registered.into_iter().chain(neighbours).collect())
}

pub(super) fn redirect_uri(config: &Config, port: u16) -> Result<Url, AuthError> {
    let callback = &config.callback;
    if let Some(uri) = &callback.redirect_uri {
        return Ok(uri.clone());
    }
    let uri = format!("http://{}:{port}{}", callback.host, callback.path);
    Url::parse(&uri)
        .map_err(|error| AuthError::Configuration(format!("{uri} is no redirect URI: {error}")))
}

fn request(
    session: &Session,
    credential: &Credential,
    client: &Client,
    redirect_uri: &Url,
    scopes: &Scopes,
) -> Result<AuthorizationRequest, AuthError> {
    AuthorizationRequest::new(
        &session.config,
        &credential.metadata,
        client,
        redirect_uri.clone(),
        credential.resource().map(str::to_owned),
        credential.scopes(scopes.clone()),
    )
}
