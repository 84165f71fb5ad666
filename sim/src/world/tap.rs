//! What a member's log says, read from its own frames, and how much of it is on its disk for good.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_core::base::{LogIndex, MemberId, Term};
use holdfast_core::recover::Found;
use holdfast_core::wal::{Entry, EntryKind, FrameKind, HardState, RawFrame};

use crate::history::LogEntry;

/// An entry as a member has it.
#[derive(Clone, Debug)]
pub struct Held {
    pub term: u64,
    pub kind: EntryKind,
    pub data: Bytes,
    /// Last frame of the append that wrote it.
    through: u64,
}

impl Held {
    /// Whether it is this entry of the decided log.
    pub fn is(&self, decided: &LogEntry) -> bool {
        use holdfast_core::raft::Payload;
        let (kind, bytes): (_, &[u8]) = match &decided.payload {
            Payload::Empty => (EntryKind::Normal, &[]),
            Payload::Command(bytes) => (EntryKind::Normal, bytes),
            Payload::Conf(bytes) => (EntryKind::Conf, bytes),
        };
        self.term == decided.term && self.kind == kind && self.data == bytes
    }
}

/// One member's log over all its lives.
/// Invariant: `through` never falls from one entry to the next, since an overwritten entry takes all behind it.
#[derive(Debug, Default)]
pub struct Tap {
    /// Index and term of the state that the log stands behind, and the append that said so.
    base: (u64, u64, u64),
    entries: Vec<Held>,
    /// Last entry that was on disk when a snapshot took the place of the log.
    kept: u64,
    /// Last frame that a flush has covered.
    durable: u64,
    /// The boot record of the life; `None` before it was handed out.
    boot: Option<u64>,
    /// Hard states that were handed out and are not on disk yet, by the append that has them.
    hards: VecDeque<(u64, HardState)>,
    /// The hard state on disk, and the newest one.
    hard: HardState,
    newest: HardState,
}

/// What an append said beside its entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Frame of a boot record.
    pub boot: Option<u64>,
    pub took_snapshot: bool,
    /// First entry that took the place of another.
    pub overwrote: Option<u64>,
}

impl Tap {
    pub fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    pub fn base(&self) -> (u64, u64) {
        (self.base.0, self.base.1)
    }

    pub fn at(&self, index: u64) -> Option<&Held> {
        self.entries.get(index.checked_sub(self.base.0 + 1)? as usize)
    }

    /// Term of an entry; `None` where it is behind a snapshot or not there.
    pub fn term_of(&self, index: u64) -> Option<u64> {
        match index == self.base.0 {
            true => Some(self.base.1),
            false => self.at(index).map(|held| held.term),
        }
    }

    /// Whether the entry, or a state that contains it, is on disk.
    pub fn is_durable(&self, index: u64) -> bool {
        match index <= self.base.0 {
            true => self.base.2 <= self.durable || index <= self.kept,
            false => self.at(index).is_some_and(|held| held.through <= self.durable),
        }
    }

    /// The last entry that is on disk, or in a state that is.
    pub fn last_durable(&self) -> u64 {
        let on_disk = self.entries.partition_point(|held| held.through <= self.durable) as u64;
        if self.base.2 <= self.durable { self.base.0 + on_disk } else { self.kept }
    }

    /// Whether the entry of this term, or a state that contains it, is on disk.
    pub fn keeps(&self, index: u64, term: u64) -> bool {
        self.is_durable(index) && (index <= self.base.0 || self.term_of(index) == Some(term))
    }

    /// Whether this life's boot record is on disk, and with it all that was found there.
    pub fn is_booted(&self) -> bool {
        self.boot.is_some_and(|boot| boot <= self.durable)
    }

    /// Term and vote on disk.
    pub fn durable_hard(&self) -> HardState {
        self.hard
    }

    /// The term that a life which begins now would be in: a state that is on disk has one too.
    pub fn term_on_disk(&self) -> u64 {
        let (_, base_term, through) = self.base;
        if through <= self.durable { self.hard.term.0.max(base_term) } else { self.hard.term.0 }
    }

    /// Newest term that was handed to the disk.
    pub fn newest_term(&self) -> u64 {
        self.newest.term.0
    }

    /// Takes the frames of an append. Errors: what no log may do.
    pub fn take(&mut self, frames: &Bytes, through: u64, decided: &[LogEntry]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        let mut offset = 0;
        while offset < frames.len() {
            let raw = RawFrame::read(&frames.slice(offset..))
                .ok_or_else(|| format!("no frame at offset {offset} of append {through}"))?;
            offset += raw.encoded_len();
            let frame = raw.decode().map_err(|error| format!("frame {}: {}", raw.lsn, error.0))?;
            if matches!(frame.kind, FrameKind::Boot { .. }) {
                self.boot = Some(raw.lsn.0);
                taken.boot = Some(raw.lsn.0);
            }
            if let Some((index, term)) = frame.snapshot {
                self.take_snapshot(index.0, term.0, through, decided)?;
                taken.took_snapshot = true;
            }
            for entry in frame.entries {
                let index = entry.index.0;
                let overwrites = self.take_entry(entry, through, decided)?;
                taken.overwrote = taken.overwrote.or(overwrites.then_some(index));
            }
            if let Some(hard) = frame.hard {
                self.take_hard(hard, through)?;
            }
        }
        Ok(taken)
    }

    /// A leader of an earlier term than the one in which an entry was decided may not know it, and whoever hears that
    /// leader late may lose the entry: it was not counted. Nobody of that term or a later one writes anything else.
    fn take_entry(&mut self, entry: Entry, through: u64, decided: &[LogEntry]) -> Result<bool, String> {
        let Entry { index: LogIndex(index), term: Term(term), kind, data } = entry;
        let Some(place) = index.checked_sub(self.base.0 + 1).map(|place| place as usize) else {
            return Err(format!("entry {index} is written behind a snapshot at {}", self.base.0));
        };
        if place > self.entries.len() {
            return Err(format!("entry {index} leaves a gap behind {}", self.last()));
        }
        let overwrites = place < self.entries.len();
        if let Some(known) = decided.get(index as usize - 1).filter(|_| overwrites)
            && self.entries[place].is(known)
            && term >= known.decided_in
        {
            return Err(format!("entry {index} of term {}, which is decided, is overwritten", known.term));
        }
        self.entries.truncate(place);
        self.entries.push(Held { term, kind, data, through });
        Ok(overwrites)
    }

    fn take_snapshot(
        &mut self,
        index: u64,
        term: u64,
        through: u64,
        decided: &[LogEntry],
    ) -> Result<(), String> {
        let known = (index as usize).checked_sub(1).and_then(|place| decided.get(place));
        if known.is_none_or(|known| known.term != term) {
            return Err(format!("a snapshot at entry {index} of term {term}, which is not decided"));
        }
        self.kept = self.last_durable();
        self.entries.clear();
        self.base = (index, term, through);
        Ok(())
    }

    fn take_hard(&mut self, hard: HardState, through: u64) -> Result<(), String> {
        let goes_back = hard.term < self.newest.term || hard.commit < self.newest.commit;
        let votes_again =
            hard.term == self.newest.term && hard.vote != self.newest.vote && self.newest.vote != MemberId(0);
        if goes_back || votes_again {
            return Err(format!("{hard:?} follows {:?}", self.newest));
        }
        if hard.commit.0 > self.last() {
            return Err(format!("commit index {} is beyond the last entry {}", hard.commit, self.last()));
        }
        self.newest = hard;
        self.hards.push_back((through, hard));
        Ok(())
    }

    /// A flush has covered everything up to a frame.
    pub fn on_durable(&mut self, through: u64) {
        self.durable = self.durable.max(through);
        while let Some((_, hard)) = self.hards.pop_front_if(|(at, _)| *at <= self.durable) {
            self.hard = hard;
        }
    }

    /// Where this log and another break log matching: entries of one index and term have equal logs up to there.
    pub fn mismatch(&self, other: &Tap) -> Option<String> {
        let from = self.base.0.max(other.base.0) + 1;
        let to = self.last().min(other.last());
        let mut must_agree = false;
        for index in (from..=to).rev() {
            let (mine, theirs) = (self.at(index)?, other.at(index)?);
            must_agree |= mine.term == theirs.term;
            if must_agree && (mine.term != theirs.term || mine.data != theirs.data) {
                return Some(format!("entry {index} differs, terms {} and {}", mine.term, theirs.term));
            }
        }
        None
    }

    /// A life that finds an empty directory, after one whose log ended with entry `before`.
    fn restart_on_nothing(&mut self, before: u64) -> Result<u64, String> {
        if self.durable > 0 {
            return Err(format!("nothing is found, but frame {} had been flushed", self.durable));
        }
        *self = Tap::default();
        Ok(before)
    }

    /// What a new life finds: nothing that was flushed may be missing. The number of entries lost.
    pub fn restart(&mut self, found: Option<&Found>) -> Result<u64, String> {
        self.boot = None;
        self.hards.clear();
        let before = self.last();
        let Some(found) = found else { return self.restart_on_nothing(before) };
        self.check_hard(found.log.hard)?;
        let checkpoint = found.checkpoint.as_ref().map_or((0, 0), |(_, index, term)| (index.0, term.0));
        let end = found.log.writer.last().0;
        let is_older =
            found.log.entries.iter().any(|e| e.index.0 == checkpoint.0 && e.term.0 != checkpoint.1);
        let entries: Vec<Held> = found
            .log
            .entries
            .iter()
            .filter(|entry| entry.index.0 > checkpoint.0 && !is_older)
            .map(|entry| {
                let (term, kind, data) = (entry.term.0, entry.kind, entry.data.clone());
                let known = self.at(entry.index.0).filter(|held| held.term == term && held.data == data);
                // What is read again is on disk for good with the boot record at the latest.
                let through = known.map_or(end + 1, |held| held.through.min(end + 1));
                Held { term, kind, data, through }
            })
            .collect();
        let kept = self.owed(found, checkpoint.0, is_older);
        let last = checkpoint.0 + entries.len() as u64;
        // Without the checkpoint that it stands behind, a log is of no use: the member refuses to open.
        let is_cut_off = found.log.base.is_some_and(|base| base.0 > checkpoint.0);
        if is_cut_off || found.log.hard.commit.0 > last {
            return Ok(0);
        }
        // Entries behind one that a leader's checkpoint contradicts could never be decided.
        if last < kept && !is_older {
            return Err(format!("entry {kept} had been flushed, what is found ends with {last}"));
        }
        if let Some(old) = self.at(kept)
            && kept > checkpoint.0
            && !is_older
        {
            let new = &entries[(kept - checkpoint.0 - 1) as usize];
            if new.term != old.term || new.data != old.data {
                return Err(format!("entry {kept} of term {} had been flushed and is not found", old.term));
            }
        }
        let last = checkpoint.0 + entries.len() as u64;
        if self.base.2 <= self.durable && last < self.base.0 {
            return Err(format!(
                "a snapshot at entry {} had been taken, the log ends at {last}",
                self.base.0
            ));
        }
        // A received state whose name was not flushed is on disk for good with the boot record.
        let through = if checkpoint.0 > kept { end + 1 } else { 0 };
        *self = Tap {
            base: (checkpoint.0, checkpoint.1, through),
            entries,
            kept,
            durable: self.durable.min(end),
            boot: None,
            hards: VecDeque::from([(end + 1, found.log.hard)]),
            hard: self.hard,
            newest: found.log.hard,
        };
        self.newest.commit = LogIndex(0);
        Ok(before.saturating_sub(self.last()))
    }

    /// Last entry that must be found again. A received state of another history voids the log, also where its
    /// word reached the disk unflushed.
    fn owed(&self, found: &Found, checkpoint: u64, is_older: bool) -> u64 {
        let took_over = self.base.2 > self.durable && checkpoint >= self.base.0;
        let is_marked = self.base.0 > 0 && found.log.base == Some(LogIndex(self.base.0));
        match is_older || is_marked || took_over {
            true => self.base.0.min(checkpoint),
            false => self.last_durable(),
        }
    }

    fn check_hard(&self, found: HardState) -> Result<(), String> {
        let is_lost = found.term < self.hard.term
            || (found.term == self.hard.term
                && self.hard.vote != MemberId(0)
                && found.vote != self.hard.vote);
        match is_lost {
            true => Err(format!("{:?} had been flushed, {found:?} is found", self.hard)),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of entries with these terms and data.
    fn log(entries: &[(u64, &'static str)]) -> Tap {
        let entries = entries.iter().map(|&(term, data)| Held {
            term,
            kind: EntryKind::Normal,
            data: Bytes::from(data),
            through: 1,
        });
        Tap { entries: entries.collect(), ..Tap::default() }
    }

    /// The canary of `log_matching`: a core whose logs part in this way fails another check before.
    #[test]
    fn logs_that_part_and_meet_again_do_not_match() {
        let one = log(&[(1, "a"), (1, "b"), (3, "c")]);
        assert_eq!(one.mismatch(&log(&[(1, "a"), (1, "b"), (3, "c"), (3, "d")])), None);
        assert_eq!(one.mismatch(&log(&[(1, "a"), (1, "b"), (2, "x")])), None, "a tail may differ");
        assert_eq!(one.mismatch(&log(&[(1, "a"), (1, "b")])), None);
        let says = |other: &[(u64, &'static str)]| one.mismatch(&log(other)).expect("they do not match");
        assert_eq!(says(&[(1, "a"), (1, "b"), (3, "x")]), "entry 3 differs, terms 3 and 3");
        assert_eq!(says(&[(1, "a"), (2, "b"), (3, "c")]), "entry 2 differs, terms 1 and 2");
        assert_eq!(says(&[(1, "x"), (1, "b")]), "entry 1 differs, terms 1 and 1");
    }
}
