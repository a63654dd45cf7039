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

/// Says whether this libzmq has CURVE.
pub fn has_curve() -> bool {
    zmq::has("curve") == Some(true)
}

/// A new CURVE key pair.
pub struct CurveKeys {
    public: String,
    secret: String,
}

/// This libzmq cannot make CURVE keys.
#[derive(Debug, thiserror::Error)]
#[error("cannot make CURVE keys: was this libzmq built without CURVE?")]
pub struct KeygenError(#[source] zmq::Error);

impl CurveKeys {
    /// Makes a key pair of the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`KeygenError`] when libzmq has no CURVE.
    pub fn generate() -> Result<Self, KeygenError> {
        let pair = zmq::CurveKeyPair::new().map_err(KeygenError)?;
        // 32 bytes are a multiple of four, which is all that Z85 asks for.
        let z85 = |key: &[u8]| zmq::z85_encode(key).map_err(|_| KeygenError(zmq::Error::EINVAL));
        Ok(Self { public: z85(&pair.public_key)?, secret: z85(&pair.secret_key)? })
    }

    /// Returns the public key, 40 characters of Z85.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Returns the secret key, 40 characters of Z85, to be kept where only its owner reads it.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for CurveKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CurveKeys({}, …)", self.public)
    }
}

impl fmt::Debug for ClientCurve {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientCurve(…)")
    }
}
