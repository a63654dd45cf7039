//! `SystemService`.

use buswire_proto::v1::{self, system_service_server::SystemService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{convert::to_wire_time, ports::SystemView, status};

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
    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let ports = &self.0.state.ports;
        let system = ports.system.as_ref().ok_or_else(|| status::absent("status"))?;
        let view = system.status().await.map_err(status::of_admin)?;
        Ok(Response::new(to_wire(view)))
    }
}
