//! `CapabilityService`.

use std::sync::Arc;

use buswire_proto::v1::{self, capability_service_server::CapabilityService};
use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    deadline::Deadline,
    ports::{CapabilityAdmin, Revoked},
    status,
    stream::{Answers, until_end},
    writes,
};

impl Api {
    fn capabilities(&self) -> Result<&Arc<dyn CapabilityAdmin>, Status> {
        self.0.state.ports.capabilities.as_ref().ok_or_else(|| status::absent("capabilities"))
    }

    /// Tells the audit log what a capability is, if it can be shown.
    async fn note_capability(&self, note: impl Fn(&'static str, &v1::Capability), handle: &str) {
        let Ok(capabilities) = self.capabilities() else { return };
        if let Ok(shown) = capabilities.show(handle).await {
            note("Capability", &convert::capabilities::to_wire(shown));
        }
    }
}

#[tonic::async_trait]
impl CapabilityService for Api {
    type TailAuditStream = Answers<v1::TailAuditResponse>;

    async fn grant_capability(
        &self,
        request: Request<v1::GrantCapabilityRequest>,
    ) -> Result<Response<v1::GrantCapabilityResponse>, Status> {
        let new = convert::capabilities::new_capability(request.into_inner())?;
        let granted = self.capabilities()?.grant(new).await.map_err(status::of_admin)?;
        self.note_capability(writes::after, &granted.handle).await;
        Ok(Response::new(v1::GrantCapabilityResponse {
            cap: granted.cap.expose().clone(),
            control: granted.control.expose().clone(),
            handle: granted.handle,
        }))
    }

    async fn wrap_capability(
        &self,
        request: Request<v1::WrapCapabilityRequest>,
    ) -> Result<Response<v1::WrapCapabilityResponse>, Status> {
        let new = convert::capabilities::new_wrap(request.into_inner())?;
        let granted = self.capabilities()?.wrap(new).await.map_err(status::of_admin)?;
        self.note_capability(writes::after, &granted.handle).await;
        Ok(Response::new(v1::WrapCapabilityResponse {
            cap: granted.cap.expose().clone(),
            control: granted.control.expose().clone(),
            handle: granted.handle,
        }))
    }

    async fn get_capability(
        &self,
        request: Request<v1::GetCapabilityRequest>,
    ) -> Result<Response<v1::GetCapabilityResponse>, Status> {
        let handle = request.into_inner().handle;
        let shown = self.capabilities()?.show(&handle).await.map_err(status::of_admin)?;
        let capability = Some(convert::capabilities::to_wire(shown));
        Ok(Response::new(v1::GetCapabilityResponse { capability }))
    }

    async fn update_capability(
        &self,
        request: Request<v1::UpdateCapabilityRequest>,
    ) -> Result<Response<v1::UpdateCapabilityResponse>, Status> {
        let mut request = request.into_inner();
        let handle = std::mem::take(&mut request.handle);
        let change = convert::capabilities::change(request)?;
        self.note_capability(writes::before, &handle).await;
        self.capabilities()?.change(&handle, change).await.map_err(status::of_admin)?;
        self.note_capability(writes::after, &handle).await;
        Ok(Response::new(v1::UpdateCapabilityResponse {}))
    }

    async fn tail_audit(
        &self,
        request: Request<v1::TailAuditRequest>,
    ) -> Result<Response<Self::TailAuditStream>, Status> {
        let time = request.extensions().get().map(|Deadline(time)| *time);
        let permit = self.0.stream_permit()?;
        let events = self.capabilities()?.audit(request.into_inner().follow);
        let items = events.map(|event| Ok(convert::capabilities::event_to_wire(event)));
        let shutdown = self.0.state.shutdown.clone();
        Ok(Response::new(until_end(items, time, shutdown, permit)))
    }

    async fn revoke_capability(
        &self,
        request: Request<v1::RevokeCapabilityRequest>,
    ) -> Result<Response<v1::RevokeCapabilityResponse>, Status> {
        let handle = request.into_inner().handle;
        self.note_capability(writes::before, &handle).await;
        let was_revoked = match self.capabilities()?.revoke(&handle).await {
            Ok(Revoked::Newly) => false,
            Ok(Revoked::Before) => true,
            Err(error) => return Err(status::of_admin(error)),
        };
        Ok(Response::new(v1::RevokeCapabilityResponse { was_revoked }))
    }

    async fn list_capabilities(
        &self,
        request: Request<v1::ListCapabilitiesRequest>,
    ) -> Result<Response<v1::ListCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let page = self.capabilities()?.list(wanted).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::ListCapabilitiesResponse {
            capabilities: page.items.into_iter().map(convert::capabilities::to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }
}
