//! `buswire config show`, `drain`, `undrain`, `version` and `store backup`.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use buswire_proto::v1::{self, system_service_client::SystemServiceClient};
use clap::Subcommand;
use serde_json::json;

use super::{
    connection::{Connection, Gateway, call},
    error::CliError,
    output,
};

/// What can be asked of the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Shows every setting in force and where its value was written, without secrets
    #[command(after_help = "Example: buswire config show --output json")]
    Show,
}

impl ConfigCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let Self::Show = self;
        let mut client = client(connection).await?;
        let answer = client.get_configuration(call(v1::GetConfigurationRequest {})).await?;
        let rows: Vec<_> = answer
            .into_inner()
            .settings
            .iter()
            .map(|setting| {
                let value = match (&setting.value, setting.secret) {
                    (_, true) => json!("(secret)"),
                    (value, false) => json!(value),
                };
                vec![json!(setting.key), value, json!(source(setting))]
            })
            .collect();
        connection.output().list(out, &["key", "value", "source"], &rows)?;
        Ok(())
    }
}

/// Where a setting was written, in the words of `check-config`.
fn source(setting: &v1::Setting) -> String {
    let origin = &setting.origin;
    match setting.source() {
        v1::SettingSource::Unspecified => "-".to_owned(),
        v1::SettingSource::Default => "default".to_owned(),
        v1::SettingSource::File => format!("file {origin}"),
        v1::SettingSource::Environment => format!("environment variable {origin}"),
        v1::SettingSource::SecretFile => format!("secret file {origin}"),
        v1::SettingSource::Argument => "command line".to_owned(),
    }
}

/// Takes the gateway out of service.
pub(super) async fn drain(connection: &Connection, out: &mut dyn Write) -> Result<(), CliError> {
    let answer = client(connection).await?.drain(call(v1::DrainRequest {})).await?;
    say(connection, out, answer.into_inner().state())
}

/// Takes the gateway back into service.
pub(super) async fn undrain(connection: &Connection, out: &mut dyn Write) -> Result<(), CliError> {
    let answer = client(connection).await?.undrain(call(v1::UndrainRequest {})).await?;
    say(connection, out, answer.into_inner().state())
}

fn say(
    connection: &Connection,
    out: &mut dyn Write,
    state: v1::SystemState,
) -> Result<(), CliError> {
    let state = state_name(state);
    connection.output().done(out, &format!("gateway {state}"), &["state"], &[json!(state)])?;
    Ok(())
}

/// The name of a state, as `serving`.
pub(super) fn state_name(state: v1::SystemState) -> String {
    let name = state.as_str_name();
    name.strip_prefix("SYSTEM_STATE_").unwrap_or(name).to_lowercase()
}

/// Shows which program the gateway is.
pub(super) async fn version(connection: &Connection, out: &mut dyn Write) -> Result<(), CliError> {
    let answer = client(connection).await?.get_version(call(v1::GetVersionRequest {})).await?;
    let version = answer.into_inner();
    let protocol = |it: &v1::Protocol| format!("{} {}", it.name, it.versions.join(" "));
    let protocols: Vec<_> = version.protocols.iter().map(protocol).collect();
    let values = [
        json!(version.version),
        output::text(&version.build),
        json!(version.features),
        json!(protocols),
    ];
    connection.output().one(out, &["version", "build", "features", "protocols"], &values)?;
    Ok(())
}

/// Writes a backup of the gateway's store to the new file `to`, readable by its owner only. Returns
/// how many bytes it has.
pub(crate) async fn backup(connection: &Connection, to: &Path) -> Result<u64, CliError> {
    let failed = |source| CliError::Write { path: to.to_owned(), source };
    let mut parts = client(connection).await?.backup_store(v1::BackupStoreRequest {}).await?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(to).map_err(failed)?;
    let written = async {
        let mut bytes = 0;
        while let Some(part) = parts.get_mut().message().await? {
            file.write_all(&part.data).map_err(failed)?;
            bytes += u64::try_from(part.data.len()).unwrap_or(u64::MAX);
        }
        file.sync_all().map_err(failed)?;
        Ok(bytes)
    };
    let written = written.await;
    if written.is_err() {
        // Half a backup is none.
        fs::remove_file(to).unwrap_or_default();
    }
    written
}

async fn client(connection: &Connection) -> Result<SystemServiceClient<Gateway>, CliError> {
    Ok(SystemServiceClient::new(connection.open().await?))
}
