//! `BusService`.

use buswire_bus::{BusError, BusInfo, Created};
use buswire_message::BusName;
use buswire_proto::v1::{self, bus_service_server::BusService};
use buswire_store::Revision;
use tonic::{Code, Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{Missing, Page},
    status, writes,
};

/// How often a change that met another one is made.
const TRIES: usize = 8;

impl Api {
    async fn bus(&self, name: &BusName) -> Result<BusInfo, Status> {
        let found = self.0.state.buses.get(name).await.map_err(|e| status::of_bus(&e))?;
        found.ok_or_else(|| status::missing(&Missing::new("bus", name.to_string())))
    }

    /// The bus before it is changed, if it has the revision that is expected.
    async fn expected(&self, name: &BusName, revision: u64) -> Result<BusInfo, Status> {
        let bus = self.bus(name).await?;
        writes::before("Bus", &convert::buses::to_wire(&bus));
        status::check_revision("bus", &name.to_string(), revision, bus.revision.0)?;
        Ok(bus)
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
        let bus = convert::buses::to_wire(&self.bus(&name).await?);
        if existed {
            writes::before("Bus", &bus);
        }
        Ok(Response::new(v1::CreateBusResponse { bus: Some(bus), existed }))
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
        let mut tries = 0..TRIES;
        loop {
            let present = self.expected(&name, request.expected_revision).await?;
            let usual = self.0.state.retention;
            let retention = convert::buses::changed_retention(present.retention, usual, &request)?;
            match self.0.state.buses.update(&name, retention, Some(present.revision)).await {
                Ok(()) => break,
                // Somebody else was faster: what they changed is changed again, not undone.
                Err(BusError::Changed(_)) if tries.next().is_some() => {}
                Err(error) => return Err(status::of_bus(&error)),
            }
        }
        let bus = Some(convert::buses::to_wire(&self.bus(&name).await?));
        Ok(Response::new(v1::UpdateBusRetentionResponse { bus }))
    }

    async fn delete_bus(
        &self,
        request: Request<v1::DeleteBusRequest>,
    ) -> Result<Response<v1::DeleteBusResponse>, Status> {
        let request = request.into_inner();
        let name = convert::parse("name", &request.name)?;
        match self.expected(&name, request.expected_revision).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status),
        }
        let state = &self.0.state;
        // As it is then, not as it was found above.
        let expected = convert::expected(request.expected_revision).map(Revision);
        let existed = match &state.ports.removal {
            Some(removal) => removal.delete(&name, expected).await.map_err(status::of_admin)?,
            None => state.buses.delete(&name, expected).await.map_err(|e| status::of_bus(&e))?,
        };
        Ok(Response::new(v1::DeleteBusResponse { existed }))
    }
}
