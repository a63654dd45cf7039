//! That the documentation agrees with itself and with the sources: links, metrics, messages.
//!
//! What a page tells to do is done by the tests `guides`. Never here: words that a page should have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{run, tidy};

/// The page with the list of metrics, and the section that has it.
const METRICS: (&str, &str) = ("docs/operating.md", "Metrics");

/// The page whose tables begin with what the program prints.
const MESSAGES: &str = "docs/troubleshooting.md";

/// Names every disagreement.
pub(crate) fn problems(root: &Path) -> Result<Vec<String>> {
    let listed = run::output(root, "git", &["ls-files", "-co", "--exclude-standard", "*.md"])?;
    let mut pages = BTreeMap::new();
    for name in listed.lines().filter(|name| root.join(name).exists()) {
        pages.insert(name, fs::read_to_string(root.join(name)).with_context(|| name.to_owned())?);
    }
    let mut problems: Vec<String> =
        pages.iter().flat_map(|(name, text)| dead_links(root, name, text, &pages)).collect();
    let sources = sources(root)?;
    let page = |name: &str| pages.get(name).map_or("", String::as_str);
    let listed = listed_metrics(section(page(METRICS.0), METRICS.1));
    let made: BTreeSet<&str> = sources.iter().flat_map(|text| metrics(text)).collect();
    let only = |here: &BTreeSet<&str>, there: &BTreeSet<&str>, what: &str| -> Vec<String> {
        here.difference(there).map(|name| format!("{}: {name} {what}", METRICS.0)).collect()
    };
    problems.extend(only(&made, &listed, "is not in the list of metrics"));
    problems.extend(only(&listed, &made, "is no metric"));
    for piece in messages(page(MESSAGES)) {
        if !sources.iter().any(|text| text.contains(&piece)) {
            problems.push(format!("{MESSAGES}: nothing prints {piece:?}"));
        }
    }
    Ok(problems)
}

/// What is compiled into programs, each file as it prints: on one line, without escapes.
fn sources(root: &Path) -> Result<Vec<String>> {
    let is_built = |file: &PathBuf| {
        let name = file.display().to_string();
        name.contains("/src/") && !name.contains("/xtask/") && !name.contains("/integration-tests/")
    };
    let files = tidy::sources(root)?.into_iter().filter(is_built);
    files.map(|file| Ok(as_printed(&fs::read_to_string(file)?))).collect()
}

fn as_printed(source: &str) -> String {
    let lines = source.lines().map(|line| line.trim_start().trim_end_matches('\\'));
    lines.collect::<String>().replace("\\\"", "\"")
}

/// Links of a page that lead nowhere.
fn dead_links(root: &Path, name: &str, text: &str, pages: &BTreeMap<&str, String>) -> Vec<String> {
    let mut dead = Vec::new();
    for target in links(text).filter(|target| !target.contains(':')) {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let file = if file.is_empty() { name.into() } else { plain(&folder.join(file)) };
        if !root.join(&file).exists() {
            dead.push(format!("{name}: {target} is not there"));
        } else if !anchor.is_empty() {
            let page = pages.get(&*file.display().to_string());
            if !page.is_some_and(|page| anchors(page).contains(anchor)) {
                dead.push(format!("{name}: {target} has no such heading"));
            }
        }
    }
    dead
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path {
        if part == ".." {
            plain.pop();
        } else if part != "." {
            plain.push(part);
        }
    }
    plain
}

/// The prose of a page: what is in no fenced block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = prose(text).flat_map(|line| line.split("](").skip(1));
    targets.filter_map(|after| after.split_once(')')).map(|(target, _)| target)
}

/// The anchors that a page's headings have where it is shown.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    prose(text).filter(|line| line.starts_with('#')).map(heading).collect()
}

fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let after = text.split_once(&format!("\n## {title}\n")).map_or("", |(_, after)| after);
    after.split("\n## ").next().unwrap_or_default()
}

/// The metrics in the tables of a section: the first cell of a row names one.
fn listed_metrics(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

/// The names of metrics among the literals of a source.
fn metrics(source: &str) -> impl Iterator<Item = &str> {
    let literals = source.split('"').skip(1);
    literals.filter(|text| {
        let is_ours = text.starts_with("buswire_") || text.starts_with("simplepush_");
        is_ours && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

/// What the first cells of the page's rows say that is printed, in pieces without what differs.
fn messages(text: &str) -> Vec<String> {
    let cells = prose(text).filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let quoted = cells.flat_map(|cell| cell.split('`').step_by(2));
    let pieces = quoted.flat_map(|message| message.split('…'));
    let pieces = pieces.map(|piece| piece.trim_matches(|c: char| !c.is_alphanumeric()));
    pieces.filter(|piece| piece.len() > 4).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() {
        let page = "# A page\n[a](#a-page) [b](#b) [c](nowhere.md)\n```\n[d](e.md)\n```\n## It's `so`, yes\n";
        let pages = BTreeMap::from([("Cargo.toml", page.to_owned())]);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dead = dead_links(root, "Cargo.toml", page, &pages);
        assert_eq!(
            dead,
            ["Cargo.toml: #b has no such heading", "Cargo.toml: nowhere.md is not there"]
        );
        assert!(anchors(page).contains("its-so-yes"));
    }

    #[test]
    fn metrics_and_messages_are_found() {
        let source =
            as_printed("counter!(\"buswire_a_total\")\n\"can't say \\\"this\\\" \\\n   again\"");
        assert_eq!(metrics(&source).collect::<Vec<_>>(), ["buswire_a_total"]);
        assert!(source.contains("can't say \"this\" again"));
        let listed =
            listed_metrics("| metric | counts |\n|---|---|\n| `buswire_a_total` | `b` |\n");
        assert_eq!(listed, BTreeSet::from(["buswire_a_total"]));
        let found = messages("| `… can't say …; what is said` | because of `that` | wait |\n");
        assert_eq!(found, ["can't say", "what is said"]);
    }
}
