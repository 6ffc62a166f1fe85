//! Systems without private sockets: bridges cannot be looked at, and nothing is opened.
//!
//! Named pipes of Windows can be read by everybody unless they get an access list, for which the standard library and
//! tokio need `unsafe`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Introduction, Observers};
use crate::recording::Sink;

/// Offer of a view, which is none.
pub(crate) struct Offer;

impl Offer {
    pub(crate) fn of(_: &Path, _: Introduction, _: Arc<Observers>) -> Self {
        Self
    }

    pub(crate) async fn withdraw(self) {
        std::future::ready(()).await;
    }
}

/// A bridge that somebody looks at, which cannot be.
pub(crate) enum Viewed {}

impl Viewed {
    pub(crate) fn introduction(&self) -> &Introduction {
        match *self {}
    }

    pub(crate) async fn watch(self, _: impl Sink) -> io::Result<()> {
        match self {}
    }
}

/// The bridges that are running, which cannot be known.
pub(crate) async fn running(_: &[PathBuf]) -> io::Result<Vec<Viewed>> {
    let error = io::ErrorKind::Unsupported;
    std::future::ready(Err(error.into())).await
}
