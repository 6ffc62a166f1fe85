//! Collection of a list that comes in pages (MCP "Pagination") into one answer, for the apps that ignore
//! `nextCursor`.
//!
//! A state machine: an event goes in, [`PageStep`]s come out. It knows neither who sends the requests nor how.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::value::RawValue;

use super::list::List;
use mcp_bridge_protocol::message::{EmptyCursor, Message, NextPage, Pages, RequestId, next_cursor};

/// Limit for the time that the pages after the first take together. Apps give a list up after half a minute.
const COLLECTION_LIMIT: Duration = Duration::from_secs(10);

/// Lists that are collected at the same time.
const MAX_COLLECTIONS: usize = 16;

/// The bytes of all pages that are held at the same time. To join pages takes some seven times as much.
const MAX_BYTES: usize = 6 * 1024 * 1024;

/// Treatment of a list that comes in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListPages {
    /// The app gets all pages as one list.
    Merge,
    /// The app gets the page that it asks for.
    Pass,
}

/// Consequence of an event.
#[derive(Debug)]
pub(super) enum PageStep {
    /// Give the app this response to its request.
    Answer(List, Message),
    /// Send this request for another page, and tell [`Collector::on_page`] of its response.
    Ask(Message),
    /// Tell [`Collector::on_timer`] of this collection after this time.
    SetTimer(Duration, CollectionId),
    /// Nobody waits any more for the response to this request of ours.
    Cancel(RequestId),
}

/// Stands for one collection. No two are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CollectionId(u64);

/// The lists that are being collected.
#[derive(Debug)]
pub(super) struct Collector {
    mode: ListPages,
    collections: Vec<Collection>,
    /// Lists whose end was not found within the limits: their pages are left to the app.
    endless: HashSet<List>,
    /// Makes ids.
    count: u64,
}

/// The pages of one list so far.
#[derive(Debug)]
struct Collection {
    id: CollectionId,
    list: List,
    /// The app's request.
    request: Message,
    /// The request for the page that is under way.
    asked: RequestId,
    first: Message,
    others: Vec<Message>,
    pages: Pages,
}

impl Collector {
    pub(super) fn new(mode: ListPages) -> Self {
        Self {
            mode,
            collections: Vec::new(),
            endless: HashSet::new(),
            count: 0,
        }
    }

    /// Returns whether the pages of the list that this request is for would be collected.
    pub(super) fn wants(&self, request: &Message, method: &str) -> bool {
        self.mode == ListPages::Merge
            && List::of_method(method).is_some_and(|list| !self.endless.contains(&list))
            && request.param::<String>("cursor").is_none()
    }

    /// Returns whether a request is one of our own, of which the app knows nothing.
    pub(super) fn is_own(&self, id: &RequestId) -> bool {
        self.collections.iter().any(|it| it.asked == *id)
    }

    /// Returns whether the app's request `id` waits for further pages.
    pub(super) fn is_collecting(&self, id: &RequestId) -> bool {
        self.position(id).is_some()
    }

    /// The response to a request that [`wants`](Self::wants) was asked about.
    pub(super) fn on_first_page(
        &mut self,
        list: List,
        request: &Message,
        response: &Message,
        empty: EmptyCursor,
    ) -> Vec<PageStep> {
        let mut pages = Pages::default();
        let cursor = match pages.after(response, empty) {
            NextPage::At(cursor) if !response.is_error() => cursor,
            NextPage::None if next_cursor(response, EmptyCursor::Continues).is_some() => {
                return vec![PageStep::Answer(list, response.without_next_cursor())];
            }
            NextPage::At(_) | NextPage::None | NextPage::TooMany => {
                return vec![PageStep::Answer(list, response.clone())];
            }
        };
        let is_full = self.collections.len() >= MAX_COLLECTIONS;
        if is_full || self.bytes() + response.text().len() > MAX_BYTES {
            return vec![PageStep::Answer(list, response.clone())];
        }
        let id = CollectionId(self.next_number());
        let (asked, ask) = self.page_request(request, &cursor);
        self.collections.push(Collection {
            id,
            list,
            request: request.clone(),
            asked,
            first: response.clone(),
            others: Vec::new(),
            pages,
        });
        vec![PageStep::SetTimer(COLLECTION_LIMIT, id), PageStep::Ask(ask)]
    }

    /// The response to a request of our own.
    pub(super) fn on_page(&mut self, response: &Message, empty: EmptyCursor) -> Vec<PageStep> {
        let asked = |it: &Collection| response.id() == Some(&it.asked);
        let Some(at) = self.collections.iter().position(asked) else {
            return Vec::new();
        };
        if response.is_error() {
            return self.finish(at, Collection::into_first_page);
        }
        let is_too_large = self.bytes() + response.text().len() > MAX_BYTES;
        let collection = &mut self.collections[at];
        match collection.pages.after(response, empty) {
            NextPage::At(cursor) if !is_too_large => {
                collection.others.push(response.clone());
                let request = collection.request.clone();
                let (asked, ask) = self.page_request(&request, &cursor);
                self.collections[at].asked = asked;
                vec![PageStep::Ask(ask)]
            }
            NextPage::None if !is_too_large => {
                collection.others.push(response.clone());
                self.finish(at, Collection::into_whole_list)
            }
            NextPage::At(_) | NextPage::None | NextPage::TooMany => {
                self.endless.insert(collection.list);
                self.finish(at, Collection::into_first_page)
            }
        }
    }

    /// A request of our own has failed.
    pub(super) fn on_page_failed(&mut self, id: &RequestId) -> Vec<PageStep> {
        match self.collections.iter().position(|it| it.asked == *id) {
            Some(at) => self.finish(at, Collection::into_first_page),
            None => Vec::new(),
        }
    }

    /// The app has given up its request `id`. Returns the request of ours that was under way for it.
    pub(super) fn on_cancelled(&mut self, id: &RequestId) -> Option<RequestId> {
        let at = self.position(id)?;
        Some(self.collections.swap_remove(at).asked)
    }

    /// The time for a collection is over.
    pub(super) fn on_timer(&mut self, id: CollectionId) -> Vec<PageStep> {
        let Some(at) = self.collections.iter().position(|it| it.id == id) else {
            return Vec::new();
        };
        let cancel = PageStep::Cancel(self.collections[at].asked.clone());
        let mut steps = self.finish(at, Collection::into_first_page);
        steps.push(cancel);
        steps
    }

    /// No more pages will come.
    pub(super) fn on_end(&mut self) -> Vec<PageStep> {
        let ids: Vec<_> = self.collections.iter().map(|it| it.id).collect();
        ids.into_iter().flat_map(|id| self.on_timer(id)).collect()
    }

    fn finish(&mut self, at: usize, answer: impl FnOnce(Collection) -> Message) -> Vec<PageStep> {
        let collection = self.collections.swap_remove(at);
        let list = collection.list;
        vec![PageStep::Answer(list, answer(collection))]
    }

    fn position(&self, id: &RequestId) -> Option<usize> {
        let waits = |it: &Collection| it.request.id() == Some(id);
        self.collections.iter().position(waits)
    }

    /// The bytes of all pages that are held.
    fn bytes(&self) -> usize {
        let pages = |it: &Collection| {
            let others = it.others.iter().map(|page| page.text().len());
            it.first.text().len() + others.sum::<usize>()
        };
        self.collections.iter().map(pages).sum()
    }

    /// The app's request once more, for another page.
    fn page_request(&mut self, request: &Message, cursor: &str) -> (RequestId, Message) {
        let id = RequestId::from_string(&format!("mcp-bridge-page-{}", self.next_number()));
        let method = request.method().unwrap_or_default();
        let params = params_at(request.params_json().unwrap_or("{}"), cursor);
        let ask = Message::request(&id, method, &params);
        (id, ask)
    }

    const fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

impl Collection {
    /// As if the list had not been collected.
    fn into_first_page(self) -> Message {
        tracing::info!(list = self.list.member(), "its pages are left to the app");
        self.first
    }

    fn into_whole_list(self) -> Message {
        let whole = self.first.with_pages(self.list.member(), &self.others);
        whole.unwrap_or_else(|| self.into_first_page())
    }
}

/// The params of a list request with this cursor. Progress is reported for the first page alone: a token
/// stands for one request.
fn params_at(params: &str, cursor: &str) -> String {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    let cursor = serde_json::Value::from(cursor).to_string();
    let mut params: Object = serde_json::from_str(params).unwrap_or_default();
    let meta = params.remove("_meta").map(RawValue::get);
    let meta = meta.and_then(|meta| serde_json::from_str::<Object>(meta).ok());
    let meta = meta.and_then(|mut meta| {
        meta.remove("progressToken");
        let meta = (!meta.is_empty()).then(|| serde_json::value::to_raw_value(&meta));
        meta?.ok()
    });
    params.extend(meta.as_deref().map(|meta| ("_meta".to_owned(), meta)));
    let cursor: Option<&RawValue> = serde_json::from_str(&cursor).ok();
    params.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
    serde_json::to_string(&params).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(text: &str) -> Message {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes())).expect(text)
    }

    fn request(id: &str) -> Message {
        message(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{"x":1e400,"cursor":null,"_meta":{{"progressToken":7,"a":1.0}}}}}}"#
        ))
    }

    fn response(id: &str, result: &str) -> Message {
        message(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ))
    }

    /// A step in short.
    fn describe(steps: &[PageStep]) -> Vec<String> {
        let text = |message: &Message| String::from_utf8_lossy(message.text()).into_owned();
        steps
            .iter()
            .map(|step| match step {
                PageStep::Answer(List::Tools, message) => {
                    format!("answer {}", message.result_json().unwrap_or("error"))
                }
                PageStep::Answer(list, _) => format!("answer {list:?}"),
                PageStep::Ask(message) => format!("ask {}", text(message)),
                PageStep::SetTimer(..) => "timer".to_owned(),
                PageStep::Cancel(id) => format!("cancel {id}"),
            })
            .collect()
    }

    fn collector() -> Collector {
        Collector::new(ListPages::Merge)
    }

    fn first(collector: &mut Collector, id: &str, result: &str) -> Vec<PageStep> {
        let response = response(id, result);
        collector.on_first_page(List::Tools, &request(id), &response, EmptyCursor::Ends)
    }

    /// The id of the request that these steps ask.
    fn asked(steps: &[PageStep]) -> String {
        let ask = steps.iter().find_map(|step| match step {
            PageStep::Ask(message) => message.id().map(|id| id.as_json().to_owned()),
            _ => None,
        });
        ask.expect("another page")
    }

    fn next(collector: &mut Collector, id: &str, result: &str) -> Vec<PageStep> {
        collector.on_page(&response(id, result), EmptyCursor::Ends)
    }

    #[test]
    fn pages_are_asked_for_and_become_one_list() {
        let mut collector = collector();
        let steps = first(
            &mut collector,
            "1",
            r#"{"tools":[1.0],"nextCursor":"a\"b","z":1}"#,
        );
        let ask = r#"ask {"jsonrpc":"2.0","id":"mcp-bridge-page-2","method":"tools/list","params":{"_meta":{"a":1.0},"cursor":"a\"b","x":1e400}}"#;
        assert_eq!(describe(&steps), ["timer", ask]);
        assert!(collector.is_collecting(&RequestId::from_json("1").unwrap()));
        let steps = next(
            &mut collector,
            &asked(&steps),
            r#"{"tools":[2],"nextCursor":"c"}"#,
        );
        let steps = next(&mut collector, &asked(&steps), r#"{"tools":[3]}"#);
        assert_eq!(describe(&steps), [r#"answer {"tools":[1.0,2,3],"z":1}"#]);
        assert!(collector.collections.is_empty());
    }

    #[test]
    fn a_cursor_that_comes_again_or_is_empty_ends_the_list() {
        let mut collector = collector();
        let steps = first(&mut collector, "1", r#"{"tools":[1],"nextCursor":"a"}"#);
        let steps = next(
            &mut collector,
            &asked(&steps),
            r#"{"tools":[1],"nextCursor":"a"}"#,
        );
        assert_eq!(
            describe(&steps),
            [r#"answer {"tools":[1]}"#],
            "the same page again"
        );
        let steps = first(&mut collector, "1", r#"{"tools":[1],"nextCursor":"a"}"#);
        let steps = next(
            &mut collector,
            &asked(&steps),
            r#"{"tools":[2],"nextCursor":""}"#,
        );
        assert_eq!(describe(&steps), [r#"answer {"tools":[1,2]}"#]);
        let steps = first(&mut collector, "1", r#"{"tools":[1],"nextCursor":""}"#);
        assert_eq!(describe(&steps), [r#"answer {"tools":[1]}"#]);
    }

    #[test]
    fn a_list_of_one_page_and_an_error_pass_as_they_are() {
        let mut collector = collector();
        let page = r#"{ "tools" : [ 1 ], "nextCursor": null }"#;
        assert_eq!(
            describe(&first(&mut collector, "1", page)),
            [format!("answer {page}")]
        );
        let error =
            message(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"nextCursor"}}"#);
        let steps = collector.on_first_page(List::Tools, &request("1"), &error, EmptyCursor::Ends);
        assert_eq!(describe(&steps), ["answer error"]);
    }

    #[test]
    fn on_trouble_the_first_page_is_the_answer() {
        const FIRST: &str = r#"{"tools":[1],"nextCursor":"a"}"#;
        let expected = || format!("answer {FIRST}");
        let mut collector = collector();
        let steps = first(&mut collector, "1", FIRST);
        let error = format!(
            r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32602,"message":"bad cursor"}}}}"#,
            asked(&steps)
        );
        let steps = collector.on_page(&message(&error), EmptyCursor::Ends);
        assert_eq!(describe(&steps), [expected()]);

        let steps = first(&mut collector, "1", FIRST);
        let steps = next(&mut collector, &asked(&steps), r#"{"items":[]}"#);
        assert_eq!(describe(&steps), [expected()], "no list");

        let steps = first(&mut collector, "1", FIRST);
        let [PageStep::SetTimer(_, timer), _] = steps[..] else {
            panic!("{steps:?}");
        };
        let cancel = format!("cancel {}", asked(&steps));
        assert_eq!(describe(&collector.on_timer(timer)), [expected(), cancel]);
        assert!(collector.on_timer(timer).is_empty());

        let steps = first(&mut collector, "1", FIRST);
        let cancel = format!("cancel {}", asked(&steps));
        assert_eq!(describe(&collector.on_end()), [expected(), cancel]);
    }

    #[test]
    fn a_list_without_end_is_not_collected_again() {
        let mut collector = collector();
        let mut steps = first(&mut collector, "1", r#"{"tools":[0],"nextCursor":"0"}"#);
        let mut page = 0;
        while let [.., PageStep::Ask(_)] = steps[..] {
            page += 1;
            let result = format!(r#"{{"tools":[{page}],"nextCursor":"{page}"}}"#);
            steps = next(&mut collector, &asked(&steps), &result);
        }
        assert_eq!(page, mcp_bridge_protocol::message::MAX_PAGES - 1);
        assert_eq!(
            describe(&steps),
            [r#"answer {"tools":[0],"nextCursor":"0"}"#]
        );
        assert!(!collector.wants(&request("1"), "tools/list"));
        assert!(collector.wants(&request("1"), "prompts/list"));
    }

    #[test]
    fn pages_that_are_too_large_together_are_left_to_the_app() {
        let mut collector = collector();
        let large = "x".repeat(MAX_BYTES / 2);
        let result = |cursor| format!(r#"{{"tools":["{large}"],"nextCursor":"{cursor}"}}"#);
        let steps = first(&mut collector, "1", &result("a"));
        let steps = next(&mut collector, &asked(&steps), &result("b"));
        assert_eq!(describe(&steps), [format!("answer {}", result("a"))]);
    }

    #[test]
    fn no_more_lists_are_collected_at_once_than_there_is_room_for() {
        let mut collector = collector();
        let page = r#"{"tools":[1],"nextCursor":"a"}"#;
        for id in 0..MAX_COLLECTIONS {
            assert_eq!(first(&mut collector, &id.to_string(), page).len(), 2);
        }
        assert_eq!(
            describe(&first(&mut collector, "99", page)),
            [format!("answer {page}")]
        );
    }

    #[test]
    fn a_request_that_the_app_gives_up_has_no_answer() {
        let mut collector = collector();
        let steps = first(&mut collector, "1", r#"{"tools":[1],"nextCursor":"a"}"#);
        let own = collector.on_cancelled(&RequestId::from_json("1").unwrap());
        assert_eq!(own.unwrap().as_json(), asked(&steps));
        assert!(next(&mut collector, &asked(&steps), r#"{"tools":[2]}"#).is_empty());
    }

    #[test]
    fn only_lists_without_a_cursor_are_collected_and_only_where_that_is_wanted() {
        let with = |params: &str| {
            message(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{params}}}"#
            ))
        };
        for (params, method, expected) in [
            ("{}", "tools/list", true),
            (r#"{"cursor":null}"#, "resources/templates/list", true),
            (r#"{"cursor":""}"#, "tools/list", false),
            (r#"{"cursor":"a"}"#, "tools/list", false),
            ("{}", "tasks/list", false),
        ] {
            assert_eq!(
                collector().wants(&with(params), method),
                expected,
                "{params}"
            );
        }
        assert!(!Collector::new(ListPages::Pass).wants(&with("{}"), "tools/list"));
    }
}
