//! `buswire mdp request`.

use std::{
    ffi::OsString,
    io::{Read as _, stdin},
};

use buswire_mdp::{Frames, ReplyFormat, ReplyPart, ServiceName, render_reply, wire::Version};
use clap::Args;

use super::{
    Failure,
    at::{Asking, Connected, unanswered},
    say,
};

/// The most that is read from standard input: what a broker takes as one frame.
const STDIN_BYTES_MAX: u64 = 64 << 20;

/// Options of `mdp request`.
#[derive(Clone, Debug, Args)]
pub struct RequestArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    format: Format,
    /// Print each part of the answer as it comes
    #[arg(long)]
    stream: bool,
    /// Send standard input as the last frame
    #[arg(long)]
    stdin: bool,
    /// The frames of the request; what begins with a dash goes behind --. A single - is standard
    /// input
    args: Vec<OsString>,
}

/// How an answer is printed.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct Format {
    /// Print the bytes of the answer and nothing else
    #[arg(long)]
    raw: bool,
    /// Print one JSON array of the frames; a frame that is no UTF-8 is {"hex":"…"}
    #[arg(long)]
    json: bool,
    /// Print each frame in hexadecimal
    #[arg(long)]
    hex: bool,
}

impl Format {
    /// Prints an answer.
    pub(super) fn print(&self, reply: &Frames) -> Result<(), Failure> {
        let format = match (self.raw, self.json, self.hex) {
            (true, ..) => ReplyFormat::Raw,
            (_, true, _) => ReplyFormat::Json,
            (_, _, true) => ReplyFormat::Hex,
            (false, false, false) => ReplyFormat::Text,
        };
        say(&render_reply(reply, format))
    }
}

pub(super) async fn run(args: RequestArgs) -> Result<(), Failure> {
    let body = body(args.args, args.stdin)?;
    let version = if args.stream { Version::V02 } else { Version::V01 };
    let Connected { client, left } = args.asking.connect(version).await?;
    let name = args.name.as_str();
    let failed = |error| unanswered(&error, &client, name);
    if !args.stream {
        return args.format.print(&client.send(name, body, left).await.map_err(failed)?);
    }
    let mut parts = client.send_stream(name, body, left).map_err(failed)?;
    while let Some(part) = parts.part().await {
        let (ReplyPart::Partial(part) | ReplyPart::Final(part)) = part.map_err(failed)?;
        args.format.print(&part)?;
    }
    Ok(())
}

/// Makes one frame of each argument, and one of standard input if it is asked for.
pub(super) fn body(args: Vec<OsString>, append_stdin: bool) -> Result<Frames, Failure> {
    if matches!(args.as_slice(), [only] if only == "-") {
        return Ok(Frames::from(read_stdin()?));
    }
    let mut body: Frames = args.into_iter().map(OsString::into_encoded_bytes).collect();
    if append_stdin {
        body.push(read_stdin()?);
    }
    Ok(body)
}

fn read_stdin() -> Result<bytes::Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = stdin().lock().take(STDIN_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Failed(format!("can't read standard input: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= STDIN_BYTES_MAX) {
        Ok(bytes.into())
    } else {
        Err(Failure::Failed(format!("standard input has more than {STDIN_BYTES_MAX} bytes")))
    }
}
