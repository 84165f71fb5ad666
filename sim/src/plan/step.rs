//! Scripts: what happens to a cluster step by step, as plain data. `world/script.rs` performs them.

use bytes::Bytes;
use holdfast_core::boundary::StreamOp;
use holdfast_core::request::{Credentials, Request};
use holdfast_core::status::Status;

use crate::aim::Aim;
use crate::disk::Strike;

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub when: When,
    pub action: Action,
    /// What later steps call its subject: a member, a cut, mail, a request, a stream.
    pub name: Option<String>,
    /// Its place for readers: a line of a file.
    pub line: u32,
}

/// When a step is taken. Steps are taken one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// So long after the step before.
    After(u64),
    /// At a moment of the run; at once if it has passed.
    At(u64),
    /// At the end of the first turn at which something holds. A run in which it does not in time makes no
    /// progress.
    Once { condition: Condition, within_ns: u64 },
}

/// What a step can wait for.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Some member believes to lead.
    Leader,
    /// Another member than these leads in the latest term.
    LeaderOtherThan(Group),
    /// This one leads in the latest term.
    Leads(Who),
    /// No member believes to lead.
    NoLeader,
    /// Each of these that runs has applied all that is decided.
    CaughtUp(Group),
    /// The named request was answered.
    Answered(String),
    /// A member has taken over a snapshot since the script began.
    SnapshotAt(Who),
    /// So many messages were held or copied under a name.
    Mail { name: String, count: usize },
}

/// One member, by number or by what it is when the step is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Number(usize),
    /// The one that leads in the latest term.
    Leader,
    /// The one that led last before the leader.
    OldLeader,
    /// The first that runs and does not lead.
    Follower,
    /// What a step before gave a name to.
    Named(String),
}

/// Some members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    Of(Vec<Who>),
    /// All but the ones on the other side.
    Rest,
    All,
}

impl Group {
    /// The member of this number.
    pub fn one(m: usize) -> Group {
        Group::Of(vec![Who::Number(m)])
    }
}

/// What is done with mail that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seizure {
    /// It waits until it is released.
    Hold,
    /// It arrives, and a copy waits until it is released.
    Copy,
    Drop,
}

/// Which mail is meant. `None`: any.
#[derive(Clone, Debug, PartialEq)]
pub struct MailFilter {
    /// A kind of message as `network::kind` names it.
    pub kind: Option<&'static str>,
    pub from: Option<Group>,
    pub to: Option<Group>,
    /// So many messages at most.
    pub count: u64,
}

/// What a request must come to.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Expect {
    #[default]
    Anything,
    Ok(Facts),
    /// No answer, or one that does not say what became of the request.
    Unknown,
    Refused(Status),
    /// Nobody was there to take it.
    NoConnection,
}

/// What an answer must say, as far as named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Value of the first key.
    pub value: Option<Bytes>,
    pub count: Option<i64>,
    pub revision: Option<i64>,
    pub succeeded: Option<bool>,
    pub ttl: Option<i64>,
}

/// How long a machine stays down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// As the plan's bounds say.
    Drawn,
    For(u64),
    /// Until a step starts it.
    Held,
}

/// What a crash can come right behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    Effect,
    DiskOp,
    /// A turn that leaves unsynced bytes on the disk.
    Turn,
    /// A granted vote that left.
    Vote,
    /// A received state that is whole on disk, before the log says so.
    Received,
}

impl Behind {
    pub const ALL: [Behind; 5] =
        [Behind::Effect, Behind::DiskOp, Behind::Turn, Behind::Vote, Behind::Received];

    pub fn name(self) -> &'static str {
        match self {
            Behind::Effect => "effect",
            Behind::DiskOp => "disk_op",
            Behind::Turn => "turn",
            Behind::Vote => "vote",
            Behind::Received => "received",
        }
    }
}

/// A part of a member's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The log up to its last append: a torn one looks like a damaged one.
    Log,
    /// The end of that.
    LogEnd,
    /// The newest checkpoint.
    Checkpoint,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Log, Part::LogEnd, Part::Checkpoint];

    pub fn name(self) -> &'static str {
        match self {
            Part::Log => "log",
            Part::LogEnd => "log_end",
            Part::Checkpoint => "checkpoint",
        }
    }
}

/// What a step does. What has an aim is taken ahead of its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing: the step is there for its moment.
    Wait,
    /// Gives a member a name.
    Member(Who),
    /// Stops mail from one group to another, and the other way round.
    Cut {
        from: Group,
        to: Group,
        both: bool,
    },
    /// Stops mail in these directions, from and to.
    CutLinks(Vec<(usize, usize)>),
    /// Keeps members from their clients.
    CutClients(Group),
    /// Ends the named cut or seizure of mail, or all of them.
    Heal(Option<String>),
    /// Ends processes.
    Crash {
        members: Group,
        power: bool,
        down: Down,
    },
    /// Ends a process behind something of a kind: the first that meets the aim, once `skip` of them passed.
    CrashBehind {
        member: Who,
        what: Behind,
        aim: Aim,
        skip: u64,
        power: bool,
    },
    /// Starts what was held down, a newcomer, and what is off.
    Start(Group),
    Pause {
        members: Group,
        lasts_ns: u64,
    },
    /// Strikes the first flush that meets the aim.
    StrikeDisk {
        member: Who,
        aim: Aim,
        strike: Strike,
    },
    /// A bit of a file flips.
    Flip {
        member: Who,
        file: String,
        offset: u64,
        bit: u8,
    },
    /// A bit flips somewhere in a part of a directory, drawn from the seed.
    Rot {
        member: Who,
        part: Part,
    },
    /// Stops a machine and its clock: it goes on as if no time had passed.
    Suspend {
        members: Group,
        lasts_ns: u64,
    },
    /// A member loses its disk. It is started again under its old id, so long after; or never.
    Wipe {
        member: Who,
        returns_ns: Option<u64>,
    },
    /// A member's process ends and begins again with the program of another release.
    ChangeRelease {
        member: Who,
        /// Newest version of State that it knows.
        state_version: u32,
    },
    Clog {
        from: Who,
        to: Who,
        lasts_ns: u64,
    },
    Seize {
        seizure: Seizure,
        filter: MailFilter,
    },
    /// Sends on what was held or copied under a name: the first so many, so many times.
    Release {
        name: String,
        count: u64,
        times: u64,
    },
    /// The member's clock runs at this rate from here on.
    Clock {
        member: Who,
        rate: f64,
    },
    Ask {
        to: Who,
        ask: Ask,
    },
    /// Opens a stream, in the place of the one of this name if there was one; who does not read grants no
    /// credit until the calm.
    Open {
        to: Who,
        by: By,
        op: StreamOp,
        reads: bool,
    },
    Stream {
        name: String,
        op: StreamOp,
    },
}

impl Action {
    /// Whether it is taken as soon as the step before it was, since its moment is in it.
    pub fn is_ahead(&self) -> bool {
        match self {
            Action::CrashBehind { aim, .. } | Action::StrikeDisk { aim, .. } => aim.at_ns > 0,
            _ => false,
        }
    }
}

/// Who asks in a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum By {
    /// Who may do everything; nobody in a run that never hears of users.
    #[default]
    Root,
    Is(Credentials),
    /// By the token that the request of this name was given; by one of nobody, if it was given none.
    TokenOf(String),
}

/// A request of a client of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub by: By,
    pub request: Request,
    /// The member that a request about one is about, where the request does not say its id.
    pub subject: Option<Who>,
    pub expect: Expect,
    pub patience_ns: u64,
    /// Whether the next step waits until it is known what came of it.
    pub waits: bool,
}
