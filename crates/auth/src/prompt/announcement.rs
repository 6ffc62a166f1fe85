//! Sign-in instructions for a person: in the log of a bridge, or in the terminal of `login`.

use std::fmt;

use crate::config::AnswerInput;
use crate::prompt::browser_launcher::BrowserLaunch;
use crate::sign_in_page::SignInPage;

/// The log target of what a person has to read and do.
/// No module has this path, so that nothing gets there by chance.
pub const SIGN_IN_TARGET: &str = "mcp_bridge::sign_in";

/// Instructions for the person.
pub(crate) struct SignInInstructions<'a> {
    /// The server that wants the sign-in.
    pub(crate) host: &'a str,
    pub(crate) page: &'a SignInPage,
    pub(crate) opened: BrowserLaunch,
    /// Way from the browser to this machine.
    pub(crate) reach: CallbackRoute<'a>,
    /// Means by which the person can bring the answer.
    pub(crate) input: AnswerInput,
}

/// The way from the browser to the callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallbackRoute<'a> {
    /// The browser is on this machine, or the redirect URI leads here from everywhere.
    Direct,
    /// The person is logged in from the machine of the browser, to this address.
    Forwarded { port: u16, login: &'a str },
}

impl fmt::Display for SignInInstructions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, page, .. } = self;
        write!(f, "{host} wants you to sign in. ")?;
        let place = match self.reach {
            CallbackRoute::Direct if page.short().is_some() => " on this machine",
            CallbackRoute::Direct | CallbackRoute::Forwarded { .. } => "",
        };
        match self.opened {
            BrowserLaunch::Sent => write!(
                f,
                "If no page opens in your browser, open this address{place}:"
            )?,
            BrowserLaunch::NotWanted => write!(f, "Open this address in a browser{place}:")?,
            BrowserLaunch::Before => write!(
                f,
                "If the page is no longer open in your browser, open this address{place}:"
            )?,
            // Nobody expects a browser on the screen of another machine.
            BrowserLaunch::Failed if matches!(self.reach, CallbackRoute::Forwarded { .. }) => {
                write!(f, "Open this address in a browser:")?;
            }
            BrowserLaunch::Failed => write!(
                f,
                "No browser could be started. Open this address in one{place}:"
            )?,
        }
        write!(f, "\n{page}")?;
        if page.short().is_some() {
            let words = match self.input {
                AnswerInput::Terminal => {
                    "In a browser on another machine, open this one, and paste here the address at which it ends:"
                }
                AnswerInput::None => "which leads to:",
            };
            write!(f, "\n{words}\n{}", page.url())?;
        } else if self.input == AnswerInput::Terminal {
            f.write_str(
                "\nPaste here the address at which the browser ends. If that page does not load, that is fine.",
            )?;
        }
        if let CallbackRoute::Forwarded { port, login } = self.reach {
            write!(
                f,
                "\nFor that page to load, run this first on the machine of the browser:\n\
                 ssh -N -L {port}:localhost:{port} {login}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::sign_in_page::BrowserPlace;

    fn text(place: BrowserPlace, opened: BrowserLaunch, input: AnswerInput) -> String {
        let url = Url::parse("https://auth.example/authorize").unwrap();
        let redirect_uri = Url::parse("http://localhost:3334/oauth/callback").unwrap();
        let announcement = SignInInstructions {
            host: "mcp.example",
            page: &SignInPage::for_request(&url, &redirect_uri, place),
            opened,
            reach: match place {
                BrowserPlace::Here => CallbackRoute::Direct,
                BrowserPlace::Elsewhere => CallbackRoute::Forwarded {
                    port: 3334,
                    login: "10.0.0.5",
                },
            },
            input,
        };
        announcement.to_string()
    }

    #[test]
    fn the_short_address_stands_first_where_the_browser_is_here() {
        assert_eq!(
            text(BrowserPlace::Here, BrowserLaunch::Sent, AnswerInput::None),
            "mcp.example wants you to sign in. If no page opens in your browser, open this address on this \
             machine:\nhttp://localhost:3334/\nwhich leads to:\nhttps://auth.example/authorize"
        );
    }

    #[test]
    fn without_a_browser_the_person_learns_what_to_paste() {
        assert_eq!(
            text(
                BrowserPlace::Here,
                BrowserLaunch::Failed,
                AnswerInput::Terminal
            ),
            "mcp.example wants you to sign in. No browser could be started. Open this address in one on this \
             machine:\nhttp://localhost:3334/\nIn a browser on another machine, open this one, and paste here \
             the address at which it ends:\nhttps://auth.example/authorize"
        );
    }

    #[test]
    fn over_ssh_the_whole_address_stands_alone_with_both_ways_to_finish() {
        assert_eq!(
            text(
                BrowserPlace::Elsewhere,
                BrowserLaunch::Failed,
                AnswerInput::Terminal
            ),
            "mcp.example wants you to sign in. Open this address in a browser:\n\
             https://auth.example/authorize\n\
             Paste here the address at which the browser ends. If that page does not load, that is fine.\n\
             For that page to load, run this first on the machine of the browser:\n\
             ssh -N -L 3334:localhost:3334 10.0.0.5"
        );
    }
}
