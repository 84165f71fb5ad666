//! The recipes of `docs/recipes` do what they say.

#![cfg(not(madsim))]

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::process::{Program, Server, built};

/// How long a recipe may take; test machines are slow and shared.
const WITHIN: Duration = Duration::from_secs(120);

/// Each script with what it prints.
const RECIPES: [(&str, &str); 8] = [
    (
        "lock",
        "five at once, one at a time: 5\nthe later holder: SUCCESS\nthe earlier holder: FAILURE\nwhat is kept: new\n",
    ),
    ("election", "elected: first\nthen: second\n"),
    (
        "registry",
        "registered: 10.0.0.1:80 10.0.0.2:80\nalive: 10.0.0.1:80\nwatched: DELETE recipes/registry/web/b\n",
    ),
    ("config", "read: one 1\nread again: two 2\n"),
    ("queue", "taken: first second third\nleft: \nsubscriber 1: hello world\nsubscriber 2: hello world\n"),
    (
        "tasks",
        "first claims 1: SUCCESS\nsecond claims 1: FAILURE\nsecond claims 2: SUCCESS\nfirst finishes 1: FAILURE\n\
         second claims 1: SUCCESS\nsecond finishes 1: SUCCESS\nsecond finishes 2: SUCCESS\nleft: 0\n",
    ),
    ("barrier", "before: 0\nafter: 3\n"),
    (
        "cas",
        "create: SUCCESS\ncreate again: FAILURE\nswap 1 for 2: SUCCESS\nswap 1 for 3: FAILURE\nvalue: 2\n\
         in order: 1 2 3\n",
    ),
];

/// Runs a script with our client as `etcdctl`; what it leaves behind ends with it.
fn run(script: &Path, tools: &Path, directory: &Path, server: &Server) -> (Option<ExitStatus>, String) {
    std::fs::create_dir(directory).expect("scratch is ours");
    let (out, path) = (directory.join("out"), std::env::var("PATH").expect("there is a path"));
    let file = || File::options().create(true).append(true).open(&out).expect("scratch is ours");
    let mut command = Command::new("sh");
    command.arg(script).current_dir(directory).process_group(0).stdin(Stdio::null());
    command.env("PATH", format!("{}:{path}", tools.display())).env("ETCDCTL_ENDPOINTS", server.endpoint());
    let mut child = command.stdout(file()).stderr(file()).spawn().expect("sh is everywhere");
    let began = Instant::now();
    let mut ended = None;
    while ended.is_none() && began.elapsed() < WITHIN {
        ended = child.try_wait().expect("it is ours");
        std::thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", child.id());
    // Nothing may be left of it: then this fails.
    Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status()
        .expect("kill is everywhere");
    child.wait().expect("it is ours");
    (ended, std::fs::read_to_string(&out).expect("opened above"))
}

#[test]
fn every_recipe_prints_what_it_promises() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tools = scratch.path().join("bin");
    std::fs::create_dir(&tools).expect("scratch is ours");
    symlink(built("holdfastctl"), tools.join("etcdctl")).expect("scratch is ours");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes");
    let mut scripts = 0;
    for entry in std::fs::read_dir(&recipes).expect("the recipes are in the repository") {
        scripts += usize::from(entry.expect("readable").path().extension().is_some_and(|kind| kind == "sh"));
    }
    assert_eq!(scripts, RECIPES.len(), "each script is run");
    for (name, expected) in RECIPES {
        let script = recipes.join(format!("{name}.sh"));
        let (ended, said) = run(&script, &tools, &scratch.path().join(name), &server);
        assert!(ended.is_some_and(|status| status.success()), "{name} ends with {ended:?}:\n{said}");
        assert_eq!(said, expected, "{name}");
    }
}
