//! Replays of a log: the core's own apply over the decided entries, in other cuts than any node had.

use std::collections::{BTreeMap, VecDeque};

use holdfast_core::apply::Applier;
use holdfast_core::base::{LogIndex, Term};
use holdfast_core::raft::Committed;
use holdfast_core::state::{STATE_VERSION, State};

use crate::check::Violation;
use crate::history::History;
use crate::rng::Rng;

/// Applies the log entry by entry in slices drawn from `seed`; every digest that a node showed must be
/// the replay's at the same index. The number of digests compared.
pub fn check_digests(history: &History, seed: u64) -> Result<u64, Violation> {
    let mut wanted = BTreeMap::new();
    for digest in &history.digests {
        wanted.insert(digest.applied, *digest);
    }
    let mut rng = Rng::named(seed, "replay");
    let mut state = State::new();
    let mut applier = Applier::new(STATE_VERSION);
    let mut queue: VecDeque<Committed> = (1..)
        .zip(&history.log)
        .map(|(index, entry)| Committed {
            index: LogIndex(index),
            term: Term(entry.term),
            payload: entry.payload.clone(),
        })
        .collect();
    let mut compared = 0;
    while applier.is_busy() || !queue.is_empty() {
        let mut work = rng.log_between(1, 1000) as u32;
        let before = state.applied;
        if let Err(unreadable) = applier.step(&mut state, &mut queue, &mut work) {
            let what = format!("entry {} cannot be applied again: {}", unreadable.index, unreadable.why);
            return Err(Violation { check: "replay", what, at: history.end });
        }
        if rng.chance(0.3) {
            state.kv.compact_step(&mut work);
        }
        if state.applied == before {
            continue;
        }
        if let Some(digest) = wanted.get(&state.applied.0) {
            compared += 1;
            let hash = state.hash();
            if hash != digest.hash {
                let what = format!(
                    "State after entry {} is {:016x} in life {} and {hash:016x} in a replay of the log",
                    digest.applied, digest.hash, digest.life
                );
                return Err(Violation { check: "replay", what, at: digest.at });
            }
        }
    }
    Ok(compared)
}
