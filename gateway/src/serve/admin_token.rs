//! The token of administrators, generated at first start.
//!
//! Never here: checking a token that somebody presents.

use std::{
    fs,
    fs::{File, OpenOptions},
    io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use buswire_message::{Entropy, Secret, mint_base64url};

/// Random bytes in a token that is generated.
const TOKEN_BYTES: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// The file can't be read or written.
    #[error("admin.token: can't use the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("admin.token: the file {} holds no token", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
}

impl AdminTokenError {
    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            Self::File { .. } => {
                "make it readable and writable for the user that runs buswire".to_owned()
            }
            Self::Content { path } => {
                format!("remove {} and a new token is generated", path.display())
            }
        }
    }
}

/// Reads `admin.token` in `directory`; generates it if it is not there.
pub(super) fn load_or_generate(
    directory: &Path,
    entropy: &dyn Entropy,
) -> Result<Secret<String>, AdminTokenError> {
    let path = directory.join("admin.token");
    let failed = |source| AdminTokenError::File { path: path.clone(), source };
    let text = match fs::read_to_string(&path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = mint_base64url(entropy, TOKEN_BYTES);
            write(directory, &path, &token).map_err(failed)?;
            tracing::info!(file = %path.display(), "the admin token was generated");
            return Ok(token);
        }
        Err(error) => return Err(failed(error)),
    };
    let token = text.expose().trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AdminTokenError::Content { path });
    }
    let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others can read the admin token: set mode 0600");
    }
    Ok(Secret::new(token.to_owned()))
}

/// Writes the file whole or not at all: a half-written token would lock everybody out.
fn write(directory: &Path, path: &Path, token: &Secret<String>) -> io::Result<()> {
    let draft = directory.join("admin.token.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    // The mode above only counts if the file is new.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(token.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;

    #[test]
    fn a_token_is_generated_once_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let first = load_or_generate(directory.path(), &SeededEntropy::new(1)).unwrap();
        let second = load_or_generate(directory.path(), &SeededEntropy::new(2)).unwrap();
        assert_eq!(first.expose().len(), 43);
        assert_eq!(first, second);
        let mode = fs::metadata(directory.path().join("admin.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for content in ["", "\n", "two words\n"] {
            fs::write(directory.path().join("admin.token"), content).unwrap();
            let error = load_or_generate(directory.path(), &SeededEntropy::new(1)).unwrap_err();
            assert!(matches!(error, AdminTokenError::Content { .. }), "{content:?}");
        }
    }
}
