//! Who may import whom.

use crate::manifest;
use crate::source;
use crate::tree::{Finding, Tree};

/// What a package of the workspace may depend on.
struct Rule {
    folder: &'static str,
    /// Packages of the workspace, without `holdfast-`.
    may: &'static [&'static str],
    /// The same under `cfg(madsim)` alone.
    may_under_madsim: &'static [&'static str],
}

const RULES: [Rule; 7] = [
    Rule { folder: "core", may: &[], may_under_madsim: &[] },
    Rule { folder: "net", may: &["core"], may_under_madsim: &[] },
    Rule { folder: "server", may: &["ctl", "net", "core"], may_under_madsim: &[] },
    Rule { folder: "sim", may: &["core"], may_under_madsim: &["server", "net"] },
    Rule { folder: "tests", may: &["net", "sim"], may_under_madsim: &[] },
    Rule { folder: "ctl", may: &["net", "core"], may_under_madsim: &[] },
    Rule { folder: "ci", may: &[], may_under_madsim: &[] },
];

/// All that the core may stand on: nothing that opens, waits, starts a thread or asks the time.
const CORE_MAY: [&str; 8] = ["bytes", "crc32c", "protobuf", "raft", "rand", "rand_chacha", "sha1", "slog"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.files {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        match RULES.iter().find(|rule| rule.folder == folder) {
            Some(rule) => {
                check_manifest(rule, path, text, &mut findings);
                check_sources(rule, tree, &mut findings);
            }
            None => findings.push(Finding::new(
                path,
                1,
                format!("no rule says what {folder} may import (ci/src/imports.rs)"),
            )),
        }
    }
    findings
}

fn check_manifest(rule: &Rule, path: &str, text: &str, findings: &mut Vec<Finding>) {
    for dependency in manifest::dependencies(text) {
        let name = dependency.name;
        if !dependency.is_from_workspace() {
            let text =
                format!("{name}: the version belongs into the workspace table (`{name}.workspace = true`)");
            findings.push(Finding::new(path, dependency.line, text));
        }
        let refusal = match name.strip_prefix("holdfast-") {
            Some(ours) if rule.may.contains(&ours) => continue,
            Some(ours) if rule.may_under_madsim.contains(&ours) && dependency.is_madsim() => continue,
            Some(ours) if rule.may_under_madsim.contains(&ours) => {
                format!("{} may depend on {name} only under cfg(madsim)", rule.folder)
            }
            Some(_) => format!("{} may not depend on {name}", rule.folder),
            None if rule.folder == "core" && !dependency.is_dev() && !CORE_MAY.contains(&name) => {
                format!("core may not depend on {name} (ci/src/imports.rs lists what it may)")
            }
            None => continue,
        };
        findings.push(Finding::new(path, dependency.line, refusal));
    }
}

/// Paths in sources; the manifest alone would miss what a package gets through another's re-export.
fn check_sources(rule: &Rule, tree: &Tree, findings: &mut Vec<Finding>) {
    let below = format!("{}/", rule.folder);
    for (path, text) in tree.sources(&below) {
        for (at, line) in source::code(text).lines().enumerate() {
            for part in line.split("holdfast_").skip(1) {
                let ours: String = part.chars().take_while(|c| source::is_word(*c)).collect();
                let ours = ours.as_str();
                let is_package = RULES.iter().any(|other| other.folder == ours);
                let may =
                    ours == rule.folder || rule.may.contains(&ours) || rule.may_under_madsim.contains(&ours);
                if is_package && !may {
                    findings.push(Finding::new(
                        path,
                        at + 1,
                        format!("{} may not use holdfast_{ours}", rule.folder),
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::lines;

    #[test]
    fn manifests_follow_the_arrows() {
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace.dependencies]\nanything = \"1\"\n"),
            (
                "core/Cargo.toml",
                "[dependencies]\nbytes.workspace = true\ntokio.workspace = true\n[dev-dependencies]\ninsta.workspace = true\n",
            ),
            (
                "net/Cargo.toml",
                "[dependencies]\nholdfast-core.workspace = true\nholdfast-server.workspace = true\n",
            ),
            (
                "sim/Cargo.toml",
                "[dependencies]\nholdfast-net.workspace = true\n[target.'cfg(madsim)'.dependencies]\nholdfast-net.workspace = true\n",
            ),
            ("server/Cargo.toml", "[dependencies]\nserde = \"1\"\nholdfast-ci.workspace = true\n"),
            ("extra/Cargo.toml", ""),
        ]);
        assert_eq!(
            lines(&check(&tree)),
            [
                "core/Cargo.toml:3: core may not depend on tokio (ci/src/imports.rs lists what it may)",
                "extra/Cargo.toml:1: no rule says what extra may import (ci/src/imports.rs)",
                "net/Cargo.toml:3: net may not depend on holdfast-server",
                "server/Cargo.toml:2: serde: the version belongs into the workspace table (`serde.workspace = true`)",
                "server/Cargo.toml:3: server may not depend on holdfast-ci",
                "sim/Cargo.toml:2: sim may depend on holdfast-net only under cfg(madsim)",
            ]
        );
    }

    #[test]
    fn sources_follow_them_too() {
        let tree = Tree::of(&[
            ("net/Cargo.toml", ""),
            (
                "net/src/lib.rs",
                "use holdfast_core::Node;\n// holdfast_server\nuse holdfast_server::config;\nlet holdfast_x = holdfast_net::y;\n",
            ),
        ]);
        assert_eq!(lines(&check(&tree)), ["net/src/lib.rs:3: net may not use holdfast_server"]);
    }
}
