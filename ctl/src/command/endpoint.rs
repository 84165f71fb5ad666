//! `endpoint`: questions put to each endpoint by itself.

use holdfast_core::status::Status as Refusal;
use holdfast_net::proto::etcdserverpb as pb;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::{Client, Config};
use crate::exit::{Exit, Outcome};
use crate::go::duration;
use crate::output::{Health, Located, tell};

pub static SPEC: Spec = Spec::holder(
    "endpoint <subcommand>",
    "Questions put to each endpoint by itself",
    &[&HEALTH, &STATUS, &HASH_KV],
)
.group(Group::ClusterMaintenance)
.persistent_flags(&[CLUSTER]);

/// Also of `defrag`.
pub const CLUSTER: Flag = Flag::bool("cluster", "all endpoints that the cluster's members tell of");

static HEALTH: Spec =
    Spec::leaf("health", "Whether each endpoint can commit a proposal", |given| Box::pin(health(given)));
static STATUS: Spec = Spec::leaf("status", "How each endpoint stands", |given| Box::pin(status(given))).long(
    "How each endpoint stands. With --write-out=simple, a line each: endpoint, ID, version, storage version,
db size, in use, percentage not in use, quota, is leader, is learner, raft term, raft index,
raft applied index, errors, downgrade target version, downgrade enabled.",
);
static HASH_KV: Spec =
    Spec::leaf("hashkv", "Hash of each endpoint's history of keys", |given| Box::pin(hash_kv(given)))
        .flags(&[Flag::int("rev", "0", "last revision that counts (0: the current one)")]);

/// The endpoints that are meant: those given, or those the members tell of.
pub async fn endpoints(given: &Given, config: &Config) -> Result<Vec<String>, Exit> {
    if !given.bool("cluster") {
        return Ok(config.endpoints.clone());
    }
    let client = Client::new(config.clone()).await.map_err(|exit| Exit { code: 1, ..exit })?;
    let answer =
        client.until(given.deadline()).member_list(pb::MemberListRequest { linearizable: true }).await;
    let answer = answer.map_err(|error| {
        Exit::error(format!("failed to fetch endpoints from etcd cluster member list: {error}"))
    })?;
    Ok(answer.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

async fn health(given: &Given) -> Outcome {
    let config = globals::config(given).await?;
    let printer = given.printer()?;
    let mut asked = JoinSet::new();
    let timeout = given.duration("command-timeout");
    for (at, endpoint) in endpoints(given, &config).await?.into_iter().enumerate() {
        let config = config.at(&endpoint);
        asked.spawn_local(async move { (at, health_of(config, endpoint, timeout).await) });
    }
    let mut all = asked.join_all().await;
    all.sort_by_key(|(at, _)| *at);
    let all: Vec<Health> = all.into_iter().map(|(_, health)| health).collect();
    printer.print(&all)?;
    if all.iter().any(|health| !health.error.is_empty()) {
        return Err(Exit::error("unhealthy cluster"));
    }
    Ok(())
}

async fn health_of(config: Config, endpoint: String, timeout: std::time::Duration) -> Health {
    let unhealthy =
        |took: String, error: String| Health { endpoint: endpoint.clone(), healthy: false, took, error };
    let client = match Client::new(config).await {
        Ok(client) => client,
        Err(exit) => return unhealthy(String::new(), exit.text.unwrap_or_default()),
    };
    let began = Instant::now();
    let client = client.until(began + timeout);
    // Any key will do: an answer means that a quorum is there.
    let answer = client.range(pb::RangeRequest { key: "health".into(), ..pb::RangeRequest::default() }).await;
    let took = duration::format(began.elapsed());
    match answer {
        // Even this has gone through consensus.
        Err(error) if error.is(Refusal::PermissionDenied) => {}
        Err(error) => return unhealthy(took, error.to_string()),
        Ok(_) => {}
    }
    let get = pb::alarm_request::AlarmAction::Get.into();
    let Ok(answer) = client.alarm(pb::AlarmRequest { action: get, member_id: 0, alarm: 0 }).await else {
        return unhealthy(took, "Unable to fetch the alarm list".to_owned());
    };
    if answer.alarms.is_empty() {
        return Health { endpoint, healthy: true, took, error: String::new() };
    }
    let names = answer.alarms.iter().map(|alarm| match alarm.alarm() {
        pb::AlarmType::Nospace => "NOSPACE ",
        pb::AlarmType::Corrupt => "CORRUPT ",
        pb::AlarmType::None => "UNKNOWN ",
    });
    let names: String = names.collect();
    unhealthy(took, format!("Active Alarm(s): {names}"))
}

async fn status(given: &Given) -> Outcome {
    let config = globals::config(given).await?;
    let printer = given.printer()?;
    let mut all = Vec::new();
    let mut failed = false;
    for endpoint in endpoints(given, &config).await? {
        let client = Client::new(config.at(&endpoint)).await?;
        let client = client.until(Instant::now() + given.duration("command-timeout"));
        match client.status(pb::StatusRequest {}).await {
            Ok(answer) => all.push(Located { endpoint, answer }),
            Err(error) => {
                tell(&format!("Failed to get the status of endpoint {endpoint} ({error})"));
                failed = true;
            }
        }
    }
    printer.print(&all)?;
    if failed { Err(Exit::silent(1)) } else { Ok(()) }
}

async fn hash_kv(given: &Given) -> Outcome {
    let config = globals::config(given).await?;
    let printer = given.printer()?;
    let revision = given.int("rev");
    let mut all = Vec::new();
    let mut last_error = None;
    for endpoint in endpoints(given, &config).await? {
        let client = Client::new(config.at(&endpoint)).await?;
        let client = client.until(Instant::now() + given.duration("command-timeout"));
        match client.hash_kv(pb::HashKvRequest { revision }).await {
            Ok(answer) => all.push(Located { endpoint, answer }),
            Err(error) => {
                tell(&format!("Failed to get the hash of endpoint {endpoint} ({error})"));
                last_error = Some(error);
            }
        }
    }
    printer.print(&all)?;
    match last_error {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
