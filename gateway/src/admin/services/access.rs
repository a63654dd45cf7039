//! `AccessService`.

use std::sync::Arc;

use buswire_proto::v1::{self, access_service_server::AccessService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert::{self, access},
    ports::{AccessAdmin, AdminError, Issued, Page},
    status,
};

impl Api {
    fn access(&self) -> Result<&Arc<dyn AccessAdmin>, Status> {
        self.0.state.ports.access.as_ref().ok_or_else(|| status::absent("access"))
    }

    async fn end(&self, kind: Issued, handle: &str) -> Result<bool, Status> {
        self.access()?.end(kind, handle).await.map_err(status::of_admin)
    }
}

/// The items of a page on the wire, and the token of the next one.
fn page<T, W>(
    page: Result<Page<T>, AdminError>,
    to_wire: impl Fn(T) -> W,
) -> Result<(Vec<W>, String), Status> {
    let page = page.map_err(status::of_admin)?;
    Ok((page.items.into_iter().map(to_wire).collect(), page.next.unwrap_or_default()))
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
        let found = self.access()?.channels(&bus, wanted).await;
        let (channels, next_page_token) = page(found, |channel| access::channel_to_wire(&channel))?;
        Ok(Response::new(v1::ListChannelsResponse { channels, next_page_token }))
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

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let mut request = request.into_inner();
        let wanted = convert::page(request.page_size, std::mem::take(&mut request.page_token));
        let found = self.access()?.tokens(access::token_filter(request)?, wanted).await;
        let (tokens, next_page_token) = page(found, access::token_to_wire)?;
        Ok(Response::new(v1::ListTokensResponse { tokens, next_page_token }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let existed = self.end(Issued::Token, &request.into_inner().handle).await?;
        Ok(Response::new(v1::RevokeTokenResponse { existed }))
    }

    async fn list_codes(
        &self,
        request: Request<v1::ListCodesRequest>,
    ) -> Result<Response<v1::ListCodesResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let found = self.access()?.codes(convert::non_empty(request.client_id), wanted).await;
        let (codes, next_page_token) = page(found, access::code_to_wire)?;
        Ok(Response::new(v1::ListCodesResponse { codes, next_page_token }))
    }

    async fn revoke_code(
        &self,
        request: Request<v1::RevokeCodeRequest>,
    ) -> Result<Response<v1::RevokeCodeResponse>, Status> {
        let existed = self.end(Issued::Code, &request.into_inner().handle).await?;
        Ok(Response::new(v1::RevokeCodeResponse { existed }))
    }

    async fn list_sign_ins(
        &self,
        request: Request<v1::ListSignInsRequest>,
    ) -> Result<Response<v1::ListSignInsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let found = self.access()?.sign_ins(convert::non_empty(request.owner), wanted).await;
        let (sign_ins, next_page_token) = page(found, access::sign_in_to_wire)?;
        Ok(Response::new(v1::ListSignInsResponse { sign_ins, next_page_token }))
    }

    async fn end_sign_in(
        &self,
        request: Request<v1::EndSignInRequest>,
    ) -> Result<Response<v1::EndSignInResponse>, Status> {
        let existed = self.end(Issued::SignIn, &request.into_inner().handle).await?;
        Ok(Response::new(v1::EndSignInResponse { existed }))
    }

    async fn list_authorization_requests(
        &self,
        request: Request<v1::ListAuthorizationRequestsRequest>,
    ) -> Result<Response<v1::ListAuthorizationRequestsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let found = self
            .access()?
            .authorization_requests(convert::non_empty(request.client_id), wanted)
            .await;
        let (requests, next_page_token) = page(found, access::authorization_request_to_wire)?;
        Ok(Response::new(v1::ListAuthorizationRequestsResponse { requests, next_page_token }))
    }

    async fn delete_authorization_request(
        &self,
        request: Request<v1::DeleteAuthorizationRequestRequest>,
    ) -> Result<Response<v1::DeleteAuthorizationRequestResponse>, Status> {
        let existed = self.end(Issued::AuthorizationRequest, &request.into_inner().handle).await?;
        Ok(Response::new(v1::DeleteAuthorizationRequestResponse { existed }))
    }

    async fn list_decisions(
        &self,
        request: Request<v1::ListDecisionsRequest>,
    ) -> Result<Response<v1::ListDecisionsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let found = self.access()?.decisions(wanted).await;
        let (decisions, next_page_token) = page(found, access::decision_to_wire)?;
        Ok(Response::new(v1::ListDecisionsResponse { decisions, next_page_token }))
    }

    async fn delete_decision(
        &self,
        request: Request<v1::DeleteDecisionRequest>,
    ) -> Result<Response<v1::DeleteDecisionResponse>, Status> {
        let existed = self.end(Issued::Decision, &request.into_inner().handle).await?;
        Ok(Response::new(v1::DeleteDecisionResponse { existed }))
    }
}
