//! What a request changes, told to the journal of the program.
//!
//! Never here: what a change does.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::request::Parts;

use super::{ProvisionError, is_ours, refused};
use crate::{
    config::Config,
    error::AdminError,
    journal::{Denied, Journal, Provisioned, Provisioning},
    wire::provision::{Call, Told},
};

/// Told when a change was made of which the journal did not hear.
const NOT_RECORDED: &str =
    "the change was made and could not be recorded; look before asking again";

/// Who asks for what, and where it is written down.
pub(super) struct Trail<'a> {
    journal: Option<&'a dyn Journal>,
    administrator: &'a str,
    address: Option<SocketAddr>,
    call: Call,
}

impl<'a> Trail<'a> {
    pub(super) fn new(
        config: &'a Config,
        parts: &Parts,
        administrator: &'a str,
        call: Call,
    ) -> Self {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        Self { journal: config.journal.as_deref(), administrator, address, call }
    }

    /// Whether anybody wants to know what was there before a change.
    pub(super) const fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    fn of(&self, resource: String, request: String) -> Provisioning {
        let (administrator, call) = (self.administrator.to_owned(), self.call.to_string());
        Provisioning { administrator, address: self.address, call, resource, request }
    }

    /// Makes a change, written down before it begins and before it is answered.
    pub(super) async fn change(
        &self,
        resource: String,
        request: String,
        make: impl Future<Output = (Told, Provisioned)>,
    ) -> Told {
        let Some(journal) = self.journal else { return make.await.0 };
        let recording = match journal.begin(self.of(resource, request)).await {
            Ok(recording) => recording,
            Err(error) => return refused(&AdminError::Store(error)),
        };
        let (told, ended) = make.await;
        match recording.end(ended).await {
            Ok(()) => told,
            Err(error) => {
                tracing::error!(%error, call = %self.call, "what was provisioned could not be recorded");
                Told::text(NOT_RECORDED)
            }
        }
    }

    /// Writes down an entry that is not well-formed.
    pub(super) async fn refused(&self, resource: String, request: String, why: &impl ToString) {
        if let Some(journal) = self.journal {
            let why = Denied::Request(why.to_string());
            journal.refused(self.of(resource, request), why).await;
        }
    }

    /// Writes down that a whole request is not well-formed.
    pub(super) async fn refused_whole(&self, error: &ProvisionError) {
        // Other errors are those of an entry, which is written down with its name.
        if let (ProvisionError::Entry(why), false) = (error, self.call.is_list()) {
            self.refused(self.call.kind().to_owned(), String::new(), why).await;
        }
    }

    /// Writes down that somebody used the name of an administrator without its secret. Other names are
    /// nobody's, and would fill the journal with whatever strangers write.
    pub(super) async fn denied(&self, config: &Config) {
        let is_known = config.administrators.iter().any(|known| known.name == self.administrator);
        if let Some(journal) = self.journal.filter(|_| is_known) {
            let tried = self.of(self.call.kind().to_owned(), String::new());
            journal.refused(tried, Denied::Secret).await;
        }
    }
}

/// How a change ended that failed.
pub(super) fn failed(error: &AdminError) -> Provisioned {
    if is_ours(error) {
        Provisioned::Failed(error.to_string())
    } else {
        Provisioned::Refused(error.to_string())
    }
}
