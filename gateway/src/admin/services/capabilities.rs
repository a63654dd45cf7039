//! `CapabilityService`.

use std::sync::Arc;

use buswire_proto::v1::{self, capability_service_server::CapabilityService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{CapabilityAdmin, Revoked},
    status,
};

impl Api {
    fn capabilities(&self) -> Result<&Arc<dyn CapabilityAdmin>, Status> {
        self.0.state.ports.capabilities.as_ref().ok_or_else(|| status::absent("capabilities"))
    }
}

#[tonic::async_trait]
impl CapabilityService for Api {
    async fn grant_capability(
        &self,
        request: Request<v1::GrantCapabilityRequest>,
    ) -> Result<Response<v1::GrantCapabilityResponse>, Status> {
        let new = convert::capabilities::new_capability(request.into_inner())?;
        let granted = self.capabilities()?.grant(new).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::GrantCapabilityResponse {
            cap: granted.cap.expose().clone(),
            control: granted.control.expose().clone(),
            handle: granted.handle,
        }))
    }

    async fn revoke_capability(
        &self,
        request: Request<v1::RevokeCapabilityRequest>,
    ) -> Result<Response<v1::RevokeCapabilityResponse>, Status> {
        let handle = request.into_inner().handle;
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
