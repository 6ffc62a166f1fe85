//! Ways back from the browser: the listener on the loopback interface, its pages, and pasted answers.

pub(crate) mod loopback;
pub(crate) mod page;
pub(crate) mod pasted;
