//! How a stream ends: at the caller's deadline, when the gateway stops, or after an error.
//!
//! Never here: what a stream carries.

use std::{pin::Pin, time::Duration};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Ends `items` with DEADLINE_EXCEEDED after `time`, with UNAVAILABLE at the shutdown, and after its
/// last item or first error. Holds `permit` until then. Nothing is queued: an item is asked for when the connection
/// has room.
pub(super) fn until_end<T: Send + 'static>(
    items: impl Stream<Item = Result<T, Status>> + Send + 'static,
    time: Option<Duration>,
    shutdown: CancellationToken,
    permit: impl Send + 'static,
) -> Answers<T> {
    let end = async move {
        let deadline = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => Status::unavailable("the gateway stops; subscribe again"),
            () = deadline => Status::deadline_exceeded("the stream lasted as long as was asked for"),
        }
    };
    let end: BoxStream<'static, Option<Result<T, Status>>> =
        end.map(|status| Some(Err(status))).into_stream().boxed();
    // The stream is over with its items, whatever time is left.
    let items = items.map(Some).chain(stream::iter([None])).boxed();
    // The end goes first, so that a stream which always has an item ends too.
    let both = stream::select_with_strategy(end, items, |(): &mut ()| stream::PollNext::Left);
    // Without the rest of its state a stream is over: nothing is asked for after an error.
    let until_error = stream::unfold(Some((both, permit)), async |state| {
        let (mut both, permit) = state?;
        let item = both.next().await??;
        let rest = item.is_ok().then_some((both, permit));
        Some((item, rest))
    });
    Box::pin(until_error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use super::*;

    fn codes(items: &[Result<u32, Status>]) -> Vec<Result<u32, Code>> {
        items.iter().map(|item| item.as_ref().map(|n| *n).map_err(Status::code)).collect()
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline() {
        let items = stream::iter([Ok(1)]).chain(stream::pending());
        let time = Some(Duration::from_millis(10));
        let all: Vec<_> = until_end(items, time, CancellationToken::new(), ()).collect().await;
        assert_eq!(codes(&all), [Ok(1), Err(Code::DeadlineExceeded)]);
    }

    #[tokio::test]
    async fn a_stream_that_always_has_an_item_ends_at_the_shutdown() {
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let items = stream::iter(1..).map(move |n| {
            if n == 3 {
                stop.cancel();
            }
            Ok(n)
        });
        let permit = Arc::new(());
        let held = Arc::downgrade(&permit);
        let answers = until_end(items, None, shutdown, permit);
        assert!(held.upgrade().is_some());
        let all: Vec<_> = answers.collect().await;
        assert_eq!(codes(&all), [Ok(1), Ok(2), Ok(3), Err(Code::Unavailable)]);
        assert!(held.upgrade().is_none(), "the permit is given back");
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_last_item() {
        let all = until_end(stream::iter([Ok(1)]), None, CancellationToken::new(), ());
        assert_eq!(codes(&all.collect::<Vec<_>>().await), [Ok(1)]);
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_first_error() {
        let items =
            stream::iter([Ok(1), Err(Status::internal("x")), Ok(2)]).chain(stream::pending());
        let all: Vec<_> = until_end(items, None, CancellationToken::new(), ()).collect().await;
        assert_eq!(codes(&all), [Ok(1), Err(Code::Internal)]);
    }
}
