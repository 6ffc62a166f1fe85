//! Table of the requests that are with the server.

use std::sync::Arc;

use super::action::{Flight, LinkId};
use super::reply::RequestReach;
use crate::endpoint::{Failure, Phase, Request};
use mcp_bridge_protocol::message::{IdMap, RequestId};

/// State machine on whose behalf a request is with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// The app's own messages, as they are.
    Native,
    /// A legacy app's, translated for a modern server.
    Upgraded,
    /// A modern app's, translated for a session with a legacy server, on this link.
    Downgraded(LinkId),
}

/// A request that is with the server.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) lane: Lane,
    pub(super) flight: Arc<Flight>,
}

/// The requests, by their links and their ids there.
#[derive(Debug, Default)]
pub(super) struct Exchanges(IdMap<(LinkId, RequestId), Exchange>);

impl Lane {
    /// The link that carries it.
    pub(super) const fn link(self) -> LinkId {
        match self {
            Self::Native | Self::Upgraded => LinkId::MAIN,
            Self::Downgraded(link) => link,
        }
    }

    /// The lane of what comes on the server's own stream of a link.
    pub(super) fn of_link(link: LinkId) -> Self {
        if link == LinkId::MAIN {
            Self::Native
        } else {
            Self::Downgraded(link)
        }
    }
}

impl Exchange {
    /// The reach of the request that has failed so.
    pub(super) fn reach(&self, failure: &Failure) -> RequestReach {
        match failure {
            Failure::SessionLost(_) => RequestReach::Nobody,
            _ if self.flight.track.is_blocked() => RequestReach::Nobody,
            _ => RequestReach::Server,
        }
    }
}

impl Exchanges {
    pub(super) fn insert(&mut self, id: RequestId, exchange: Exchange) {
        self.0.insert((exchange.lane.link(), id), exchange);
    }

    pub(super) fn get(&self, link: LinkId, id: &RequestId) -> Option<&Exchange> {
        self.0.get(&(link, id.clone()))
    }

    pub(super) fn remove(&mut self, link: LinkId, id: &RequestId) -> Option<Exchange> {
        self.0.remove(&(link, id.clone()))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Exchange> {
        self.0.drain().map(|(_, exchange)| exchange)
    }

    /// Returns whether a request waits for a person to sign in.
    pub(super) fn is_any_signing_in(&self) -> bool {
        let mut exchanges = self.0.values();
        exchanges.any(|it| it.flight.track.phase() == Phase::SigningIn)
    }
}
