//! Preparation of a sign-in: from a refused request to an authorization request that can be shown to a person.

use std::net::TcpListener;

use url::Url;

use crate::callback::loopback::{LoopbackListener, LoopbackServer};
use crate::client::probe::{self, Finding};
use crate::client::registration::{ClientIdentity, ClientRegistration};
use crate::client::registration_request::{ClientType, register};
use crate::config::ClientAuthentication;
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::discovery::{Discovered, resource_parameter};
use crate::error::{AuthError, shown};
use crate::flow::callback_address::{ports, redirect_uri};
use crate::flow::client_choice::{self, ClientChoice, client_of, refuse_foreign_issuer};
use crate::flow::order::{Order, Reason};
use crate::flow::proof_of_possession::equip;
use crate::flow::session::SignInSession;
use crate::flow::shared_sign_in::Extent;
use crate::grant::authorization::AuthorizationRequest;
use crate::linger::{HandedOver, HelperGuard};
use crate::store::pending::{ClientOrigin, PendingSignIn};
use crate::store::records::Condition;
use crate::store::refused_renewal::RefusalKind;
use crate::store::{Credential, Voucher};
use crate::token::scope::Scopes;

/// A sign-in that is ready for a person: the listener is bound, the client is known there.
#[derive(Debug)]
pub(crate) struct SignInAttempt {
    pub(crate) credential: Credential,
    pub(crate) client: ClientIdentity,
    pub(crate) request: AuthorizationRequest,
    pub(crate) listener: LoopbackServer,
    /// Helper that goes on when this process ends.
    pub(crate) guard: HelperGuard,
    /// Role of this process in the sign-in.
    pub(crate) keeper: Keeper,
    /// True if a code turned out to be used up; that is worth another try, once.
    pub(crate) has_lost_code: bool,
    /// True if the stored client was given up without a word of the server.
    has_guessed: bool,
    /// Scopes from which those of another request are chosen.
    scopes: Scopes,
    /// Resources of other servers that the sign-in is for.
    further_resources: Vec<String>,
    /// Origin of the client.
    registration: Registration,
}

/// Role of a process that waits for the answer to a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// A bridge or a command, for which a person signs in.
    Caller,
    /// The helper of one that has ended.
    Helper,
}

/// Knowledge of whether the authorization server still knows the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    /// Stored by an earlier run, or doubtful since a renewal was refused; the authorization server may have
    /// forgotten it.
    Stored,
    /// Made, proven or chosen in this run.
    Current,
    /// Made with a secret, after a public client was refused.
    Confidential,
}

impl SignInAttempt {
    /// Discovers, listens, registers: the steps of MCP authorization, "Authorization Flow Steps".
    ///
    /// `unanswered` is a client whose page has brought no answer before.
    pub(crate) async fn prepare(
        session: &SignInSession,
        order: &Order,
        unanswered: Option<&str>,
    ) -> Result<Self, AuthError> {
        let config = &session.config;
        let discovered = order.discover(session).await?;
        let metadata = &discovered.metadata;
        check_server(session, order, metadata).await?;
        let stored = session.load_stored(&metadata.issuer).await;
        let remembered = client_choice::remembered(stored.as_ref(), &config.grant);
        let ports = ports(session, metadata, remembered.as_ref());
        let listener = LoopbackListener::bind(&config.callback, &ports).await?;
        let redirect_uri = redirect_uri(config, listener.port())?;
        let remembered = remembered.filter(|it| it.redirect_uri == redirect_uri.as_str());
        let choice = ClientChoice::new(config, metadata, remembered);
        let (client, registration) = registered(session, metadata, choice, &redirect_uri).await?;
        let known = stored.clone();
        let mut credential = credential(session, discovered, client, stored);
        equip(
            session,
            order,
            Some(discovered),
            known.as_ref(),
            &mut credential,
        )?;
        let issuer = &credential.metadata.issuer;
        let Extent { resources, scopes } =
            Extent::of(session, issuer, credential.resource.as_deref()).await;
        let scopes = order.select_scopes(config, Some(discovered)).union(&scopes);
        let client = client_of(session, &credential)?;
        let request = request(
            session,
            &credential,
            &client,
            &redirect_uri,
            &resources,
            &scopes,
        )?;
        let mut attempt = Self {
            credential,
            client,
            listener: listener.serve(&request),
            request,
            guard: HelperGuard::default(),
            keeper: Keeper::Caller,
            has_lost_code: false,
            has_guessed: false,
            scopes,
            further_resources: resources,
            registration,
        };
        attempt
            .replace_dead_registration(session, unanswered)
            .await?;
        attempt.remember_registration(session).await;
        Ok(attempt)
    }

    /// Goes on with the request of a process that is gone: its browser tab is still open. None if it can't
    /// be continued here.
    pub(crate) async fn resume(
        session: &SignInSession,
        order: &Order,
        request: &AuthorizationRequest,
        client_origin: ClientOrigin,
    ) -> Option<Self> {
        let asks_enough = order
            .scopes
            .iter()
            .all(|scope| request.scopes.contains(scope));
        if order.reason == Reason::FreshTokenRefused || !asks_enough {
            return None;
        }
        let credential = session.load_stored(&request.issuer).await?;
        session.transport.check_page(&request.url).await.ok()?;
        let client = client_of(session, &credential).ok()?;
        if client.id != request.client_id {
            return None;
        }
        let port = match session.config.callback.port {
            Some(port) => port,
            None => request.redirect_uri.port()?,
        };
        let listener = LoopbackListener::bind_again(&session.config.callback, port)
            .await
            .ok()?;
        Some(Self {
            listener: listener.serve(request),
            guard: HelperGuard::default(),
            keeper: Keeper::Caller,
            scopes: request.scopes.clone(),
            further_resources: request.further_resources.clone(),
            request: request.clone(),
            has_lost_code: false,
            has_guessed: false,
            registration: client_origin.into(),
            credential,
            client,
        })
    }

    /// Goes on with a sign-in that the process which began it has handed over whole, on its sockets if there are
    /// any. None if its port is not to be had.
    pub(crate) async fn taken_over(
        session: &SignInSession,
        credential: Credential,
        request: AuthorizationRequest,
        client_origin: ClientOrigin,
        sockets: Vec<TcpListener>,
    ) -> Option<Self> {
        let client = client_of(session, &credential).ok()?;
        let listener = if sockets.is_empty() {
            let callback = &session.config.callback;
            let port = callback.port.or(request.redirect_uri.port())?;
            LoopbackListener::bind_again(callback, port).await.ok()?
        } else {
            LoopbackListener::on(sockets).ok()?
        };
        Some(Self {
            listener: listener.serve(&request),
            guard: HelperGuard::default(),
            keeper: Keeper::Helper,
            scopes: request.scopes.clone(),
            further_resources: request.further_resources.clone(),
            has_lost_code: false,
            has_guessed: false,
            registration: client_origin.into(),
            credential,
            client,
            request,
        })
    }

    /// The sign-in as it stands, for a helper that finishes it.
    pub(crate) fn handed_over(&self) -> HandedOver {
        HandedOver {
            credential: self.credential.clone(),
            request: self.request.clone(),
            client: self.client_origin(),
        }
    }

    /// The record of this attempt, whose page is about to be opened.
    pub(crate) fn pending(&self) -> PendingSignIn {
        PendingSignIn::opened(self.request.clone(), self.client_origin())
    }

    /// Origin of the client.
    pub(crate) const fn client_origin(&self) -> ClientOrigin {
        match self.registration {
            Registration::Current | Registration::Confidential => ClientOrigin::Certain,
            Registration::Stored => ClientOrigin::Reused,
        }
    }

    /// Makes the request anew, after the credential's quirks or its client have changed.
    pub(crate) fn renew_request(&mut self, session: &SignInSession) -> Result<(), AuthError> {
        self.client = client_of(session, &self.credential)?;
        self.request = request(
            session,
            &self.credential,
            &self.client,
            &self.request.redirect_uri,
            &self.further_resources,
            &self.scopes,
        )?;
        self.listener.expect(&self.request);
        Ok(())
    }

    /// Registers anew, if the client was our own and has not just been made, or was made without a secret at a
    /// server that does not list public clients. False if there is nothing to replace.
    pub(crate) async fn replace_registration(
        &mut self,
        session: &SignInSession,
    ) -> Result<bool, AuthError> {
        let is_ours = matches!(self.credential.client, ClientRegistration::Dynamic(_));
        let kind = match self.registration {
            Registration::Stored => ClientType::Public,
            Registration::Current if self.is_doubtful() => ClientType::Confidential,
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
            ClientType::Public => Registration::Current,
            ClientType::Confidential => Registration::Confidential,
        };
        self.renew_request(session)?;
        self.remember_registration(session).await;
        Ok(true)
    }

    /// Tells whether the client is public at a server whose metadata lists methods, and `none` is not one of them.
    fn is_doubtful(&self) -> bool {
        let metadata = &self.credential.metadata;
        let listed = metadata.token_endpoint_auth_methods_supported.is_some();
        self.client.is_public()
            && listed
            && !metadata.lists_authentication(ClientAuthentication::None)
    }

    /// Registers anew if the authorization server has forgotten the client, or probably has.
    ///
    /// It probably has if a page with this client brought no answer (`unanswered`), or if it refused a renewal
    /// and shows its login page to anybody, so that it cannot be asked. Where a new registration does not work
    /// then, the old client stays: perhaps the person only had no time.
    async fn replace_dead_registration(
        &mut self,
        session: &SignInSession,
        unanswered: Option<&str>,
    ) -> Result<(), AuthError> {
        if self.registration != Registration::Stored {
            return Ok(());
        }
        let AuthorizationRequest {
            url, redirect_uri, ..
        } = &self.request;
        let is_doubtful = match probe::probe(&session.transport, url, redirect_uri).await {
            Finding::TurnedAway => return self.replace_registration(session).await.map(|_| ()),
            Finding::Page if session.doubts_client() => {
                probe::shows_page_to_anybody(&session.transport, url, redirect_uri).await
            }
            Finding::Page | Finding::Answer | Finding::Unclear => false,
        };
        if is_doubtful || unanswered == Some(&*self.client.id) {
            self.has_guessed = true;
            if let Err(error) = self.replace_registration(session).await {
                tracing::info!(%error, "not registered anew");
            }
        }
        Ok(())
    }

    /// Stores the client before the person comes, so that whoever continues this sign-in knows it. Tokens
    /// of an older client stay until there are new ones, unless the server has refused both them and it.
    async fn remember_registration(&self, session: &SignInSession) {
        let mut credential = self.credential.clone();
        if let Some(stored) = session.load_stored(&self.credential.metadata.issuer).await
            && stored.tokens.is_some()
            && (self.has_guessed || !are_refused(session, &stored).await)
        {
            let has_bound = stored.tokens.as_ref().is_some_and(|it| it.is_bound);
            if has_bound || stored.proof_key == credential.proof_key {
                return;
            }
            // Who continues this sign-in has to have the key that its request names.
            let proof_key = credential.proof_key;
            credential = Credential {
                proof_key,
                ..stored
            };
        }
        session
            .store
            .with(move |store| store.save(&credential, Condition::None))
            .await;
    }
}

impl From<ClientOrigin> for Registration {
    fn from(origin: ClientOrigin) -> Self {
        match origin {
            ClientOrigin::Certain => Self::Current,
            ClientOrigin::Reused => Self::Stored,
        }
    }
}

/// Tells whether the tokens of `stored` were refused for good.
async fn are_refused(session: &SignInSession, stored: &Credential) -> bool {
    let refused = session.read_refused_renewal(stored).await;
    refused.is_some_and(|refused| refused.refusal == RefusalKind::Final)
}

/// Refuses an authorization server at which a person must not or cannot sign in in a browser.
async fn check_server(
    session: &SignInSession,
    order: &Order,
    metadata: &AuthorizationServerMetadata,
) -> Result<(), AuthError> {
    refuse_foreign_issuer(session, metadata, order.reason)?;
    metadata.require_pkce(session.config.missing_pkce_metadata)?;
    let page = metadata.require_authorization_endpoint()?;
    session.transport.check_page(page).await?;
    if let Some([page, tokens]) = metadata.mix_up_hosts() {
        tracing::warn!(
            "you sign in at {page}, and {tokens} gets the answer: make sure that both belong to the provider of {}. \
             {} does not name itself in its answers (RFC 9207)",
            session.server.host_str().unwrap_or_default(),
            shown(&metadata.issuer),
        );
    }
    Ok(())
}

/// The client that was chosen, registered if it is not yet.
async fn registered(
    session: &SignInSession,
    metadata: &AuthorizationServerMetadata,
    choice: ClientChoice,
    redirect_uri: &Url,
) -> Result<(ClientRegistration, Registration), AuthError> {
    match choice {
        ClientChoice::Configured(client) => Ok((client, Registration::Current)),
        ClientChoice::Remembered(client) => {
            let registration = if session.has_proven_client(&client.client_id) {
                Registration::Current
            } else {
                Registration::Stored
            };
            Ok((ClientRegistration::Dynamic(client), registration))
        }
        ClientChoice::Unregistered => {
            let SignInSession {
                transport, config, ..
            } = session;
            let client = register(
                transport,
                config,
                metadata,
                redirect_uri,
                ClientType::Public,
            )
            .await?;
            Ok((ClientRegistration::Dynamic(client), Registration::Current))
        }
    }
}

/// The credential of a sign-in, with what is still good of the stored one.
fn credential(
    session: &SignInSession,
    discovered: &Discovered,
    client: ClientRegistration,
    stored: Option<Credential>,
) -> Credential {
    let server = &session.server;
    let resource = resource_parameter(&session.config, server, discovered.resource.as_ref());
    let metadata = discovered.metadata.clone();
    let mut credential = Credential::new(server.clone(), metadata, resource, client);
    if session.is_identity() {
        let issuer = credential.metadata.issuer.clone();
        credential.voucher = Some(Voucher::IdentityProvider(issuer));
    }
    if session.is_shared() {
        credential.voucher = Some(Voucher::SharedSignIn(session.store.account_name()));
    }
    if let Some(stored) = stored {
        credential.quirks = stored.quirks;
        credential.shared = stored.shared;
        credential.tokens = stored.tokens.filter(|_| stored.client == credential.client);
    }
    credential
}

fn request(
    session: &SignInSession,
    credential: &Credential,
    client: &ClientIdentity,
    redirect_uri: &Url,
    further_resources: &[String],
    scopes: &Scopes,
) -> Result<AuthorizationRequest, AuthError> {
    AuthorizationRequest::new(
        &session.config,
        &credential.metadata,
        client,
        redirect_uri.clone(),
        credential.resource().map(str::to_owned),
        further_resources.to_vec(),
        credential.scopes(scopes.clone()),
    )
}
