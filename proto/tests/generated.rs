//! The committed Rust is what the `.proto` files say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;

/// Messages with a secret or a payload; the crate implements their `Debug`.
const REDACTED: [&str; 20] = [
    "CreateAdminTokenResponse",
    "Message",
    "PublishRequest",
    "CreateRouteRequest",
    "UpdateRouteRequest",
    "RequestRequest",
    "RequestResponse",
    "GrantCapabilityRequest",
    "GrantCapabilityResponse",
    "WrapCapabilityResponse",
    "NotifyRequest",
    "Channel",
    "ListChannelsRequest",
    "ListChannelsResponse",
    "Token",
    "PutOwnerRequest",
    "PutUserRequest",
    "CreateClientRequest",
    "CreateClientResponse",
    "CreateInboundResponse",
];
const FILES: [&str; 2] = ["buswire.admin.v1.rs", "descriptor.bin"];

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root.join("buswire/admin/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    files.sort();
    files
}

fn generate(root: &Path, out: &Path) {
    let compiled = protox::compile(sources(root), [root]).unwrap();
    tonic_prost_build::configure()
        .out_dir(out)
        .skip_debug(REDACTED.map(|name| format!("buswire.admin.v1.{name}")))
        .compile_fds(compiled.clone())
        .unwrap();
    let mut plain = compiled;
    for file in &mut plain.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptor.bin"), plain.encode_to_vec()).unwrap();
}

#[test]
fn committed_code_is_what_the_proto_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    generate(root, fresh.path());
    let regenerate = std::env::var_os("BUSWIRE_REGENERATE").is_some();
    for file in FILES {
        let new = fs::read(fresh.path().join(file)).unwrap();
        if regenerate {
            fs::write(committed.join(file), &new).unwrap();
        }
        let old = fs::read(committed.join(file)).unwrap();
        assert!(
            old == new,
            "src/generated/{file} is stale: run BUSWIRE_REGENERATE=1 cargo test -p buswire-proto"
        );
    }
}

#[test]
fn every_element_of_the_interface_is_commented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources(root) {
        let text = fs::read_to_string(&path).unwrap();
        let mut services = 0;
        let mut above = "";
        for (number, line) in text.lines().map(str::trim).enumerate() {
            services += usize::from(line.starts_with("service "));
            let first = line.split(' ').next().unwrap_or_default();
            let declares = matches!(first, "service" | "rpc" | "message" | "enum" | "oneof")
                || (line.contains(" = ") && !line.starts_with("//") && !line.starts_with("syntax"));
            assert!(
                !declares || above.starts_with("//"),
                "{}:{}: {line} has no comment",
                path.display(),
                number + 1
            );
            above = line;
        }
        assert_eq!(services, 1, "{} holds one service", path.display());
    }
}
