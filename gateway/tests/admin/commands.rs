//! The admin commands about buses and messages, how they find the gateway and how they fail.

use std::process::ExitCode;

use buswire::cli::admin::AdminCommand;
use clap::{CommandFactory as _, Parser};

use crate::support::{Server, TOKEN, soon};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// As the program has it: the admin commands beside its own.
#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Admin(AdminCommand),
}

fn parse(args: &[&str]) -> Result<AdminCommand, clap::Error> {
    let Command::Admin(command) =
        Cli::try_parse_from(std::iter::once("buswire").chain(args.iter().copied()))?.command;
    Ok(command)
}

/// What a command wrote: to the output if it is done, to the errors if it failed.
pub(crate) async fn execute(args: &[&str]) -> Result<String, String> {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = soon(parse(args).unwrap().execute(&mut out, &mut errors)).await;
    let (out, errors) = (String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap());
    if code == ExitCode::SUCCESS {
        assert_eq!(errors, "");
        Ok(out)
    } else {
        assert_eq!(code, ExitCode::from(1));
        Err(errors)
    }
}

/// What a command wrote to the output, and how it ended.
pub(crate) async fn told(args: &[&str]) -> (String, ExitCode) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = soon(parse(args).unwrap().execute(&mut out, &mut errors)).await;
    (String::from_utf8(out).unwrap(), code)
}

/// Runs a command against `server` with its token.
pub(crate) async fn run(server: &Server, args: &[&str]) -> Result<String, String> {
    let url = server.url();
    execute(&[args, &["--admin", &url, "--token", TOKEN]].concat()).await
}

#[tokio::test]
async fn a_bus_is_created_shown_changed_and_deleted() {
    let server = Server::start().await;
    assert_eq!(
        run(&server, &["bus", "create", "example.com", "--retention", "20m"]).await.unwrap(),
        "bus example.com created\n"
    );
    assert_eq!(
        run(&server, &["bus", "create", "example.com"]).await.unwrap(),
        "bus example.com existed already, unchanged\n"
    );
    run(&server, &["bus", "create", "v1/a", "--max-messages", "7"]).await.unwrap();
    assert_eq!(
        run(&server, &["bus", "list"]).await.unwrap(),
        "NAME         RETENTION  STICKY RETENTION  MAX MESSAGES  MESSAGES  CHANNELS  CREATED AT\n\
         v1/a         10m        8h                7             0         0         2024-03-09T14:05:21.000Z\n\
         example.com  20m        8h                100           0         0         2024-03-09T14:05:21.000Z\n"
    );
    assert_eq!(
        run(&server, &["bus", "show", "example.com", "--output", "json"]).await.unwrap(),
        concat!(
            r#"{"name":"example.com","retention":"20m","sticky_retention":"8h","#,
            r#""max_messages":100,"messages":0,"channels":0,"#,
            r#""created_at":"2024-03-09T14:05:21.000Z"}"#,
            "\n"
        )
    );
    let changed = run(&server, &["bus", "update", "v1/a", "--sticky-retention", "1d"]).await;
    assert!(changed.unwrap().contains("sticky retention  1d\n"));
    assert_eq!(
        run(&server, &["bus", "delete", "v1/a", "--output", "json"]).await.unwrap(),
        "{\"deleted\":\"v1/a\"}\n"
    );
    assert_eq!(
        run(&server, &["bus", "delete", "v1/a"]).await.unwrap_err(),
        "buswire: there is no bus v1/a; `buswire bus list` shows those there are\n"
    );
    assert_eq!(
        run(&server, &["bus", "show", "v1/a"]).await.unwrap_err(),
        "buswire: there is no bus v1/a; `buswire bus list` shows those there are\n"
    );
}

const PUBLISH: [&str; 8] = ["message", "publish", "--bus", "a", "--channel", "c", "--type", "t"];

#[tokio::test]
async fn a_message_is_published_and_read() {
    let server = Server::start().await;
    run(&server, &["bus", "create", "a"]).await.unwrap();
    let args = [&PUBLISH[..], &["--source", "https://s.example/", "--payload", "{\"n\":1.0}"]];
    let id = run(&server, &args.concat()).await.unwrap();
    let id = id.strip_suffix('\n').unwrap();
    assert!(id.parse::<buswire_message::MessageId>().is_ok(), "{id}: the id alone");
    let line = format!(
        "{{\"id\":\"{id}\",\"bus\":\"a\",\"channel\":\"c\",\"type\":\"t\",\
         \"source\":\"https://s.example/\",\"sticky\":false,\
         \"expires_at\":\"2024-03-09T14:15:21.000Z\",\"payload\":{{\"n\":1.0}}}}\n"
    );
    let tail = ["message", "tail", "--scope", "bus:a", "--count", "1"];
    assert_eq!(run(&server, &tail).await.unwrap(), line);
    assert_eq!(run(&server, &["message", "read", "--scope", "bus:a"]).await.unwrap(), line);
    let after = ["message", "read", "--scope", "bus:a", "--since", id];
    assert_eq!(run(&server, &after).await.unwrap(), "");

    let args = [&PUBLISH[..], &["--payload", "-1", "--sticky", "--output", "json"]].concat();
    let second = run(&server, &args).await.unwrap();
    assert!(second.starts_with("{\"id\":\"2024-03-09T"), "{second}");
    let tail = ["message", "tail", "--scope", "bus:a", "--since", id, "--count", "1"];
    let line = run(&server, &tail).await.unwrap();
    assert!(line.contains("\"source\":\"https://gateway.example/\",\"sticky\":true"), "{line}");
    assert!(line.ends_with("\"payload\":-1}\n"), "{line}");
}

#[tokio::test]
async fn tail_waits_for_what_comes() {
    let server = Server::start().await;
    run(&server, &["bus", "create", "a"]).await.unwrap();
    let tail = ["message", "tail", "--scope", "bus:a channel:c", "--count", "2"];
    let publish = async {
        for payload in ["1", "2"] {
            run(&server, &[&PUBLISH[..], &["--payload", payload]].concat()).await.unwrap();
        }
    };
    let (lines, ()) = tokio::join!(run(&server, &tail), publish);
    assert_eq!(lines.unwrap().lines().count(), 2);
}

#[tokio::test]
async fn what_the_gateway_refuses_is_one_line() {
    let server = Server::start().await;
    let refused = run(&server, &[&PUBLISH[..], &["--payload", "{"]].concat()).await.unwrap_err();
    assert_eq!(refused, "buswire: payload: the payload is not JSON\n");
    let refused = run(&server, &[&PUBLISH[..], &["--payload", "1"]].concat()).await.unwrap_err();
    assert_eq!(
        refused,
        "buswire: there is no such bus; `buswire bus list` shows those there are\n"
    );
    let refused = run(&server, &["message", "tail", "--scope", "type:t"]).await.unwrap_err();
    assert!(refused.starts_with("buswire: scope: name at least one bus"), "{refused}");
}

#[tokio::test]
async fn a_wrong_token_says_what_to_do() {
    let server = Server::start().await;
    let url = server.url();
    let refused = execute(&["bus", "list", "--admin", &url, "--token", "x"]).await.unwrap_err();
    assert!(
        refused.starts_with("buswire: the gateway says: the admin token is wrong."),
        "{refused}"
    );
    assert!(refused.contains("--token-file") && refused.lines().count() == 1, "{refused}");
    // Made ones are base64url, which may begin with a hyphen.
    let refused = execute(&["bus", "list", "--admin", &url, "--token", "-Dx"]).await.unwrap_err();
    assert!(refused.contains("the admin token is wrong"), "{refused}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admin.token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let file = file.to_str().unwrap();
    let done = execute(&["bus", "list", "--admin", &url, "--token-file", file]).await.unwrap();
    assert_eq!(done.lines().count(), 1);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_named() {
    let server = Server::start().await;
    let url = server.url();
    server.stop().await;
    let failed = execute(&["status", "--admin", &url, "--token", "x"]).await.unwrap_err();
    let start = format!("buswire: can't reach the gateway at {url}: transport error: ");
    assert!(failed.starts_with(&start), "{failed}");
    assert_eq!(failed.lines().count(), 1, "{failed}");
    let failed = execute(&["status", "--admin", "ftp://x", "--token", "x"]).await.unwrap_err();
    assert!(failed.starts_with("buswire: --admin: ftp://x is not a URL"), "{failed}");
}

#[test]
fn options_may_be_anywhere_after_the_first_command() {
    for args in [
        ["bus", "list", "--admin", "http://x:1", "--token", "t", "--output", "json"],
        ["bus", "--admin", "http://x:1", "--token", "t", "--output", "json", "list"],
    ] {
        let command = format!("{:?}", parse(&args).unwrap());
        assert!(command.contains("http://x:1") && command.contains("Json"), "{command}");
    }
}

#[test]
fn the_commands_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn bad_usage_is_told_from_failure() {
    for args in [
        &["bus"][..],
        &["bus", "create"],
        &["bus", "create", "a", "--retention", "10"],
        &["bus", "list", "--output", "xml"],
        &["message", "publish", "--bus", "a"],
        &["message", "tail", "--scope", "bus:a", "--count", "0"],
        &["push", "notify", "x", "--version", "0"],
        &["push", "notify"],
        &["push", "notify", "x", "--agent", "a", "--channel", "c"],
        &["push", "notify", "--agent", "a"],
        &["push", "inbound", "create", "--bus", "b"],
        &["owner", "create", "o"],
        &["owner", "create", "o", "--password", "p", "--password-file", "f"],
        &["user", "permit", "u", "b", "EVERYTHING"],
        &["grant", "create", "c"],
    ] {
        let error = parse(args).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{args:?}");
    }
}

#[test]
fn secrets_of_commands_do_not_print() {
    for args in [
        &["bus", "list", "--token", "hunter2"][..],
        &["push", "notify", "hunter2"],
        &["owner", "create", "o", "--password", "hunter2"],
        &["client", "create", "--source-url", "https://a.example/", "--secret", "hunter2"],
        &["cap", "grant", "k", "--target", "hunter2"],
        &["route", "create", "r", "--scope", "bus:a", "--sink", "cap:hunter2"],
        &[
            "message",
            "publish",
            "--bus",
            "a",
            "--channel",
            "c",
            "--type",
            "t",
            "--payload",
            "hunter2",
        ],
    ] {
        let command = format!("{:?}", parse(args).unwrap());
        assert!(!command.contains("hunter2"), "{command}");
    }
}
