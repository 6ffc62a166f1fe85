//! Key of a client, and DPoP proofs that are as good or as bad as a test wants them.

use reqwest::{RequestBuilder, Response, header};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::client::{Answer, Client, Tokens, answer, form, initialize};
use super::issuer_double::{Key, encoded, now};
use mcp_bridge_text::random;

/// Random bytes of a proof's identifier.
const ID_BYTES: usize = 16;

/// Holder of a key.
pub(super) struct Prover(Key);

impl Prover {
    pub(super) fn new() -> Self {
        Self(Key::p256("proofs"))
    }

    pub(super) fn ed25519() -> Self {
        Self(Key::ed25519("proofs"))
    }

    /// The thumbprint of the key (RFC 7638).
    pub(super) fn thumbprint(&self) -> String {
        let public = self.0.public();
        let [curve, x] = ["crv", "x"].map(|name| &public[name]);
        let canonical = match public["kty"].as_str() {
            Some("EC") => format!(
                r#"{{"crv":{curve},"kty":"EC","x":{x},"y":{}}}"#,
                public["y"]
            ),
            _ => format!(r#"{{"crv":{curve},"kty":"OKP","x":{x}}}"#),
        };
        hash(&canonical)
    }

    /// The header of a good proof.
    pub(super) fn header(&self) -> Value {
        let mut header = self.0.header();
        let members = header.as_object_mut().unwrap();
        members.remove("kid");
        members.insert("typ".to_owned(), json!("dpop+jwt"));
        members.insert("jwk".to_owned(), self.0.public());
        header
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.0.sign_with(header, claims)
    }

    pub(super) fn proof(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A good proof for the token endpoint.
    pub(super) fn for_tokens(&self, client: &Client) -> String {
        self.proof(&token_claims(client))
    }

    /// A good proof for a message to the MCP endpoint.
    pub(super) fn for_message(&self, client: &Client, token: &str) -> String {
        self.proof(&message_claims(client, token))
    }

    /// A sign-in whose tokens are bound to the key.
    pub(super) async fn tokens(&self, client: &Client) -> Tokens {
        let code = client.code("ada", "profile").await;
        let exchange = client.code_exchange(&code);
        let answer = ask_for_tokens(client, &exchange, &self.for_tokens(client)).await;
        assert_eq!(answer.body["token_type"], "DPoP", "{}", answer.body);
        answer.tokens()
    }

    /// The answer to a message with this token and a good proof.
    pub(super) async fn send(&self, client: &Client, token: &str) -> Response {
        send(client, token, &self.for_message(client, token)).await
    }
}

/// The hash of a text, as proofs have it.
pub(super) fn hash(text: &str) -> String {
    encoded(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Claims of a good proof for the token endpoint.
pub(super) fn token_claims(client: &Client) -> Value {
    json!({
        "jti": random::string::<ID_BYTES>(), "htm": "POST", "htu": client.url("/token"), "iat": now(),
    })
}

/// Claims of a good proof for a message to the MCP endpoint.
pub(super) fn message_claims(client: &Client, token: &str) -> Value {
    json!({
        "jti": random::string::<ID_BYTES>(), "htm": "POST", "htu": client.resource, "iat": now(),
        "ath": hash(token),
    })
}

/// Sends a token request with this proof.
pub(super) async fn ask_for_tokens(
    client: &Client,
    parameters: &[(&str, String)],
    proof: &str,
) -> Answer {
    let request = form(client.post("/token"), parameters).header("dpop", proof);
    answer(request.send().await.unwrap()).await
}

/// A message with a bound token and this proof.
pub(super) fn message(client: &Client, token: &str, proof: &str) -> RequestBuilder {
    client
        .post("/mcp")
        .header(header::AUTHORIZATION, format!("DPoP {token}"))
        .header("dpop", proof)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(initialize().to_string())
}

pub(super) async fn send(client: &Client, token: &str, proof: &str) -> Response {
    message(client, token, proof).send().await.unwrap()
}

/// The challenges of a response, each a line.
pub(super) fn challenges(response: &Response) -> Vec<String> {
    let lines = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    lines
        .map(|line| line.to_str().unwrap().to_owned())
        .collect()
}
