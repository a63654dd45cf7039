//! A slow way to a server: everything arrives, in order, and late.
//!
//! Never here: losing anything.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Pieces of a connection that are on the way.
const UNDER_WAY: usize = 4096;

/// A way to a server on 127.0.0.1.
#[derive(Debug)]
pub(crate) struct SlowWay {
    pub(crate) port: u16,
    /// How late everything arrives, in milliseconds, give or take a half.
    late: Arc<AtomicU64>,
}

impl SlowWay {
    /// A way that is not slow yet.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, late) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let delay = Arc::clone(&late);
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                from.set_nodelay(true).unwrap();
                to.set_nodelay(true).unwrap();
                carry(from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&delay));
                carry(to, from, Arc::clone(&delay));
            }
        });
        Self { port: own, late }
    }

    /// From now on everything arrives so late, give or take a half.
    pub(crate) fn delay(&self, late: Duration) {
        self.late.store(u64::try_from(late.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, to: TcpStream, late: Arc<AtomicU64>) {
    let (send, receive) = sync_channel(UNDER_WAY);
    thread::spawn(move || {
        let (mut bytes, mut turn) = (vec![0; 65_536], 1_u64);
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            turn = turn
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let late = late.load(Ordering::Relaxed);
            let late = late / 2 + if late == 0 { 0 } else { (turn >> 33) % late };
            let due = Instant::now() + Duration::from_millis(late);
            if send.send((due, bytes[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || deliver(&receive, to));
}

fn deliver(receive: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((due, bytes)) = receive.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other end may be gone already.
    to.shutdown(Shutdown::Both).unwrap_or_default();
}
