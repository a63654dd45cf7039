//! `TraceService`.

use buswire_proto::v1::{self, trace_service_server::TraceService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{convert, status};

#[tonic::async_trait]
impl TraceService for Api {
    async fn get_trace(
        &self,
        request: Request<v1::GetTraceRequest>,
    ) -> Result<Response<v1::GetTraceResponse>, Status> {
        let id = convert::parse("id", &request.get_ref().id)?;
        let traces = self.0.state.ports.traces.as_ref().ok_or_else(|| status::absent("traces"))?;
        let first = traces.trace(id).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::GetTraceResponse { first: Some(convert::traces::to_wire(&first)) }))
    }
}
