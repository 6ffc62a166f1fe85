//! The person at the machine: credentials of their own, and a browser whose windows can be counted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mcp_bridge_net::http;
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use url::Url;

use crate::browser;
use crate::support::LIMIT;
use crate::support::app::Launch;

/// How long a browser waits before it asks again where nobody listens yet.
const RELOAD: Duration = Duration::from_millis(50);

/// Who signs in.
pub(crate) const NAME: &str = "ada";

/// A person, who has a directory and a browser.
pub(crate) struct User {
    home: TempDir,
    windows: BufReader<pipe::Receiver>,
}

/// A browser window that was opened.
#[derive(Debug)]
pub(crate) struct Window {
    /// The process that opened it.
    pub(crate) opened_by: u32,
    /// What it shows.
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
    /// The browser is a program that writes each page into a named pipe, of which the test holds the
    /// other end: so the test waits for a window instead of looking for it.
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let notes = home.path().join("windows");
        let made = Command::new("mkfifo").arg(&notes).status().unwrap();
        assert!(made.success(), "no named pipe: {made}");
        // Open for both, so that it does not end between two windows.
        let pipe = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&notes)
            .unwrap();
        let script = format!("#!/bin/sh\necho \"$PPID $1\" > '{}'\n", notes.display());
        let program = home.path().join("browser");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            home,
            windows: BufReader::new(pipe::Receiver::from_file(pipe).unwrap()),
        }
    }

    /// The bridge, as this person's app starts it.
    pub(crate) fn launch(&self, url: &str) -> Launch {
        let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
        Launch::for_url(url)
            .leaves_orphans()
            .env("MCP_BRIDGE_DIR", &path(self.store()))
            .env("BROWSER", &path(self.home.path().join("browser")))
    }

    /// A file of this person's.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the bridge keeps its files.
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
    pub(crate) async fn window(&mut self) -> Window {
        let mut line = String::new();
        let read = self.windows.read_line(&mut line);
        let read = tokio::time::timeout(LIMIT, read).await;
        read.expect("a browser window").unwrap();
        let (opened_by, page) = line.trim().split_once(' ').unwrap();
        Window {
            opened_by: opened_by.parse().unwrap(),
            page: page.parse().unwrap(),
        }
    }

    /// No window was opened that the test has not seen. To be asked when the bridges have ended.
    pub(crate) fn saw_every_window(&self) {
        assert_eq!(self.windows.buffer(), b"", "a window too many");
        let mut more = [0; 1024];
        let read = self.windows.get_ref().try_read(&mut more);
        let text = read.map(|length| String::from_utf8_lossy(&more[..length]).into_owned());
        let nothing = text.expect_err("a window too many");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// What a sign-in brought.
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

    /// Where the sign-in is to bring its answer.
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
        assert_eq!(visit(&self.agree().await).await, StatusCode::OK);
    }
}

/// The status of what the browser finds there. Where nobody listens it tries again.
pub(crate) async fn visit(url: &Url) -> StatusCode {
    let client = http::Options::default().client(url).unwrap();
    let visit = async {
        loop {
            match client.get(url.clone()).send().await {
                Ok(response) => return response.status(),
                Err(error) if error.is_connect() => tokio::time::sleep(RELOAD).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let status = tokio::time::timeout(LIMIT, visit).await;
    status.expect("somebody listens")
}

pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}
