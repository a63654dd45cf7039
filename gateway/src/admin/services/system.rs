//! `SystemService`.

use std::path::PathBuf;

use buswire_proto::v1::{self, system_service_server::SystemService};
use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    admin::{
        convert::{self, to_wire_time},
        deadline::Deadline,
        ports::{SystemAdmin, SystemView, VersionView},
        status,
        stream::{Answers, until_end},
    },
    config::{ShownSetting, ShownValue, Source},
    ops::Phase,
};

fn to_wire(system: SystemView) -> v1::GetStatusResponse {
    let listener = |l: crate::admin::ports::ListenerView| v1::Listener {
        name: l.name.to_owned(),
        address: l.address,
    };
    let mut counts: Vec<_> = system
        .counts
        .into_iter()
        .map(|(name, value)| v1::Count { name: name.to_owned(), value })
        .collect();
    counts.sort_by(|a, b| a.name.cmp(&b.name));
    v1::GetStatusResponse {
        version: system.version,
        started_at: Some(to_wire_time(system.started_at)),
        store: system.store,
        ready: system.ready,
        state: state(system.phase).into(),
        listeners: system.listeners.into_iter().map(listener).collect(),
        counts,
    }
}

const fn state(phase: Phase) -> v1::SystemState {
    match phase {
        Phase::Starting => v1::SystemState::Starting,
        Phase::Serving => v1::SystemState::Serving,
        Phase::Draining => v1::SystemState::Draining,
        Phase::Drained => v1::SystemState::Drained,
        Phase::Stopping => v1::SystemState::Stopping,
    }
}

fn setting(ShownSetting { key, value, source }: ShownSetting) -> v1::Setting {
    let is_secret = value == ShownValue::Secret;
    let value = match value {
        ShownValue::Unset | ShownValue::Secret => None,
        ShownValue::Names(text) | ShownValue::Whole(text) => Some(text),
    };
    let path = |path: PathBuf| path.display().to_string();
    let (source, origin) = match source {
        Source::Default => (v1::SettingSource::Default, String::new()),
        Source::File(file) => (v1::SettingSource::File, path(file)),
        Source::Environment(name) => (v1::SettingSource::Environment, name),
        Source::SecretFile(file) => (v1::SettingSource::SecretFile, path(file)),
        Source::Argument => (v1::SettingSource::Argument, String::new()),
    };
    v1::Setting { key: key.to_owned(), value, secret: is_secret, source: source.into(), origin }
}

fn version(view: VersionView) -> v1::GetVersionResponse {
    let text = |text: &str| text.to_owned();
    let protocol = |(name, versions): (&str, Vec<&str>)| v1::Protocol {
        name: text(name),
        versions: versions.into_iter().map(text).collect(),
    };
    v1::GetVersionResponse {
        version: text(view.version),
        build: view.build.map(text).unwrap_or_default(),
        features: view.features.into_iter().map(text).collect(),
        protocols: view.protocols.into_iter().map(protocol).collect(),
    }
}

impl Api {
    fn system(&self) -> Result<&dyn SystemAdmin, Status> {
        self.0.state.ports.system.as_deref().ok_or_else(|| status::absent("status"))
    }
}

#[tonic::async_trait]
impl SystemService for Api {
    type WatchAuditStream = Answers<v1::WatchAuditResponse>;
    type BackupStoreStream = Answers<v1::BackupStoreResponse>;

    async fn backup_store(
        &self,
        request: Request<v1::BackupStoreRequest>,
    ) -> Result<Response<Self::BackupStoreStream>, Status> {
        let time = request.extensions().get().map(|Deadline(time)| *time);
        let permit = self.0.stream_permit()?;
        let parts = self.system()?.backup().map(|part| {
            let data = part.map_err(status::of_admin)?.into();
            Ok(v1::BackupStoreResponse { data })
        });
        let shutdown = self.0.state.shutdown.clone();
        Ok(Response::new(until_end(parts, time, shutdown, permit)))
    }

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let view = self.system()?.status().await.map_err(status::of_admin)?;
        Ok(Response::new(to_wire(view)))
    }

    async fn get_version(
        &self,
        _request: Request<v1::GetVersionRequest>,
    ) -> Result<Response<v1::GetVersionResponse>, Status> {
        Ok(Response::new(version(self.system()?.version())))
    }

    async fn get_configuration(
        &self,
        _request: Request<v1::GetConfigurationRequest>,
    ) -> Result<Response<v1::GetConfigurationResponse>, Status> {
        let settings = self.system()?.configuration().into_iter().map(setting).collect();
        Ok(Response::new(v1::GetConfigurationResponse { settings }))
    }

    async fn drain(
        &self,
        _request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let phase = self.system()?.drain().map_err(status::of_admin)?;
        Ok(Response::new(v1::DrainResponse { state: state(phase).into() }))
    }

    async fn undrain(
        &self,
        _request: Request<v1::UndrainRequest>,
    ) -> Result<Response<v1::UndrainResponse>, Status> {
        let phase = self.system()?.undrain().map_err(status::of_admin)?;
        Ok(Response::new(v1::UndrainResponse { state: state(phase).into() }))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let wanted = convert::page(request.page_size, request.page_token);
        let before = convert::audit::before(wanted.after)?;
        let filter = convert::audit::filter(request.caller, request.resource);
        let bytes_max = self.0.state.limits.page_bytes;
        let found = self.0.state.audit.list(&filter, before, wanted.limit, bytes_max).await;
        let (records, next) = found.map_err(|error| status::of_store(&error))?;
        Ok(Response::new(v1::ListAuditResponse {
            records: records.into_iter().map(convert::audit::to_wire).collect(),
            next_page_token: next.map(|number| number.to_string()).unwrap_or_default(),
        }))
    }

    async fn watch_audit(
        &self,
        request: Request<v1::WatchAuditRequest>,
    ) -> Result<Response<Self::WatchAuditStream>, Status> {
        let time = request.extensions().get().map(|Deadline(time)| *time);
        let permit = self.0.stream_permit()?;
        let request = request.into_inner();
        let filter = convert::audit::filter(request.caller, request.resource);
        let records = self.0.state.audit.watch(filter, request.after).await;
        let records = records.map_err(|error| status::of_store(&error))?;
        let items = records.map(|record| match record {
            Ok(record) => {
                Ok(v1::WatchAuditResponse { record: Some(convert::audit::to_wire(record)) })
            }
            Err(error) => Err(status::of_store(&error)),
        });
        let shutdown = self.0.state.shutdown.clone();
        Ok(Response::new(until_end(items, time, shutdown, permit)))
    }
}
