//! `BusService`.

use buswire_bus::Created;
use buswire_message::BusName;
use buswire_proto::v1::{self, bus_service_server::BusService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{convert, ports::Page, status};

impl Api {
    async fn bus(&self, name: &BusName) -> Result<buswire_bus::BusInfo, Status> {
        let found = self.0.state.buses.get(name).await.map_err(|e| status::of_bus(&e))?;
        found.ok_or_else(|| Status::not_found(format!("there is no bus {name}")))
    }
}

#[tonic::async_trait]
impl BusService for Api {
    async fn create_bus(
        &self,
        request: Request<v1::CreateBusRequest>,
    ) -> Result<Response<v1::CreateBusResponse>, Status> {
        let (name, retention) = convert::buses::new_bus(request.get_ref(), self.0.state.retention)?;
        let created = self.0.state.buses.create(&name, retention).await;
        let existed = match created.map_err(|e| status::of_bus(&e))? {
            Created::New => false,
            Created::Existed => true,
        };
        let bus = Some(convert::buses::to_wire(&self.bus(&name).await?));
        Ok(Response::new(v1::CreateBusResponse { bus, existed }))
    }

    async fn get_bus(
        &self,
        request: Request<v1::GetBusRequest>,
    ) -> Result<Response<v1::GetBusResponse>, Status> {
        let name = convert::parse("name", &request.get_ref().name)?;
        let bus = Some(convert::buses::to_wire(&self.bus(&name).await?));
        Ok(Response::new(v1::GetBusResponse { bus }))
    }

    async fn list_buses(
        &self,
        request: Request<v1::ListBusesRequest>,
    ) -> Result<Response<v1::ListBusesResponse>, Status> {
        let request = request.into_inner();
        let realm = convert::buses::realm(request.realm)?;
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.0.state.buses.list(realm).await.map_err(|e| status::of_bus(&e))?;
        let page = Page::cut(all, &wanted, |bus| bus.name.qualified());
        Ok(Response::new(v1::ListBusesResponse {
            buses: page.items.iter().map(convert::buses::to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn update_bus_retention(
        &self,
        request: Request<v1::UpdateBusRetentionRequest>,
    ) -> Result<Response<v1::UpdateBusRetentionResponse>, Status> {
        let request = request.into_inner();
        let name = convert::parse("name", &request.name)?;
        let current = self.bus(&name).await?.retention;
        let retention = convert::buses::retention(current, request.retention)?;
        self.0.state.buses.update(&name, retention).await.map_err(|e| status::of_bus(&e))?;
        let bus = Some(convert::buses::to_wire(&self.bus(&name).await?));
        Ok(Response::new(v1::UpdateBusRetentionResponse { bus }))
    }

    async fn delete_bus(
        &self,
        request: Request<v1::DeleteBusRequest>,
    ) -> Result<Response<v1::DeleteBusResponse>, Status> {
        let name = convert::parse("name", &request.get_ref().name)?;
        let state = &self.0.state;
        let existed = match &state.ports.removal {
            Some(removal) => removal.delete(&name).await.map_err(status::of_admin)?,
            None => state.buses.delete(&name).await.map_err(|e| status::of_bus(&e))?,
        };
        Ok(Response::new(v1::DeleteBusResponse { existed }))
    }
}
