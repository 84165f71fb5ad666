//! Backups: saved while others write, shown, and restored; by our tools and by etcd's.

#![cfg(not(madsim))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_tests::etcd::{etcdutl, real_etcd};
use holdfast_tests::process::{Program, Server, built};
use tempfile::TempDir;

/// A tool's run: standard output, standard error and exit code.
struct Ran {
    out: String,
    err: String,
    code: Option<i32>,
}

fn run(program: &Path, directory: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(words).current_dir(directory).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the tool was built");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { out: text(stdout), err: text(stderr), code: status.code() }
}

/// The same, of something that must succeed.
fn done(program: &Path, directory: &Path, words: &[&str]) -> String {
    let ran = run(program, directory, words);
    assert_eq!(ran.code, Some(0), "{} {}: {}{}", program.display(), words.join(" "), ran.out, ran.err);
    ran.out
}

/// Where a test works, with our tools.
struct Bench {
    scratch: TempDir,
    ctl: PathBuf,
    utl: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        Bench { scratch, ctl: built("holdfastctl"), utl: built("holdfastutl") }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// What a client asks of a server.
    fn ask(&self, server: &Server, line: &str) -> String {
        let endpoint = format!("--endpoints={}", server.endpoint());
        let words: Vec<&str> = std::iter::once(endpoint.as_str()).chain(line.split(' ')).collect();
        done(&self.ctl, self.path(), &words)
    }

    fn utl(&self, line: &str) -> Ran {
        run(&self.utl, self.path(), &line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())
    }

    /// Restores `file` by `tool` for a member that is not started.
    fn restore(&self, tool: &Path, file: &str, program: Program, more: &[&str]) -> Server {
        let number = fs::read_dir(self.path()).expect("ours").count();
        let name = format!("restored{number}");
        let mut server = Server::new(program, &self.path().join(&name), "default");
        let (cluster, peer) = (format!("--initial-cluster=default={}", server.peer_url()), server.peer_url());
        let peers = format!("--initial-advertise-peer-urls={peer}");
        let data_dir = format!("--data-dir={name}");
        let words = ["snapshot", "restore", file, &data_dir, &cluster, &peers];
        done(tool, self.path(), &[&words, more].concat());
        server.bootstrap(&["--initial-cluster", &format!("default={peer}")]);
        server
    }

    /// What of a store a client can see that does not depend on its member.
    fn view(&self, server: &Server) -> Vec<String> {
        let questions =
            ["get --prefix k -w fields", "get --prefix k --rev=8", "lease list", "user list", "role get r"];
        let answers = questions.map(|question| self.ask(server, question));
        let is_of_member = |line: &&str| {
            !["\"ClusterID\"", "\"MemberID\"", "\"RaftTerm\""].iter().any(|name| line.starts_with(name))
        };
        answers
            .iter()
            .map(|answer| answer.lines().filter(is_of_member).collect::<Vec<_>>().join("\n"))
            .collect()
    }

    /// Keys, some of them gone and some large, a lease with a key, users, and a compaction.
    fn fill(&self, server: &Server) {
        for n in 1..8 {
            self.ask(server, &format!("put k{n} {}", "v".repeat(n * 1_000)));
        }
        self.ask(server, "put k1 second");
        self.ask(server, "del k3");
        let lease = self.ask(server, "lease grant 1000");
        let lease = lease.split(' ').nth(1).expect("`lease ID granted`");
        self.ask(server, &format!("put k9 leased --lease={lease}"));
        self.ask(server, "compact 7");
        self.ask(server, "role add r");
        self.ask(server, "role grant-permission r readwrite a b");
        self.ask(server, "user add ann:secret");
        self.ask(server, "user grant-role ann r");
    }
}

#[test]
fn a_snapshot_has_all_that_was_acknowledged_and_nothing_by_halves() {
    let bench = Bench::new();
    let server = Server::start(Program::holdfast(), bench.path(), &[]);
    for n in 0..20 {
        bench.ask(&server, &format!("put filler{n} {}", "f".repeat(50_000)));
    }
    let is_over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !is_over.load(Ordering::Relaxed) {
                written += 1;
                let both = format!("\nput a {written}\nput b {written}\n\n\n");
                let mut txn = Command::new(&bench.ctl);
                txn.arg(format!("--endpoints={}", server.endpoint())).arg("txn").stdin(Stdio::piped());
                let mut txn = txn.stdout(Stdio::null()).spawn().expect("the tool was built");
                std::io::Write::write_all(&mut txn.stdin.take().expect("piped"), both.as_bytes())
                    .expect("it reads");
                assert!(txn.wait().expect("it ends").success());
            }
            written
        });
        for n in 0..5 {
            let before = bench.ask(&server, "get a --print-value-only");
            bench.ask(&server, &format!("snapshot save s{n}.db"));
            fs::write(bench.path().join(format!("before{n}")), before).expect("scratch is ours");
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().expect("it writes to its end")
    });
    assert!(written > 5, "{written} writes in five snapshots");
    for n in 0..5 {
        let mut restored = bench.restore(&bench.utl, &format!("s{n}.db"), Program::holdfast(), &[]);
        restored.spawn();
        restored.wait_ready();
        let [a, b] = ["a", "b"].map(|key| bench.ask(&restored, &format!("get {key} --print-value-only")));
        assert_eq!(a, b, "a txn by halves");
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        let before = fs::read_to_string(bench.path().join(format!("before{n}"))).expect("written above");
        assert!(number(&a) >= number(&before), "{a} after {before} was acknowledged");
        assert_eq!(
            bench.ask(&restored, "get --prefix filler --count-only -w fields").lines().last(),
            Some("\"Count\" : 20")
        );
    }
}

#[test]
fn what_is_restored_is_what_was_saved_and_outlives_kill_9() {
    let bench = Bench::new();
    let server = Server::start(Program::holdfast(), bench.path(), &[]);
    bench.fill(&server);
    bench.ask(&server, "snapshot save s.db");
    let mut restored = bench.restore(&bench.utl, "s.db", Program::holdfast(), &[]);
    restored.spawn();
    restored.wait_ready();
    assert_eq!(bench.view(&restored), bench.view(&server));
    bench.ask(&restored, "put k1 third");
    restored.kill();
    restored.spawn();
    restored.wait_ready();
    assert_eq!(bench.ask(&restored, "get k1 --print-value-only"), "third\n");
    // The revision goes on where it was, or where it was told to.
    let mut bumped =
        bench.restore(&bench.utl, "s.db", Program::holdfast(), &["--bump-revision=1000", "--mark-compacted"]);
    bumped.spawn();
    bumped.wait_ready();
    let revision = |server: &Server| {
        let fields = bench.ask(server, "put new x -w fields");
        let line = fields.lines().find(|line| line.starts_with("\"Revision\"")).expect("a header");
        line.rsplit(' ').next().expect("a number").parse::<i64>().expect("a number")
    };
    assert_eq!(revision(&bumped), revision(&server) + 1000);
    let endpoint = format!("--endpoints={}", bumped.endpoint());
    let old = run(&bench.ctl, bench.path(), &[&endpoint, "get", "k2", "--rev=100"]);
    assert!(old.err.contains("required revision has been compacted"), "{}", old.err);
}

#[test]
fn three_members_restored_from_one_snapshot_are_a_cluster() {
    let bench = Bench::new();
    let server = Server::start(Program::holdfast(), bench.path(), &[]);
    bench.fill(&server);
    bench.ask(&server, "snapshot save s.db");
    let mut members: Vec<Server> = (1..4)
        .map(|n| Server::new(Program::holdfast(), &bench.path().join(format!("m{n}")), &format!("m{n}")))
        .collect();
    let urls = members.iter().map(|member| format!("{}={}", member.name(), member.peer_url()));
    let cluster = urls.collect::<Vec<_>>().join(",");
    for member in &mut members {
        let line = format!(
            "snapshot restore s.db --name={name} --data-dir={name} --initial-cluster={cluster} \
             --initial-cluster-token=new --initial-advertise-peer-urls={}",
            member.peer_url(),
            name = member.name(),
        );
        let ran = bench.utl(&line);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        member.bootstrap(&["--initial-cluster", &cluster, "--initial-cluster-token", "new"]);
        member.spawn();
    }
    members.iter_mut().for_each(Server::wait_ready);
    assert_eq!(bench.ask(&members[0], "member list").lines().count(), 3);
    bench.ask(&members[0], "put k1 of-three");
    members[0].kill();
    for member in &members[1..] {
        assert_eq!(bench.ask(member, "get k1 --print-value-only"), "of-three\n");
        assert_eq!(bench.ask(member, "get k9 --print-value-only"), "leased\n");
    }
}

#[test]
fn a_snapshot_is_for_root_alone() {
    let bench = Bench::new();
    let server = Server::start(Program::holdfast(), bench.path(), &[]);
    bench.fill(&server);
    bench.ask(&server, "user add root:pw");
    bench.ask(&server, "user grant-role root root");
    bench.ask(&server, "auth enable");
    let endpoint = format!("--endpoints={}", server.endpoint());
    for (user, text) in [(&[][..], "user name is empty"), (&["--user=ann:secret"], "permission denied")] {
        let words = [&[endpoint.as_str(), "snapshot", "save", "denied.db"], user].concat();
        let ran = run(&bench.ctl, bench.path(), &words);
        // etcdctl ends as if interrupted.
        assert_eq!(ran.code, Some(5));
        assert!(ran.err.contains(text), "{}", ran.err);
        assert!(!bench.path().join("denied.db").exists());
    }
    bench.ask(&server, "--user=root:pw snapshot save s.db");
    assert!(bench.utl("snapshot status s.db").out.ends_with(", 3.7.0\n"));
}

#[test]
fn what_cannot_be_restored_is_said_and_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::start(Program::holdfast(), bench.path(), &[]);
    bench.fill(&server);
    bench.ask(&server, "snapshot save s.db");
    let whole = fs::read(bench.path().join("s.db")).expect("saved above");
    let file = |name: &str, bytes: &[u8]| fs::write(bench.path().join(name), bytes).expect("scratch is ours");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    file("flipped.db", &flipped);
    file("cut.db", &whole[..whole.len() - 100]);
    file("garbage.db", &[b'x'; 5_000]);
    file("empty.db", b"");
    fs::create_dir_all(bench.path().join("full/x")).expect("scratch is ours");
    let lines: [(&str, i32, &str); 14] = [
        ("status", 128, "snapshot status requires exactly one argument"),
        ("status none.db", 1, "stat none.db: no such file or directory"),
        ("status garbage.db", 1, "invalid database"),
        ("status empty.db", 1, "invalid database"),
        ("status s.db -w none", 4, "unsupported output format"),
        ("status s.db -w protobuf", 4, "protobuf not supported as output format"),
        ("restore", 128, "snapshot restore requires exactly one argument"),
        ("restore none.db", 1, "open none.db: no such file or directory"),
        ("restore flipped.db", 1, "expected sha256 ["),
        ("restore cut.db", 1, "snapshot missing hash but --skip-hash-check=false"),
        ("restore garbage.db --skip-hash-check", 1, "invalid database"),
        ("restore s.db --data-dir=full", 1, "data-dir \"full\" not empty or could not be read"),
        (
            "restore s.db --name=foo",
            1,
            "couldn't find local name \"foo\" in the initial cluster configuration",
        ),
        ("restore s.db --bump-revision=5", 128, "--mark-compacted required if --revision-bump > 0"),
    ];
    for (line, code, text) in lines {
        let ran = bench.utl(&format!("snapshot {line}"));
        assert_eq!(ran.code, Some(code), "{line}: {}", ran.err);
        let last = ran.err.lines().last().expect("a line says why");
        assert!(last.starts_with("Error: ") && last.contains(text), "{line}: {last}");
        assert!(!bench.path().join("default.etcd").exists(), "{line}");
        assert!(!bench.path().join("foo.etcd").exists(), "{line}");
    }
}

/// Each reads and restores what the other saved.
#[test]
fn snapshots_go_between_us_and_a_real_etcd() {
    let (etcd, theirs) = match (real_etcd(), etcdutl()) {
        (Ok(etcd), Ok(etcdutl)) => (etcd, etcdutl),
        (Err(why), _) | (_, Err(why)) => {
            return println!("SKIPPED snapshots_go_between_us_and_a_real_etcd: {why}");
        }
    };
    let bench = Bench::new();
    for (saved_by, restored_by) in [(Program::holdfast(), etcd.clone()), (etcd, Program::holdfast())] {
        let scratch = bench.path().join(saved_by.name());
        fs::create_dir(&scratch).expect("scratch is ours");
        let server = Server::start(saved_by.clone(), &scratch, &[]);
        bench.fill(&server);
        let file = format!("{}.db", saved_by.name());
        bench.ask(&server, &format!("snapshot save {file}"));
        for format in ["simple", "json", "fields", "table"] {
            let words = ["snapshot", "status", &file, "-w", format];
            assert_eq!(
                done(&bench.utl, bench.path(), &words),
                done(&theirs, bench.path(), &words),
                "{format}"
            );
        }
        let tool = if restored_by.name() == "etcd" { &theirs } else { &bench.utl };
        let mut restored = bench.restore(tool, &file, restored_by, &[]);
        restored.spawn();
        restored.wait_ready();
        assert_eq!(bench.view(&restored), bench.view(&server), "{file}");
    }
}
