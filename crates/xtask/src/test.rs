//! The commands of the README: `test` and `demo`, and `bench` and `faults`.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    run::{run, run_with},
    system, tidy,
};

/// Packages with benches, and what each is called. `bus` is the workload of the load tool.
const BENCHES: [(&str, &str); 3] =
    [("buswire-message", "message"), ("buswire-store", "store"), ("buswire-bus", "buses")];

/// Everything that must hold before a change lands.
pub(crate) fn test(root: &Path) -> Result<()> {
    system::install(system::For::Tests)?;
    let python = system::python(root)?;
    system::node(root)?;
    run(root, "cargo", &["fmt", "--all", "--check"])?;
    tidy::check(root)?;
    let all = ["--workspace", "--all-features", "--locked"];
    let with_all = |first: &[&'static str], last: &[&'static str]| [first, &all, last].concat();
    run(root, "cargo", &with_all(&["clippy"], &["--all-targets", "--", "-D", "warnings"]))?;
    run_with(
        root,
        "cargo",
        &with_all(&["doc"], &["--no-deps", "--document-private-items"]),
        &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")],
    )?;
    demo(root, &["--once"])?;
    let environment = [("BUSWIRE_PYTHON", python.as_str())];
    run_with(root, "cargo", &with_all(&["build"], &["--bins", "--examples"]), &environment)?;
    run_with(root, "cargo", &with_all(&["test"], &["--no-fail-fast"]), &environment)
}

/// Builds the gateway and sends one message through all four doors.
pub(crate) fn demo(root: &Path, arguments: &[&str]) -> Result<()> {
    if let Some(unknown) = arguments.iter().find(|argument| **argument != "--once") {
        bail!("demo takes --once and nothing else, not {unknown}");
    }
    system::install(system::For::Build)?;
    run(root, "cargo", &["build", "--release", "--locked", "--package", "buswire"])?;
    let binary = root.join("target/release/buswire").display().to_string();
    run(root, &binary, &[&["demo"], arguments].concat())
}

/// Runs benches: all of the crates', one crate's, or the load tool with the named workload.
pub(crate) fn bench(root: &Path, arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => {
            for (package, _) in BENCHES {
                run(root, "cargo", &["bench", "--package", package])?;
            }
            Ok(())
        }
        [name, rest @ ..] => {
            if *name == "redis" {
                let bench = ["bench", "--package", "buswire-store", "--features", "redis"];
                return run(root, "cargo", &[&bench[..], &["--bench", "redis"]].concat());
            }
            if let Some((package, _)) = BENCHES.iter().find(|(_, bench)| bench == name) {
                return run(root, "cargo", &["bench", "--package", package]);
            }
            run(root, "cargo", &["build", "--release", "--locked", "--package", "buswire"])?;
            let load = ["run", "--release", "--package", "buswire-integration-tests", "--bin"];
            let load = [&load, ["load", "--", name].as_slice(), rest].concat();
            run(root, "cargo", &load)
        }
    }
}

/// Runs the fault tool on a release build.
pub(crate) fn faults(root: &Path, arguments: &[&str]) -> Result<()> {
    system::install(system::For::Tests)?;
    run(root, "cargo", &["build", "--release", "--locked", "--package", "buswire"])?;
    let faults = ["run", "--release", "--locked", "--package", "buswire-integration-tests"];
    run(root, "cargo", &[&faults[..], &["--bin", "faults", "--"], arguments].concat())
}
