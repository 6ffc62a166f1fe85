//! Dry run of a sign-in, for `doctor`: the same steps, up to the point where a person would sign in.

use url::Url;

use super::attempt::{ports, redirect_uri, usable_registration};
use super::authorization_server::AuthorizationServerMetadata;
use super::challenge::BearerChallenge;
use super::config::{ClientAuthentication, ClientCredential, Config};
use super::discovery::{
    Discovered, choose_issuer, find_server, refuse_foreign_issuer, resource_parameter, scopes,
};
use super::error::{AuthError, shown};
use super::loopback::Ports;
use super::mcp_remote;
use super::protected_resource::{ProtectedResourceMetadata, protected_resource};
use super::registration::ClientRegistration;
use super::scope::Scopes;
use super::search::Search;
use super::session::{Session, Wanted};
use super::sign_in::{Order, Reason};
use super::{Grant, Refusal};
use mcp_bridge_net::http::bare;

/// The steps of a sign-in up to the point where something would be registered, stored or shown.
#[derive(Debug)]
pub struct Examination<'a> {
    session: &'a Session,
    order: Order,
    challenge: ExaminedChallenge,
    search: Search<'a>,
    resource: Option<ProtectedResourceMetadata>,
}

/// What the `WWW-Authenticate` of a refusal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExaminedChallenge {
    /// There is no such header.
    Missing,
    /// There is one without a Bearer challenge that could be read.
    NotBearer,
    /// A Bearer challenge (RFC 6750 §3).
    Bearer {
        /// Whether it says where the protected resource metadata lies (RFC 9728 §5.1).
        names_metadata: bool,
        /// The scopes that it asks for.
        scope: Option<String>,
    },
}

/// What a server says about itself (RFC 9728).
#[derive(Debug, Clone)]
pub struct ExaminedResource {
    /// Where the document lies.
    pub found_at: Url,
    /// The resource that it describes.
    pub resource: String,
    /// Whether that is the server's URL itself, and not a path above it.
    pub is_exact: bool,
    /// The issuers that it names.
    pub authorization_servers: Vec<String>,
    /// Where the challenge says that the document lies, if that is wrong.
    pub wrongly_named: Option<Url>,
}

/// An authorization server, and what a sign-in there would ask for.
#[derive(Debug, Clone)]
pub struct ExaminedServer {
    /// The issuer.
    pub issuer: String,
    /// Where its metadata lies; none if it has none and its endpoints are guessed (MCP 2025-03-26).
    pub found_at: Option<Url>,
    /// Whether there is a page to sign in at, or the endpoint for devices.
    pub sign_in_page: Result<(), AuthError>,
    /// Whether PKCE with S256 is offered; none where no page is opened, and so no code is used.
    pub pkce: Option<Result<(), AuthError>>,
    /// How this client becomes known there.
    pub registration: Result<RegistrationWay, AuthError>,
    /// Whether the client can authenticate in a way that the token endpoint is said to accept.
    pub authentication: ExaminedAuthentication,
    /// What the sign-in needs and the metadata does not list, such as its grant.
    pub unlisted: Option<String>,
    /// The scopes that would be asked for, space-delimited; empty for the server's default.
    pub scopes: String,
    /// The `resource` parameter that would be sent (RFC 8707).
    pub resource: Option<String>,
    /// Whether tokens can be taken back there (RFC 7009).
    pub revokes: bool,
    /// Whether it names itself in its answers (RFC 9207).
    pub sends_iss: bool,
    /// The hosts of the sign-in page and of the token endpoint, if an answer of the one might be used at the other
    /// unnoticed (mix-up, RFC 9700 §4.4).
    pub mix_up_hosts: Option<[String; 2]>,
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
        /// Whether a client with a private key could authenticate.
        wants_key: bool,
    },
}

impl ExaminedAuthentication {
    fn of(way: Option<&RegistrationWay>, config: &Config, listed: Option<&[String]>) -> Self {
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
            (Some(RegistrationWay::Stored), _) => return Self::Possible,
            (Some(RegistrationWay::PreRegistered), Some(ClientCredential::PrivateKey(_))) => {
                (&[PrivateKeyJwt], &[])
            }
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

/// How a client becomes known to an authorization server.
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
}

impl<'a> Examination<'a> {
    pub(super) fn new(session: &'a Session, refusal: &Refusal) -> Self {
        if let Some(peer) = refusal.peer {
            session.transport.server_answered_from(peer);
        }
        let found = BearerChallenge::find_if_any(&refusal.www_authenticate);
        let challenge = match &found {
            None if refusal.www_authenticate.is_empty() => ExaminedChallenge::Missing,
            None => ExaminedChallenge::NotBearer,
            Some(bearer) => ExaminedChallenge::Bearer {
                names_metadata: bearer.resource_metadata.is_some(),
                scope: bearer.scope.clone(),
            },
        };
        Self {
            session,
            order: Order {
                challenge: found.unwrap_or_default(),
                wanted: Wanted::OtherThan(refusal.refused.clone()),
                reason: Reason::NoToken,
                scopes: Scopes::default(),
            },
            challenge,
            search: Search::new(&session.transport),
            resource: None,
        }
    }

    /// What the server answered to the request that it refused.
    #[must_use]
    pub const fn challenge(&self) -> &ExaminedChallenge {
        &self.challenge
    }

    /// Whether a sign-in has to look for anything: not where the user has named the token endpoint.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.session.config.grant.needs_discovery()
    }

    /// Looks for the server's protected resource metadata; none if it publishes none.
    pub async fn resource(&mut self) -> Result<Option<ExaminedResource>, AuthError> {
        let session = self.session;
        let challenge = &self.order.challenge;
        self.resource = protected_resource(&mut self.search, &session.server, challenge).await?;
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

    /// What was wrong at the places where the protected resource metadata was looked for in vain; none if they
    /// were simply empty.
    #[must_use]
    pub const fn resource_failure(&self) -> Option<&AuthError> {
        self.search.failure()
    }

    /// The issuer that is asked for tokens; none if that is the server's own origin, for want of another.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        choose_issuer(self.session, self.resource.as_ref())
    }

    /// Looks for the metadata of the authorization server, and reads what a sign-in would make of it.
    pub async fn server(&self) -> Result<ExaminedServer, AuthError> {
        let config = &self.session.config;
        let search = self.search.clone();
        let metadata = find_server(self.session, search, self.resource.as_ref()).await?;
        let known = self.session.credential();
        refuse_foreign_issuer(config, known.as_ref(), &metadata, self.order.reason)?;
        let registration = self.registration(&metadata).await;
        let authentication = ExaminedAuthentication::of(
            registration.as_ref().ok(),
            config,
            metadata.token_endpoint_auth_methods_supported.as_deref(),
        );
        let pkce = match config.grant {
            Grant::AuthorizationCode => Some(metadata.require_pkce(config.missing_pkce_metadata)),
            Grant::ClientCredentials { .. } | Grant::DeviceCode => None,
        };
        let sign_in_page = match config.grant {
            Grant::AuthorizationCode => match metadata.require_authorization_endpoint() {
                Ok(page) => self.session.transport.check_page(page).await,
                Err(error) => Err(error),
            },
            Grant::DeviceCode => metadata.require_device_endpoint().map(|_| ()),
            Grant::ClientCredentials { .. } => Ok(()),
        };
        let resource = resource_parameter(self.session, self.resource.as_ref());
        let discovered = Discovered {
            resource: self.resource.clone(),
            metadata,
        };
        let scopes = scopes(config, &self.order, &discovered);
        let metadata = discovered.metadata;
        Ok(ExaminedServer {
            issuer: metadata.issuer.clone(),
            found_at: metadata.found_at.as_ref().map(bare),
            sign_in_page,
            pkce,
            registration,
            authentication,
            unlisted: unlisted(&config.grant, &metadata),
            scopes: scopes.to_string(),
            resource,
            revokes: metadata.revocation_endpoint.is_some(),
            mix_up_hosts: match config.grant {
                Grant::AuthorizationCode => metadata.mix_up_hosts().map(|it| it.map(str::to_owned)),
                Grant::ClientCredentials { .. } | Grant::DeviceCode => None,
            },
            sends_iss: metadata.authorization_response_iss_parameter_supported,
        })
    }

    /// Whether `mcp-remote` has left a sign-in for this server, which would be taken over.
    pub async fn has_import(&self) -> bool {
        let imported = mcp_remote::import(self.session, &self.order).await;
        imported.is_some()
    }

    /// The way that a sign-in would take, as far as it can be told without a request.
    async fn registration(
        &self,
        metadata: &AuthorizationServerMetadata,
    ) -> Result<RegistrationWay, AuthError> {
        let config = &self.session.config;
        match ClientRegistration::without_request(config, metadata) {
            Some(ClientRegistration::PreRegistered) => return Ok(RegistrationWay::PreRegistered),
            Some(ClientRegistration::MetadataDocument) => {
                return Ok(RegistrationWay::MetadataDocument);
            }
            Some(ClientRegistration::Dynamic(_)) | None => {}
        }
        let stored = self.session.stored(&metadata.issuer).await;
        let stored = stored.as_ref().and_then(usable_registration);
        if stored.is_some_and(|it| it.is_for(&config.grant)) {
            return Ok(RegistrationWay::Stored);
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

/// What `grant` needs and the metadata does not list (RFC 8414 §2).
fn unlisted(grant: &Grant, metadata: &AuthorizationServerMetadata) -> Option<String> {
    let lacks = |listed: &Option<Vec<String>>, name: &str| {
        let listed = listed.as_deref().filter(|names| !names.is_empty());
        listed.is_some_and(|names| !names.iter().any(|it| it == name))
    };
    if lacks(&metadata.grant_types_supported, grant.grant_type()) {
        return Some(format!(
            "grant_types_supported lacks {}",
            grant.grant_type()
        ));
    }
    let needs_code = *grant == Grant::AuthorizationCode;
    let has_no_code = needs_code && lacks(&metadata.response_types_supported, "code");
    has_no_code.then(|| "response_types_supported lacks code".to_owned())
}
