//! How the membership changes: what clients ask for, and what becomes of machines that come and go.

use holdfast_core::base::MemberId;

use super::{MS, MemberPlan, Profile, SECOND};
use crate::rng::Rng;

/// Whose a newcomer's machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlisted {
    pub id: MemberId,
    /// The machine whose address it takes over.
    pub heir_of: Option<usize>,
}

/// Changes of the membership.
#[derive(Clone, Debug)]
pub struct MembershipPlan {
    /// Probability that a client's request is about the members; 0: the membership stays.
    pub share: f64,
    /// Machines of members to come, in the order of their coming; when they are used up, nobody is added.
    pub newcomers: Vec<MemberPlan>,
    /// Whose machines the first of them are, where that is known from the beginning: in scripts.
    pub enlisted: Vec<Enlisted>,
    /// Voters above which no more are asked for.
    pub voters_max: usize,
    /// `--strict-reconfig-check` and `--max-learners` of all members.
    pub strict_reconfig: bool,
    pub learners_max: u32,
    /// Probability that a new member begins before anybody was told that it was added, and that it never does
    /// while the storm lasts.
    pub early: f64,
    pub never: f64,
    /// Bounds of the pause from the answer to the new member's first life.
    pub join_ns: (u64, u64),
    /// Probability that a new member takes over the address of a removed one.
    pub takes_address: f64,
}

impl MembershipPlan {
    /// Of a cluster whose members stay.
    pub fn still() -> MembershipPlan {
        MembershipPlan {
            share: 0.0,
            newcomers: Vec::new(),
            enlisted: Vec::new(),
            voters_max: 7,
            strict_reconfig: true,
            learners_max: 1,
            early: 0.0,
            never: 1.0,
            join_ns: (MS, SECOND),
            takes_address: 0.0,
        }
    }

    /// The same machines, and nobody who asks for changes or starts them but a script.
    pub fn scripted(&self, enlisted: Vec<Enlisted>) -> MembershipPlan {
        MembershipPlan { enlisted, share: 0.0, early: 0.0, never: 1.0, takes_address: 0.0, ..self.clone() }
    }

    /// The plan of a seed; `draw_member` makes a machine.
    pub fn draw(
        seed: u64,
        profile: Profile,
        mut draw_member: impl FnMut(&mut Rng) -> MemberPlan,
    ) -> MembershipPlan {
        let mut rng = Rng::named(seed, "membership");
        let rng = &mut rng;
        let share = match profile {
            Profile::Membership => *rng.pick(&[0.02, 0.05, 0.12]),
            // Damage and lost members together would be more than any cluster outlives.
            Profile::BitRot => 0.0,
            // Only what repairs the cluster: any other change could cost it a quorum that lost disks left it.
            Profile::Wipes => 0.0,
            _ => *rng.pick(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.005]),
        };
        if profile == Profile::Wipes {
            let newcomers = (0..10).map(|_| draw_member(rng)).collect();
            return MembershipPlan { newcomers, never: 0.0, takes_address: 0.7, ..MembershipPlan::still() };
        }
        if share == 0.0 {
            return MembershipPlan::still();
        }
        let count = if profile == Profile::Membership { rng.between(4, 14) } else { 3 };
        MembershipPlan {
            share,
            newcomers: (0..count).map(|_| draw_member(rng)).collect(),
            enlisted: Vec::new(),
            voters_max: *rng.pick(&[3, 5, 7]),
            strict_reconfig: rng.chance(0.7),
            learners_max: *rng.pick(&[1, 1, 2, 3]),
            early: *rng.pick(&[0.0, 0.2]),
            never: *rng.pick(&[0.0, 0.1]),
            join_ns: (MS, rng.log_between(10 * MS, 5 * SECOND)),
            takes_address: *rng.pick(&[0.0, 0.5, 1.0]),
        }
    }
}
