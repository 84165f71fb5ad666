//! Planted faults: what the world does wrong on purpose when a plan says so. Tests only.

use holdfast_core::boundary::Effect;
use holdfast_core::request::{Request, Response};
use holdfast_core::wal::LayoutConfig;

use super::World;
use crate::plan::{Lie, Plan};

/// How often a lie about effects is told: each so many of its kind.
const EACH: u64 = 40;

/// What the liar remembers.
#[derive(Debug, Default)]
pub struct Liar {
    told: u64,
    /// An answer to a range of everything at the newest revision.
    old_answer: Option<Response>,
}

/// Puts a lie that is a property of disk, clock or layout into the plan.
pub fn prepare(plan: &mut Plan) {
    match plan.lie {
        Some(Lie::FlushIsNoFlush) => plan.disk.ignores_flush = true,
        Some(Lie::NamesAreNotFlushed) => {
            plan.disk.ignores_directory_flush = true;
            plan.layout =
                LayoutConfig { first_segment_bytes: 16 << 10, segment_bytes: 16 << 10, spares_max: 1 };
        }
        Some(Lie::FastClock) => plan.clock_rate *= 2.0,
        _ => {}
    }
}

impl World {
    /// The effects as they are performed: one of them is left out, repeated or changed now and then.
    pub(super) fn lie_about(&mut self, effect: Effect) -> Vec<Effect> {
        let Some(lie) = self.plan.lie else { return vec![effect] };
        match (lie, effect) {
            (Lie::LostDelivery, Effect::Deliver { response, .. })
                if !response.events.is_empty() && self.is_time() =>
            {
                Vec::new()
            }
            (Lie::RepeatedDelivery, effect @ Effect::Deliver { .. }) if self.is_time() => {
                vec![effect.clone(), effect]
            }
            (Lie::RepeatedAnswer, effect @ Effect::Reply { .. }) if self.is_time() => {
                vec![effect.clone(), effect]
            }
            (Lie::StaleRange, Effect::Reply { waiter, result: Ok(Response::Range(range)) }) => {
                let asked = self.history.ops.get(waiter.0 as usize).map(|op| &op.request);
                let is_plain = matches!(asked, Some(Request::Range(range)) if range.revision == 0
                    && !range.serializable && !range.count_only && range.limit == 0);
                let fresh = Response::Range(range);
                let old = self.liar.old_answer.take().filter(|_| is_plain);
                if is_plain {
                    self.liar.old_answer = Some(fresh.clone());
                }
                let told = if self.is_time() { old } else { None };
                vec![Effect::Reply { waiter, result: Ok(told.unwrap_or(fresh)) }]
            }
            (_, effect) => vec![effect],
        }
    }

    /// Whether this append is one that is forgotten.
    pub(super) fn forgets_append(&mut self) -> bool {
        self.plan.lie == Some(Lie::ForgottenAppend) && self.history.lives.len() > 1 && self.is_time()
    }

    fn is_time(&mut self) -> bool {
        self.liar.told += 1;
        self.liar.told.is_multiple_of(EACH)
    }
}
