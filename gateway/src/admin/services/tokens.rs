//! `AdminTokenService`.

use std::sync::Arc;

use buswire_proto::v1::{self, admin_token_service_server::AdminTokenService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    Role, convert,
    ports::{AdminTokenView, AdminTokens, Page},
    status, writes,
};

impl Api {
    fn tokens(&self) -> Result<&Arc<dyn AdminTokens>, Status> {
        self.0.state.ports.tokens.as_ref().ok_or_else(|| status::absent("tokens"))
    }

    async fn token(&self, name: &str) -> Result<Option<v1::AdminToken>, Status> {
        let all = self.tokens()?.list().await.map_err(status::of_admin)?;
        Ok(all.into_iter().find(|token| token.name == name).map(to_wire))
    }
}

fn role(wanted: v1::AdminRole) -> Result<Role, Status> {
    match wanted {
        v1::AdminRole::Unspecified => Err(status::invalid(["role: must be given"])),
        v1::AdminRole::Viewer => Ok(Role::Viewer),
        v1::AdminRole::Operator => Ok(Role::Operator),
        v1::AdminRole::Admin => Ok(Role::Admin),
    }
}

fn to_wire(view: AdminTokenView) -> v1::AdminToken {
    let role = match view.role {
        Role::Viewer => v1::AdminRole::Viewer,
        Role::Operator => v1::AdminRole::Operator,
        Role::Admin => v1::AdminRole::Admin,
    };
    v1::AdminToken {
        name: view.name,
        role: role.into(),
        created_at: Some(convert::to_wire_time(view.created_at)),
        revision: view.revision,
    }
}

#[tonic::async_trait]
impl AdminTokenService for Api {
    async fn create_admin_token(
        &self,
        request: Request<v1::CreateAdminTokenRequest>,
    ) -> Result<Response<v1::CreateAdminTokenResponse>, Status> {
        let request = request.into_inner();
        let role = role(request.role())?;
        let token = self.tokens()?.create(&request.name, role).await.map_err(status::of_admin)?;
        if let Ok(Some(made)) = self.token(&request.name).await {
            writes::after("AdminToken", &made);
        }
        Ok(Response::new(v1::CreateAdminTokenResponse { token: token.expose().clone() }))
    }

    async fn list_admin_tokens(
        &self,
        request: Request<v1::ListAdminTokensRequest>,
    ) -> Result<Response<v1::ListAdminTokensResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.tokens()?.list().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |token| token.name.clone());
        Ok(Response::new(v1::ListAdminTokensResponse {
            tokens: page.items.into_iter().map(to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn revoke_admin_token(
        &self,
        request: Request<v1::RevokeAdminTokenRequest>,
    ) -> Result<Response<v1::RevokeAdminTokenResponse>, Status> {
        let v1::RevokeAdminTokenRequest { name, expected_revision } = request.into_inner();
        if let Some(token) = self.token(&name).await? {
            writes::before("AdminToken", &token);
        }
        let revoked = self.tokens()?.revoke(&name, convert::expected(expected_revision)).await;
        let existed = revoked.map_err(status::of_admin)?;
        Ok(Response::new(v1::RevokeAdminTokenResponse { existed }))
    }
}
