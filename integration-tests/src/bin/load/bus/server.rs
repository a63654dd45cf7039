//! The servers that are measured, and what they are asked: ours, the floors, nginx with nchan.

use buswire_integration_tests::{Gateway, Site};
use tempfile::NamedTempFile;

use crate::{
    http::{Message, get, post},
    nginx::{self, Nginx},
    poll::{Again, following},
    posts,
    stats::Floor,
};

/// One channel; a reader waits for the next message, or polls for what is there.
const LOCATIONS: &str = "  location /pub { nchan_publisher; nchan_channel_id load; }\n  \
     location /wait { nchan_subscriber longpoll; nchan_channel_id load; \
     nchan_subscriber_first_message newest; }\n  \
     location /poll { nchan_subscriber interval-poll; nchan_channel_id none; }";

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contestant {
    Buswire,
    /// Appends each post to a file, with one `fdatasync` for whatever waits.
    Durable,
    /// Does what HTTP takes and nothing else.
    Bare,
    /// Debian's nginx with nchan, which stores nothing durably.
    Nchan,
}

impl Contestant {
    pub(super) const ALL: [Self; 4] = [Self::Buswire, Self::Durable, Self::Bare, Self::Nchan];
    /// Those that readers can wait at.
    pub(super) const HOLDING: [Self; 3] = [Self::Buswire, Self::Bare, Self::Nchan];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Buswire => "Buswire",
            Self::Durable => "durable floor",
            Self::Bare => "bare floor",
            Self::Nchan => "nginx+nchan",
        }
    }

    pub(super) fn is_installed(self) -> bool {
        self != Self::Nchan || nginx::is_installed()
    }
}

/// A running server.
pub(super) enum Server {
    Gateway(Box<Gateway>),
    Floor {
        floor: Floor,
        /// Removed when the floor ends.
        _file: Option<NamedTempFile>,
    },
    Nginx(Nginx),
}

/// What the readers of a server send.
pub(super) struct Reader {
    /// Wakes those that wait.
    pub(super) post: Vec<u8>,
    /// Waits for the next message.
    pub(super) again: Box<Again<'static>>,
    /// Finds nothing and is answered at once.
    pub(super) poll: Vec<u8>,
    /// Is answered at once, whatever there is.
    pub(super) idle: Vec<u8>,
}

impl Server {
    /// One that takes posts.
    pub(super) fn publishing(contestant: Contestant) -> Self {
        if contestant != Contestant::Durable {
            return Self::with_floor(contestant, "done");
        }
        // Where the gateway keeps its data too.
        let file = NamedTempFile::new().unwrap();
        let floor = Floor::start(&["posts", &file.path().display().to_string()]);
        Self::Floor { floor, _file: Some(file) }
    }

    /// One that readers wait at.
    pub(super) fn holding(contestant: Contestant) -> Self {
        Self::with_floor(contestant, "poll")
    }

    /// One that is polled.
    pub(super) fn polled(contestant: Contestant) -> Self {
        Self::with_floor(contestant, "reads")
    }

    fn with_floor(contestant: Contestant, floor: &str) -> Self {
        match contestant {
            Contestant::Buswire => {
                // As many connections as the machine has files for.
                let gateway = Gateway::builder().set("http.connections_max", "300000").start();
                Self::Gateway(Box::new(gateway))
            }
            Contestant::Durable | Contestant::Bare => {
                Self::Floor { floor: Floor::start(&[floor]), _file: None }
            }
            Contestant::Nchan => Self::Nginx(Nginx::start(LOCATIONS)),
        }
    }

    pub(super) fn address(&self) -> &str {
        match self {
            Self::Gateway(gateway) => &gateway.bound().http,
            Self::Floor { floor, .. } => &floor.address,
            Self::Nginx(nginx) => &nginx.address,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Gateway(gateway) => gateway.pid(),
            Self::Floor { floor, .. } => floor.pid(),
            Self::Nginx(nginx) => nginx.pid(),
        }
    }

    /// Posts, to one channel or several.
    pub(super) fn posts(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Gateway(gateway) => posts::requests(gateway),
            Self::Floor { .. } => vec![posts::plain("/")],
            Self::Nginx(_) => vec![posts::plain("/pub")],
        }
    }

    pub(super) fn reader(&self) -> Reader {
        let text = "x".repeat(300);
        match self {
            Self::Gateway(gateway) => {
                let site = Site::create(gateway, "load", &["--max-messages", "1000000"]);
                let visit = site.visit(gateway);
                let payload = format!("\"{}\"", "x".repeat(64));
                let body = site.message(&visit.channel, "load/post", &payload);
                let authorization = format!("Bearer {}", site.token);
                let poll = get("/v2/messages", &visit.token);
                Reader {
                    post: post("/v2/message", &authorization, "application/json", &body),
                    again: Box::new(following(&visit.token)),
                    idle: poll.clone(),
                    poll,
                }
            }
            Self::Floor { .. } => {
                let body =
                    format!(r#"{{"nextURL":"http://floor/?since=x","messages":["{text}"]}}"#);
                let post = post("/", "none", "application/json", &body);
                let poll = get("/v2/messages", "none");
                Reader { again: Box::new(following("none")), idle: post.clone(), post, poll }
            }
            Self::Nginx(_) => {
                let (wait, poll) = (get("/wait", "none"), get("/poll", "none"));
                Reader {
                    post: post("/pub", "none", "application/json", &text),
                    again: Box::new(move |_: Option<&Message>| wait.clone()),
                    idle: poll.clone(),
                    poll,
                }
            }
        }
    }
}

/// nchan's answer to a poll that finds nothing.
pub(super) fn nothing_new(answer: &Message) {
    assert_eq!(answer.status(), 304, "{}", answer.head);
}
