//! Notices that files of certificates change, and has them read again.
//!
//! The directories are watched, not the files: those are often replaced, or stand behind links that
//! are. Never here: reading a certificate.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use super::tls::Certificates;

/// How long after a change the files are read: whoever writes several of them needs a moment.
const PAUSE: Duration = Duration::from_millis(500);

/// Refreshes `all` shortly after something in their directories changes, until `stop`. If the
/// operating system can't tell, the log says so, and SIGHUP is left.
///
/// # Cancel safety
///
/// Safe to drop; then nobody watches.
pub async fn watch_certificates(all: Vec<Arc<Certificates>>, stop: CancellationToken) {
    let changed = Arc::new(Notify::new());
    // Watches until it is dropped.
    let _watcher = watcher(&all, Arc::clone(&changed)).inspect_err(|error| {
        tracing::warn!(%error, "certificates are read again on SIGHUP only");
    });
    let follow = async {
        loop {
            changed.notified().await;
            time::sleep(PAUSE).await;
            for certificates in &all {
                certificates.refresh();
            }
        }
    };
    stop.run_until_cancelled(follow).await;
}

fn watcher(
    all: &[Arc<Certificates>],
    changed: Arc<Notify>,
) -> Result<RecommendedWatcher, notify::Error> {
    let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
        // Reading is no change, and we do it ourselves. After an error anything may have changed.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        changed.notify_one();
    })?;
    let files = all.iter().flat_map(|certificates| certificates.files());
    let directories: BTreeSet<&Path> = files.filter_map(Path::parent).collect();
    for directory in directories {
        // A bare file name has an empty parent.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
