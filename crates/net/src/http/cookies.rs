//! Cookies of one server (RFC 6265), within limits.

use std::collections::VecDeque;
use std::sync::MutexGuard;

use crate::mutex::Mutex;
use cookie_store::{Cookie, CookieStore, StoreAction};
use reqwest::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

/// Limits for the cookies that are kept, and for the length of each with its attributes, in bytes: what RFC 6265 §6.1
/// asks for at least. With more of them, the oldest go.
const MAX_COOKIES: usize = 50;
const MAX_COOKIE_BYTES: usize = 4096;

/// The cookies that a server has set.
#[derive(Debug, Default)]
pub struct Cookies(Mutex<CookieState>);

#[derive(Debug, Default)]
struct CookieState {
    store: CookieStore,
    /// The cookies in `store`, in the order in which they came.
    order: VecDeque<Key>,
}

/// Domain, path and name of a cookie.
type Key = (String, String, String);

impl Cookies {
    /// Adds the cookies that belong into a request for `url`.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, url: &Url) {
        let state = self.lock();
        let mut cookies = String::new();
        for (name, value) in state.store.get_request_values(url) {
            if !cookies.is_empty() {
                cookies.push_str("; ");
            }
            cookies.push_str(name);
            cookies.push('=');
            cookies.push_str(value);
        }
        if !cookies.is_empty()
            && let Ok(cookies) = HeaderValue::try_from(cookies)
        {
            headers.insert(COOKIE, cookies);
        }
    }

    /// Takes the cookies of an answer from `url`.
    pub(super) fn record_from(&self, headers: &HeaderMap, url: &Url) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let mut state = self.lock();
        for line in headers.get_all(SET_COOKIE) {
            if line.len() <= MAX_COOKIE_BYTES
                && let Ok(line) = std::str::from_utf8(line.as_bytes())
                && let Ok(cookie) = Cookie::parse(line, url)
            {
                state.insert(cookie.into_owned(), url);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, CookieState> {
        self.0.lock()
    }
}

impl CookieState {
    fn insert(&mut self, cookie: Cookie<'static>, url: &Url) {
        let (domain, path) = (String::from(&cookie.domain), String::from(&cookie.path));
        let key = (domain, path, cookie.name().to_owned());
        if let Ok(StoreAction::Inserted) = self.store.insert(cookie, url) {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_COOKIES
            && let Some((domain, path, name)) = self.order.pop_front()
        {
            self.store.remove(&domain, &path, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &Cookies, url: &Url) -> Option<String> {
        let mut headers = HeaderMap::new();
        cookies.add_to(&mut headers, url);
        let cookies = headers.remove(COOKIE)?;
        Some(cookies.to_str().unwrap().to_owned())
    }

    fn set(cookies: &Cookies, line: &str, url: &Url) {
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, HeaderValue::try_from(line).unwrap());
        cookies.record_from(&headers, url);
    }

    #[test]
    fn cookies_go_back_to_where_they_belong_until_they_expire() {
        let url = Url::parse("https://x.example/mcp").unwrap();
        let cookies = Cookies::default();
        assert_eq!(sent(&cookies, &url), None);
        set(&cookies, "a=1; Path=/; Secure; HttpOnly", &url);
        set(&cookies, "b=2; Path=/other", &url);
        set(&cookies, "c=3; Domain=other.example", &url);
        assert_eq!(sent(&cookies, &url).as_deref(), Some("a=1"));
        set(&cookies, "a=2; Path=/", &url);
        assert_eq!(sent(&cookies, &url).as_deref(), Some("a=2"));
        set(&cookies, "a=; Path=/; Max-Age=0", &url);
        assert_eq!(sent(&cookies, &url), None);
    }

    #[test]
    fn the_newest_cookies_are_kept_and_none_that_is_too_long() {
        let url = Url::parse("https://x.example/mcp").unwrap();
        let cookies = Cookies::default();
        for number in 0..1_000 {
            set(&cookies, &format!("c{number}=1; Path=/{number}"), &url);
            set(&cookies, &format!("d{number}=1; Path=/"), &url);
            set(&cookies, &format!("d{number}=2; Path=/"), &url);
        }
        set(
            &cookies,
            &format!("e={}", "x".repeat(MAX_COOKIE_BYTES)),
            &url,
        );
        let state = cookies.lock();
        assert_eq!(state.store.iter_any().count(), MAX_COOKIES);
        assert_eq!(state.order.len(), MAX_COOKIES);
        drop(state);
        let sent = sent(&cookies, &url).unwrap();
        assert!(sent.contains("d999=2") && !sent.contains("e="), "{sent}");
    }
}
