//! Profiles: what a family of runs is after.

use crate::rng::Rng;

/// A family of runs. Gentle faults at random miss what aimed ones find: each of these has an idea.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Everything a little.
    Standard,
    /// Crashes while bytes are unsynced and between two effects of one turn.
    AimedCrashes,
    /// Flushes of up to seconds, stalls.
    SlowDisk,
    /// Disks that fill, and quotas.
    FullDisk,
    /// Bits flip at rest between two lives.
    BitRot,
    /// No faults: what fails here is the oracle or the plainest bug.
    Calm,
    /// Many elections: short timeouts, crashes right behind a granted vote, quick restarts.
    Votes,
    /// A leader that is cut off while its clock runs slow, late and repeated mail: stale reads.
    StaleReads,
    /// Leases, skewed clocks and leaders that change.
    LeaseClocks,
    /// Watches on members that are cut off and fall behind.
    WatchPartitions,
    /// Everybody loses power at once, again and again.
    PowerLoss,
    /// Leaders that are cut off.
    LeaderIsolation,
    /// Members that fall so far behind that they need a snapshot.
    Laggards,
    /// Users, roles and tokens that change under all kinds of requests.
    Auth,
    /// Members that come, go, are promoted and hand over.
    Membership,
    /// Disks that are lost, and members that are replaced.
    Wipes,
    /// Values up to the largest that is taken, and thousands of keys in one entry.
    Large,
}

impl Profile {
    pub const ALL: [Profile; 17] = [
        Profile::Standard,
        Profile::AimedCrashes,
        Profile::SlowDisk,
        Profile::FullDisk,
        Profile::BitRot,
        Profile::Calm,
        Profile::Votes,
        Profile::StaleReads,
        Profile::LeaseClocks,
        Profile::WatchPartitions,
        Profile::PowerLoss,
        Profile::LeaderIsolation,
        Profile::Laggards,
        Profile::Auth,
        Profile::Membership,
        Profile::Wipes,
        Profile::Large,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Standard => "standard",
            Profile::AimedCrashes => "aimed-crashes",
            Profile::SlowDisk => "slow-disk",
            Profile::FullDisk => "full-disk",
            Profile::BitRot => "bit-rot",
            Profile::Calm => "calm",
            Profile::Votes => "votes",
            Profile::StaleReads => "stale-reads",
            Profile::LeaseClocks => "lease-clocks",
            Profile::WatchPartitions => "watch-partitions",
            Profile::PowerLoss => "power-loss",
            Profile::LeaderIsolation => "leader-isolation",
            Profile::Laggards => "laggards",
            Profile::Auth => "auth",
            Profile::Membership => "membership",
            Profile::Wipes => "wipes",
            Profile::Large => "large",
        }
    }

    pub fn by_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The profile of a seed when none is named: all take turns, the calm one rarely.
    pub fn of_seed(seed: u64) -> Profile {
        let weights = [5, 4, 2, 2, 3, 1, 3, 3, 2, 2, 2, 2, 2, 3, 4, 2, 1];
        Profile::ALL[Rng::named(seed, "profile").weighted(&weights)]
    }

    /// Whether members that come and go are what the profile is after.
    pub fn changes_members(self) -> bool {
        matches!(self, Profile::Membership | Profile::Wipes)
    }

    /// Whether one member alone has nothing of what the profile is after.
    pub fn needs_peers(self) -> bool {
        matches!(
            self,
            Profile::Votes
                | Profile::StaleReads
                | Profile::WatchPartitions
                | Profile::LeaderIsolation
                | Profile::Laggards
                | Profile::Wipes
        )
    }
}
