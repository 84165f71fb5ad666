//! The record of a run: what a reader of a failed seed wants to see, turn by turn.
//!
//! Kept only when asked for (`World::with_record`), and never looked at by the run itself: a recorded run has the
//! trace of an unrecorded one. Requests, answers and watches are not here, `History` has them already; both
//! are put in one order by `Moment::seq`, the record's frames behind what the history has at the same place.

mod cut;

use holdfast_core::base::MemberId;
use holdfast_core::peer::PeerMessage;
use raft::StateRole;
use raft::eraftpb::MessageType;

use crate::history::Moment;
pub use cut::told_cut;

/// Everything that was seen, in order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Ids of the members, by number.
    pub members: Vec<MemberId>,
    pub frames: Vec<Frame>,
    pub letters: Vec<Letter>,
    pub spans: Vec<Span>,
    /// Newest figures by member: a turn that changes none of them makes no frame.
    newest: Vec<Option<Figures>>,
}

/// Something that was seen.
#[derive(Clone, Debug)]
pub struct Frame {
    /// `seq` is that of the last moment of the history, not one of its own.
    pub at: Moment,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A turn of a member changed some of its figures.
    Figures(Box<Figures>),
    /// Index into `Record::letters`.
    Sent(usize),
    Ended(usize),
    /// Index into `Record::spans`.
    Begins(usize),
    Ends(usize),
    /// The first member applied an entry of the log: index from 1.
    Decided {
        member: usize,
        index: u64,
    },
    Note(Note),
    /// A client waits no longer for this request: an index into `History::ops`.
    GaveUp(u32),
    /// The answer to this request did not reach its client.
    AnswerLost(u32),
}

/// What a member is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub member: usize,
    pub role: StateRole,
    pub term: u64,
    /// Members by number.
    pub vote: Option<usize>,
    pub leader: Option<usize>,
    /// Entries of its log: the last, the last on its disk, the last committed, the last applied.
    pub last: u64,
    pub durable: u64,
    pub committed: u64,
    pub applied: u64,
    pub revision: i64,
    pub compact_revision: i64,
    pub leases: u64,
    /// True time at which the next lease ends; `None` where it does not lead.
    pub lease_deadline_ns: Option<u64>,
}

/// A message from a member to another, each copy by itself.
#[derive(Clone, Debug)]
pub struct Letter {
    pub from: usize,
    pub to: usize,
    pub kind: MailKind,
    pub text: String,
    pub sent_ns: u64,
    pub ended_ns: Option<u64>,
    pub fate: Fate,
    /// One more copy of what was sent, and one that comes very late.
    pub is_copy: bool,
    pub is_late: bool,
}

/// Families of messages, as a reader tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    Vote,
    Append,
    Heartbeat,
    Snapshot,
    Forward,
    Question,
    Other,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Underway,
    Arrived,
    /// Dropped by the network by chance.
    Lost,
    /// Sent into a cut.
    Cut,
    /// Held back by a script; if it is released, that is another letter.
    Held,
    /// Its receiver did not run.
    NobodyThere,
    /// Its receiver keeps no connection to the sender any more.
    Disconnected,
}

/// A fault that lasts.
#[derive(Clone, Debug)]
pub struct Span {
    pub kind: SpanKind,
    /// Members that it stops, or keeps from their clients.
    pub members: Vec<usize>,
    /// Directions that it stops.
    pub links: Vec<(usize, usize)>,
    pub text: String,
    pub from_ns: u64,
    pub until_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Cut,
    Clog,
    Pause,
}

/// Something to read that has no figures.
#[derive(Clone, Debug)]
pub struct Note {
    /// `None`: of the whole world.
    pub member: Option<usize>,
    pub class: Class,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A process ends.
    Crash,
    /// A process begins, or its directory is refused.
    Start,
    /// What a disk did.
    Disk,
    /// Storm, calm, last look.
    Phase,
    /// What a node says of itself.
    Node,
    /// A step of a script.
    Step,
}

impl Record {
    pub fn new(members: Vec<MemberId>) -> Record {
        Record { newest: vec![None; members.len()], members, ..Record::default() }
    }

    pub fn push(&mut self, at: Moment, what: What) {
        self.frames.push(Frame { at, what });
    }

    /// Takes a member's figures; those that are known already make no frame.
    pub fn take_figures(&mut self, at: Moment, figures: Figures) {
        let member = figures.member;
        if self.newest.len() <= member {
            self.newest.resize(member + 1, None);
        }
        if self.newest[member].as_ref() != Some(&figures) {
            self.newest[member] = Some(figures.clone());
            self.push(at, What::Figures(Box::new(figures)));
        }
    }

    /// Takes a message as it is sent. Its number, under which its end is told.
    pub fn send(&mut self, at: Moment, letter: Letter) -> usize {
        let number = self.letters.len();
        self.letters.push(letter);
        self.push(at, What::Sent(number));
        number
    }

    pub fn end_letter(&mut self, at: Moment, number: usize, fate: Fate) {
        let letter = &mut self.letters[number];
        letter.ended_ns = Some(at.at_ns);
        letter.fate = fate;
        self.push(at, What::Ended(number));
    }

    pub fn begin(&mut self, at: Moment, span: Span) {
        self.push(at, What::Begins(self.spans.len()));
        self.spans.push(span);
    }

    /// Ends the last span of a kind and text that has no end.
    pub fn end_span(&mut self, at: Moment, kind: SpanKind, text: &str) {
        let is_it = |span: &Span| span.kind == kind && span.until_ns.is_none() && span.text == text;
        if let Some(number) = self.spans.iter().rposition(is_it) {
            self.spans[number].until_ns = Some(at.at_ns);
            self.push(at, What::Ends(number));
        }
    }
}

impl MailKind {
    pub const ALL: [MailKind; 7] = [
        MailKind::Vote,
        MailKind::Append,
        MailKind::Heartbeat,
        MailKind::Snapshot,
        MailKind::Forward,
        MailKind::Question,
        MailKind::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            MailKind::Vote => "vote",
            MailKind::Append => "append",
            MailKind::Heartbeat => "heartbeat",
            MailKind::Snapshot => "snapshot",
            MailKind::Forward => "forward",
            MailKind::Question => "question",
            MailKind::Other => "other",
        }
    }

    pub fn of(message: &PeerMessage) -> MailKind {
        use MessageType::*;
        match message {
            PeerMessage::Raft(mail) => match mail.get_msg_type() {
                MsgRequestVote | MsgRequestVoteResponse | MsgRequestPreVote | MsgRequestPreVoteResponse => {
                    MailKind::Vote
                }
                MsgAppend | MsgAppendResponse => MailKind::Append,
                MsgHeartbeat | MsgHeartbeatResponse => MailKind::Heartbeat,
                MsgSnapshot => MailKind::Snapshot,
                _ => MailKind::Other,
            },
            PeerMessage::Forward { .. } => MailKind::Forward,
            PeerMessage::Ask { .. } | PeerMessage::Answer { .. } => MailKind::Question,
            PeerMessage::SnapshotPiece(_) | PeerMessage::SnapshotAck { .. } => MailKind::Snapshot,
            PeerMessage::Ping | PeerMessage::Knows { .. } => MailKind::Other,
        }
    }
}

impl Fate {
    pub const ALL: [Fate; 7] = [
        Fate::Underway,
        Fate::Arrived,
        Fate::Lost,
        Fate::Cut,
        Fate::Held,
        Fate::NobodyThere,
        Fate::Disconnected,
    ];

    /// What is said behind a message that did not arrive.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Underway => "still on its way in the end",
            Fate::Arrived => "arrives",
            Fate::Lost => "is lost",
            Fate::Cut => "is sent into a cut",
            Fate::Held => "is held back by the script",
            Fate::NobodyThere => "finds nobody",
            Fate::Disconnected => "is not taken: the receiver keeps no connection to its sender",
        }
    }
}
