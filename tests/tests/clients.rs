//! What people type: etcdctl with its texts and exit codes, and plain HTTP, against a started server.

#![cfg(not(madsim))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::etcd::etcdctl;
use holdfast_tests::process::{Program, Server, built, http_get};

/// How a command of a table is run and judged.
struct Case {
    about: &'static str,
    /// Words, split at blanks; `{lease}` and `{revision}` stand for what earlier cases found.
    command: &'static str,
    exit: i32,
    output: Text,
}

/// What standard output and standard error together must be.
enum Text {
    /// Exactly this, but for blanks at the ends.
    Is(&'static str),
    /// All of these, in this order.
    Has(&'static [&'static str]),
}
use Text::{Has, Is};

const fn case(about: &'static str, command: &'static str, exit: i32, output: Text) -> Case {
    Case { about, command, exit, output }
}

/// In this order on a new server: revisions are counted on.
const KEYS: &[Case] = &[
    case("a put says OK", "put foo bar", 0, Is("OK")),
    case("a get prints key and value", "get foo", 0, Is("foo\nbar")),
    case("the value alone", "get --print-value-only foo", 0, Is("bar")),
    case("a missing key is no error and no output", "get none", 0, Is("")),
    case("a put shows what it replaces", "put --prev-kv foo bar2", 0, Is("OK\nfoo\nbar")),
    case(
        "fields",
        "get foo -w fields",
        0,
        Has(&[
            "\"ClusterID\" : ",
            "\"Revision\" : 3\n",
            "\"Key\" : \"foo\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 3\n\"Version\" : 2\n\"Value\" : \"bar2\"",
            "\"More\" : false\n\"Count\" : 1",
        ]),
    ),
    case(
        "json",
        "get foo -w json",
        0,
        Has(&[
            "{\"header\":{\"cluster_id\":",
            "\"revision\":3,\"raft_term\":",
            "\"key\":\"Zm9v\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\"value\":\"YmFyMg==\"",
            "\"count\":1}",
        ]),
    ),
    case("k1", "put k1 v1", 0, Is("OK")),
    case("k2", "put k2 v2", 0, Is("OK")),
    case("k3", "put k3 v3", 0, Is("OK")),
    case("k4", "put k4 v4", 0, Is("OK")),
    case("k5", "put k5 v5", 0, Is("OK")),
    case("keys of a prefix", "get k --prefix --keys-only", 0, Is("k1\n\nk2\n\nk3\n\nk4\n\nk5")),
    case("a half-open range", "get k2 k4", 0, Is("k2\nv2\nk3\nv3")),
    case("from a key on, at most two", "get k3 --from-key --limit=2", 0, Is("k3\nv3\nk4\nv4")),
    case(
        "the last two, falling",
        "get k --prefix --order=DESCEND --sort-by=KEY --limit=2",
        0,
        Is("k5\nv5\nk4\nv4"),
    ),
    case("only a count", "get k --prefix --count-only -w fields", 0, Has(&["\"Count\" : 5"])),
    case("an old revision", "get foo --rev=2", 0, Is("foo\nbar")),
    case("a future revision", "get foo --rev=100000", 1, Has(&["required revision is a future revision"])),
    case("a serializable read", "get k1 --consistency=s", 0, Is("k1\nv1")),
    case("hexadecimal", "get k1 --hex", 0, Is("\\x6b\\x31\n\\x76\\x31")),
    case("a delete counts", "del k5", 0, Is("1")),
    case("a delete shows what it takes", "del k4 --prev-kv", 0, Is("1\nk4\nv4")),
    case("a prefix goes", "del k --prefix", 0, Is("3")),
    case("nothing to delete", "del nothing", 0, Is("0")),
    case("an empty key", "put --  value", 1, Has(&["Error: "])),
];

const LEASES: &[Case] = &[
    case("a key on a lease", "put lk lv --lease={lease}", 0, Is("OK")),
    case(
        "a lease with its keys",
        "lease timetolive --keys {lease}",
        0,
        Has(&["lease {lease} granted with TTL(100s), remaining(", "s), attached keys([lk])"]),
    ),
    case("a renewal", "lease keep-alive --once {lease}", 0, Is("lease {lease} keepalived with TTL(100)")),
    case("all leases", "lease list", 0, Is("found 1 leases\n{lease}")),
    case("a revocation", "lease revoke {lease}", 0, Is("lease {lease} revoked")),
    case("the key went with it", "get lk", 0, Is("")),
    case("a second revocation", "lease revoke {lease}", 1, Has(&["requested lease not found"])),
    case("a lease that is gone", "lease timetolive {lease}", 0, Has(&["already expired"])),
    case("a put on it", "put lk lv --lease={lease}", 1, Has(&["requested lease not found"])),
];

const COMPACTION: &[Case] = &[
    case("a compaction", "compact {revision}", 0, Is("compacted revision {revision}")),
    case("a compacted revision", "get foo --rev=2", 1, Has(&["required revision has been compacted"])),
    case("the same once more", "compact {revision}", 1, Has(&["required revision has been compacted"])),
    case(
        "a watch from a compacted revision",
        "watch foo --rev=1",
        5,
        Has(&["watch was canceled (etcdserver: mvcc: required revision has been compacted)"]),
    ),
];

const CLUSTER: &[Case] = &[
    case("members", "member list", 0, Has(&[", started, default, http://127.0.0.1:", ", false"])),
    case("members in a table", "member list -w table", 0, Has(&["IS LEARNER"])),
    case("health", "endpoint health", 0, Has(&["is healthy: successfully committed proposal: took = "])),
    case("status in a table", "endpoint status -w table", 0, Has(&["ENDPOINT", "3.7.1", " true "])),
    case("a hash", "endpoint hashkv", 0, Has(&["http://127.0.0.1:", ", "])),
    case("no alarms", "alarm list", 0, Is("")),
    case("nothing to disarm", "alarm disarm", 0, Is("")),
    case("a defragmentation", "defrag", 0, Has(&["Finished defragmenting etcd member["])),
    case("an unknown command", "nonesuch", 1, Has(&["unknown command"])),
    case("a flag that is no number", "get --limit=x foo", 1, Has(&["invalid argument"])),
];

/// An etcdctl and the server it talks to.
struct Shell<'a> {
    etcdctl: PathBuf,
    server: &'a Server,
}

impl Shell<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.etcdctl);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCDCTL"))
        {
            command.env_remove(name);
        }
        command.args(["--endpoints", &self.server.endpoint(), "--command-timeout=20s"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        told(&self.command(arguments).output().expect("etcdctl can be started"))
    }

    /// Feeds `input` to the command, as a person at the prompt of `txn` would.
    fn run_with(&self, arguments: &[&str], input: &str) -> (i32, String) {
        use std::io::Write as _;
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).spawn().expect("etcdctl can be started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("etcdctl reads what it is told");
        drop(stdin);
        told(&child.wait_with_output().expect("the process is ours"))
    }

    /// Lets a command that never ends run until it has said `end`; gives all it said.
    fn run_until(&self, arguments: &[&str], end: &str) -> String {
        use std::io::Read as _;
        let mut child = self.command(arguments).spawn().expect("etcdctl can be started");
        let mut stdout = child.stdout.take().expect("piped");
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = stdout.read(&mut chunk) {
                sender.send(chunk[..count].to_vec()).expect("the receiver waits for the end");
            }
        });
        let (mut said, started) = (Vec::new(), Instant::now());
        while !String::from_utf8_lossy(&said).contains(end) && started.elapsed() < Duration::from_secs(20) {
            match receiver.recv_timeout(Duration::from_secs(1)) {
                Ok(chunk) => said.extend(chunk),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        child.kill().expect("the process is ours");
        child.wait().expect("the process is ours");
        // Taking what is left lets the reader end without a receiver that is gone.
        said.extend(receiver.iter().flatten());
        reader.join().expect("the reader does not panic");
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Runs a table; `names` are put in place of `{name}`. Gives what failed.
    fn run_table(&self, cases: &[Case], names: &[(&str, &str)]) -> Vec<String> {
        let filled =
            |text: &str| names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        let mut failures = Vec::new();
        for case in cases {
            let command = filled(case.command);
            let (exit, output) = self.run(&command.split(' ').collect::<Vec<_>>());
            let as_expected = match case.output {
                Is(text) => output.trim() == filled(text),
                Has(parts) => {
                    has_in_order(&output, &parts.iter().map(|part| filled(part)).collect::<Vec<_>>())
                }
            };
            if exit != case.exit || !as_expected {
                failures.push(format!("{}: `etcdctl {command}` left {exit} and said:\n{output}", case.about));
            }
        }
        failures
    }
}

fn told(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn has_in_order(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.split_once(part.as_str()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

fn check(failures: &mut Vec<String>, about: &str, holds: bool, found: &str) {
    if !holds {
        failures.push(format!("{about}:\n{found}"));
    }
}

fn run_txns(shell: &Shell, failures: &mut Vec<String>) {
    let input = "value(\"foo\") = \"bar2\"\n\nput foo 3\nget foo\n\nget nope\n\n";
    let (exit, output) = shell.run_with(&["txn"], input);
    check(failures, "a txn succeeds", exit == 0 && output.contains("SUCCESS\n\nOK\n\nfoo\n3"), &output);
    let (exit, output) = shell.run_with(&["txn"], "mod(\"foo\") = \"1\"\n\nput foo 4\n\nget foo\n\n");
    check(
        failures,
        "a txn takes the other branch",
        exit == 0 && output.contains("FAILURE\n\nfoo\n3"),
        &output,
    );
}

fn run_watches(shell: &Shell, failures: &mut Vec<String>) {
    let events = "PUT\nfoo\nbar\nPUT\nfoo\nbar2\nPUT\nfoo\n3\n";
    let output = shell.run_until(&["watch", "foo", "--rev=2"], events);
    check(failures, "a watch prints history", output == events, &output);
    let script = "echo saw $ETCD_WATCH_KEY at $ETCD_WATCH_REVISION";
    let arguments = ["watch", "foo", "--rev=2", "--", "sh", "-c", script];
    let output = shell.run_until(&arguments, "saw \"foo\"");
    check(failures, "a watch runs a command", output.contains("saw \"foo\" at "), &output);
}

/// Everything an operator types at a member that stands alone.
fn run_all(shell: &Shell, scratch: &Path) -> Vec<String> {
    let mut failures = shell.run_table(KEYS, &[]);
    run_txns(shell, &mut failures);
    run_watches(shell, &mut failures);
    let (_, granted) = shell.run(&["lease", "grant", "100"]);
    let lease = granted.split(' ').nth(1).unwrap_or_default();
    check(
        &mut failures,
        "a grant",
        granted == format!("lease {lease} granted with TTL(100s)\n") && !lease.is_empty(),
        &granted,
    );
    failures.extend(shell.run_table(LEASES, &[("{lease}", lease)]));
    let (_, fields) = shell.run(&["get", "foo", "-w", "fields"]);
    let revision = fields.lines().find_map(|line| line.strip_prefix("\"Revision\" : ")).unwrap_or_default();
    failures.extend(shell.run_table(COMPACTION, &[("{revision}", revision)]));
    failures.extend(shell.run_table(CLUSTER, &[]));
    let dead = ["--endpoints=127.0.0.1:9", "--dial-timeout=1s", "--command-timeout=1s", "endpoint", "health"];
    let output = Command::new(&shell.etcdctl).args(dead).current_dir(scratch).output();
    let (exit, text) = told(&output.expect("etcdctl can be started"));
    check(&mut failures, "a dead endpoint", exit == 1 && text.contains("is unhealthy"), &text);
    failures
}

fn check_client(etcdctl: PathBuf) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let failures = run_all(&Shell { etcdctl, server: &server }, scratch.path());
    assert!(failures.is_empty(), "{} checks fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn etcdctl_prints_and_exits_as_with_etcd() {
    match etcdctl() {
        Ok(etcdctl) => check_client(etcdctl),
        Err(why) => eprintln!("SKIPPED: etcdctl is not run, for there is none: {why}"),
    }
}

#[test]
fn holdfastctl_prints_and_exits_as_etcdctl() {
    check_client(built("holdfastctl"));
}

/// Path and what the body of its 200 has.
const PAGES: &[(&str, &[&str])] = &[
    ("/version", &["\"etcdserver\":\"3.7.1\"", "\"etcdcluster\":\"3.7.0\""]),
    ("/health", &["{\"health\":\"true\""]),
    ("/health?serializable=true", &["{\"health\":\"true\""]),
    ("/livez", &["ok"]),
    ("/readyz?verbose=true", &["[+]serializable_read ok"]),
    ("/readyz?verbose=true", &["[+]linearizable_read ok"]),
    ("/metrics", &["# TYPE etcd_server_has_leader gauge", "etcd_server_has_leader 1"]),
    ("/metrics", &["etcd_server_version{server_version=\"3.7.1\"} 1"]),
    ("/debug/vars", &["{", "}"]),
];

#[test]
fn plain_http_is_answered_as_etcd_does() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let started = Instant::now();
    // The cluster's version is agreed upon a moment after the start.
    while !http_get(server.client_port, "/version").is_some_and(|body| body.contains("\"3.7.0\"")) {
        assert!(started.elapsed() < Duration::from_secs(20), "the cluster version does not settle");
        std::thread::sleep(Duration::from_millis(50));
    }
    for (path, parts) in PAGES {
        let body = http_get(server.client_port, path).unwrap_or_else(|| panic!("{path} is no 200"));
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        assert!(has_in_order(&body, &parts), "{path} says {body}");
    }
    assert_eq!(http_get(server.client_port, "/nonesuch"), None, "an unknown path is found");
}
