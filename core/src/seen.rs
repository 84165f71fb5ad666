//! Which proposals have been applied, so that one that entered the log twice takes effect once.
//!
//! raft-rs forwards and repeats proposals by itself. Replicated: every member drops the same ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::MemberId;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::command::RequestId;

/// Counters kept above the floor of a member. A proposal overtaken by so many is taken for a repeat.
const WINDOW_MAX: usize = 8192;

/// Newest life of each member and the counters seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    members: BTreeMap<MemberId, Window>,
}

/// Invariant: everything at or below `floor` counts as seen; `above` holds what is seen beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    epoch: u64,
    floor: u64,
    above: BTreeSet<u64>,
}

impl Seen {
    /// Records `id`; false if it, or a later life of its member, was seen before.
    pub fn admit(&mut self, id: RequestId) -> bool {
        let window = self.members.entry(id.member).or_default();
        if id.epoch < window.epoch {
            return false;
        }
        if id.epoch > window.epoch {
            *window = Window { epoch: id.epoch, ..Window::default() };
        }
        if id.counter <= window.floor || !window.above.insert(id.counter) {
            return false;
        }
        while window.above.first() == Some(&(window.floor + 1)) || window.above.len() > WINDOW_MAX {
            window.floor = window.above.pop_first().expect("the set is not empty");
        }
        true
    }

    /// The newest life of `member`; 0 if it never proposed.
    pub fn epoch(&self, member: MemberId) -> u64 {
        self.members.get(&member).map_or(0, |window| window.epoch)
    }

    pub fn encode(&self, e: &mut Encoder<'_>) {
        e.list_len(self.members.len());
        for (member, window) in &self.members {
            e.u64(member.0).u64(window.epoch).u64(window.floor).list_len(window.above.len());
            for counter in &window.above {
                e.u64(*counter);
            }
        }
    }

    pub fn decode(d: &mut Decoder) -> Result<Seen, DecodeError> {
        let mut seen = Seen::default();
        for _ in 0..d.list_len()? {
            let member = MemberId(d.u64()?);
            let (epoch, floor) = (d.u64()?, d.u64()?);
            let above = (0..d.list_len()?).map(|_| d.u64()).collect::<Result<_, _>>()?;
            seen.members.insert(member, Window { epoch, floor, above });
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn id(epoch: u64, counter: u64) -> RequestId {
        RequestId { member: MemberId(1), epoch, counter }
    }

    #[test]
    fn a_repeat_is_not_admitted_whatever_came_between() {
        let mut seen = Seen::default();
        for counter in [1, 3, 2, 7] {
            assert!(seen.admit(id(1, counter)));
            assert!(!seen.admit(id(1, counter)));
        }
        assert!(!seen.admit(id(1, 1)));
        assert!(seen.admit(id(1, 5)));
    }

    #[test]
    fn an_older_life_is_not_admitted() {
        let mut seen = Seen::default();
        assert!(seen.admit(id(2, 1)));
        assert!(!seen.admit(id(1, 9)));
        assert!(seen.admit(id(3, 1)));
    }

    #[test]
    fn the_window_is_bounded() {
        let mut seen = Seen::default();
        for counter in 0..2 * WINDOW_MAX as u64 {
            assert!(seen.admit(id(1, 2 + 2 * counter)));
        }
        assert!(seen.members[&MemberId(1)].above.len() <= WINDOW_MAX);
        assert!(!seen.admit(id(1, 3)), "below the floor");
    }

    #[test]
    fn survives_a_round_trip() {
        let mut seen = Seen::default();
        for counter in [1, 2, 9] {
            seen.admit(id(4, counter));
        }
        let mut buffer = BytesMut::new();
        seen.encode(&mut Encoder(&mut buffer));
        assert_eq!(Seen::decode(&mut Decoder(buffer.freeze())), Ok(seen));
    }
}
