//! The WebSocket of a client, over TCP or TLS (SimplePush §5.1).
//!
//! Never here: what messages mean.

use std::{io, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    future::{BoxFuture, pending},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, Uri, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("push-notification");
/// 200 updates, each with 4,096 bytes of data of which every one may be escaped with six characters.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// How long a write may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the answer to our close frame is awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a connection, in clear or encrypted.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Where a server is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    uri: Uri,
    host: String,
    port: u16,
    /// `wss`.
    pub(super) secure: bool,
}

impl Address {
    /// Parses a URL that begins with `ws://` or `wss://`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "ws" => false,
            "wss" => true,
            _ => return None,
        };
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { uri, host, port, secure })
    }
}

/// How `wss` is spoken unless the program says otherwise: with the certificates that this system trusts.
pub(super) fn system_tls() -> Result<Arc<ClientConfig>, tokio_rustls::rustls::Error> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_platform_verifier()?.with_no_client_auth()))
}

/// The connection of a client: there is one, one is being opened, or there is none.
#[derive(Default)]
pub(super) enum Link {
    #[default]
    Down,
    Opening(BoxFuture<'static, Result<Socket, Error>>),
    Up(Box<Socket>),
}

/// What happened on a [`Link`].
pub(super) enum Happening {
    Opened,
    Text(String),
    Frame,
    /// The connection is gone or was not opened; the link is down.
    Gone(Option<u16>),
}

impl Link {
    /// Begins to open a connection.
    pub(super) fn open(&mut self, address: Address, tls: Option<Arc<ClientConfig>>) {
        *self = Self::Opening(Box::pin(connect(address, tls)));
    }

    /// What happens next; never anything while the link is down.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: nothing that happened is lost.
    pub(super) async fn next(&mut self) -> Happening {
        let happening = match self {
            Self::Down => pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(socket) => {
                    *self = Self::Up(Box::new(socket));
                    return Happening::Opened;
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection to the push server");
                    Happening::Gone(None)
                }
            },
            Self::Up(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => Happening::Text(text.as_str().to_owned()),
                // Binary messages are not part of the protocol: they only show that the server is there.
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {
                    Happening::Frame
                }
                Some(Ok(Message::Close(frame))) => {
                    // Sends the library's answer, if the socket takes it.
                    socket.flush().now_or_never();
                    Happening::Gone(frame.map(|frame| frame.code.into()))
                }
                Some(Ok(Message::Frame(_)) | Err(_)) | None => Happening::Gone(None),
            },
        };
        if matches!(happening, Happening::Gone(_)) {
            *self = Self::Down;
        }
        happening
    }

    /// Sends a text. If that fails, the failure shows at the next [`next`](Self::next).
    pub(super) async fn send(&mut self, text: String) {
        if let Self::Up(socket) = self {
            let sent = timeout(WRITE_TIMEOUT, socket.send(Message::text(text))).await;
            if !matches!(sent, Ok(Ok(()))) {
                *self = Self::Opening(Box::pin(async { Err(Error::ConnectionClosed) }));
            }
        }
    }

    /// Closes the connection if there is one, in the orderly way if the server takes part.
    pub(super) async fn close(&mut self) {
        if let Self::Up(mut socket) = std::mem::take(self) {
            let farewell = async {
                // A socket that is closed already says so, and has nothing more to give.
                socket.close().await.unwrap_or_default();
                while let Some(Ok(_)) = socket.next().await {}
            };
            timeout(CLOSE_TIMEOUT, farewell).await.unwrap_or_default();
        }
    }
}

async fn connect(address: Address, tls: Option<Arc<ClientConfig>>) -> Result<Socket, Error> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
    tcp.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match tls.filter(|_| address.secure) {
        Some(tls) => {
            let name = ServerName::try_from(address.host).map_err(io::Error::other)?;
            Box::new(TlsConnector::from(tls).connect(name, tcp).await?)
        }
        None => Box::new(tcp),
    };
    let mut request = address.uri.into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    Ok(client_async_with_config(request, stream, Some(config)).await?.0)
}
