//! `PushService`.

use buswire_message::{Secret, Version};
use buswire_proto::v1::{self, push_service_server::PushService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::status;

#[tonic::async_trait]
impl PushService for Api {
    async fn notify(
        &self,
        request: Request<v1::NotifyRequest>,
    ) -> Result<Response<v1::NotifyResponse>, Status> {
        let request = request.into_inner();
        let version = match request.version.map(Version::new) {
            Some(None) => return Err(Status::invalid_argument("version: 1 to 2^63 - 1")),
            Some(given) => given,
            None => None,
        };
        let push = self.0.state.ports.push.as_ref().ok_or_else(|| status::absent("SimplePush"))?;
        let notified = push.notify(Secret::new(request.endpoint), version).await;
        let version = notified.map_err(status::of_admin)?.get();
        Ok(Response::new(v1::NotifyResponse { version }))
    }
}
