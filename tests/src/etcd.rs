//! A real etcd to compare with: named, found, or built from its published Go modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Program;

/// The level we answer to.
const VERSION: &str = "v3.7.1";

/// A real etcd, or a loud reason why there is none.
///
/// Order: `HOLDFAST_ETCD` names a binary; one built earlier; Go and its module proxy; `etcd` on the PATH.
pub fn real_etcd() -> Result<Program, String> {
    find("etcd", "HOLDFAST_ETCD", "go.etcd.io/etcd/server/v3").map(Program::Etcd)
}

/// etcd's own command line client, found the same way.
pub fn etcdctl() -> Result<PathBuf, String> {
    find("etcdctl", "HOLDFAST_ETCDCTL", "go.etcd.io/etcd/etcdctl/v3")
}

/// etcd's tool for files, found the same way.
pub fn etcdutl() -> Result<PathBuf, String> {
    find("etcdutl", "HOLDFAST_ETCDUTL", "go.etcd.io/etcd/etcdutl/v3")
}

fn find(binary: &str, variable: &str, module: &str) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/etcd").join(VERSION);
    let path = directory.join(binary);
    if path.is_file() {
        return Ok(path);
    }
    build(&directory, binary, module).or_else(|why| {
        let on_path = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|dir| dir.join(binary)).find(|path| path.is_file())
        });
        on_path.ok_or_else(|| format!("no {binary}: set {variable}, or install Go or {binary} ({why})"))
    })
}

/// Builds `module` with Go in a directory of its own; about a minute the first time.
fn build(directory: &Path, binary: &str, module: &str) -> Result<PathBuf, String> {
    let work = directory.join(format!("build-{binary}"));
    std::fs::create_dir_all(&work).map_err(|e| e.to_string())?;
    std::fs::write(work.join("go.mod"), "module compare\n").map_err(|e| e.to_string())?;
    let go = |args: &[&str]| -> Result<(), String> {
        let mut command = Command::new("go");
        command.args(args).current_dir(&work).env("GOFLAGS", "-mod=mod").stdin(Stdio::null());
        let output = command.output().map_err(|e| format!("go: {e}"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        output.status.success().then_some(()).ok_or_else(|| format!("go {}: {text}", args.join(" ")))
    };
    go(&["get", &format!("{module}@{VERSION}")])?;
    let path = directory.join(binary);
    // Built beside and renamed: tests that run at once must not see half a file.
    let partial = directory.join(format!("{binary}.{}", std::process::id()));
    go(&["build", "-o", &partial.to_string_lossy(), module])?;
    std::fs::rename(&partial, &path).map_err(|e| e.to_string())?;
    Ok(path)
}
