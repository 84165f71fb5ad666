//! A member makes itself known: name and client URLs go through the log before it serves (CL-12).

use super::Node;
use crate::base::{Instant, MemberId};
use crate::boundary::{Effect, Note};
use crate::command::Action;
use crate::request::Alarm;

/// Pause before an unanswered publication is tried again.
const RETRY_NS: u64 = 1_000_000_000;

/// How far the publication of this life is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Publication {
    #[default]
    Due,
    Proposed {
        at: Instant,
    },
    Done,
}

impl Node {
    /// Proposes our name and client URLs once a leader takes proposals.
    pub(super) fn publish(&mut self, now: Instant) {
        let is_due = match self.publication {
            Publication::Due => true,
            Publication::Proposed { at } => now.since_ns(at) >= RETRY_NS,
            Publication::Done => false,
        };
        if !is_due || !self.is_open || self.consensus.leader().is_none() {
            return;
        }
        self.publication = Publication::Proposed { at: now };
        let (name, client_urls) = (self.config.name.clone(), self.config.client_urls.clone());
        self.propose_own(now, Action::Publish { member: self.id, name, client_urls });
    }

    /// Our publication is in State: the shell may serve.
    pub(super) fn on_published(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.publication, Publication::Proposed { .. }) {
            self.publication = Publication::Done;
            effects.push(Effect::Note(Note::Published { name: self.config.name.clone() }));
        }
    }
}

/// An alarm as Status lists it, in the form of a protobuf text (MNT-1).
pub(super) fn alarm_text(member: MemberId, alarm: Alarm) -> String {
    let name = match alarm {
        Alarm::None => "NONE",
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    };
    format!("memberID:{member} alarm:{name}")
}
