//! The parties in this process: callers and services without a socket.

use std::time::Duration;

use super::counters::{Dropped, Farewell};
use super::info::ServiceKind;
use super::queue::Arrival;
use super::services::NoService;
use super::tables::{Origin, WorkerParty};
use super::{BrokerCore, CallId, LocalId, Output, Phase, RequestError};
use crate::service_name::is_mmi;
use crate::wire::Hop;
use crate::{Frames, ServiceName};

impl BrokerCore {
    pub(super) fn on_local_request(
        &mut self,
        id: LocalId,
        service: &ServiceName,
        body: Frames,
        timeout: Duration,
    ) {
        if is_mmi(service.as_bytes()) {
            let reply = self.mmi_reply(service.as_bytes(), &body, None);
            self.outputs.push_back(Output::Answer(id, Ok(reply)));
            return;
        }
        let key = match self.intern(service.as_bytes()) {
            Ok(key) => key,
            Err(NoService::Full | NoService::Invalid(_)) => {
                self.count(None, |counters| counters.dropped.add(Dropped::ServicesFull));
                self.outputs.push_back(Output::Answer(id, Err(RequestError::QueueFull)));
                return;
            }
        };
        let arrival = Arrival {
            from: Origin::Local(id),
            route: Hop::default(),
            body,
            user: None,
            patience: timeout,
        };
        match self.accept(key, arrival) {
            Ok(request) => {
                self.locals.insert(id, request);
                // Unlike a client on the wire, the caller learns when its time is up, so the
                // timer runs until the answer.
                let deadline = self.requests.get(request).map(|request| request.deadline);
                self.set_request_timer(request, deadline);
            }
            Err(failure) => self.outputs.push_back(Output::Answer(id, Err(failure))),
        }
        self.note_use(key);
    }

    pub(super) fn on_cancel(&mut self, id: LocalId) {
        if let Some(request) = self.locals.remove(&id) {
            let service = self.requests.get(request).map(|request| request.service);
            self.count(service, |counters| counters.cancelled += 1);
            self.orphan(request);
        }
    }

    pub(super) fn on_offer(&mut self, name: &ServiceName, slots: u32) {
        if is_mmi(name.as_bytes()) {
            return;
        }
        // How many services this process offers is its own decision, so no bound applies.
        let known = self.names.get(name).copied();
        let key = known.unwrap_or_else(|| self.remember(name.clone()));
        let Some(service) = self.services.get_mut(key) else {
            return;
        };
        if service.kind == ServiceKind::Local {
            return;
        }
        service.kind = ServiceKind::Local;
        let usurpers: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.service == key)
            .map(|(worker, _)| worker)
            .collect();
        for worker in usurpers {
            self.lose_worker(worker, Some(Farewell::TakenOver));
        }
        for _ in 0..slots.max(1) {
            self.add_worker(key, WorkerParty::Local, None);
        }
        self.dispatch(key);
    }

    pub(super) fn on_call_done(&mut self, call: CallId, body: Frames) {
        if let Some(request) = self.called(call) {
            self.complete(call.worker, request, body);
        } else {
            let service = self.workers.get(call.worker).map(|worker| worker.service);
            self.count(service, |counters| counters.orphaned += 1);
        }
    }

    /// A call that failed is not repeated: what it did so far is not known.
    pub(super) fn on_call_failed(&mut self, call: CallId) {
        if let Some(request) = self.called(call) {
            let service = self.workers.get(call.worker).map(|worker| worker.service);
            self.count(service, |counters| counters.lost += 1);
            self.finish(request, Err(RequestError::Lost));
            self.release(call.worker);
        }
    }

    pub(super) fn on_stop(&mut self) {
        self.phase = Phase::Stopped;
        let workers: Vec<_> = self.workers.iter().map(|(key, _)| key).collect();
        for worker in workers {
            self.lose_worker(worker, Some(Farewell::Stopped));
        }
        let left: Vec<_> = self.requests.iter().map(|(key, _)| key).collect();
        for request in left {
            self.finish(request, Err(RequestError::Stopped));
        }
        self.close_links();
    }
}
