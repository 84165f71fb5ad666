//! Which command is meant: words that are no flags lead down the table, by name or unique prefix.
//!
//! Source: cobra 1.10.2 command.go (Find, stripFlags, SuggestionsFor), EnablePrefixMatching.

use std::ffi::{OsStr, OsString};

use super::spec::{Kind, Spec};

/// A command with those above it.
#[derive(Clone, Debug)]
pub struct Path {
    /// From the root down; never empty.
    pub specs: Vec<&'static Spec>,
}

impl Path {
    /// The tool.
    pub fn root(&self) -> &'static Spec {
        self.specs[0]
    }

    pub fn spec(&self) -> &'static Spec {
        self.specs.last().expect("never empty")
    }

    /// `etcdctl lease grant`.
    pub fn words(&self, program: &str) -> String {
        let below = self.specs[1..].iter().map(|spec| spec.name());
        std::iter::once(program).chain(below).collect::<Vec<_>>().join(" ")
    }
}

/// What the words led to.
#[derive(Debug)]
pub struct Found {
    pub path: Path,
    /// All words but the commands' names.
    pub rest: Vec<OsString>,
    /// A word that is no command where one was due.
    pub unknown: Option<String>,
}

pub fn find(root: &'static Spec, words: &[OsString]) -> Found {
    let mut path = Path { specs: vec![root] };
    let mut rest = words.to_vec();
    loop {
        let spec = path.spec();
        let Some(at) = first_word(&path, &rest) else { return Found { path, rest, unknown: None } };
        match named(spec, &rest[at]) {
            Some(next) => {
                rest.remove(at);
                path.specs.push(next);
            }
            None => {
                let unknown = (path.specs.len() == 1).then(|| rest[at].to_string_lossy().into_owned());
                return Found { path, rest, unknown };
            }
        }
    }
}

/// A command below `spec` by its name, or by a prefix that is nobody else's.
pub fn named(spec: &'static Spec, word: &OsStr) -> Option<&'static Spec> {
    let word = word.to_str()?;
    let by_name = spec.commands.iter().find(|command| command.name() == word);
    by_name.copied().or_else(|| {
        let mut matching = spec.commands.iter().filter(|command| command.name().starts_with(word));
        let first = matching.next().copied()?;
        matching.next().is_none().then_some(first)
    })
}

/// The first word that is neither a flag nor a flag's value.
fn first_word(path: &Path, words: &[OsString]) -> Option<usize> {
    let mut at = 0;
    while at < words.len() {
        let word = words[at].to_string_lossy();
        if word == "--" {
            return None;
        }
        if !word.starts_with('-') || word == "-" {
            return (!word.is_empty()).then_some(at);
        }
        at += if takes_next(path, &word) { 2 } else { 1 };
    }
    None
}

/// Whether a flag's value is the next word. A flag that is not known is taken to have one.
fn takes_next(path: &Path, word: &str) -> bool {
    if word.contains('=') {
        return false;
    }
    let flags = || path.specs.iter().flat_map(|spec| spec.flags);
    let known = match word.strip_prefix("--") {
        Some("help") => return false,
        Some(name) => flags().find(|flag| flag.name == name),
        None if word.chars().count() != 2 || word == "-h" => return false,
        None => flags().find(|flag| flag.short == word.chars().nth(1)),
    };
    known.is_none_or(|flag| flag.kind != Kind::Bool)
}

/// Commands that may have been meant by `word`: two letters off, or it is how they begin.
pub fn suggestions(spec: &'static Spec, word: &str) -> Vec<&'static str> {
    let lower = word.to_lowercase();
    let is_near = |name: &str| distance(&lower, name) <= 2 || name.starts_with(&lower);
    spec.commands.iter().map(|command| command.name()).filter(|name| is_near(name)).collect()
}

/// Levenshtein's.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::ROOT;

    fn found(line: &str) -> (String, String, Option<String>) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let found = find(&ROOT, &words);
        let rest: Vec<String> = found.rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        (found.path.words("etcdctl"), rest.join(" "), found.unknown)
    }

    fn three(path: &str, rest: &str, unknown: Option<&str>) -> (String, String, Option<String>) {
        (path.to_owned(), rest.to_owned(), unknown.map(str::to_owned))
    }

    #[test]
    fn commands_are_found_between_flags_and_by_unique_prefix() {
        assert_eq!(found("get foo"), three("etcdctl get", "foo", None));
        assert_eq!(found("-w json mem --hex l x"), three("etcdctl member list", "-w json --hex x", None));
        assert_eq!(found("compact 5"), three("etcdctl compaction", "5", None));
        assert_eq!(found("--endpoints get put a b"), three("etcdctl put", "--endpoints get a b", None));
        assert_eq!(found("e"), three("etcdctl", "e", Some("e")));
        assert_eq!(found("nonesuch get"), three("etcdctl", "nonesuch get", Some("nonesuch")));
        assert_eq!(found("endpoint bogus"), three("etcdctl endpoint", "bogus", None));
        assert_eq!(found("-- get"), three("etcdctl", "-- get", None));
    }

    #[test]
    fn near_commands_are_suggested() {
        assert_eq!(suggestions(&ROOT, "e"), ["get", "del", "endpoint", "elect"]);
        assert_eq!(suggestions(&ROOT, "gett"), ["get"]);
        assert_eq!(suggestions(&ROOT, "nonesuch"), Vec::<&str>::new());
    }
}
