//! `buswire healthcheck`: whether the gateway of this machine takes requests, for whoever supervises it.
//!
//! Never here: a judgement; the operations listener has it.

use std::{
    error::Error,
    io::{self, Write as _},
    time::Duration,
};

use clap::Args;
use reqwest::StatusCode;
use tokio::net::lookup_host;

use super::{ConfigArgs, Environment, Failure, block_on, chain};
use crate::config::{self, ListenAddress, reachable};

/// How long an answer may take. Supervisors wait for seconds, and a gateway that does not answer its
/// operations listener in this time serves nobody else either.
const PATIENCE: Duration = Duration::from_secs(3);

/// Options of `healthcheck`.
#[derive(Clone, Debug, Default, Args)]
pub struct HealthcheckArgs {
    /// Ask whether the process works (/healthz), not whether it takes requests (/readyz): a gateway
    /// that drains, or whose store is away, need not be started again.
    #[arg(long)]
    pub live: bool,

    /// Where the configuration comes from; ops.listen of it is asked.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Asks the gateway. Fails with what it says if it says no, or does not say anything.
pub(super) fn run(args: &HealthcheckArgs, environment: &Environment) -> Result<(), Failure> {
    let listen = config::load(&args.config.inputs(environment))?.config.ops.listen;
    if listen.port() == 0 {
        return Err(Failure::Failed(
            "ops.listen has port 0: give it one to be asked at".to_owned(),
        ));
    }
    block_on(ask(&listen, if args.live { "/healthz" } else { "/readyz" }))
}

async fn ask(listen: &ListenAddress, path: &str) -> Result<(), Failure> {
    match answer(listen, path).await {
        Ok((status, said)) if status.is_success() => {
            io::stdout().write_all(said.as_bytes()).map_err(|error| Failure::new(&error, None))
        }
        Ok((_, said)) => Err(Failure::Failed(said.trim_end().to_owned())),
        Err(error) => {
            let why = chain(&*error);
            Err(Failure::Failed(format!("no answer at ops.listen, {listen}: {why}")))
        }
    }
}

async fn answer(
    listen: &ListenAddress,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
    let address = lookup_host((listen.host(), listen.port())).await?.next();
    let address = reachable(address.ok_or("the host has no address")?);
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = client.get(format!("http://{address}{path}")).send().await?;
    Ok((answer.status(), answer.text().await?))
}
