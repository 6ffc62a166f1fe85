//! Authorization responses pasted by a person whose browser is on another machine.

use std::time::Duration;

use tokio::sync::mpsc;
use url::Url;

use crate::callback::loopback::BroughtAnswer;
use crate::callback::page::Page;
use crate::error::shown;
use crate::grant::authorization::{AuthorizationResponse, UnusablePaste, query_of};
use crate::sign_in_page::SignInPage;
use mcp_bridge_net::http::{self, is_loopback};

/// Longest time that another process may take with an answer: it asks the token endpoint meanwhile.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// Reason why something that was pasted is not the answer. The person can paste again, unless the sign-in is over.
#[derive(Debug, thiserror::Error)]
pub enum PasteError {
    /// It is neither an address nor a code.
    #[error(
        "`{0}` is neither an address nor a code. Paste the whole address of the page at which the browser ended; \
         it has code= in it"
    )]
    Word(String),
    /// It is an address without an answer.
    #[error(
        "this address has no answer in it. Paste the one at which the browser ends after the sign-in; it has \
         code= in it"
    )]
    NoAnswer,
    /// It is the address of a sign-in page.
    #[error(
        "this is the address of the sign-in page. Open it in a browser, sign in there, and paste the address at \
         which that ends"
    )]
    SignInPage,
    /// It is the answer to another sign-in.
    #[error(
        "this is the answer to another sign-in. Open the address above, and paste the one at which that ends"
    )]
    OtherSignIn,
    /// The authorization server names itself in its answers, which a code alone does not.
    #[error(
        "the code alone is not enough here. Paste the whole address at which the browser ended"
    )]
    CodeAlone,
    /// The authorization server does not know this code.
    #[error(
        "the authorization server does not accept this as a code. Paste the whole address at which the browser ended"
    )]
    CodeRefused,
    /// No sign-in is under way.
    #[error("no sign-in waits for an answer")]
    NothingWaits,
    /// The sign-in has to be done again.
    #[error(
        "the sign-in has to be done once more. Open this address, and paste the one at which that ends:\n{0}"
    )]
    AskedAnew(Url),
    /// The authorization server, or the person there, said no.
    #[error("the sign-in did not work")]
    Failed,
}

/// Hands in what a person pasted for the sign-in under way: the address that their browser ended at, or
/// the code alone. It is checked like an answer that a browser brings.
///
/// It goes to `answers` if this process waits for it, else to the one that shows `page`.
pub(crate) async fn submit(
    pasted: &str,
    page: &SignInPage,
    answers: Option<mpsc::Sender<BroughtAnswer>>,
) -> Result<(), PasteError> {
    let answer = AuthorizationResponse::pasted(pasted).map_err(|unusable| match unusable {
        UnusablePaste::Word => PasteError::Word(shown(pasted.trim())),
        UnusablePaste::NoAnswer => PasteError::NoAnswer,
        UnusablePaste::SignInPage => PasteError::SignInPage,
    })?;
    let is_code_alone = answer.is_code_alone();
    let Some(answers) = answers else {
        return deliver(pasted, page, is_code_alone).await;
    };
    let (answer, shown) = BroughtAnswer::new(answer);
    if answers.send(answer).await.is_err() {
        return Err(PasteError::NothingWaits);
    }
    match shown.await {
        Ok(Page::SignedIn | Page::SignedInAt(_)) => Ok(()),
        Ok(Page::Redirect(url)) => Err(PasteError::AskedAnew(url)),
        Ok(Page::Unexpected) => Err(PasteError::OtherSignIn),
        Ok(Page::IncompleteAnswer) => Err(PasteError::CodeAlone),
        Ok(Page::Failed) if is_code_alone => Err(PasteError::CodeRefused),
        Ok(Page::Denied | Page::Failed | Page::AlreadyAnswered | Page::NotFound) | Err(_) => {
            Err(PasteError::Failed)
        }
    }
}

/// Brings the answer to the process that waits for it, as a browser on this machine would.
async fn deliver(pasted: &str, page: &SignInPage, is_code_alone: bool) -> Result<(), PasteError> {
    if is_code_alone {
        return Err(PasteError::CodeAlone);
    }
    let mut pairs = page.url().query_pairs();
    let redirect_uri = pairs.find(|(name, _)| name == "redirect_uri");
    let redirect_uri = redirect_uri.and_then(|(_, uri)| Url::parse(&uri).ok());
    let Some(mut callback) = redirect_uri.filter(is_loopback) else {
        return Err(PasteError::NothingWaits);
    };
    callback.set_query(Some(query_of(pasted)));
    let client = http::Options::default().client(&callback);
    let Ok(client) = client else {
        return Err(PasteError::Failed);
    };
    let request = client.get(callback).timeout(DELIVERY_LIMIT);
    match request.send().await {
        Ok(response) if response.status().is_client_error() => Err(PasteError::OtherSignIn),
        Ok(_) => Ok(()),
        Err(_) => Err(PasteError::NothingWaits),
    }
}
