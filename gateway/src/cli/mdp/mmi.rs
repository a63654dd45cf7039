//! `buswire mdp mmi`.

use std::process::ExitCode;

use buswire_mdp::{MmiStatus, ServiceName, wire::Version};
use clap::Args;

use super::{
    Failure,
    at::{Asking, Connected},
    say,
};

/// The exit code when there is no answer: 1 says that there is no such service.
const NO_ANSWER: u8 = 3;

/// Options of `mdp mmi`.
#[derive(Clone, Debug, Args)]
pub struct MmiArgs {
    /// The service that is asked about
    service: ServiceName,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: MmiArgs) -> Result<ExitCode, Failure> {
    let status = ask(&args).await.map_err(|failure| failure.with_code(NO_ANSWER))?;
    say(format!("{}\n", status.code()).as_bytes())?;
    Ok(match status {
        MmiStatus::Registered => ExitCode::SUCCESS,
        MmiStatus::NotRegistered => ExitCode::from(1),
        MmiStatus::NotImplemented => ExitCode::from(2),
    })
}

async fn ask(args: &MmiArgs) -> Result<MmiStatus, Failure> {
    let Connected { client, left } = args.asking.connect(Version::V01).await?;
    client.mmi(&args.service, left).await.map_err(|error| Failure::new(&error, None))
}
