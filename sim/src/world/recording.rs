//! Hooks of the record: each does nothing in a run that keeps none.

use holdfast_core::boundary;
use holdfast_core::peer::PeerMessage;

use super::World;
use super::network::brief;
use crate::history::Moment;
use crate::record::{Class, Fate, Figures, Letter, MailKind, Note, Record, Span, SpanKind, What, told_cut};

impl World {
    /// Keeps a record of what happens.
    pub fn with_record(mut self) -> World {
        self.record = Some(Box::new(Record::new(self.ids.clone())));
        self
    }

    /// The present, without a place of its own in the order: a record changes nothing.
    fn here(&self) -> Moment {
        Moment { seq: self.seq, at_ns: self.now_ns, turn: self.counts.turns }
    }

    pub(super) fn record(&mut self, what: impl FnOnce() -> What) {
        let at = self.here();
        if let Some(record) = &mut self.record {
            record.push(at, what());
        }
    }

    /// A line of the trace that a record keeps as well.
    pub(super) fn tell(&mut self, member: Option<usize>, class: Class, text: impl FnOnce() -> String) {
        let at = self.here();
        match &mut self.record {
            None => self.trace.line(self.now_ns, text),
            Some(record) => {
                let text = text();
                record.push(at, What::Note(Note { member, class, text: text.clone() }));
                self.trace.line(self.now_ns, || text);
            }
        }
    }

    /// What a member is at, after a turn or at the beginning of a life.
    pub(super) fn record_figures(&mut self, m: usize) {
        if self.record.is_none() {
            return;
        }
        let at = self.here();
        let Some(process) = &self.machines[m].process else { return };
        let (gauges, standing) = (process.node.gauges(), process.node.standing());
        let figures = Figures {
            member: m,
            role: standing.role,
            term: gauges.term,
            vote: standing.vote.and_then(|id| self.number_of(id)),
            leader: standing.leader.and_then(|id| self.number_of(id)),
            last: gauges.last_index,
            durable: self.referee.taps[m].last_durable(),
            committed: gauges.committed,
            applied: gauges.applied,
            revision: gauges.revision,
            compact_revision: gauges.compact_revision,
            leases: standing.leases,
            lease_deadline_ns: standing.lease_deadline.map(|deadline| process.when(deadline)),
        };
        if let Some(record) = &mut self.record {
            record.take_figures(at, figures);
        }
    }

    /// A copy of a message sets out. Its number in the record.
    pub(super) fn record_sent(
        &mut self,
        (from, to): (usize, usize),
        message: &PeerMessage,
        is_late: bool,
    ) -> Option<usize> {
        let at = self.here();
        let record = self.record.as_mut()?;
        Some(record.send(
            at,
            Letter {
                from,
                to,
                kind: MailKind::of(message),
                text: brief(message),
                sent_ns: at.at_ns,
                ended_ns: None,
                fate: Fate::Underway,
                is_copy: is_late,
                is_late,
            },
        ))
    }

    /// A message ends where it begins.
    pub(super) fn record_unsent(&mut self, link: (usize, usize), message: &PeerMessage, fate: Fate) {
        let (number, at_ns) = (self.record_sent(link, message, false), self.now_ns);
        if let (Some(record), Some(number)) = (&mut self.record, number) {
            // One frame is enough for what ends where it begins.
            record.letters[number].ended_ns = Some(at_ns);
            record.letters[number].fate = fate;
        }
    }

    /// The last message that set out is a copy of one that follows.
    pub(super) fn record_copy(&mut self) {
        if let Some(letter) = self.record.as_mut().and_then(|record| record.letters.last_mut()) {
            letter.is_copy = true;
        }
    }

    pub(super) fn record_end(&mut self, letter: Option<usize>, fate: Fate) {
        let at = self.here();
        if let (Some(record), Some(letter)) = (&mut self.record, letter) {
            record.end_letter(at, letter, fate);
        }
    }

    /// A cut comes or goes.
    pub(super) fn record_cut(&mut self, number: u32, on: bool, links: &[(usize, usize)], clients: &[usize]) {
        let at = self.here();
        let size = self.machines.len();
        let Some(record) = &mut self.record else { return };
        let text = format!("cut {number}: {}", told_cut(size, links, clients));
        if !on {
            return record.end_span(at, SpanKind::Cut, &text);
        }
        let (members, links) = (clients.to_vec(), links.to_vec());
        let span = Span { kind: SpanKind::Cut, members, links, text, from_ns: at.at_ns, until_ns: None };
        record.begin(at, span);
    }

    /// A member takes no turn, or a link lets nothing through, until a moment.
    pub(super) fn record_stop(&mut self, kind: SpanKind, m: usize, to: Option<usize>, until_ns: u64) {
        let at = self.here();
        let Some(record) = &mut self.record else { return };
        let seconds = (until_ns - at.at_ns) as f64 / 1e9;
        let (text, members, links) = match to {
            Some(to) => (format!("m{m} => m{to} clogs for {seconds:.3} s"), Vec::new(), vec![(m, to)]),
            None => (format!("m{m} pauses for {seconds:.3} s"), vec![m], Vec::new()),
        };
        record.begin(at, Span { kind, members, links, text, from_ns: at.at_ns, until_ns: Some(until_ns) });
    }

    /// What a node says of itself, as far as figures do not show it.
    pub(super) fn record_note(&mut self, m: usize, note: &boundary::Note) {
        use boundary::Note as N;
        if self.record.is_none() {
            return;
        }
        let name = |world: &World, id| world.number_of(id).map_or(format!("{id:x}"), |m| format!("m{m}"));
        let text = match note {
            N::Compacted { revision } => format!("m{m} has compacted revision {revision}"),
            N::AutoCompaction { revision, .. } => {
                format!("m{m} compacts at revision {revision} of its own accord")
            }
            N::CheckpointWritten { index } => format!("m{m} has a checkpoint of entry {index}"),
            N::CheckpointFailed { index } => format!("m{m} fails to write a checkpoint of entry {index}"),
            N::LeaseExpired { id } => format!("lease {id:x} runs out on m{m}"),
            N::PeerRefused { from, what } => format!("m{m} refuses what {} says: {what}", name(self, *from)),
            N::SnapshotSending { to, index } => {
                format!("m{m} sends the State of entry {index} to {}", name(self, *to))
            }
            N::SnapshotReceiving { from, index } => {
                format!("m{m} receives the State of entry {index} from {}", name(self, *from))
            }
            N::SnapshotInstalled { index } => format!("m{m} takes over the State of entry {index}"),
            N::StateVersion { version } => format!("m{m} has State of version {version} from here on"),
            N::Removed => format!("m{m} is no member any more"),
            // The figures show these, or `tell` has told it.
            N::BecameLeader { .. } | N::LostLeader { .. } | N::LeaderChanged { .. } | N::Published { .. } => {
                return;
            }
        };
        self.record(|| What::Note(Note { member: Some(m), class: Class::Node, text }));
    }
}
