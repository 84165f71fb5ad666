//! Ring 2: the production shell under simulation.
//!
//! A machine of its own runs `holdfast_server::run` on the disk of ring 1, another runs clients that call it
//! through the generated stubs. A storm (`storm`) has three such members, and a fourth that comes and goes: they
//! are killed, lose power, are paused and cut off, their clocks run fast or slow, their clients go from one to the
//! other, give up, and watch. The run with one member is denser: more calls, more kills, longer. At the end all
//! revisions are read one by one, and every answer that a client ever got must fit them; the black-box checker
//! judges the same history, with its watches, without them. One seed decides everything; each seed needs a thread
//! of its own, since hash seeds live in thread-locals.

pub mod admission;
mod asking;
mod audience;
pub mod client;
mod cluster;
pub mod disk;
pub mod farm;
mod harm;
pub mod history;
mod joining;
mod site;
pub mod storm;
pub mod story;
mod stubs;
pub mod trace;
mod watcher;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::boundary::Limits;
use holdfast_core::wal::LayoutConfig;
use holdfast_net::clock::WallClock;
use holdfast_net::listen::listen_madsim;
use holdfast_server::clock::HostClock;
use holdfast_server::config::{Outcome, ServerConfig, Surroundings, parse};
use holdfast_server::door::PeerDoor;
use holdfast_server::run::{Host, Member, start};
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle, Runtime};
use tokio::time::{Instant, sleep};

use crate::blackbox::{self, Verdict};
use crate::disk::DiskFaults;
use crate::plan::draw_layout;
use crate::rng::{Rng, derive};
use client::{Client, Server, Shared};
use disk::SharedDisk;
use history::{History, Keys};

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SERVER_URL: &str = "http://10.0.0.1:2379";
/// Name of the machine that runs the server.
const MACHINE: &str = "server";
/// Longer than any lease and what a restart adds to it.
const CALM: Duration = Duration::from_secs(30);

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub calls: u64,
    pub acknowledged: u64,
    pub revisions: u64,
    pub restarts: u64,
    pub power_losses: u64,
    /// Ends of the server by its own decision, after a flush that failed.
    pub deaths: u64,
    pub checkpoints_found: u64,
    /// Histories that the black-box checker gave up.
    pub undecided: u64,
    /// Of all that clients saw, and when.
    pub history_hash: u64,
}

/// The server's machine: what outlives the server.
struct Machine {
    seed: u64,
    disk: SharedDisk,
    config: ServerConfig,
    limits: Limits,
    layout: LayoutConfig,
    /// Lives that began.
    lives: Arc<AtomicUsize>,
    deaths: AtomicU64,
    /// Starts that found a checkpoint.
    checkpoints_found: AtomicU64,
    /// What must not happen to it, once it has.
    failed: Mutex<Option<String>>,
}

/// Runs one seed on a thread of its own. Errors: what did not fit; a panic is one.
pub fn run_seed(seed: u64) -> Result<Report, String> {
    on_own_thread(seed, move || run(seed))
}

/// Runs a world of a seed on a thread of its own. Errors: its own; a panic is one.
pub fn on_own_thread<T, F>(seed: u64, make: impl FnOnce() -> F + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>>,
{
    let thread = std::thread::Builder::new().name(format!("seed-{seed:#x}")).stack_size(16 << 20);
    let run = thread.spawn(move || {
        let mut runtime = Runtime::with_seed_and_config(seed, Default::default());
        runtime.set_time_limit(Duration::from_secs(3600));
        runtime.block_on(make())
    });
    match run.expect("a thread can be had").join() {
        Ok(result) => result,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("assert/panic  {}", words.unwrap_or("a panic without words")))
        }
    }
}

async fn run(seed: u64) -> Result<Report, String> {
    let mut rng = Rng::named(seed, "ring2");
    let machine = Arc::new(Machine::draw(seed, &mut rng));
    let handle = Handle::current();
    let site = machine.clone();
    let server = handle.create_node().name(MACHINE).ip(SERVER).init(move || serve(site.clone())).build();
    let clients = handle.create_node().name("clients").ip(CLIENTS).build();
    let shared = Shared {
        history: Arc::new(Mutex::new(History::default())),
        began: Instant::now(),
        think_ns: (0, rng.log_between(1_000_000, 100_000_000)),
        value_bytes_max: if rng.chance(0.1) { 100_000 } else { 500 },
        patience: Duration::from_secs(5),
    };
    let site = Server { url: SERVER_URL, life: machine.lives.clone() };
    let until = shared.began + Duration::from_nanos(rng.between(3_000_000_000, 12_000_000_000));
    let working: Vec<_> = (0..rng.between(2, 6))
        .map(|number| {
            clients.spawn(Client::new(number, seed, shared.clone(), std::slice::from_ref(&site)).run(until))
        })
        .collect();
    do_harm(&mut rng, &machine, &server, until).await;
    for client in working {
        client.await.map_err(|error| format!("a client ended: {error}"))?;
    }
    machine.disk.lock().faults.sync_fails = 0.0;
    machine.restart(&server, &mut rng).await;
    sleep(CALM).await;
    let reader = Client::new(u64::MAX, seed, shared.clone(), std::slice::from_ref(&site)).patient();
    let truth =
        clients.spawn(read_all(reader)).await.map_err(|error| format!("the reader ended: {error}"))?;
    if let Some(why) = machine.failed.lock().expect("nobody panics while holding it").take() {
        return Err(why);
    }
    let truth = truth?;
    let history = shared.history.lock().expect("nobody panics while holding it");
    history.check(&truth)?;
    let is_explained = judge(&history)?;
    let lives = machine.lives.load(Ordering::Relaxed);
    Ok(Report {
        calls: history.calls.len() as u64,
        acknowledged: history.acknowledged(),
        revisions: truth.len() as u64,
        restarts: lives as u64 - 1,
        power_losses: machine.disk.lock().counts.power_losses,
        deaths: machine.deaths.load(Ordering::Relaxed),
        checkpoints_found: machine.checkpoints_found.load(Ordering::Relaxed),
        undecided: u64::from(!is_explained),
        history_hash: history.hash(),
    })
}

/// Judges what clients saw without the truth of the end (L2); whether an order was found. Errors: there is none.
pub fn judge(history: &History) -> Result<bool, String> {
    match blackbox::check(&history.blackbox()) {
        Verdict::Ok(_) => Ok(true),
        Verdict::Undecided { .. } => Ok(false),
        Verdict::Violation(conflict) => {
            let calls = conflict.calls.iter().map(|call| format!("\n  {:?}", history.seen[*call]));
            Err(format!("{conflict}{}", calls.collect::<String>()))
        }
    }
}

/// Kills, power losses and stalled links until `until`.
async fn do_harm(rng: &mut Rng, machine: &Machine, server: &NodeHandle, until: Instant) {
    let every_ns = rng.log_between(300_000_000, 6_000_000_000);
    loop {
        sleep(Duration::from_nanos(rng.between(1, every_ns))).await;
        if Instant::now() >= until {
            return;
        }
        if rng.chance(0.25) {
            NetSim::current().clog_node(server.id());
            sleep(Duration::from_nanos(rng.log_between(1_000_000, 2_000_000_000))).await;
            NetSim::current().unclog_node(server.id());
        } else {
            machine.restart(server, rng).await;
        }
    }
}

/// Live keys at each revision, from 1 to the last. Errors: one cannot be read.
async fn read_all(mut reader: Client) -> Result<Vec<Keys>, String> {
    let all = || ("a".to_owned(), "z".to_owned());
    let mut last = None;
    for _ in 0..20 {
        let (from, to) = all();
        last = reader.range(from, to, 0, false).await;
        if last.is_some() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let (revision, _) = last.ok_or("no progress: nothing can be read in the calm")?;
    let mut truth = Vec::new();
    for at in 1..=revision {
        let (from, to) = all();
        let (_, keys) = reader.range(from, to, at, false).await.ok_or("a past revision cannot be read")?;
        truth.push(keys);
    }
    Ok(truth)
}

/// The server's process.
async fn serve(machine: Arc<Machine>) {
    let life = machine.lives.fetch_add(1, Ordering::Relaxed);
    if machine.disk.lock().names().any(|name| name.starts_with("ckpt/") && !name.ends_with(".tmp")) {
        machine.checkpoints_found.fetch_add(1, Ordering::Relaxed);
    }
    let host = Host {
        disk: machine.disk.clone(),
        clock: HostClock::new(1.0, WallClock::TRUE),
        door: PeerDoor { address: SocketAddr::new(SERVER, 2380) },
        layout: machine.layout,
        seed: derive(machine.seed, life as u64),
        tokens: None,
    };
    let opened = start(&machine.config, machine.limits.clone(), host).await;
    let Member { gate, mut core, published, .. } = match opened {
        Ok(member) => member,
        Err(why) => return machine.fail(format!("life {life} does not start: {why}")),
    };
    let served = async {
        if published.await.is_err() {
            return std::future::pending().await;
        }
        listen_madsim(SocketAddr::new(SERVER, 2379), gate).await
    };
    tokio::select! {
        biased;
        ended = &mut core.ended => {
            if machine.disk.lock().counts.syncs_failed == 0 {
                machine.fail(format!("life {life} ended by itself: {ended:?}"));
            }
            machine.deaths.fetch_add(1, Ordering::Relaxed);
        }
        served = served => machine.fail(format!("life {life} serves no more: {served:?}")),
    }
    // The process is over, its writers too.
    Handle::current().kill(MACHINE);
}

impl Machine {
    fn draw(seed: u64, rng: &mut Rng) -> Machine {
        let faults = DiskFaults {
            sync_ns: (50_000, rng.log_between(100_000, 20_000_000)),
            stall: if rng.chance(0.3) { 0.02 } else { 0.0 },
            stall_ns: (10_000_000, 1_500_000_000),
            sync_fails: if rng.chance(0.2) { 0.01 } else { 0.0 },
            ..DiskFaults::default()
        };
        let limits = Limits {
            work_max: rng.log_between(3, 10_000) as u32,
            checkpoint_piece_bytes_max: rng.log_between(128, 1 << 20) as usize,
            checkpoint_log_bytes_min: rng.log_between(2_000, 1 << 20),
            log_tail_bytes_max: rng.log_between(1_000, 1 << 20),
            ..Limits::default()
        };
        Machine {
            seed,
            disk: SharedDisk::new(seed, faults),
            config: config(),
            limits,
            layout: draw_layout(&mut Rng::named(seed, "layout")),
            lives: Arc::default(),
            deaths: AtomicU64::new(0),
            checkpoints_found: AtomicU64::new(0),
            failed: Mutex::new(None),
        }
    }

    /// Kills the server where it stands, perhaps by cutting the power, and starts it again.
    async fn restart(&self, server: &NodeHandle, rng: &mut Rng) {
        Handle::current().kill(server.id());
        if rng.chance(0.6) {
            self.disk.lock().lose_power();
        }
        sleep(Duration::from_nanos(rng.log_between(1_000_000, 1_000_000_000))).await;
        Handle::current().restart(server.id());
    }

    /// Keeps the first failure.
    fn fail(&self, why: String) {
        self.failed.lock().expect("nobody panics while holding it").get_or_insert(why);
    }
}

/// A member with etcd's defaults.
fn config() -> ServerConfig {
    let flags = [
        "--name=one",
        "--listen-client-urls=http://10.0.0.1:2379",
        "--advertise-client-urls=http://10.0.0.1:2379",
        "--initial-advertise-peer-urls=http://10.0.0.1:2380",
        "--listen-peer-urls=http://10.0.0.1:2380",
        "--initial-cluster=one=http://10.0.0.1:2380",
    ];
    let around = Surroundings {
        environment: &[],
        read_file: &|path| Err(format!("open {path}: no such file or directory")),
        default_host: &|| None,
    };
    match parse(&flags.map(str::to_owned), &around).expect("these flags are etcd's") {
        Outcome::Run(config) => *config,
        Outcome::Print(text) => unreachable!("asked for nothing to print: {text}"),
    }
}
