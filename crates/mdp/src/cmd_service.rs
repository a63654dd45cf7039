//! A worker that runs a command for each request (mdp.md §9.5, §18).
//!
//! Never a shell: each request frame is one argument, whatever it contains.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::brokers::Brokers;
use crate::worker::{Worker, WorkerError};
use crate::{ClientCurve, Frames, ServiceName};

/// Bytes of standard error kept for the failure text.
const ERROR_TEXT_BYTES_MAX: u64 = 4096;

/// Settings of a [`CmdService`].
#[derive(Clone, Debug)]
pub struct CmdOptions {
    /// The brokers' addresses; default `tcp://127.0.0.1:5555`. Each is served (mdp.md §12.7).
    pub endpoints: Vec<String>,
    /// How long one run may take; default 60 s. Beyond it the command's process group is killed
    /// and the reply is a failure.
    pub time_max: Duration,
    /// Bytes of standard output of one run; default 16 MiB. Beyond it as for `time_max`.
    pub output_bytes_max: usize,
    /// Commands that run at once for each broker; default 1. More requests wait at the broker.
    pub concurrency: usize,
    /// How frames become arguments.
    pub arguments: Arguments,
    /// The folder in which the command runs; default that of this process.
    pub folder: Option<PathBuf>,
    /// Variables that the command finds in its environment beside those of this process.
    pub variables: Vec<(OsString, OsString)>,
    /// Keys to connect with; default none.
    pub curve: Option<ClientCurve>,
}

/// How request frames become arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    /// Each frame is one argument. The default.
    #[default]
    FramePerArgument,
    /// Each frame is split at its spaces, as Backbone does.
    SplitAtSpaces,
}

impl Default for CmdOptions {
    fn default() -> Self {
        Self {
            endpoints: Brokers::default().endpoints(),
            time_max: Duration::from_secs(60),
            output_bytes_max: 16 << 20,
            concurrency: 1,
            arguments: Arguments::default(),
            folder: None,
            variables: Vec::new(),
            curve: None,
        }
    }
}

/// A service that answers each request with a command's standard output as one frame; on failure
/// with two frames, `Error` and a text.
#[derive(Debug)]
pub struct CmdService {
    service: ServiceName,
    command: Vec<OsString>,
    options: CmdOptions,
}

impl CmdService {
    /// Describes the service `service` that runs `command`, a program and its first arguments.
    pub fn new(service: ServiceName, command: Vec<OsString>, options: CmdOptions) -> Self {
        Self { service, command, options }
    }

    /// Serves until `stop` is ready; then finishes the commands that run and signs off.
    ///
    /// # Errors
    ///
    /// A [`WorkerError`] when the worker cannot start.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the service in the background.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
        let Self { service, command, options } = self;
        let mut builder = Worker::builder(service)
            .endpoints(options.endpoints.clone())
            .concurrency(options.concurrency);
        if let Some(curve) = options.curve.clone() {
            builder = builder.curve(curve);
        }
        let recipe = Arc::new((command, options));
        let worker = builder.async_handler(move |body| {
            let recipe = Arc::clone(&recipe);
            async move { answer(&recipe.0, &recipe.1, &body).await }
        });
        let worker = worker.start()?;
        stop.await;
        worker.stop().await;
        Ok(())
    }
}

/// Why a run gave no output.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no command is configured")]
    NoCommand,
    #[error("cannot run the command: {0}")]
    Io(#[from] std::io::Error),
    #[error("the command took longer than {0:?}")]
    TooLong(Duration),
    #[error("the command wrote more than {0} bytes")]
    TooMuch(usize),
    #[error("{0}")]
    Failed(String),
}

/// Runs the command once.
async fn answer(command: &[OsString], options: &CmdOptions, body: &Frames) -> Frames {
    match run_once(command, options, body).await {
        Ok(output) => Frames::from(output),
        Err(failure) => Frames::from(["Error".to_owned(), failure.to_string()]),
    }
}

async fn run_once(
    command: &[OsString],
    options: &CmdOptions,
    body: &Frames,
) -> Result<Bytes, Failure> {
    let (program, first) = command.split_first().ok_or(Failure::NoCommand)?;
    let mut command = Command::new(program);
    command
        .args(first)
        .args(arguments(options.arguments, body))
        .envs(options.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what the command started ends with it.
        .process_group(0);
    if let Some(folder) = &options.folder {
        command.current_dir(folder);
    }
    let mut run = Run::of(command.spawn()?);
    let result = tokio::time::timeout(options.time_max, run.collect(options)).await;
    let result = result.unwrap_or(Err(Failure::TooLong(options.time_max)));
    run.end().await?;
    result
}

fn arguments(rule: Arguments, body: &Frames) -> Vec<&OsStr> {
    let frames = body.iter().map(AsRef::as_ref);
    match rule {
        Arguments::FramePerArgument => frames.map(OsStr::from_bytes).collect(),
        Arguments::SplitAtSpaces => frames
            .flat_map(|frame| frame.split(|byte| *byte == b' '))
            .filter(|word| !word.is_empty())
            .map(OsStr::from_bytes)
            .collect(),
    }
}

/// A command that runs. Dropped before its end, it is killed with everything that it started.
struct Run {
    child: Child,
    group: Option<Pid>,
}

impl Run {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { child, group: id.and_then(Pid::from_raw) }
    }

    /// Waits for the output and the end.
    async fn collect(&mut self, options: &CmdOptions) -> Result<Bytes, Failure> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let limit = options.output_bytes_max;
        let output = async {
            let max = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            let bytes = read_up_to(stdout, max).await?;
            if bytes.len() > limit { Err(Failure::TooMuch(limit)) } else { Ok(bytes) }
        };
        let complaint =
            async { read_and_drain(stderr, ERROR_TEXT_BYTES_MAX).await.map_err(Failure::Io) };
        let (output, complaint) = tokio::try_join!(output, complaint)?;
        let status = self.child.wait().await?;
        // Reaped: the number of the group may soon be another's.
        self.group = None;
        if status.success() {
            return Ok(Bytes::from(output));
        }
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        Err(Failure::Failed(if complaint.is_empty() { status.to_string() } else { complaint }))
    }

    /// Kills what still runs, and reaps the command.
    async fn end(mut self) -> std::io::Result<()> {
        self.kill();
        self.child.wait().await.map(drop)
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It fails only when the group is gone already.
            match kill_process_group(group, Signal::KILL) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn read_up_to(pipe: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Keeps the first `max` bytes and reads the rest away, so that the command is not held up.
async fn read_and_drain(
    pipe: Option<impl AsyncRead + Unpin>,
    max: u64,
) -> std::io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else {
        return Ok(Vec::new());
    };
    let bytes = read_up_to(Some(&mut pipe), max).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Clock;

    fn run(command: &[&str], options: &CmdOptions, body: &[&'static str]) -> Vec<String> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let body: Frames =
            body.iter().map(|frame| frame.as_bytes()).map(Bytes::from_static).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = runtime.block_on(answer(&command, options, &body));
        reply.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
    }

    #[test]
    fn each_frame_is_one_argument_and_no_shell_sees_it() {
        // Rule: mdp §18 — a command service runs no shell and takes each request frame as one argument
        let options = CmdOptions::default();
        let reply = run(&["printf", "[%s]"], &options, &["a b", "$(id)", ";ls", "", "*"]);
        assert_eq!(reply, ["[a b][$(id)][;ls][][*]"]);
    }

    #[test]
    fn frames_are_split_at_spaces_on_request() {
        let options = CmdOptions { arguments: Arguments::SplitAtSpaces, ..CmdOptions::default() };
        assert_eq!(run(&["printf", "[%s]"], &options, &["a b", "c"]), ["[a][b][c]"]);
    }

    #[test]
    fn failure_is_two_frames() {
        // Rule: mdp §18 — the failure reply of a command service is two frames, Error and a text
        let options = CmdOptions::default();
        let reply = run(&["sh", "-c", "echo out; echo no good >&2; exit 3"], &options, &[]);
        assert_eq!(reply, ["Error", "no good"]);
        assert_eq!(run(&["false"], &options, &[])[0], "Error");
        assert_eq!(run(&["/no/such/program"], &options, &[])[0], "Error");
        assert_eq!(run(&["echo"], &options, &["a\0b"])[0], "Error");
        assert_eq!(run(&[], &options, &[]), ["Error", "no command is configured"]);
    }

    #[test]
    fn a_command_that_never_ends_is_killed_with_its_children() {
        // Rule: mdp §18 — a command service never hangs: the process group is killed at the time limit
        let options = CmdOptions { time_max: Duration::from_secs(1), ..CmdOptions::default() };
        let note = std::env::temp_dir().join(format!("buswire-mdp-{}.pid", std::process::id()));
        let script = "sleep 1000 & echo $! > \"$0\"; sleep 1000";
        let reply = run(&["sh", "-c", script, note.to_str().unwrap()], &options, &[]);
        assert_eq!(reply, ["Error", "the command took longer than 1s"]);
        let child = std::fs::read_to_string(&note).unwrap().trim().to_owned();
        std::fs::remove_file(note).unwrap();
        // Dies without being waited for by us; then it is gone, or not yet reaped.
        let clock = Clock::start();
        let stat = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        while !(stat().is_empty() || stat().contains(") Z ")) {
            assert!(clock.now() < Duration::from_secs(20), "{}", stat());
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_command_finds_its_folder_and_variables() {
        let options = CmdOptions {
            folder: Some("/usr".into()),
            variables: vec![("COLOUR".into(), "blue".into())],
            ..CmdOptions::default()
        };
        let reply = run(&["sh", "-c", "pwd; echo $COLOUR"], &options, &[]);
        assert_eq!(reply, ["/usr\nblue\n"]);
    }

    #[test]
    fn output_is_bounded() {
        // Rule: mdp §18 — the output of a command is bounded
        let options = CmdOptions { output_bytes_max: 1000, ..CmdOptions::default() };
        assert_eq!(
            run(&["yes"], &options, &[]),
            ["Error", "the command wrote more than 1000 bytes"]
        );
        let reply = run(&["head", "-c", "1000", "/dev/zero"], &options, &[]);
        assert_eq!(reply[0].len(), 1000);
    }
}
