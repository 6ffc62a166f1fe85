//! Replies to requests: a response, or the failure in its place, which [`io`](super::io) renders as an error.

use crate::endpoint::Failure;
use mcp_bridge_protocol::message::{Message, RequestId};

/// The end of a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A response: the server's, or one that the bridge gives by itself.
    Response(Message),
    /// There is no response.
    Failed(FailedRequest),
}

/// A request that has failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{failure}")]
pub(super) struct FailedRequest {
    pub(super) id: RequestId,
    /// The method of the request that was on its way; it tells whether its outcome matters.
    pub(super) method: String,
    pub(super) failure: Failure,
    pub(super) reach: RequestReach,
}

/// True if the server has had a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestReach {
    /// It has, or may have.
    Server,
    /// Something has been in the way before: a sign-in, a session or a connection.
    Nobody,
}

impl Reply {
    /// The failure of a request. An error that the server has sent in the body of an HTTP error is its response.
    pub(super) fn of_failure(id: &RequestId, method: &str, failure: Failure) -> Self {
        match failure {
            Failure::Status {
                error: Some(error), ..
            } => Self::Response(error.with_id(id)),
            failure => Self::without_response(id, method, failure),
        }
    }

    /// The failure of a request, whatever the server has sent with it.
    pub(super) fn without_response(id: &RequestId, method: &str, failure: Failure) -> Self {
        Self::Failed(FailedRequest {
            id: id.clone(),
            method: method.to_owned(),
            failure,
            reach: RequestReach::Server,
        })
    }

    /// The same reply for a request that has got so far.
    pub(super) fn with_reach(self, reach: RequestReach) -> Self {
        match self {
            Self::Failed(failed) => Self::Failed(FailedRequest { reach, ..failed }),
            response @ Self::Response(_) => response,
        }
    }

    pub(super) fn id(&self) -> Option<&RequestId> {
        match self {
            Self::Response(response) => response.id(),
            Self::Failed(failed) => Some(&failed.id),
        }
    }

    /// The response, if there is one.
    pub(super) const fn response(&self) -> Option<&Message> {
        match self {
            Self::Response(response) => Some(response),
            Self::Failed(_) => None,
        }
    }

    pub(super) fn is_error(&self) -> bool {
        match self {
            Self::Response(response) => response.is_error(),
            Self::Failed(_) => true,
        }
    }

    /// Returns whether the request failed before the server had it.
    pub(super) fn is_unreached(&self) -> bool {
        matches!(self, Self::Failed(failed) if failed.reach == RequestReach::Nobody)
    }

    /// The same reply to another request.
    pub(super) fn with_id(&self, id: &RequestId) -> Self {
        match self {
            Self::Response(response) => Self::Response(response.with_id(id)),
            Self::Failed(failed) => Self::Failed(FailedRequest {
                id: id.clone(),
                ..failed.clone()
            }),
        }
    }
}

impl From<Message> for Reply {
    fn from(response: Message) -> Self {
        Self::Response(response)
    }
}
