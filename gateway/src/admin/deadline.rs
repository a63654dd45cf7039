//! Deadlines: what the caller set, and what the gateway sets if the caller did not.
//!
//! Never here: what a call does.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tonic::Status;

/// How long the caller of a request waits, from its arrival on. In the extensions of a request that
/// carries `grpc-timeout`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Duration);

/// Answers DEADLINE_EXCEEDED if no answer began in time: what the caller set, at most `longest`.
/// Streams begin at once and end themselves.
pub(super) async fn layer(
    State(longest): State<Duration>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(parse);
    if let Some(asked) = asked {
        request.extensions_mut().insert(Deadline(asked));
    }
    let limit = asked.map_or(longest, |asked| asked.min(longest));
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the call took too long").into_http::<Body>(),
    }
}

/// The value of `grpc-timeout`: at most eight digits and a unit. Anything else is no deadline.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit() {
        let cases = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("10u", Some(Duration::from_micros(10))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("100000000S", None),
            ("1ü", None),
        ];
        for (text, time) in cases {
            assert_eq!(parse(text), time, "{text}");
        }
    }
}
