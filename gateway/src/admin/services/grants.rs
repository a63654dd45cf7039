//! `GrantService`.

use std::sync::Arc;

use buswire_proto::v1::{self, grant_service_server::GrantService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{GrantAdmin, Page},
    status, writes,
};

impl Api {
    fn grants(&self) -> Result<&Arc<dyn GrantAdmin>, Status> {
        self.0.state.ports.grants.as_ref().ok_or_else(|| status::absent("grants"))
    }
}

#[tonic::async_trait]
impl GrantService for Api {
    async fn create_grant(
        &self,
        request: Request<v1::CreateGrantRequest>,
    ) -> Result<Response<v1::CreateGrantResponse>, Status> {
        let request = request.into_inner();
        let buses = convert::people::granted_buses(&request.buses)?;
        let created = self.grants()?.create(&request.client_id, buses).await;
        let grant = Some(convert::people::grant_to_wire(created.map_err(status::of_admin)?));
        Ok(Response::new(v1::CreateGrantResponse { grant }))
    }

    async fn list_grants(
        &self,
        request: Request<v1::ListGrantsRequest>,
    ) -> Result<Response<v1::ListGrantsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let client_id = convert::non_empty(request.client_id);
        let all = self.grants()?.list(client_id.as_deref()).await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |grant| grant.id.clone());
        Ok(Response::new(v1::ListGrantsResponse {
            grants: page.items.into_iter().map(convert::people::grant_to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn revoke_grant(
        &self,
        request: Request<v1::RevokeGrantRequest>,
    ) -> Result<Response<v1::RevokeGrantResponse>, Status> {
        let v1::RevokeGrantRequest { id, expected_revision } = request.into_inner();
        let all = self.grants()?.list(None).await.map_err(status::of_admin)?;
        if let Some(grant) = all.into_iter().find(|grant| grant.id == id) {
            writes::before("Grant", &convert::people::grant_to_wire(grant));
        }
        let revoked = self.grants()?.revoke(&id, convert::expected(expected_revision)).await;
        let existed = revoked.map_err(status::of_admin)?;
        Ok(Response::new(v1::RevokeGrantResponse { existed }))
    }
}
