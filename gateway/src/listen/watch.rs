//! Notices that files of certificates change, and has them read again.
//!
//! The directories are watched, not the files: those are often replaced, or stand behind links that
//! are. Never here: reading a certificate.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{select, sync::Notify, time};
use tokio_util::sync::CancellationToken;

use super::tls::Certificates;

/// How long after a change the files are read: whoever writes several of them needs a moment.
const PAUSE: Duration = Duration::from_millis(500);

/// How often the files are looked at whatever the operating system tells: it does not see what
/// changes behind a link into another directory, nor on every network file system.
const EVERY: Duration = Duration::from_secs(60);

/// Refreshes `all` at once, shortly after something in their directories changes, and every minute,
/// until `stop`. If the operating system can't tell of changes, the log says so.
///
/// # Cancel safety
///
/// Safe to drop; then nobody watches.
pub async fn watch_certificates(all: Vec<Arc<Certificates>>, stop: CancellationToken) {
    let changed = Arc::new(Notify::new());
    // Watches until it is dropped.
    let _watcher = watcher(&all, Arc::clone(&changed)).inspect_err(|error| {
        tracing::warn!(%error, "changes of certificates are noticed once a minute only");
    });
    // The first tick is at once: the files may have changed before anybody watched.
    let mut ticks = time::interval(EVERY);
    let follow = async {
        loop {
            select! {
                () = changed.notified() => time::sleep(PAUSE).await,
                _ = ticks.tick() => {}
            }
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
