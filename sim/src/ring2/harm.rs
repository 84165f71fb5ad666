//! What goes wrong in a storm, one thing after the other; two of these run side by side.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_net::proto::etcdserverpb::{self as pb, maintenance_client::MaintenanceClient};
use tokio::time::{Instant, sleep, timeout};

use super::client::Shared;
use super::cluster::Cluster;
use super::storm::lock;
use crate::rng::Rng;

/// The voters that a storm goes over.
const PLACES: u64 = 3;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Kill,
    PowerCut,
    /// Everybody loses power.
    Blackout,
    /// One member and the others do not hear each other.
    Isolate,
    IsolateLeader,
    /// One member does not hear another.
    OneWay,
    /// Answers of one member to clients wait, longer than the clients do.
    LoseReplies,
    Pause,
    MoveLeader,
}

/// Harms that a seed has at all, and how often.
#[derive(Clone, Debug)]
pub struct Harms {
    kinds: Vec<Harm>,
    every_ns: u64,
}

impl Harms {
    /// Each kind is there or not, so that none hides another for good.
    pub fn draw(rng: &mut Rng) -> Harms {
        let all = [
            Harm::Kill,
            Harm::PowerCut,
            Harm::Blackout,
            Harm::Isolate,
            Harm::IsolateLeader,
            Harm::OneWay,
            Harm::LoseReplies,
            Harm::Pause,
            Harm::MoveLeader,
        ];
        // All at once is the loudest of them.
        let share = |harm: &Harm| if *harm == Harm::Blackout { 0.2 } else { 0.5 };
        let kinds = all.into_iter().filter(|harm| rng.chance(share(harm))).collect();
        Harms { kinds, every_ns: rng.log_between(500_000_000, 4_000_000_000) }
    }
}

/// Does harm until `until`.
pub async fn do_harm(
    mut rng: Rng,
    harms: Harms,
    cluster: Arc<Mutex<Cluster>>,
    shared: Shared,
    until: Instant,
) {
    loop {
        sleep(Duration::from_nanos(rng.between(1, harms.every_ns))).await;
        if Instant::now() >= until {
            return;
        }
        // Whose disk failed is started again by whoever looks after it.
        lock(&cluster).sites.iter().filter(|site| !site.is_removed()).for_each(|site| site.start());
        if harms.kinds.is_empty() {
            continue;
        }
        let harm = *rng.pick(&harms.kinds);
        let place = rng.below(PLACES) as usize;
        let lasts = Duration::from_nanos(rng.log_between(5_000_000, 4_000_000_000));
        shared.write_down(|history, now_ns| history.fold(&format!("{now_ns} {harm:?} {place} {lasts:?}")));
        let mark = |what: &'static str| shared.write_down(|history, _| history.mark(what));
        match harm {
            Harm::Kill | Harm::PowerCut | Harm::Blackout => {
                let sites = lock(&cluster).sites[..PLACES as usize].to_vec();
                let hit = sites.into_iter().filter(|site| harm == Harm::Blackout || site.place == place);
                let hit: Vec<_> = hit.collect();
                for site in &hit {
                    site.kill(harm != Harm::Kill);
                    mark(if harm == Harm::Kill { "kills" } else { "power_cuts" });
                }
                sleep(lasts / 2).await;
                hit.iter().for_each(|site| site.start());
            }
            Harm::Isolate => isolate(&cluster, place, lasts, || mark("two_way_cuts")).await,
            Harm::IsolateLeader => {
                let leader = lock(&cluster).leader().filter(|leader| *leader < PLACES as usize);
                isolate(&cluster, leader.unwrap_or(place), lasts, || mark("leader_cuts")).await;
            }
            Harm::OneWay => {
                let links = [(place, (place + 1 + rng.below(PLACES - 1) as usize) % PLACES as usize)];
                lock(&cluster).cut(&links);
                mark("one_way_cuts");
                sleep(lasts).await;
                lock(&cluster).heal(&links);
            }
            Harm::LoseReplies => {
                lock(&cluster).cut_clients(place, false);
                mark("replies_cut");
                sleep(lasts).await;
                lock(&cluster).heal_clients(place);
            }
            Harm::Pause => {
                lock(&cluster).pause(place);
                mark("pauses");
                sleep(lasts).await;
                lock(&cluster).resume(place);
            }
            Harm::MoveLeader => move_leader(&cluster, &shared, place).await,
        }
    }
}

async fn isolate(cluster: &Mutex<Cluster>, place: usize, lasts: Duration, mark: impl FnOnce()) {
    let others = (0..PLACES as usize).filter(|other| *other != place);
    let links: Vec<_> = others.flat_map(|other| [(place, other), (other, place)]).collect();
    lock(cluster).cut(&links);
    mark();
    sleep(lasts).await;
    lock(cluster).heal(&links);
}

/// Somebody asks the leader to hand over to this member.
async fn move_leader(cluster: &Mutex<Cluster>, shared: &Shared, place: usize) {
    let (asked, mut client, target_id) = {
        let cluster = lock(cluster);
        let Some(leader) = cluster.leader().filter(|leader| *leader != place) else { return };
        let Some(seat) = cluster.sites[place].seat() else { return };
        let client = MaintenanceClient::new(cluster.servers()[leader].channel());
        let clients = madsim::runtime::Handle::current().get_node(cluster.clients.id());
        (clients.expect("it was built"), client, seat.gate.identity().member_id.0)
    };
    let request = pb::MoveLeaderRequest { target_id };
    let moved = asked.spawn(async move {
        timeout(Duration::from_secs(3), client.move_leader(request)).await.is_ok_and(|answer| answer.is_ok())
    });
    if moved.await.unwrap_or(false) {
        shared.write_down(|history, _| history.mark("moved_leaders"));
    }
}
