//! The repository as texts, and what a check says about it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::{fs, io};

/// Files that checks read: path from the root with `/`, and text.
#[derive(Debug, Default)]
pub struct Tree {
    pub files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads Rust sources, manifests, the lock file, cargo's settings and the lists in `ci/`.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let mut tree = Tree::default();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                let kind = entry.file_type()?;
                if kind.is_dir() && (name == ".cargo" || !(name == "target" || name.starts_with('.'))) {
                    folders.push(path);
                } else if kind.is_file() && is_read(&path) {
                    tree.files.insert(path, fs::read_to_string(entry.path())?);
                }
            }
        }
        Ok(tree)
    }

    /// A tree for a test.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Rust sources below a folder; all for an empty one.
    pub fn sources<'a>(&'a self, below: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| path.ends_with(".rs") && path.starts_with(below))
    }
}

fn is_read(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".rs")
        || matches!(name, "Cargo.toml" | "Cargo.lock")
        || path.starts_with(".cargo/")
        || (path.starts_with("ci/") && name.ends_with(".txt"))
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub text: String,
    /// How `ci/exceptions.txt` names it, if it may stand there.
    pub excuse: Option<Excuse>,
}

/// The key of an exception, and the size it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Excuse {
    pub key: String,
    pub size: Option<usize>,
}

impl Finding {
    pub fn new(file: &str, line: usize, text: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line, text: text.into(), excuse: None }
    }

    pub fn excused_by(self, key: String, size: Option<usize>) -> Finding {
        Finding { excuse: Some(Excuse { key, size }), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Findings as lines, for tests.
pub fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}
