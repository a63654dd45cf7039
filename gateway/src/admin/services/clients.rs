//! `ClientService`.

use std::sync::Arc;

use buswire_proto::v1::{self, client_service_server::ClientService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{ClientAdmin, Page},
    status, writes,
};

impl Api {
    fn clients(&self) -> Result<&Arc<dyn ClientAdmin>, Status> {
        self.0.state.ports.clients.as_ref().ok_or_else(|| status::absent("clients"))
    }
}

#[tonic::async_trait]
impl ClientService for Api {
    async fn create_client(
        &self,
        request: Request<v1::CreateClientRequest>,
    ) -> Result<Response<v1::CreateClientResponse>, Status> {
        let new = convert::people::new_client(request.into_inner())?;
        let created = self.clients()?.create(new).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::CreateClientResponse {
            client: Some(convert::people::client_to_wire(created.client)),
            secret: created.secret.expose().clone(),
        }))
    }

    async fn list_clients(
        &self,
        request: Request<v1::ListClientsRequest>,
    ) -> Result<Response<v1::ListClientsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.clients()?.list().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |client| client.client_id.clone());
        Ok(Response::new(v1::ListClientsResponse {
            clients: page.items.into_iter().map(convert::people::client_to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn delete_client(
        &self,
        request: Request<v1::DeleteClientRequest>,
    ) -> Result<Response<v1::DeleteClientResponse>, Status> {
        let v1::DeleteClientRequest { client_id, expected_revision } = request.into_inner();
        let all = self.clients()?.list().await.map_err(status::of_admin)?;
        if let Some(client) = all.into_iter().find(|client| client.client_id == client_id) {
            writes::before("Client", &convert::people::client_to_wire(client));
        }
        let expected = convert::expected(expected_revision);
        let deleted = self.clients()?.delete(&client_id, expected).await;
        let existed = deleted.map_err(status::of_admin)?;
        Ok(Response::new(v1::DeleteClientResponse { existed }))
    }
}
