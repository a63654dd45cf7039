//! `buswire store`: what is done with a whole store.
//!
//! Never here: how an engine keeps anything.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use buswire_message::Clock;
use buswire_store::{
    copy::{self, Copied, Portable},
    embedded::EmbeddedStore,
    system::SystemClock,
};
use clap::{Args, Subcommand};

use super::{
    ConfigArgs, Environment, Failure, Local, Screen,
    admin::{self, Connection},
    block_on,
};
use crate::{
    config::{self, Config, StoreConfig},
    serve,
};

/// What can be done with a store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Copies everything from one store to another that is empty, with all ids, then reads it back and
    /// compares. Stop every gateway first.
    #[command(
        after_help = "Example: buswire store copy --from embedded:./buswire-data --to redis://127.0.0.1"
    )]
    Copy(CopyArgs),
    /// Writes a backup of the embedded store of a running gateway, which goes on meanwhile. All that was
    /// acknowledged before is in it. Keep data_dir/belay.keys with it: capabilities need both.
    #[command(after_help = "Example: buswire store backup --to buswire-monday.redb")]
    Backup(BackupArgs),
    /// Makes a store of a backup and checks it. For a directory that has none, while no gateway uses it.
    #[command(
        after_help = "Example: buswire store restore --from buswire-monday.redb --to buswire-data"
    )]
    Restore(RestoreArgs),
}

/// Options of `store backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// Which gateway.
    #[command(flatten)]
    pub connection: Connection,
}

/// Options of `store restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,

    /// The directory, as data_dir names it.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Options of `store copy`.
#[derive(Clone, Debug, Args)]
pub struct CopyArgs {
    /// The store to copy, as `store.url` names it: embedded:PATH, redis://HOST, …
    #[arg(long, value_name = "URL")]
    pub from: String,

    /// The store to copy it to.
    #[arg(long, value_name = "URL")]
    pub to: String,

    /// Where the configuration comes from; store.redis.* holds for both stores.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Does what `command` asks for.
pub(super) fn run(command: StoreCommand, environment: &Environment) -> Result<(), Failure> {
    match command {
        StoreCommand::Copy(args) => copy(&args, environment),
        StoreCommand::Backup(BackupArgs { to, mut connection }) => block_on(async {
            connection.on(Local::find(environment));
            let bytes = admin::system::backup(&connection, &to).await;
            let bytes = bytes.map_err(|error| Failure::Failed(error.line()))?;
            say(&format!("{}: {bytes} bytes", to.display()));
            Ok::<_, Failure>(())
        }),
        StoreCommand::Restore(RestoreArgs { from, to }) => {
            EmbeddedStore::restore(&from, &to).map_err(|error| Failure::new(&error, None))?;
            say(&format!("restored and checked: {}", to.display()));
            Ok(())
        }
    }
}

/// Nobody is left to tell when standard output is closed.
fn say(line: &str) {
    let _written = writeln!(io::stdout(), "{line}");
}

fn copy(args: &CopyArgs, environment: &Environment) -> Result<(), Failure> {
    let (from, to) = (config(args, &args.from, environment)?, config(args, &args.to, environment)?);
    if from.store == to.store {
        return Err(Failure::Failed("--from and --to name the same store".to_owned()));
    }
    must_exist(&from)?;
    let screen = Screen::of_process(environment.allows_colors());
    block_on(async {
        let (from, to) = (open(&from, "--from").await?, open(&to, "--to").await?);
        let copied = copy::copy(&*from, &*to, SystemClock.now(), teller(screen));
        let copied = copied.await.map_err(|error| Failure::new(&error, None));
        to.close().await;
        from.close().await;
        let Copied { rows, entries, .. } = copied?;
        say(&format!("copied and verified: {rows} rows, {entries} entries"));
        Ok::<_, Failure>(())
    })
}

fn config(args: &CopyArgs, url: &str, environment: &Environment) -> Result<Config, Failure> {
    let mut inputs = args.config.inputs(environment);
    inputs.arguments.push(("store.url".to_owned(), url.to_owned()));
    Ok(config::load(&inputs)?.config)
}

/// Opening an embedded store makes it; a source that is not there is a mistake.
fn must_exist(config: &Config) -> Result<(), Failure> {
    let StoreConfig::Embedded(directory) = &config.store else { return Ok(()) };
    let directory = directory.as_ref().unwrap_or(&config.data_dir);
    if directory.exists() {
        return Ok(());
    }
    Err(Failure::Failed(format!("--from: there is no directory {}", directory.display())))
}

async fn open(config: &Config, option: &str) -> Result<Arc<dyn Portable>, Failure> {
    let opened = serve::open_kept(config).await;
    let opened = opened.map_err(|error| Failure::new(&error, error.hint().as_deref()))?;
    opened.ok_or_else(|| Failure::Failed(format!("{option}: memory: keeps nothing")))
}

/// Says on standard error how far it is: a bar if somebody watches, else every tenth of the way.
fn teller(screen: Screen) -> impl FnMut(&Copied) + Send {
    let bar = screen.bar(0);
    let mut told = 0;
    move |Copied { parts, of, rows, entries, .. }| {
        let (parts, of) = (*parts as u64, *of as u64);
        bar.set_length(of);
        bar.set_position(parts);
        bar.set_message(format!("parts, {rows} rows, {entries} entries"));
        let tenths = parts * 10 / of.max(1);
        if bar.is_hidden() && tenths > told {
            told = tenths;
            let _written = writeln!(io::stderr(), "{tenths}0 %: {rows} rows, {entries} entries");
        }
    }
}
