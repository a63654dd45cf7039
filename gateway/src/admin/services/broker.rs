//! `BrokerService`.

use std::{sync::Arc, time::Duration};

use buswire_proto::v1::{self, broker_service_server::BrokerService};
use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{BrokerAdmin, Page, ServiceView},
    status,
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_SHORTEST: Duration = Duration::from_millis(1);
const TIMEOUT_LONGEST: Duration = Duration::from_secs(60);

impl Api {
    fn broker(&self) -> Result<&Arc<dyn BrokerAdmin>, Status> {
        self.0.state.ports.broker.as_ref().ok_or_else(|| status::absent("Majordomo broker"))
    }
}

fn to_wire(service: ServiceView) -> v1::Service {
    v1::Service {
        name: service.name,
        workers: service.workers,
        idle: service.idle,
        queued: service.queued,
    }
}

fn timeout(wanted: Option<prost_types::Duration>) -> Result<Duration, Status> {
    wanted
        .map_or(Ok(TIMEOUT_DEFAULT), convert::from_wire_duration)
        .ok()
        .filter(|time| (TIMEOUT_SHORTEST..=TIMEOUT_LONGEST).contains(time))
        .ok_or_else(|| Status::invalid_argument("timeout: 1 ms to 60 s"))
}

#[tonic::async_trait]
impl BrokerService for Api {
    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<v1::ListServicesResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let all = self.broker()?.services().await.map_err(status::of_admin)?;
        let page = Page::cut(all, &wanted, |service| service.name.clone());
        Ok(Response::new(v1::ListServicesResponse {
            services: page.items.into_iter().map(to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn request(
        &self,
        request: Request<v1::RequestRequest>,
    ) -> Result<Response<v1::RequestResponse>, Status> {
        let request = request.into_inner();
        let timeout = timeout(request.timeout)?;
        let frames = request.frames.into_iter().map(Bytes::from).collect();
        let answer = self.broker()?.request(&request.service, frames, timeout).await;
        let frames = answer.map_err(status::of_admin)?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::RequestResponse { frames }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_bounds() {
        let wire = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        assert_eq!(timeout(None).unwrap(), TIMEOUT_DEFAULT);
        assert_eq!(timeout(wire(60, 0)).unwrap(), TIMEOUT_LONGEST);
        for refused in [wire(60, 1), wire(0, 0), wire(-1, 0)] {
            assert!(timeout(refused).is_err(), "{refused:?}");
        }
    }
}
