//! What requests pass on their way to a door: looked at before and after, without a box or a task each.
//!
//! Functions for `axum::middleware` would box the service and the future of every request, and hold
//! them while a request waits. Never here: what a step does.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{extract::Request, response::Response};
use tower::{Layer, Service};

/// Something that is done to every request and to its answer.
pub trait Step {
    /// What is kept of a request until its answer begins. A request may wait for long: keep little.
    type Kept: Unpin;

    /// Looks at a request and may change it.
    ///
    /// # Errors
    ///
    /// The answer, if the request goes no further. [`after`](Self::after) is not called for it.
    fn before(&self, request: &mut Request) -> Result<Self::Kept, Box<Response>>;

    /// Looks at the answer and may change it.
    fn after(kept: Self::Kept, response: &mut Response);
}

/// A layer that takes every request through a step.
#[derive(Clone, Debug)]
pub struct Through<P>(pub P);

impl<P: Clone, S> Layer<S> for Through<P> {
    type Service = Stepped<P, S>;

    fn layer(&self, inner: S) -> Stepped<P, S> {
        Stepped { step: self.0.clone(), inner }
    }
}

/// A service behind a step.
#[derive(Clone, Debug)]
pub struct Stepped<P, S> {
    step: P,
    inner: S,
}

impl<P, S> Service<Request> for Stepped<P, S>
where
    P: Step,
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<P, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.step.before(&mut request) {
            Ok(kept) => Answering::Passed { kept: Some(kept), inner: self.inner.call(request) },
            Err(response) => Answering::Refused(response),
        }
    }
}

/// The answer to a request that took a step.
#[derive(Debug)]
pub enum Answering<P: Step, F> {
    /// By the step itself.
    Refused(Box<Response>),
    /// By what is behind it.
    Passed {
        /// Gone once the answer is there.
        kept: Option<P::Kept>,
        /// The answer that is being made.
        inner: F,
    },
}

impl<P, F> Future for Answering<P, F>
where
    P: Step,
    F: Future<Output = Result<Response, Infallible>> + Unpin,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Refused(response) => Poll::Ready(Ok(std::mem::take(&mut **response))),
            Self::Passed { kept, inner } => {
                let Ok(mut response) = ready!(Pin::new(inner).poll(cx));
                if let Some(kept) = kept.take() {
                    P::after(kept, &mut response);
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::StatusCode, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    /// Lets requests of one path go no further, and writes its name into the others and their answers.
    #[derive(Clone)]
    struct Mark(&'static str);

    impl Step for Mark {
        type Kept = &'static str;

        fn before(&self, request: &mut Request) -> Result<Self::Kept, Box<Response>> {
            if request.uri().path() == format!("/{}", self.0) {
                return Err(Box::new(Response::new(Body::from(self.0))));
            }
            request.headers_mut().append("passed", self.0.parse().unwrap());
            Ok(self.0)
        }

        fn after(kept: &'static str, response: &mut Response) {
            response.headers_mut().append("passed", kept.parse().unwrap());
        }
    }

    fn passed(headers: &axum::http::HeaderMap) -> Vec<&str> {
        headers.get_all("passed").iter().map(|name| name.to_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn steps_are_taken_in_their_order_and_back_again() {
        let door = async |request: Request| passed(request.headers()).join(" ");
        let router = Router::new().route("/{any}", get(door));
        let router = router.layer((Through(Mark("a")), Through(Mark("b")), Through(Mark("c"))));
        for (path, seen, back) in
            [("/x", "a b c", ["c", "b", "a"].as_slice()), ("/b", "b", &["a"]), ("/a", "a", &[])]
        {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(passed(answer.headers()), back, "{path}");
            let body = axum::body::to_bytes(answer.into_body(), 99).await.unwrap();
            assert_eq!(body, seen, "{path}");
        }
    }
}
