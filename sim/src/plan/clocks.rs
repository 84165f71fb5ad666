//! What clocks do beside running at their own rates.

use super::{MS, Profile, SECOND};
use crate::rng::Rng;

/// Clocks of the members' processes.
#[derive(Clone, Debug)]
pub struct ClockPlan {
    /// Mean pause between two suspensions of some member: it takes no turn and its clock stands still; 0: none.
    pub suspend_every_ns: u64,
    /// Bounds of a suspension; its length is what a clock may be late by when the calm begins.
    pub suspend_ns: (u64, u64),
    /// Probability that a tick comes only with a later one, and how many become one at most.
    pub merge: f64,
    pub merged_max: u64,
}

impl ClockPlan {
    pub fn draw(seed: u64, profile: Profile) -> ClockPlan {
        let mut rng = Rng::named(seed, "clocks");
        let rng = &mut rng;
        let mut clocks = ClockPlan {
            suspend_every_ns: *rng.pick(&[0, 0, 0, 10 * SECOND]),
            suspend_ns: (10 * MS, rng.log_between(100 * MS, 4 * SECOND)),
            merge: *rng.pick(&[0.0, 0.0, 0.01]),
            merged_max: rng.between(1, 10),
        };
        match profile {
            Profile::Calm => (clocks.suspend_every_ns, clocks.merge) = (0, 0.0),
            Profile::LeaseClocks => {
                clocks.suspend_every_ns = *rng.pick(&[0, 3 * SECOND, 6 * SECOND]);
                clocks.merge = *rng.pick(&[0.0, 0.02, 0.1]);
            }
            _ => {}
        }
        if clocks.suspend_every_ns == 0 {
            clocks.suspend_ns = (0, 0);
        }
        clocks
    }
}
