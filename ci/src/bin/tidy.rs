//! `cargo tidy`: formatting, then everything that `holdfast_ci::check` finds. Exit code 1 if there is anything.

use holdfast_ci::tree::Tree;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let root = root();
    let is_formatted = is_formatted(&root);
    let tree = match Tree::read(&root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: cannot read {}: {error}", root.display());
            return ExitCode::FAILURE;
        }
    };
    let findings = holdfast_ci::check(&tree);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        eprintln!("tidy: {} to mend", findings.len());
    }
    if !is_formatted {
        eprintln!("tidy: run `cargo fmt --all`");
    }
    if findings.is_empty() && is_formatted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Cargo names this package's folder at run time, which stays right when a checkout is moved.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// rustfmt names file and line of each difference itself.
fn is_formatted(root: &Path) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    match Command::new(cargo).args(["fmt", "--all", "--check"]).current_dir(root).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("tidy: cannot run cargo fmt: {error}");
            false
        }
    }
}
