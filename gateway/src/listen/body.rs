//! A request body with a bound in bytes and in time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::bodies::Held;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body. Fails when it is longer than its bound, when all bodies together are, or when it is
/// not complete in its time, counted from the first wait for the client.
pub(super) struct BoundedBody {
    inner: Limited<Incoming>,
    held: Arc<Held>,
    timeout: Duration,
    // Most bodies come with their head, so most have no timer.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl BoundedBody {
    pub(super) fn new(
        inner: Incoming,
        bytes_max: usize,
        held: Arc<Held>,
        timeout: Duration,
    ) -> Self {
        Self { inner: Limited::new(inner, bytes_max), held, timeout, deadline: None }
    }
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) | None => 0,
            };
            if !this.held.take(bytes) {
                let full = io::Error::other("there is no room for further request bodies");
                return Poll::Ready(Some(Err(full.into())));
            }
            return Poll::Ready(frame);
        }
        let timeout = this.timeout;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        let late = io::Error::new(io::ErrorKind::TimedOut, "the request body came too slowly");
        Poll::Ready(Some(Err(late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
