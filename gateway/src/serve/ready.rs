//! The file that says where the listeners are bound.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// Every bound address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The public listener.
    pub http: SocketAddr,
    /// The admin listener; `None` if nothing is administered.
    pub admin: Option<SocketAddr>,
    /// The endpoints of the MDP broker.
    pub mdp: Vec<String>,
    /// Where other gateways ask the MDP broker, if they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mdp_peers: Option<String>,
    /// The operations listener.
    pub ops: SocketAddr,
}

/// Why the file can't be written.
#[derive(Debug, thiserror::Error)]
#[error("ready_file: can't write {}", path.display())]
pub struct ReadyFileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Removes a file that an earlier process left, so that nobody takes it for ours.
pub(super) fn clear(path: &Path) -> Result<(), ReadyFileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ReadyFileError { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Writes the file whole: whoever sees it sees all of it.
pub(super) fn announce(path: &Path, addresses: &Addresses) -> Result<(), ReadyFileError> {
    let failed = |source| ReadyFileError { path: path.to_owned(), source };
    let mut text = serde_json::to_string(addresses).map_err(|error| failed(error.into()))?;
    text.push('\n');
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_one_json_object() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        clear(&path).unwrap();
        let addresses = Addresses {
            http: "127.0.0.1:41211".parse().unwrap(),
            admin: None,
            mdp: vec!["tcp://127.0.0.1:5555".to_owned()],
            mdp_peers: None,
            ops: "[::1]:9090".parse().unwrap(),
        };
        announce(&path, &addresses).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"http\":\"127.0.0.1:41211\",\"admin\":null,\"mdp\":[\"tcp://127.0.0.1:5555\"],\"ops\":\"[::1]:9090\"}\n"
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        clear(&path).unwrap();
        assert!(!path.exists());
    }
}
