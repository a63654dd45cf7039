//! The faults: what each does, and what is promised of it.
//!
//! Never here: checking the promise.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use buswire_integration_tests::signal;

use crate::{
    Plan,
    load::Load,
    network::{self, Way},
    world::{Kind, World, address},
};

/// How long a server may take to be made master.
const FAILOVER: Duration = Duration::from_secs(40);
/// How long the last writes are that a loss of power takes, and that a replica is behind.
const BEHIND: Duration = Duration::from_millis(1200);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    GatewayKilled,
    GatewaysKilled,
    GatewayPaused,
    GatewayCut,
    AnswersCut,
    RedisSlow,
    RedisKilled,
    RedisKilledEverysec,
    RedisPaused,
    RedisFull,
    EverythingKilled,
    PowerLost,
    PowerLostEverywhere,
    RedisEmptied,
    RedisWithoutAof,
    Failover,
    FailoverBehind,
    SecondFailover,
    ClockAhead,
    ClockBehind,
    DiskFull,
}

/// What is promised of acknowledged messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All there, once, in order.
    Kept,
    /// All there. What a server lost was written again: it may have another place, and then routes may
    /// have taken it twice.
    WrittenAgain,
    /// Some may be gone, and readers are told.
    Told,
}

impl Fault {
    pub(crate) const ALL: [Self; 21] = [
        Self::GatewayKilled,
        Self::GatewaysKilled,
        Self::GatewayPaused,
        Self::GatewayCut,
        Self::AnswersCut,
        Self::RedisSlow,
        Self::RedisKilled,
        Self::RedisKilledEverysec,
        Self::RedisPaused,
        Self::RedisFull,
        Self::EverythingKilled,
        Self::PowerLost,
        Self::PowerLostEverywhere,
        Self::RedisEmptied,
        Self::RedisWithoutAof,
        Self::Failover,
        Self::FailoverBehind,
        Self::SecondFailover,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::DiskFull,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::GatewayKilled => "gateway-killed",
            Self::GatewaysKilled => "gateways-killed",
            Self::GatewayPaused => "gateway-paused",
            Self::GatewayCut => "gateway-cut",
            Self::AnswersCut => "answers-cut",
            Self::RedisSlow => "redis-slow",
            Self::RedisKilled => "redis-killed",
            Self::RedisKilledEverysec => "redis-killed-everysec",
            Self::RedisPaused => "redis-paused",
            Self::RedisFull => "redis-full",
            Self::EverythingKilled => "everything-killed",
            Self::PowerLost => "power-lost",
            Self::PowerLostEverywhere => "power-lost-everywhere",
            Self::RedisEmptied => "redis-emptied",
            Self::RedisWithoutAof => "redis-without-aof",
            Self::Failover => "failover",
            Self::FailoverBehind => "failover-behind",
            Self::SecondFailover => "second-failover",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBehind => "clock-behind",
            Self::DiskFull => "disk-full",
        }
    }

    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::GatewayKilled => "kill -9 of one gateway of two, started again",
            Self::GatewaysKilled => "kill -9 of both gateways at once",
            Self::GatewayPaused => "one gateway stopped by SIGSTOP, then SIGCONT",
            Self::GatewayCut => "packets between one gateway and Redis dropped",
            Self::AnswersCut => "requests of one gateway arrive at Redis, answers are dropped",
            Self::RedisSlow => "Redis 500 ms away, give or take 250 ms",
            Self::RedisKilled => "kill -9 of Redis with appendfsync always",
            Self::RedisKilledEverysec => "kill -9 of Redis with appendfsync everysec",
            Self::RedisPaused => "Redis stopped by SIGSTOP, then SIGCONT",
            Self::RedisFull => "maxmemory of Redis reached, then raised",
            Self::EverythingKilled => "kill -9 of Redis and both gateways at once",
            Self::PowerLost => "everysec: Redis killed, the last second gone from its file",
            Self::PowerLostEverywhere => "the same, and both gateways killed at once",
            Self::RedisEmptied => "Redis killed, started with nothing",
            Self::RedisWithoutAof => {
                "Redis killed, started without its append-only file, then with it"
            }
            Self::Failover => "the master cut from both replicas and the sentinel; another is made",
            Self::FailoverBehind => "the master killed while its replica was behind",
            Self::SecondFailover => "the next master killed too, the third was behind all along",
            Self::ClockAhead => "one gateway with a clock an hour ahead",
            Self::ClockBehind => "one gateway with a clock an hour behind",
            Self::DiskFull => "embedded store: the disk full, then room again",
        }
    }

    /// What the state is kept by.
    pub(crate) const fn store(self) -> Kind {
        match self {
            Self::RedisKilledEverysec | Self::PowerLost | Self::PowerLostEverywhere => {
                Kind::One("everysec")
            }
            Self::RedisSlow => Kind::Slow,
            Self::Failover => Kind::Sentinel(2, "1"),
            Self::FailoverBehind => Kind::Sentinel(1, "0"),
            Self::SecondFailover => Kind::Sentinel(2, "0"),
            Self::DiskFull => Kind::Embedded,
            _ => Kind::One("always"),
        }
    }

    pub(crate) const fn promise(self) -> Promise {
        match self {
            Self::PowerLostEverywhere => Promise::Told,
            Self::PowerLost
            | Self::RedisEmptied
            | Self::Failover
            | Self::FailoverBehind
            | Self::SecondFailover => Promise::WrittenAgain,
            _ => Promise::Kept,
        }
    }

    /// Injects it and heals it.
    pub(crate) fn inject(self, world: &mut World, load: &Load, plan: Plan) {
        match self {
            Self::GatewayKilled => kill(world, &[0], &[], plan),
            Self::GatewaysKilled => kill(world, &[0, 1], &[], plan),
            Self::EverythingKilled => kill(world, &[0, 1], &[0], plan),
            Self::RedisKilled | Self::RedisKilledEverysec => kill(world, &[], &[0], plan),
            Self::GatewayPaused => pause(world.gateways[0].pid(), plan.pause),
            Self::RedisPaused => pause(world.servers[0].pid(), plan.pause),
            Self::GatewayCut => cut(Way::Both, plan.cut),
            Self::AnswersCut => cut(Way::Back, plan.cut),
            Self::RedisSlow => {
                let slow = world.slow.as_ref().expect("the way can be slow");
                slow.delay(Duration::from_millis(500));
                thread::sleep(plan.cut);
                slow.delay(Duration::ZERO);
            }
            Self::RedisFull => fill_memory(world, plan.cut),
            Self::PowerLost => lose_power(world, &[]),
            Self::PowerLostEverywhere => lose_power(world, &[0, 1]),
            Self::RedisEmptied => {
                world.servers[0].kill();
                world.servers[0].empty();
                world.servers[0].restart();
            }
            Self::RedisWithoutAof => start_without_aof(world, plan.cut),
            Self::Failover => fail_over(world, plan.cut / 3),
            Self::FailoverBehind => fail_over_behind(world, plan.cut / 3),
            Self::SecondFailover => fail_over_twice(world, load, plan.cut / 3),
            Self::ClockAhead => move_clock(world, "+1h", plan.cut),
            Self::ClockBehind => move_clock(world, "-1h", plan.cut),
            Self::DiskFull => fill_disk(world, plan.cut / 3),
        }
    }
}

fn kill(world: &mut World, gateways: &[usize], servers: &[usize], plan: Plan) {
    for server in servers {
        world.servers[*server].kill();
    }
    for gateway in gateways {
        world.gateways[*gateway].kill();
    }
    thread::sleep(plan.cut / 4);
    for server in servers {
        world.servers[*server].restart();
    }
    for gateway in gateways {
        world.gateways[*gateway].start();
    }
    world.tell();
}

fn pause(pid: u32, time: Duration) {
    signal(pid, "STOP");
    thread::sleep(time);
    signal(pid, "CONT");
}

fn cut(way: Way, time: Duration) {
    network::cut(&address(0), way);
    thread::sleep(time);
    network::heal();
}

fn fill_memory(world: &World, time: Duration) {
    let server = &world.servers[0];
    let info = server.cli(&["info", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    server.cli(&["config", "set", "maxmemory", used.trim()]);
    thread::sleep(time);
    server.cli(&["config", "set", "maxmemory", "0"]);
}

fn lose_power(world: &mut World, gateways: &[usize]) {
    let kept = world.servers[0].log_bytes();
    thread::sleep(BEHIND);
    world.servers[0].kill();
    for gateway in gateways {
        world.gateways[*gateway].kill();
    }
    world.servers[0].cut_log(kept);
    world.servers[0].restart();
    for gateway in gateways {
        world.gateways[*gateway].start();
    }
    world.tell();
}

fn start_without_aof(world: &mut World, time: Duration) {
    let server = &mut world.servers[0];
    let (first, second) = (address(0), address(1));
    let bind = ["--bind", "127.0.0.1", &first, &second, "--appendfsync", "always"];
    server.kill();
    server.set_options(&[&bind[..], &["--appendonly", "no"]].concat());
    server.restart();
    thread::sleep(time);
    server.kill();
    server.set_options(&bind);
    server.restart();
}

fn until_master(world: &World, index: usize) {
    let start = Instant::now();
    while !world.servers[index].is_master() {
        assert!(start.elapsed() < FAILOVER, "the sentinel makes server {index} master in time");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Cuts the master off; gateways still reach it.
fn fail_over(world: &World, time: Duration) {
    for other in ["127.0.2.2", "127.0.2.3", "127.0.3.1"] {
        network::part("127.0.2.1", other);
    }
    let start = Instant::now();
    while !world.servers.iter().skip(1).any(buswire_testkit::RedisServer::is_master) {
        assert!(start.elapsed() < FAILOVER, "the sentinel makes another one master in time");
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(time);
    network::heal();
    until_replica(world, 0);
}

fn until_replica(world: &World, index: usize) {
    let start = Instant::now();
    while !world.servers[index].is_in_step() {
        assert!(start.elapsed() < FAILOVER, "server {index} follows the master in time");
        thread::sleep(Duration::from_millis(50));
    }
}

fn fail_over_behind(world: &mut World, time: Duration) {
    network::part("127.0.2.1", "127.0.2.2");
    thread::sleep(BEHIND);
    world.servers[0].kill();
    until_master(world, 1);
    thread::sleep(time);
    network::heal();
    world.servers[0].restart();
    until_replica(world, 0);
}

fn fail_over_twice(world: &mut World, load: &Load, time: Duration) {
    network::part("127.0.2.3", "127.0.2.1");
    network::part("127.0.2.3", "127.0.2.2");
    thread::sleep(BEHIND);
    world.servers[0].kill();
    until_master(world, 1);
    Load::until("posts go on at the second master", FAILOVER, || {
        load.is_accepted_everywhere_within(Duration::from_secs(1))
    });
    world.servers[1].kill();
    network::heal();
    until_master(world, 2);
    thread::sleep(time);
    for index in [0, 1] {
        world.servers[index].restart();
        until_replica(world, index);
    }
}

fn move_clock(world: &mut World, by: &str, time: Duration) {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let library = folders.map(|folder| format!("/usr/lib/{folder}/faketime/libfaketime.so.1"));
    let library = library.iter().find(|path| fs::exists(path).unwrap());
    let library = library.expect("apt-get install libfaketime");
    let gateway = &mut world.gateways[1];
    gateway.kill();
    for (name, value) in
        [("LD_PRELOAD", library.as_str()), ("FAKETIME", by), ("DONT_FAKE_MONOTONIC", "1")]
    {
        gateway.set_environment(name, value);
    }
    gateway.start();
    world.tell();
    thread::sleep(time);
    let gateway = &mut world.gateways[1];
    gateway.kill();
    gateway.set_environment("LD_PRELOAD", "");
    gateway.start();
    world.tell();
}

fn fill_disk(world: &World, time: Duration) {
    let ballast = world.disk.as_ref().expect("there is a disk").path().join("ballast");
    fs::write(&ballast, vec![1; 48 << 20]).unwrap();
    thread::sleep(time);
    fs::remove_file(&ballast).unwrap();
}
