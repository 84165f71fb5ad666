//! Sizes, limits, times and workloads of a scenario.

use holdfast_core::node::AutoCompaction;

use super::auth::read_auth_plan;
use super::exact::read_state_version;
use super::table::{Item, Read, Table, Trouble};
use crate::disk::DiskFaults;
use crate::plan::{Plan, Routing};
use crate::workload::Mix;

/// Members that a cluster may have.
const MEMBERS_MAX: u64 = 9;

/// How many voters there are, and how many there are with every seed: those that steps can name by number, and
/// whether these are all.
#[derive(Clone, Copy, Debug)]
pub struct Nodes {
    pub count: usize,
    pub always: usize,
    pub is_fixed: bool,
}

pub fn read_nodes(item: Item) -> Read<Nodes> {
    let item = match item.is_table() {
        true => {
            let mut t = item.table()?;
            let voters = t.need("voters")?;
            t.finish()?;
            voters
        }
        false => item,
    };
    let (low, high) = item.counts()?;
    let count = item.count_in(1..MEMBERS_MAX + 1)? as usize;
    Ok(Nodes { count, always: low as usize, is_fixed: low == high })
}

pub fn read_settings(file: &mut Table, plan: &mut Plan) -> Read<()> {
    if let Some(item) = file.take("until") {
        let mut t = item.table()?;
        if let Some(item) = t.take("virtual") {
            plan.storm_ns = item.time_ns()?;
        }
        if let Some(item) = t.take("then_calm") {
            plan.calm_ns_min = item.time_ns()?;
        }
        t.finish()?;
    }
    if let Some(item) = file.take("limits") {
        read_limits(item.table()?, plan)?;
    }
    if let Some(item) = file.take("state_version") {
        let version = read_state_version(&item)?;
        plan.all_members_mut().for_each(|member| member.state_version = version);
    }
    if let Some(item) = file.take("timing") {
        read_timing(item.table()?, plan)?;
    }
    if let Some(item) = file.take("auth") {
        read_auth_plan(item.table()?, plan)?;
    }
    if let Some(item) = file.take("network") {
        read_network(item.table()?, plan)?;
    }
    if let Some(item) = file.take("disk") {
        read_disk(item.table()?, plan)?;
    }
    Ok(())
}

/// What a power loss does to the disks of all members.
fn read_disk(mut t: Table, plan: &mut Plan) -> Read<()> {
    let mut first = plan.members[0].disk.clone();
    if let Some(item) = t.take("loses") {
        let words = [("everything", 0), ("nothing", 1), ("tail", 2), ("random", 3), ("head", 4)];
        first.loss = [0; 5];
        for item in item.list()? {
            first.loss[item.word(&words)?] = 1;
        }
    }
    if let Some(item) = t.take("torn") {
        first.torn = item.probability()?;
    }
    if let Some(item) = t.take("reorders_names") {
        first.reorders_names = item.flag()?;
    }
    for member in &mut plan.members {
        let DiskFaults { loss, torn, reorders_names, .. } = first;
        member.disk = DiskFaults { loss, torn, reorders_names, ..member.disk.clone() };
    }
    t.finish()
}

/// Limits, the same for every member.
fn read_limits(mut t: Table, plan: &mut Plan) -> Read<()> {
    let mut first = plan.members[0].clone();
    let mut limit = |key: &str| t.take(key).map(|item| item.count_in(1..1 << 40)).transpose();
    let limits = &mut first.limits;
    if let Some(value) = limit("work_max")? {
        limits.work_max = value.min(u64::from(u32::MAX)) as u32;
    }
    if let Some(value) = limit("watch_revisions_max")? {
        limits.watch_revisions_max = value.min(u64::from(u32::MAX)) as u32;
    }
    if let Some(value) = limit("proposals_max")? {
        limits.proposals_max = value as usize;
    }
    if let Some(value) = limit("checkpoint_piece_bytes_max")? {
        limits.checkpoint_piece_bytes_max = value as usize;
    }
    let numbers = [
        ("checkpoint_log_bytes_min", &mut limits.checkpoint_log_bytes_min),
        ("log_tail_bytes_max", &mut limits.log_tail_bytes_max),
        ("log_lag_bytes_max", &mut limits.log_lag_bytes_max),
        ("append_bytes_max", &mut limits.append_bytes_max),
        ("watch_credit_bytes", &mut limits.watch_credit_bytes),
        ("first_segment_bytes", &mut first.layout.first_segment_bytes),
        ("segment_bytes", &mut first.layout.segment_bytes),
    ];
    for (key, number) in numbers {
        if let Some(value) = limit(key)? {
            *number = value;
        }
    }
    let round = |bytes: u64| bytes.next_multiple_of(4096).max(16 << 10);
    first.layout.first_segment_bytes = round(first.layout.first_segment_bytes);
    first.layout.segment_bytes = round(first.layout.segment_bytes);
    if let Some(value) = limit("quota_bytes")? {
        first.quota_bytes = Some(value);
    }
    for member in &mut plan.members {
        (member.limits, member.layout) = (first.limits.clone(), first.layout);
        member.quota_bytes = first.quota_bytes;
    }
    t.finish()
}

/// `keep_history`: a time; or `keep_revisions`: a number, looked at each `keep_every`.
fn read_auto_compaction(t: &mut Table) -> Read<Option<AutoCompaction>> {
    if let Some(item) = t.take("keep_history") {
        return Ok(Some(AutoCompaction::Periodic { retention_ns: item.time_ns()?.max(10_000_000) }));
    }
    let Some(item) = t.take("keep_revisions") else { return Ok(None) };
    let retention = item.count_in(0..1_000_000_000)? as i64;
    let every_ns = t.need("keep_every")?.time_ns()?.max(1_000_000);
    Ok(Some(AutoCompaction::Revision { retention, every_ns }))
}

fn read_timing(mut t: Table, plan: &mut Plan) -> Read<()> {
    if let Some(item) = t.take("heartbeat") {
        plan.heartbeat_ns = item.time_ns()?.max(1_000_000);
    }
    if let Some(item) = t.take("election_ticks") {
        plan.election_ticks = item.count_in(2..1001)? as u32;
    }
    if let Some(item) = t.take("lease_checkpoint") {
        let is_off = item.is_text() && item.text()? == "off";
        plan.lease_checkpoint_ns = if is_off { None } else { Some(item.time_ns()?) };
    }
    plan.auto_compaction = read_auto_compaction(&mut t)?.or(plan.auto_compaction);
    if let Some(item) = t.take("watch_progress") {
        plan.watch_progress_ns = item.time_ns()?.max(1_000_000);
    }
    if let Some(item) = t.take("turn") {
        plan.cuts.turn_ns = item.times_ns()?;
    }
    if let Some(item) = t.take("split") {
        plan.cuts.split = item.probability()?;
    }
    if let Some(item) = t.take("way") {
        plan.cuts.way_ns = item.times_ns()?;
    }
    if let Some(item) = t.take("completion") {
        plan.cuts.completion_ns = item.times_ns()?;
    }
    if let Some(item) = t.take("sync") {
        let sync_ns = item.times_ns()?;
        plan.members.iter_mut().for_each(|member| member.disk.sync_ns = sync_ns);
    }
    t.finish()
}

fn read_network(mut t: Table, plan: &mut Plan) -> Read<()> {
    let network = &mut plan.network;
    if let Some(item) = t.take("base") {
        let at = item.at;
        network.base_ns = item.times_ns()?;
        if network.base_ns.0 == 0 {
            return Err(Trouble::new(at, "`base` is more than 0"));
        }
    }
    if let Some(item) = t.take("tail") {
        network.tail = item.number_in(0.0..1000.0)?;
    }
    if let Some(item) = t.take("keeps_order") {
        network.keeps_order = item.flag()?;
    }
    if let Some(item) = t.take("passes_bytes") {
        network.passes_bytes = item.flag()?;
    }
    if let Some(item) = t.take("reports_loss") {
        network.reports_loss = item.probability()?;
    }
    t.finish()
}

/// The workloads. A file with steps and without any has no others' requests; one with neither has the
/// profile's.
pub fn read_workloads(file: &mut Table, plan: &mut Plan, has_steps: bool) -> Read<()> {
    let tables = match file.take("workload") {
        Some(item) => item.tables()?,
        None if !has_steps => return Ok(()),
        None => Vec::new(),
    };
    (plan.clients, plan.ops_max, plan.streams) = (1, 0, 0);
    let (mut has_requests, mut has_watches) = (false, false);
    for mut t in tables {
        let at = t.at;
        let kinds = t.need("kind")?;
        let is_watch = kinds.is_text() && kinds.text()? == "watch";
        let is_second = std::mem::replace(if is_watch { &mut has_watches } else { &mut has_requests }, true);
        if is_second {
            return Err(Trouble::new(
                at,
                "one workload of requests and one of watches: `kind` may be a list",
            ));
        }
        match is_watch {
            true => read_watches(&mut t, plan)?,
            false => read_requests(kinds, &mut t, plan)?,
        }
        t.finish()?;
    }
    Ok(())
}

fn read_watches(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.streams = t.need("streams")?.count_in(1..1001)? as u32;
    if let Some(item) = t.take("every") {
        plan.stream_ns = item.times_ns()?;
    }
    if let Some(item) = t.take("credit") {
        plan.credit_ns = item.times_ns()?;
    }
    if let Some(item) = t.take("eager_progress") {
        plan.eager_progress = item.probability()?;
    }
    Ok(())
}

fn read_requests(kinds: Item, t: &mut Table, plan: &mut Plan) -> Read<()> {
    let mut mix = Mix::none();
    for item in kinds.list()? {
        let kind = item.word(&[
            ("mixed", Mix::mixed as fn() -> Mix),
            ("register", Mix::register),
            ("lease", Mix::lease),
            ("compact", Mix::compact),
        ])?;
        mix.add(&kind());
    }
    plan.mix = mix;
    plan.clients = t.take("clients").map_or(Ok(5), |item| item.count_in(1..1001))? as u32;
    plan.ops_max = t.take("ops").map_or(Ok(1000), |item| item.count_in(1..10_000_001))?;
    if let Some(item) = t.take("keys") {
        plan.keys = item.count_in(1..1_000_001)? as usize;
    }
    if let Some(item) = t.take("rate") {
        let pace_ns = (f64::from(plan.clients) * 1e9 / item.per_second()?) as u64;
        plan.think_ns = (pace_ns / 4, pace_ns * 7 / 4);
    }
    if let Some(item) = t.take("value_bytes") {
        plan.value_bytes_max = item.count_in(1..1 << 20)?;
        plan.value_bytes_min = plan.value_bytes_min.min(plan.value_bytes_max);
    }
    if let Some(item) = t.take("patience") {
        plan.client_timeout_ns = item.time_ns()?.max(1_000_000);
    }
    if let Some(item) = t.take("abandons") {
        plan.abandons = item.probability()?;
    }
    if let Some(item) = t.take("reply_lost") {
        plan.reply_lost = item.probability()?;
    }
    if let Some(item) = t.take("routing") {
        let words = [("sticky", Routing::Sticky), ("random", Routing::Random), ("leader", Routing::Leader)];
        plan.routing = item.word(&words)?;
    }
    Ok(())
}
