//! Doubles of the browser: the program that the bridge starts, and the person who signs in there.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;
use url::Url;

use crate::limits::{client, soon};

/// Header that tells the requests of a browser from those of a program that looks at the same page.
pub const MARK: &str = "x-browser";

/// Names under which a browser is looked for.
const NAMES: [&str; 6] = [
    "browser",
    "xdg-open",
    "gio",
    "gnome-open",
    "kde-open",
    "open",
];

/// Time that a browser may take to report its start, where none is expected.
const A_MOMENT: Duration = Duration::from_millis(300);

/// More redirects than any sign-in has.
const MAX_REDIRECTS: usize = 20;

/// A program that reports to the test who started it and with which arguments.
pub struct BrowserDouble {
    folder: PathBuf,
    mode: Mode,
}

enum Mode {
    /// Nobody may start it.
    Forbidden(Reports),
    /// The test visits the pages, or does not.
    Noted(Reports),
    /// The person signs in on each page.
    SignsIn(JoinHandle<()>),
}

/// The listener to which starts of the program are reported, once for those who wait and once for those who do not.
struct Reports {
    waiting: tokio::net::TcpListener,
    at_once: TcpListener,
}

/// One start of the browser.
#[derive(Debug)]
pub struct BrowserStart {
    /// The process that started it.
    pub parent: u32,
    /// The arguments, of which the first is the address of a page.
    pub arguments: Vec<String>,
    /// On Windows the program runs as long as this is held.
    _connection: tokio::net::TcpStream,
}

impl BrowserDouble {
    /// A browser that must not be started, below this directory.
    pub fn forbidden(directory: &Path) -> Self {
        let folder = directory.join("bin");
        let reports = install(&folder);
        let mode = Mode::Forbidden(reports);
        Self { folder, mode }
    }

    /// A browser that tells the test what it is to open.
    pub fn noting(directory: &Path) -> Self {
        let folder = directory.join("browser");
        let reports = install(&folder);
        let mode = Mode::Noted(reports);
        Self { folder, mode }
    }

    /// A browser in which a person signs in at the authorization server on each page that is opened.
    pub fn signing_in(directory: &Path) -> Self {
        let folder = directory.join("browser");
        let reports = install(&folder);
        let visits = async move {
            loop {
                let start = reports.next().await;
                let page = Url::parse(&start.arguments[0]).expect("the address of a page");
                HeadlessBrowser::default().visit(page).await;
            }
        };
        let mode = Mode::SignsIn(tokio::spawn(visits));
        Self { folder, mode }
    }

    /// The program, for `$BROWSER`.
    pub fn path(&self) -> PathBuf {
        let name = format!("browser{}", std::env::consts::EXE_SUFFIX);
        self.folder.join(name)
    }

    /// The directory of the program under all its names, for `$PATH`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn reports(&self) -> &Reports {
        match &self.mode {
            Mode::Forbidden(reports) | Mode::Noted(reports) => reports,
            Mode::SignsIn(_) => panic!("the browser itself follows its starts"),
        }
    }

    /// The next start.
    pub async fn started(&self) -> BrowserStart {
        soon("the browser", self.reports().next()).await
    }

    /// The page that the next start is to open.
    pub async fn page(&self) -> Url {
        let start = self.started().await;
        Url::parse(&start.arguments[0]).expect("the address of a page")
    }

    /// True if it was started and nobody has asked yet; waits a moment for those who are about to.
    pub async fn was_started(&self) -> bool {
        let start = self.reports().waiting.accept();
        tokio::time::timeout(A_MOMENT, start).await.is_ok()
    }

    /// True if it was started and nobody has asked yet; for when all that could start it have ended.
    pub fn was_started_by_now(&self) -> bool {
        match self.reports().at_once.accept() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

impl Drop for BrowserDouble {
    fn drop(&mut self) {
        if let Mode::SignsIn(visits) = &self.mode {
            visits.abort();
        }
    }
}

/// Installs the program under all its names. It reports to the listener and, as browsers do, prints something.
fn install(folder: &Path) -> Reports {
    let at_once = TcpListener::bind("127.0.0.1:0").expect("a free port");
    at_once
        .set_nonblocking(true)
        .expect("an option of a socket");
    let port = at_once.local_addr().expect("it is bound").port();
    std::fs::create_dir_all(folder).expect("the directory is ours");
    program::install(folder, port);
    let waiting = at_once.try_clone().expect("a second handle");
    let waiting = tokio::net::TcpListener::from_std(waiting).expect("it does not block");
    Reports { waiting, at_once }
}

#[cfg(unix)]
mod program {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::NAMES;

    pub(super) fn install(folder: &Path, port: u16) {
        let script = format!(
            "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\nprintf '%s\\0' \"$PPID\" \"$@\" >&3\n\
             echo noise; echo noise >&2\n"
        );
        for name in NAMES {
            let path = folder.join(name);
            std::fs::write(&path, &script).expect("the directory is ours");
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, executable).expect("the file is ours");
        }
    }
}

#[cfg(windows)]
mod program {
    use std::path::Path;

    use super::NAMES;

    /// Copies the example `browser_double`, which `cargo test` builds beside the tests.
    pub(super) fn install(folder: &Path, port: u16) {
        let test = std::env::current_exe().expect("the path of this program");
        let built = test.ancestors().nth(2).expect("the target directory");
        let built = built.join("examples").join("browser_double.exe");
        std::fs::write(folder.join("port"), port.to_string()).expect("the directory is ours");
        for name in NAMES {
            let path = folder.join(name).with_extension("exe");
            if std::fs::hard_link(&built, &path).is_ok() {
                continue;
            }
            std::fs::copy(&built, &path)
                .expect("run cargo build -p mcp-bridge-testkit --example browser_double first");
        }
    }
}

impl Reports {
    async fn next(&self) -> BrowserStart {
        let (mut stream, _) = self.waiting.accept().await.expect("a start");
        let mut words = String::new();
        stream.read_to_string(&mut words).await.expect("its words");
        let mut words = words.split_terminator('\0').map(str::to_owned);
        let parent = words.next().expect("the parent");
        BrowserStart {
            parent: parent.parse().expect("a process id"),
            arguments: words.collect(),
            _connection: stream,
        }
    }
}

/// A browser without a window: follows redirects wherever they lead.
pub struct HeadlessBrowser {
    client: Client,
}

impl Default for HeadlessBrowser {
    fn default() -> Self {
        let mark = HeaderName::from_static(MARK);
        let headers = HeaderMap::from_iter([(mark, HeaderValue::from_static("1"))]);
        let builder = client().redirect(Policy::none()).cookie_store(true);
        let builder = builder.default_headers(headers);
        Self {
            client: builder.build().expect("a client"),
        }
    }
}

impl HeadlessBrowser {
    /// The last page on the way: status and text.
    pub async fn visit(&self, mut url: Url) -> (StatusCode, String) {
        for _ in 0..MAX_REDIRECTS {
            let response = self.client.get(url.clone()).send().await.unwrap();
            let status = response.status();
            match response.headers().get(LOCATION) {
                Some(next) => url = url.join(next.to_str().unwrap()).unwrap(),
                None => return (status, response.text().await.unwrap()),
            }
        }
        panic!("redirects without end, at last to {url}");
    }

    /// Address to which the sign-in page would send the browser.
    pub async fn approve(&self, url: Url) -> Url {
        let response = self.client.get(url.clone()).send().await.unwrap();
        let next = response
            .headers()
            .get(LOCATION)
            .expect("the page redirects");
        url.join(next.to_str().unwrap()).unwrap()
    }
}
