//! The bytes of a connection, and its place in the count of open ones.
//!
//! The place is given back when the bytes are dropped, so a connection that was upgraded to a
//! WebSocket keeps it although its HTTP part is over. A peer that takes nothing of what is written for
//! too long is given up, whatever is spoken.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::addresses::AddressPlace;

/// A place in the count of open connections; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<AtomicUsize>,
    listener: &'static str,
    _permit: OwnedSemaphorePermit,
    _address: AddressPlace,
    _tracked: TaskTrackerToken,
}

impl Place {
    pub(super) fn take(
        open: Arc<AtomicUsize>,
        listener: &'static str,
        permit: OwnedSemaphorePermit,
        address: AddressPlace,
        tracked: TaskTrackerToken,
    ) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("buswire_connections", "listener" => listener).increment(1.0);
        Self { open, listener, _permit: permit, _address: address, _tracked: tracked }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("buswire_connections", "listener" => self.listener).decrement(1.0);
    }
}

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The bytes of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    /// How long the peer may take nothing.
    patience: Duration,
    /// Since when it takes nothing; most connections never wait, so most have no timer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// How many bytes it took.
    written: Arc<AtomicU64>,
    _place: Place,
}

impl Stream {
    pub(super) fn new(
        transport: Transport,
        patience: Duration,
        written: Arc<AtomicU64>,
        place: Place,
    ) -> Self {
        Self { transport, patience, stalled: None, written, _place: place }
    }

    /// What came of a write, unless the peer has taken nothing for too long.
    fn taken<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    fn count(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.written.fetch_add(u64::try_from(*bytes).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.count(&result);
        self.taken(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.taken(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.taken(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        };
        self.count(&result);
        self.taken(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
