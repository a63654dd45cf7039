//! Secrets that are generated at first start: `admin.token`, `belay.keys`.
//!
//! Never here: what a secret is for.

use std::{
    fs,
    fs::{File, OpenOptions},
    io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use buswire_message::{Entropy, Secret, mint_base64url};

/// Random bytes in a secret that is generated.
pub(super) const SECRET_BYTES: usize = 32;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file can't be read or written.
    #[error("can't use the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the file {} holds no secret", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
}

impl SecretFileError {
    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            Self::File { .. } => {
                "make it readable and writable for the user that runs buswire".to_owned()
            }
            Self::Content { path } => {
                format!("restore {}; if it is removed, a new one is generated", path.display())
            }
        }
    }
}

/// Reads the file `name` in `directory`; generates it if it is not there.
pub(super) fn load_or_generate(
    directory: &Path,
    name: &'static str,
    entropy: &dyn Entropy,
) -> Result<Secret<String>, SecretFileError> {
    let path = directory.join(name);
    let failed = |source| SecretFileError::File { path: path.clone(), source };
    let text = match fs::read_to_string(&path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = mint_base64url(entropy, SECRET_BYTES);
            write(directory, name, &secret).map_err(failed)?;
            tracing::info!(file = %path.display(), "a secret was generated");
            return Ok(secret);
        }
        Err(error) => return Err(failed(error)),
    };
    let secret = text.expose().trim();
    let is_word = |line: &str| !line.is_empty() && line.bytes().all(|b| b.is_ascii_graphic());
    if secret.is_empty() || !secret.lines().all(is_word) {
        return Err(SecretFileError::Content { path });
    }
    let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others can read a secret: set mode 0600");
    }
    Ok(Secret::new(secret.to_owned()))
}

/// Writes the file whole or not at all: a half-written token would lock everybody out.
fn write(directory: &Path, name: &str, secret: &Secret<String>) -> io::Result<()> {
    let draft = directory.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    // The mode above only counts if the file is new.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(secret.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;

    #[test]
    fn a_secret_is_generated_once_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let first =
            load_or_generate(directory.path(), "admin.token", &SeededEntropy::new(1)).unwrap();
        let second =
            load_or_generate(directory.path(), "admin.token", &SeededEntropy::new(2)).unwrap();
        assert_eq!(first.expose().len(), 43);
        assert_eq!(first, second);
        let mode = fs::metadata(directory.path().join("admin.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_a_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for content in ["", "\n", "two words\n"] {
            fs::write(directory.path().join("admin.token"), content).unwrap();
            let entropy = SeededEntropy::new(1);
            let error = load_or_generate(directory.path(), "admin.token", &entropy).unwrap_err();
            assert!(matches!(error, SecretFileError::Content { .. }), "{content:?}");
        }
    }
}
