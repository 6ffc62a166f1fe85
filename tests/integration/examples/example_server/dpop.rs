//! Tokens that are bound to a key (DPoP, RFC 9449): at the token endpoint, at the MCP endpoint, and with the bridge. Clients
//! that others wrote are in `tests/foreign`.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::client::{
    Client, answer, basic, form, initialize, options, public_client, start, text, with,
};
use super::issuer_double::{Issuer, Key, now};
use super::prover::{
    Prover, ask_for_tokens, challenges, hash, message, message_claims, send, token_claims,
};
use crate::auth::sign_in::user::{self, User};
use crate::server::dpop::{DpopPolicy, DpopSettings, NoncePolicy};
use crate::server::{Options, Server};
use mcp_bridge_testkit::app::INITIALIZED;

/// Seconds by which the clock of a client may be wrong.
const WINDOW: u64 = 300;

/// Seconds by which the time of a proof is surely wrong.
const TOO_FAR: u64 = WINDOW + 60;

async fn start_with(policy: DpopPolicy, nonces: NoncePolicy) -> Server {
    let options = Options {
        dpop: DpopSettings { policy, nonces },
        ..options()
    };
    Server::start(options).await.unwrap()
}

async fn document(client: &Client, name: &str) -> Value {
    let path = format!("/.well-known/{name}");
    answer(client.get(&path).send().await.unwrap()).await.body
}

fn assert_bearer_without_error(challenge: &str) {
    assert!(
        challenge.starts_with("Bearer ") && !challenge.contains("error"),
        "{challenge}"
    );
}

/// RFC 9449 §5.1, RFC 9728 §2
#[tokio::test]
async fn the_metadata_say_whether_tokens_are_bound() {
    let algorithms = json!(["RS256", "PS256", "ES256", "EdDSA"]);
    for (policy, expected, is_required) in [
        (DpopPolicy::Off, Value::Null, Value::Null),
        (DpopPolicy::Auto, algorithms.clone(), Value::Null),
        (DpopPolicy::Required, algorithms, json!(true)),
    ] {
        let server = start_with(policy, NoncePolicy::Unused).await;
        let client = Client::unknown(&server);
        let issuer = document(&client, "oauth-authorization-server").await;
        let resource = document(&client, "oauth-protected-resource/mcp").await;
        for metadata in [issuer, resource.clone()] {
            assert_eq!(metadata["dpop_signing_alg_values_supported"], expected);
        }
        assert_eq!(resource["dpop_bound_access_tokens_required"], is_required);
    }
}

/// RFC 9449 §7.1
#[tokio::test]
async fn a_token_that_is_bound_to_a_key_needs_a_proof_of_it() {
    for prover in [Prover::new(), Prover::ed25519()] {
        let server = start().await;
        let client = Client::registered(&server).await;
        let token = prover.tokens(&client).await.access;
        for _ in 0..2 {
            let accepted = prover.send(&client, &token).await;
            assert_eq!(
                accepted.status(),
                StatusCode::OK,
                "{:?}",
                challenges(&accepted)
            );
        }

        let (status, challenge) = client.try_token(&token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(
            challenge.starts_with(r#"Bearer error="invalid_token""#),
            "{challenge}"
        );
        let of_another_key = Prover::new().send(&client, &token).await;
        assert_eq!(of_another_key.status(), StatusCode::UNAUTHORIZED);
        let [first, second] = &challenges(&of_another_key)[..] else {
            panic!("two challenges");
        };
        assert!(
            first.starts_with(r#"DPoP error="invalid_token""#),
            "{first}"
        );
        assert!(
            first.contains("another key") && first.contains("algs=\"RS256 "),
            "{first}"
        );
        assert_bearer_without_error(second);
    }
}

/// RFC 9449 §4.3: each with its reason.
#[tokio::test]
async fn a_proof_that_is_not_for_this_request_is_refused() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let prover = Prover::new();
    let token = prover.tokens(&client).await.access;
    let origin = client.url("/").to_string();
    let wrong_claims = [
        ("htm", json!("GET"), "htm of the proof must be POST"),
        ("htm", json!("post"), "htm of the proof must be POST"),
        ("htu", json!(origin), "htu of the proof must be "),
        ("htu", client.url("/token").as_str().into(), "htu of"),
        ("htu", json!("https://evil.example/mcp"), "htu of"),
        ("iat", json!(now() - TOO_FAR), "iat of the proof must be"),
        ("iat", json!(now() + TOO_FAR), "iat of the proof must be"),
        ("iat", json!("now"), "iat of the proof must be"),
        ("jti", json!(""), "jti of the proof is missing"),
        ("jti", json!(7), "jti of the proof is missing"),
        ("ath", json!(hash("another")), "ath of the proof must be"),
        ("ath", json!(token), "ath of the proof must be"),
        ("content_digest", json!("sha-256=:AA==:"), "content_digest"),
        ("content_digest", json!(1), "content_digest"),
    ];
    for (claim, value, reason) in wrong_claims {
        let mut claims = message_claims(&client, &token);
        claims[claim] = value.clone();
        let refused = send(&client, &token, &prover.proof(&claims)).await;
        assert_refused(&refused, reason, &format!("{claim}={value}"));
    }
    for claim in ["htm", "htu", "iat", "jti", "ath"] {
        let mut claims = message_claims(&client, &token);
        claims.as_object_mut().unwrap().remove(claim);
        let refused = send(&client, &token, &prover.proof(&claims)).await;
        assert_refused(&refused, claim, claim);
    }

    let mut with_secret = prover.header()["jwk"].clone();
    with_secret["d"] = json!("AAAA");
    let symmetric = json!({ "kty": "oct", "k": "AAAA" });
    let wrong_headers = [
        ("typ", json!("JWT"), "typ of the proof must be dpop+jwt"),
        ("typ", Value::Null, "typ of the proof must be dpop+jwt"),
        ("alg", json!("none"), "alg of the proof must be one of"),
        ("alg", json!("HS256"), "alg of the proof must be one of"),
        ("alg", json!("ES384"), "alg of the proof must be one of"),
        ("alg", json!("EdDSA"), "signature of the proof is not"),
        ("alg", json!("RS256"), "signature of the proof is not"),
        ("jwk", with_secret, "must be a public key"),
        ("jwk", symmetric, "must be a public key"),
        ("jwk", json!({}), "must be a key on P-256 or Ed25519"),
        ("jwk", json!("key"), "must be a key on P-256 or Ed25519"),
        ("jwk", Prover::new().header()["jwk"].clone(), "signature"),
        (
            "jwk",
            Prover::ed25519().header()["jwk"].clone(),
            "signature",
        ),
        ("crit", json!(["b64"]), "extension that is not known"),
    ];
    for (member, value, reason) in wrong_headers {
        let mut header = prover.header();
        header[member] = value.clone();
        let proof = prover.sign(&header, &message_claims(&client, &token));
        let refused = send(&client, &token, &proof).await;
        assert_refused(&refused, reason, &format!("{member}={value}"));
    }

    let good = prover.for_message(&client, &token);
    let (message_part, _) = good.rsplit_once('.').unwrap();
    for (proof, reason) in [
        (String::new(), "the proof is no JWT"),
        ("no proof".to_owned(), "the proof is no JWT"),
        (format!("{message_part}."), "signature of the proof is not"),
        (format!("{good}A"), "signature of the proof is not"),
    ] {
        let refused = send(&client, &token, &proof).await;
        assert_refused(&refused, reason, &proof);
    }
    let twice = message(&client, &token, &good).header("dpop", prover.for_message(&client, &token));
    let refused = twice.send().await.unwrap();
    assert_refused(&refused, "there has to be one DPoP header", "two proofs");

    // None of these has used up anything.
    assert_eq!(send(&client, &token, &good).await.status(), StatusCode::OK);
}

fn assert_refused(response: &reqwest::Response, reason: &str, what: &str) {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
    let challenge = challenges(response).remove(0);
    let error = r#"DPoP error="invalid_dpop_proof""#;
    assert!(challenge.starts_with(error), "{what}: {challenge}");
    assert!(challenge.contains(reason), "{what}: {challenge}");
    assert!(challenge.contains("resource_metadata="), "{challenge}");
}

/// RFC 9449 §11.1
#[tokio::test]
async fn a_proof_is_good_once() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let prover = Prover::new();
    let token = prover.tokens(&client).await.access;
    let proof = prover.for_message(&client, &token);
    assert_eq!(send(&client, &token, &proof).await.status(), StatusCode::OK);
    let replayed = send(&client, &token, &proof).await;
    assert_refused(&replayed, "the proof was used before (jti)", "replay");
    // Signed anew, it is the same proof.
    let mut claims = message_claims(&client, &token);
    claims["jti"] = json!("once");
    let first = send(&client, &token, &prover.proof(&claims)).await;
    assert_eq!(first.status(), StatusCode::OK);
    let again = send(&client, &token, &prover.proof(&claims)).await;
    assert_refused(&again, "the proof was used before (jti)", "the same jti");

    let proof = prover.for_tokens(&client);
    for (n, error) in [(1, Value::Null), (2, json!("invalid_dpop_proof"))] {
        let code = client.code("ada", "profile").await;
        let answer = ask_for_tokens(&client, &client.code_exchange(&code), &proof).await;
        assert_eq!(answer.body["error"], error, "{n}");
    }
}

/// RFC 9449 §5: a refused proof costs the client nothing but the attempt.
#[tokio::test]
async fn the_token_endpoint_refuses_a_bad_proof_and_the_code_is_still_good() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let prover = Prover::new();
    let code = client.code("ada", "profile").await;
    let exchange = client.code_exchange(&code);
    for (claim, value) in [
        ("htu", json!(client.resource)),
        ("htm", json!("GET")),
        ("iat", json!(now() - TOO_FAR)),
        ("jti", json!("")),
    ] {
        let mut claims = token_claims(&client);
        claims[claim] = value;
        let refused = ask_for_tokens(&client, &exchange, &prover.proof(&claims)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.error(), "invalid_dpop_proof", "{claim}");
        let reason = text(&refused.body["error_description"]);
        assert!(reason.contains(claim), "{claim}: {reason}");
    }
    let answer = ask_for_tokens(&client, &exchange, &prover.for_tokens(&client)).await;
    assert_eq!(answer.body["token_type"], "DPoP");
}

#[tokio::test]
async fn a_client_without_a_key_has_bearer_tokens_as_ever() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let code = client.code("ada", "profile").await;
    let answer = client.token(&client.code_exchange(&code)).await;
    assert_eq!(answer.body["token_type"], "Bearer");
    let token = answer.tokens().access;
    assert_eq!(client.try_token(&token).await.0, StatusCode::OK);
    // Not with the other scheme, whoever proves what.
    let refused = Prover::new().send(&client, &token).await;
    let challenge = challenges(&refused).remove(0);
    let expected = r#"DPoP error="invalid_token", error_description="the token is not bound"#;
    assert!(challenge.starts_with(expected), "{challenge}");
}

/// RFC 9449 §5, §8
#[tokio::test]
async fn the_refresh_token_of_a_public_client_is_bound_and_that_of_another_is_not() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let (prover, thief) = (Prover::new(), Prover::new());
    let tokens = prover.tokens(&client).await;
    let refresh = client.refresh(&tokens.refresh);
    let without = client.token(&refresh).await;
    assert_eq!(without.error(), "invalid_grant");
    let stolen = ask_for_tokens(&client, &refresh, &thief.for_tokens(&client)).await;
    assert_eq!(stolen.error(), "invalid_grant");
    let reason = text(&stolen.body["error_description"]);
    assert!(reason.contains("bound to a key"), "{reason}");

    let renewed = ask_for_tokens(&client, &refresh, &prover.for_tokens(&client)).await;
    assert_eq!(renewed.body["token_type"], "DPoP");
    let newest = renewed.tokens();
    // A thief who uses the old one does not end the grant; its client who does has had it stolen by somebody with the key.
    let stolen = ask_for_tokens(&client, &refresh, &thief.for_tokens(&client)).await;
    assert_eq!(stolen.error(), "invalid_grant");
    let accepted = prover.send(&client, &newest.access).await;
    assert_eq!(accepted.status(), StatusCode::OK);

    let mut metadata = public_client();
    metadata["token_endpoint_auth_method"] = json!("client_secret_basic");
    let registered = Client::unknown(&server).register(metadata).await.body;
    let client = Client::unknown(&server).known_as(&text(&registered["client_id"]));
    let secret = text(&registered["client_secret"]);
    let ask = async |parameters: &[(&str, String)], prover: &Prover| {
        let request = form(client.post("/token"), parameters)
            .header(header::AUTHORIZATION, basic(&client.id, &secret))
            .header("dpop", prover.for_tokens(&client));
        answer(request.send().await.unwrap()).await
    };
    let code = client.code("ada", "profile").await;
    let first = ask(&client.code_exchange(&code), &prover).await.tokens();
    let next = Prover::new();
    let second = ask(&client.refresh(&first.refresh), &next).await.tokens();
    let accepted = next.send(&client, &second.access).await;
    assert_eq!(accepted.status(), StatusCode::OK);
}

/// RFC 9449 §10
#[tokio::test]
async fn a_code_that_is_bound_to_a_key_is_of_no_use_with_another() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let prover = Prover::new();
    let request = with(
        client.authorization_request(),
        "dpop_jkt",
        &prover.thumbprint(),
    );
    let code = client.code_for(&request, "ada").await;
    let other = Prover::new().for_tokens(&client);
    let refused = ask_for_tokens(&client, &client.code_exchange(&code), &other).await;
    assert_eq!(refused.error(), "invalid_grant");
    let code = client.code_for(&request, "ada").await;
    let refused = client.token(&client.code_exchange(&code)).await;
    assert_eq!(refused.error(), "invalid_grant");
    let code = client.code_for(&request, "ada").await;
    let proof = prover.for_tokens(&client);
    let answer = ask_for_tokens(&client, &client.code_exchange(&code), &proof).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

/// RFC 9449 §5.2
#[tokio::test]
async fn a_client_that_wants_bound_tokens_alone_gets_no_others() {
    let server = start().await;
    let mut metadata = public_client();
    metadata["dpop_bound_access_tokens"] = json!(true);
    let registered = Client::unknown(&server).register(metadata).await.body;
    assert_eq!(registered["dpop_bound_access_tokens"], true);
    let client = Client::unknown(&server).known_as(&text(&registered["client_id"]));
    let code = client.code("ada", "profile").await;
    let exchange = client.code_exchange(&code);
    let refused = client.token(&exchange).await;
    assert_eq!(refused.error(), "invalid_dpop_proof");
    let proof = Prover::new().for_tokens(&client);
    let answer = ask_for_tokens(&client, &exchange, &proof).await;
    assert_eq!(answer.body["token_type"], "DPoP");
}

/// RFC 9449 §8, §9: each role has its own nonces, and each response brings the next.
#[tokio::test]
async fn with_nonces_a_proof_needs_the_one_of_the_last_answer() {
    let server = start_with(DpopPolicy::Auto, NoncePolicy::Needed).await;
    let client = Client::registered(&server).await;
    let prover = Prover::new();
    let code = client.code("ada", "profile").await;
    let exchange = client.code_exchange(&code);
    let proof = |nonce: Option<&str>| {
        let mut claims = token_claims(&client);
        nonce.inspect(|nonce| claims["nonce"] = json!(nonce));
        prover.proof(&claims)
    };
    let ask = async |nonce: Option<&str>| {
        let request = form(client.post("/token"), &exchange).header("dpop", proof(nonce));
        let response = request.send().await.unwrap();
        let nonce = text(&json!(response.headers()["dpop-nonce"].to_str().unwrap()));
        (nonce, answer(response).await)
    };
    let (nonce, refused) = ask(None).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.error(), "use_dpop_nonce");
    let (_, refused) = ask(Some("made up")).await;
    assert_eq!(refused.error(), "use_dpop_nonce");
    let (_, answered) = ask(Some(&nonce)).await;
    let token = answered.tokens().access;

    let send = async |nonce: Option<&str>| {
        let mut claims = message_claims(&client, &token);
        nonce.inspect(|nonce| claims["nonce"] = json!(nonce));
        send(&client, &token, &prover.proof(&claims)).await
    };
    // The nonce of the authorization server is none of the resource server.
    for wrong in [None, Some(nonce.as_str())] {
        let refused = send(wrong).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let challenge = challenges(&refused).remove(0);
        assert!(
            challenge.starts_with(r#"DPoP error="use_dpop_nonce""#),
            "{challenge}"
        );
    }
    let refused = send(None).await;
    let nonce = refused.headers()["dpop-nonce"].to_str().unwrap();
    let accepted = send(Some(nonce)).await;
    assert_eq!(accepted.status(), StatusCode::OK);
    assert!(accepted.headers().contains_key("dpop-nonce"));
}

#[tokio::test]
async fn where_bound_tokens_are_required_there_are_no_others() {
    let server = start_with(DpopPolicy::Required, NoncePolicy::Unused).await;
    let client = Client::registered(&server).await;
    let unsigned = client.mcp("unknown", &initialize()).send().await.unwrap();
    let [challenge] = &challenges(&unsigned)[..] else {
        panic!("one challenge");
    };
    assert!(challenge.starts_with("DPoP error="), "{challenge}");
    let code = client.code("ada", "profile").await;
    let exchange = client.code_exchange(&code);
    let refused = client.token(&exchange).await;
    assert_eq!(refused.error(), "invalid_dpop_proof");
    let prover = Prover::new();
    let answer = ask_for_tokens(&client, &exchange, &prover.for_tokens(&client)).await;
    let accepted = prover.send(&client, &answer.tokens().access).await;
    assert_eq!(accepted.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_dpop_proofs_mean_nothing() {
    let server = start_with(DpopPolicy::Off, NoncePolicy::Unused).await;
    let client = Client::registered(&server).await;
    let code = client.code("ada", "profile").await;
    let answer = ask_for_tokens(&client, &client.code_exchange(&code), "no proof").await;
    assert_eq!(answer.body["token_type"], "Bearer");
    let token = answer.tokens().access;
    assert_eq!(client.try_token(&token).await.0, StatusCode::OK);
    let refused = Prover::new().send(&client, &token).await;
    let [challenge] = &challenges(&refused)[..] else {
        panic!("one challenge");
    };
    assert_bearer_without_error(challenge);
}

/// The streams and the end of a session, too: a proof is for one method.
#[tokio::test]
async fn every_method_needs_a_proof_of_its_own() {
    let server = start().await;
    let client = Client::registered(&server).await;
    let prover = Prover::new();
    let token = prover.tokens(&client).await.access;
    let opened = prover.send(&client, &token).await;
    let session = opened.headers()["mcp-session-id"].clone();
    let delete = async |proof: String| {
        let request = message(&client, &token, &proof).build().unwrap();
        let mut request = reqwest::RequestBuilder::from_parts(client.http(), request);
        request = request.header("mcp-session-id", &session);
        let mut request = request.build().unwrap();
        *request.method_mut() = Method::DELETE;
        *request.body_mut() = None;
        client.http().execute(request).await.unwrap()
    };
    let refused = delete(prover.for_message(&client, &token)).await;
    assert_refused(&refused, "htm of the proof must be DELETE", "DELETE");
    let mut claims = message_claims(&client, &token);
    claims["htm"] = json!("DELETE");
    assert!(delete(prover.proof(&claims)).await.status().is_success());
}

/// RFC 9449 §6: the tokens of an identity provider may be bound as well.
#[tokio::test]
async fn a_bound_token_of_an_issuer_needs_a_proof_too() {
    let key = Key::p256("one");
    let issuer = Issuer::start("", &[&key]).await;
    let (server, client) = issuer.server(|_| {}).await;
    let prover = Prover::new();
    let mut claims = issuer.claims(&server);
    claims["cnf"] = json!({ "jkt": prover.thumbprint() });
    let token = key.sign(&claims);
    let accepted = prover.send(&client, &token).await;
    assert_eq!(
        accepted.status(),
        StatusCode::OK,
        "{:?}",
        challenges(&accepted)
    );
    let stolen = Prover::new().send(&client, &token).await;
    assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);
    let (status, challenge) = client.try_token(&token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(challenge.contains("needs the scheme DPoP"), "{challenge}");

    // A certificate is proved by nobody here, also beside a key.
    for binding in [
        json!({ "x5t#S256": prover.thumbprint() }),
        json!({ "jkt": prover.thumbprint(), "x5t#S256": "A" }),
    ] {
        claims["cnf"] = binding;
        let token = key.sign(&claims);
        let refused = prover.send(&client, &token).await;
        let challenge = challenges(&refused).remove(0);
        assert!(challenge.contains("that is not proved here"), "{challenge}");
    }
}

/// A-110, A-111, A-113: the bridge takes the offer, and has no more to do than before.
#[tokio::test]
async fn the_bridge_has_tokens_that_are_of_no_use_to_anybody_else() {
    for (policy, nonces) in [
        (DpopPolicy::Auto, NoncePolicy::Unused),
        (DpopPolicy::Auto, NoncePolicy::Needed),
        (DpopPolicy::Required, NoncePolicy::Needed),
    ] {
        let server = start_with(policy, nonces).await;
        let person = User::new();
        signed_in(&person, &server, &[]).await;
        let stolen = person.tokens().expect("somebody has signed in");
        let thief = Client::unknown(&server);
        let (status, _) = thief.try_token(&stolen.access).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{policy:?} {nonces:?}");
        let refused = Prover::new().send(&thief, &stolen.access).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
}

/// A-113
#[tokio::test]
async fn a_bridge_that_wants_no_bound_tokens_has_others() {
    let server = start().await;
    let person = User::new();
    signed_in(&person, &server, &["--dpop", "off"]).await;
    let tokens = person.tokens().expect("somebody has signed in");
    let (status, _) = Client::unknown(&server).try_token(&tokens.access).await;
    assert_eq!(status, StatusCode::OK);
}

/// A session of the bridge in which a person signs in once.
async fn signed_in(person: &User, server: &Server, flags: &[&str]) {
    let mut app = person.launch(server.url()).args(flags).start();
    app.send(mcp_bridge_testkit::app::initialize_line("2025-11-25"))
        .await;
    person.window().await.sign_in().await;
    app.result("init").await;
    app.send(INITIALIZED).await;
    for call in 0..3 {
        let params = json!({ "name": "get-user-data", "arguments": {} });
        app.request(call, "tools/call", &params).await;
        let data = app.result(call).await;
        assert_eq!(data["structuredContent"]["id"], user::NAME, "{data}");
    }
    app.finish().await;
    person.saw_every_window();
}
