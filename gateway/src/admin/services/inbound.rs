//! `InboundService`.

use std::sync::Arc;

use buswire_proto::v1::{self, inbound_service_server::InboundService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{InboundAdmin, Page},
    status, writes,
};

impl Api {
    fn inbounds(&self) -> Result<&Arc<dyn InboundAdmin>, Status> {
        self.0.state.ports.inbounds.as_ref().ok_or_else(|| status::absent("inbound endpoints"))
    }
}

#[tonic::async_trait]
impl InboundService for Api {
    async fn create_inbound(
        &self,
        request: Request<v1::CreateInboundRequest>,
    ) -> Result<Response<v1::CreateInboundResponse>, Status> {
        let new = convert::push::new_inbound(request.get_ref())?;
        let made = self.inbounds()?.create(new).await.map_err(status::of_admin)?;
        Ok(Response::new(convert::push::created_inbound(&made)))
    }

    async fn list_inbounds(
        &self,
        request: Request<v1::ListInboundsRequest>,
    ) -> Result<Response<v1::ListInboundsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.inbounds()?.list().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |inbound| inbound.id.clone());
        Ok(Response::new(v1::ListInboundsResponse {
            inbounds: page.items.into_iter().map(convert::push::inbound).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn revoke_inbound(
        &self,
        request: Request<v1::RevokeInboundRequest>,
    ) -> Result<Response<v1::RevokeInboundResponse>, Status> {
        let id = request.into_inner().id;
        let all = self.inbounds()?.list().await.map_err(status::of_admin)?;
        if let Some(inbound) = all.into_iter().find(|inbound| inbound.id == id) {
            writes::before("Inbound", &convert::push::inbound(inbound));
        }
        let revoked = self.inbounds()?.revoke(&id).await;
        let existed = revoked.map_err(status::of_admin)?;
        Ok(Response::new(v1::RevokeInboundResponse { existed }))
    }
}
