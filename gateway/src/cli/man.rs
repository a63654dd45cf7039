//! `buswire man`: a manual page for each command, made of what `--help` shows.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use buswire_message::Clock as _;
use buswire_store::system::SystemClock;
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{Cli, Failure};

/// Options of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// The folder for the pages; it is made if it is not there
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

/// Writes the pages.
pub(super) fn run(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let today: String = SystemClock.now().to_string().chars().take("2026-11-26".len()).collect();
    let written = fs::create_dir_all(&args.to).and_then(|()| write(&args.to, &command, &today));
    written.map_err(|error| Failure::Failed(format!("--to {}: {error}", args.to.display())))
}

fn write(folder: &Path, command: &Command, today: &str) -> io::Result<()> {
    command.get_subcommands().try_for_each(|below| write(folder, below, today))?;
    let version = concat!("buswire ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().after_help(None::<&str>));
    let man = man.date(today).source(version).manual("Buswire");
    let mut page = Vec::new();
    man.render(&mut page)?;
    if let Some(example) = command.get_after_help() {
        let example = example.to_string();
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLE"]).control("nf", []);
        section.text([roman(example.trim_start_matches("Example: "))]).control("fi", []);
        section.to_writer(&mut page)?;
    }
    fs::write(folder.join(man.get_filename()), page)
}
