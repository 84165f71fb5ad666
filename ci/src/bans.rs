//! Words that a part of the repository does without.

use crate::source;
use crate::tree::{Finding, Tree};
use std::collections::BTreeSet;

/// A path or word, and what it would let in.
struct Ban {
    word: &'static str,
    why: &'static str,
}

const fn ban(word: &'static str, why: &'static str) -> Ban {
    Ban { word, why }
}

const CLOCK: &str = "time comes in by argument";
const WORLD: &str = "the core asks the world for nothing; it takes inputs and returns effects";
const THREADS: &str = "State has one owner and one thread";
const ORDER: &str = "its order of iteration is random; use BTreeMap, BTreeSet or a sorted Vec";
const RANDOM: &str = "randomness comes in as a seed";
const FLOATS: &str = "floats do not belong into what members must agree on";
const SHARED: &str = "one owner, `&mut` down";
const GLOBAL: &str = "nothing is global";
const UNBIASED: &str =
    "it begins with `biased;`: the order of its branches is else drawn, and by no seed of ours";

/// What ring 2 runs.
const SIMULATED: [&str; 3] = ["net/", "server/", "sim/"];

/// Outside of tests and comments in `core/src`. Clippy's lists in `core/clippy.toml` catch types under other names.
const CORE: &[Ban] = &[
    ban("std::time", CLOCK),
    ban("core::time", CLOCK),
    ban("SystemTime", CLOCK),
    ban("std::thread", THREADS),
    ban("std::fs", WORLD),
    ban("std::net", WORLD),
    ban("std::env", WORLD),
    ban("std::process", WORLD),
    ban("println!", WORLD),
    ban("eprintln!", WORLD),
    ban("Mutex", THREADS),
    ban("RwLock", THREADS),
    ban("Condvar", THREADS),
    ban("std::sync::atomic", THREADS),
    ban("mpsc", THREADS),
    ban("async", THREADS),
    ban("await", THREADS),
    ban("HashMap", ORDER),
    ban("HashSet", ORDER),
    ban("rand::rng", RANDOM),
    ban("rand::random", RANDOM),
    ban("thread_rng", RANDOM),
    ban("ThreadRng", RANDOM),
    ban("OsRng", RANDOM),
    ban("from_os_rng", RANDOM),
    ban("f32", FLOATS),
    ban("f64", FLOATS),
    ban("unsafe", "the core is safe Rust"),
    ban("RefCell", SHARED),
    ban("thread_local!", GLOBAL),
    ban("static mut", GLOBAL),
    ban("OnceLock", GLOBAL),
    ban("LazyLock", GLOBAL),
];

/// Modules of `std` that `use std::{...}` could bring in without the words above.
const CORE_STD_MODULES: [&str; 6] = ["time", "thread", "fs", "net", "env", "process"];

/// Everywhere, tests included.
const ALL: &[Ban] = &[
    ban("todo!", "unfinished work is not committed"),
    ban("unimplemented!", "unfinished work is not committed"),
    ban("dbg!", "left over from debugging"),
    ban("#[ignore", "a test that does not run proves nothing"),
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let test_files: BTreeSet<String> =
        tree.sources("core/src/").flat_map(|(path, text)| test_files_of(path, text)).collect();
    for (path, text) in tree.sources("") {
        find(ALL, path, &source::code(text), &mut findings);
        let is_test = path.ends_with("_tests.rs") || test_files.iter().any(|test| path.starts_with(test));
        if path.starts_with("core/src/") && !is_test {
            let code = source::code_without_tests(text);
            find(CORE, path, &code, &mut findings);
            find_std_groups(path, &code, &mut findings);
        }
        if SIMULATED.iter().any(|folder| path.starts_with(folder)) {
            find_unbiased(path, &source::code(text), &mut findings);
        }
    }
    findings
}

/// `select!` without `biased;` as its first word.
fn find_unbiased(path: &str, code: &str, findings: &mut Vec<Finding>) {
    for (at, word) in code.match_indices("select!") {
        let body = code[at + word.len()..].trim_start().strip_prefix('{').unwrap_or_default();
        if !body.trim_start().starts_with("biased;") {
            let line = 1 + code[..at].matches('\n').count();
            findings.push(banned(path, line, word, UNBIASED));
        }
    }
}

/// Beginnings of the paths of files that hang on a `#[cfg(test)] mod name;` in this one.
fn test_files_of(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match file {
        "lib.rs" | "mod.rs" | "main.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let modules = source::test_modules(text);
    modules.iter().flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]).collect()
}

fn find(bans: &[Ban], path: &str, code: &str, findings: &mut Vec<Finding>) {
    for (at, line) in code.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        for ban in bans
            .iter()
            .filter(|ban| line.contains(ban.word) && source::words(&chars, ban.word).next().is_some())
        {
            findings.push(banned(path, at + 1, ban.word, ban.why));
        }
    }
}

fn banned(path: &str, line: usize, word: &str, why: &str) -> Finding {
    Finding::new(path, line, format!("{word}: {why}")).excused_by(format!("ban {path} {word}"), None)
}

/// `use std::{fs, thread::sleep}`: modules named in a group.
fn find_std_groups(path: &str, code: &str, findings: &mut Vec<Finding>) {
    let chars: Vec<char> = code.chars().collect();
    for at in source::words(&chars, "std") {
        let rest: String = chars[at..].iter().take_while(|c| **c != ';').collect();
        let Some(group) = rest.strip_prefix("std::{") else { continue };
        let mut depth = 0;
        let mut fresh = true;
        let group: Vec<char> = group.chars().collect();
        for (offset, c) in group.iter().enumerate() {
            let line = source::line_of(&chars, at + "std::{".len() + offset);
            for module in CORE_STD_MODULES.iter().filter(|_| fresh && depth == 0) {
                if source::words(&group[offset..], module).next() == Some(0) {
                    let word = format!("std::{module}");
                    let why = CORE.iter().find(|ban| ban.word == word).map_or(WORLD, |ban| ban.why);
                    findings.push(banned(path, line, &word, why));
                }
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            fresh = *c == ',' || (fresh && c.is_whitespace());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::lines;

    fn found(path: &str, text: &str) -> Vec<String> {
        lines(&check(&Tree::of(&[(path, text)])))
    }

    #[test]
    fn a_select_that_draws_its_order_is_found() {
        let biased = "tokio::select! {\n    biased;\n    () = a => {}\n}\n";
        assert!(found("net/src/a.rs", biased).is_empty());
        let drawn = "fn f() {\n    tokio::select! {\n        () = a => {}\n    }\n}\n";
        assert_eq!(found("net/src/a.rs", drawn), [format!("net/src/a.rs:2: select!: {UNBIASED}")]);
        assert!(found("ctl/src/a.rs", drawn).is_empty(), "no seed runs it");
    }

    #[test]
    fn every_ban_of_the_core_bites() {
        for ban in CORE {
            let expected = format!("core/src/a.rs:2: {}: {}", ban.word, ban.why);
            assert!(
                found("core/src/a.rs", &format!("\nlet x = {} y;\n", ban.word)).contains(&expected),
                "{expected}"
            );
        }
        for ban in ALL {
            let text = format!("\n{}(1)\n", ban.word);
            assert_eq!(
                found("tests/src/a.rs", &text),
                [format!("tests/src/a.rs:2: {}: {}", ban.word, ban.why)]
            );
        }
    }

    #[test]
    fn comments_strings_tests_and_other_crates_are_free() {
        let text = "// std::fs\nlet a = \"HashMap\"; let my_f64_x = Asyncs;\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(found("core/src/a.rs", text), Vec::<String>::new());
        for path in ["net/src/a.rs", "core/src/a_tests.rs", "core/tests/a.rs"] {
            assert_eq!(found(path, "use std::fs;\n"), Vec::<String>::new());
        }
        let banned = "use std::fs;\n";
        let tree = Tree::of(&[
            ("core/src/raft.rs", "#[cfg(test)]\nmod model;\nmod log;\n"),
            ("core/src/raft/model.rs", banned),
            ("core/src/raft/model/deep.rs", banned),
            ("core/src/raft/log.rs", banned),
        ]);
        assert_eq!(lines(&check(&tree)), [format!("core/src/raft/log.rs:1: std::fs: {WORLD}")]);
    }

    #[test]
    fn groups_do_not_hide_modules() {
        let text = "use std::{\n    fmt::{self, env},\n    fs::File, thread,\n};\nuse std::fmt::{time};\n";
        assert_eq!(
            found("core/src/a.rs", text),
            [
                format!("core/src/a.rs:3: std::fs: {WORLD}"),
                format!("core/src/a.rs:3: std::thread: {THREADS}")
            ]
        );
        assert_eq!(
            found("core/src/a.rs", "use std::{time::Duration};"),
            [format!("core/src/a.rs:1: std::time: {CLOCK}")]
        );
    }
}
