//! The workspace table, the lock file and cargo's settings.

use crate::manifest;
use crate::tree::{Finding, Tree};
use std::collections::{BTreeMap, BTreeSet};

pub const DUPLICATES: &str = "ci/duplicates.txt";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = check_reasons(tree);
    findings.extend(check_duplicates(tree));
    findings.extend(check_rustflags(tree));
    findings
}

/// Every dependency of the workspace table says why it is there, on its line.
fn check_reasons(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.get("Cargo.toml") else { return Vec::new() };
    manifest::dependencies(text)
        .iter()
        .filter(|dependency| !dependency.name.starts_with("holdfast-") && dependency.comment().is_empty())
        .map(|dependency| {
            Finding::new("Cargo.toml", dependency.line, format!("{}: no reason beside it", dependency.name))
        })
        .collect()
}

/// Packages that the lock file holds in more versions than one must be in the list, as `name versions`.
fn check_duplicates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed = BTreeMap::new();
    for (at, line) in tree.get(DUPLICATES).unwrap_or("").lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        match (words.next(), words.next().map(str::parse::<usize>), words.next()) {
            (None, ..) => {}
            (Some(name), Some(Ok(versions)), None) => {
                listed.insert(name, (at + 1, versions));
            }
            _ => findings.push(Finding::new(DUPLICATES, at + 1, "expected `name versions`")),
        }
    }
    for (name, (line, versions)) in versions(tree.get("Cargo.lock").unwrap_or("")) {
        let versions = versions.len();
        match listed.remove(name) {
            None if versions > 1 => {
                let text =
                    format!("{name} in {versions} versions; {DUPLICATES} does not list it (cargo tree -d)");
                findings.push(Finding::new("Cargo.lock", line, text));
            }
            Some((_, allowed)) if versions > allowed => {
                let text =
                    format!("{name} in {versions} versions; {DUPLICATES} allows {allowed} (cargo tree -d)");
                findings.push(Finding::new("Cargo.lock", line, text));
            }
            Some((line, _)) if versions < 2 => {
                findings.push(Finding::new(DUPLICATES, line, format!("{name} has one version: remove it")));
            }
            Some((line, allowed)) if versions < allowed => {
                findings.push(Finding::new(
                    DUPLICATES,
                    line,
                    format!("{name} has {versions} versions: say so"),
                ));
            }
            None | Some(_) => {}
        }
    }
    for (name, (line, _)) in listed {
        findings.push(Finding::new(DUPLICATES, line, format!("{name} is not in Cargo.lock: remove it")));
    }
    findings
}

/// Versions of each package, and the line of the last.
fn versions(lock: &str) -> BTreeMap<&str, (usize, BTreeSet<&str>)> {
    let mut found: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    let mut name = "";
    for (at, line) in lock.lines().enumerate() {
        let value = |key: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
        if let Some(text) = value("name") {
            name = text;
        } else if let (Some(version), false) = (value("version"), name.is_empty()) {
            let entry = found.entry(name).or_default();
            entry.0 = at + 1;
            entry.1.insert(version);
            name = "";
        }
    }
    found
}

/// Flags for the compiler in cargo's settings would reach the release build too. The text inside of an alias is
/// not a setting.
fn check_rustflags(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.starts_with(".cargo/")) {
        for (at, line) in text.lines().enumerate() {
            let key = manifest::before(manifest::without_comment(line), '=').trim();
            if key.rsplit('.').next().map(|last| last.trim_matches('"')) == Some("rustflags") {
                findings.push(Finding::new(path, at + 1, "rustflags here would reach the release build"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::lines;

    #[test]
    fn a_dependency_needs_its_reason() {
        let table = "[workspace.dependencies]\nholdfast-core = { path = \"core\" }\n# net\na = \"1\" # sockets\n\
                     b = \"1\"\nc = \"1\" #\n[workspace.lints.rust]\nd = \"1\"\n";
        let tree =
            Tree::of(&[("Cargo.toml", table), ("net/Cargo.toml", "[dependencies]\na.workspace = true\n")]);
        assert_eq!(
            lines(&check(&tree)),
            ["Cargo.toml:5: b: no reason beside it", "Cargo.toml:6: c: no reason beside it"]
        );
    }

    const LOCK: &str = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n[[package]]\nname = \"a\"\n\
                        version = \"2.0.0\"\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n";

    fn duplicates(list: &str) -> Vec<String> {
        lines(&check(&Tree::of(&[("Cargo.lock", LOCK), (DUPLICATES, list)])))
    }

    #[test]
    fn second_versions_are_listed() {
        assert_eq!(
            duplicates(""),
            ["Cargo.lock:7: a in 2 versions; ci/duplicates.txt does not list it (cargo tree -d)"]
        );
        assert_eq!(duplicates("# why\na 2 # raft\n"), Vec::<String>::new());
        assert_eq!(
            duplicates("a 1\n"),
            ["Cargo.lock:7: a in 2 versions; ci/duplicates.txt allows 1 (cargo tree -d)"]
        );
    }

    #[test]
    fn the_list_may_only_shrink() {
        assert_eq!(
            duplicates("a 3\nb 2\nc 2\nd\n"),
            [
                "ci/duplicates.txt:4: expected `name versions`",
                "ci/duplicates.txt:1: a has 2 versions: say so",
                "ci/duplicates.txt:2: b has one version: remove it",
                "ci/duplicates.txt:3: c is not in Cargo.lock: remove it",
            ]
        );
    }

    #[test]
    fn compiler_flags_stay_out_of_cargo_s_settings() {
        let text = "# rustflags = []\n[alias]\nmadsim = [\n\"build.rustflags=['x']\",\n]\n\
                    [build]\n\"rustflags\" = []\n[target.x]\nbuild.rustflags = []\n";
        assert_eq!(
            lines(&check(&Tree::of(&[(".cargo/config.toml", text)]))),
            [
                ".cargo/config.toml:7: rustflags here would reach the release build",
                ".cargo/config.toml:9: rustflags here would reach the release build",
            ]
        );
    }
}
