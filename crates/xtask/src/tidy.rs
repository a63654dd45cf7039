//! What no compiler checks: layers, sizes, unfinished work, and that the conformance tables are true.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{conformance, pages, run};

const LINES_MAX: usize = 700;

/// The layers of architecture §3, lowest first: a crate depends on earlier ones only.
const LAYERS: [&str; 11] = [
    "buswire-message",
    "buswire-store",
    "buswire-bus",
    "buswire-backplane",
    "buswire-simplepush",
    "buswire-mdp",
    "buswire-belay",
    "buswire-bridge",
    "buswire-proto",
    "buswire",
    "buswire-integration-tests",
];

/// The front doors, which never depend on each other.
const DOORS: [&str; 4] =
    ["buswire-backplane", "buswire-simplepush", "buswire-mdp", "buswire-belay"];

/// Folders that hold sans-IO cores, and what must not appear in them.
const CORES: [&str; 21] = [
    "crates/message/src",
    "crates/store/src/state",
    "crates/bus/src/core.rs",
    "crates/bus/src/ledger.rs",
    "crates/bus/src/record.rs",
    "crates/bus/src/select.rs",
    "crates/bus/src/settings.rs",
    "crates/bus/src/waiting.rs",
    "crates/bus/src/window.rs",
    "crates/backplane/src/wire",
    "crates/backplane/src/rules",
    "crates/simplepush/src/wire",
    "crates/simplepush/src/connection",
    "crates/simplepush/src/client/agent",
    "crates/simplepush/src/client/wire.rs",
    "crates/mdp/src/wire",
    "crates/mdp/src/core",
    "crates/mdp/src/titanic/ledger",
    "crates/belay/src/wire",
    "crates/belay/src/limits",
    "crates/bridge/src/delivery",
];
const IO_WORDS: [&str; 6] = ["tokio::", "axum::", "tonic::", "zmq::", "std::net::", "std::fs::"];

/// Checks everything and names every problem.
pub(crate) fn check(root: &Path) -> Result<()> {
    println!("\n$ cargo xtask tidy");
    let mut problems = layers(root)?;
    for file in sources(root)? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        problems.extend(file_problems(&name, &text));
    }
    problems.extend(conformance::problems(root)?);
    problems.extend(pages::problems(root)?);
    for problem in &problems {
        println!("  {problem}");
    }
    if problems.is_empty() { Ok(()) } else { bail!("{} problems", problems.len()) }
}

/// Every Rust source that a person wrote.
pub(crate) fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = run::output(root, "git", &["ls-files", "-co", "--exclude-standard", "*.rs"])?;
    let written = listed.lines().filter(|name| !name.contains("/generated/"));
    Ok(written.map(|name| root.join(name)).filter(|file| file.exists()).collect())
}

fn file_problems(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
    }
    let is_own_source = name.starts_with("crates/xtask/");
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
    let is_core = CORES.iter().any(|core| name.starts_with(core)) && !is_test;
    for (number, line) in text.lines().enumerate() {
        let mut note = |what: &str| problems.push(format!("{name}:{}: {what}", number + 1));
        if is_core && !line.trim_start().starts_with("//") {
            for word in IO_WORDS.iter().filter(|word| line.contains(**word)) {
                note(&format!("{word} in a sans-IO core"));
            }
        }
        if !is_own_source && ["TODO", "FIXME", "XXX"].iter().any(|mark| line.contains(mark)) {
            note("unfinished work belongs in an issue");
        }
        if !is_own_source && line.trim_start().starts_with("#[ignore") {
            note("a test that is not run");
        }
    }
    if !is_own_source && !text.starts_with("//!") && !text.starts_with("#!") {
        problems.push(format!("{name}: begin with a //! header"));
    }
    problems
}

/// Dependencies point down the list of layers, doors do not know each other, and the lowest crates
/// know no runtime.
fn layers(root: &Path) -> Result<Vec<String>> {
    let metadata = run::output(root, "cargo", &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.context("cargo metadata has no packages")?;
    let mut normal: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
        let names = dependencies
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str());
        if LAYERS.contains(&name) || name == "buswire-testkit" {
            normal.insert(name, names.collect());
        }
    }
    let mut problems = Vec::new();
    for (name, dependencies) in &normal {
        let layer = LAYERS.iter().position(|layer| layer == name);
        for dependency in dependencies {
            problems.extend(layer_problem(name, layer, dependency));
        }
    }
    if normal.len() != LAYERS.len() + 1 {
        problems.push(format!("expected the packages {LAYERS:?} and buswire-testkit"));
    }
    Ok(problems)
}

fn layer_problem(name: &str, layer: Option<usize>, dependency: &str) -> Option<String> {
    let lower = LAYERS.iter().position(|layer| *layer == dependency);
    let problem = |why: &str| Some(format!("{name} depends on {dependency}: {why}"));
    if let (Some(layer), Some(lower)) = (layer, lower)
        && lower >= layer
    {
        return problem("dependencies point down");
    }
    if DOORS.contains(&name) && DOORS.contains(&dependency) {
        return problem("doors do not know each other");
    }
    if name == "buswire-mdp" && matches!(dependency, "buswire-store" | "buswire-bus") {
        return problem("mdp needs neither store nor bus");
    }
    // The integration tests are tests through and through: their library starts what tests need.
    if dependency == "buswire-testkit" && name != "buswire-integration-tests" {
        return problem("testkit is for tests alone");
    }
    let runtimes = ["tokio", "axum", "tonic", "zmq", "hyper"];
    if name == "buswire-message" && runtimes.contains(&dependency) {
        return problem("the message model does no I/O");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_points_up_is_found() {
        let layer = |name| LAYERS.iter().position(|layer| *layer == name);
        assert!(layer_problem("buswire-bus", layer("buswire-bus"), "buswire-bridge").is_some());
        assert!(layer_problem("buswire-belay", layer("buswire-belay"), "buswire-mdp").is_some());
        assert!(layer_problem("buswire-mdp", layer("buswire-mdp"), "buswire-store").is_some());
        assert!(layer_problem("buswire-message", layer("buswire-message"), "tokio").is_some());
        assert!(layer_problem("buswire-bus", layer("buswire-bus"), "buswire-store").is_none());
    }

    #[test]
    fn a_core_that_does_io_is_found() {
        let text = "//! Core.\nuse tokio::net::TcpStream;\n";
        assert_eq!(file_problems("crates/mdp/src/core/mod.rs", text).len(), 1);
        assert_eq!(file_problems("crates/mdp/src/driver/mod.rs", text), Vec::<String>::new());
        let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(file_problems("gateway/src/lib.rs", &long).len(), 1);
    }
}
