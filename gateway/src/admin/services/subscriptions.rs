//! `SubscriptionService`.

use std::sync::Arc;

use buswire_proto::v1::{self, subscription_service_server::SubscriptionService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{convert, ports::SubscriptionAdmin, status};

impl Api {
    fn subscriptions(&self) -> Result<&Arc<dyn SubscriptionAdmin>, Status> {
        self.0.state.ports.subscriptions.as_ref().ok_or_else(|| status::absent("subscriptions"))
    }
}

#[tonic::async_trait]
impl SubscriptionService for Api {
    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let page = self.subscriptions()?.list(wanted).await.map_err(status::of_admin)?;
        Ok(Response::new(v1::ListSubscriptionsResponse {
            subscriptions: page.items.into_iter().map(convert::push::subscription).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let deleted = self.subscriptions()?.delete(&request.get_ref().id).await;
        let existed = deleted.map_err(status::of_admin)?;
        Ok(Response::new(v1::DeleteSubscriptionResponse { existed }))
    }
}
