//! What a test was run against, for `cargo xtask matrix`.
//!
//! Never here: whether a test passes.

use std::{fmt, fs::File, io::Write as _};

/// Why a test is about one process, and not about several that share a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single {
    /// It starts several gateways on one store itself, and says which request goes to which.
    OwnFleet,
    /// The files of the embedded store, or the store in memory.
    OwnStore,
    /// What one process writes to its log, and when.
    Log,
    /// What one process does with its sockets: its limits, its certificates, when it closes them.
    Sockets,
    /// What one process counts, where a sum says something else.
    Counts,
    /// A version that is not newer is shown at once only by the gateway of the connection (SimplePush
    /// R-DEL-6); a PUT at another one adds nothing to what is pending.
    LowerVersions,
    /// What an administrator does with one broker.
    Broker,
}

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnFleet => "starts several gateways itself",
            Self::OwnStore => "the store of one process",
            Self::Log => "the log of one process",
            Self::Sockets => "the sockets of one process",
            Self::Counts => "what one process counts",
            Self::LowerVersions => {
                "lower versions are shown live by the connection's gateway alone"
            }
            Self::Broker => "administers one broker",
        })
    }
}

/// Notes in the file of `MATRIX_REPORT`, if it is set, that the test of this thread starts a gateway.
pub(super) fn started(processes: usize, single: Option<Single>) {
    let Some(path) = std::env::var_os("MATRIX_REPORT") else { return };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    let why = single.map(|why| why.to_string()).unwrap_or_default();
    let file = File::options().create(true).append(true).open(path);
    // One write, so that those of other threads and processes come before or after it.
    let line = format!("{test}\t{processes}\t{why}\n");
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the report is written");
}
