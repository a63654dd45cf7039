//! `OwnerService`.

use std::sync::Arc;

use buswire_proto::v1::{self, owner_service_server::OwnerService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{OwnerAdmin, Page},
    status, writes,
};

impl Api {
    fn owners(&self) -> Result<&Arc<dyn OwnerAdmin>, Status> {
        self.0.state.ports.owners.as_ref().ok_or_else(|| status::absent("owners of buses"))
    }

    /// Tells the audit log what an owner has, if there is one of this name and it can be
    /// read.
    async fn note_owner(&self, note: impl Fn(&'static str, &v1::Owner), name: &str) {
        let Ok(owners) = self.owners() else { return };
        let all = owners.list().await.unwrap_or_default();
        if let Some(owner) = all.into_iter().find(|owner| owner.name == name) {
            note("Owner", &convert::people::owner_to_wire(owner));
        }
    }
}

#[tonic::async_trait]
impl OwnerService for Api {
    async fn put_owner(
        &self,
        request: Request<v1::PutOwnerRequest>,
    ) -> Result<Response<v1::PutOwnerResponse>, Status> {
        let request = request.into_inner();
        let expected = convert::expected(request.expected_revision);
        let (name, password) = convert::people::credentials(request.name, request.password)?;
        self.note_owner(writes::before, &name).await;
        self.owners()?.put(&name, password, expected).await.map_err(status::of_admin)?;
        self.note_owner(writes::after, &name).await;
        Ok(Response::new(v1::PutOwnerResponse {}))
    }

    async fn list_owners(
        &self,
        request: Request<v1::ListOwnersRequest>,
    ) -> Result<Response<v1::ListOwnersResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.owners()?.list().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |owner| owner.name.clone());
        Ok(Response::new(v1::ListOwnersResponse {
            owners: page.items.into_iter().map(convert::people::owner_to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn delete_owner(
        &self,
        request: Request<v1::DeleteOwnerRequest>,
    ) -> Result<Response<v1::DeleteOwnerResponse>, Status> {
        let v1::DeleteOwnerRequest { name, expected_revision } = request.into_inner();
        self.note_owner(writes::before, &name).await;
        let deleted = self.owners()?.delete(&name, convert::expected(expected_revision)).await;
        let existed = deleted.map_err(status::of_admin)?;
        Ok(Response::new(v1::DeleteOwnerResponse { existed }))
    }

    async fn assign_bus(
        &self,
        request: Request<v1::AssignBusRequest>,
    ) -> Result<Response<v1::AssignBusResponse>, Status> {
        let request = request.into_inner();
        let bus = convert::parse("bus", &request.bus)?;
        self.note_owner(writes::before, &request.owner).await;
        let expected = convert::expected(request.expected_revision);
        let assigned = self.owners()?.assign(&request.owner, &bus, expected).await;
        assigned.map_err(status::of_admin)?;
        self.note_owner(writes::after, &request.owner).await;
        Ok(Response::new(v1::AssignBusResponse {}))
    }
}
