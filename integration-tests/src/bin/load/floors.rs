//! The floors: the least programs that could do the same work on the same path.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write as _,
    sync::{Arc, Mutex},
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{mpsc, oneshot, watch},
};

use crate::http::Connection;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // As many may wait to be accepted as with the gateway: a connection beyond it tries again after a
    // second, which would measure that.
    let listener = socket.listen(4096).unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

const DONE: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

/// Something to be written, and who waits for it.
pub(crate) type Write = (Vec<u8>, oneshot::Sender<()>);

/// A file to which whatever waits is appended; one `fdatasync` covers it, then all are told.
pub(crate) fn disk(file: &str) -> mpsc::Sender<Write> {
    let mut file = File::create(file).unwrap();
    let (queue, mut waiting) = mpsc::channel::<Write>(4096);
    std::thread::spawn(move || {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while let Ok(next) = waiting.try_recv() {
                batch.push(next);
            }
            let bytes: Vec<u8> = batch.iter().flat_map(|(body, _)| body.iter().copied()).collect();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            for (_, done) in batch {
                done.send(()).unwrap_or_default();
            }
        }
    });
    queue
}

/// Takes posts, appends their bodies to a file, and answers after the `fdatasync` that covers them.
pub(crate) fn posts(file: &str) {
    let queue = disk(file);
    runtime().block_on(async {
        let listener = listener();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut connection = Connection::over(stream);
                while let Some(request) = connection.receive().await {
                    let (done, stored) = oneshot::channel();
                    queue.send((request.body, done)).await.unwrap();
                    stored.await.unwrap();
                    connection.send(DONE).await;
                }
            });
        }
    });
}

/// Holds every GET until the next POST, and answers each with the body of that.
pub(crate) fn poll() {
    runtime().block_on(async {
        let listener = listener();
        let (publish, published) = watch::channel(Arc::new(Vec::new()));
        let publish = Arc::new(Mutex::new(publish));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (publish, mut published) = (Arc::clone(&publish), published.clone());
            tokio::spawn(async move {
                let mut connection = Connection::over(stream);
                while let Some(request) = connection.receive().await {
                    if request.head.starts_with("POST") {
                        let body = String::from_utf8(request.body).unwrap();
                        let length = body.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                        publish.lock().unwrap().send(Arc::new(answer.into_bytes())).unwrap();
                        connection.send(DONE).await;
                    } else {
                        published.changed().await.unwrap();
                        let answer = Arc::clone(&published.borrow_and_update());
                        connection.send(&answer).await;
                    }
                }
            });
        }
    });
}

/// Answers every request with what a read that finds nothing is answered with.
pub(crate) fn reads() {
    let body = r#"{"nextURL":"http://127.0.0.1:8080/v2/messages?since=0","messages":[],"moreMessages":false}"#;
    let length = body.len();
    always(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes());
}

/// Answers every request with a body of `length` bytes.
pub(crate) fn answer(length: &str) {
    let body = "x".repeat(length.parse().unwrap());
    always(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes());
}

/// Answers every request as a post is answered, and stores nothing.
pub(crate) fn done() {
    always(DONE);
}

fn always(answer: &[u8]) {
    let answer: Arc<[u8]> = answer.into();
    runtime().block_on(async {
        let listener = listener();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut connection = Connection::over(stream);
                while connection.receive().await.is_some() {
                    connection.send(&answer).await;
                }
            });
        }
    });
}

/// A plain proxy: clients on a ROUTER, workers on a DEALER.
pub(crate) fn mdp() {
    let context = zmq::Context::new();
    let [front, back] = [zmq::ROUTER, zmq::DEALER].map(|kind| context.socket(kind).unwrap());
    for socket in [&front, &back] {
        socket.set_sndhwm(0).unwrap();
        socket.set_rcvhwm(0).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
    }
    let endpoint = |socket: &zmq::Socket| socket.get_last_endpoint().unwrap().unwrap();
    println!("{} {}", endpoint(&front), endpoint(&back));
    zmq::proxy(&front, &back).unwrap();
}

/// Hands each request to a worker that waits, one at a time for each worker as MDP wants it, and
/// does nothing else: no names, no heartbeats, no timeouts.
pub(crate) fn turns() {
    let context = zmq::Context::new();
    let [front, back] = [zmq::ROUTER, zmq::ROUTER].map(|kind| context.socket(kind).unwrap());
    for socket in [&front, &back] {
        socket.set_sndhwm(0).unwrap();
        socket.set_rcvhwm(0).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
    }
    let endpoint = |socket: &zmq::Socket| socket.get_last_endpoint().unwrap().unwrap();
    println!("{} {}", endpoint(&front), endpoint(&back));
    let mut idle = VecDeque::new();
    loop {
        let mut items = [back.as_poll_item(zmq::POLLIN), front.as_poll_item(zmq::POLLIN)];
        let watched = if idle.is_empty() { 1 } else { 2 };
        zmq::poll(&mut items[..watched], -1).unwrap();
        while let Ok(mut frames) = back.recv_multipart(zmq::DONTWAIT) {
            idle.push_back(frames.remove(0));
            // The first message of a worker only says that it waits.
            if frames.len() > 1 {
                front.send_multipart(frames, 0).unwrap();
            }
        }
        while !idle.is_empty()
            && let Ok(request) = front.recv_multipart(zmq::DONTWAIT)
        {
            let worker = idle.pop_front().unwrap();
            back.send_multipart(std::iter::once(worker).chain(request), 0).unwrap();
        }
    }
}
