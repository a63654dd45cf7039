//! CURVE keys, and the ZAP handler that says which of them may connect (27/ZAP; mdp.md §14).

use std::collections::BTreeSet;
use std::fmt;

use super::config::StartError;
use crate::io::{Inbox, Received};

/// Bytes of a CURVE key.
const KEY_BYTES: usize = 32;

/// The address at which libzmq asks who may connect.
const ZAP_ENDPOINT: &str = "inproc://zeromq.zap.01";

/// The domain of the broker's own clients and workers.
const DOMAIN: &str = "buswire";

/// The domain of other brokers.
pub(super) const LINK_DOMAIN: &str = "buswire-links";

/// Most frames of a ZAP request; a CURVE one has seven.
const ZAP_FRAMES_MAX: usize = 16;

/// A secret CURVE key; never printed.
#[derive(Clone)]
pub struct CurveSecret([u8; KEY_BYTES]);

impl CurveSecret {
    /// Parses the 40 characters of Z85.
    ///
    /// Returns `None` when the text is no key.
    pub fn from_z85(text: &str) -> Option<Self> {
        key_from_z85(text).map(Self)
    }

    /// Takes the bytes of a key.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CurveSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("CurveSecret(…)")
    }
}

/// The public keys of those who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedKeys {
    /// Anybody who knows the broker's public key.
    Any,
    /// Only these.
    Only(BTreeSet<[u8; KEY_BYTES]>),
}

impl AllowedKeys {
    /// Parses public keys of 40 characters of Z85 each; `None` when one of them is no key.
    pub fn from_z85<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        keys.into_iter().map(key_from_z85).collect::<Option<_>>().map(Self::Only)
    }

    fn admits(&self, key: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Only(keys) => keys.iter().any(|allowed| allowed == key),
        }
    }
}

/// The broker's side of CURVE.
#[derive(Clone, Debug)]
pub struct CurveConfig {
    /// The broker's secret key.
    pub secret: CurveSecret,
    /// Who may connect. The user of a connection is its public key in Z85.
    pub allowed: AllowedKeys,
}

pub(crate) fn key_from_z85(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != KEY_BYTES / 4 * 5 {
        return None;
    }
    zmq::z85_decode(text).ok()?.try_into().ok()
}

/// Binds the handler, without which every key would be let in.
pub(super) fn bind_zap(context: &zmq::Context) -> Result<zmq::Socket, StartError> {
    if zmq::has("curve") != Some(true) {
        return Err(StartError::NoCurve);
    }
    let bind = || {
        let zap = context.socket(zmq::ROUTER)?;
        zap.set_linger(0)?;
        zap.bind(ZAP_ENDPOINT)?;
        Ok(zap)
    };
    bind().map_err(StartError::Socket)
}

/// Turns CURVE on. Who may connect is asked of the handler under `domain`.
pub(super) fn secure(
    router: &zmq::Socket,
    secret: &CurveSecret,
    domain: &str,
) -> Result<(), zmq::Error> {
    router.set_zap_domain(domain)?;
    router.set_curve_server(true)?;
    router.set_curve_secretkey(&secret.0)
}

/// Turns CURVE on for clients and workers.
pub(super) fn secure_lane(router: &zmq::Socket, config: &CurveConfig) -> Result<(), zmq::Error> {
    secure(router, &config.secret, DOMAIN)
}

/// Who may connect where.
#[derive(Clone, Copy)]
pub(super) struct Admission<'a> {
    /// Clients and workers.
    pub(super) peers: Option<&'a AllowedKeys>,
    /// The key of other brokers.
    pub(super) brokers: Option<&'a [u8; KEY_BYTES]>,
}

impl Admission<'_> {
    fn admits(self, domain: &[u8], key: &[u8]) -> bool {
        if domain == LINK_DOMAIN.as_bytes() {
            self.brokers.is_some_and(|broker| broker == key)
        } else {
            self.peers.is_some_and(|allowed| allowed.admits(key))
        }
    }
}

/// Answers every waiting question of libzmq.
pub(super) fn answer_zap(zap: &zmq::Socket, admission: Admission<'_>, inbox: &mut Inbox) {
    while let Ok(received) = inbox.receive(zap, ZAP_FRAMES_MAX) {
        match received {
            Received::Nothing => return,
            Received::TooManyFrames => {}
            Received::Message => {
                if let Some(reply) = zap_reply(inbox.frames(), admission)
                    && let Err(error) = zap.send_multipart(reply, zmq::DONTWAIT)
                {
                    tracing::warn!(%error, "a ZAP answer was not taken");
                }
            }
        }
    }
}

fn zap_reply(frames: &[zmq::Message], admission: Admission<'_>) -> Option<Vec<Vec<u8>>> {
    let [route, empty, version, id, domain, _address, _identity, mechanism, credentials @ ..] =
        frames
    else {
        return None;
    };
    if !empty.is_empty() || **version != *b"1.0" {
        return None;
    }
    let key = match credentials {
        [key] if **mechanism == *b"CURVE" && admission.admits(domain, key) => {
            zmq::z85_encode(key).ok()
        }
        _ => None,
    };
    let (status, text) = if key.is_some() { ("200", "OK") } else { ("400", "No access") };
    let mut reply = vec![route.to_vec(), Vec::new(), b"1.0".to_vec(), id.to_vec()];
    reply.extend([status.into(), text.into(), key.unwrap_or_default().into_bytes(), Vec::new()]);
    Some(reply)
}
