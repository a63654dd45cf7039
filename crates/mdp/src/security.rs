//! A client's or worker's side of CURVE.

use std::fmt;

use crate::driver::{CurveSecret, key_from_z85};

/// The keys with which a client or worker connects to a broker that asks for them.
#[derive(Clone)]
pub struct ClientCurve {
    server: [u8; 32],
    public: [u8; 32],
    secret: CurveSecret,
}

impl ClientCurve {
    /// Takes the broker's public key, the own public key and the own secret key in Z85.
    ///
    /// Returns `None` when one of them is no key.
    pub fn from_z85(server: &str, public: &str, secret: &str) -> Option<Self> {
        Some(Self {
            server: key_from_z85(server)?,
            public: key_from_z85(public)?,
            secret: CurveSecret::from_z85(secret)?,
        })
    }

    pub(crate) fn apply(&self, socket: &zmq::Socket) -> Result<(), zmq::Error> {
        socket.set_curve_serverkey(&self.server)?;
        socket.set_curve_publickey(&self.public)?;
        socket.set_curve_secretkey(self.secret.bytes())
    }
}

impl fmt::Debug for ClientCurve {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientCurve(…)")
    }
}
