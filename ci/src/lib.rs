//! What CI and people run.
//!
//! `cargo tidy` checks what compiler and clippy do not: who may import whom, the core's bans, sizes of files and
//! functions, dependencies and their versions. Each check takes the repository as texts in memory and returns
//! findings, so that its tests can hand it a repository of three lines that breaks it.
//! No dependencies: it must build in a second and never be the reason for a version conflict.

pub mod bans;
pub mod dependencies;
pub mod exceptions;
pub mod imports;
pub mod manifest;
pub mod sizes;
pub mod source;
pub mod tree;

use tree::{Finding, Tree};

/// Everything that is wrong with the tree, by file and line.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(imports::check(tree));
    findings.extend(bans::check(tree));
    findings.extend(sizes::check(tree));
    findings.extend(dependencies::check(tree));
    let mut findings = exceptions::settle(tree, findings);
    findings.sort();
    findings
}
