//! The demo: one message through all four doors, told hop by hop, and a page that shows the same.
//!
//! A client of the gateway like any other: everything goes through the public doors and the
//! administration's commands. Never here: a shortcut into the process.

mod backend;
mod crossing;
mod links;
mod page;

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use self::{backend::Backend, page::Pages};
use crate::{
    app::Door,
    config::{Config, reachable},
    ops::Metrics,
    serve::Gateway,
};

/// The bus of the demo.
const BUS: &str = "demo";
/// The service that confirms orders.
const SERVICE: &str = "demo.confirm";
/// The type of orders.
const ORDER: &str = "demo/order";
/// The type of answers.
const ANSWER: &str = "demo/answer";

/// Why the demo did not go through.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A folder for the data of one run, removed at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new folder among the temporary files.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("buswire-demo-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is among the temporary files, which somebody else clears too.
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// The settings of a demo that nobody set otherwise: data in `folder`, warnings only, and free ports
/// if it only runs once.
pub fn defaults(folder: &Folder, once: bool) -> Vec<(String, String)> {
    let mut settings = vec![
        ("data_dir".to_owned(), folder.path().display().to_string()),
        ("log.filter".to_owned(), "warn".to_owned()),
        // Enough for one person, and less than any machine's limit of open files.
        ("http.connections_max".to_owned(), "500".to_owned()),
    ];
    if once {
        let free = ["http.listen", "admin.listen", "ops.listen"];
        settings.extend(free.map(|key| (key.to_owned(), "127.0.0.1:0".to_owned())));
        settings.push(("mdp.listen".to_owned(), "[\"tcp://127.0.0.1:0\"]".to_owned()));
    }
    settings
}

/// Starts a gateway, sends one message through everything, and writes each hop with its time to `out`;
/// unless `once`, goes on serving the page until SIGINT or SIGTERM.
///
/// # Errors
///
/// What failed first.
///
/// # Cancel safety
///
/// Not safe: the gateway goes on until the runtime ends.
pub async fn run(
    config: &Config,
    metrics: Metrics,
    once: bool,
    out: &mut (dyn io::Write + Send),
) -> Result<(), Failure> {
    let pages = Pages::default();
    let door = Door { name: "demo", routes: pages.router(), drain: None };
    let gateway = Gateway::start(config, metrics, vec![door]).await?;
    let done = tell(config, &gateway, &pages, once, out).await;
    gateway.shutdown(std::future::pending()).await;
    done
}

async fn tell(
    config: &Config,
    gateway: &Gateway,
    pages: &Pages,
    once: bool,
    out: &mut (dyn io::Write + Send),
) -> Result<(), Failure> {
    let addresses = gateway.addresses();
    let admin = addresses.admin.ok_or("the administration is not served")?;
    let endpoint = addresses.mdp.first().ok_or("mdp.listen is empty")?;
    let token = match &config.admin.token {
        Some(token) => token.expose().clone(),
        None => fs::read_to_string(config.data_dir.join("admin.token"))?.trim().to_owned(),
    };
    let base = format!("http://{}", reachable(addresses.http));
    let admin = format!("http://{}", reachable(admin));
    let shown = shown(config, &base);
    writeln!(out, "Buswire demo: one message through all four doors.\n")?;
    writeln!(
        out,
        "The gateway is up: {shown} (Backplane, SimplePush, Belay), {endpoint} (Majordomo)."
    )?;
    let backend = Backend::set_up(&base, &admin, &token, out).await?;
    let _worker = worker(endpoint, out)?;
    crossing::run(&backend, out).await?;
    if once {
        return Ok(());
    }
    pages.serve(backend);
    writeln!(out, "\nSee it in a browser, until Ctrl-C: {shown}/demo/")?;
    out.flush()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        task = gateway.failed() => Err(format!("the task {task} ended").into()),
    }
}

/// The address that a person opens: what the world uses, if that is set; else `base`, where the demo
/// itself reaches the gateway.
fn shown<'a>(config: &'a Config, base: &'a str) -> &'a str {
    let public = config.http.public_url.as_ref();
    public.map_or(base, |url| url.as_str().trim_end_matches('/'))
}

/// A worker as anybody would start one: this program's `cmd-service` around the system's `printf`.
fn worker(endpoint: &str, out: &mut dyn io::Write) -> Result<Child, Failure> {
    let (_, port) = endpoint.rsplit_once(':').ok_or("an MDP endpoint has a port")?;
    let command = ["/usr/bin/printf", r#"{"confirmed":%s}"#];
    writeln!(
        out,
        "  $ buswire mdp cmd-service {SERVICE} --port {port} -- {} '{}' &\n",
        command[0], command[1]
    )?;
    let child = Command::new(std::env::current_exe()?)
        .args(["mdp", "cmd-service", SERVICE, "--port", port, "--"])
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}
