//! Shrinking: small plans break what large ones broke, also when they come from a file.

use std::path::Path;
use std::time::Duration;

use holdfast_sim::plan::{Lie, Plan, Profile};
use holdfast_sim::rng::derive;
use holdfast_sim::run::run_plan;
use holdfast_sim::scenario::Scenario;
use holdfast_sim::scenario::write::{Origin, write_plan};
use holdfast_sim::shrink::{Shrink, Size, broken_at};

/// The first run in which a lie is found.
fn found(lie: Lie, profile: Profile, members: usize) -> (Plan, &'static str) {
    let failure = (0..100).find_map(|n| {
        let mut plan = Plan::draw_sized(derive(31, n), profile, members);
        plan.lie = Some(lie);
        run_plan(plan, false).0.err()
    });
    let failure = failure.expect("the lie is found");
    (*failure.explicit.expect("the world saw it"), failure.violation.check)
}

#[test]
fn a_shrunk_plan_breaks_the_same_check_from_its_file() {
    let lies = [
        (Lie::EarlyAck, Profile::Standard, 3),
        (Lie::FlushIsNoFlush, Profile::AimedCrashes, 1),
        (Lie::EarlyAck, Profile::Membership, 3),
    ];
    for (lie, profile, members) in lies {
        let (plan, check) = found(lie, profile, members);
        let before = Size::of(&plan);
        let takes = Duration::from_secs(60);
        let (small, tried) =
            Shrink::new(plan, check, 2, takes, &mut |_, _| {}).run().expect("the plan breaks the check");
        let after = Size::of(&small);
        assert!(
            after.ops <= 10 && after.faults <= 4,
            "{lie:?}: {before:?} became {after:?} in {tried} tries"
        );
        let origin = Origin { about: format!("{lie:?}"), commit: "0".to_owned(), broke: check };
        let text = write_plan(&small, &origin).expect("it can be written");
        let scenario =
            Scenario::parse(Path::new("small.toml"), text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.broke, Some(check));
        assert!(broken_at(&scenario.plan(small.seed), check).is_some(), "{lie:?}: not from its file");
    }
}

#[test]
fn a_plan_that_breaks_nothing_is_refused() {
    let plan = Plan::draw_sized(1, Profile::Calm, 1);
    let told = Shrink::new(plan, "read", 1, Duration::from_secs(1), &mut |_, _| {}).run();
    assert_eq!(told.expect_err("nothing is broken"), "the plan does not break `read`");
}
