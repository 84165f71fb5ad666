//! Aims: moments finer than the clock's.
//!
//! A turn performs many effects in one instant. What strikes behind one of them is recorded as the instant
//! and how many of the kind came before it in that instant, so that a replay strikes at the same place, and
//! at the next one of the kind where something was left out before it.

/// The `nth` occurrence, from 0, of something in an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aim {
    pub at_ns: u64,
    pub nth: u64,
}

impl Aim {
    /// Whether an occurrence is the one aimed at, or one after it.
    pub fn is_met(self, occurrence: Aim) -> bool {
        occurrence >= self
    }
}

/// Counts occurrences of one thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    last: Option<Aim>,
}

impl Tally {
    /// The next occurrence.
    pub fn next(&mut self, now_ns: u64) -> Aim {
        let nth = self.last.filter(|last| last.at_ns == now_ns).map_or(0, |last| last.nth + 1);
        *self.last.insert(Aim { at_ns: now_ns, nth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_counted_within_an_instant() {
        let mut tally = Tally::default();
        let seen: Vec<Aim> = [5, 5, 9].into_iter().map(|now_ns| tally.next(now_ns)).collect();
        assert_eq!(seen.iter().map(|aim| aim.nth).collect::<Vec<_>>(), [0, 1, 0]);
        assert!(!seen[1].is_met(seen[0]));
        assert!(seen[1].is_met(seen[2]));
    }
}
