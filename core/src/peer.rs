//! What members tell each other: raft's mail and our own questions, with their bytes.
//!
//! Shape: format version, kind, then the kind's body, in our own codec; raft's messages field by field, so
//! that no byte from a network reaches protobuf's parser (RUSTSEC-2024-0437). Who sent it and that it is
//! meant for us is the connection's to say (`Input::Peer`); what the fields may say is judged in `raft::check`.
//!
//! A follower forwards commands and asks the leader its questions here, never through raft-rs: raft-rs 0.7.0
//! answers a read context that is sent twice with a stale index (etcd #20418). A question carries the asker's
//! life and a number that life never used before.

use bytes::{Bytes, BytesMut};
use raft::eraftpb::{Entry, EntryType, Message, MessageType, SnapshotMetadata};

use crate::base::{LeaseId, LogIndex, MemberId, WaiterId};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::request::{Identity, Member};
use crate::status::Status;

/// Version of the bytes below.
const FORMAT: u8 = 1;

/// What a message takes beside its payload, and an entry beside its data; the first covers raft's fields.
const MESSAGE_BYTES: usize = 160;
const ENTRY_BYTES: usize = 24;

/// One message from a member to another.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerMessage {
    /// Raft's own mail.
    Raft(Box<Message>),
    /// Commands for the leader's log, encoded. A member that does not lead drops them: their callers
    /// wait until their deadline, since somebody else may have put them in the log already.
    Forward { commands: Vec<Proposal> },
    /// A question to the leader. `epoch` is the asker's life, `number` is unique in it.
    Ask { epoch: u64, number: u64, question: Question },
    /// Its answer; an unanswered question is asked again under a new number.
    Answer { epoch: u64, number: u64, answer: Answer },
    /// A piece of the state at `index`, for a member whose log ends before the leader's begins.
    SnapshotPiece(SnapshotPiece),
    /// Says that the sender is there: followers have nothing else to tell each other, and who may change the
    /// membership depends on whom one can reach (CL-4).
    Ping,
    /// Says to a leader which version of State the sender's program knows at most.
    Knows { state_version: u32 },
    /// The receiver has pieces of transfer `transfer` up to, not including, `next`.
    SnapshotAck { transfer: u64, next: u64 },
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client of this member.
    Local(WaiterId),
    /// A member that asked question `number` in its life `epoch`.
    Peer { member: MemberId, epoch: u64, number: u64 },
    /// A login of a client of this member, on its way through several steps.
    Login { job: u64 },
}

/// What goes into the log, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    Command(Bytes),
    /// A membership change (`conf`): raft treats it apart.
    Conf(Bytes),
}

impl Proposal {
    pub fn bytes(&self) -> &Bytes {
        match self {
            Proposal::Command(bytes) | Proposal::Conf(bytes) => bytes,
        }
    }
}

/// What only a leader knows. Who asks is judged by the leader, at the state that it answers from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The index that a linearizable read has to wait for.
    ReadIndex,
    KeepAlive {
        id: LeaseId,
        identity: Option<Identity>,
    },
    TimeToLive {
        id: LeaseId,
        keys: bool,
        identity: Option<Identity>,
    },
    /// Make a voter of a learner that has caught up.
    Promote {
        id: MemberId,
        identity: Option<Identity>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The one asked does not lead, or has lost what it needed to answer: ask again.
    NotLeader,
    Refused(Status),
    ReadIndex(LogIndex),
    /// Seconds; 0: no such lease.
    KeepAlive {
        ttl: i64,
    },
    /// Seconds; -1: no such lease.
    TimeToLive {
        ttl: i64,
        granted_ttl: i64,
        keys: Vec<Bytes>,
    },
    Promoted {
        members: Vec<Member>,
    },
}

/// Pieces are numbered from 0 and are, one behind the other, a checkpoint file of the receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotPiece {
    /// Names the attempt, uniquely among those of all members to this receiver.
    pub transfer: u64,
    pub number: u64,
    pub index: LogIndex,
    pub bytes: Bytes,
    /// With the last piece: raft's message that announces the whole.
    pub last: Option<Box<Message>>,
}

impl PeerMessage {
    /// Whether it belongs on the stream of its own that large transfers have.
    pub fn is_bulk(&self) -> bool {
        matches!(self, PeerMessage::SnapshotPiece(_))
    }

    /// How many bytes `encode` makes, near enough to bound a queue by.
    pub fn size_hint(&self) -> usize {
        let payload = match self {
            PeerMessage::Raft(message) => {
                message.get_entries().iter().map(|entry| entry.data.len() + ENTRY_BYTES).sum()
            }
            PeerMessage::Forward { commands } => {
                commands.iter().map(|command| command.bytes().len() + ENTRY_BYTES).sum()
            }
            PeerMessage::Answer { answer: Answer::TimeToLive { keys, .. }, .. } => {
                keys.iter().map(|key| key.len() + ENTRY_BYTES).sum()
            }
            PeerMessage::SnapshotPiece(piece) => piece.bytes.len(),
            _ => 0,
        };
        payload + MESSAGE_BYTES
    }

    pub fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(self.size_hint());
        let mut e = Encoder(&mut buffer);
        e.u8(FORMAT);
        match self {
            PeerMessage::Raft(message) => encode_raft(e.u8(kind::RAFT), message),
            PeerMessage::Forward { commands } => {
                e.u8(kind::FORWARD).list_len(commands.len());
                for command in commands {
                    match command {
                        Proposal::Command(bytes) => e.u8(0).bytes(bytes),
                        Proposal::Conf(bytes) => e.u8(1).bytes(bytes),
                    };
                }
            }
            PeerMessage::Ask { epoch, number, question } => {
                encode_question(e.u8(kind::ASK).u64(*epoch).u64(*number), question);
            }
            PeerMessage::Answer { epoch, number, answer } => {
                encode_answer(e.u8(kind::ANSWER).u64(*epoch).u64(*number), answer);
            }
            PeerMessage::SnapshotPiece(piece) => {
                e.u8(kind::SNAPSHOT_PIECE).u64(piece.transfer).u64(piece.number).u64(piece.index.0);
                e.bytes(&piece.bytes).bool(piece.last.is_some());
                if let Some(message) = &piece.last {
                    encode_raft(&mut e, message);
                }
            }
            PeerMessage::Ping => {
                e.u8(kind::PING);
            }
            PeerMessage::Knows { state_version } => {
                e.u8(kind::KNOWS).u32(*state_version);
            }
            PeerMessage::SnapshotAck { transfer, next } => {
                e.u8(kind::SNAPSHOT_ACK).u64(*transfer).u64(*next);
            }
        }
        buffer.freeze()
    }

    /// Payloads are slices of `bytes`. Errors: the peer lies or is of another version.
    pub fn decode(bytes: Bytes) -> Result<PeerMessage, DecodeError> {
        let mut d = Decoder(bytes);
        if d.u8()? != FORMAT {
            return Err(DecodeError("unknown format of peer message"));
        }
        let message = match d.u8()? {
            kind::RAFT => PeerMessage::Raft(Box::new(decode_raft(&mut d)?)),
            kind::FORWARD => {
                let len = d.list_len()?;
                let commands = (0..len).map(|_| decode_proposal(&mut d)).collect::<Result<_, _>>()?;
                PeerMessage::Forward { commands }
            }
            kind::ASK => {
                let (epoch, number) = (d.u64()?, d.u64()?);
                PeerMessage::Ask { epoch, number, question: decode_question(&mut d)? }
            }
            kind::ANSWER => {
                let (epoch, number) = (d.u64()?, d.u64()?);
                PeerMessage::Answer { epoch, number, answer: decode_answer(&mut d)? }
            }
            kind::SNAPSHOT_PIECE => PeerMessage::SnapshotPiece(SnapshotPiece {
                transfer: d.u64()?,
                number: d.u64()?,
                index: LogIndex(d.u64()?),
                bytes: d.bytes()?,
                last: match d.bool()? {
                    true => Some(Box::new(decode_raft(&mut d)?)),
                    false => None,
                },
            }),
            kind::PING => PeerMessage::Ping,
            kind::KNOWS => PeerMessage::Knows { state_version: d.u32()? },
            kind::SNAPSHOT_ACK => PeerMessage::SnapshotAck { transfer: d.u64()?, next: d.u64()? },
            _ => return Err(DecodeError("unknown kind of peer message")),
        };
        d.finish()?;
        Ok(message)
    }
}

/// Kinds on the wire; numbers are never reused.
mod kind {
    pub const RAFT: u8 = 1;
    pub const FORWARD: u8 = 2;
    pub const ASK: u8 = 3;
    pub const ANSWER: u8 = 4;
    pub const SNAPSHOT_PIECE: u8 = 5;
    pub const SNAPSHOT_ACK: u8 = 6;
    pub const PING: u8 = 7;
    pub const KNOWS: u8 = 8;
}

fn decode_proposal(d: &mut Decoder) -> Result<Proposal, DecodeError> {
    match d.u8()? {
        0 => Ok(Proposal::Command(d.bytes()?)),
        1 => Ok(Proposal::Conf(d.bytes()?)),
        _ => Err(DecodeError("unknown kind of proposal")),
    }
}

fn encode_question(e: &mut Encoder<'_>, question: &Question) {
    match question {
        Question::ReadIndex => {
            e.u8(0);
        }
        Question::KeepAlive { id, identity } => encode_identity(e.u8(1).i64(id.0), identity.as_ref()),
        Question::TimeToLive { id, keys, identity } => {
            encode_identity(e.u8(2).i64(id.0).bool(*keys), identity.as_ref());
        }
        Question::Promote { id, identity } => encode_identity(e.u8(3).u64(id.0), identity.as_ref()),
    }
}

fn encode_identity(e: &mut Encoder<'_>, identity: Option<&Identity>) {
    e.bool(identity.is_some());
    if let Some(Identity { user, auth_revision }) = identity {
        // No auth revision is 0.
        e.str(user).u64(auth_revision.unwrap_or(0));
    }
}

fn decode_identity(d: &mut Decoder) -> Result<Option<Identity>, DecodeError> {
    if !d.bool()? {
        return Ok(None);
    }
    let (user, auth_revision) = (d.string()?, d.u64()?);
    Ok(Some(Identity { user, auth_revision: (auth_revision > 0).then_some(auth_revision) }))
}

fn decode_question(d: &mut Decoder) -> Result<Question, DecodeError> {
    Ok(match d.u8()? {
        0 => Question::ReadIndex,
        1 => Question::KeepAlive { id: LeaseId(d.i64()?), identity: decode_identity(d)? },
        2 => {
            let (id, keys) = (LeaseId(d.i64()?), d.bool()?);
            Question::TimeToLive { id, keys, identity: decode_identity(d)? }
        }
        3 => Question::Promote { id: MemberId(d.u64()?), identity: decode_identity(d)? },
        _ => return Err(DecodeError("unknown question")),
    })
}

fn encode_answer(e: &mut Encoder<'_>, answer: &Answer) {
    match answer {
        Answer::NotLeader => {
            e.u8(0);
        }
        // By its text: it is the same in every version, a number of ours need not be.
        Answer::Refused(status) => {
            e.u8(1).str(status.text());
        }
        Answer::ReadIndex(index) => {
            e.u8(2).u64(index.0);
        }
        Answer::KeepAlive { ttl } => {
            e.u8(3).i64(*ttl);
        }
        Answer::TimeToLive { ttl, granted_ttl, keys } => {
            e.u8(4).i64(*ttl).i64(*granted_ttl).list_len(keys.len());
            for key in keys {
                e.bytes(key);
            }
        }
        Answer::Promoted { members } => {
            e.u8(5).list_len(members.len());
            for member in members {
                encode_member(e, member);
            }
        }
    }
}

fn decode_answer(d: &mut Decoder) -> Result<Answer, DecodeError> {
    Ok(match d.u8()? {
        0 => Answer::NotLeader,
        1 => {
            let text = d.string()?;
            let status = Status::ALL.iter().find(|status| status.text() == text);
            Answer::Refused(*status.ok_or(DecodeError("a refusal with an unknown text"))?)
        }
        2 => Answer::ReadIndex(LogIndex(d.u64()?)),
        3 => Answer::KeepAlive { ttl: d.i64()? },
        4 => {
            let (ttl, granted_ttl, len) = (d.i64()?, d.i64()?, d.list_len()?);
            let keys = (0..len).map(|_| d.bytes()).collect::<Result<_, _>>()?;
            Answer::TimeToLive { ttl, granted_ttl, keys }
        }
        5 => {
            let len = d.list_len()?;
            let members = (0..len).map(|_| decode_member(d)).collect::<Result<_, _>>()?;
            Answer::Promoted { members }
        }
        _ => return Err(DecodeError("unknown answer")),
    })
}

/// A member in our own bytes; checkpoints and answers share them.
pub fn encode_member(e: &mut Encoder<'_>, member: &Member) {
    e.u64(member.id.0).str(&member.name).strs(&member.peer_urls).strs(&member.client_urls);
    e.bool(member.is_learner);
}

/// The member of `encode_member`.
pub fn decode_member(d: &mut Decoder) -> Result<Member, DecodeError> {
    Ok(Member {
        id: MemberId(d.u64()?),
        name: d.string()?,
        peer_urls: d.strings()?,
        client_urls: d.strings()?,
        is_learner: d.bool()?,
    })
}

/// Types of raft's mail that members exchange, by their number on the wire. What is missing stays local
/// or goes through messages of our own (proposals, read rounds).
const RAFT_TYPES: [(u8, MessageType); 10] = [
    (1, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgRequestVote),
    (4, MessageType::MsgRequestVoteResponse),
    (5, MessageType::MsgRequestPreVote),
    (6, MessageType::MsgRequestPreVoteResponse),
    (7, MessageType::MsgHeartbeat),
    (8, MessageType::MsgHeartbeatResponse),
    (9, MessageType::MsgSnapshot),
    (10, MessageType::MsgTimeoutNow),
];

fn encode_raft(e: &mut Encoder<'_>, m: &Message) {
    let number = RAFT_TYPES.iter().find(|(_, known)| *known == m.get_msg_type());
    e.u8(number.expect("only mail is sent").0);
    e.u64(m.to).u64(m.from).u64(m.term).u64(m.log_term).u64(m.index).u64(m.commit).u64(m.commit_term);
    e.u64(m.request_snapshot).u64(m.reject_hint).bool(m.reject).i64(m.priority).bytes(&m.context);
    e.list_len(m.get_entries().len());
    for entry in m.get_entries() {
        e.u8(u8::from(entry.get_entry_type() != EntryType::EntryNormal));
        e.u64(entry.index).u64(entry.term).bytes(&entry.data);
    }
    let metadata = m.get_snapshot().get_metadata();
    e.u64(metadata.index).u64(metadata.term);
    for ids in [&metadata.get_conf_state().voters, &metadata.get_conf_state().learners] {
        e.list_len(ids.len());
        for id in ids {
            e.u64(*id);
        }
    }
}

fn decode_raft(d: &mut Decoder) -> Result<Message, DecodeError> {
    let number = d.u8()?;
    let known = RAFT_TYPES.iter().find(|(known, _)| *known == number);
    let mut m = Message::default();
    m.set_msg_type(known.ok_or(DecodeError("unknown type of raft message"))?.1);
    (m.to, m.from, m.term) = (d.u64()?, d.u64()?, d.u64()?);
    (m.log_term, m.index, m.commit, m.commit_term) = (d.u64()?, d.u64()?, d.u64()?, d.u64()?);
    (m.request_snapshot, m.reject_hint, m.reject) = (d.u64()?, d.u64()?, d.bool()?);
    (m.priority, m.context) = (d.i64()?, d.bytes()?);
    let mut entries = Vec::new();
    for _ in 0..d.list_len()? {
        let entry_type = if d.bool()? { EntryType::EntryConfChange } else { EntryType::EntryNormal };
        let (index, term, data) = (d.u64()?, d.u64()?, d.bytes()?);
        entries.push(Entry { entry_type, index, term, data, ..Entry::default() });
    }
    m.set_entries(entries.into());
    let mut metadata = SnapshotMetadata { index: d.u64()?, term: d.u64()?, ..SnapshotMetadata::default() };
    let mut ids = || (0..d.list_len()?).map(|_| d.u64()).collect::<Result<Vec<u64>, DecodeError>>();
    metadata.mut_conf_state().voters = ids()?;
    metadata.mut_conf_state().learners = ids()?;
    if metadata.index > 0 {
        m.mut_snapshot().set_metadata(metadata);
    }
    Ok(m)
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
