//! What a member asks of the cluster before its first life: who it is there, and whether it has lived before.
//!
//! Source: etcd 3.7.1 server/etcdserver/bootstrap.go (bootstrapExistingClusterNoWAL, bootstrapNewClusterNoWAL),
//! cluster_util.go, api/membership/cluster.go (ValidateClusterAndAssignIDs); texts are theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use holdfast_core::base::MemberId;
use holdfast_core::request::Member;
use holdfast_core::wal::Identity;
use holdfast_net::peer::{Answered, Way, ask_members};
use tracing::warn;

use crate::config::{ServerConfig, Url};

/// How long one member may take to answer.
const JOIN_WITHIN: Duration = Duration::from_secs(10);
/// The same where no answer is the rule: a new cluster's members start one after the other.
const BOOTSTRAPPED_WITHIN: Duration = Duration::from_secs(1);

/// Who a joining member is.
#[derive(Debug)]
pub struct Joined {
    pub identity: Identity,
    /// All members, this one among them.
    pub members: Vec<Member>,
}

/// Asks the other members of `--initial-cluster` who this one is (CL-23).
/// Errors: nobody answers, the flags name another cluster, or the member has lived before.
pub async fn join(config: &ServerConfig, way: &Way) -> Result<Joined, String> {
    let cluster = config.check_join()?;
    let answered = ask_cluster(way, &other_urls(&cluster, &config.name), JOIN_WITHIN, true).await;
    let answered = answered.map_err(|why| format!("cannot fetch cluster info from peer urls: {why}"))?;
    identify(config, &cluster, answered)
}

fn identify(
    config: &ServerConfig,
    cluster: &BTreeMap<String, Vec<Url>>,
    answered: Answered,
) -> Result<Joined, String> {
    let Answered { cluster_id, members } = answered;
    let mismatch = |why: String| format!("error validating peerURLs {}: {why}", list(&members));
    if members.len() != cluster.len() {
        return Err(mismatch("member count is unequal".to_owned()));
    }
    let named: Vec<(&String, BTreeSet<String>)> =
        cluster.iter().map(|(name, urls)| (name, urls.iter().map(Url::comparable).collect())).collect();
    let mut me = None;
    for member in &members {
        let urls = member.peer_urls.iter().map(|url| Url::parse(url).map(|url| url.comparable()));
        let urls: BTreeSet<String> = urls.collect::<Result<_, _>>().map_err(mismatch)?;
        let Some((name, _)) = named.iter().find(|(_, named)| *named == urls) else {
            let Member { id, peer_urls, .. } = member;
            let why = format!("PeerURLs: no match found for existing member ({id:x}, {peer_urls:?})");
            return Err(mismatch(why));
        };
        if **name == config.name {
            me = Some(member);
        }
    }
    // All match and the counts are equal, so that only URLs named twice could leave us out.
    let me = me.ok_or_else(|| mismatch(format!("no member has the URLs of {:?}", config.name)))?;
    if me.is_started() {
        return Err(lived_before(me.id));
    }
    let identity = Identity { cluster_id, member_id: me.id };
    Ok(Joined { identity, members })
}

/// A member that starts a new cluster must not have been part of it before: its log is gone, and with it what
/// it promised (CL-22). Nobody answers when the cluster is really new.
pub async fn check_not_bootstrapped(
    config: &ServerConfig,
    cluster: &BTreeMap<String, Vec<Url>>,
    member_id: MemberId,
    way: &Way,
) -> Result<(), String> {
    let others = other_urls(cluster, &config.name);
    let Ok(answered) = ask_cluster(way, &others, BOOTSTRAPPED_WITHIN, false).await else { return Ok(()) };
    let is_us = |member: &&Member| member.id == member_id;
    match answered.members.iter().find(is_us).is_some_and(Member::is_started) {
        true => Err(lived_before(member_id)),
        false => Ok(()),
    }
}

fn lived_before(member_id: MemberId) -> String {
    format!(
        "member {member_id:x} has already been bootstrapped: its data directory was lost or replaced; \
         remove the member and add it again under a new id"
    )
}

/// Peer URLs of the other members, ascending.
fn other_urls(cluster: &BTreeMap<String, Vec<Url>>, name: &str) -> Vec<String> {
    let others = cluster.iter().filter(|(other, _)| *other != name);
    let mut urls: Vec<String> = others.flat_map(|(_, urls)| urls).map(Url::to_string).collect();
    urls.sort();
    urls
}

/// The first answer of somebody who knows of members; all are asked at once.
async fn ask_cluster(
    way: &Way,
    urls: &[String],
    within: Duration,
    is_loud: bool,
) -> Result<Answered, String> {
    let asked = urls.iter().map(|url| async move { (url, ask_members(way, url, within).await) });
    let mut answers: FuturesUnordered<_> = asked.collect();
    while let Some((url, answer)) = answers.next().await {
        match answer {
            Ok(answered) if !answered.members.is_empty() => return Ok(answered),
            Ok(_) if is_loud => {
                warn!(address = url, "a member of the cluster knows of no members yet");
            }
            Err(error) if is_loud => warn!(address = url, error, "failed to get cluster response"),
            Ok(_) | Err(_) => {}
        }
    }
    Err("could not retrieve cluster information from the given URLs".to_owned())
}

fn list(members: &[Member]) -> String {
    let each = members.iter().map(|Member { id, peer_urls, .. }| format!("{id:x}={}", peer_urls.join(",")));
    format!("[{}]", each.collect::<Vec<_>>().join(" "))
}
