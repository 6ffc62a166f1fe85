//! Checks of the sign-in, as far as possible without signing in.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::time::timeout;
use url::Url;

use super::check::{Check, CheckName, Part};
use super::report::Report;
use crate::commands::client::request::bare_initialize;
use mcp_bridge_auth::{
    AccessToken, AuthError, Authorizer, Examination, ExaminedAuthentication, ExaminedBinding,
    ExaminedChallenge, ExaminedIdentityProvider, ExaminedResource, ExaminedServer, ExaminedSharing,
    Interaction, Refusal, RegistrationWay,
};
use mcp_bridge_core::endpoint::{Failure, Probe, Reply};

/// Limit of each step, which may have to look in several places, one of which may not answer for 10 s.
const STEP_LIMIT: Duration = Duration::from_secs(18);

/// Limit of the search for a sign-in that no answer has asked for.
const OFFER_LIMIT: Duration = Duration::from_secs(3);

/// Reason for which the remaining checks are skipped.
const NOT_SIGNED_IN: &str = "the server answers only after a sign-in";

/// Examines the sign-in that `refused` asks for. The token that the server accepts, and its reply to
/// `initialize` with it.
pub(super) async fn examine(
    report: &mut Report<'_>,
    authorizer: &Authorizer,
    probe: &Probe,
    url: &Url,
    refused: &Reply,
) -> Result<(AccessToken, Result<Reply, Failure>), &'static str> {
    let refusal = refusal(refused, None);
    let mut examination = authorizer.examine(&refusal).await;
    challenge(report, examination.challenge());
    discovery(report, &mut examination).await;
    let token = token(report, authorizer, &examination, refusal).await?;
    report.hide(&token.header());
    Box::pin(accepted(report, authorizer, probe, url, token)).await
}

/// Examines the sign-in that a server offers to those who have used it without one, if it offers any.
///
/// Nothing of it fails, because the server can be used all the same.
pub(super) async fn examine_offer(report: &mut Report<'_>, authorizer: &Authorizer) {
    match timeout(OFFER_LIMIT, authorizer.offers_sign_in()).await {
        // Nobody needs what cannot be reached here.
        Ok(Ok(false) | Err(AuthError::Unavailable { .. })) | Err(_) => return,
        Ok(Ok(true) | Err(_)) => {}
    }
    report.warn_of_failures();
    report.add(Check::passed(
        CheckName::Challenge,
        "none: the server can be used without a sign-in, and offers one",
    ));
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, &HeaderMap::new(), None);
    let mut examination = authorizer.examine(&refusal).await;
    discovery(report, &mut examination).await;
    report.add(match timeout(STEP_LIMIT, authorizer.token()).await {
        Ok(Ok(Some(_))) => Check::passed(CheckName::Token, "sent with every request"),
        Ok(Err(error)) => failed(CheckName::Token, &error),
        Ok(Ok(None)) | Err(_) => {
            let found =
                "none is stored: the app uses the server without a sign-in as long as it can";
            Check::skipped(CheckName::Token, found).fix("sign in now: mcp-bridge login URL")
        }
    });
}

/// Checks of the authorization server and of the sign-in there.
async fn discovery(report: &mut Report<'_>, examination: &mut Examination<'_>) {
    let mut left_out = "the step before it failed";
    if !examination.is_needed() {
        left_out = "the token endpoint is configured";
    } else if resource(report, examination).await.is_ok() {
        issuer(report, examination);
        server(report, examination).await;
    }
    let steps = Part::SignIn.names().iter().copied();
    let before: Vec<_> = steps.filter(|name| *name != CheckName::Token).collect();
    report.skip(&before, left_out);
    identity_provider(report, examination).await;
    external_token(report, examination).await;
}

/// Check of the company's identity provider, where one answers for the person.
async fn identity_provider(report: &mut Report<'_>, examination: &Examination<'_>) {
    const NAME: CheckName = CheckName::IdentityProvider;
    let Ok(Some(found)) = timeout(STEP_LIMIT, examination.examine_identity_provider()).await else {
        return;
    };
    report.add(match found {
        Err(error) => failed(NAME, &error).specification("OpenID Connect Discovery §4"),
        Ok(ExaminedIdentityProvider {
            issuer,
            unlisted: Some(unlisted),
            ..
        }) => Check::warning(NAME, format!("{issuer}: {unlisted}"))
            .fix("if the sign-in fails, its administrator has to permit token exchange")
            .specification("RFC 8693; MCP, Enterprise-Managed Authorization"),
        Ok(ExaminedIdentityProvider {
            issuer,
            is_signed_in,
            ..
        }) => {
            let state = if is_signed_in {
                "signed in there"
            } else {
                "nobody has signed in there yet"
            };
            Check::passed(NAME, format!("{issuer}; {state}"))
        }
    });
}

/// Check of the token that comes from outside, where one is needed.
async fn external_token(report: &mut Report<'_>, examination: &Examination<'_>) {
    const NAME: CheckName = CheckName::ExternalToken;
    report.add(match examination.examine_external_token().await {
        None => return,
        Some(Err(error)) => failed(NAME, &error),
        Some(Ok((place, Some(0)))) => Check::failed(NAME, format!("that in {place} has expired"))
            .fix("whoever issues it has to replace it there; check the clock of this machine, too"),
        Some(Ok((place, Some(left)))) => {
            Check::passed(NAME, format!("in {place}; expires in {left} s"))
        }
        Some(Ok((place, None))) => Check::passed(NAME, format!("in {place}")),
    });
}

fn refusal(reply: &Reply, refused: Option<AccessToken>) -> Refusal {
    Refusal::new(reply.status, &reply.headers, refused).from_peer(reply.peer)
}

fn challenge(report: &mut Report<'_>, challenge: &ExaminedChallenge) {
    let fix = "answer 401 with WWW-Authenticate: Bearer resource_metadata=\"…\"; \
               until then it is looked up at the well-known URLs";
    let warning = |found: &str, place| {
        Check::warning(CheckName::Challenge, found)
            .fix(fix)
            .specification(place)
    };
    report.add(match challenge {
        ExaminedChallenge::Missing => warning(
            "401 without WWW-Authenticate",
            "RFC 9110 §15.5.2, RFC 9728 §5.1",
        ),
        ExaminedChallenge::NotBearer => {
            warning("WWW-Authenticate without a Bearer challenge", "RFC 6750 §3")
        }
        ExaminedChallenge::Bearer {
            scheme,
            names_metadata: false,
            ..
        } => {
            let found = format!("{scheme}, without resource_metadata");
            warning(&found, "RFC 9728 §5.1")
        }
        ExaminedChallenge::Bearer {
            scheme,
            names_metadata: true,
            scope,
        } => {
            let scope = scope
                .as_ref()
                .map(|scope| format!(", and wants the scope {scope}"));
            let found = format!("{scheme}, names its metadata{}", scope.unwrap_or_default());
            Check::passed(CheckName::Challenge, found)
        }
    });
}

async fn resource(
    report: &mut Report<'_>,
    examination: &mut Examination<'_>,
) -> Result<(), AuthError> {
    const NAME: CheckName = CheckName::ResourceMetadata;
    let found = limited(examination.fetch_resource_metadata()).await;
    let check = match &found {
        Err(error) => failed(NAME, error).specification("RFC 9728 §3"),
        Ok(None) => {
            let none = match examination.resource_failure() {
                None => "none is published".to_owned(),
                Some(failure) => format!("none is usable: {failure}"),
            };
            Check::warning(NAME, none)
                .fix(
                    "publish it; until then the server's own origin counts as its authorization \
                     server",
                )
                .specification("RFC 9728 §3.1; MCP 2025-11-25, Authorization")
        }
        Ok(Some(ExaminedResource {
            wrongly_named: Some(named),
            found_at,
            ..
        })) => {
            let failure = match examination.resource_failure() {
                None => format!("{named}: nothing is there"),
                Some(failure) => failure.to_string(),
            };
            let found = format!("{found_at}; the challenge names another URL ({failure})");
            Check::warning(NAME, found)
                .fix("resource_metadata in WWW-Authenticate has to be the URL of the document")
                .specification("RFC 9728 §5.1")
        }
        Ok(Some(metadata)) if metadata.authorization_servers.is_empty() => Check::warning(
            NAME,
            format!("{} names no authorization server", metadata.found_at),
        )
        .fix("name at least one in authorization_servers")
        .specification("MCP 2025-11-25, Authorization Server Location"),
        Ok(Some(metadata)) if !metadata.is_exact => {
            let found = format!(
                "{} describes {}, a path above the URL",
                metadata.found_at, metadata.resource
            );
            Check::warning(NAME, found)
                .fix("it works here; stricter clients want `resource` to be the URL itself")
                .specification("RFC 9728 §3.3")
        }
        Ok(Some(metadata)) => Check::passed(NAME, metadata.found_at.to_string()),
    };
    report.add(check);
    found.map(|_| ())
}

fn issuer(report: &mut Report<'_>, examination: &Examination<'_>) {
    report.add(match examination.issuer() {
        Some(issuer) => Check::passed(CheckName::Issuer, issuer),
        None => Check::passed(CheckName::Issuer, "the server's own origin"),
    });
}

async fn server(report: &mut Report<'_>, examination: &Examination<'_>) {
    let server = match limited(examination.examine_server()).await {
        Ok(server) => server,
        Err(error) => {
            report.add(failed(CheckName::ServerMetadata, &error).specification("RFC 8414 §3"));
            return;
        }
    };
    report.add(metadata(&server));
    report.add(match &server.pkce {
        Some(Ok(())) => Check::passed(CheckName::Pkce, "S256"),
        Some(Err(error)) => failed(CheckName::Pkce, error)
            .specification("RFC 7636; MCP 2025-11-25, Authorization Code Protection"),
        None => Check::skipped(CheckName::Pkce, "this grant uses no authorization code"),
    });
    report.add(registration(&server));
    let scopes = match server.scopes.as_str() {
        "" => "none requested: the server decides".to_owned(),
        scopes => scopes.to_owned(),
    };
    let resource = match &server.resource {
        Some(resource) => format!("{scopes}; for the resource {resource}"),
        None => format!("{scopes}; without a resource"),
    };
    report.add(Check::passed(CheckName::Scopes, resource));
    report.add(binding(&server.binding));
    if let Some(sharing) = &server.sharing {
        report.add(shared_sign_in(sharing));
    }
    report.add(if server.revokes {
        Check::passed(CheckName::Revocation, "offered")
    } else {
        Check::skipped(
            CheckName::Revocation,
            "not offered: a sign-out only deletes the tokens here",
        )
        .specification("RFC 7009")
    });
    report.add(iss_parameter(&server));
}

fn metadata(server: &ExaminedServer) -> Check {
    match (&server.sign_in_page, &server.found_at) {
        (Err(error), _) => failed(CheckName::ServerMetadata, error),
        (Ok(()), Some(found_at)) if server.unlisted.is_some() => {
            let unlisted = server.unlisted.as_deref().unwrap_or_default();
            Check::warning(CheckName::ServerMetadata, format!("{found_at}: {unlisted}"))
                .fix("if the sign-in fails, its operator has to permit that grant, and to list it")
                .specification("RFC 8414 §2")
        }
        (Ok(()), Some(found_at)) => Check::passed(CheckName::ServerMetadata, found_at.to_string()),
        (Ok(()), None) => Check::warning(
            CheckName::ServerMetadata,
            "none: the default endpoints /authorize, /token and /register",
        )
        .fix("publish it")
        .specification("RFC 8414 §3; MCP 2025-11-25, Authorization"),
    }
}

fn binding(binding: &ExaminedBinding) -> Check {
    const NAME: CheckName = CheckName::Dpop;
    let skipped = |found| Check::skipped(NAME, found).specification("RFC 9449");
    match binding {
        ExaminedBinding::Bound => {
            Check::passed(NAME, "tokens are bound to a key (DPoP): a stolen one is of no use")
        }
        ExaminedBinding::Offered => skipped(
            "not used: the provider offers it, but the server does not ask for it (--dpop required uses it)",
        ),
        ExaminedBinding::Wanted => Check::warning(
            NAME,
            "the server asks for tokens that are bound to a key (DPoP), and gets bearer tokens",
        )
        .fix("pass --dpop required if the provider issues them without listing it, and do not pass --dpop off")
        .specification("RFC 9449 §5.1"),
        ExaminedBinding::Bearer => skipped("not offered: tokens are bearer tokens"),
        ExaminedBinding::Impossible { listed } => Check::failed(
            NAME,
            format!("tokens have to be bound to a key, and the provider takes only proofs with {listed}"),
        )
        .fix("its operator has to accept ES256; --dpop off uses bearer tokens if the server takes them")
        .specification("RFC 9449 §5.1"),
    }
}

fn shared_sign_in(sharing: &ExaminedSharing) -> Check {
    const NAME: CheckName = CheckName::SharedSignIn;
    const ALONE: &str = "this server signs in by itself";
    let warning = |found: String| {
        Check::warning(NAME, found)
            .fix("nothing needs to be done; without --share-sign-in it is not tried")
            .specification("RFC 8707 §2.2, RFC 9068 §2.2, RFC 7662 §2.2")
    };
    match sharing {
        ExaminedSharing::Impossible => Check::skipped(
            NAME,
            format!("{ALONE}: without a resource there is nothing to share"),
        ),
        ExaminedSharing::NotSignedIn => Check::passed(
            NAME,
            "nobody has signed in yet; the first sign-in tells whether it can be shared",
        ),
        ExaminedSharing::Unproven(reason) => warning(format!(
            "{ALONE}: {reason}, so the provider's tokens may be good at any server"
        )),
        ExaminedSharing::Refused(reason) => warning(format!("{ALONE}: {reason}")),
        ExaminedSharing::Shared(1) => Check::passed(NAME, "shared by 1 server"),
        ExaminedSharing::Shared(number) => {
            Check::passed(NAME, format!("shared by {number} servers"))
        }
    }
}

fn iss_parameter(server: &ExaminedServer) -> Check {
    match (server.sends_iss, &server.mix_up_hosts) {
        (true, _) => Check::passed(CheckName::IssParameter, "promised, and checked"),
        (false, None) => Check::skipped(CheckName::IssParameter, "not promised; checked if it comes")
            .specification("RFC 9207"),
        (false, Some([page, tokens])) => Check::warning(
            CheckName::IssParameter,
            format!("not promised, although the sign-in page is at {page} and the token endpoint at {tokens}"),
        )
        .fix("make sure that both belong to the provider; its operator should send iss")
        .specification("RFC 9207; RFC 9700 §4.4"),
    }
}

fn registration(server: &ExaminedServer) -> Check {
    const METHODS: &str = "RFC 8414 §2, token_endpoint_auth_methods_supported";
    let found = match &server.registration {
        Ok(RegistrationWay::PreRegistered) => "the client of --client-id".to_owned(),
        Ok(RegistrationWay::MetadataDocument) => "by the client metadata document".to_owned(),
        Ok(RegistrationWay::NotNeeded) => "not needed: the token from outside is enough".to_owned(),
        Ok(RegistrationWay::Stored) => "registered before".to_owned(),
        Ok(RegistrationWay::Dynamic(endpoint)) => {
            format!("dynamic, at {endpoint} (not done now)")
        }
        Err(error) => {
            return failed(CheckName::Registration, error)
                .specification("RFC 7591; MCP 2025-11-25, Client Registration Approaches");
        }
    };
    match &server.authentication {
        ExaminedAuthentication::Possible => Check::passed(CheckName::Registration, found),
        ExaminedAuthentication::Doubtful { listed } => Check::warning(
            CheckName::Registration,
            format!("{found}; the token endpoint lists only {listed}, which does not fit this client"),
        )
        .fix("if the sign-in fails, check the client secret: --client-secret-env, --client-secret-file")
        .specification(METHODS),
        ExaminedAuthentication::Impossible { listed, wants_key } => {
            let fix = if *wants_key {
                "register a client with a public key there, and pass --client-id and \
                 --client-assertion-key"
            } else {
                "its operator has to accept one of none, client_secret_post, client_secret_basic and \
                 private_key_jwt"
            };
            Check::failed(
                CheckName::Registration,
                format!("{found}; but the token endpoint accepts only {listed}, which this client does not support"),
            )
            .fix(fix)
            .specification(METHODS)
        }
    }
}

fn failed(name: CheckName, error: &AuthError) -> Check {
    Check::failed(name, error.to_string()).fix_of_auth(error)
}

/// Another token than the refused one, if none has to be asked for at a person.
async fn another_token(
    authorizer: &Authorizer,
    refusal: Refusal,
) -> Result<AccessToken, AuthError> {
    authorizer
        .authorize(refusal, Interaction::Forbidden)
        .await?;
    let token = authorizer.token().await?;
    token.ok_or(AuthError::SignInRequired { url: None })
}

/// The stored token, or what the sign-in brings without a person.
async fn token(
    report: &mut Report<'_>,
    authorizer: &Authorizer,
    examination: &Examination<'_>,
    refusal: Refusal,
) -> Result<AccessToken, &'static str> {
    match timeout(STEP_LIMIT, authorizer.token()).await {
        Ok(Ok(Some(token))) => return Ok(token),
        Ok(Err(error)) => {
            report.add(failed(CheckName::Token, &error));
            return Err("there is no token");
        }
        Ok(Ok(None)) | Err(_) => {}
    }
    match limited(another_token(authorizer, refusal)).await {
        Ok(token) => Ok(token),
        Err(AuthError::SignInRequired { .. }) => {
            let imported = timeout(STEP_LIMIT, examination.has_import()).await;
            let found = if imported.unwrap_or_default() {
                "mcp-remote's is stored: the first request of the app takes it over"
            } else {
                "none is stored: the first request of the app opens the sign-in page"
            };
            report.add(
                Check::skipped(CheckName::Token, found).fix("sign in now: mcp-bridge login URL"),
            );
            Err(NOT_SIGNED_IN)
        }
        Err(error) => {
            report.add(failed(CheckName::Token, &error));
            Err("there is no token")
        }
    }
}

/// Check that the server accepts the token; an expired one is refreshed first, as always.
async fn accepted(
    report: &mut Report<'_>,
    authorizer: &Authorizer,
    probe: &Probe,
    url: &Url,
    token: AccessToken,
) -> Result<(AccessToken, Result<Reply, Failure>), &'static str> {
    let reply = probe.authorized(&token).post(url, &bare_initialize()).await;
    let refused = match reply {
        Ok(reply) if is_refusal(reply.status) => reply,
        reply => {
            report.add(Check::passed(CheckName::Token, "stored, and accepted"));
            return Ok((token, reply));
        }
    };
    let refusal = refusal(&refused, Some(token));
    match limited(another_token(authorizer, refusal)).await {
        Ok(token) => {
            report.hide(&token.header());
            let reply = probe.authorized(&token).post(url, &bare_initialize()).await;
            if reply.as_ref().is_ok_and(|reply| is_refusal(reply.status)) {
                report.add(failed(CheckName::Token, &AuthError::FreshTokenRefused));
                return Err("the server does not take its tokens");
            }
            report.add(Check::passed(CheckName::Token, "refreshed, and accepted"));
            Ok((token, reply))
        }
        Err(AuthError::SignInRequired { .. }) => {
            let found = "the stored one is refused and cannot be refreshed";
            let fix = "sign in again: mcp-bridge login URL";
            report.add(Check::warning(CheckName::Token, found).fix(fix));
            Err(NOT_SIGNED_IN)
        }
        Err(error) => {
            report.add(failed(CheckName::Token, &error));
            Err("there is no token")
        }
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

async fn limited<T>(step: impl Future<Output = Result<T, AuthError>>) -> Result<T, AuthError> {
    timeout(STEP_LIMIT, step).await.unwrap_or_else(|_| {
        Err(AuthError::Unavailable {
            reason: format!("no answer within {} s", STEP_LIMIT.as_secs()),
            retry_after: STEP_LIMIT,
        })
    })
}
