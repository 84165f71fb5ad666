//! Releases: members whose programs know an earlier version of State, and operators who change programs.

use holdfast_core::state::STATE_VERSION;

use super::{MemberPlan, Profile, SECOND};
use crate::rng::Rng;

/// The version of the release before.
pub const EARLIER: u32 = STATE_VERSION - 1;

/// Programs that are changed in the storm; in the calm all are of the newest release.
#[derive(Clone, Debug)]
pub struct ReleasePlan {
    /// Mean pause between two changes of some member's program; 0: none.
    pub every_ns: u64,
    /// Probability that a change is one back to the release before.
    pub back: f64,
}

impl ReleasePlan {
    /// Programs that stay.
    pub fn none() -> ReleasePlan {
        ReleasePlan { every_ns: 0, back: 0.0 }
    }

    /// The plan of a seed; in one run of four some of `members` begin with the release before.
    pub fn draw<'a>(
        seed: u64,
        profile: Profile,
        members: impl Iterator<Item = &'a mut MemberPlan>,
    ) -> ReleasePlan {
        let mut rng = Rng::named(seed, "releases");
        // Lost disks and members that do not go on together are more than a cluster outlives.
        if matches!(profile, Profile::Calm | Profile::Wipes) || !rng.chance(0.25) {
            return ReleasePlan::none();
        }
        for member in members {
            if rng.chance(0.7) {
                member.state_version = EARLIER;
            }
        }
        ReleasePlan { every_ns: *rng.pick(&[0, 2 * SECOND, 6 * SECOND]), back: *rng.pick(&[0.0, 0.2, 0.5]) }
    }
}
