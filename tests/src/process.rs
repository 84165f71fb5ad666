//! A server process on loopback with a data directory of its own: start, kill -9, start again.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to serve; generous, since test machines are slow and shared.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Which program serves.
#[derive(Clone, Debug)]
pub enum Program {
    /// This repository's server.
    Holdfast(PathBuf),
    /// A real etcd to compare with.
    Etcd(PathBuf),
}

impl Program {
    /// The server built beside the running test.
    pub fn holdfast() -> Program {
        Program::Holdfast(built("holdfast"))
    }

    pub fn path(&self) -> &Path {
        match self {
            Program::Holdfast(path) | Program::Etcd(path) => path,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Program::Holdfast(_) => "holdfast",
            Program::Etcd(_) => "etcd",
        }
    }
}

/// A binary of this workspace in the profile of the running one; built if it is not there.
pub fn built(binary: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a running program has a path");
    let directory = here.ancestors().find(|dir| dir.join("deps").is_dir()).expect("tests run below target/");
    let path = directory.join(binary);
    let package = if binary == "holdfastctl" { "holdfast-ctl" } else { "holdfast-server" };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "-q", "-p", package, "--bin", binary]);
    if directory.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo.stdin(Stdio::null()).status().expect("cargo runs the tests, so it can build");
    assert!(status.success(), "{binary} does not build");
    path
}

/// Schemes of a server's URLs, for clients and for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemes {
    pub client: &'static str,
    pub peer: &'static str,
}

impl Schemes {
    pub const PLAIN: Schemes = Schemes { client: "http", peer: "http" };
    pub const SECURE: Schemes = Schemes { client: "https", peer: "https" };
}

/// A running server. Killed when dropped.
pub struct Server {
    program: Program,
    child: Option<Child>,
    /// How often it was started.
    lives: usize,
    schemes: Schemes,
    name: String,
    pub client_port: u16,
    pub peer_port: u16,
    directory: PathBuf,
    /// How it finds its cluster, unless `variables` say so.
    bootstrap: Vec<String>,
    variables: Vec<(String, String)>,
    flags: Vec<String>,
}

impl Server {
    /// Starts `program` on an empty directory below `scratch` and waits until it serves.
    pub fn start(program: Program, scratch: &Path, flags: &[&str]) -> Server {
        Server::start_as(program, Schemes::PLAIN, scratch, flags)
    }

    /// The same below TLS or not.
    pub fn start_as(program: Program, schemes: Schemes, scratch: &Path, flags: &[&str]) -> Server {
        let mut server = Server::new_as(program, schemes, &scratch.join("data"), "default");
        let peer = server.peer_url();
        server.bootstrap.extend(["--initial-cluster".to_owned(), format!("default={peer}")]);
        server.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        server.spawn();
        server.wait_ready();
        server
    }

    /// A member with ports of its own that is not started; it has to be told of its cluster.
    pub fn new(program: Program, directory: &Path, name: &str) -> Server {
        Server::new_as(program, Schemes::PLAIN, directory, name)
    }

    /// The same below TLS or not.
    pub fn new_as(program: Program, schemes: Schemes, directory: &Path, name: &str) -> Server {
        let mut server = Server {
            program,
            child: None,
            lives: 0,
            schemes,
            name: name.to_owned(),
            client_port: free_port(),
            peer_port: free_port(),
            directory: directory.to_path_buf(),
            bootstrap: Vec::new(),
            variables: Vec::new(),
            flags: Vec::new(),
        };
        let peer = server.peer_url();
        server.bootstrap =
            ["--name", name, "--initial-advertise-peer-urls", &peer].map(str::to_owned).to_vec();
        server
    }

    /// Further flags that say how it finds its cluster.
    pub fn bootstrap(&mut self, flags: &[&str]) {
        self.bootstrap.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    /// Variables that say who it is and how it finds its cluster, in place of all flags that do.
    pub fn set_variables(&mut self, variables: Vec<(String, String)>) {
        self.bootstrap.clear();
        self.variables = variables;
    }

    /// A variable beside the flags, from the next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Flags that have nothing to do with its cluster, from the next start on.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Starts the process again on the same directory and ports; does not wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "one process a directory");
        let (client, peer) = (self.endpoint(), self.peer_url());
        let log_path = self.directory.with_extension("log");
        let log =
            fs::OpenOptions::new().create(true).append(true).open(&log_path).expect("scratch is writable");
        let mut command = Command::new(self.program.path());
        command.arg("--data-dir").arg(&self.directory);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer]).args(&self.bootstrap);
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned());
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.program.path().display()));
        self.child = Some(child);
        self.lives += 1;
    }

    /// Waits until `/health` or, below TLS, the log says so; prints the log if it never does.
    pub fn wait_ready(&mut self) {
        let started = Instant::now();
        while !self.is_healthy() {
            let gone = self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|s| s.is_some()));
            if gone || started.elapsed() > READY_WITHIN {
                panic!("{} {} does not serve:\n{}", self.program.name(), self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_healthy(&self) -> bool {
        if self.schemes.client == "https" {
            return self.log().matches("ready to serve client requests").count() >= self.lives;
        }
        http_get(self.client_port, "/health").is_some_and(|body| body.contains("\"health\":\"true\""))
    }

    /// SIGKILL, as a power switch for the process.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the process is ours");
            child.wait().expect("the process is ours");
        }
    }

    /// SIGTERM, and the exit status once it is gone.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("running");
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is everywhere");
        assert!(sent.success());
        child.wait().expect("the process is ours")
    }

    /// Waits until the process has ended by itself.
    pub fn wait_end(&mut self) -> std::process::ExitStatus {
        let started = Instant::now();
        let mut child = self.child.take().expect("running");
        loop {
            if let Some(status) = child.try_wait().expect("the process is ours") {
                return status;
            }
            if started.elapsed() > READY_WITHIN {
                self.child = Some(child);
                panic!("{} does not end:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the process was started and not killed since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn peer_url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.schemes.peer, self.peer_port)
    }

    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.schemes.client, self.client_port)
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// User and system time of the process so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("running");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a stat line").split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        ticks as f64 / 100.0
    }

    /// Resident memory in MB (10^6 bytes).
    pub fn rss_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("running");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a running process");
        let kib: f64 = line.split_whitespace().nth(1).expect("a figure").parse().expect("a number");
        kib * 1024.0 / 1e6
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// The last lines of the log, for messages of failures.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// All that it has logged, in all its lives.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.with_extension("log")).expect("the log was opened at start");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Body of a plain HTTP GET on loopback, if anybody answers 200.
pub fn http_get(port: u16, path: &str) -> Option<String> {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// A port below those that the system gives to outgoing connections, one of which could take it before the
/// server does. Each process of tests begins elsewhere, and gives none twice.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(397) as u16;
    loop {
        let place = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + place % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
