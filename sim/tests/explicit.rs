//! Explicit plans: what happened in a run, run again from its list, happens again.

use std::path::Path;

use holdfast_sim::plan::{Lie, Plan, Profile, WipePlan};
use holdfast_sim::rng::derive;
use holdfast_sim::run::{Failure, run_plan};
use holdfast_sim::scenario::Scenario;
use holdfast_sim::scenario::write::{Origin, write_plan};
use holdfast_sim::workload::Mix;
use holdfast_sim::world::explicit::explicit;
use holdfast_sim::world::{Outcome, World};

/// Each request of the storm: of whom, when it was asked and when answered.
fn storm(outcome: &Outcome) -> Vec<(usize, u64, Option<u64>)> {
    // In the very instant in which the storm ends, it has ended for some already.
    let calm = outcome.history.calm_since.at_ns;
    let ops = outcome.history.ops.iter().filter(|op| op.call.at_ns < calm);
    let times = |op: &holdfast_sim::history::Op| {
        let answered = op.answer.as_ref().filter(|answer| answer.at.at_ns < calm);
        (op.member, op.call.at_ns, answered.map(|answer| answer.at.at_ns))
    };
    ops.map(times).collect()
}

/// What is drawn from a stream of a link or a member may fall in another order where two things happen in one
/// instant, and what is drawn by moment falls otherwise a nanosecond later: a few runs may differ, and none may
/// fail.
#[test]
fn the_script_of_a_run_makes_the_same_run() {
    let (mut same, mut runs) = (0, 0);
    for profile in Profile::ALL {
        for n in 0..if profile.changes_members() { 12 } else { 5 } {
            let plan = Plan::draw(derive(17, n), profile);
            let first = World::new(plan, false).run();
            let second = World::new(explicit(&first), false).run();
            assert!(first.failed.is_none() && second.failed.is_none(), "{:?}", second.failed);
            runs += 1;
            same += u64::from(storm(&first) == storm(&second));
        }
    }
    assert!(same * 20 >= runs * 17, "only {same} of {runs} runs are the same to the nanosecond");
}

/// The first failures of each planted fault. One in ten may be lost, by the same chance, but no fault's all.
#[test]
fn the_script_of_a_run_that_failed_fails_in_the_same_way() {
    let (mut failed, mut lost) = (0, Vec::new());
    for lie in Lie::ALL {
        let mut again = 0;
        for failure in failures(lie).take(3) {
            failed += 1;
            let listed = failure.explicit.expect("the world saw it");
            match run_plan(*listed, false).0 {
                Err(other) if other.violation.check == failure.violation.check => again += 1,
                other => lost.push(format!("{lie:?}: {} became {:?}", failure.violation.check, other.err())),
            }
        }
        assert!(again > 0, "{lie:?}: {lost:#?}");
    }
    assert!(lost.len() * 10 <= failed, "{lost:#?}");
}

fn failures(lie: Lie) -> impl Iterator<Item = Failure> {
    let size = if lie.needs_peers() { 3 } else { 1 };
    (0..150).filter_map(move |n| {
        let plan = Plan::draw_sized(derive(5, n), lie.seen_in(), size);
        run_plan(Plan { lie: Some(lie), ..plan }, false).0.err()
    })
}

#[test]
fn an_explicit_plan_is_written_and_read_back() {
    for (n, profile) in (0..).zip(Profile::ALL) {
        let plan = Plan::draw(derive(23, n), profile);
        let mut listed = explicit(&World::new(plan, false).run());
        let origin = Origin { about: "x".to_owned(), commit: "0".to_owned(), broke: "read" };
        let text = write_plan(&listed, &origin).expect("it can be written");
        let scenario =
            Scenario::parse(Path::new("plan.toml"), text).unwrap_or_else(|error| panic!("{error}"));
        let mut read = scenario.plan(scenario.seed.expect("it has one"));
        // What only draws of requests and faults need is not in the file.
        for plan in [&mut listed, &mut read] {
            (plan.profile, plan.scenario) = (Profile::Calm, None);
            plan.script.iter_mut().for_each(|step| step.line = 0);
            (plan.keys, plan.value_bytes_min, plan.value_bytes_max) = (0, 0, 0);
            (plan.think_ns, plan.stream_ns, plan.eager_progress) = ((0, 0), (0, 0), 0.0);
            (plan.mix, plan.crashes.aims_at_leader, plan.crashes.max) = (Mix::none(), 0.0, 0);
            (plan.crashes.flips_aimed, plan.network.clog_ns) = (0.0, (0, 0));
            (plan.partitions.lasts_ns, plan.partitions.flaps) = ((0, 0), 0.0);
            plan.partitions.shapes.clear();
            (plan.membership.voters_max, plan.membership.join_ns) = (0, (0, 0));
            plan.wipes = WipePlan::none();
        }
        let (listed, read) = (format!("{listed:#?}"), format!("{read:#?}"));
        if let Some((wanted, got)) = listed.lines().zip(read.lines()).find(|(wanted, got)| wanted != got) {
            panic!("{}: {wanted} is read as {got}", profile.name());
        }
        assert_eq!(listed.len(), read.len());
    }
}
