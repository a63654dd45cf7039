//! The default store: a data directory that one process owns and that outlives it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock to know when"
)]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::{Gateway, buswire, output, stderr, stdout, wait_for};

const EMBEDDED: &str = "store.url=embedded:";

/// Tries to serve from `data_dir`, which must fail with one line.
fn refusal(data_dir: &str) -> String {
    let output = buswire(&["serve", "--set", "log.filter=off", "--set", "http.listen=127.0.0.1:0"])
        .args(["--set", &format!("data_dir={data_dir}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("buswire: ") && text.lines().count() == 1, "{text}");
    text
}

#[test]
fn a_data_directory_is_used_again() {
    let gateway = Gateway::start(&[EMBEDDED, r#"buses=[{name = "a"}]"#]);
    let copy = tempfile::tempdir().unwrap();
    let data_dir = gateway.data_dir();
    let token = fs::read_to_string(data_dir.join("admin.token")).unwrap();
    gateway.signal("TERM");
    let (status, log, directory) = gateway.ended_keeping_files();
    assert_eq!(status.code(), Some(0), "{log}");
    for file in fs::read_dir(&data_dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    drop(directory);
    let again = Gateway::start(&[EMBEDDED, &format!("data_dir={}", copy.path().display())]);
    assert_eq!(fs::read_to_string(copy.path().join("admin.token")).unwrap(), token);
    assert!(again.get("ops", "/readyz").contains("200 OK"));
    let log = again.terminate();
    assert!(log.contains("store=\"embedded\""), "{log}");
}

#[test]
fn a_data_directory_has_one_process() {
    let gateway = Gateway::start(&[EMBEDDED]);
    let text = refusal(gateway.data_dir().to_str().unwrap());
    assert!(text.contains("is in use by another process"), "{text}");
    assert!(gateway.get("ops", "/readyz").contains("200 OK"));
    gateway.terminate();
}

#[test]
fn a_killed_process_leaves_its_directory_usable() {
    let gateway = Gateway::start(&[EMBEDDED]);
    gateway.signal("KILL");
    let data_dir = gateway.data_dir();
    let (_, _, directory) = gateway.ended_keeping_files();
    let again = Gateway::start(&[EMBEDDED, &format!("data_dir={}", data_dir.display())]);
    again.terminate();
    drop(directory);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buswire.redb");
    fs::write(&file, "something else").unwrap();
    let text = refusal(directory.path().to_str().unwrap());
    assert!(text.contains("buswire.redb"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
}

/// What a gateway needs here: a bus and the token of the commands.
const BUS: [&str; 3] =
    [EMBEDDED, "admin.token=t", r#"buses=[{name = "a", max_messages = 100000}]"#];

/// Publishes a number as a message.
fn publish(gateway: &Gateway, number: u32) -> Result<(), String> {
    let number = number.to_string();
    let message = ["message", "publish", "--bus", "a", "--channel", "c", "--type", "t"];
    let output = gateway.administer(&[&message[..], &["--payload", &number]].concat());
    if output.status.success() { Ok(()) } else { Err(stderr(&output)) }
}

/// The numbers that were published.
fn published(gateway: &Gateway) -> BTreeSet<u32> {
    let output = gateway.administer(&["message", "read", "--scope", "bus:a"]);
    let number = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        u32::try_from(message["payload"].as_u64().unwrap()).unwrap()
    };
    stdout(&output).lines().map(number).collect()
}

#[test]
fn a_full_disk_stops_writes_alone_and_until_there_is_room() {
    let disk = tempfile::tempdir().unwrap();
    let mut command = Command::new("/usr/bin/unshare");
    // A disk of its own, in a name space that ends with the gateway.
    let script = r#"mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@""#;
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(disk.path());
    command.args([env!("CARGO_BIN_EXE_buswire"), "serve"]);
    let data_dir = format!("data_dir={}", disk.path().display());
    let gateway = Gateway::start_as(command, &[&BUS[..], &[&data_dir]].concat(), &[]);
    publish(&gateway, 1).unwrap();
    let root = format!("/proc/{}/root{}", gateway.pid(), disk.path().display());
    let ballast = format!("{root}/ballast");
    fs::write(&ballast, vec![1; 40 << 20]).unwrap();
    let refusal = publish(&gateway, 2).unwrap_err();
    assert!(refusal.contains("the store is unavailable: the disk is full: "), "{refusal}");
    assert_eq!(published(&gateway), BTreeSet::from([1]), "reads go on");
    assert!(gateway.get("ops", "/readyz").contains("200 OK"));
    fs::remove_file(&ballast).unwrap();
    publish(&gateway, 3).unwrap();
    assert_eq!(published(&gateway), BTreeSet::from([1, 3]));
    let log = gateway.terminate();
    assert!(log.contains("the disk is full") && log.contains("has room again"), "{log}");
}

#[test]
fn a_backup_under_load_is_restored_after_kill_9() {
    let gateway = Gateway::start(&BUS);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (accepted, enough) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    let before = thread::scope(|scope| {
        for writer in 0..2 {
            let (gateway, accepted, enough) = (&gateway, &accepted, &enough);
            scope.spawn(move || {
                for number in (writer..).step_by(2).take_while(|_| !enough.load(Ordering::Relaxed))
                {
                    publish(gateway, number).unwrap();
                    accepted.lock().unwrap().insert(number);
                }
            });
        }
        wait_for("some messages", || (accepted.lock().unwrap().len() >= 20).then_some(()));
        let before = accepted.lock().unwrap().clone();
        let backup = gateway.administer(&["store", "backup", "--to", &path("backup")]);
        enough.store(true, Ordering::Relaxed);
        assert!(backup.status.success(), "{}", stderr(&backup));
        before
    });
    gateway.signal("KILL");
    let (_status, _log, kept) = gateway.ended_keeping_files();
    assert!(!kept.path().join("data/backup.new").exists(), "nothing is left beside the store");
    let restore = ["store", "restore", "--from", &path("backup"), "--to", &path("restored")];
    let restored = output(&restore);
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert!(stderr(&output(&restore)).contains("there is a store in "), "never over one");
    let data_dir = format!("data_dir={}", path("restored"));
    let keys = ("BUSWIRE_BELAY__KEYS_FILE", kept.path().join("data/belay.keys"));
    let keys = (keys.0, keys.1.to_str().unwrap());
    let again = Gateway::start_with(&[&BUS[..], &[&data_dir]].concat(), &[keys]);
    let found = published(&again);
    assert!(found.is_superset(&before), "{before:?} in {found:?}");
    publish(&again, u32::MAX).unwrap();
    again.terminate();
}
