//! One member's machine: what outlives its process, and the process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_core::boundary::Limits;
use holdfast_core::wal::LayoutConfig;
use holdfast_net::gate::Gate;
use holdfast_net::listen::listen_madsim;
use holdfast_server::boot::StartError;
use holdfast_server::clock::HostClock;
use holdfast_server::config::{ClusterState, Outcome, ServerConfig, Surroundings, parse};
use holdfast_server::core_loop::Death;
use holdfast_server::door::PeerDoor;
use holdfast_server::metrics::Metrics;
use holdfast_server::run::{Host, Member, start};
use madsim::runtime::Handle;

use super::client::Server;
use super::disk::SharedDisk;
use crate::rng::derive;

/// A member has fewer lives in a run.
const LIVES_MAX: usize = 1000;

/// Members of a run are fewer.
pub const PLACES_MAX: usize = 9;

const URLS: [&str; PLACES_MAX] = [
    "http://10.0.1.1:2379",
    "http://10.0.1.2:2379",
    "http://10.0.1.3:2379",
    "http://10.0.1.4:2379",
    "http://10.0.1.5:2379",
    "http://10.0.1.6:2379",
    "http://10.0.1.7:2379",
    "http://10.0.1.8:2379",
    "http://10.0.1.9:2379",
];

/// The first thing of a run that must not be.
pub type Failure = Arc<Mutex<Option<String>>>;

/// A member's machine.
pub struct Site {
    pub place: usize,
    pub disk: SharedDisk,
    pub clock: HostClock,
    seed: u64,
    limits: Limits,
    layout: LayoutConfig,
    config: ServerConfig,
    joins: bool,
    server: Server,
    /// Of the process that runs.
    seat: Mutex<Option<Seat>>,
    is_up: AtomicBool,
    /// Its process takes clients.
    serves: AtomicBool,
    is_removed: AtomicBool,
    /// An operator has removed it from the cluster.
    is_dismissed: AtomicBool,
    /// It has lost its disk and must not come back.
    is_wiped: AtomicBool,
    /// Ends of the process by its own decision, after a flush that failed.
    pub deaths: AtomicU64,
    /// Starts that found a checkpoint.
    pub checkpoints_found: AtomicU64,
    failed: Failure,
}

/// What can be seen of a running process from beside it.
#[derive(Clone)]
pub struct Seat {
    pub gate: Gate,
    pub metrics: Metrics,
}

/// What a machine is made of.
pub struct Parts {
    pub place: usize,
    pub seed: u64,
    pub disk: SharedDisk,
    pub clock: HostClock,
    pub limits: Limits,
    pub layout: LayoutConfig,
    pub config: ServerConfig,
}

impl Site {
    pub fn new(parts: Parts, failed: Failure) -> Site {
        let Parts { place, seed, disk, clock, limits, layout, config } = parts;
        let life = Arc::new(AtomicUsize::new(place * LIVES_MAX));
        Site {
            place,
            disk,
            clock,
            seed,
            limits,
            layout,
            joins: config.initial_cluster_state == ClusterState::Existing,
            config,
            server: Server { url: URLS[place], life },
            seat: Mutex::new(None),
            is_up: AtomicBool::new(true),
            serves: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
            is_dismissed: AtomicBool::new(false),
            is_wiped: AtomicBool::new(false),
            deaths: AtomicU64::new(0),
            checkpoints_found: AtomicU64::new(0),
            failed,
        }
    }

    /// As clients know it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The name of its machine.
    pub fn name(&self) -> String {
        format!("m{}", self.place)
    }

    pub fn seat(&self) -> Option<Seat> {
        self.lock_seat().clone()
    }

    fn lock_seat(&self) -> MutexGuard<'_, Option<Seat>> {
        self.seat.lock().expect("nobody panics while holding it")
    }

    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Whether it is one of those with which the cluster began.
    pub fn is_first(&self) -> bool {
        !self.joins
    }

    pub fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// The cluster has removed it, and it knows.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// From here on it has to find out that it is removed.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Relaxed);
    }

    /// It loses its disk; the process ends with it. Under its old id it must not start again.
    pub fn wipe(&self) {
        self.kill(false);
        self.disk.wipe(self.seed);
        self.is_wiped.store(true, Ordering::Relaxed);
    }

    pub fn is_wiped(&self) -> bool {
        self.is_wiped.load(Ordering::Relaxed)
    }

    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Relaxed)
    }

    pub fn leads(&self) -> bool {
        self.lock_seat().as_ref().is_some_and(|seat| seat.metrics.raft.is_leader.get() == 1)
    }

    /// Ends the process where it stands, perhaps by cutting the power.
    pub fn kill(&self, power: bool) {
        Handle::current().kill(self.name());
        self.is_up.store(false, Ordering::Relaxed);
        self.serves.store(false, Ordering::Relaxed);
        *self.lock_seat() = None;
        if power {
            self.disk.lock().lose_power();
        }
    }

    /// Starts the process anew, if none runs.
    pub fn start(&self) {
        if !self.is_up() {
            self.is_up.store(true, Ordering::Relaxed);
            Handle::current().restart(self.name());
        }
    }

    /// The process.
    pub async fn run(self: Arc<Site>) {
        let life = self.server.life.fetch_add(1, Ordering::Relaxed);
        if self.disk.lock().names().any(|name| name.starts_with("ckpt/") && !name.ends_with(".tmp")) {
            self.checkpoints_found.fetch_add(1, Ordering::Relaxed);
        }
        let host = Host {
            disk: self.disk.clone(),
            clock: self.clock.clone(),
            door: PeerDoor { address: SocketAddr::new(ip(self.place), 2380) },
            layout: self.layout,
            seed: derive(self.seed, life as u64),
            tokens: None,
        };
        let opened = start(&self.config, self.limits.clone(), host).await;
        let Member { gate, metrics, mut core, published, .. } = match opened {
            Ok(member) => member,
            // Who joins may ask somebody who has not heard of it yet, and is started again.
            Err(StartError::Bootstrap(_)) if self.joins => return self.kill(false),
            Err(_) if self.is_wiped() => return self.kill(false),
            Err(why) => return self.end(&format!("does not start: {why}")),
        };
        *self.lock_seat() = Some(Seat { gate: gate.clone(), metrics });
        let served = async {
            if published.await.is_err() {
                return std::future::pending().await;
            }
            self.serves.store(true, Ordering::Relaxed);
            listen_madsim(SocketAddr::new(ip(self.place), 2379), gate).await
        };
        tokio::select! {
            biased;
            ended = &mut core.ended => match ended {
                Ok(Err(Death::Removed)) => {
                    self.is_removed.store(true, Ordering::Relaxed);
                    self.kill(false);
                }
                ended => self.end(&format!("ended by itself: {ended:?}")),
            },
            served = served => self.fail(format!("serves no more: {served:?}")),
        }
    }

    /// The process has ended: a disk that failed is a reason.
    fn end(&self, why: &str) {
        let failed = self.disk.lock().counts.syncs_failed;
        match self.deaths.fetch_add(1, Ordering::Relaxed) < failed {
            true => self.kill(false),
            false => self.fail(why.to_owned()),
        }
    }

    fn fail(&self, why: String) {
        let why = format!("m{} {why}", self.place);
        self.failed.lock().expect("nobody panics while holding it").get_or_insert(why);
    }
}

pub fn ip(place: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, place as u8 + 1))
}

/// Who is there when a member is started for the first time.
#[derive(Clone, Debug)]
pub enum Start {
    /// So many begin a cluster.
    With(usize),
    /// It joins these.
    Joins(Vec<usize>),
}

/// How a member is started.
pub fn config(place: usize, start: &Start, own: &[String]) -> ServerConfig {
    let host = ip(place);
    let places = match start {
        Start::With(count) => (0..*count).collect(),
        Start::Joins(others) => [others.as_slice(), &[place]].concat(),
    };
    let all: Vec<String> =
        places.iter().map(|place| format!("m{place}=http://{}:2380", ip(*place))).collect();
    let mut flags = vec![
        format!("--name=m{place}"),
        format!("--listen-client-urls=http://{host}:2379"),
        format!("--advertise-client-urls=http://{host}:2379"),
        format!("--initial-advertise-peer-urls=http://{host}:2380"),
        format!("--listen-peer-urls=http://{host}:2380"),
        format!("--initial-cluster={}", all.join(",")),
    ];
    if matches!(start, Start::Joins(_)) {
        flags.push("--initial-cluster-state=existing".to_owned());
    }
    flags.extend_from_slice(own);
    let around = Surroundings {
        environment: &[],
        read_file: &|path| Err(format!("open {path}: no such file or directory")),
        default_host: &|| None,
    };
    match parse(&flags, &around).expect("these flags are etcd's") {
        Outcome::Run(config) => *config,
        Outcome::Print(text) => unreachable!("asked for nothing to print: {text}"),
    }
}
