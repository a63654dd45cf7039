//! What `Dockerfile` and `docker-compose.yml` say.

use std::{collections::BTreeSet, process::Command};

use buswire_integration_tests::{binary, root};
use serde_json::Value;

use super::{file, yaml};

const COMPOSE: &str = "docker-compose.yml";

fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    compose["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
}

/// The texts of a list; none if there is no list.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn each_profile_has_its_services_and_one_is_the_default() {
    let compose = yaml(COMPOSE);
    let of = |profile: &str| -> Vec<&str> {
        let has = |service: &Value| texts(&service["profiles"]) == [profile];
        services(&compose).filter(|(_, service)| has(service)).map(|(name, _)| name).collect()
    };
    assert_eq!(of("one"), ["gateway"]);
    assert_eq!(of("demo"), ["demo"]);
    assert_eq!(of("scale"), ["secrets", "redis", "gateway1", "gateway2", "gateway3", "proxy"]);
    assert!(file(".env").lines().any(|line| line == "COMPOSE_PROFILES=one"));
}

#[test]
fn every_container_is_confined_and_published_on_loopback_only() {
    for (name, service) in services(&yaml(COMPOSE)) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["logging"]["options"]["max-size"].is_string(), "{name}: a log has a bound");
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        let image = service["image"].as_str().unwrap();
        assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image}");
    }
}

#[test]
fn the_gateway_understands_every_setting_of_every_container() {
    let compose = yaml(COMPOSE);
    let image = file("Dockerfile");
    let built_in: Vec<(&str, &str)> = image
        .split("ENV ")
        .flat_map(|block| block.split_whitespace())
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| name.starts_with("BUSWIRE_"))
        .collect();
    assert_eq!(built_in.len(), 4, "{built_in:?}");
    let folder = tempfile::tempdir().unwrap();
    for (name, service) in services(&compose).filter(|(_, s)| s["image"] == "buswire:local") {
        let mut command = Command::new(binary());
        command.arg("check-config").env_clear().current_dir(folder.path());
        command.envs(built_in.iter().copied());
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            // `${NAME:-default}` as compose reads it, and secrets as the service `secrets` makes them.
            let value = value.as_str().unwrap();
            let value =
                value.split_once(":-").map_or(value, |(_, rest)| rest.trim_end_matches('}'));
            let value = match value.strip_prefix("/run/secrets/") {
                Some(secret) => {
                    let path = folder.path().join(secret);
                    std::fs::write(&path, "A".repeat(43)).unwrap();
                    path.display().to_string()
                }
                None => value.to_owned(),
            };
            command.env(key, value);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
    }
}

#[test]
fn the_image_is_confined_and_watches_itself() {
    let image = file("Dockerfile");
    let bases: BTreeSet<&str> =
        image.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next()).collect();
    assert_eq!(
        bases,
        BTreeSet::from(["chef", "debian:bookworm-slim", "runtime", "rust:1.95-bookworm"])
    );
    let (_, last) = image.rsplit_once("\nFROM ").unwrap();
    for line in [
        "USER 10001:10001",
        "VOLUME /var/lib/buswire",
        "EXPOSE 8080 50051 5555 9090",
        r#"ENTRYPOINT ["buswire"]"#,
        r#"CMD ["serve"]"#,
    ] {
        assert!(last.lines().any(|at| at == line), "{line}");
    }
    assert!(last.contains(r#"CMD ["buswire", "healthcheck"]"#));
    let toolchain = file("rust-toolchain.toml");
    let channel = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(image.contains(&format!("RUSTUP_TOOLCHAIN={channel}")), "{channel}");
    assert!(channel.starts_with("1.95"), "the base image is of the toolchain");
    // What the containers' test can't pull it can make.
    let made = file("integration-tests/containers/bases.sh");
    for base in
        ["debian:bookworm-slim", "rust:1.95-bookworm", "redis:7-bookworm", "haproxy:2.6-bookworm"]
    {
        assert!(made.contains(&format!("make {base} ")), "{base}");
    }
    assert!(root().join("deploy/sbom.sh").exists());
}

#[test]
fn the_proxy_waits_longer_than_any_poll_and_keeps_paths_out_of_its_log() {
    let proxy = file("deploy/haproxy.cfg");
    let log = proxy.lines().find(|line| line.trim().starts_with("log-format")).unwrap();
    let words: BTreeSet<_> = log.split([' ', '"', ':', '/']).collect();
    let secret = BTreeSet::from(["%r", "%HP", "%HPO", "%HU", "%HQ", "%hr", "%hrl", "%hs", "%hsl"]);
    assert!(words.is_disjoint(&secret), "{log}");
    for side in ["client", "server"] {
        let seconds = proxy.split(&format!("timeout {side} ")).nth(1).unwrap();
        let seconds: u32 = seconds.split('s').next().unwrap().parse().unwrap();
        assert!(seconds > 60, "belay.block_max is 60 s, and timeout {side} {seconds} s");
    }
    let checked =
        Command::new("haproxy").args(["-c", "-f"]).arg(root().join("deploy/haproxy.cfg")).output();
    let checked = checked.expect("haproxy is installed: apt-get install haproxy");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
