//! The clocks of the machine that a member runs on.
//!
//! All that the core loop takes for time passes here, so that a simulated machine can be wrong about it. Limits
//! of connections and pauses between attempts are true time: nothing that is promised hangs on them.

use holdfast_core::base::Instant;
use holdfast_net::clock::WallClock;
use tokio::time::Instant as Clock;

#[cfg(not(madsim))]
mod real {
    use std::time::Duration;

    use super::{Clock, Instant, WallClock};

    /// The system's clocks.
    #[derive(Clone, Debug)]
    pub struct HostClock {
        zero: Clock,
    }

    impl HostClock {
        pub fn system() -> HostClock {
            HostClock { zero: Clock::now() }
        }

        /// The same clocks, counting from here on.
        pub fn begin(&self) -> HostClock {
            HostClock::system()
        }

        pub fn now(&self) -> Instant {
            Instant(u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX))
        }

        /// When it will be `at`.
        pub fn when(&self, at: Instant) -> Clock {
            self.zero + Duration::from_nanos(at.0)
        }

        pub fn wall(&self) -> WallClock {
            WallClock::TRUE
        }
    }
}

#[cfg(madsim)]
mod simulated {
    use std::sync::{Arc, Mutex, MutexGuard};
    use std::time::Duration;

    use super::{Clock, Instant, WallClock};

    /// The clocks of a simulated machine; clones show the same time.
    #[derive(Clone, Debug)]
    pub struct HostClock {
        hands: Arc<Mutex<Hands>>,
        zero_ns: u64,
        wall: WallClock,
    }

    /// How the clock runs, and what it has shown.
    #[derive(Debug)]
    struct Hands {
        rate: f64,
        /// True time, and what the clock showed, when it was set to `rate`.
        since: Clock,
        shown_ns: u64,
        /// Of all readings.
        digest: u64,
    }

    impl HostClock {
        /// A clock that runs at `rate` times the true one.
        pub fn new(rate: f64, wall: WallClock) -> HostClock {
            let hands = Hands { rate, since: Clock::now(), shown_ns: 0, digest: 0 };
            HostClock { hands: Arc::new(Mutex::new(hands)), zero_ns: 0, wall }
        }

        /// From here on it runs at `rate`.
        pub fn set_rate(&self, rate: f64) {
            let mut hands = self.hands();
            let now = Clock::now();
            (hands.shown_ns, hands.since, hands.rate) = (hands.shown_at(now), now, rate);
        }

        /// Equal for two runs in which it was read at the same times.
        pub fn digest(&self) -> u64 {
            self.hands().digest
        }

        /// The same clocks, counting from here on.
        pub fn begin(&self) -> HostClock {
            let zero_ns = self.hands().shown_at(Clock::now());
            HostClock { zero_ns, ..self.clone() }
        }

        pub fn now(&self) -> Instant {
            let mut hands = self.hands();
            let shown_ns = hands.shown_at(Clock::now());
            hands.digest = (hands.digest.rotate_left(5) ^ shown_ns).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Instant(shown_ns - self.zero_ns)
        }

        /// When it will be `at`, unless the clock is set otherwise meanwhile.
        pub fn when(&self, at: Instant) -> Clock {
            let hands = self.hands();
            let ahead_ns = at.0.saturating_add(self.zero_ns).saturating_sub(hands.shown_ns);
            // Never before it: whoever waited would find it too early, again and again.
            hands.since + Duration::from_nanos((ahead_ns as f64 / hands.rate) as u64 + 1)
        }

        pub fn wall(&self) -> WallClock {
            self.wall
        }

        fn hands(&self) -> MutexGuard<'_, Hands> {
            self.hands.lock().expect("nobody panics while holding it")
        }
    }

    impl Hands {
        fn shown_at(&self, now: Clock) -> u64 {
            self.shown_ns + ((now - self.since).as_nanos() as f64 * self.rate) as u64
        }
    }
}

#[cfg(not(madsim))]
pub use real::HostClock;
#[cfg(madsim)]
pub use simulated::HostClock;
