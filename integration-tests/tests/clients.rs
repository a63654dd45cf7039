//! The Python and Node libraries: their own tests, at the level of bytes and with the built broker, and
//! their command lines together; and the Python client of the gRPC interface that its README shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, process::Command};

use buswire_integration_tests::{Broker, Gateway, Peer, binary, node_client, python_client, root};

/// Runs a program that must succeed, and shows what it said if it does not.
fn succeed(command: &mut Command) -> String {
    let output = command.env("BUSWIRE_BIN", binary()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{command:?} failed:\n{stdout}\n{stderr}");
    stdout
}

/// Runs a file of `clients/python/tests`.
fn python_tests(module: &str) {
    let folder = root().join("clients/python/tests");
    succeed(python_client().current_dir(folder).args(["-m", "unittest", module]));
}

/// Runs a file of `clients/js/test`.
fn node_tests(name: &str) {
    succeed(node_client().args(["--test", &format!("test/{name}.test.js")]));
}

#[test]
fn the_python_frames_are_those_of_the_reference() {
    // Rule: mdp §4 — the Python library sends and reads the frames of MDP/0.1
    // Rule: mdp §5.1 — the Python library sends and reads the client's frames of MDP/0.2
    // Rule: mdp §8.3 — a Python service ignores what is no message and echoes whole address stacks
    // Rule: mdp §8.6 — a Python service doubles its waits up to 32 s and heartbeats while busy
    // Rule: mdp §9.6 — BackboneClientMessage of Python serializes and parses as documented
    python_tests("test_protocol");
}

#[test]
fn the_python_clients_match_answers_and_requests() {
    // Rule: mdp §8.4 — a Python client discards what is no answer and stays usable after a timeout
    // Rule: mdp §9.6 — BackboneClient of Python has one request in flight, else InvalidStateError
    // Rule: mdp §11.1 — a late answer never reaches another request of a Python client
    // Rule: mdp §15.3 — a request that was never connected is never sent
    python_tests("test_client");
}

#[test]
fn the_python_service_lives_as_a_worker_should() {
    // Rule: mdp §8.1 — a Python service answers DISCONNECT and silence with a new socket and READY
    // Rule: mdp §8.5 — a result for an old socket is never sent on a new one
    // Rule: mdp §8.10 — a stopping Python service finishes its request and sends DISCONNECT
    // Rule: mdp §9.3 — a Python service accepts the DISCONNECT of a Backbone broker
    // Rule: mdp §11.5 — the handler of a Python service may block; heartbeats go on
    python_tests("test_service");
}

#[test]
fn the_python_command_service_has_no_shell_and_limits() {
    // Rule: mdp §9.5 — CmdService of Python runs no shell and answers failure with two frames
    // Rule: mdp §18 — CmdService of Python bounds time and output and kills the process group
    python_tests("test_command");
}

#[test]
fn the_python_library_works_with_the_broker() {
    // Rule: mdp §6.2 — Python clients and services of both versions understand each other
    // Rule: mdp §9.4 — the Python command lines keep the argument rules and exit codes
    // Rule: mdp §8.9 — a request that a Python service rejects is answered by the next try
    python_tests("test_broker");
}

#[test]
fn the_python_types_are_sound() {
    let folder = root().join("clients/python");
    succeed(python_client().current_dir(folder).args(["-m", "mypy", "--no-incremental"]));
}

#[test]
fn the_node_frames_are_those_of_the_reference() {
    // Rule: mdp §4 — the Node library sends and reads the frames of MDP/0.1
    // Rule: mdp §5.1 — the Node library sends and reads the client's frames of MDP/0.2
    // Rule: mdp §8.3 — a Node service ignores what is no message and echoes whole address stacks
    // Rule: mdp §8.6 — a Node service doubles its waits up to 32 s and heartbeats while busy
    // Rule: mdp §9.6 — BackboneClientMessage of Node serializes and parses as documented
    node_tests("protocol");
}

#[test]
fn the_node_client_matches_answers_and_requests() {
    // Rule: mdp §8.4 — a Node client discards what is no answer and stays usable after a timeout
    // Rule: mdp §9.6 — send of Node rejects with the Error "Request Timeout"
    // Rule: mdp §11.1 — a late answer never reaches another request of a Node client
    node_tests("client");
}

#[test]
fn the_node_service_lives_as_a_worker_should() {
    // Rule: mdp §8.1 — a Node service answers DISCONNECT and silence with a new socket and READY
    // Rule: mdp §8.10 — a stopping Node service finishes its request and sends DISCONNECT
    // Rule: mdp §9.3 — a Node service accepts the DISCONNECT of a Backbone broker
    node_tests("service");
}

#[test]
fn the_node_command_service_has_no_shell_and_limits() {
    // Rule: mdp §9.5 — CmdService of Node runs no shell and answers failure with two frames
    // Rule: mdp §18 — CmdService of Node bounds time and output and kills the process group
    node_tests("command");
}

#[test]
fn the_node_library_works_with_the_broker() {
    // Rule: mdp §6.2 — Node clients and services of both versions understand each other
    // Rule: mdp §9.4 — the Node command lines keep the argument rules and exit codes
    node_tests("broker");
}

#[test]
fn the_node_types_are_sound() {
    succeed(node_client().args(["node_modules/typescript/bin/tsc", "--project", "test"]));
}

#[test]
fn the_types_of_the_belay_library_are_what_pages_write() {
    // Rule: belay 22.6 — the types of the library accept what it accepts, and refuse numbers as items
    // From the root, where there are no types but those of browsers.
    let mut compiler = node_client();
    compiler.current_dir(root()).arg("clients/js/node_modules/typescript/bin/tsc");
    let strictly = ["--noEmit", "--strict", "--target", "es2019", "--lib", "es2019,dom"];
    succeed(compiler.args(strictly).arg("crates/belay/tests/browser/types.ts"));
}

#[test]
fn every_command_line_asks_every_service() {
    // Rule: mdp §18 — the commands of Rust, Python and Node are services and clients of each other
    let broker = Broker::spawn();
    let port = ["--port", broker.port()];
    let program = |name: &str, role: &str| {
        let mut command = match name {
            "python" => python_client(),
            "node" => node_client(),
            _ => Command::new(binary()),
        };
        match name {
            "python" => command.arg("-m").arg(format!("buswire_backbone.{role}")),
            "node" => command.arg("bin/backbone.js"),
            _ => command.arg("mdp"),
        };
        command
    };
    let names = ["buswire", "python", "node"];
    let _services: Vec<Peer> = names
        .iter()
        .map(|name| {
            let mut command = program(name, "service");
            command.args(["cmd-service", name]).args(port).args(["--", "printf", "[%s]"]);
            Peer::start(&mut command)
        })
        .collect();
    for client in names {
        for service in names {
            let mut command = program(client, "client");
            command.args(["request", service]).args(port).args(["--timeout", "20000"]);
            let answer = succeed(command.args(["a b", "--", "--c", "$(id)"]));
            assert_eq!(answer, "[a b][--c][$(id)]\n", "{client} asks the service of {service}");
        }
    }
}

/// What a page of the documentation says.
fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn a_python_client_is_generated_and_does_what_the_readme_says() {
    let readme = page("proto/README.md");
    let (_, program) = readme.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let generate = readme.lines().find(|line| line.contains("grpc_tools.protoc")).unwrap();
    let tls = root().join("gateway/tests/tls_files");
    let file = |name: &str| tls.join(name).display().to_string();
    let gateway = Gateway::builder()
        .by_connection()
        .set("admin.tls.cert", &file("first.pem"))
        .set("admin.tls.key", &file("first.key"))
        .start();

    let client = gateway.path("client");
    fs::create_dir(&client).unwrap();
    let interpreter = std::env::var("BUSWIRE_PYTHON").unwrap_or_else(|_| "python3".into());
    let generate = generate
        .replace("python3", &interpreter)
        .replace("=client", &format!("={}", client.display()));
    succeed(Command::new("sh").args(["-euc", &generate]).current_dir(root().join("proto")));
    fs::write(client.join("program.py"), program).unwrap();

    let address = gateway.bound().admin.replace("127.0.0.1", "localhost");
    let mut program = Command::new(interpreter);
    program.arg(client.join("program.py")).args([address, file("first.pem")]);
    let said = succeed(program.env("BUSWIRE_ADMIN_TOKEN", gateway.admin_token()));
    let lines: Vec<_> = said.lines().collect();
    let (error, rest) = (lines[5], &lines[..5]);
    assert_eq!(
        rest,
        [
            "created shop.example",
            "created archive.example",
            "bus archive.example 0:10:00",
            "bus shop.example 0:10:00",
            "message {\"tickets\":2} True",
        ]
    );
    assert!(error.starts_with("INVALID_ARGUMENT channel: "), "{error}");
    assert!(error.contains("type: ") && error.contains("payload: "), "every problem: {error}");
    assert_eq!(lines[6..], ["fields ['channel', 'type', 'payload']"]);
}

#[test]
fn the_grpc_pages_name_methods_that_there_are() {
    let protos = root().join("proto/buswire/admin/v1");
    let protos: String = fs::read_dir(protos)
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let mut named = 0;
    for name in ["proto/README.md", "docs/grpc.md"] {
        let text = page(name);
        let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '/';
        let words = text.split(is_other).filter_map(|word| word.split_once("Service/"));
        for (service, method) in words {
            assert!(
                protos.contains(&format!("service {service}Service {{")),
                "{service} in {name}"
            );
            assert!(protos.contains(&format!("rpc {method}(")), "{service}/{method} in {name}");
            named += 1;
        }
    }
    assert!(named >= 5, "methods were found: {named}");
}
