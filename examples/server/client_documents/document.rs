//! Content of a document: the metadata of a client (RFC 7591 §2), with what the draft adds (§4) and leaves out.

use serde_json::{Map, Value};

use super::super::authorization::ClientMetadata;
use super::DocumentRefusal;

/// Reads the document that was fetched from `id`.
pub(super) fn parse(body: &[u8], id: &str) -> Result<ClientMetadata, DocumentRefusal> {
    let parsed = serde_json::from_slice::<Map<String, Value>>(body);
    let mut document = parsed.map_err(|_| DocumentRefusal::Json)?;
    if document.get("client_id").and_then(Value::as_str) != Some(id) {
        return Err(DocumentRefusal::OtherClient);
    }
    if document.contains_key("client_secret") || document.contains_key("client_secret_expires_at") {
        return Err(DocumentRefusal::Secret);
    }
    if !document.contains_key("client_name") {
        return Err(DocumentRefusal::Unnamed);
    }
    // There is no secret, so the default of RFC 7591 makes no sense.
    let method = document
        .entry("token_endpoint_auth_method")
        .or_insert_with(|| "none".into());
    if method != "none" {
        return Err(DocumentRefusal::Authentication);
    }
    leave_out_unknown(&mut document);
    ClientMetadata::parse_document(document).map_err(DocumentRefusal::Metadata)
}

/// Leaves out what other authorization servers know: the document is for all of them.
fn leave_out_unknown(document: &mut Map<String, Value>) {
    document.remove("scope");
    for (member, known) in [
        ("grant_types", &["authorization_code", "refresh_token"][..]),
        ("response_types", &["code"]),
    ] {
        if let Some(Value::Array(values)) = document.get_mut(member) {
            values.retain(|value| value.as_str().is_some_and(|it| known.contains(&it)));
        }
    }
}
