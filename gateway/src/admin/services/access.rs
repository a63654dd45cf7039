//! `AccessService`.

use std::sync::Arc;

use buswire_proto::v1::{self, access_service_server::AccessService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{AccessAdmin, ChannelView},
    status,
};

impl Api {
    fn access(&self) -> Result<&Arc<dyn AccessAdmin>, Status> {
        self.0.state.ports.access.as_ref().ok_or_else(|| status::absent("access"))
    }
}

fn to_wire(channel: &ChannelView) -> v1::Channel {
    v1::Channel {
        name: channel.name.to_string(),
        expires_at: Some(convert::to_wire_time(channel.expires_at)),
        messages: channel.messages as u64,
    }
}

#[tonic::async_trait]
impl AccessService for Api {
    async fn list_channels(
        &self,
        request: Request<v1::ListChannelsRequest>,
    ) -> Result<Response<v1::ListChannelsResponse>, Status> {
        let request = request.into_inner();
        let bus = convert::parse("bus", &request.bus)?;
        let wanted = convert::page(request.page_size, request.page_token);
        let page = self.access()?.channels(&bus, wanted).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::ListChannelsResponse {
            channels: page.items.iter().map(to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn revoke_tokens(
        &self,
        request: Request<v1::RevokeTokensRequest>,
    ) -> Result<Response<v1::RevokeTokensResponse>, Status> {
        let client_id = request.into_inner().client_id;
        let existed = self.access()?.revoke_tokens(&client_id).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::RevokeTokensResponse { existed }))
    }

    async fn end_sign_ins(
        &self,
        request: Request<v1::EndSignInsRequest>,
    ) -> Result<Response<v1::EndSignInsResponse>, Status> {
        let owner = request.into_inner().owner;
        let ended = self.access()?.end_sign_ins(&owner).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::EndSignInsResponse { ended: ended as u64 }))
    }
}
