//! `UserService`.

use std::sync::Arc;

use buswire_proto::v1::{self, user_service_server::UserService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{Page, UserAdmin},
    status, writes,
};

impl Api {
    fn users(&self) -> Result<&Arc<dyn UserAdmin>, Status> {
        self.0.state.ports.users.as_ref().ok_or_else(|| status::absent("users of Backplane 1.x"))
    }

    /// Tells the audit log what a user may do, if there is one of this name and it can be
    /// read.
    async fn note_user(&self, note: impl Fn(&'static str, &v1::User), name: &str) {
        let Ok(users) = self.users() else { return };
        let all = users.list().await.unwrap_or_default();
        if let Some(user) = all.into_iter().find(|user| user.name == name) {
            note("User", &convert::people::user_to_wire(user));
        }
    }
}

#[tonic::async_trait]
impl UserService for Api {
    async fn put_user(
        &self,
        request: Request<v1::PutUserRequest>,
    ) -> Result<Response<v1::PutUserResponse>, Status> {
        let request = request.into_inner();
        let expected = convert::expected(request.expected_revision);
        let (name, password) = convert::people::credentials(request.name, request.password)?;
        self.note_user(writes::before, &name).await;
        self.users()?.put(&name, password, expected).await.map_err(status::of_admin)?;
        self.note_user(writes::after, &name).await;
        Ok(Response::new(v1::PutUserResponse {}))
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.users()?.list().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |user| user.name.clone());
        Ok(Response::new(v1::ListUsersResponse {
            users: page.items.into_iter().map(convert::people::user_to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let v1::DeleteUserRequest { name, expected_revision } = request.into_inner();
        self.note_user(writes::before, &name).await;
        let deleted = self.users()?.delete(&name, convert::expected(expected_revision)).await;
        let existed = deleted.map_err(status::of_admin)?;
        Ok(Response::new(v1::DeleteUserResponse { existed }))
    }

    async fn set_permissions(
        &self,
        request: Request<v1::SetPermissionsRequest>,
    ) -> Result<Response<v1::SetPermissionsResponse>, Status> {
        let request = request.into_inner();
        let bus = convert::people::v1_bus(&request.bus)?;
        let permissions = convert::people::permissions(&request.permissions)?;
        self.note_user(writes::before, &request.user).await;
        self.users()?.permit(&request.user, &bus, permissions).await.map_err(status::of_admin)?;
        self.note_user(writes::after, &request.user).await;
        Ok(Response::new(v1::SetPermissionsResponse {}))
    }
}
