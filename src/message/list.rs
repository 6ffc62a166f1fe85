//! Lists inside a result, which are shortened without touching what stays.

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use super::{Message, range_in};

impl Message {
    /// The response with only those elements of the list `member` of its result that `keep` wants. The
    /// others are cut out of the text together with a comma; every other byte stays. A result without
    /// such a list stays whole.
    #[must_use]
    pub fn with_elements(&self, member: &str, mut keep: impl FnMut(&RawValue) -> bool) -> Self {
        let Some(elements) = self.result_member::<Vec<&RawValue>>(member) else {
            return self.clone();
        };
        let kept: Vec<bool> = elements.iter().map(|element| keep(element)).collect();
        if kept.iter().all(|kept| *kept) {
            return self.clone();
        }
        let text = self.text();
        let place = |element: &RawValue| range_in(text, element.get());
        let places: Vec<_> = elements.iter().map(|element| place(element)).collect();
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return self.clone();
        };
        let mut shortened = BytesMut::with_capacity(text.len());
        shortened.extend_from_slice(&text[..first.start]);
        let mut is_first = true;
        for at in (0..places.len()).filter(|at| kept[*at]) {
            let start = if std::mem::take(&mut is_first) {
                places[at].start
            } else {
                // With the comma, and the white space around it, that stands before the element.
                places[at - 1].end
            };
            shortened.extend_from_slice(&text[start..places[at].end]);
        }
        shortened.extend_from_slice(&text[last.end..]);
        Self::parse(&Bytes::from(shortened)).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes())).expect(text)
    }

    /// A response with this list, in which white space stands wherever it may.
    fn response(elements: &[String]) -> String {
        let list = elements.join(" ,\t");
        format!(
            r#"{{ "id":1, "result":{{"x":1e400,"tools" : [ {list} ] ,"nextCursor":"a,b"}} ,"jsonrpc":"2.0"}}"#
        )
    }

    #[test]
    fn what_stays_keeps_its_bytes_whichever_elements_go() {
        const ELEMENTS: usize = 6;
        let elements: Vec<String> = (0..ELEMENTS)
            .map(|n| format!(r#"{{"n":{n}.0,"s":"],[{{\"\ud800","x":[1, 2]}}"#))
            .collect();
        for pattern in 0..1_u32 << ELEMENTS {
            let stays = |n: usize| pattern >> n & 1 == 1;
            let mut at = 0;
            let got = message(&response(&elements)).with_elements("tools", |_| {
                at += 1;
                stays(at - 1)
            });
            let kept: Vec<String> = (0..ELEMENTS)
                .filter(|n| stays(*n))
                .map(|n| elements[n].clone())
                .collect();
            assert_eq!(got.text(), response(&kept).as_bytes(), "{pattern:b}");
        }
    }

    #[test]
    fn without_such_a_list_nothing_changes() {
        for result in [
            r#"{"tools":[]}"#,
            r#"{"tools":7}"#,
            r#"{"tools":null}"#,
            r#"{"other":[1]}"#,
            "[1]",
            "7",
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            let got = message(&text).with_elements("tools", |_| false);
            assert_eq!(got.text(), text.as_bytes());
        }
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","tools":[1]}}"#;
        let got = message(error).with_elements("tools", |_| false);
        assert_eq!(got.text(), error.as_bytes());
    }
}
