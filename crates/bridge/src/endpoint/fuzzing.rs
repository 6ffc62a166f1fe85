//! Properties of event streams and request headers for any input, behind `fuzz/`. A property that does not hold panics.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::ParamHeaders;
use super::headers;
use super::sse::{EventParser, SseEvent};
use super::tool_headers::ToolHeaders;
use mcp_bridge_protocol::message::Message;

/// No event of the inputs is longer: how a limit is met depends on the cuts.
const LIMIT: usize = usize::MAX;

/// An event stream gives the same events, whatever pieces it arrives in. The first byte says how long they are.
///
/// # Panics
///
/// If it does not hold.
pub fn event_stream(data: &[u8]) {
    let Some((&length, stream)) = data.split_first() else {
        return;
    };
    let whole = read(std::iter::once(stream));
    assert_eq!(read(stream.chunks(usize::from(length).max(1))), whole);
    assert_eq!(read(stream.chunks(1)), whole);
}

/// Events of a stream, and the rest at its end.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    events: Vec<SseEvent>,
    retry: Option<u64>,
    last_event_id: Option<Bytes>,
    unfinished: Option<Bytes>,
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut parser = EventParser::new(LIMIT);
    let mut events = Vec::new();
    for piece in pieces {
        parser.push(piece);
        while let Some(event) = parser.next().expect("there is no limit") {
            events.push(event);
        }
    }
    Read {
        events,
        retry: parser.retry(),
        last_event_id: parser.last_event_id().cloned(),
        unfinished: parser.unfinished(),
    }
}

/// The first line is a `tools/list` response, the second a request. The server can read its headers, and finds in
/// them what is in the message (MCP 2026-07-28, "Value Encoding").
///
/// # Panics
///
/// If it does not hold.
pub fn request_headers(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let tools = ToolHeaders::default();
    let listed = lines.next().unwrap_or_default();
    if let Ok(listed) = Message::parse(&Bytes::copy_from_slice(listed)) {
        tools.learn_legacy(&listed);
        tools.learn(&listed);
    }
    let request = lines.next().unwrap_or_default();
    let Ok(request) = Message::parse(&Bytes::copy_from_slice(request)) else {
        return;
    };
    let _ = headers::legacy(&request, &tools, ParamHeaders::Always);
    let Ok(headers) = headers::modern(&request, &tools, ParamHeaders::Auto) else {
        return;
    };
    for (name, value) in &headers {
        let value = value.to_str().expect("printable ASCII");
        let encoded = value
            .strip_prefix("=?base64?")
            .and_then(|it| it.strip_suffix("?="));
        let decoded = encoded.map(|it| BASE64_STANDARD.decode(it).expect("Base64"));
        let decoded = decoded.unwrap_or_else(|| value.as_bytes().to_vec());
        if name == "mcp-name" && request.method() == Some("tools/call") {
            let expected = request
                .param::<String>("name")
                .expect("it is in the header");
            assert_eq!(decoded, expected.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_bridge_testkit::corpus::replay;

    use super::*;

    #[test]
    fn the_inputs_that_fuzzing_found_keep_the_properties() {
        replay("event_stream", event_stream);
        replay("request_headers", request_headers);
    }
}
