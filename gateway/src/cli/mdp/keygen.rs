//! `buswire mdp keygen`.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use buswire_mdp::CurveKeys;
use clap::Args;

use super::{Failure, at::public_path, say};

/// Options of `mdp keygen`.
#[derive(Clone, Debug, Args)]
pub struct KeygenArgs {
    /// File for the secret key, which only its owner can read; FILE.pub gets the public key. Neither
    /// may exist. Without one both are printed
    file: Option<PathBuf>,
}

pub(super) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let keys = CurveKeys::generate().map_err(|error| Failure::new(&error, None))?;
    let Some(file) = &args.file else {
        return say(format!("public {}\nsecret {}\n", keys.public(), keys.secret()).as_bytes());
    };
    write(file, 0o600, keys.secret())?;
    write(&public_path(file), 0o644, keys.public())?;
    say(format!("{}\n", keys.public()).as_bytes())
}

fn write(path: &Path, mode: u32, key: &str) -> Result<(), Failure> {
    let create = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        writeln!(file, "{key}")?;
        file.sync_all()
    };
    create().map_err(|error| Failure::Failed(format!("can't write {}: {error}", path.display())))
}
