//! Prompt for a person: the instructions of a sign-in, and the browser that opens its page.

pub(crate) mod announcement;
pub(crate) mod browser_launcher;
