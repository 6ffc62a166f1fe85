//! Dry run of a sign-in, for `doctor`: the same steps, up to the point where a person would sign in.

use std::time::SystemTime;

use url::Url;

use crate::callback::loopback::Ports;
use crate::client::registration::{AUTHORIZATION_CODE, ClientRegistration};
use crate::config::{ClientAuthentication, ClientCredential, Config, Grant, TOKEN_EXCHANGE};
use crate::discovery::authorization_server::AuthorizationServerMetadata;
use crate::discovery::challenge::{BearerChallenge, Challenges};
use crate::discovery::protected_resource::{ProtectedResourceMetadata, fetch_protected_resource};
use crate::discovery::refusal::Refusal;
use crate::discovery::search::Search;
use crate::discovery::{Discovered, resource_parameter};
use crate::error::{AuthError, shown};
use crate::flow::callback_address::{ports, redirect_uri};
use crate::flow::client_choice::{self, ClientChoice, refuse_foreign_issuer};
use crate::flow::order::{Order, Wanted};
use crate::flow::proof_of_possession::{Binding, ResourceWish};
use crate::flow::session::SignInSession;
use crate::flow::shared_sign_in::{self, ExaminedSharing};
use crate::flow::{identity, import};
use crate::token::id_token::IdToken;
use crate::token::unix_millis;
use mcp_bridge_net::http::bare;

/// The steps of a sign-in up to the point where something would be registered, stored or shown.
#[derive(Debug)]
pub struct Examination<'a> {
    session: &'a SignInSession,
    order: Order,
    challenge: ExaminedChallenge,
    search: Search<'a>,
    resource: Option<ProtectedResourceMetadata>,
}

/// The `WWW-Authenticate` header of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExaminedChallenge {
    /// There is no such header.
    Missing,
    /// There is one without a Bearer or DPoP challenge that could be read.
    NotBearer,
    /// A Bearer or DPoP challenge (RFC 6750 §3, RFC 9449 §7.1).
    Bearer {
        /// Its scheme, or both.
        scheme: &'static str,
        /// True if it says where the protected resource metadata lies (RFC 9728 §5.1).
        names_metadata: bool,
        /// The scopes that it asks for.
        scope: Option<String>,
    },
}

/// Protected resource metadata of a server (RFC 9728).
#[derive(Debug, Clone)]
pub struct ExaminedResource {
    /// Address of the document.
    pub found_at: Url,
    /// The resource that it describes.
    pub resource: String,
    /// True if that is the server's URL itself, and not a path above it.
    pub is_exact: bool,
    /// The issuers that it names.
    pub authorization_servers: Vec<String>,
    /// Address of the document in the challenge, if that is wrong.
    pub wrongly_named: Option<Url>,
}

/// An authorization server, and what a sign-in there would ask for.
#[derive(Debug, Clone)]
pub struct ExaminedServer {
    /// The issuer.
    pub issuer: String,
    /// Address of its metadata; none if it has none and its endpoints are guessed (MCP 2025-03-26).
    pub found_at: Option<Url>,
    /// The page to sign in at or the endpoint for devices, or what is wrong with it.
    pub sign_in_page: Result<(), AuthError>,
    /// PKCE with S256; none where no page is opened, and so no code is used.
    pub pkce: Option<Result<(), AuthError>>,
    /// Registration of this client there.
    pub registration: Result<RegistrationWay, AuthError>,
    /// Agreement of the client's authentication with the methods that the token endpoint is said to accept.
    pub authentication: ExaminedAuthentication,
    /// Requirement of the sign-in that the metadata does not list, such as its grant.
    pub unlisted: Option<String>,
    /// The scopes that would be asked for, space-delimited; empty for the server's default.
    pub scopes: String,
    /// The `resource` parameter that would be sent (RFC 8707).
    pub resource: Option<String>,
    /// Binding of the tokens to a key (RFC 9449).
    pub binding: ExaminedBinding,
    /// State of the sign-in that is shared with other servers; none if it is not to be shared.
    pub sharing: Option<ExaminedSharing>,
    /// True if tokens can be taken back there (RFC 7009).
    pub revokes: bool,
    /// True if it names itself in its answers (RFC 9207).
    pub sends_iss: bool,
    /// The hosts of the sign-in page and of the token endpoint, if an answer of the one might be used at the other
    /// unnoticed (mix-up, RFC 9700 §4.4).
    pub mix_up_hosts: Option<[String; 2]>,
}

/// Identity provider of a company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminedIdentityProvider {
    /// Its issuer.
    pub issuer: String,
    /// Requirement that its metadata does not list.
    pub unlisted: Option<String>,
    /// True if somebody has signed in there.
    pub is_signed_in: bool,
}

/// Binding of tokens to a key (DPoP, RFC 9449), as far as the metadata tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExaminedBinding {
    /// They are bound to a key.
    Bound,
    /// They are bearer tokens, although the authorization server offers others: the MCP server does not ask for them, or the
    /// user does not want them.
    Offered,
    /// They are bearer tokens, although the MCP server asks for others: its authorization server does not offer them, or the
    /// user does not want them.
    Wanted,
    /// They are bearer tokens, and nobody speaks of others.
    Bearer,
    /// They have to be bound, and the authorization server takes only proofs with these algorithms.
    Impossible {
        /// The algorithms.
        listed: String,
    },
}

impl ExaminedBinding {
    fn new(config: &Config, challenge: &BearerChallenge, discovered: &Discovered) -> Self {
        let wish = ResourceWish::new(challenge, Some(discovered));
        let metadata = &discovered.metadata;
        let is_offered = metadata.dpop_signing_alg_values_supported.is_some();
        match Binding::new(config, wish, metadata) {
            Binding::Bound => Self::Bound,
            Binding::Impossible { listed } => Self::Impossible { listed },
            Binding::Bearer if wish != ResourceWish::None => Self::Wanted,
            Binding::Bearer if is_offered => Self::Offered,
            Binding::Bearer => Self::Bearer,
        }
    }
}

/// Client authentication, as far as the metadata tells (`token_endpoint_auth_methods_supported`, RFC 8414 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExaminedAuthentication {
    /// A method that is possible here is listed, or nothing is.
    Possible,
    /// The client has nothing that the listed methods need, but such servers often accept it all the same.
    Doubtful {
        /// The methods that are listed.
        listed: String,
    },
    /// None of the listed methods is possible with this client.
    Impossible {
        /// The methods that are listed.
        listed: String,
        /// True if a client with a private key could authenticate.
        wants_key: bool,
    },
}

impl ExaminedAuthentication {
    fn new(way: Option<&RegistrationWay>, config: &Config, listed: Option<&[String]>) -> Self {
        use ClientAuthentication::{
            ClientSecretBasic, ClientSecretPost, None as Public, PrivateKeyJwt,
        };
        let Some(listed) = listed.filter(|names| !names.is_empty()) else {
            return Self::Possible;
        };
        let lists = |methods: &[ClientAuthentication]| {
            let mut names = methods.iter().map(|method| method.name());
            names.any(|name| listed.iter().any(|it| it == name))
        };
        let credential = config.client.as_ref().map(|client| &client.credential);
        let (fitting, near): (&[_], &[_]) = match (way, credential) {
            // The registration decides about the rest; one that was made before has been used.
            (Some(RegistrationWay::Stored | RegistrationWay::NotNeeded), _) => {
                return Self::Possible;
            }
            (
                Some(RegistrationWay::PreRegistered),
                Some(ClientCredential::PrivateKey(_) | ClientCredential::Assertion(_)),
            ) => (&[PrivateKeyJwt], &[]),
            (Some(RegistrationWay::PreRegistered), Some(ClientCredential::Secret(_))) => {
                (&[ClientSecretPost, ClientSecretBasic], &[Public])
            }
            (Some(RegistrationWay::PreRegistered | RegistrationWay::MetadataDocument), _) => {
                (&[Public], &[ClientSecretPost, ClientSecretBasic])
            }
            (Some(RegistrationWay::Dynamic(_)) | None, _) => {
                (&[Public, ClientSecretPost, ClientSecretBasic], &[])
            }
        };
        let names = || shown(&listed.join(", "));
        if lists(fitting) {
            return Self::Possible;
        }
        if lists(near) {
            return Self::Doubtful { listed: names() };
        }
        Self::Impossible {
            listed: names(),
            wants_key: lists(&[PrivateKeyJwt]),
        }
    }
}

/// Way in which a client becomes known to an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationWay {
    /// The user has registered it and says its id.
    PreRegistered,
    /// By the URL of a document about it.
    MetadataDocument,
    /// It was registered in an earlier sign-in.
    Stored,
    /// By a request (RFC 7591) to this endpoint.
    Dynamic(Url),
    /// Not at all: the grant is enough (RFC 7521 §4.1).
    NotNeeded,
}

impl<'a> Examination<'a> {
    pub(crate) fn new(session: &'a SignInSession, refusal: &Refusal) -> Self {
        if let Some(peer) = refusal.peer {
            session.transport.server_answered_from(peer);
        }
        let challenge = match &refusal.challenges {
            Challenges::Missing => ExaminedChallenge::Missing,
            Challenges::NotBearer => ExaminedChallenge::NotBearer,
            Challenges::Bearer(bearer) => ExaminedChallenge::Bearer {
                scheme: match (bearer.takes_bearer, bearer.wants_proof) {
                    (true, true) => "Bearer and DPoP",
                    (false, true) => "DPoP",
                    (_, false) => "Bearer",
                },
                names_metadata: bearer.resource_metadata.is_some(),
                scope: bearer.scope.clone(),
            },
        };
        let bearer = refusal.challenges.clone().into_bearer();
        Self {
            session,
            order: Order::new(bearer, Wanted::OtherThan(refusal.refused.clone())),
            challenge,
            search: Search::new(&session.transport),
            resource: None,
        }
    }

    /// The challenge of the request that the server refused.
    #[must_use]
    pub const fn challenge(&self) -> &ExaminedChallenge {
        &self.challenge
    }

    /// True if a sign-in has to look for anything: not where the user has named the token endpoint.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.session.config.grant.needs_discovery()
    }

    /// Looks for the server's protected resource metadata; none if it publishes none.
    pub async fn fetch_resource_metadata(&mut self) -> Result<Option<ExaminedResource>, AuthError> {
        let session = self.session;
        let challenge = &self.order.challenge;
        self.resource =
            fetch_protected_resource(&mut self.search, &session.server, challenge).await?;
        let server = bare(&session.server);
        let named = challenge.resource_metadata.as_ref();
        let named = named.and_then(|named| session.server.join(named).ok());
        Ok(self.resource.as_ref().map(|metadata| ExaminedResource {
            wrongly_named: named
                .filter(|named| metadata.found_at.as_ref() != Some(named))
                .map(|named| bare(&named)),
            found_at: bare(metadata.found_at.as_ref().unwrap_or(&server)),
            is_exact: Url::parse(&metadata.resource).is_ok_and(|it| bare(&it) == server),
            resource: shown(&metadata.resource),
            authorization_servers: metadata.authorization_servers.clone(),
        }))
    }

    /// Failure at the places where the protected resource metadata was looked for in vain; none if they
    /// were simply empty.
    #[must_use]
    pub const fn resource_failure(&self) -> Option<&AuthError> {
        self.search.failure()
    }

    /// The issuer that is asked for tokens; none if that is the server's own origin, for want of another.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        self.session
            .discovery()
            .choose_issuer(self.resource.as_ref())
    }

    /// Looks for the metadata of the authorization server, and reads what a sign-in would make of it.
    pub async fn examine_server(&self) -> Result<ExaminedServer, AuthError> {
        let config = &self.session.config;
        let search = self.search.clone();
        let discovery = self.session.discovery();
        let metadata = discovery
            .find_server(search, self.resource.as_ref())
            .await?;
        refuse_foreign_issuer(self.session, &metadata, self.order.reason)?;
        let registration = self.registration(&metadata).await;
        let authentication = ExaminedAuthentication::new(
            registration.as_ref().ok(),
            config,
            metadata.token_endpoint_auth_methods_supported.as_deref(),
        );
        let pkce = match config.grant {
            Grant::AuthorizationCode => Some(metadata.require_pkce(config.missing_pkce_metadata)),
            Grant::ClientCredentials { .. }
            | Grant::JwtBearer { .. }
            | Grant::TokenExchange { .. }
            | Grant::EnterpriseManaged(_)
            | Grant::DeviceCode => None,
        };
        let sign_in_page = self.check_sign_in_page(&metadata).await;
        let resource = resource_parameter(config, &self.session.server, self.resource.as_ref());
        let discovered = Discovered {
            resource: self.resource.clone(),
            metadata,
        };
        let scopes = self.order.select_scopes(config, Some(&discovered));
        let binding = ExaminedBinding::new(config, &self.order.challenge, &discovered);
        let sharing = shared_sign_in::examined(self.session, &self.order, &discovered).await;
        let metadata = discovered.metadata;
        Ok(ExaminedServer {
            binding,
            sharing,
            issuer: metadata.issuer.clone(),
            found_at: metadata.found_at.as_ref().map(bare),
            sign_in_page,
            pkce,
            registration,
            authentication,
            unlisted: unlisted_requirement(config.grant.grant_type(), &metadata),
            scopes: scopes.to_string(),
            resource,
            revokes: metadata.revocation_endpoint.is_some(),
            mix_up_hosts: match config.grant {
                Grant::AuthorizationCode => metadata.mix_up_hosts().map(|it| it.map(str::to_owned)),
                Grant::ClientCredentials { .. }
                | Grant::JwtBearer { .. }
                | Grant::TokenExchange { .. }
                | Grant::EnterpriseManaged(_)
                | Grant::DeviceCode => None,
            },
            sends_iss: metadata.authorization_response_iss_parameter_supported,
        })
    }

    /// Checks the page of a sign-in, where the grant has one.
    async fn check_sign_in_page(
        &self,
        metadata: &AuthorizationServerMetadata,
    ) -> Result<(), AuthError> {
        match self.session.config.grant {
            Grant::AuthorizationCode => {
                let page = metadata.require_authorization_endpoint()?;
                self.session.transport.check_page(page).await
            }
            Grant::DeviceCode => metadata.require_device_endpoint().map(|_| ()),
            Grant::ClientCredentials { .. }
            | Grant::JwtBearer { .. }
            | Grant::TokenExchange { .. }
            | Grant::EnterpriseManaged(_) => Ok(()),
        }
    }

    /// Reads the token from outside, if one is needed: its place, and its remaining lifetime in seconds if it is a JWT.
    pub async fn examine_external_token(&self) -> Option<Result<(String, Option<u64>), AuthError>> {
        let source = self.session.config.external_token()?;
        let read = source.read().await;
        let now = unix_millis(SystemTime::now()) / 1000;
        Some(read.map(|token| {
            let token = IdToken::parse(token.expose());
            (
                source.to_string(),
                token.and_then(|it| it.seconds_left(now)),
            )
        }))
    }

    /// Looks for the metadata of the company's identity provider, if one answers for the person.
    pub async fn examine_identity_provider(
        &self,
    ) -> Option<Result<ExaminedIdentityProvider, AuthError>> {
        let identity = self.session.identity.as_ref()?;
        identity.load().await;
        let metadata = identity::metadata(identity).await;
        Some(metadata.map(|metadata| ExaminedIdentityProvider {
            unlisted: unlisted_requirement(TOKEN_EXCHANGE, &metadata),
            issuer: metadata.issuer,
            is_signed_in: identity.token().is_some(),
        }))
    }

    /// Finds out whether `mcp-remote` has left a sign-in for this server, which would be taken over.
    pub async fn has_import(&self) -> bool {
        let imported = import::find(self.session, &self.order).await;
        imported.is_some()
    }

    /// The way that a sign-in would take, as far as it can be told without a request.
    async fn registration(
        &self,
        metadata: &AuthorizationServerMetadata,
    ) -> Result<RegistrationWay, AuthError> {
        let config = &self.session.config;
        if let Ok(ClientRegistration::Unregistered) = client_choice::for_unattended(config) {
            return Ok(RegistrationWay::NotNeeded);
        }
        let stored = self.session.load_stored(&metadata.issuer).await;
        let remembered = client_choice::remembered(stored.as_ref(), &config.grant);
        match ClientChoice::new(config, metadata, remembered) {
            ClientChoice::Configured(ClientRegistration::MetadataDocument) => {
                return Ok(RegistrationWay::MetadataDocument);
            }
            ClientChoice::Configured(_) => return Ok(RegistrationWay::PreRegistered),
            ClientChoice::Remembered(_) => return Ok(RegistrationWay::Stored),
            ClientChoice::Unregistered => {}
        }
        if let Some(endpoint) = &metadata.registration_endpoint {
            return Ok(RegistrationWay::Dynamic(bare(endpoint)));
        }
        let port = match ports(self.session, metadata, None) {
            Ports::Only(port) => port,
            Ports::Prefer(ports) => ports.first().copied().unwrap_or_default(),
        };
        Err(AuthError::ClientRequired {
            issuer: metadata.issuer.clone(),
            redirect_uri: redirect_uri(config, port)?.into(),
        })
    }
}

/// Requirement of a grant that the metadata does not list (RFC 8414 §2).
fn unlisted_requirement(
    grant_type: &str,
    metadata: &AuthorizationServerMetadata,
) -> Option<String> {
    let lacks = |listed: &Option<Vec<String>>, name: &str| {
        let listed = listed.as_deref().filter(|names| !names.is_empty());
        listed.is_some_and(|names| !names.iter().any(|it| it == name))
    };
    if lacks(&metadata.grant_types_supported, grant_type) {
        return Some(format!("grant_types_supported lacks {grant_type}"));
    }
    let needs_code = grant_type == AUTHORIZATION_CODE;
    let has_no_code = needs_code && lacks(&metadata.response_types_supported, "code");
    has_no_code.then(|| "response_types_supported lacks code".to_owned())
}
