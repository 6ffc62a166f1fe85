//! Replies to requests: a response, or the failure in its place, which [`io`](super::io) renders as an error.

use crate::endpoint::Failure;
use mcp_bridge_protocol::message::{Message, RequestId};

/// The end of a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A response: the server's, or one that the bridge gives by itself.
    Response(Message),
    /// There is no response.
    Failed(Failed),
}

/// A request that has failed.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) id: RequestId,
    /// The method of the request that was on its way; it tells whether its outcome matters.
    pub(super) method: String,
    pub(super) failure: Failure,
}

impl Reply {
    /// The failure of a request. An error that the server has sent in the body of an HTTP error is its response.
    pub(super) fn of_failure(id: &RequestId, method: &str, failure: Failure) -> Self {
        match failure {
            Failure::Status {
                error: Some(error), ..
            } => Self::Response(error.with_id(id)),
            failure => Self::Failed(Failed {
                id: id.clone(),
                method: method.to_owned(),
                failure,
            }),
        }
    }

    pub(super) fn id(&self) -> Option<&RequestId> {
        match self {
            Self::Response(response) => response.id(),
            Self::Failed(failed) => Some(&failed.id),
        }
    }

    pub(super) fn is_error(&self) -> bool {
        match self {
            Self::Response(response) => response.is_error(),
            Self::Failed(_) => true,
        }
    }

    /// The same reply to another request.
    pub(super) fn with_id(&self, id: &RequestId) -> Self {
        match self {
            Self::Response(response) => Self::Response(response.with_id(id)),
            Self::Failed(failed) => Self::Failed(Failed {
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
