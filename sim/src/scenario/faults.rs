//! `[[fault]]`: what goes wrong at arbitrary moments, kind by kind.

use super::table::{Item, Read, Table};
use crate::plan::{Plan, Shape};
use crate::rng::Rng;

const SHAPES: [(&str, Shape); 8] = [
    ("halves", Shape::Halves),
    ("one_way", Shape::OneWay),
    ("isolate_leader", Shape::IsolateLeader),
    ("isolate_minority", Shape::IsolateMinority),
    ("ring", Shape::Ring),
    ("bridge", Shape::Bridge),
    ("deaf_leader", Shape::DeafLeader),
    ("clients_only", Shape::ClientsOnly),
];

pub fn read_fault(mut t: Table, plan: &mut Plan) -> Read<()> {
    let read = t.need("kind")?.word(&[
        ("partition", read_partition as fn(&mut Table, &mut Plan) -> Read<()>),
        ("crash", read_crash),
        ("blackout", read_blackout),
        ("pause", read_pause),
        ("clog", read_clog),
        ("loss", read_loss),
        ("duplicate", read_duplicate),
        ("late", read_late),
        ("slow_disk", read_slow_disk),
        ("full_disk", read_full_disk),
        ("failed_sync", read_failed_sync),
        ("bit_flips", read_bit_flips),
        ("drift", read_drift),
    ])?;
    read(&mut t, plan)?;
    t.finish()
}

/// The mean of a pause whose bounds are given. Pauses are drawn from a tenth of it to twice as much.
fn mean_ns(item: &Item) -> Read<u64> {
    let (low, high) = item.times_ns()?;
    Ok((low / 2 + high / 2).max(1))
}

fn read_partition(t: &mut Table, plan: &mut Plan) -> Read<()> {
    let partitions = &mut plan.partitions;
    partitions.every_ns = mean_ns(&t.need("every")?)?;
    partitions.shapes =
        t.need("shape")?.list()?.iter().map(|item| item.word(&SHAPES)).collect::<Read<_>>()?;
    let heal = t.need("heal")?;
    let (low, high) = heal.times_ns()?;
    partitions.lasts_ns = (low.max(1), high.max(1));
    partitions.flaps = t.take("flaps").map_or(Ok(0.0), |item| item.probability())?;
    if partitions.shapes.is_empty() {
        return Err(heal.trouble("a partition has a shape"));
    }
    Ok(())
}

fn read_crash(t: &mut Table, plan: &mut Plan) -> Read<()> {
    let crashes = &mut plan.crashes;
    if let Some(item) = t.take("every") {
        crashes.every_ns = mean_ns(&item)?;
    }
    crashes.aims_at_leader = t.take("at_leader").map_or(Ok(0.0), |item| item.probability())?;
    let aims = [
        ("at_effect", &mut crashes.at_effect),
        ("at_disk_op", &mut crashes.at_disk_op),
        ("while_dirty", &mut crashes.while_dirty),
        ("after_vote", &mut crashes.after_vote),
    ];
    for (key, probability) in aims {
        if let Some(item) = t.take(key) {
            *probability = item.probability()?;
        }
    }
    crashes.power = 1.0;
    if let Some(item) = t.take("disk") {
        let mut t = item.table()?;
        if let Some(item) = t.take("lose_unsynced") {
            crashes.power = item.probability()?;
        }
        if let Some(item) = t.take("torn_tail") {
            let torn = item.probability()?;
            plan.members.iter_mut().for_each(|member| member.disk.torn = torn);
        }
        t.finish()?;
    }
    read_restart(t, plan)
}

fn read_restart(t: &mut Table, plan: &mut Plan) -> Read<()> {
    if let Some(item) = t.take("restart") {
        plan.crashes.restart_ns = item.times_ns()?;
    }
    if let Some(item) = t.take("max") {
        plan.crashes.max = item.count_in(1..1_000_001)? as u32;
    }
    Ok(())
}

fn read_blackout(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.crashes.blackout_every_ns = mean_ns(&t.need("every")?)?;
    read_restart(t, plan)
}

fn read_pause(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.cuts.pause_every_ns = mean_ns(&t.need("every")?)?;
    plan.cuts.pause_ns = t.need("lasts")?.times_ns()?;
    Ok(())
}

fn read_clog(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.network.clog_every_ns = mean_ns(&t.need("every")?)?;
    plan.network.clog_ns = t.need("lasts")?.times_ns()?;
    Ok(())
}

fn read_loss(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.network.loss = t.need("rate")?.probability()?;
    Ok(())
}

fn read_duplicate(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.network.duplicate = t.need("rate")?.probability()?;
    Ok(())
}

fn read_late(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.network.late = t.need("rate")?.probability()?;
    let (low, high) = t.need("by")?.times_ns()?;
    plan.network.late_ns = (low.max(1), high.max(1));
    Ok(())
}

fn read_slow_disk(t: &mut Table, plan: &mut Plan) -> Read<()> {
    let sync = t.take("sync").map(|item| item.times_ns()).transpose()?;
    let stall = t.take("stall").map_or(Ok(0.0), |item| item.probability())?;
    let stall_ns = t.take("stall_lasts").map_or(Ok((0, 0)), |item| item.times_ns())?;
    for member in &mut plan.members {
        member.disk.sync_ns = sync.unwrap_or(member.disk.sync_ns);
        (member.disk.stall, member.disk.stall_ns) = (stall, stall_ns);
    }
    Ok(())
}

fn read_full_disk(t: &mut Table, plan: &mut Plan) -> Read<()> {
    let capacity = t.need("capacity_bytes")?.count_in(1 << 20..1 << 40)?;
    plan.members.iter_mut().for_each(|member| member.disk.capacity_bytes = capacity);
    Ok(())
}

fn read_failed_sync(t: &mut Table, plan: &mut Plan) -> Read<()> {
    let rate = t.need("rate")?.probability()?;
    plan.members.iter_mut().for_each(|member| member.disk.sync_fails = rate);
    Ok(())
}

fn read_bit_flips(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.crashes.flips_max = t.need("max")?.count_in(0..1001)?;
    Ok(())
}

/// Every clock runs wrong by at most `rate`, each by its own part of it.
fn read_drift(t: &mut Table, plan: &mut Plan) -> Read<()> {
    plan.drift = t.need("rate")?.number_in(0.0..0.99)?;
    let mut rng = Rng::named(plan.seed, "scenario drift");
    for member in &mut plan.members {
        member.clock_rate = 1.0 + plan.drift * (2.0 * rng.unit() - 1.0);
    }
    Ok(())
}
