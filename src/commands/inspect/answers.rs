//! Answers of a person to requests of the server, as the page sends them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::live::Live;
use crate::commands::client::HandAnswer;

/// An answer: a result, or an error.
#[derive(Deserialize)]
struct PageAnswer<'a> {
    number: u64,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<PageRefusal>,
}

#[derive(Deserialize)]
struct PageRefusal {
    code: i64,
    message: String,
}

/// Hands in an answer. The error is for a person.
pub(super) fn hand_in(live: &Live, answer: &[u8]) -> Result<(), String> {
    let PageAnswer {
        number,
        result,
        error,
    } = serde_json::from_slice(answer).map_err(|error| format!("not an answer: {error}"))?;
    let answer = match (result, error) {
        (Some(result), _) => HandAnswer::Result(result.get().to_owned()),
        (None, Some(PageRefusal { code, message })) => HandAnswer::Error { code, message },
        (None, None) => return Err("not an answer: it has neither result nor error".to_owned()),
    };
    if live.desk().hand_in(number, answer) {
        return Ok(());
    }
    Err("the server does not wait for this answer any more".to_owned())
}
