//! The gateway itself, as it is never.

use buswire::{
    admin::ports::{AdminError, ListenerView, SystemAdmin, SystemView, VersionView},
    config::{ShownSetting, ShownValue, Source},
    ops::Phase,
};
use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use crate::fakes::{AT, Fake, done};

impl SystemAdmin for Fake {
    fn status(&self) -> BoxFuture<'_, Result<SystemView, AdminError>> {
        done(Ok(SystemView {
            version: "0.1.0".into(),
            started_at: AT,
            store: "memory".into(),
            phase: Phase::Serving,
            ready: true,
            listeners: vec![ListenerView { name: "http", address: "127.0.0.1:8080".into() }],
            counts: vec![("simplepush.connections", 3), ("buses", 1)],
        }))
    }

    fn version(&self) -> VersionView {
        VersionView {
            version: "0.1.0",
            build: None,
            features: vec!["curve"],
            protocols: vec![("mdp", vec!["0.1", "0.2"])],
        }
    }

    fn configuration(&self) -> Vec<ShownSetting> {
        let shown = |key, value, source| ShownSetting { key, value, source };
        let variable = "BUSWIRE_ADMIN__TOKEN".to_owned();
        vec![
            shown("data_dir", ShownValue::Whole("\"x\"".into()), Source::File("b.toml".into())),
            shown("admin.token", ShownValue::Secret, Source::Environment(variable)),
            shown("ready_file", ShownValue::Unset, Source::Default),
        ]
    }

    fn backup(&self) -> BoxStream<'static, Result<Bytes, AdminError>> {
        stream::iter([Ok(Bytes::from_static(b"back")), Ok(Bytes::from_static(b"up"))]).boxed()
    }

    fn drain(&self) -> Result<Phase, AdminError> {
        Ok(Phase::Draining)
    }

    fn undrain(&self) -> Result<Phase, AdminError> {
        Err(AdminError::Refused("the gateway stops".into()))
    }
}
