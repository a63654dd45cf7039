//! `RouteService`.

use std::sync::Arc;

use buswire_proto::v1::{self, route_service_server::RouteService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{Page, RouteAdmin},
    status, writes,
};

impl Api {
    pub(super) fn routes(&self) -> Result<&Arc<dyn RouteAdmin>, Status> {
        self.0.state.ports.routes.as_ref().ok_or_else(|| status::absent("routes"))
    }

    async fn route(&self, name: &str) -> Result<Option<v1::Route>, Status> {
        let route = self.routes()?.get(name).await.map_err(status::of_admin)?;
        Ok(Some(convert::routes::to_wire(route)))
    }

    /// Notes the route before it is changed; the revision that is expected, if one is.
    async fn expected_route(&self, name: &str, revision: u64) -> Result<Option<u64>, Status> {
        if let Some(route) = self.route(name).await? {
            writes::before("Route", &route);
        }
        Ok(convert::expected(revision))
    }
}

#[tonic::async_trait]
impl RouteService for Api {
    async fn create_route(
        &self,
        request: Request<v1::CreateRouteRequest>,
    ) -> Result<Response<v1::CreateRouteResponse>, Status> {
        let new = convert::routes::new_route(request.into_inner())?;
        let name = new.name.clone();
        self.routes()?.create(new).await.map_err(status::of_admin)?;
        let route = self.route(&name).await?;
        Ok(Response::new(v1::CreateRouteResponse { route }))
    }

    async fn update_route(
        &self,
        request: Request<v1::UpdateRouteRequest>,
    ) -> Result<Response<v1::UpdateRouteResponse>, Status> {
        let request = request.into_inner();
        let name = request.name.clone();
        let expected = self.expected_route(&name, request.expected_revision).await?;
        let change = convert::routes::changed_route(request)?;
        self.routes()?.change(&name, change, expected).await.map_err(status::of_admin)?;
        let route = self.route(&name).await?;
        Ok(Response::new(v1::UpdateRouteResponse { route }))
    }

    async fn get_route(
        &self,
        request: Request<v1::GetRouteRequest>,
    ) -> Result<Response<v1::GetRouteResponse>, Status> {
        let route = self.route(&request.get_ref().name).await?;
        Ok(Response::new(v1::GetRouteResponse { route }))
    }

    async fn list_routes(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<v1::ListRoutesResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.routes()?.list().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |route| route.name.clone());
        Ok(Response::new(v1::ListRoutesResponse {
            routes: page.items.into_iter().map(convert::routes::to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn pause_route(
        &self,
        request: Request<v1::PauseRouteRequest>,
    ) -> Result<Response<v1::PauseRouteResponse>, Status> {
        let v1::PauseRouteRequest { name, expected_revision } = request.into_inner();
        let expected = self.expected_route(&name, expected_revision).await?;
        self.routes()?.pause(&name, expected).await.map_err(status::of_admin)?;
        let route = self.route(&name).await?;
        Ok(Response::new(v1::PauseRouteResponse { route }))
    }

    async fn resume_route(
        &self,
        request: Request<v1::ResumeRouteRequest>,
    ) -> Result<Response<v1::ResumeRouteResponse>, Status> {
        let v1::ResumeRouteRequest { name, expected_revision } = request.into_inner();
        let expected = self.expected_route(&name, expected_revision).await?;
        self.routes()?.resume(&name, expected).await.map_err(status::of_admin)?;
        let route = self.route(&name).await?;
        Ok(Response::new(v1::ResumeRouteResponse { route }))
    }

    async fn delete_route(
        &self,
        request: Request<v1::DeleteRouteRequest>,
    ) -> Result<Response<v1::DeleteRouteResponse>, Status> {
        let v1::DeleteRouteRequest { name, expected_revision } = request.into_inner();
        let expected = self.expected_route(&name, expected_revision).await?;
        self.routes()?.delete(&name, expected).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::DeleteRouteResponse {}))
    }
}
