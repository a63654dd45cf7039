//! System packages: what is missing on a Debian or Ubuntu machine is installed, and said.
//!
//! Never here: anything that Rust's own package manager brings.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run;

/// What the packages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Building and running the gateway.
    Build,
    /// Running every test.
    Tests,
}

const BUILD: [(&str, &str); 3] = [
    ("gcc", "compiles the C parts of crates"),
    ("libc6-dev", "the C library's headers"),
    ("libzmq3-dev", "ZeroMQ, linked by the gateway"),
];

const TESTS: [(&str, &str); 20] = [
    ("curl", "drives Backplane"),
    ("jq", "reads JSON in the stories of the documentation"),
    ("mandoc", "reads the manual pages"),
    ("systemd", "reads the unit"),
    ("redis-server", "the store that gateways share"),
    ("haproxy", "the proxy in front of them"),
    ("openssl", "issues the certificates of Redis in tests"),
    ("pebble", "the ACME server that certificates are ordered of"),
    ("iproute2", "networks of the fault tests"),
    ("nftables", "drops packets in them"),
    ("libfaketime", "moves the clocks of gateways"),
    ("prometheus", "fires the alerts, with promtool"),
    ("python3", "runs the Python clients"),
    ("python3-venv", "keeps them in target/python"),
    ("python3-zmq", "drives Majordomo"),
    ("nodejs", "runs the Node clients"),
    ("npm", "installs what they need"),
    ("chromium", "shows the demo page"),
    ("chromium-driver", "clicks on it"),
    ("fonts-dejavu-core", "letters for the screenshot"),
];

/// Programs that may come from elsewhere than the package of Debian.
const PROGRAMS: [(&str, &str); 5] = [
    ("redis-server", "redis-server"),
    ("prometheus", "promtool"),
    ("nodejs", "node"),
    ("npm", "npm"),
    ("systemd", "systemd-analyze"),
];

/// Installs what is missing.
pub(crate) fn install(purpose: For) -> Result<()> {
    if !run::succeeds("dpkg-query", &["--version"]) {
        println!("This is not Debian or Ubuntu. Needed: a C compiler and libzmq with its headers;");
        println!(
            "for the tests also curl, jq, redis-server, haproxy, openssl, pebble, nft, libfaketime, promtool, python3, node, npm, chromium and chromedriver."
        );
        return Ok(());
    }
    let wanted = BUILD.iter().chain(TESTS.iter().filter(|_| purpose == For::Tests));
    let missing: Vec<_> = wanted.filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing the system packages that are missing:");
    for (package, reason) in &missing {
        println!("  {package:<18} {reason}");
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], names.as_slice()].concat())
        .with_context(|| format!("install them yourself: apt-get install {}", names.join(" ")))
}

fn is_installed(package: &str) -> bool {
    let program = PROGRAMS.iter().find(|(of, _)| *of == package);
    if program.is_some_and(|(_, program)| run::succeeds(program, &["--version"])) {
        return true;
    }
    let status = ["-W", "-f=${Status}", package];
    run::output(Path::new("/"), "dpkg-query", &status)
        .is_ok_and(|status| status == "install ok installed")
}

fn apt(arguments: &[&str]) -> Result<()> {
    let is_root = run::output(Path::new("/"), "id", &["-u"])?.trim() == "0";
    let environment = [("DEBIAN_FRONTEND", "noninteractive")];
    if is_root {
        return run::run_with(Path::new("/"), "apt-get", arguments, &environment);
    }
    if !run::succeeds("sudo", &["--version"]) {
        bail!("system packages are missing, and neither root nor sudo is there to install them");
    }
    run::run_with(Path::new("/"), "sudo", &[&["apt-get"], arguments].concat(), &environment)
}

/// Makes a Python environment with the packages from PyPI that tests need, and returns its
/// interpreter.
pub(crate) fn python(root: &Path) -> Result<String> {
    let folder = root.join("target/python");
    let interpreter = folder.join("bin/python").display().to_string();
    let requirements = root.join("integration-tests/requirements.txt").display().to_string();
    let modules =
        "import grpc_status, grpc_tools, mypy, opentelemetry.proto, websockets, yaml, zmq";
    if !run::succeeds(&interpreter, &["-c", modules]) {
        let folder = folder.display().to_string();
        run::run(root, "/usr/bin/python3", &["-m", "venv", &folder])?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run::run(root, &interpreter, &[&install, [requirements.as_str()].as_slice()].concat())?;
    }
    Ok(interpreter)
}

/// Installs the packages from npm that the Node clients and the tests need.
pub(crate) fn node(root: &Path) -> Result<()> {
    for folder in ["clients/js", "integration-tests/js"].map(|folder| root.join(folder)) {
        let name = folder.display().to_string();
        if !run::succeeds("npm", &["--prefix", &name, "ls"]) {
            // Without scripts: the one of zeromq would build what the package already contains.
            run::run(&folder, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
        }
    }
    Ok(())
}
