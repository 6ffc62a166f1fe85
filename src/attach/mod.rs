//! Live view of a running bridge (`inspect` without a URL): a private socket for each bridge, on which it tells what
//! passes.
//!
//! A bridge opens its socket a moment after its start, and that is all until somebody looks: nothing is observed, copied
//! or written. Who looks says one word, and from then on only reads; so a view changes nothing at the bridge.

#[cfg(not(unix))]
mod elsewhere;
mod introduction;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use elsewhere::{Offer, Viewed, running};
pub(crate) use introduction::Introduction;
#[cfg(unix)]
pub(crate) use unix::{Offer, Viewed, running};
