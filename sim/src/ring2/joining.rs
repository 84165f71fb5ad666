//! A member that comes while the others are in a storm: as a learner, then as a voter, and perhaps not for long.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_net::proto::etcdserverpb::{self as pb, cluster_client::ClusterClient};
use madsim::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use super::client::Shared;
use super::cluster::Cluster;
use super::site::{Parts, ip};
use super::storm::lock;
use crate::rng::Rng;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// Who is to come.
pub struct Newcomer {
    pub parts: Parts,
    pub rng: Rng,
    /// What has not come about by then does not.
    pub until: Instant,
}

impl Newcomer {
    /// Sends it on its way beside everything else.
    pub fn live(self, cluster: &Arc<Mutex<Cluster>>, shared: &Shared) {
        let (cluster, shared) = (cluster.clone(), shared.clone());
        tokio::spawn(async move { self.come_and_go(&cluster, &shared).await });
    }

    async fn come_and_go(mut self, cluster: &Mutex<Cluster>, shared: &Shared) {
        sleep(Duration::from_nanos(self.rng.between(1_000_000_000, 3_000_000_000))).await;
        let url = format!("http://{}:2380", ip(self.parts.place));
        let add = pb::MemberAddRequest { peer_ur_ls: vec![url], is_learner: true };
        let Newcomer { parts, mut rng, until } = self;
        let place = parts.place;
        let asker = Asker { until };
        let added = asker.insist(cluster, &mut rng, move |mut client| {
            let add = add.clone();
            async move { Some(client.member_add(add).await.ok()?.into_inner().member?.id) }
        });
        let Some(id) = added.await else { return };
        lock(cluster).add(parts);
        let mark = |what: &'static str| shared.write_down(|history, _| history.mark(what));
        mark("learners_added");
        let promoted = asker.insist(cluster, &mut rng, move |mut client| async move {
            client.member_promote(pb::MemberPromoteRequest { id }).await.ok().map(drop)
        });
        if promoted.await.is_none() {
            return;
        }
        mark("learners_promoted");
        sleep(Duration::from_nanos(rng.between(1, 3_000_000_000))).await;
        if rng.chance(0.7) {
            let removed = asker.insist(cluster, &mut rng, move |mut client| async move {
                client.member_remove(pb::MemberRemoveRequest { id }).await.ok().map(drop)
            });
            if removed.await.is_some() {
                lock(cluster).sites.iter().filter(|site| site.place == place).for_each(|site| site.dismiss());
                mark("members_removed");
            }
        }
    }
}

/// Asks one member after the other until one agrees.
struct Asker {
    until: Instant,
}

impl Asker {
    async fn insist<T, F>(
        &self,
        cluster: &Mutex<Cluster>,
        rng: &mut Rng,
        call: impl Fn(ClusterClient<Channel>) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        while Instant::now() < self.until {
            let (clients, server) = {
                let cluster = lock(cluster);
                let place = rng.below(3) as usize;
                (cluster.clients.id(), cluster.sites[place].server().clone())
            };
            let clients = Handle::current().get_node(clients).expect("it was built");
            let asked = call(ClusterClient::new(server.channel()));
            let answer = clients.spawn(timeout(Duration::from_secs(3), asked));
            if let Ok(Ok(Some(done))) = answer.await {
                return Some(done);
            }
            sleep(PAUSE).await;
        }
        None
    }
}
