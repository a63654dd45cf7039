//! `buswire mdp titanic`: the client's side of 9/TSP (MDP §17).

use std::{ffi::OsString, process::ExitCode, time::Duration};

use buswire_mdp::{Frames, ServiceName, wire::Version};
use clap::{Args, Subcommand};

use super::{
    Failure,
    at::{Asking, Connected, unanswered},
    request::{self, Format},
};

/// The first and the longest pause between two questions for an answer.
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_LONGEST: Duration = Duration::from_secs(5);

/// What to ask of Titanic.
#[derive(Clone, Debug, Subcommand)]
pub enum TitanicCommand {
    /// Hands in a request, which is kept until it is closed, and prints its UUID
    ///
    /// Exit codes: 0 kept, 1 no answer or no broker, 2 bad usage, 4 refused, 5 Titanic failed.
    #[command(after_help = "Example: buswire mdp titanic request echo hello")]
    Request(TitanicRequest),
    /// Prints the answer to a request
    ///
    /// Exit codes: 0 answered, 1 no answer of Titanic or no broker, 2 bad usage, 3 not answered yet, 4
    /// no such request, 5 Titanic failed.
    #[command(after_help = "Example: buswire mdp titanic reply UUID --wait 5000")]
    Reply(TitanicReply),
    /// Forgets a request and its answer
    ///
    /// Exit codes: 0 forgotten, or unknown; 1 no answer or no broker, 2 bad usage, 5 Titanic failed.
    #[command(after_help = "Example: buswire mdp titanic close UUID")]
    Close(TitanicClose),
}

/// Options of `mdp titanic request`.
#[derive(Clone, Debug, Args)]
pub struct TitanicRequest {
    /// The service that shall do the work
    name: ServiceName,
    #[command(flatten)]
    asking: Asking,
    /// Send standard input as the last frame
    #[arg(long)]
    stdin: bool,
    /// The frames of the request; what begins with a dash goes behind --. A single - is standard
    /// input
    args: Vec<OsString>,
}

/// Options of `mdp titanic reply`.
#[derive(Clone, Debug, Args)]
pub struct TitanicReply {
    /// What `titanic request` printed
    uuid: String,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    format: Format,
    /// Ask again until the request is answered, and go on at most MS milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    wait: u64,
}

/// Options of `mdp titanic close`.
#[derive(Clone, Debug, Args)]
pub struct TitanicClose {
    /// What `titanic request` printed
    uuid: String,
    #[command(flatten)]
    asking: Asking,
}

/// An answer of Titanic: the frames behind the status 200, or the exit code for another status.
type Answer = Result<Frames, Status>;

/// A status other than 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// 300: retry later.
    Pending,
    /// 400: never retry.
    Unknown,
    /// 500, or none that 9/TSP knows.
    Failed,
}

impl Status {
    fn explain(self) -> Failure {
        let (text, code) = match self {
            Self::Pending => ("the request is not answered yet", 3),
            Self::Unknown => ("Titanic refuses the service, or knows no such request", 4),
            Self::Failed => ("Titanic failed; try again later", 5),
        };
        Failure::Failed(text.to_owned()).with_code(code)
    }
}

pub(super) async fn run(command: TitanicCommand) -> Result<ExitCode, Failure> {
    match command {
        TitanicCommand::Request(args) => {
            let mut body = Frames::from([args.name.as_bytes().clone()]);
            body.extend(request::body(args.args, args.stdin)?);
            let connected = args.asking.connect(Version::V01).await?;
            let reply = ask(&connected, "titanic.request", body).await?.map_err(Status::explain)?;
            Format::default().print(&reply)?;
        }
        TitanicCommand::Reply(args) => {
            let connected = args.asking.connect(Version::V01).await?;
            let reply = poll(&connected, &args.uuid, Duration::from_millis(args.wait)).await?;
            args.format.print(&reply.map_err(Status::explain)?)?;
        }
        TitanicCommand::Close(args) => {
            let connected = args.asking.connect(Version::V01).await?;
            let closed = ask(&connected, "titanic.close", Frames::from(args.uuid)).await?;
            closed.map_err(Status::explain)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for an answer until there is one, or the patience is at its end.
async fn poll(connected: &Connected, uuid: &str, patience: Duration) -> Result<Answer, Failure> {
    let start = tokio::time::Instant::now();
    let mut pause = POLL_FIRST;
    loop {
        let answer = ask(connected, "titanic.reply", Frames::from(uuid.to_owned())).await?;
        let left = patience.saturating_sub(start.elapsed());
        if answer != Err(Status::Pending) || left.is_zero() {
            return Ok(answer);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(POLL_LONGEST);
    }
}

async fn ask(connected: &Connected, service: &str, body: Frames) -> Result<Answer, Failure> {
    let Connected { client, left } = connected;
    let reply = client.send(service, body, *left).await;
    reply.map(answer).map_err(|error| unanswered(&error, client, service))
}

/// Reads the status frame: three digits, and a text that means nothing.
fn answer(reply: Frames) -> Answer {
    let mut frames = reply.into_iter();
    match frames.next().as_deref().and_then(|status| status.get(..3)) {
        Some(b"200") => Ok(frames.collect()),
        Some(b"300") => Err(Status::Pending),
        Some(b"400") => Err(Status::Unknown),
        Some(_) | None => Err(Status::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_bytes_of_the_status_count() {
        // Rule: mdp §17 — when receiving, look at the first three bytes of the status
        assert_eq!(answer(["200 OK", "a", "b"].into()), Ok(["a", "b"].into()));
        assert_eq!(answer("200".into()), Ok(Frames::new()));
        assert_eq!(answer("300".into()), Err(Status::Pending));
        assert_eq!(answer("400 unknown".into()), Err(Status::Unknown));
        for odd in ["500", "20", "", "999"] {
            assert_eq!(answer(odd.into()), Err(Status::Failed), "{odd}");
        }
        assert_eq!(answer(Frames::new()), Err(Status::Failed));
    }
}
