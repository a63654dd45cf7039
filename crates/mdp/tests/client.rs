//! The client over real sockets, as a Rust programmer uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

#[path = "../examples/request.rs"]
#[allow(dead_code, reason = "its main function is not used here")]
mod request_example;

use std::time::Duration;

use buswire_mdp::wire::Version;
use buswire_mdp::{
    Broker, BrokerConfig, Client, ClientError, CmdOptions, CmdService, Correlation, Frames,
    MmiStatus, ReplyPart, Responder, Retries, Worker,
};
use common::{PATIENCE, config, echo_worker, in_time, name, start, until};

#[tokio::test]
async fn the_program_of_the_readme_works() {
    let (readme, example) = (include_str!("../README.md"), include_str!("../examples/request.rs"));
    let (_header, program) = example.split_once("\nuse ").unwrap();
    assert!(readme.contains(&format!("```rust\nuse {program}```\n")));

    let (_broker, endpoint) = start();
    let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let options = CmdOptions { endpoints: vec![endpoint], ..CmdOptions::default() };
    let service = CmdService::new(name("ls-service"), vec!["ls".into()], options);
    tokio::select! {
        served = service.run(std::future::pending()) => panic!("{served:?}"),
        reply = in_time(request_example::list("/etc/hosts", port)) => {
            assert_eq!(reply.unwrap(), Frames::from("/etc/hosts\n"));
        }
    }
}

#[tokio::test]
async fn many_requests_over_one_client_find_their_answers() {
    // Rule: mdp §11.1 — one DEALER client has many requests in flight, each gets its own answer
    let (broker, endpoint) = start();
    let workers: Vec<Worker> = (0..3).map(|_| echo_worker(&endpoint)).collect();
    for version in [Version::V01, Version::V02] {
        let client = Client::builder().endpoint(&endpoint).version(version).connect().unwrap();
        assert_eq!(client.endpoint(), endpoint);
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..300 {
            let client = client.clone();
            requests.spawn(async move {
                let body = Frames::from([number.to_string()]);
                assert_eq!(client.send("echo", body.clone(), PATIENCE).await.unwrap(), body);
            });
        }
        assert_eq!(in_time(requests.join_all()).await.len(), 300);
    }
    assert_eq!(broker.counters().await.requests.completed, 600);
    drop(workers);
}

#[tokio::test]
async fn a_plain_client_waits_for_its_turn() {
    // Rule: mdp §11.1 — plain mode works with brokers that do not return stacks
    let (_broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let builder = Client::builder().endpoint(&endpoint).correlation(Correlation::Plain);
    let client = builder.connect().unwrap();
    let nobody = client.send("nobody", ["x"], Duration::from_millis(50));
    let echoes = client.send("echo", ["a"], PATIENCE);
    let (nobody, echo) = tokio::join!(nobody, echoes);
    assert!(matches!(nobody, Err(ClientError::Timeout)));
    assert_eq!(echo.unwrap(), Frames::from(["a"]));
}

#[test]
fn a_client_blocks_where_there_is_no_runtime() {
    let (_broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let reply = client.send_blocking("echo", ["a"], PATIENCE).unwrap();
    assert_eq!(reply.single().unwrap(), "a");
    let reply = client.send_blocking("mmi.service", ["echo"], PATIENCE).unwrap();
    assert_eq!(reply.single().unwrap(), "200");
    let refused = client.send_blocking("", ["a"], PATIENCE);
    assert!(matches!(refused, Err(ClientError::ServiceName(_))));
}

#[tokio::test]
async fn large_and_many_frames_arrive_whole() {
    let (broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let mut body: Frames = (0..500).map(|number| vec![b'x'; number % 40]).collect();
    body.push(vec![7; 3_000_000]);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    assert_eq!(client.send("echo", body.clone(), PATIENCE).await.unwrap(), body);
    assert_eq!(broker.request(&name("echo"), body.clone(), PATIENCE).await.unwrap(), body);
}

/// A worker that answers `n` with `n` parts and the word `end`.
fn counting_worker(endpoint: &str) -> Worker {
    Worker::builder(name("count"))
        .endpoint(endpoint)
        .dialect(Version::V02, buswire_mdp::wire::Shape::Bare)
        .streaming_handler(|request: Frames, responder: Responder| {
            let number = std::str::from_utf8(&request.get(0).unwrap()[..]).unwrap().parse();
            for part in 0..number.unwrap() {
                if responder.partial(part.to_string()).is_err() {
                    return;
                }
            }
            responder.reply("end").unwrap();
        })
        .start()
        .unwrap()
}

#[tokio::test]
async fn parts_come_as_a_stream() {
    // Rule: mdp §8.4 — a 0.2 client gets PARTIALs until FINAL
    let (_broker, endpoint) = start();
    let _worker = counting_worker(&endpoint);
    let client = Client::builder().endpoint(&endpoint).version(Version::V02).connect().unwrap();
    let mut stream = client.send_stream("count", "3", PATIENCE).unwrap();
    for number in ["0", "1", "2"] {
        let part = in_time(stream.part()).await.unwrap().unwrap();
        assert_eq!(part, ReplyPart::Partial(number.into()));
    }
    assert_eq!(stream.part().await.unwrap().unwrap(), ReplyPart::Final("end".into()));
    assert!(stream.part().await.is_none());
    let whole = client.send("count", "3", PATIENCE).await.unwrap();
    assert_eq!(whole, Frames::from(["0", "1", "2", "end"]));
    let nobody = client.send_stream("nobody", "", Duration::from_millis(50)).unwrap();
    let nobody: Vec<_> = futures::StreamExt::collect(nobody).await;
    assert!(matches!(nobody.as_slice(), [Err(ClientError::Timeout)]));
}

#[test]
fn parts_come_as_an_iterator() {
    let (_broker, endpoint) = start();
    let _worker = counting_worker(&endpoint);
    let client = Client::builder().endpoint(&endpoint).version(Version::V02).connect().unwrap();
    let parts = client.send_stream_blocking("count", "2", PATIENCE).unwrap();
    let parts: Vec<ReplyPart> = parts.map(Result::unwrap).collect();
    let [zero, one, end] = ["0", "1", "end"].map(Frames::from);
    assert_eq!(parts, [ReplyPart::Partial(zero), ReplyPart::Partial(one), ReplyPart::Final(end)]);
    // Rule: mdp §6.2 — a 0.1 client gets the parts of a 0.2 worker in one reply
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let parts = client.send_stream_blocking("count", "1", PATIENCE).unwrap();
    let parts: Vec<ReplyPart> = parts.map(Result::unwrap).collect();
    assert_eq!(parts, [ReplyPart::Final(["0", "end"].into())]);
}

#[tokio::test]
async fn a_slow_reader_gets_what_is_kept_and_then_an_error() {
    let (_broker, endpoint) = start();
    let _worker = counting_worker(&endpoint);
    let builder = Client::builder().endpoint(&endpoint).version(Version::V02);
    let client = builder.stream_parts_max(2).connect().unwrap();
    let stream = client.send_stream("count", "1000", PATIENCE).unwrap();
    // Answered after all parts have passed, so nobody read them meanwhile.
    in_time(client.send("count", "0", PATIENCE)).await.unwrap();
    let read: Vec<_> = futures::StreamExt::collect(stream).await;
    assert!(matches!(
        read.as_slice(),
        [Ok(ReplyPart::Partial(_)), Ok(ReplyPart::Partial(_)), Err(ClientError::SlowReader)]
    ));
    drop(client.send_stream("count", "1000", PATIENCE).unwrap());
    assert_eq!(client.send("count", "0", PATIENCE).await.unwrap(), Frames::from("end"));
}

#[tokio::test]
async fn a_frame_beyond_the_bound_is_not_taken_in() {
    // Rule: mdp §15.2 — MAXMSGSIZE bounds each frame; the connection that sends more is closed
    let (_broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let client = Client::builder().endpoint(&endpoint).frame_bytes_max(1000).connect().unwrap();
    let large = client.send("echo", vec![vec![0; 2000]], Duration::from_millis(500)).await;
    assert!(matches!(large, Err(ClientError::Timeout)));
    let small = client.send("echo", vec![vec![0; 1000]], PATIENCE).await.unwrap();
    assert_eq!(small.byte_len(), 1000);
}

#[tokio::test]
async fn a_retry_reaches_a_worker_that_came_late() {
    // Rule: mdp §8.4 — a request without answer is sent again as a new request
    let (broker, endpoint) = start();
    let retries = Retries { try_timeout: Duration::from_millis(50), ..Retries::from(1000) };
    let client = Client::builder().endpoint(&endpoint).retries(retries).connect().unwrap();
    let asking = client.send("echo", "a", PATIENCE);
    let helping = async {
        until(&broker, |services| services.iter().any(|info| info.queued > 1)).await;
        echo_worker(&endpoint)
    };
    let (reply, _worker) = in_time(async { tokio::join!(asking, helping) }).await;
    assert_eq!(reply.unwrap(), Frames::from("a"));
}

#[tokio::test]
async fn a_client_goes_on_with_the_next_broker() {
    // Rule: mdp §12.7 — a client holds several endpoints and moves on when one fails
    let (_broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let (gone, dead) = start();
    gone.shutdown(Duration::ZERO).await;
    let client = Client::builder()
        .endpoints([&dead, &endpoint])
        .broker_patience(Duration::from_millis(100))
        .retries(Retries { try_timeout: Duration::from_millis(50), ..Retries::from(1000) })
        .connect()
        .unwrap();
    assert_eq!(client.endpoint(), dead);
    assert_eq!(in_time(client.send("echo", "a", PATIENCE)).await.unwrap(), Frames::from("a"));
    assert_eq!(client.endpoint(), endpoint);
}

#[tokio::test]
async fn connecting_waits_if_asked_to() {
    // Rule: mdp §18 — connect resolves when the handshake succeeded, or lazily
    let (broker, endpoint) = start();
    broker.shutdown(Duration::ZERO).await;
    let builder = Client::builder().endpoint(&endpoint);
    assert!(builder.clone().connect().is_ok());
    let error = builder.clone().wait_for_connection(Duration::from_millis(50)).connect();
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), format!("no broker could be reached at {endpoint}"));

    let connecting = builder.clone().wait_for_connection(PATIENCE).connect_async();
    let starting = async {
        Broker::start(BrokerConfig { endpoints: vec![endpoint.clone()], ..config() }).unwrap()
    };
    let (client, _broker) = in_time(async { tokio::join!(connecting, starting) }).await;
    assert_eq!(client.unwrap().endpoint(), endpoint);
    // The first of several that is reached.
    let (_other, other) = start();
    let builder = Client::builder().endpoints(["tcp://127.0.0.1:1", &other]);
    let builder = builder.wait_for_connection(Duration::from_millis(500));
    assert_eq!(builder.connect_async().await.unwrap().endpoint(), other);
    let odd = Client::builder().endpoint("nonsense").connect().unwrap_err();
    assert_eq!(odd.to_string(), "cannot connect to nonsense");
}

#[tokio::test]
async fn disconnecting_ends_what_is_outstanding() {
    // Rule: mdp §18 — disconnect fails outstanding requests
    let (_broker, endpoint) = start();
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let other = client.clone();
    let mut stream = client.send_stream("nobody", "a", PATIENCE).unwrap();
    let waiting = client.send("nobody", "a", PATIENCE);
    let ending = async { other.disconnect() };
    let (waited, ()) = in_time(async { tokio::join!(waiting, ending) }).await;
    assert!(matches!(waited, Err(ClientError::Disconnected)));
    assert!(matches!(in_time(stream.part()).await, Some(Err(ClientError::Disconnected))));
    let ended = async {
        while !matches!(
            client.send("nobody", "a", Duration::from_millis(1)).await,
            Err(ClientError::Disconnected)
        ) {}
    };
    in_time(ended).await;
}

#[tokio::test]
async fn the_broker_says_whether_a_service_is_there() {
    // Rule: mdp §13.1 — mmi.service answers 200 or 404
    let (broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    until(&broker, |services| services.iter().any(|info| info.workers == 1)).await;
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    assert_eq!(client.mmi(&name("echo"), None).await.unwrap(), MmiStatus::Registered);
    let nobody = client.mmi(&name("nobody"), PATIENCE).await.unwrap();
    assert_eq!((nobody, nobody.code()), (MmiStatus::NotRegistered, 404));
    let blocking = tokio::task::spawn_blocking(move || client.mmi_blocking(&name("echo"), None));
    assert_eq!(blocking.await.unwrap().unwrap(), MmiStatus::Registered);
}
