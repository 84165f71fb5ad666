//! What only a recorded plan says: values that a profile would have drawn, member by member.

use holdfast_core::base::MemberId;
use holdfast_core::state::STATE_VERSION;

use super::table::{Item, Read, Table, Trouble};
use crate::plan::{Enlisted, Lie, MemberPlan, Plan, Routing};

/// Reads `[exact]`, `[[member]]`, `[[newcomer]]` and `plant`; whether the first is there.
pub fn read_exact(file: &mut Table, plan: &mut Plan) -> Read<bool> {
    let mut is_exact = false;
    if let Some(item) = file.take("exact") {
        let mut t = item.table()?;
        read_clients(&mut t, plan)?;
        read_world(&mut t, plan)?;
        t.finish()?;
        is_exact = true;
    }
    if let Some(item) = file.take("member") {
        let at = item.at;
        let tables = item.tables()?;
        if tables.len() != plan.members.len() {
            let what = format!("{} members are described, there are {}", tables.len(), plan.members.len());
            return Err(Trouble::new(at, what));
        }
        for (mut t, member) in tables.into_iter().zip(&mut plan.members) {
            read_member(&mut t, member)?;
            t.finish()?;
        }
    }
    if let Some(item) = file.take("newcomer") {
        plan.membership.newcomers.clear();
        for t in item.tables()? {
            read_newcomer(t, plan)?;
        }
    }
    if let Some(item) = file.take("plant") {
        plan.lie = Some(item.word(&Lie::ALL.map(|lie| (lie.name(), lie)))?);
    }
    Ok(is_exact)
}

fn read_clients(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.abandons = t.need("abandons")?.probability()?;
    plan.reply_lost = t.need("reply_lost")?.probability()?;
    plan.credit_ns = t.need("credit")?.times_ns()?;
    plan.client_timeout_ns = t.need("patience")?.time_ns()?;
    let words = [("sticky", Routing::Sticky), ("random", Routing::Random), ("leader", Routing::Leader)];
    plan.routing = t.need("routing")?.word(&words)?;
    Ok(())
}

fn read_world(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.cuts.pause_ns = t.need("pause")?.times_ns()?;
    plan.crashes.restart_ns = t.need("restart")?.times_ns()?;
    plan.crashes.power = t.need("power")?.probability()?;
    plan.drift = t.need("drift")?.number_in(0.0..0.99)?;
    plan.digest_turns = t.need("digest_turns")?.count_in(1..1 << 40)?;
    plan.ttl_ns_max = t.need("ttl_max")?.time_ns()?;
    plan.stalls_ns_max = t.need("stalls_max")?.time_ns()?;
    let network = &mut plan.network;
    network.loss = t.need("loss")?.probability()?;
    network.duplicate = t.need("duplicate")?.probability()?;
    network.late = t.need("late")?.probability()?;
    network.late_pieces = t.need("late_pieces")?.probability()?;
    network.late_ns = t.need("late_by")?.times_ns()?;
    plan.cuts.wakes = t.need("wakes")?.probability()?;
    network.false_losses = t.need("false_losses")?.probability()?;
    network.hostile = t.need("hostile")?.probability()?;
    let (membership, clocks) = (&mut plan.membership, &mut plan.clocks);
    membership.strict_reconfig = t.need("strict_reconfig")?.flag()?;
    membership.learners_max = t.need("learners_max")?.count_in(0..1 << 20)? as u32;
    clocks.suspend_ns = t.need("suspend")?.times_ns()?;
    clocks.merge = t.need("merge")?.probability()?;
    clocks.merged_max = t.need("merged_max")?.count()?;
    Ok(())
}

/// The machine of a member to come; with an `id` it is there from the beginning.
fn read_newcomer(mut t: Table, plan: &mut Plan) -> Read<()> {
    let mut member = plan.members[0].clone();
    read_member(&mut t, &mut member)?;
    let known = t.take("id").map(|item| item.bits()).transpose()?;
    let heir_of = t.take("heir_of").map(|item| item.count()).transpose()?;
    let membership = &mut plan.membership;
    match known {
        Some(id) if membership.enlisted.len() == membership.newcomers.len() => {
            membership.enlisted.push(Enlisted { id: MemberId(id), heir_of: heir_of.map(|m| m as usize) });
        }
        Some(_) => return Err(Trouble::new(t.at, "newcomers with an `id` stand before those without")),
        None => {}
    }
    membership.newcomers.push(member);
    t.finish()
}

fn read_member(t: &mut Table, member: &mut MemberPlan) -> Read<()> {
    member.clock_rate = t.need("clock_rate")?.number_in(0.001..2.0)?;
    let mut number = |key: &str| t.need(key)?.bits();
    let (limits, layout) = (&mut member.limits, &mut member.layout);
    limits.work_max = number("work_max")? as u32;
    limits.checkpoint_piece_bytes_max = number("checkpoint_piece_bytes_max")? as usize;
    limits.checkpoint_log_bytes_min = number("checkpoint_log_bytes_min")?;
    limits.log_tail_bytes_max = number("log_tail_bytes_max")?;
    limits.log_lag_bytes_max = number("log_lag_bytes_max")?;
    limits.append_bytes_max = number("append_bytes_max")?;
    limits.watch_revisions_max = number("watch_revisions_max")? as u32;
    limits.watch_credit_bytes = number("watch_credit_bytes")?;
    limits.proposals_max = number("proposals_max")? as usize;
    limits.proposals_bytes_max = number("proposals_bytes_max")?;
    layout.first_segment_bytes = number("first_segment_bytes")?;
    layout.segment_bytes = number("segment_bytes")?;
    layout.spares_max = number("spares_max")? as usize;
    if let Some(item) = t.take("state_version") {
        member.state_version = read_state_version(&item)?;
    }
    member.quota_bytes = t.take("quota_bytes").map(|item| item.bits()).transpose()?;
    let disk = &mut member.disk;
    disk.capacity_bytes = t.take("capacity_bytes").map_or(Ok(u64::MAX), |item| item.bits())?;
    disk.sync_ns = t.need("sync")?.times_ns()?;
    disk.stall_ns = t.need("stall")?.times_ns()?;
    disk.torn = t.need("torn")?.probability()?;
    disk.reorders_names = t.need("reorders_names")?.flag()?;
    disk.loss = read_weights(t.need("loss")?)?;
    (disk.stall, disk.sync_fails) = (0.0, 0.0);
    Ok(())
}

/// A version of State that some release knows.
pub fn read_state_version(item: &Item) -> Read<u32> {
    Ok(item.count_in(1..u64::from(STATE_VERSION) + 1)? as u32)
}

fn read_weights(item: Item) -> Read<[u32; 5]> {
    let trouble = item.trouble("`loss` has five weights");
    let weights: Vec<u32> =
        item.list()?.iter().map(|item| Ok(item.count_in(0..1 << 20)? as u32)).collect::<Read<_>>()?;
    weights.try_into().map_err(|_| trouble)
}
