//! The wall clock as services see it.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock of the machine that a member runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// How far a simulated machine's clock is ahead of true time.
    #[cfg(madsim)]
    pub ahead_s: i64,
}

impl WallClock {
    /// One that is right.
    pub const TRUE: WallClock = WallClock {
        #[cfg(madsim)]
        ahead_s: 0,
    };

    /// Whole seconds since 1970.
    pub fn unix_s(self) -> u64 {
        // A clock before 1970 names members as well as any other.
        let true_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        #[cfg(madsim)]
        let true_s = true_s.saturating_add_signed(self.ahead_s);
        true_s
    }
}
