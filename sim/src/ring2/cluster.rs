//! Three members under the production shell: bootstrap, peer streams, elections, kills of one at a time.
//!
//! The clients are those of the single member, each at a member of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::boundary::Limits;
use holdfast_net::listen::listen_madsim;
use holdfast_server::config::{Outcome, ServerConfig, Surroundings, parse};
use holdfast_server::door::PeerDoor;
use holdfast_server::run::{Member, start};
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle, Runtime};
use tokio::time::{Instant, sleep};

use super::client::{Client, Server, Shared};
use super::disk::SharedDisk;
use super::history::{History, Keys};
use super::{CALM, judge, read_all};
use crate::disk::DiskFaults;
use crate::rng::{Rng, derive};

/// A member has fewer lives in a run.
const LIVES_MAX: usize = 1000;

const URLS: [&str; 3] = ["http://10.0.1.1:2379", "http://10.0.1.2:2379", "http://10.0.1.3:2379"];

/// What came of a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterReport {
    pub acknowledged: u64,
    pub kills: u64,
    /// Histories that the black-box checker gave up.
    pub undecided: u64,
    pub history_hash: u64,
}

fn ip(place: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, place as u8 + 1))
}

/// Runs one seed on this thread. Errors: what did not fit.
pub fn run_cluster_seed(seed: u64) -> Result<ClusterReport, String> {
    let mut runtime = Runtime::with_seed_and_config(seed, Default::default());
    runtime.set_time_limit(Duration::from_secs(600));
    runtime.block_on(run(seed))
}

async fn run(seed: u64) -> Result<ClusterReport, String> {
    let mut rng = Rng::named(seed, "ring2 cluster");
    let handle = Handle::current();
    let failed: Arc<Mutex<Option<String>>> = Arc::default();
    let servers: Vec<Server> = URLS.iter().map(|url| Server { url, life: Arc::default() }).collect();
    let members: Vec<(SharedDisk, NodeHandle)> = (0..3)
        .map(|place| {
            let faults = DiskFaults { sync_ns: (50_000, 5_000_000), ..DiskFaults::default() };
            let disk = SharedDisk::new(derive(seed, place as u64), faults);
            let (site, failed) = (disk.clone(), failed.clone());
            let lives = servers[place].life.clone();
            lives.store(place * LIVES_MAX, Ordering::Relaxed);
            let node = handle.create_node().name(format!("m{place}")).ip(ip(place));
            let node = node.init(move || {
                let life = lives.fetch_add(1, Ordering::Relaxed);
                serve(place, site.clone(), derive(seed, life as u64), failed.clone())
            });
            (disk, node.build())
        })
        .collect();
    let clients = handle.create_node().name("clients").ip([10, 0, 1, 9].into()).build();
    let shared = Shared {
        history: Arc::new(Mutex::new(History::default())),
        began: Instant::now(),
        think_ns: (0, 20_000_000),
        value_bytes_max: 500,
    };
    let until = shared.began + Duration::from_secs(20);
    let working: Vec<_> = (0..3)
        .map(|n| clients.spawn(Client::new(n as u64, seed, shared.clone(), &servers[n]).run(until)))
        .collect();
    let mut kills = 0;
    while Instant::now() < until {
        sleep(Duration::from_nanos(rng.between(1_000_000_000, 4_000_000_000))).await;
        let (disk, node) = &members[rng.below(3) as usize];
        if rng.chance(0.4) {
            NetSim::current().clog_node(node.id());
            sleep(Duration::from_nanos(rng.log_between(10_000_000, 3_000_000_000))).await;
            NetSim::current().unclog_node(node.id());
            continue;
        }
        kills += 1;
        handle.kill(node.id());
        if rng.chance(0.5) {
            disk.lock().lose_power();
        }
        sleep(Duration::from_nanos(rng.log_between(1_000_000, 2_000_000_000))).await;
        handle.restart(node.id());
    }
    for client in working {
        client.await.map_err(|error| format!("a client ended: {error}"))?;
    }
    sleep(CALM).await;
    let truth = read_each(&servers, &clients, seed, &shared).await?;
    if let Some(why) = failed.lock().expect("nobody panics while holding it").take() {
        return Err(why);
    }
    let history = shared.history.lock().expect("nobody panics while holding it");
    history.check(&truth)?;
    let undecided = u64::from(!judge(&history)?);
    let (acknowledged, history_hash) = (history.acknowledged(), history.hash());
    Ok(ClusterReport { acknowledged, kills, undecided, history_hash })
}

/// Live keys at each revision, which must be the same on all members.
async fn read_each(
    servers: &[Server],
    clients: &NodeHandle,
    seed: u64,
    shared: &Shared,
) -> Result<Vec<Keys>, String> {
    let mut truths = Vec::new();
    for (n, server) in servers.iter().enumerate() {
        let reader = Client::new(u64::MAX - n as u64, seed, shared.clone(), server);
        let truth = clients.spawn(read_all(reader)).await.map_err(|e| format!("a reader ended: {e}"))?;
        truths.push(truth?);
    }
    match truths.windows(2).all(|pair| pair[0] == pair[1]) {
        true => Ok(truths.swap_remove(0)),
        false => Err("members do not have the same history".to_owned()),
    }
}

/// One process.
async fn serve(place: usize, disk: SharedDisk, seed: u64, failed: Arc<Mutex<Option<String>>>) {
    let fail = |why: String| {
        failed.lock().expect("nobody panics while holding it").get_or_insert(why);
    };
    let door = PeerDoor { address: SocketAddr::new(ip(place), 2380) };
    let opened = start(&config(place), disk, Limits::default(), seed, door).await;
    let Member { gate, mut core, published, .. } = match opened {
        Ok(member) => member,
        Err(why) => return fail(format!("m{place} does not start: {why}")),
    };
    let served = async {
        if published.await.is_err() {
            return std::future::pending().await;
        }
        listen_madsim(SocketAddr::new(ip(place), 2379), gate).await
    };
    tokio::select! {
        biased;
        ended = &mut core.ended => fail(format!("m{place} ended by itself: {ended:?}")),
        served = served => fail(format!("m{place} serves no more: {served:?}")),
    }
}

fn config(place: usize) -> ServerConfig {
    let host = ip(place);
    let all: Vec<String> = (0..3).map(|place| format!("m{place}=http://{}:2380", ip(place))).collect();
    let flags = [
        format!("--name=m{place}"),
        format!("--listen-client-urls=http://{host}:2379"),
        format!("--advertise-client-urls=http://{host}:2379"),
        format!("--initial-advertise-peer-urls=http://{host}:2380"),
        format!("--listen-peer-urls=http://{host}:2380"),
        format!("--initial-cluster={}", all.join(",")),
    ];
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
