//! Somebody else's judge: porcupine, a linearizability checker in Go, reads exported histories.
//! Skipped, with a line that says so, where Go or its module is not to be had.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_sim::blackbox::export::{Format, export};
use holdfast_sim::blackbox::history::ClientHistory;
use holdfast_sim::plan::{Plan, Profile};
use holdfast_sim::rng::derive;
use holdfast_sim::world::World;

/// Histories that porcupine judges.
const HISTORIES: usize = 20;

/// Builds the judge; `None` if it cannot be had here.
fn judge() -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/porcupine");
    let judge = Path::new(env!("CARGO_TARGET_TMPDIR")).join("porcupine");
    let go = |args: &[&str]| Command::new("go").args(args).current_dir(&sources).output();
    let skip = |why: &str| {
        let line = format!("SKIPPED: porcupine judges nothing here, {why}\n");
        std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
    };
    match go(&["mod", "download"]) {
        Err(error) => skip(&format!("go does not run: {error}")),
        Ok(got) if !got.status.success() => {
            skip(&format!("its module cannot be had: {}", String::from_utf8_lossy(&got.stderr)));
        }
        Ok(_) => {
            let to = judge.to_str().expect("the target directory has a name in UTF-8");
            let built = go(&["build", "-o", to, "."]).expect("go has just run");
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            return Some(judge);
        }
    }
    None
}

/// Exports of clean runs, as many as asked for; histories that stay undecided are passed over.
fn exports() -> Vec<String> {
    let mut texts = Vec::new();
    for n in 0.. {
        let mut plan = Plan::draw_sized(derive(41, n), Profile::ALL[n as usize % Profile::ALL.len()], 3);
        // No checker of others knows users and roles.
        plan.auth = None;
        plan.auto_compaction = None;
        let outcome = World::new(plan, false).run();
        match export(&ClientHistory::from(&outcome.history), Format::Porcupine) {
            Ok(text) => texts.push(text),
            Err(why) => assert!(why.starts_with("no order"), "seed {n}: {why}"),
        }
        if texts.len() == HISTORIES {
            return texts;
        }
        assert!(n < 2 * HISTORIES as u64, "only {} of {n} histories are decided", texts.len());
    }
    unreachable!("the numbers do not run out")
}

/// A read that sees a register as it never was, and two writes that change places.
fn corruptions(text: &str) -> [String; 2] {
    let (before, read) = text.rsplit_once("\"saw\":{\"0x").expect("somebody reads a register");
    // Sixteen digits of the key, what stands between, sixteen of the number.
    let strange = format!("{before}\"saw\":{{\"0x{}00000000000000ff{}", &read[..21], &read[37..]);
    let swapped =
        text.replace("\"revision\":7,", "\"revision\":x,").replace("\"revision\":60,", "\"revision\":7,");
    [strange, swapped.replace("\"revision\":x,", "\"revision\":60,")]
}

#[test]
fn porcupine_finds_clean_histories_linearizable_and_corrupted_ones_not() {
    let Some(judge) = judge() else { return };
    let mut texts = exports();
    texts.extend(corruptions(&texts[0].clone()));
    let paths: Vec<PathBuf> =
        (0..texts.len()).map(|n| judge.with_file_name(format!("history-{n}.jsonl"))).collect();
    for (path, text) in paths.iter().zip(&texts) {
        std::fs::write(path, text).expect("the target directory can be written");
    }
    let run = Command::new(&judge).args(&paths).output().expect("it was just built");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said = String::from_utf8_lossy(&run.stdout);
    let mut expected = vec!["Ok"; HISTORIES];
    expected.extend(["Illegal", "Illegal"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    let ops: usize = texts.iter().map(|text| text.lines().count()).sum();
    let line = format!("porcupine: {HISTORIES} histories linearizable, 2 not, {ops} operations\n");
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
}

#[test]
fn elle_is_given_each_operation_with_its_end() {
    let mut plan = Plan::draw_sized(derive(41, 0), Profile::Calm, 1);
    plan.auto_compaction = None;
    let text =
        export(&ClientHistory::from(&World::new(plan, false).run().history), Format::Elle).expect("decided");
    let count = |kind: &str| text.lines().filter(|line| line.contains(&format!(":type :{kind},"))).count();
    assert!(count("ok") > 100, "{text}");
    assert_eq!(count("invoke"), count("ok") + count("info"));
    assert!(text.lines().enumerate().all(|(n, line)| line.starts_with(&format!("{{:index {n}, "))));
}
