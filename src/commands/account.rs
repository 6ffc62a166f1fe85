//! Accounts in words, for `login`, `logout` and `status`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::terminal::has_colours;
use mcp_bridge_auth::{Account, Expiry, Place, SignedIn, Voucher};
use mcp_bridge_text::printable;

/// The widest line, unless a single word is wider.
const WIDTH: usize = 80;

/// Column at which values begin.
const COLUMN: usize = 14;

/// Colours of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Text alone.
    Plain,
    /// With colours, on a terminal.
    Coloured,
}

/// Meaning of a colour.
#[derive(Debug, Clone, Copy)]
pub(super) enum Paint {
    Name,
    Good,
    Bad,
    Aside,
}

/// True if the user wants no colours, even on a terminal (<https://no-color.org>).
pub(super) fn colours_are_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Style {
    /// Colours are for terminals, and for those who want them.
    pub(super) fn of(output: &impl std::io::IsTerminal) -> Self {
        if !colours_are_unwanted() && has_colours(output) {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match (self, paint) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Coloured, Paint::Name) => "1",
            (Self::Coloured, Paint::Good) => "32",
            (Self::Coloured, Paint::Bad) => "33",
            (Self::Coloured, Paint::Aside) => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Label of a line in a block.
    fn label(self, about: &str) -> String {
        self.paint(Paint::Aside, &format!("  {about:<0$}", COLUMN - 2))
    }

    /// A line of a block: what it is about, and what there is to say, on several lines if it is long.
    pub(super) fn row(self, about: &str, text: &str) -> String {
        let mut row = self.label(about);
        let mut used = COLUMN;
        for word in printable::line(text).split_whitespace() {
            let length = word.chars().count();
            if used > COLUMN && used + 1 + length > WIDTH {
                let _ = write!(row, "\n{:COLUMN$}", "");
                used = COLUMN;
            } else if used > COLUMN {
                row.push(' ');
                used += 1;
            }
            row.push_str(word);
            used += length;
        }
        row.push('\n');
        row
    }
}

/// The server, with the account's name if it has one.
pub(super) fn title(account: &Account) -> String {
    match &account.profile {
        Some(profile) => format!("{} (profile {})", account.server, printable::line(profile)),
        None => account.server.to_string(),
    }
}

/// The account's lines, without its title.
pub(super) fn rows(style: Style, account: &Account) -> String {
    let mut rows = String::new();
    match &account.signed_in {
        Some(signed_in) => {
            let is_over = matches!(signed_in.expiry, Expiry::Ago(_)) && !signed_in.renewable;
            let (paint, state) = match (is_over, &signed_in.user) {
                (true, _) => (Paint::Bad, "no longer".to_owned()),
                (false, Some(user)) => (Paint::Good, format!("as {user}")),
                (false, None) => (Paint::Good, "yes".to_owned()),
            };
            let label = style.label("signed in");
            let state = printable::line(&state);
            let _ = writeln!(rows, "{label}{}", style.paint(paint, &state));
            if !signed_in.scopes.is_empty() {
                rows += &style.row("scopes", &signed_in.scopes);
            }
            rows += &style.row("token", &expiry(signed_in));
            if signed_in.is_bound {
                rows += &style.row("bound", key(account.place));
            }
        }
        None => rows += &style.row("signed in", "no"),
    }
    if account.is_pending {
        rows += &style.row("waits for", "somebody to sign in, on the page that is open");
    }
    rows += &style.row("issuer", &account.issuer);
    match &account.voucher {
        Some(Voucher::IdentityProvider(provider)) if *provider == account.issuer => {
            rows += &style.row("identity", "for all servers of the company");
        }
        Some(Voucher::IdentityProvider(provider)) => {
            rows += &style.row("identity", &format!("of the sign-in at {provider}"));
        }
        Some(Voucher::ExternalToken(place)) => {
            rows += &style.row("identity", &format!("of the token in {place}"));
        }
        Some(Voucher::SharedSignIn(_)) | None => {}
    }
    if account.shared_account().is_some() {
        rows += &style.row("shares", &format!("the sign-in at {}", account.issuer));
    }
    match account.shared_by.as_deref() {
        Some([]) => rows += &style.row("shared by", "no server"),
        Some(servers) => {
            for server in servers {
                rows += &style.row("shared by", server.as_str());
            }
        }
        None => {}
    }
    rows += &style.row("kept in", place(account.place));
    rows
}

const fn key(place: Place) -> &'static str {
    match place {
        Place::File | Place::Keychain => "to a key on this machine (DPoP)",
        Place::Shared => "to a key in the shared store (DPoP)",
    }
}

pub(super) const fn place(place: Place) -> &'static str {
    match place {
        Place::File => "a file",
        Place::Keychain => "the keychain",
        Place::Shared => "the shared store",
    }
}

/// Remaining lifetime of a token, and what follows it.
fn expiry(signed_in: &SignedIn) -> String {
    match (signed_in.expiry, signed_in.renewable) {
        (Expiry::Unknown, _) => "does not say when it expires".to_owned(),
        (Expiry::In(left), true) => format!("expires in {}, and will be renewed", span(left)),
        (Expiry::In(left), false) => format!("expires in {}", span(left)),
        (Expiry::Ago(since), true) => format!("expired {} ago; will be renewed", span(since)),
        (Expiry::Ago(since), false) => format!("expired {} ago; sign in again", span(since)),
    }
}

/// A duration as people say it: in its largest unit, rounded.
fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str, u64); 4] = [
        (1, "second", 100),
        (60, "minute", 100),
        (3600, "hour", 48),
        (86_400, "day", u64::MAX),
    ];
    let seconds = duration.as_secs();
    let in_unit = |unit: u64| (seconds + unit / 2) / unit;
    let unit = UNITS.iter().find(|(unit, _, most)| in_unit(*unit) < *most);
    let (unit, name, _) = unit.unwrap_or(&UNITS[3]);
    match in_unit(*unit) {
        1 => format!("1 {name}"),
        number => format!("{number} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_words() {
        let check = |seconds, expected: &str| {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        };
        check(0, "0 seconds");
        check(1, "1 second");
        check(99, "99 seconds");
        check(100, "2 minutes");
        check(47 * 60 + 29, "47 minutes");
        check(3599, "60 minutes");
        check(2 * 3600, "2 hours");
        check(47 * 3600, "47 hours");
        check(30 * 86_400, "30 days");
    }

    #[test]
    fn long_lines_are_broken_between_words_below_each_other() {
        let scopes = ["scope:of-some-length"; 6].join(" ");
        let row = Style::Plain.row("scopes", &scopes);
        assert!(row.lines().count() > 1);
        for line in row.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line.find("scope:"), Some(COLUMN), "{line}");
        }
        assert_eq!(Style::Plain.row("token", "a b"), "  token       a b\n");
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Style::Plain.paint(Paint::Good, "yes"), "yes");
        assert_eq!(
            Style::Coloured.paint(Paint::Good, "yes"),
            "\x1b[32myes\x1b[0m"
        );
    }
}
