//! `ActivityService`.

use buswire_proto::v1::{self, activity_service_server::ActivityService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{convert, status};

#[tonic::async_trait]
impl ActivityService for Api {
    async fn get_activity(
        &self,
        _request: Request<v1::GetActivityRequest>,
    ) -> Result<Response<v1::GetActivityResponse>, Status> {
        let port =
            self.0.state.ports.activity.as_ref().ok_or_else(|| status::absent("activity"))?;
        Ok(Response::new(convert::activity::to_wire(port.activity())))
    }
}
