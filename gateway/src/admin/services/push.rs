//! `PushService`.

use std::sync::Arc;

use buswire_proto::v1::{self, push_service_server::PushService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{convert, ports::PushAdmin, status, writes};

impl Api {
    fn push(&self) -> Result<&Arc<dyn PushAdmin>, Status> {
        self.0.state.ports.push.as_ref().ok_or_else(|| status::absent("SimplePush"))
    }
}

#[tonic::async_trait]
impl PushService for Api {
    async fn notify(
        &self,
        request: Request<v1::NotifyRequest>,
    ) -> Result<Response<v1::NotifyResponse>, Status> {
        let (target, version) = convert::push::notification(request.into_inner())?;
        let notified = self.push()?.notify(target, version).await;
        let version = notified.map_err(status::of_admin)?.get();
        Ok(Response::new(v1::NotifyResponse { version }))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let page = self.push()?.agents(wanted).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::ListAgentsResponse {
            agents: page.items.into_iter().map(convert::push::agent).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_agent(
        &self,
        request: Request<v1::GetAgentRequest>,
    ) -> Result<Response<v1::GetAgentResponse>, Status> {
        let agent = self.push()?.agent(&request.get_ref().id).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::GetAgentResponse { agent: Some(convert::push::agent(agent)) }))
    }

    async fn list_push_channels(
        &self,
        request: Request<v1::ListPushChannelsRequest>,
    ) -> Result<Response<v1::ListPushChannelsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let page = self.push()?.channels(&request.agent, wanted).await;
        let page = page.map_err(status::of_admin)?;
        Ok(Response::new(v1::ListPushChannelsResponse {
            channels: page.items.into_iter().map(convert::push::channel).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn drop_agent(
        &self,
        request: Request<v1::DropAgentRequest>,
    ) -> Result<Response<v1::DropAgentResponse>, Status> {
        let id = request.into_inner().id;
        let agent = self.push()?.agent(&id).await.map_err(status::of_admin)?;
        writes::before("Agent", &convert::push::agent(agent));
        self.push()?.drop_agent(&id).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::DropAgentResponse {}))
    }

    async fn get_push_status(
        &self,
        _: Request<v1::GetPushStatusRequest>,
    ) -> Result<Response<v1::GetPushStatusResponse>, Status> {
        Ok(Response::new(convert::push::status(self.push()?.status())))
    }
}
