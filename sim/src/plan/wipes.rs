//! Disks that are lost, and what operators do then.

use super::{MS, Profile, SECOND};
use crate::rng::Rng;

/// Members that lose their disks. At no time so many that the others are no quorum.
#[derive(Clone, Debug)]
pub struct WipePlan {
    /// Mean pause between two; 0: none.
    pub every_ns: u64,
    /// Probability that the machine is started again under its old id, with an empty disk.
    pub returns: f64,
    /// Bounds of the pause before that.
    pub return_ns: (u64, u64),
    /// Probability of a request that repairs the cluster, for each of a client's: the lost member is removed,
    /// another one added.
    pub repair: f64,
}

impl WipePlan {
    /// Disks that stay.
    pub fn none() -> WipePlan {
        WipePlan { every_ns: 0, returns: 0.0, return_ns: (MS, SECOND), repair: 0.0 }
    }

    pub fn draw(seed: u64, profile: Profile) -> WipePlan {
        let mut rng = Rng::named(seed, "wipes");
        if profile != Profile::Wipes {
            return WipePlan::none();
        }
        WipePlan {
            every_ns: *rng.pick(&[2 * SECOND, 4 * SECOND, 8 * SECOND]),
            returns: *rng.pick(&[0.0, 0.5, 1.0]),
            return_ns: (MS, rng.log_between(10 * MS, 2 * SECOND)),
            repair: *rng.pick(&[0.05, 0.2]),
        }
    }
}
