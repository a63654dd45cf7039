//! The kinds of messages, for counting.

use super::decode::{Peer, WorkerMessage};
use super::encode::ToPeer;
use crate::closed_set::closed_set;

closed_set! {
    /// What a message is; a REPLY of 0.1 is a FINAL.
    pub enum MessageKind {
        /// A client's REQUEST.
        ClientRequest = "client_request",
        /// PARTIAL to a client.
        ClientPartial = "client_partial",
        /// REPLY or FINAL to a client.
        ClientFinal = "client_final",
        /// A worker's READY.
        WorkerReady = "worker_ready",
        /// REQUEST to a worker.
        WorkerRequest = "worker_request",
        /// A worker's PARTIAL.
        WorkerPartial = "worker_partial",
        /// A worker's REPLY or FINAL.
        WorkerFinal = "worker_final",
        /// HEARTBEAT of or to a worker.
        WorkerHeartbeat = "worker_heartbeat",
        /// DISCONNECT of or to a worker.
        WorkerDisconnect = "worker_disconnect",
        /// A worker header followed by nothing a worker may say.
        WorkerMalformed = "worker_malformed",
    }
}

impl Peer {
    pub(crate) fn kind(&self) -> MessageKind {
        match self {
            Self::Client(_) => MessageKind::ClientRequest,
            Self::Worker(WorkerMessage::Ready { .. }) => MessageKind::WorkerReady,
            Self::Worker(WorkerMessage::Partial { .. }) => MessageKind::WorkerPartial,
            Self::Worker(WorkerMessage::Reply { .. }) => MessageKind::WorkerFinal,
            Self::Worker(WorkerMessage::Heartbeat) => MessageKind::WorkerHeartbeat,
            Self::Worker(WorkerMessage::Disconnect) => MessageKind::WorkerDisconnect,
            Self::Worker(WorkerMessage::Malformed) => MessageKind::WorkerMalformed,
        }
    }
}

impl ToPeer {
    pub(crate) fn kind(&self) -> MessageKind {
        match self {
            Self::Request { .. } => MessageKind::WorkerRequest,
            Self::Heartbeat => MessageKind::WorkerHeartbeat,
            Self::Disconnect => MessageKind::WorkerDisconnect,
            Self::Partial { .. } => MessageKind::ClientPartial,
            Self::Reply { .. } => MessageKind::ClientFinal,
        }
    }
}
