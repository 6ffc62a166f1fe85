//! The person at the machine: credentials of their own, and a browser whose windows can be counted.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::browser;
use crate::program;
use mcp_bridge_testkit::app::Launch;
use mcp_bridge_testkit::browser::BrowserDouble;
use mcp_bridge_testkit::visit_when_it_listens;

/// Name of the person who signs in.
pub(crate) const NAME: &str = "ada";

/// A person, who has a directory and a browser.
pub(crate) struct User {
    home: TempDir,
    browser: BrowserDouble,
}

/// A browser window that was opened.
#[derive(Debug)]
pub(crate) struct Window {
    /// The process that opened it.
    #[cfg(unix)]
    pub(crate) opened_by: u32,
    /// The page that it shows.
    pub(crate) page: Url,
}

impl Window {
    /// The address on this machine that leads to the page.
    pub(crate) fn short_address(&self) -> Url {
        let mut pairs = self.page.query_pairs();
        let redirect_uri = pairs.find(|(name, _)| name == "redirect_uri").unwrap().1;
        Url::parse(&redirect_uri).unwrap().join("/").unwrap()
    }
}

impl User {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let browser = BrowserDouble::noting(home.path());
        Self { home, browser }
    }

    /// The program of the browser.
    pub(crate) fn browser(&self) -> PathBuf {
        self.browser.path()
    }

    /// The bridge, as this person's app starts it.
    pub(crate) fn launch(&self, url: &str) -> Launch {
        program::bridge_at(url)
            .leaves_orphans()
            .env("MCP_BRIDGE_DIR", self.store())
            .env("BROWSER", self.browser())
    }

    /// A file of this person's.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The directory of the bridge's files.
    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join("bridge")
    }

    /// The files there whose names end like this, with what they say.
    pub(crate) fn stored(&self, extension: &str) -> Vec<(PathBuf, String)> {
        let Ok(entries) = self.store().read_dir() else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|it| it == extension))
            .map(|path| (path.clone(), read(&path)))
            .collect()
    }

    /// The stored tokens.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        let stored = self.stored("json").pop()?.1;
        let stored: Value = serde_json::from_str(&stored).unwrap();
        let token = |name: &str| Some(stored["tokens"][name].as_str()?.to_owned());
        Some(Tokens {
            access: token("access_token")?,
            refresh: token("refresh_token")?,
        })
    }

    /// The next browser window.
    pub(crate) async fn window(&self) -> Window {
        let start = self.browser.started().await;
        Window {
            #[cfg(unix)]
            opened_by: start.parent,
            page: start.arguments[0].parse().unwrap(),
        }
    }

    /// No window was opened that the test has not seen. To be asked when the bridges have ended.
    pub(crate) fn saw_every_window(&self) {
        assert!(!self.browser.was_started_by_now(), "a window too many");
    }
}

/// Tokens of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Window {
    /// A parameter of the page's address.
    pub(crate) fn parameter(&self, name: &str) -> String {
        let mut pairs = self.page.query_pairs();
        let found = pairs.find(|(known, _)| known == name);
        found.expect("the page has it").1.into_owned()
    }

    /// The address to which the sign-in is to bring its answer.
    pub(crate) fn redirect_uri(&self) -> Url {
        self.parameter("redirect_uri").parse().unwrap()
    }

    /// The person agrees. Returns where that leads, which is not visited yet.
    pub(crate) async fn agree(&self) -> Url {
        let agreed = browser::sign_in(self.page.as_str(), NAME, "allow").await;
        agreed.expect("a sign-in page")
    }

    /// The person agrees, and the browser brings the answer.
    pub(crate) async fn sign_in(&self) {
        assert_eq!(
            visit_when_it_listens(&self.agree().await).await,
            StatusCode::OK
        );
    }
}

pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}
