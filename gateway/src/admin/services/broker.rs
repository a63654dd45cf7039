//! `BrokerService`.

use std::{sync::Arc, time::Duration};

use buswire_mdp::core::{Dismissal, WorkerId};
use buswire_proto::v1::{self, broker_service_server::BrokerService};
use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{AdminError, BrokerAdmin, Missing, Page},
    status, writes,
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_SHORTEST: Duration = Duration::from_millis(1);
const TIMEOUT_LONGEST: Duration = Duration::from_secs(60);

impl Api {
    fn broker(&self) -> Result<&Arc<dyn BrokerAdmin>, Status> {
        self.0.state.ports.broker.as_ref().ok_or_else(|| status::absent("Majordomo broker"))
    }

    async fn service(&self, name: &str) -> Result<Option<v1::Service>, Status> {
        let all = self.broker()?.services().await.map_err(status::of_admin)?;
        let service = all.iter().find(|service| service.name.as_str() == name);
        let missing = || {
            let missing = Missing::new("service", name.to_owned());
            AdminError::NotFound(missing.told(format!("the broker knows no service {name}")))
        };
        let service = service.ok_or_else(missing).map_err(status::of_admin)?;
        Ok(Some(convert::broker::service_to_wire(service)))
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<Option<v1::Service>, Status> {
        if let Ok(Some(service)) = self.service(name).await {
            writes::before("Service", &service);
        }
        self.broker()?.set_paused(name, paused).await.map_err(status::of_admin)?;
        self.service(name).await
    }

    async fn dismiss(&self, id: u64, when: Dismissal) -> Result<(), Status> {
        let all = self.broker()?.workers().await.map_err(status::of_admin)?;
        if let Some(worker) = all.iter().find(|worker| worker.id == WorkerId(id)) {
            writes::before("Worker", &convert::broker::worker_to_wire(worker));
        }
        self.broker()?.dismiss(WorkerId(id), when).await.map_err(status::of_admin)
    }
}

fn timeout(wanted: Option<prost_types::Duration>) -> Result<Duration, Status> {
    wanted
        .map_or(Ok(TIMEOUT_DEFAULT), convert::from_wire_duration)
        .ok()
        .filter(|time| (TIMEOUT_SHORTEST..=TIMEOUT_LONGEST).contains(time))
        .ok_or_else(|| status::invalid(["timeout: 1 ms to 60 s"]))
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
        let page = Page::cut(all, &wanted, |service| service.name.to_string());
        Ok(Response::new(v1::ListServicesResponse {
            services: page.items.iter().map(convert::broker::service_to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_service(
        &self,
        request: Request<v1::GetServiceRequest>,
    ) -> Result<Response<v1::GetServiceResponse>, Status> {
        let service = self.service(&request.get_ref().name).await?;
        Ok(Response::new(v1::GetServiceResponse { service }))
    }

    async fn pause_service(
        &self,
        request: Request<v1::PauseServiceRequest>,
    ) -> Result<Response<v1::PauseServiceResponse>, Status> {
        let service = self.set_paused(&request.get_ref().name, true).await?;
        Ok(Response::new(v1::PauseServiceResponse { service }))
    }

    async fn resume_service(
        &self,
        request: Request<v1::ResumeServiceRequest>,
    ) -> Result<Response<v1::ResumeServiceResponse>, Status> {
        let service = self.set_paused(&request.get_ref().name, false).await?;
        Ok(Response::new(v1::ResumeServiceResponse { service }))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let mut all = self.broker()?.workers().await.map_err(status::of_admin)?;
        let wants = |name: &str| request.service.is_empty() || name == request.service;
        all.retain(|worker| wants(worker.service.as_str()));
        // Padded, so that the order of texts is the order of ids.
        let page = Page::cut(all, &wanted, |worker| format!("{:020}", worker.id.0));
        Ok(Response::new(v1::ListWorkersResponse {
            workers: page.items.iter().map(convert::broker::worker_to_wire).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        self.dismiss(request.get_ref().id, Dismissal::Drain).await?;
        Ok(Response::new(v1::DrainWorkerResponse {}))
    }

    async fn disconnect_worker(
        &self,
        request: Request<v1::DisconnectWorkerRequest>,
    ) -> Result<Response<v1::DisconnectWorkerResponse>, Status> {
        self.dismiss(request.get_ref().id, Dismissal::Now).await?;
        Ok(Response::new(v1::DisconnectWorkerResponse {}))
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
