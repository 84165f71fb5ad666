//! The page of `explain`: self-contained, true to the run, and at work in a real browser where there is one.

#![cfg(not(madsim))]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_sim::explain::{Page, Subject, Window};
use holdfast_sim::plan::{Lie, MS, Plan, Profile};
use holdfast_sim::run::{Failure, arguments, run_plan, run_world};
use holdfast_sim::world::{Outcome, World};
use serde_json::Value;

/// A plan whose planted fault is found after some cuts and elections.
fn broken_plan() -> Plan {
    let mut plan = Plan::draw_sized(1, Profile::LeaderIsolation, 3);
    // Cuts begin before the fault is found.
    plan.partitions.every_ns = 100 * MS;
    plan.lie = Some(Lie::EarlyAck);
    plan
}

fn recorded(plan: Plan) -> (Option<Failure>, Outcome) {
    let (result, outcome) = run_world(World::new(plan, false).with_record());
    (result.err(), outcome)
}

fn page(plan: Plan) -> (Option<Failure>, Page) {
    let about = arguments(&plan);
    let (failure, outcome) = recorded(plan);
    let replay = format!("cargo sim replay {about}");
    let subject = Subject { about, failure: failure.as_ref(), outcome: &outcome, replay };
    let page = subject.page(Window::default()).expect("the run was recorded, and something happened");
    (failure, page)
}

/// The run that stands in a page.
fn run_of(html: &str) -> Value {
    let (_, from) =
        html.split_once("<script type=\"application/json\" id=\"run\">").expect("the run's element");
    let (json, _) = from.split_once("</script>").expect("its end");
    serde_json::from_str(json).expect("the run is JSON")
}

fn rows<'a>(run: &'a Value, table: &str) -> &'a Vec<Value> {
    run[table].as_array().unwrap_or_else(|| panic!("a table of {table}"))
}

#[test]
fn a_record_changes_nothing() {
    for (seed, profile) in [(1, Profile::Standard), (2, Profile::AimedCrashes), (3, Profile::Laggards)] {
        let (plain, _) = run_plan(Plan::draw(seed, profile), false);
        let (failure, outcome) = recorded(Plan::draw(seed, profile));
        assert!(failure.is_none());
        assert_eq!(plain.expect("promises are kept").trace_hash, outcome.trace.hash(), "seed {seed}");
        let record = outcome.record.expect("it was asked for");
        assert_eq!(record.letters.len() as u64, outcome.counts.mails + outcome.counts.mails_repeated);
        assert!(record.frames.is_sorted_by_key(|frame| (frame.at.at_ns, frame.at.seq)));
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let (_, Page { html, .. }) = page(broken_plan());
    // URLs of members are told where a client asked for them.
    let html = html.replace("http://m", "");
    for reference in ["http://", "https://", "src=", "href=", "url(", "@import", "fetch(", "import("] {
        assert!(!html.contains(reference), "{reference}");
    }
    assert!(!html.contains("{{"), "every place is filled");
    for element in ["html", "head", "body", "header", "main", "aside", "pre", "table", "style"] {
        let (begins, ends) = (format!("<{element}"), format!("</{element}>"));
        let is_open = |rest: &str| rest.starts_with(['>', ' ']);
        let opened =
            html.match_indices(&begins).filter(|(at, _)| is_open(&html[at + begins.len()..])).count();
        assert_eq!(opened, 1, "<{element}>");
        assert_eq!(html.matches(&ends).count(), 1, "</{element}>");
    }
    assert!(html.trim_end().ends_with("</html>"));
}

#[test]
fn the_page_has_the_failure_and_every_member() {
    let (failure, Page { html, events, of }) = page(broken_plan());
    let failure = failure.expect("the planted fault is found");
    let run = run_of(&html);
    assert_eq!(events, of, "a short run is shown whole");
    assert_eq!(rows(&run, "events").len(), 2 * events);
    assert_eq!(rows(&run, "members").len(), 3);
    assert_eq!(run["failure"]["text"], failure.to_string());
    assert_eq!(run["failure"]["turn"], failure.violation.at.turn);
    let named: Vec<bool> = (0..3).map(|m| failure.violation.what.contains(&format!("m{m} "))).collect();
    let members: Vec<u64> =
        rows(&run["failure"], "members").iter().map(|m| m.as_u64().expect("a number")).collect();
    assert_eq!((0..3).map(|m| members.contains(&m)).collect::<Vec<_>>(), named);
    for member in 0..3 {
        let has = |table: &str, column: usize| rows(&run, table).iter().any(|row| row[column] == member);
        assert!(has("figures", 2), "figures of m{member}");
        assert!(has("letters", 0), "messages from m{member}");
        assert!(has("lives", 0), "a life of m{member}");
    }
    let is_broken = |event: &[Value]| event[0] == 13;
    assert_eq!(rows(&run, "events").chunks(2).filter(|event| is_broken(event)).count(), 1);
    for table in ["ops", "passed", "decided", "spans", "notes"] {
        assert!(!rows(&run, table).is_empty(), "{table}");
    }
}

#[test]
fn a_run_without_failure_has_a_page_too() {
    let (failure, Page { html, events, of }) = page(Plan::draw_sized(5, Profile::Calm, 1));
    assert!(failure.is_none());
    assert!(events > 1000, "{events} of {of}");
    assert!(run_of(&html)["failure"].is_null());
    assert!(html.contains("all promises kept"));
    assert!(html.len() < 4 << 20, "{} bytes", html.len());
}

/// A chromium: `HOLDFAST_CHROMIUM` names one, or it is on the path.
fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("HOLDFAST_CHROMIUM") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// The document as a browser has it after loading a page.
fn loaded(chromium: &Path, folder: &Path, html: &str) -> String {
    let file = folder.join("page.html");
    std::fs::write(&file, html).expect("the folder was just made");
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_shows_the_failure_and_steps_on_keys() {
    let Some(chromium) = chromium() else {
        let line =
            "SKIPPED: no chromium on PATH or in HOLDFAST_CHROMIUM, the page of explain was not loaded\n";
        std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
        return;
    };
    let (failure, Page { html, events, .. }) = page(broken_plan());
    let failure = failure.expect("the planted fault is found");
    let folder = std::env::temp_dir().join(format!("holdfast-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the browser");
    let key =
        |key: &str| format!("document.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}' }}));");
    let pressed = |keys: &[&str]| {
        let keys: String = keys.iter().map(|name| key(name)).collect();
        html.replace("</body>", &format!("<script>{keys}</script></body>"))
    };
    let at = |dom: &str| -> usize {
        let (_, from) = dom.split_once("data-event=\"").expect("the page has selected an event");
        from.split('"').next().expect("a number").parse().expect("a number")
    };
    let fresh = loaded(&chromium, &folder, &html);
    let stepped = loaded(&chromium, &folder, &pressed(&["ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowRight"]));
    let home = loaded(&chromium, &folder, &pressed(&["Home", "ArrowDown"]));
    let back = loaded(&chromium, &folder, &pressed(&["Home", "f"]));
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    assert!(fresh.contains(&failure.violation.what), "the failure is shown");
    assert!(fresh.contains("BROKEN HERE"), "the cursor stands on the failure");
    let broken = at(&fresh);
    assert!(broken > 3 && broken < events, "{broken} of {events}");
    assert_eq!(at(&stepped), broken - 2);
    assert_eq!(at(&home), 1);
    assert_eq!(at(&back), broken);
    assert!(fresh.contains(">follower<"), "the panel says what members are");
}
