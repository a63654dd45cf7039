//! `SystemService`.

use buswire_proto::v1::{self, system_service_server::SystemService};
use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert::{self, to_wire_time},
    deadline::Deadline,
    ports::SystemView,
    status,
    stream::{Answers, until_end},
};

fn to_wire(system: SystemView) -> v1::GetStatusResponse {
    let listener = |l: crate::admin::ports::ListenerView| v1::Listener {
        name: l.name.to_owned(),
        address: l.address,
    };
    let mut counts: Vec<_> = system
        .counts
        .into_iter()
        .map(|(name, value)| v1::Count { name: name.to_owned(), value })
        .collect();
    counts.sort_by(|a, b| a.name.cmp(&b.name));
    v1::GetStatusResponse {
        version: system.version,
        started_at: Some(to_wire_time(system.started_at)),
        store: system.store,
        ready: system.ready,
        listeners: system.listeners.into_iter().map(listener).collect(),
        counts,
    }
}

#[tonic::async_trait]
impl SystemService for Api {
    type WatchAuditStream = Answers<v1::WatchAuditResponse>;

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let ports = &self.0.state.ports;
        let system = ports.system.as_ref().ok_or_else(|| status::absent("status"))?;
        let view = system.status().await.map_err(status::of_admin)?;
        Ok(Response::new(to_wire(view)))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let before = convert::audit::before(wanted.after)?;
        let filter = convert::audit::filter(request.caller, request.resource);
        let found = self.0.state.audit.list(&filter, before, wanted.limit).await;
        let (records, next) = found.map_err(|error| status::of_store(&error))?;
        Ok(Response::new(v1::ListAuditResponse {
            records: records.into_iter().map(convert::audit::to_wire).collect(),
            next_page_token: next.map(|number| number.to_string()).unwrap_or_default(),
        }))
    }

    async fn watch_audit(
        &self,
        request: Request<v1::WatchAuditRequest>,
    ) -> Result<Response<Self::WatchAuditStream>, Status> {
        let time = request.extensions().get().map(|Deadline(time)| *time);
        let permit = self.0.stream_permit()?;
        let request = request.into_inner();
        let filter = convert::audit::filter(request.caller, request.resource);
        let records = self.0.state.audit.watch(filter, request.after).await;
        let records = records.map_err(|error| status::of_store(&error))?;
        let items = records.map(|record| match record {
            Ok(record) => {
                Ok(v1::WatchAuditResponse { record: Some(convert::audit::to_wire(record)) })
            }
            Err(error) => Err(status::of_store(&error)),
        });
        let shutdown = self.0.state.shutdown.clone();
        Ok(Response::new(until_end(items, time, shutdown, permit)))
    }
}
