//! `ci/exceptions.txt`: what may be longer or otherwise than the rules say.
//! Shape: one a line, `key [size] # reason`; key is `file PATH`, `function PATH NAME` or `ban PATH WORD`.
//! It may only shrink: an entry that is not needed is an error, and so is a size above what is there.

use crate::tree::{Finding, Tree};
use std::collections::BTreeMap;

pub const PATH: &str = "ci/exceptions.txt";

#[derive(Debug)]
struct Entry {
    line: usize,
    size: Option<usize>,
    used: bool,
}

/// Findings without those that the list excuses, and with what is wrong with the list.
pub fn settle(tree: &Tree, findings: Vec<Finding>) -> Vec<Finding> {
    let (mut entries, mut left) = read(tree.get(PATH).unwrap_or(""));
    for finding in findings {
        let known = finding.excuse.as_ref().and_then(|excuse| Some((excuse, entries.get_mut(&excuse.key)?)));
        let Some((excuse, entry)) = known else {
            left.push(finding);
            continue;
        };
        entry.used = true;
        match (excuse.size, entry.size) {
            (Some(size), Some(allowed)) if size > allowed => {
                let text = format!("{}; its exception allows {allowed}", finding.text);
                left.push(Finding { text, ..finding });
            }
            (Some(size), Some(allowed)) if size < allowed => {
                left.push(Finding::new(PATH, entry.line, format!("{} has {size} lines: say so", excuse.key)));
            }
            (Some(_), None) => left.push(Finding::new(PATH, entry.line, "a size is missing")),
            _ => {}
        }
    }
    for (key, entry) in &entries {
        if !entry.used {
            left.push(Finding::new(PATH, entry.line, format!("{key} needs no exception: remove it")));
        }
    }
    left
}

fn read(text: &str) -> (BTreeMap<String, Entry>, Vec<Finding>) {
    let (mut entries, mut findings) = (BTreeMap::new(), Vec::new());
    for (at, full) in text.lines().enumerate() {
        let line = at + 1;
        let (entry, reason) = full.split_once('#').unwrap_or((full, ""));
        let mut words: Vec<&str> = entry.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        if reason.trim().is_empty() {
            findings.push(Finding::new(PATH, line, "an exception needs its reason: `key [size] # reason`"));
        }
        let size = words.last().and_then(|word| word.parse().ok());
        if size.is_some() {
            words.pop();
        }
        if !matches!(words.as_slice(), ["file", _] | ["function", _, _] | ["ban", _, _]) {
            findings.push(Finding::new(PATH, line, format!("not an exception: {}", entry.trim())));
            continue;
        }
        if entries.insert(words.join(" "), Entry { line, size, used: false }).is_some() {
            findings.push(Finding::new(PATH, line, "an exception given twice"));
        }
    }
    (entries, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::lines;

    fn long(size: usize) -> Vec<Finding> {
        vec![Finding::new("a.rs", 1, "long").excused_by("file a.rs".to_owned(), Some(size))]
    }

    fn settled(list: &str, findings: Vec<Finding>) -> Vec<String> {
        lines(&settle(&Tree::of(&[(PATH, list)]), findings))
    }

    #[test]
    fn an_exception_excuses_its_size_and_no_more() {
        let list = "# sizes\nfile a.rs 700 # one table\n";
        assert_eq!(settled(list, long(700)), Vec::<String>::new());
        assert_eq!(settled(list, long(701)), ["a.rs:1: long; its exception allows 700"]);
        assert_eq!(settled("", long(700)), ["a.rs:1: long"]);
    }

    #[test]
    fn the_list_may_only_shrink() {
        let list = "file a.rs 700 # one table\n";
        assert_eq!(settled(list, long(650)), ["ci/exceptions.txt:1: file a.rs has 650 lines: say so"]);
        assert_eq!(settled(list, vec![]), ["ci/exceptions.txt:1: file a.rs needs no exception: remove it"]);
        let banned = Finding::new("a.rs", 1, "no").excused_by("ban a.rs f64".to_owned(), None);
        assert_eq!(settled("ban a.rs f64 # shown only\n", vec![banned]), Vec::<String>::new());
    }

    #[test]
    fn entries_are_checked() {
        assert_eq!(
            settled("file a.rs 700\nfoo # why\nfile a.rs 700 # twice\n", long(700)),
            [
                "ci/exceptions.txt:1: an exception needs its reason: `key [size] # reason`",
                "ci/exceptions.txt:2: not an exception: foo",
                "ci/exceptions.txt:3: an exception given twice",
            ]
        );
        assert_eq!(settled("file a.rs # why\n", long(700)), ["ci/exceptions.txt:1: a size is missing"]);
    }
}
