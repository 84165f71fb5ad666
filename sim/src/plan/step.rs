//! Scripts: what happens to a cluster step by step, as plain data. `world/script.rs` performs them.

use bytes::Bytes;
use holdfast_core::boundary::{StreamOp, WatchCreate};
use holdfast_core::request::Request;
use holdfast_core::status::Status;

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
    /// No member believes to lead.
    NoLeader,
    /// Every member that runs has applied all that is decided.
    CaughtUp,
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
    pub from: Option<Who>,
    pub to: Option<Who>,
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

/// What a step does.
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
    /// Keeps members from their clients.
    CutClients(Group),
    /// Ends the named cut or seizure of mail, or everything of the kind.
    Heal(Option<String>),
    /// Ends processes; `down_ns`: until the next life, `None`: until a step starts them.
    Crash {
        members: Group,
        power: bool,
        down_ns: Option<u64>,
    },
    Start(Group),
    Pause {
        members: Group,
        lasts_ns: u64,
    },
    /// The next flush takes so long.
    StallSync {
        member: Who,
        lasts_ns: u64,
    },
    /// The next flush fails.
    FailSync {
        member: Who,
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
    /// Sends on what was held or copied under a name, so many times.
    Release {
        name: String,
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
    /// Opens a stream with one watch; who does not read grants no credit until the calm.
    Watch {
        to: Who,
        create: WatchCreate,
        reads: bool,
    },
    Stream {
        name: String,
        op: StreamOp,
    },
}

/// A request of a client of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub request: Request,
    pub expect: Expect,
    pub patience_ns: u64,
    /// Whether the next step waits until it is known what came of it.
    pub waits: bool,
}
