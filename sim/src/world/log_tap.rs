//! The log as the node writes it: read from its own frames, so that the checkers know what was decided.

use holdfast_core::base::{LogIndex, Lsn};
use holdfast_core::command::{Action, Command};
use holdfast_core::raft::Payload;
use holdfast_core::recover::Found;
use holdfast_core::request::{Alarm, CompactRequest, LeaseGrantRequest, Request};
use holdfast_core::wal::{Entry, EntryKind, RawFrame};

use bytes::Bytes;

use super::World;
use crate::history::{LogEntry, Moment};
use crate::oracle::model::Decree;

impl World {
    /// Takes the entries of an append into the log.
    pub(super) fn tap(&mut self, frames: &Bytes, through: Lsn) {
        let at = self.moment();
        let mut offset = 0;
        while offset < frames.len() {
            let Some(raw) = RawFrame::read(&frames.slice(offset..)) else {
                return self.fail("append", format!("no frame at offset {offset} of append {through}"));
            };
            offset += raw.encoded_len();
            let frame = match raw.decode() {
                Ok(frame) => frame,
                Err(error) => return self.fail("append", format!("frame {}: {}", raw.lsn, error.0)),
            };
            for entry in &frame.entries {
                self.tap_entry(entry, at);
            }
        }
        let last = self.history.log.len() as u64;
        self.process.as_mut().expect("it asked for the append").appended.push_back((through, last));
    }

    fn tap_entry(&mut self, entry: &Entry, at: Moment) {
        let place = entry.index.0 as usize - 1;
        if place > self.history.log.len() {
            return self.fail("append", format!("entry {} leaves a gap", entry.index));
        }
        self.history.log.truncate(place);
        let life = self.history.lives.len() - 1;
        match read(entry, life, at) {
            Ok(entry) => self.history.log.push(entry),
            Err(why) => self.fail("append", format!("entry {}: {why}", entry.index)),
        }
    }

    /// What is left of the log in a new life: what recovery found, behind what was reclaimed.
    pub(super) fn retap(&mut self, found: Option<&Found>) {
        let Some(found) = found else {
            self.counts.entries_lost += self.history.log.len() as u64;
            return self.history.log.clear();
        };
        let checkpoint = found.checkpoint.as_ref().map_or(LogIndex(0), |(_, index, _)| *index);
        let last = found.log.entries.last().map_or(checkpoint, |entry| entry.index.max(checkpoint));
        let lost = self.history.log.len().saturating_sub(last.0 as usize);
        self.counts.entries_lost += lost as u64;
        self.history.log.truncate(last.0 as usize);
        let at = self.moment();
        for entry in &found.log.entries {
            let place = entry.index.0 as usize - 1;
            let is_known = self.history.log.get(place).is_some_and(|known| {
                known.term == entry.term.0
                    && payload(entry).is_ok_and(|p| bytes_of(&p) == bytes_of(&known.payload))
            });
            if !is_known {
                self.tap_entry(entry, at);
            }
        }
    }
}

fn payload(entry: &Entry) -> Result<Payload, String> {
    Ok(match entry.kind {
        EntryKind::Conf => Payload::Conf(entry.data.clone()),
        EntryKind::Normal if entry.data.is_empty() => Payload::Empty,
        EntryKind::Normal => Payload::Command(entry.data.clone()),
    })
}

fn bytes_of(payload: &Payload) -> &[u8] {
    match payload {
        Payload::Empty => &[],
        Payload::Command(bytes) | Payload::Conf(bytes) => bytes,
    }
}

fn read(entry: &Entry, life: usize, seen: Moment) -> Result<LogEntry, String> {
    let payload = payload(entry)?;
    let (id, decree) = match &payload {
        Payload::Empty | Payload::Conf(_) => (None, Decree::Nothing),
        Payload::Command(bytes) => {
            let command = Command::decode(bytes.clone()).map_err(|error| error.0.to_owned())?;
            (Some(command.header.id), decree(command.action))
        }
    };
    Ok(LogEntry { term: entry.term.0, id, decree, payload, life, seen })
}

/// A command in the model's words.
fn decree(action: Action) -> Decree {
    Decree::Request(match action {
        Action::Put(put) => Request::Put(put),
        Action::DeleteRange(delete) => Request::DeleteRange(delete),
        Action::Txn(txn) => Request::Txn(txn),
        Action::Compact { revision } => Request::Compact(CompactRequest { revision, physical: false }),
        Action::LeaseGrant { id, ttl } => Request::LeaseGrant(LeaseGrantRequest { id, ttl }),
        Action::LeaseRevoke { id } => Request::LeaseRevoke { id },
        Action::Alarm { activate: true, alarm: Alarm::NoSpace, .. } => return Decree::NoSpace,
        Action::Alarm { .. } | Action::Publish { .. } => return Decree::Nothing,
    })
}
