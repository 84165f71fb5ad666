//! A copy of the workspace in which mutants are planted and built, one after the other.
//!
//! The copy lies below `target/`, so that a hunt that is broken off leaves the sources as they are; its build
//! is kept, so that a mutant costs what one changed crate costs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Trouble;
use super::patch::Patch;
use super::ring::Ring;
use crate::rng::mix;

/// The copy.
pub struct Tree {
    root: PathBuf,
    build: PathBuf,
    ring: Ring,
    /// Digest of everything that decides how a run goes.
    pub digest: u64,
    /// The commit that it is a copy of, with a plus sign if files differ from it, and its day.
    pub commit: String,
    pub day: String,
}

/// A mutant in the tree; it has to be taken out again.
pub struct Planted {
    /// Files as they were.
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Tree {
    /// Brings the copy below `folder` up to what is in `workspace`, for seeds of a ring.
    pub fn refresh(workspace: &Path, folder: &Path, ring: Ring) -> Result<Tree, Trouble> {
        let (root, build) = (folder.join("tree"), folder.join(ring.builds()));
        let mut digest = 0;
        let listing = git(workspace, &["ls-files", "--cached", "--others", "--exclude-standard"])?;
        let mut files: Vec<&str> = listing.lines().filter(|file| workspace.join(file).is_file()).collect();
        files.sort_unstable();
        for file in &files {
            let bytes = read(&workspace.join(file))?;
            if ring.decides(file) {
                digest = mix(mix(digest, file.as_bytes()), &bytes);
            }
            let copy = root.join(file);
            // Cargo looks at the time of a file: one that is the same is left alone.
            if fs::read(&copy).ok().as_deref() != Some(&bytes[..]) {
                write(&copy, &bytes)?;
            }
        }
        remove_strangers(&root, &root, &files)?;
        let (commit, day) = commit(workspace)?;
        Ok(Tree { root, build, ring, digest, commit, day })
    }

    /// Applies a mutant. Errors: it does not apply, with the file and line at which it does not.
    pub fn plant(&self, patch: &Patch) -> Result<Planted, Trouble> {
        let mut before = BTreeMap::new();
        for file in &patch.files {
            let path = self.root.join(file);
            before.insert(path.clone(), read(&path)?);
        }
        let path = fs::canonicalize(&patch.path).map_err(|error| Trouble::io(&patch.path, error))?;
        let output = Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(path)
            .current_dir(&self.root)
            // In a repository around it, git would leave out what is ignored there.
            .env("GIT_CEILING_DIRECTORIES", self.root.parent().unwrap_or(&self.root))
            .output()
            .map_err(|error| Trouble::io(Path::new("git"), error))?;
        let planted = Planted { before };
        let is_changed =
            planted.before.iter().all(|(path, bytes)| fs::read(path).is_ok_and(|now| now != *bytes));
        if output.status.success() && is_changed {
            return Ok(planted);
        }
        self.take_out(planted)?;
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(Trouble::File { path: patch.path.clone(), what: format!("it does not apply: {said}") })
    }

    /// Puts back what a mutant changed.
    pub fn take_out(&self, planted: Planted) -> Result<(), Trouble> {
        planted.before.iter().try_for_each(|(path, bytes)| write(path, bytes))
    }

    /// Builds the tool with a mutant in it, which is taken out again. Errors: it does not apply or build.
    pub fn build_with(&self, patch: &Patch) -> Result<PathBuf, Trouble> {
        let planted = self.plant(patch)?;
        let tool = self.build();
        self.take_out(planted)?;
        tool.map_err(|trouble| match trouble {
            Trouble::Build { said } => {
                Trouble::File { path: patch.path.clone(), what: format!("it cannot be built:\n{said}") }
            }
            other => other,
        })
    }

    /// Builds the tool and gives its path. Errors: what the compiler says.
    pub fn build(&self) -> Result<PathBuf, Trouble> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).args(["build", "--quiet", "--locked", "-p", "holdfast-sim"]);
        self.ring.ask_for_tool(&mut cargo);
        cargo.arg("--target-dir").arg(&self.build);
        // What the outer cargo says of its package and flags is not meant for this one.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name == "RUSTFLAGS" || name.starts_with("CARGO") && name != "CARGO_HOME" {
                cargo.env_remove(&*name);
            }
        }
        cargo.env("CARGO_INCREMENTAL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        let output = cargo.output().map_err(|error| Trouble::io(Path::new("cargo"), error))?;
        match output.status.success() {
            true => Ok(self.build.join(self.ring.tool())),
            false => Err(Trouble::Build { said: String::from_utf8_lossy(&output.stderr).into_owned() }),
        }
    }
}

fn commit(workspace: &Path) -> Result<(String, String), Trouble> {
    let text = git(workspace, &["log", "-1", "--format=%h %cs"])?;
    let (hash, day) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let is_clean = git(workspace, &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok((format!("{hash}{}", if is_clean { "" } else { "+" }), day.to_owned()))
}

fn git(workspace: &Path, args: &[&str]) -> Result<String, Trouble> {
    let output = Command::new("git").args(args).current_dir(workspace).output();
    let output = output.map_err(|error| Trouble::io(Path::new("git"), error))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Trouble::Git { said: String::from_utf8_lossy(&output.stderr).trim().to_owned() }),
    }
}

/// Removes files of the copy that the workspace does not have any more. Depth: that of the folders.
fn remove_strangers(root: &Path, folder: &Path, files: &[&str]) -> Result<(), Trouble> {
    for entry in fs::read_dir(folder).map_err(|error| Trouble::io(folder, error))? {
        let path = entry.map_err(|error| Trouble::io(folder, error))?.path();
        if path.is_dir() {
            remove_strangers(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).expect("found below it").to_string_lossy().replace('\\', "/");
            if files.binary_search(&name.as_str()).is_err() {
                fs::remove_file(&path).map_err(|error| Trouble::io(&path, error))?;
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(path).map_err(|error| Trouble::io(path, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Trouble::io(folder, error))?;
    }
    fs::write(path, bytes).map_err(|error| Trouble::io(path, error))
}
