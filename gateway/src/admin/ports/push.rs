//! SimplePush endpoints, as an administrator sees them.

use buswire_message::{Secret, Version};
use futures::future::BoxFuture;

use super::AdminError;

/// Notifies endpoints.
pub trait PushAdmin: Send + Sync {
    /// Raises the version of the channel behind `endpoint`; `None` leaves the version to the gateway.
    /// Answers with the version that the channel has, once it is stored.
    ///
    /// # Errors
    ///
    /// `Invalid` if the endpoint is not one of this gateway's, `NotFound` if its channel is gone,
    /// `Unavailable`.
    fn notify(
        &self,
        endpoint: Secret<String>,
        version: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, AdminError>>;
}
