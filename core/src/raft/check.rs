//! What a peer may say: raft-rs 0.7.0 panics on messages that no correct member sends, and a peer can lie.
//!
//! A message that fails here is dropped and noted. One case is more: a leader that counts entries as ours
//! which we do not have. Then this member has lost what it acknowledged (a wiped disk under an old id, etcd
//! #21178); it must not vote or acknowledge any more.

use raft::eraftpb::{ConfState, EntryType, Message, MessageType};

/// Terms and indexes from here on are lies: a cluster that makes a million entries a second needs 140,000 years.
const NUMBER_MAX: u64 = 1 << 62;

/// Longest context of a heartbeat: a read round's.
const CONTEXT_LEN_MAX: usize = 16;

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No correct member sends this.
    Lie(&'static str),
    /// A leader of our term or a later one has heard from us that we hold `commit`, and we end at `last`.
    LostEntries { commit: u64, last: u64 },
}

/// What the receiver knows that a message is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    pub id: u64,
    pub term: u64,
    /// Whether it leads in `term`.
    pub leads: bool,
    pub last_index: u64,
}

/// Judges a message from `from`, as proved by its connection.
pub fn check(m: &Message, from: u64, receiver: Receiver) -> Result<(), Refused> {
    let lie = |what| Err(Refused::Lie(what));
    check_envelope(m, from, receiver)?;
    match m.get_msg_type() {
        MessageType::MsgAppend => check_append(m),
        MessageType::MsgHeartbeat => match m.term >= receiver.term && m.commit > receiver.last_index {
            true => Err(Refused::LostEntries { commit: m.commit, last: receiver.last_index }),
            false => Ok(()),
        },
        MessageType::MsgAppendResponse => {
            // It speaks of a log that we made only if we lead: it may be meant for a life of ours before, whose
            // undurable entries are gone.
            let is_ours = m.term == receiver.term && receiver.leads;
            if is_ours && (m.index > receiver.last_index || m.commit > receiver.last_index) {
                return lie("an acknowledgement of entries that were never sent");
            }
            match is_ours && m.reject && m.reject_hint > receiver.last_index {
                true => lie("a hint beyond the log"),
                false => Ok(()),
            }
        }
        MessageType::MsgHeartbeatResponse => {
            match m.term == receiver.term && receiver.leads && m.commit > receiver.last_index {
                true => lie("a commit index beyond the log"),
                false => Ok(()),
            }
        }
        MessageType::MsgRequestVote
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgTimeoutNow => Ok(()),
        _ => lie("a type that is not sent between members"),
    }
}

/// Judges the announcement of a whole state; `conf` is the configuration that the state itself has.
pub fn check_announcement(
    m: &Message,
    from: u64,
    receiver: Receiver,
    conf: &ConfState,
) -> Result<(), Refused> {
    let lie = |what| Err(Refused::Lie(what));
    check_envelope(m, from, receiver)?;
    let metadata = m.get_snapshot().get_metadata();
    if m.get_msg_type() != MessageType::MsgSnapshot || metadata.index == 0 {
        return lie("a state is announced by something else");
    }
    if metadata.index >= NUMBER_MAX || metadata.term == 0 || metadata.term > m.term {
        return lie("a state is of an impossible place in the log");
    }
    if !has_same_members(metadata.get_conf_state(), conf) {
        return lie("a state is announced with another configuration than it has");
    }
    if !conf.voters.contains(&receiver.id) && !conf.learners.contains(&receiver.id) {
        return lie("a state of which the receiver is no member");
    }
    Ok(())
}

fn has_same_members(a: &ConfState, b: &ConfState) -> bool {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    sorted(&a.voters) == sorted(&b.voters) && sorted(&a.learners) == sorted(&b.learners)
}

/// What holds for every message.
fn check_envelope(m: &Message, from: u64, receiver: Receiver) -> Result<(), Refused> {
    let lie = |what| Err(Refused::Lie(what));
    if m.from != from || m.to != receiver.id || from == receiver.id {
        return lie("sender or receiver is not the connection's");
    }
    if m.term == 0 || [m.term, m.index, m.commit, m.log_term].iter().any(|n| *n >= NUMBER_MAX) {
        return lie("a term or index is out of range");
    }
    if m.request_snapshot != 0 || m.context.len() > CONTEXT_LEN_MAX {
        return lie("a field is set that is never used");
    }
    Ok(())
}

/// Entries follow each other and the entry they are said to follow; their terms never fall.
fn check_append(m: &Message) -> Result<(), Refused> {
    let lie = |what| Err(Refused::Lie(what));
    if m.log_term > m.term || (m.index == 0) != (m.log_term == 0) {
        return lie("the entry before has an impossible term");
    }
    let (mut index, mut term) = (m.index, m.log_term);
    for entry in m.get_entries() {
        index += 1;
        if entry.index != index {
            return lie("entries do not follow each other");
        }
        if entry.term < term || entry.term > m.term || entry.term == 0 {
            return lie("terms of entries fall, or rise above their leader's");
        }
        if entry.get_entry_type() == EntryType::EntryConfChangeV2 {
            return lie("a membership change in more than one step");
        }
        term = entry.term;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    const RECEIVER: Receiver = Receiver { id: 1, term: 5, leads: true, last_index: 9 };

    fn append(index: u64, log_term: u64, entries: &[(u64, u64)]) -> Message {
        let mut m = Message { from: 2, to: 1, term: 5, index, log_term, ..Message::default() };
        m.set_msg_type(MessageType::MsgAppend);
        let entries = entries.iter().map(|&(index, term)| Entry { index, term, ..Entry::default() });
        m.set_entries(entries.collect::<Vec<_>>().into());
        m
    }

    #[test]
    fn appends_are_taken_only_in_one_piece() {
        assert_eq!(check(&append(3, 2, &[(4, 2), (5, 5)]), 2, RECEIVER), Ok(()));
        assert_eq!(check(&append(0, 0, &[]), 2, RECEIVER), Ok(()));
        for bad in [
            append(3, 2, &[(5, 2)]),
            append(3, 2, &[(4, 1)]),
            append(3, 2, &[(4, 6)]),
            append(3, 6, &[]),
            append(3, 0, &[]),
        ] {
            assert!(matches!(check(&bad, 2, RECEIVER), Err(Refused::Lie(_))), "{bad:?}");
        }
        assert!(check(&append(3, 2, &[]), 3, RECEIVER).is_err(), "from another than the connection says");
    }

    #[test]
    fn a_state_is_announced_as_it_is() {
        let conf = ConfState::from((vec![1, 2, 3], vec![]));
        let announcement = |kind, index, voters: Vec<u64>| {
            let mut m = Message { from: 2, to: 1, term: 5, ..Message::default() };
            m.set_msg_type(kind);
            let metadata = m.mut_snapshot().mut_metadata();
            (metadata.index, metadata.term) = (index, 4);
            *metadata.mut_conf_state() = ConfState::from((voters, vec![]));
            m
        };
        let judge = |m: &Message| check_announcement(m, 2, RECEIVER, &conf);
        assert_eq!(judge(&announcement(MessageType::MsgSnapshot, 9, vec![3, 2, 1])), Ok(()));
        for bad in [
            announcement(MessageType::MsgAppend, 9, vec![1, 2, 3]),
            announcement(MessageType::MsgSnapshot, 0, vec![1, 2, 3]),
            announcement(MessageType::MsgSnapshot, 9, vec![1, 2]),
            Message { term: 3, ..announcement(MessageType::MsgSnapshot, 9, vec![1, 2, 3]) },
        ] {
            assert!(judge(&bad).is_err(), "{bad:?}");
        }
        let stranger = Receiver { id: 7, ..RECEIVER };
        let m = Message { to: 7, ..announcement(MessageType::MsgSnapshot, 9, vec![1, 2, 3]) };
        assert!(check_announcement(&m, 2, stranger, &conf).is_err());
    }

    #[test]
    fn an_acknowledgement_for_the_life_before_is_no_lie() {
        let mut m = Message { from: 2, to: 1, term: 5, index: 10, ..Message::default() };
        m.set_msg_type(MessageType::MsgAppendResponse);
        assert!(matches!(check(&m, 2, RECEIVER), Err(Refused::Lie(_))));
        assert_eq!(check(&m, 2, Receiver { leads: false, ..RECEIVER }), Ok(()));
    }

    #[test]
    fn a_heartbeat_that_commits_what_we_do_not_have_means_we_lost_it() {
        let mut m = Message { from: 2, to: 1, term: 5, commit: 10, ..Message::default() };
        m.set_msg_type(MessageType::MsgHeartbeat);
        assert_eq!(check(&m, 2, RECEIVER), Err(Refused::LostEntries { commit: 10, last: 9 }));
        m.term = 4;
        assert_eq!(check(&m, 2, RECEIVER), Ok(()), "of a term that is over: raft ignores it");
    }
}
