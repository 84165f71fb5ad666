//! Three members in a storm: everything that a seed chooses goes wrong at once, clients go on, then all is healed.
//!
//! Judged: every answer by the revisions as they are read at the end, the whole history with its watches by the
//! black-box checker, all members by one hash, and progress in the calm.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::boundary::Limits;
use holdfast_core::lease::ttl_min_s;
use holdfast_core::wal::LayoutConfig;
use holdfast_net::clock::WallClock;
use holdfast_net::proto::etcdserverpb::{self as pb, maintenance_client::MaintenanceClient};
use holdfast_server::clock::HostClock;
use madsim::runtime::NodeHandle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::client::{Client, Server, Shared};
use super::cluster::Cluster;
use super::disk::SharedDisk;
use super::harm::{Harms, do_harm};
use super::history::{History, Keys, Marks};
use super::joining::Newcomer;
use super::site::{Parts, Start, config};
use super::trace;
use super::watcher::Watcher;
use super::{judge, on_own_thread, read_all};
use crate::disk::DiskFaults;
use crate::plan::draw_layout;
use crate::rng::{Rng, derive, mix};

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(10);

/// Longer than any lease and what a new leader adds to it.
const CALM: Duration = Duration::from_secs(15);

/// Until the last writes must have come to all watchers.
const LAST_NEWS: Duration = Duration::from_secs(3);

/// Bound on the rate error of a clock where clocks are wrong.
const DRIFT: f64 = 0.1;

/// What a whole set of seeds must have seen.
pub const MARKS: [&str; 24] = [
    "cancelled",
    "checkpoints_found",
    "clocks_wrong",
    "deadlines",
    "deaths",
    "elections",
    "failovers",
    "kills",
    "leader_cuts",
    "learners_added",
    "learners_promoted",
    "members_removed",
    "moved_leaders",
    "one_way_cuts",
    "pauses",
    "power_cuts",
    "replies_cut",
    "replies_lost",
    "sectors_lost",
    "sectors_torn",
    "slow_watchers",
    "two_way_cuts",
    "watch_events",
    "watch_resumes",
];

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct StormReport {
    pub calls: u64,
    pub acknowledged: u64,
    /// Of watches.
    pub events: u64,
    /// Histories that the black-box checker gave up.
    pub undecided: u64,
    pub marks: Marks,
    /// Of all that clients saw, all that members wrote, and every moment at which they took a turn.
    pub trace: u64,
}

/// What a seed chooses beside harms.
struct Swarm {
    limits: Limits,
    layout: LayoutConfig,
    faults: DiskFaults,
    flags: Vec<String>,
    /// Of each member's clock, and its wall clock's error.
    clocks: Vec<(f64, i64)>,
    clients: u64,
    watchers: u64,
    think_ns: (u64, u64),
    value_bytes_max: u64,
    patience: Duration,
    ttl_min_s: i64,
    newcomer: bool,
}

/// Runs one seed on a thread of its own. Errors: what did not fit.
pub fn run_storm_seed(seed: u64) -> Result<StormReport, String> {
    on_own_thread(seed, move || run(seed))
}

/// The same with all that happened, line by line.
pub fn replay_storm_seed(seed: u64) -> (Result<StormReport, String>, Vec<String>) {
    let told = on_own_thread(seed, move || async move {
        trace::listen();
        let result = run(seed).await;
        Ok((result, trace::take()))
    });
    told.unwrap_or_else(|panic| (Err(panic), Vec::new()))
}

async fn run(seed: u64) -> Result<StormReport, String> {
    let mut rng = Rng::named(seed, "ring2 storm");
    let swarm = Swarm::draw(&mut rng);
    let mut cluster = Cluster::default();
    for place in 0..3 {
        cluster.add(swarm.parts(seed, place));
    }
    let shared = swarm.shared();
    let until = shared.began + STORM;
    let mut over = Vec::new();
    let mut working = swarm.employ(seed, &mut rng, &cluster, &shared, &mut over);
    let cluster = Arc::new(Mutex::new(cluster));
    let harms = Harms::draw(&mut rng);
    if swarm.newcomer {
        let newcomer = Newcomer { parts: swarm.parts(seed, 3), rng: Rng::named(seed, "newcomer"), until };
        newcomer.live(&cluster, &shared);
    }
    let storms = [0, 1].map(|n| {
        let (rng, harms) = (Rng::named(seed, &format!("harm {n}")), harms.clone());
        do_harm(rng, harms, cluster.clone(), shared.clone(), until)
    });
    let [first, second] = storms;
    tokio::join!(first, second, watch_over(&cluster, &shared, until));
    lock(&cluster).calm();
    // A flush that was under way may have failed since.
    sleep_until(until + CALM / 3).await;
    lock(&cluster).calm();
    sleep_until(until + CALM).await;
    let truth = settle(seed, &cluster, &shared).await;
    sleep(LAST_NEWS).await;
    // One each: a channel with many ends wakes them in an order that no seed decides.
    for end in over {
        end.send_replace(true);
    }
    for task in working.drain(..) {
        task.await.map_err(|error| format!("died/client  {error}"))?;
    }
    sleep(LAST_NEWS).await;
    lock(&cluster).failure().map_err(|why| format!("died/member  {why}"))?;
    let truth = truth?;
    check_rest(&lock(&cluster))?;
    report(&lock(&cluster), &shared, &truth)
}

pub fn lock(cluster: &Mutex<Cluster>) -> std::sync::MutexGuard<'_, Cluster> {
    cluster.lock().expect("nobody panics while holding it")
}

/// Sees who leads and how watchers fare.
async fn watch_over(cluster: &Mutex<Cluster>, shared: &Shared, until: Instant) {
    while Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
        let cluster = lock(cluster);
        drop(cluster.look());
        let seats = cluster.sites.iter().filter_map(|site| site.seat());
        let slow: i64 = seats.map(|seat| seat.metrics.store.slow_watchers.get()).sum();
        if slow > 0 {
            shared.write_down(|history, _| history.mark("slow_watchers"));
        }
    }
}

/// What everybody says in the end. Errors: somebody does not answer, or not as the others.
async fn settle(seed: u64, cluster: &Mutex<Cluster>, shared: &Shared) -> Result<Vec<Keys>, String> {
    let (servers, clients) = servers_and_clients(cluster);
    settle_members(seed, cluster, shared).await?;
    let one = servers[(seed % 3) as usize].clone();
    let reader = Client::new(2000, seed, shared.clone(), &[one]).patient();
    let truth = clients.spawn(read_all(reader)).await.map_err(|error| format!("died/client  {error}"))?;
    truth.map_err(|why| format!("liveness/progress  {why}"))
}

fn servers_and_clients(cluster: &Mutex<Cluster>) -> (Vec<Server>, NodeHandle) {
    let cluster = lock(cluster);
    let clients = madsim::runtime::Handle::current().get_node(cluster.clients.id());
    (cluster.servers(), clients.expect("it was built"))
}

/// Every first member acknowledges, and all have one hash. Errors: not so.
pub async fn settle_members(seed: u64, cluster: &Mutex<Cluster>, shared: &Shared) -> Result<(), String> {
    let (servers, clients) = servers_and_clients(cluster);
    let voters = lock(cluster).voters();
    let mut last = 0;
    for (n, server) in servers.iter().enumerate().filter(|(n, _)| voters.contains(n)) {
        let mut reader =
            Client::new(1000 + n as u64, seed, shared.clone(), std::slice::from_ref(server)).patient();
        let asked = clients.spawn(async move {
            for _ in 0..20 {
                if let Some((revision, ())) = reader.put_something().await {
                    return Some(revision);
                }
                sleep(Duration::from_secs(1)).await;
            }
            None
        });
        let revision = asked.await.map_err(|error| format!("died/client  {error}"))?;
        last = revision.ok_or_else(|| format!("liveness/progress  m{n} acknowledges nothing in the calm"))?;
    }
    let mut hashes = Vec::new();
    for server in voters.iter().map(|n| &servers[*n]) {
        let mut client = MaintenanceClient::new(server.channel());
        let asked = clients.spawn(async move {
            for _ in 0..20 {
                match client.hash_kv(pb::HashKvRequest { revision: last }).await {
                    Ok(answer) => return Ok(answer.into_inner().hash),
                    Err(_) => sleep(Duration::from_millis(500)).await,
                }
            }
            Err("liveness/progress  a member has no hash of the last revision".to_owned())
        });
        hashes.push(asked.await.map_err(|error| format!("died/client  {error}"))??);
    }
    if hashes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("safety/hash_kv  members do not have the same history: {hashes:x?} at {last}"));
    }
    Ok(())
}

/// What must not be left when all clients are gone. Errors: it is.
fn check_rest(cluster: &Cluster) -> Result<(), String> {
    for site in &cluster.sites {
        if site.is_dismissed() && site.is_up() {
            return Err(format!("safety/removed  m{} was removed and goes on", site.place));
        }
        let streams = site.seat().map_or(0, |seat| seat.metrics.store.streams.get());
        if streams > 0 {
            return Err(format!("safety/streams  m{} has {streams} streams that nobody watches", site.place));
        }
    }
    Ok(())
}

fn report(cluster: &Cluster, shared: &Shared, truth: &[Keys]) -> Result<StormReport, String> {
    let mut history = shared.history.lock().expect("nobody panics while holding it");
    history.check(truth).map_err(|why| format!("safety/answers  {why}"))?;
    let undecided = u64::from(!judge(&history).map_err(|why| format!("safety/blackbox  {why}"))?);
    let (calls, acknowledged) = (history.calls.len() as u64, history.acknowledged());
    let mut marks = std::mem::take(&mut history.marks);
    let mut add = |what, count: u64| *marks.entry(what).or_default() += count;
    add("replies_lost", history.done_unheard(truth));
    add("elections", (history.terms_seen.len() as u64).saturating_sub(1));
    for site in &cluster.sites {
        let counts = site.disk.lock().counts;
        add("deaths", site.deaths.load(Ordering::Relaxed));
        add("checkpoints_found", site.checkpoints_found.load(Ordering::Relaxed));
        add("sectors_lost", counts.sectors_lost);
        add("sectors_torn", counts.sectors_torn);
    }
    let trace = mix(history.hash(), &cluster.digest().to_le_bytes());
    let events = marks.get("watch_events").copied().unwrap_or(0);
    Ok(StormReport { calls, acknowledged, events, undecided, marks, trace })
}

impl Swarm {
    fn draw(rng: &mut Rng) -> Swarm {
        let faults = DiskFaults {
            sync_ns: (50_000, rng.log_between(100_000, 20_000_000)),
            stall: if rng.chance(0.2) { 0.01 } else { 0.0 },
            stall_ns: (10_000_000, 1_500_000_000),
            sync_fails: if rng.chance(0.1) { 0.002 } else { 0.0 },
            ..DiskFaults::default()
        };
        let limits = Limits {
            work_max: rng.log_between(3, 10_000) as u32,
            checkpoint_piece_bytes_max: rng.log_between(128, 1 << 20) as usize,
            checkpoint_log_bytes_min: rng.log_between(2_000, 1 << 20),
            log_tail_bytes_max: rng.log_between(1_000, 1 << 20),
            log_lag_bytes_max: rng.log_between(4_000, 1 << 20),
            watch_credit_bytes: rng.log_between(100, 1 << 20),
            ..Limits::default()
        };
        let (heartbeat_ms, election_ms) = *rng.pick(&[(100, 1000), (100, 1000), (50, 400)]);
        let are_wrong = rng.chance(0.3);
        let mut clock = || match are_wrong {
            true => (1.0 + DRIFT * (2.0 * rng.unit() - 1.0), rng.between(0, 7200) as i64 - 3600),
            false => (1.0, 0),
        };
        let clocks = (0..4).map(|_| clock()).collect();
        let newcomer = rng.chance(0.15);
        // Strict members let nobody in while one of them is away.
        let strict = !newcomer || rng.chance(0.5);
        Swarm {
            limits,
            layout: draw_layout(rng),
            faults,
            flags: vec![
                format!("--heartbeat-interval={heartbeat_ms}"),
                format!("--election-timeout={election_ms}"),
                format!("--strict-reconfig-check={strict}"),
            ],
            clocks,
            clients: rng.between(2, 5),
            watchers: rng.between(0, 3),
            think_ns: (0, rng.log_between(80_000_000, 300_000_000)),
            value_bytes_max: if rng.chance(0.1) { 20_000 } else { 300 },
            patience: Duration::from_nanos(rng.log_between(200_000_000, 2_000_000_000)),
            ttl_min_s: ttl_min_s(election_ms / heartbeat_ms, heartbeat_ms * 1_000_000),
            newcomer,
        }
    }

    fn parts(&self, seed: u64, place: usize) -> Parts {
        let (rate, ahead_s) = self.clocks[place];
        let start = if place < 3 { Start::With(3) } else { Start::Joins(vec![0, 1, 2]) };
        let seed = derive(seed, place as u64);
        Parts {
            place,
            seed,
            disk: SharedDisk::new(seed, self.faults.clone()),
            clock: HostClock::new(rate, WallClock { ahead_s }),
            limits: self.limits.clone(),
            layout: self.layout,
            config: config(place, &start, &self.flags),
        }
    }

    fn shared(&self) -> Shared {
        let mut history = History::default();
        let are_wrong = self.clocks.iter().any(|(rate, _)| *rate != 1.0);
        if are_wrong {
            history.terms.drift = DRIFT;
            history.mark("clocks_wrong");
        }
        history.terms.ttl_min_s = self.ttl_min_s;
        Shared {
            history: Arc::new(Mutex::new(history)),
            began: Instant::now(),
            think_ns: self.think_ns,
            value_bytes_max: self.value_bytes_max,
            patience: self.patience,
        }
    }

    /// Starts clients and watchers.
    fn employ(
        &self,
        seed: u64,
        rng: &mut Rng,
        cluster: &Cluster,
        shared: &Shared,
        over: &mut Vec<watch::Sender<bool>>,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let (servers, until) = (cluster.servers(), shared.began + STORM);
        let mut working: Vec<_> = (0..self.clients)
            .map(|n| cluster.clients.spawn(Client::new(n, seed, shared.clone(), &servers).run(until)))
            .collect();
        for n in 0..self.watchers {
            let end = watch::Sender::new(false);
            let watcher = Watcher {
                servers: servers.clone(),
                shared: shared.clone(),
                rng: Rng::named(seed, &format!("watcher {n}")),
                pace_ns: if rng.chance(0.5) { rng.log_between(1_000_000, 400_000_000) } else { 0 },
                calm: until,
                over: end.subscribe(),
            };
            over.push(end);
            working.push(cluster.clients.spawn(watcher.run()));
        }
        working
    }
}
