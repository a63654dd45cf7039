//! Runs a gateway until the operating system asks it to end.

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use super::gateway::{Gateway, ServeError};
use crate::{
    app::RELOADED,
    config::{self, Inputs, Loaded},
    ops::Metrics,
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By a signal.
    Asked,
    /// By the early end of this task.
    Broken(&'static str),
}

/// Serves until SIGTERM or SIGINT, then drains; a second one cuts the draining short. SIGHUP reads
/// the certificates again, and `inputs`: what of them needs no restart is taken over.
///
/// # Errors
///
/// [`ServeError`] if it does not start.
///
/// # Cancel safety
///
/// Not safe: what was spawned goes on until the runtime ends.
pub async fn run(loaded: Loaded, inputs: &Inputs, metrics: Metrics) -> Result<Ended, ServeError> {
    let listen = |kind| signal(kind).map_err(ServeError::Signals);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let gateway = Gateway::start(&loaded.config, metrics, Vec::new()).await?;
    let ended = loop {
        select! {
            () = asked_to_end(&mut terminate, &mut interrupt) => break Ended::Asked,
            task = gateway.failed() => break Ended::Broken(task),
            received = hang_up.recv() => {
                if received.is_some() {
                    gateway.refresh_certificates();
                    read_again(&gateway, &loaded, inputs).await;
                }
            }
        }
    };
    gateway.shutdown(asked_to_end(&mut terminate, &mut interrupt)).await;
    Ok(ended)
}

async fn asked_to_end(terminate: &mut Signal, interrupt: &mut Signal) {
    select! {
        _received = terminate.recv() => (),
        _received = interrupt.recv() => (),
    }
}

/// Takes over what can be of the configuration as it is written by now, and says what is wrong with
/// it, or what a restart would change.
async fn read_again(gateway: &Gateway, loaded: &Loaded, inputs: &Inputs) {
    match config::load(inputs) {
        Err(error) => {
            for problem in error.problems() {
                tracing::error!(%problem, "the configuration can't be used; the old one stays");
            }
        }
        Ok(fresh) => {
            let mut changed = loaded.changed(&fresh);
            changed.retain(|key| !RELOADED.contains(key));
            gateway.reload(fresh.config).await;
            if changed.is_empty() {
                tracing::info!("the configuration has not changed");
            } else {
                tracing::warn!(?changed, "these settings change at the next start");
            }
        }
    }
}
