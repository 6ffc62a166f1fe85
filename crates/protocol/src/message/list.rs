//! Lists inside results: edits and pagination (MCP "Pagination"). Bytes that an edit does not concern stay as they
//! are.

use std::collections::HashSet;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Member, Message, members, range_in};

/// Pages of one list that are read. A server with more is taken for one whose list has no end.
pub const MAX_PAGES: usize = 100;

/// The longest cursor that is sent back, in bytes.
const MAX_CURSOR_BYTES: usize = 64 * 1024;

/// Limit for the bytes of the cursors of one list. Cursors have some hundred bytes.
const MAX_CURSORS_BYTES: usize = 256 * 1024;

/// The member of a result that names the next page.
const NEXT_CURSOR: &str = "nextCursor";

/// The pages of one list that were read.
#[derive(Debug, Default)]
pub struct Pages {
    read: usize,
    /// The cursors of all pages but the first.
    cursors: HashSet<String>,
    /// The bytes of these cursors.
    bytes: usize,
}

/// The meaning of an empty `nextCursor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyCursor {
    /// There is no further page: legacy servers write it where they have no cursor.
    Ends,
    /// A cursor like any other (MCP 2026-07-28).
    Continues,
}

/// The page that follows.
#[derive(Debug, PartialEq, Eq)]
pub enum NextPage {
    /// The one at this cursor.
    At(String),
    /// The list is complete, as far as the server lets anybody read it.
    None,
    /// The list is too long to be read to its end.
    TooMany,
}

impl Pages {
    /// Enters a page and tells which one follows. A cursor that the server gave before leads in a circle,
    /// so it ends the list.
    pub fn after(&mut self, page: &Message, empty: EmptyCursor) -> NextPage {
        self.read += 1;
        let Some(cursor) = next_cursor(page, empty) else {
            return NextPage::None;
        };
        if self.cursors.contains(&cursor) {
            return NextPage::None;
        }
        self.bytes += cursor.len();
        if self.read >= MAX_PAGES
            || cursor.len() > MAX_CURSOR_BYTES
            || self.bytes > MAX_CURSORS_BYTES
        {
            return NextPage::TooMany;
        }
        self.cursors.insert(cursor.clone());
        NextPage::At(cursor)
    }

    /// The list is read from its beginning once more. The pages so far count all the same.
    pub fn start_over(&mut self) {
        self.cursors.clear();
        self.bytes = 0;
    }
}

/// The cursor of the page after `page`.
#[must_use]
pub fn next_cursor(page: &Message, empty: EmptyCursor) -> Option<String> {
    // Nearly every list is whole, and this is much cheaper than to look into each member.
    memchr::memmem::find(page.text(), NEXT_CURSOR.as_bytes())?;
    let cursor = page.result_member::<String>(NEXT_CURSOR)?;
    let ends = cursor.is_empty() && empty == EmptyCursor::Ends;
    (!ends).then_some(cursor)
}

/// The params of a list request of our own, with the `_meta` of the request that needs it, if there is one. Progress
/// is left out: a token stands for one request.
#[must_use]
pub fn params_on_behalf_of(request: Option<&Message>) -> Value {
    let mut params = json!({});
    let meta = request.and_then(|request| request.param::<Value>("_meta"));
    if let Some(mut meta) = meta {
        if let Some(meta) = meta.as_object_mut() {
            meta.remove("progressToken");
        }
        params["_meta"] = meta;
    }
    params
}

impl Message {
    /// The response with the elements that the list `member` has in `pages` added to its own, and without
    /// a `nextCursor`. An element that is there already, byte for byte, is not added again. `None` where
    /// a page has no such list.
    #[must_use]
    pub fn with_pages(&self, member: &str, pages: &[Self]) -> Option<Self> {
        let own: Vec<&RawValue> = self.result_member(member)?;
        let mut known: HashSet<&str> = own.iter().map(|element| element.get()).collect();
        let mut added = String::new();
        for page in pages {
            for element in page.result_member::<Vec<&RawValue>>(member)? {
                if known.insert(element.get()) {
                    added.push(',');
                    added.push_str(element.get());
                }
            }
        }
        let place = if let Some(last) = own.last() {
            range_in(self.text(), last.get()).end
        } else {
            added.drain(..added.len().min(1));
            let list: &RawValue = self.result_member(member)?;
            range_in(self.text(), list.get()).start + 1
        };
        Some(self.spliced(place..place, &added).without_next_cursor())
    }

    /// The response without a `nextCursor` in its result.
    #[must_use]
    pub fn without_next_cursor(&self) -> Self {
        let Some(result) = self.result_json() else {
            return self.clone();
        };
        let members = members(result);
        let is_cursor = |member: &Member| member.has_name(NEXT_CURSOR, result.as_bytes());
        if !members.iter().any(is_cursor) {
            return self.clone();
        }
        let (mut kept, mut from) = ("{".to_owned(), 1);
        let mut is_first = true;
        for member in &members {
            let piece = &result[from..member.value.end];
            from = member.value.end;
            if is_cursor(member) {
                continue;
            }
            // A member that has become the first has no comma before it.
            let rest = piece.trim_start().strip_prefix(',').filter(|_| is_first);
            kept.push_str(rest.unwrap_or(piece));
            is_first = false;
        }
        kept.push_str(&result[from..]);
        let whole = range_in(self.text(), result);
        self.spliced(whole, &kept)
    }

    /// The message with `text` in place of `range`.
    fn spliced(&self, range: Range<usize>, text: &str) -> Self {
        let old = self.text();
        let mut spliced = BytesMut::with_capacity(old.len() + text.len());
        spliced.extend_from_slice(&old[..range.start]);
        spliced.extend_from_slice(text.as_bytes());
        spliced.extend_from_slice(&old[range.end..]);
        Self::parse(&Bytes::from(spliced)).unwrap_or_else(|error| unreachable!("{error}"))
    }

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
    fn pages_are_joined_and_every_other_byte_stays() {
        for (first, pages, expected) in [
            (
                r#"{ "tools" : [ {"n":1.0} , {"n":1e400} ] , "nextCursor":"a,b" ,"z":[1, 2]}"#,
                vec![
                    r#"{"tools":[ {"s":"]\ud800"} ,3]}"#,
                    r#"{"x":1,"tools":[]}"#,
                    r#"{"tools":[4]}"#,
                ],
                r#"{ "tools" : [ {"n":1.0} , {"n":1e400},{"s":"]\ud800"},3,4 ] ,"z":[1, 2]}"#,
            ),
            (
                r#"{"nextCursor":"1" , "tools":[ ]}"#,
                vec![r#"{"tools":[1, 2]}"#],
                r#"{ "tools":[1,2 ]}"#,
            ),
            (
                r#"{"tools":[1],"nextCursor":"1"}"#,
                vec![r#"{"tools":[1, 2,2]}"#],
                r#"{"tools":[1,2]}"#,
            ),
            (
                r#"{"tools":[],"nextCursor":"1"}"#,
                vec![r#"{"tools":[]}"#],
                r#"{"tools":[]}"#,
            ),
            (
                r#"{"nextCursor":"1","nextCursor":"2","tools":[1],"nextCursor":"3"}"#,
                vec![r#"{"tools":[2]}"#],
                r#"{"tools":[1,2]}"#,
            ),
        ] {
            let response = |result: &str| {
                message(&format!(
                    r#"{{"jsonrpc":"2.0" ,"id":1,"result":{result} }}"#
                ))
            };
            let pages: Vec<_> = pages.into_iter().map(response).collect();
            let joined = response(first).with_pages("tools", &pages).expect(first);
            assert_eq!(joined.text(), response(expected).text(), "{first}");
        }
    }

    #[test]
    fn a_page_without_the_list_cannot_be_joined() {
        let list = message(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[1]}}"#);
        let other = message(r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[1]}}"#);
        assert!(
            list.with_pages("tools", std::slice::from_ref(&other))
                .is_none()
        );
        assert!(other.with_pages("tools", &[list]).is_none());
    }

    #[test]
    fn a_result_of_nothing_but_a_cursor_becomes_empty() {
        let page = message(r#"{"jsonrpc":"2.0","id":1,"result":{ "nextCursor":"" }}"#);
        let expected = r#"{"jsonrpc":"2.0","id":1,"result":{ }}"#;
        assert_eq!(page.without_next_cursor().text(), expected.as_bytes());
    }

    /// The page that follows each of these pages, by their `nextCursor`.
    fn followed(cursors: &[&str], empty: EmptyCursor) -> Vec<NextPage> {
        let mut pages = Pages::default();
        let page = |cursor: &&str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"nextCursor":{cursor}}}}}"#);
            pages.after(&message(&text), empty)
        };
        cursors.iter().map(page).collect()
    }

    #[test]
    fn a_list_ends_where_its_cursors_do() {
        let at = |cursor: &str| NextPage::At(cursor.to_owned());
        let ends = EmptyCursor::Ends;
        assert_eq!(
            followed(&[r#""a""#, r#""b""#, r#""a""#], ends),
            [at("a"), at("b"), NextPage::None]
        );
        for nothing in [r#""""#, "null", "7"] {
            assert_eq!(followed(&[nothing], ends), [NextPage::None], "{nothing}");
        }
        let empty = followed(&[r#""""#, r#""""#], EmptyCursor::Continues);
        assert_eq!(empty, [at(""), NextPage::None]);
    }

    #[test]
    fn a_list_without_end_is_too_long() {
        let cursors: Vec<_> = (0..MAX_PAGES).map(|page| format!(r#""{page}""#)).collect();
        let cursors: Vec<_> = cursors.iter().map(String::as_str).collect();
        let followed = followed(&cursors, EmptyCursor::Ends);
        assert!(
            followed[..MAX_PAGES - 1]
                .iter()
                .all(|next| matches!(next, NextPage::At(_)))
        );
        assert_eq!(followed[MAX_PAGES - 1], NextPage::TooMany);
    }

    #[test]
    fn a_list_with_long_cursors_is_too_long() {
        let cursor = |page: usize| format!("\"{page}{}\"", "x".repeat(MAX_CURSOR_BYTES - 1));
        let cursors: Vec<_> = (0..5).map(cursor).collect();
        let cursors: Vec<_> = cursors.iter().map(String::as_str).collect();
        let followed = followed(&cursors, EmptyCursor::Ends);
        assert!(matches!(followed[3], NextPage::At(_)));
        assert_eq!(followed[4], NextPage::TooMany);
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
