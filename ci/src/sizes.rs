//! Files and functions that have grown too long to read.

use crate::source;
use crate::tree::{Finding, Tree};
use std::collections::BTreeMap;

pub const FILE_LINES_MAX: usize = 600;
pub const FUNCTION_LINES_MAX: usize = 70;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.sources("") {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            let text = format!("a file of {lines} lines (at most {FILE_LINES_MAX}): is it one idea?");
            findings.push(Finding::new(path, 1, text).excused_by(format!("file {path}"), Some(lines)));
        }
        // Functions of one name in one file share their exception: the longest counts.
        let mut longest: BTreeMap<String, Finding> = BTreeMap::new();
        for function in source::functions(&source::code(text)) {
            if function.lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let text =
                format!("fn {} of {} lines (at most {FUNCTION_LINES_MAX})", function.name, function.lines);
            let key = format!("function {path} {}", function.name);
            let finding =
                Finding::new(path, function.line, text).excused_by(key.clone(), Some(function.lines));
            let size = |finding: &Finding| finding.excuse.as_ref().and_then(|excuse| excuse.size);
            if longest.get(&key).is_none_or(|other| size(other) < size(&finding)) {
                longest.insert(key, finding);
            }
        }
        findings.extend(longest.into_values());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::lines;

    #[test]
    fn long_files_and_functions_are_found() {
        let long_file = "\n".repeat(601);
        let body = "    x();\n".repeat(69);
        let functions = format!("fn a() {{\n{body}}}\nfn b() {{\n}}\n// fn c() {{\n{body}\n");
        let at_most = format!("fn a() {{\n{}}}\n", "    x();\n".repeat(68));
        let tree = Tree::of(&[
            ("core/src/f.rs", &long_file),
            ("net/src/g.rs", &functions),
            ("net/src/h.rs", &at_most),
        ]);
        assert_eq!(
            lines(&check(&tree)),
            [
                "core/src/f.rs:1: a file of 601 lines (at most 600): is it one idea?",
                "net/src/g.rs:1: fn a of 71 lines (at most 70)",
            ]
        );
    }

    #[test]
    fn the_longest_of_one_name_counts() {
        let (short, long) = ("    x();\n".repeat(70), "    x();\n".repeat(80));
        let text = format!("fn a() {{\n{short}}}\nmod m {{ fn a() {{\n{long}}}}}\n");
        assert_eq!(lines(&check(&Tree::of(&[("a.rs", &text)]))), ["a.rs:73: fn a of 82 lines (at most 70)"]);
    }
}
