//! A capability bound to the server of whoever holds it (Belay §5).
//!
//! Never here: where its invocations go.

use std::fmt;

use crate::{
    error::BcapError,
    instance::{CapServer, Failure, Interface as _},
    method::Method,
    wire::{Bcap, BcapValue, DecodeError, EncodeError},
};

/// Why an invocation gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// Only PUT and POST carry data; nothing was invoked (Belay §5.1).
    #[error("only PUT and POST carry data")]
    DataNotAllowed,
    /// The data has no wire form; nothing was invoked (Belay §5.1).
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The invocation failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<InvokeError> for Failure {
    /// What an item that passes the invocation on answers: a wrong call is a bug of the item, except
    /// that data where there may be none was its caller's.
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::DataNotAllowed => BcapError::BadRequest.into(),
            InvokeError::Encode(_) => BcapError::Internal.into(),
            InvokeError::Failed(failure) => failure,
        }
    }
}

/// A capability that can be invoked.
///
/// Immutable and cheap to clone. What it says is a secret, so it does not show in `Debug`; in data
/// it goes as a [`BcapValue`].
#[derive(Clone)]
pub struct Capability {
    cap: Bcap,
    server: CapServer,
}

impl Capability {
    pub(super) const fn new(cap: Bcap, server: CapServer) -> Self {
        Self { cap, server }
    }

    /// The server to which it is bound: its invocations go through that one.
    pub(super) const fn server(&self) -> &CapServer {
        &self.server
    }

    /// The serialisation, as it was when the capability was granted or restored (Belay §5.2).
    pub const fn serialize(&self) -> &Bcap {
        &self.cap
    }

    /// Invokes a method by name; items of which the program decides itself take others than the four.
    ///
    /// A result of PUT and DELETE is dropped, whoever gave it (Belay §5.1). Items that invoke
    /// capabilities which invoke others do so at most 32 deep within one task; below that is 404.
    ///
    /// # Errors
    ///
    /// [`InvokeError`].
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the future is polled. Dropping it cancels the invocation, and an item
    /// in this process with it; exactly one result comes of it otherwise.
    pub async fn invoke(
        &self,
        method: &str,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, InvokeError> {
        let known = Method::parse(method);
        if data.is_some() && !known.is_some_and(Method::takes_data) {
            return Err(InvokeError::DataNotAllowed);
        }
        let wire = self.server.data_pre_processor(data.as_ref())?;
        let answer = self.server.private_interface();
        let answer = answer.invoke(self.cap.expose(), method, wire).await?;
        if known.is_some_and(|method| !method.gives_data()) {
            return Ok(None);
        }
        let decoded = self.server.data_post_processor(answer.as_deref());
        Ok(decoded.map_err(|_: DecodeError| Failure::bad_response())?)
    }

    /// Reads what it designates.
    ///
    /// # Errors
    ///
    /// [`InvokeError`].
    ///
    /// # Cancel safety
    ///
    /// As [`invoke`](Self::invoke).
    pub async fn get(&self) -> Result<Option<BcapValue>, InvokeError> {
        self.invoke(Method::Get.as_str(), None).await
    }

    /// Writes what it designates.
    ///
    /// # Errors
    ///
    /// [`InvokeError`].
    ///
    /// # Cancel safety
    ///
    /// As [`invoke`](Self::invoke).
    pub async fn put(&self, data: impl Into<BcapValue>) -> Result<(), InvokeError> {
        self.invoke(Method::Put.as_str(), Some(data.into())).await.map(drop)
    }

    /// Sends it data and takes an answer.
    ///
    /// # Errors
    ///
    /// [`InvokeError`].
    ///
    /// # Cancel safety
    ///
    /// As [`invoke`](Self::invoke).
    pub async fn post(&self, data: impl Into<BcapValue>) -> Result<Option<BcapValue>, InvokeError> {
        self.invoke(Method::Post.as_str(), Some(data.into())).await
    }

    /// Removes what it designates.
    ///
    /// # Errors
    ///
    /// [`InvokeError`].
    ///
    /// # Cancel safety
    ///
    /// As [`invoke`](Self::invoke).
    pub async fn remove(&self) -> Result<(), InvokeError> {
        self.invoke(Method::Delete.as_str(), None).await.map(drop)
    }
}

impl AsRef<Bcap> for Capability {
    fn as_ref(&self) -> &Bcap {
        &self.cap
    }
}

impl From<Capability> for BcapValue {
    fn from(capability: Capability) -> Self {
        capability.cap.into()
    }
}

impl From<&Capability> for BcapValue {
    fn from(capability: &Capability) -> Self {
        capability.cap.clone().into()
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability(…)")
    }
}
