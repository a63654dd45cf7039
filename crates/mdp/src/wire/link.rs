//! What brokers say to each other over a link (not MDP: mdp.md §12.7 knows no traffic of brokers).
//!
//! A message is a head of fixed length and further frames:
//!
//! ```text
//! head     "BWL" | version 1 | kind 1 | order 8 | number 8 | wait ms 8 | client 8     all big-endian
//! HELLO    head | id | id of the other     WELCOME  head | id
//! REFUSED  head | reason                  BEAT     head
//! SERVES   head | service…                CEASES   head | service…
//! REQUEST  head | service | user or empty | body…
//! PARTIAL  head | body…                   FINAL    head | body…
//! RETURNED head | reason                  CANCEL   head
//! ```
//!
//! `order` counts the messages of one side of a link from zero, so that a message which was lost, came
//! twice or overtook another is seen. Magic and version stand where they are in every version.
//!
//! Never here: what a message means for a request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::encode::Part;
use crate::closed_set::{ClosedSet as _, closed_set};
use crate::{Frames, ServiceName};

/// The version of what links speak. Brokers of different versions do not ask each other.
pub const LINK_VERSION: u8 = 1;

const MAGIC: &[u8; 3] = b"BWL";
const HEAD_BYTES: usize = 37;

/// Names a broker among those that have links to each other; random for each start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub [u8; 8]);

impl fmt::Display for BrokerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BrokerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BrokerId({self})")
    }
}

closed_set! {
    /// Why a broker does not let itself be asked.
    pub enum Refusal {
        /// It does not know the connection: HELLO comes first.
        Unknown = "unknown",
        /// The other speaks another version.
        Version = "version",
        /// It has as many links as it may.
        Full = "full",
        /// The other is itself.
        Itself = "itself",
        /// HELLO was meant for another broker, which was there before.
        Another = "another",
        /// What was said made no sense there.
        Broken = "broken",
        /// It stops.
        Stopped = "stopped",
    }
}

closed_set! {
    /// Why a request comes back without an answer.
    pub enum Returned {
        /// No worker was there any more, and none had it.
        NotServed = "not_served",
        /// The worker that had it was lost.
        Lost = "lost",
        /// Its time was up while it waited.
        Expired = "expired",
        /// The queue of the service is full there.
        QueueFull = "queue_full",
        /// Too many bytes are in hand there.
        BytesFull = "bytes_full",
        /// Its client has too much in hand there.
        ClientFull = "client_full",
    }
}

/// One message of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// First of all.
    Hello {
        /// Who asks.
        from: BrokerId,
        /// Who is meant: the address may be that of another one by now.
        to: BrokerId,
    },
    /// The answer to HELLO: who is asked.
    Welcome(BrokerId),
    /// The asked one does not, or no longer, let itself be asked.
    Refused(Refusal),
    /// A sign of life.
    Beat,
    /// The asked one has workers for these services from now on.
    Serves(Vec<ServiceName>),
    /// It no longer has.
    Ceases(Vec<ServiceName>),
    /// A request that the asked one's own workers are to answer, nobody else.
    Request {
        /// Names it on this link.
        number: u64,
        /// How long it may wait for a worker.
        wait: Duration,
        /// Tells the clients of the asking broker apart, so that each is served in turn.
        client: u64,
        /// The service asked for.
        service: ServiceName,
        /// The authenticated user of the client's connection, if any. The asking broker has checked
        /// what it may do.
        user: Option<Arc<str>>,
        /// The body.
        body: Frames,
    },
    /// Nobody waits for the answer to this request any more.
    Cancel {
        /// Names it.
        number: u64,
    },
    /// A part of the answer.
    Partial {
        /// Names the request.
        number: u64,
        /// The part's body.
        body: Frames,
    },
    /// The answer, or its last part.
    Final {
        /// Names the request.
        number: u64,
        /// The body.
        body: Frames,
    },
    /// There is no answer.
    Returned {
        /// Names the request.
        number: u64,
        /// Why.
        reason: Returned,
    },
}

/// Why frames are no message of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLinkMessage {
    /// A message of another version.
    #[error("another version of links: {0}")]
    Version(u8),
    /// No message at all.
    #[error("not a message of a link")]
    Malformed,
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const BEAT: u8 = 4;
const SERVES: u8 = 5;
const CEASES: u8 = 6;
const REQUEST: u8 = 7;
const CANCEL: u8 = 8;
const PARTIAL: u8 = 9;
const FINAL: u8 = 10;
const RETURNED: u8 = 11;

/// The fixed part of a message.
#[derive(Default)]
struct Head {
    kind: u8,
    order: u64,
    number: u64,
    wait_ms: u64,
    client: u64,
}

impl Head {
    fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend([LINK_VERSION, self.kind]);
        for field in [self.order, self.number, self.wait_ms, self.client] {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        Bytes::from(bytes)
    }

    fn decode(frame: &[u8]) -> Result<Self, BadLinkMessage> {
        let (magic, rest) = frame.split_first_chunk().ok_or(BadLinkMessage::Malformed)?;
        let (version, rest) = rest.split_first().ok_or(BadLinkMessage::Malformed)?;
        if magic != MAGIC {
            return Err(BadLinkMessage::Malformed);
        }
        if *version != LINK_VERSION {
            return Err(BadLinkMessage::Version(*version));
        }
        let (kind, rest) = rest.split_first().ok_or(BadLinkMessage::Malformed)?;
        let (fields, rest) = rest.as_chunks::<8>();
        let [order, number, wait_ms, client] = *fields else {
            return Err(BadLinkMessage::Malformed);
        };
        if !rest.is_empty() {
            return Err(BadLinkMessage::Malformed);
        }
        let [order, number, wait_ms, client] =
            [order, number, wait_ms, client].map(u64::from_be_bytes);
        Ok(Self { kind: *kind, order, number, wait_ms, client })
    }
}

impl LinkMessage {
    /// Appends the frames of the message, the `order`th of its side, to `parts`.
    pub fn write_to(self, order: u64, parts: &mut Vec<Part>) {
        let mut head = Head { order, ..Head::default() };
        let at = parts.len();
        // Its place is taken first; what it says is known only when the message was taken apart.
        parts.push(Part::Static(b""));
        head.kind = match self {
            Self::Hello { from, to } => {
                push(parts, HELLO, [from, to].map(|id| Bytes::copy_from_slice(&id.0)))
            }
            Self::Welcome(id) => push(parts, WELCOME, [Bytes::copy_from_slice(&id.0)]),
            Self::Refused(reason) => push(parts, REFUSED, [Bytes::from(reason.name())]),
            Self::Beat => BEAT,
            Self::Serves(names) => {
                push(parts, SERVES, names.iter().map(|it| it.as_bytes().clone()))
            }
            Self::Ceases(names) => {
                push(parts, CEASES, names.iter().map(|it| it.as_bytes().clone()))
            }
            Self::Request { number, wait, client, service, user, body } => {
                (head.number, head.client) = (number, client);
                head.wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                let user = user.map(|user| Bytes::copy_from_slice(user.as_bytes()));
                push(parts, REQUEST, [service.as_bytes().clone(), user.unwrap_or_default()]);
                push(parts, REQUEST, body)
            }
            Self::Cancel { number } => {
                head.number = number;
                CANCEL
            }
            Self::Partial { number, body } => {
                head.number = number;
                push(parts, PARTIAL, body)
            }
            Self::Final { number, body } => {
                head.number = number;
                push(parts, FINAL, body)
            }
            Self::Returned { number, reason } => {
                head.number = number;
                push(parts, RETURNED, [Bytes::from(reason.name())])
            }
        };
        if let Some(place) = parts.get_mut(at) {
            *place = Part::Bytes(head.encode());
        }
    }

    /// Reads the frames of a message; returns its place in the order of its side, and what it says.
    ///
    /// # Errors
    ///
    /// [`BadLinkMessage`].
    pub fn decode<F: Deref<Target = [u8]>>(frames: &[F]) -> Result<(u64, Self), BadLinkMessage> {
        let (head, rest) = frames.split_first().ok_or(BadLinkMessage::Malformed)?;
        let Head { kind, order, number, wait_ms, client } = Head::decode(head)?;
        let message = match (kind, rest) {
            (HELLO, [from, to]) => Self::Hello { from: broker_id(from)?, to: broker_id(to)? },
            (WELCOME, [id]) => Self::Welcome(broker_id(id)?),
            (REFUSED, [reason]) => Self::Refused(member(reason)?),
            (BEAT, []) => Self::Beat,
            (SERVES, names) => Self::Serves(service_names(names)?),
            (CEASES, names) => Self::Ceases(service_names(names)?),
            (REQUEST, [service, user, body @ ..]) => Self::Request {
                number,
                wait: Duration::from_millis(wait_ms),
                client,
                service: service_name(service)?,
                user: user_name(user)?,
                body: body_of(body),
            },
            (CANCEL, []) => Self::Cancel { number },
            (PARTIAL, body) => Self::Partial { number, body: body_of(body) },
            (FINAL, body) => Self::Final { number, body: body_of(body) },
            (RETURNED, [reason]) => Self::Returned { number, reason: member(reason)? },
            _ => return Err(BadLinkMessage::Malformed),
        };
        Ok((order, message))
    }
}

fn push(parts: &mut Vec<Part>, kind: u8, frames: impl IntoIterator<Item = Bytes>) -> u8 {
    parts.extend(frames.into_iter().map(Part::Bytes));
    kind
}

fn broker_id(frame: &[u8]) -> Result<BrokerId, BadLinkMessage> {
    frame.try_into().map(BrokerId).map_err(|_| BadLinkMessage::Malformed)
}

fn member<K: crate::ClosedSet>(frame: &[u8]) -> Result<K, BadLinkMessage> {
    let known = K::MEMBERS.iter().find(|member| member.name().as_bytes() == frame);
    known.copied().ok_or(BadLinkMessage::Malformed)
}

fn service_name(frame: &[u8]) -> Result<ServiceName, BadLinkMessage> {
    ServiceName::parse(frame).map_err(|_| BadLinkMessage::Malformed)
}

fn service_names<F: Deref<Target = [u8]>>(
    frames: &[F],
) -> Result<Vec<ServiceName>, BadLinkMessage> {
    frames.iter().map(|frame| service_name(frame)).collect()
}

fn user_name(frame: &[u8]) -> Result<Option<Arc<str>>, BadLinkMessage> {
    let user = std::str::from_utf8(frame).map_err(|_| BadLinkMessage::Malformed)?;
    Ok((!user.is_empty()).then(|| Arc::from(user)))
}

fn body_of<F: Deref<Target = [u8]>>(frames: &[F]) -> Frames {
    frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    fn frames_of(message: LinkMessage, order: u64) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        message.write_to(order, &mut parts);
        parts.iter().map(|part| part.as_slice().to_vec()).collect()
    }

    fn every_kind() -> Vec<LinkMessage> {
        let body = Frames::from(["a", "", "b"]);
        let request = |user: Option<&str>, body| LinkMessage::Request {
            number: u64::MAX,
            wait: Duration::from_millis(1500),
            client: 3,
            service: name("echo"),
            user: user.map(Arc::from),
            body,
        };
        let mut all = vec![
            LinkMessage::Hello { from: BrokerId([7; 8]), to: BrokerId([8; 8]) },
            LinkMessage::Welcome(BrokerId([0; 8])),
            LinkMessage::Beat,
            LinkMessage::Serves(vec![name("echo"), name("größe")]),
            LinkMessage::Ceases(Vec::new()),
            request(None, Frames::new()),
            request(Some("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"), body.clone()),
            LinkMessage::Cancel { number: 1 },
            LinkMessage::Partial { number: 2, body: body.clone() },
            LinkMessage::Final { number: 3, body },
        ];
        all.extend(Refusal::MEMBERS.iter().map(|reason| LinkMessage::Refused(*reason)));
        let returned = |reason: &Returned| LinkMessage::Returned { number: 4, reason: *reason };
        all.extend(Returned::MEMBERS.iter().map(returned));
        all
    }

    #[test]
    fn every_message_comes_back_as_it_was_sent() {
        for (order, message) in (0..).zip(every_kind()) {
            let frames = frames_of(message.clone(), order);
            assert_eq!(LinkMessage::decode(&frames), Ok((order, message)));
        }
    }

    #[test]
    fn a_request_is_these_bytes() {
        let request = LinkMessage::Request {
            number: 0x0102,
            wait: Duration::from_secs(1),
            client: 5,
            service: name("echo"),
            user: None,
            body: Frames::from(["hi"]),
        };
        let head = b"BWL\x01\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x03\xE8\0\0\0\0\0\0\0\x05";
        let expected: [&[u8]; 4] = [head, b"echo", b"", b"hi"];
        assert_eq!(frames_of(request, 9), expected);
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        let hello = LinkMessage::Hello { from: BrokerId([7; 8]), to: BrokerId([8; 8]) };
        let mut frames = frames_of(hello, 0);
        frames[0][3] = 2;
        assert_eq!(LinkMessage::decode(&frames), Err(BadLinkMessage::Version(2)));
        // Whatever else a later version changes.
        frames[0].truncate(4);
        assert_eq!(LinkMessage::decode(&frames[..1]), Err(BadLinkMessage::Version(2)));
        frames[0][0] = b'X';
        assert_eq!(LinkMessage::decode(&frames), Err(BadLinkMessage::Malformed));
        assert_eq!(LinkMessage::decode::<Vec<u8>>(&[]), Err(BadLinkMessage::Malformed));
    }

    #[test]
    fn no_message_is_another_one_cut_off_or_with_more_behind_it() {
        for message in every_kind() {
            let whole = frames_of(message, 1);
            let mut head = whole.clone();
            for length in 0..head[0].len() {
                head[0] = whole[0][..length].to_vec();
                assert!(LinkMessage::decode(&head).is_err());
            }
            head[0] = [&whole[0][..], b"x"].concat();
            assert_eq!(LinkMessage::decode(&head), Err(BadLinkMessage::Malformed));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_panics(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5), kind in 0u8..14) {
            drop(LinkMessage::decode(&frames));
            let mut headed = vec![Head { kind, ..Head::default() }.encode().to_vec()];
            headed.extend(frames);
            drop(LinkMessage::decode(&headed));
        }
    }
}
