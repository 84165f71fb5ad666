//! A mutant as it lies in `sim/mutants/`: a comment header and a unified diff against today's sources.
//!
//! Shape: lines `What:`, `Catalogue:` and `Fires:`, for a rare one also `Aim:` with the profile in which it
//! shows, for one that is known to live also `Survives:` with the reason; an empty line; the diff. `git apply` passes over all that stands before the diff.

use std::fs;
use std::path::{Path, PathBuf};

use super::Trouble;

/// One planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Name of its file, without the ending.
    pub name: String,
    pub path: PathBuf,
    /// What is wrong with the mutant, in one sentence.
    pub what: String,
    /// Entry of the catalogue of bugs, or what it is akin to.
    pub catalogue: String,
    /// Which check should fire.
    pub fires: String,
    /// Profile whose seeds are tried first: the one in which what it breaks happens.
    pub aim: Option<String>,
    /// Why it is known to live.
    pub survives: Option<String>,
    /// Files that it changes, from the root.
    pub files: Vec<String>,
    /// The diff alone: another word in the header leaves the mutant what it is.
    pub diff: String,
}

impl Patch {
    /// Reads all of a folder, by name. Errors: a file without a header or a diff, and what is missing.
    pub fn read_all(folder: &Path) -> Result<Vec<Patch>, Trouble> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| Trouble::io(folder, error))? {
            let path = entry.map_err(|error| Trouble::io(folder, error))?.path();
            if path.extension().is_some_and(|ending| ending == "patch") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.into_iter().map(Patch::read).collect()
    }

    fn read(path: PathBuf) -> Result<Patch, Trouble> {
        let text = fs::read_to_string(&path).map_err(|error| Trouble::io(&path, error))?;
        Patch::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Patch, Trouble> {
        let (header, diff) = text.split_at(text.find("\n--- a/").map_or(text.len(), |at| at + 1));
        let field = |name: &str| header.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let needed = |name: &str| {
            let found = field(name).filter(|value| !value.is_empty()).map(str::to_owned);
            found
                .ok_or_else(|| Trouble::File { path: path.clone(), what: format!("it has no line `{name}`") })
        };
        let files: Vec<String> =
            diff.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(str::to_owned).collect();
        if files.is_empty() {
            return Err(Trouble::File { path, what: "it changes no file".to_owned() });
        }
        Ok(Patch {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            what: needed("What:")?,
            catalogue: needed("Catalogue:")?,
            fires: needed("Fires:")?,
            aim: field("Aim:").map(str::to_owned),
            survives: field("Survives:").map(str::to_owned),
            files,
            diff: diff.to_owned(),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "--- a/core/src/x.rs\n+++ b/core/src/x.rs\n@@ -1,1 +1,1 @@\n-a\n+b\n";

    fn parse(header: &str) -> Result<Patch, Trouble> {
        Patch::parse(PathBuf::from("sim/mutants/B18-x.patch"), &format!("{header}\n{DIFF}"))
    }

    #[test]
    fn header_and_files_are_read() {
        let patch = parse("What: a vote\nCatalogue: B18\nFires: votes\n").expect("a whole patch");
        assert_eq!((patch.name.as_str(), patch.what.as_str()), ("B18-x", "a vote"));
        assert_eq!((&patch.files[..], patch.diff.as_str()), (&["core/src/x.rs".to_owned()][..], DIFF));
        assert_eq!(patch.survives, None);
    }

    #[test]
    fn a_header_line_that_is_missing_is_named() {
        let error = parse("What: a vote\nFires: votes\n").expect_err("no catalogue").to_string();
        assert_eq!(error, "sim/mutants/B18-x.patch: it has no line `Catalogue:`");
    }
}
