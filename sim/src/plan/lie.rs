//! Faults that no node can survive, planted so that a test sees the checkers find them.

use super::Profile;

/// What the world does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Completions of appends come before their flush.
    PersistedTooEarly,
    /// Flushes of files do nothing.
    FlushIsNoFlush,
    /// Flushes of directories do nothing.
    NamesAreNotFlushed,
    /// The clocks run twice as fast as promised.
    FastClock,
    /// Every so many deliveries on watch streams is lost.
    LostDelivery,
    /// Every so many deliveries comes again.
    RepeatedDelivery,
    /// An answer is given twice.
    RepeatedAnswer,
    /// Ranges are answered as they were when the same range was asked before.
    StaleRange,
    /// Appends of a life after the first are not written.
    ForgottenAppend,
    /// Appends that change term or vote complete before their flush: a vote is promised too early.
    EarlyPromise,
    /// Appends with entries complete before their flush: an entry is acknowledged too early.
    EarlyAck,
    /// A refused vote arrives as a granted one.
    GrantedVote,
    /// One follower is sent another entry than the leader has.
    TwoTruths,
    /// The first follower's read under a new leader is given the index of one under the leader before.
    StaleReadIndex,
    /// Members take turns without cause.
    Sleepless,
    /// What a watch client gives as credit is not on record.
    CreditUnseen,
    /// A frame that is handed to the disk lacks its last byte.
    GarbledAppend,
    /// Mail lacks its last byte.
    GarbledMail,
    /// A member gives up without cause.
    GivesUp,
    /// A voter refuses what only learners refuse.
    LearnersRefusal,
    /// Forged mail is not on record as forged.
    UnseenForgery,
    /// Mail is in the name of another member.
    WrongSender,
    /// Mail is for a member that there never was.
    WrongReceiver,
    /// A member that is told that its disk lost something goes on.
    DeafToLoss,
    /// A leader is told that members know a version of State that they do not know.
    Boast,
    /// A leader names a later revision than the one it compacts at of its own accord.
    YoungCompaction,
}

impl Lie {
    /// Those that a cluster of any size can be told.
    pub const ALL: [Lie; 26] = [
        Lie::PersistedTooEarly,
        Lie::FlushIsNoFlush,
        Lie::NamesAreNotFlushed,
        Lie::FastClock,
        Lie::LostDelivery,
        Lie::RepeatedDelivery,
        Lie::RepeatedAnswer,
        Lie::StaleRange,
        Lie::ForgottenAppend,
        Lie::EarlyPromise,
        Lie::EarlyAck,
        Lie::GrantedVote,
        Lie::TwoTruths,
        Lie::StaleReadIndex,
        Lie::Sleepless,
        Lie::CreditUnseen,
        Lie::GarbledAppend,
        Lie::GarbledMail,
        Lie::GivesUp,
        Lie::LearnersRefusal,
        Lie::UnseenForgery,
        Lie::WrongSender,
        Lie::WrongReceiver,
        Lie::DeafToLoss,
        Lie::Boast,
        Lie::YoungCompaction,
    ];

    /// What it is, for a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Lie::PersistedTooEarly => "appends are said to be on disk before they are",
            Lie::FlushIsNoFlush => "flushes of files do nothing",
            Lie::NamesAreNotFlushed => "flushes of directories do nothing",
            Lie::FastClock => "clocks run twice as fast as promised",
            Lie::LostDelivery => "a watch event is lost now and then",
            Lie::RepeatedDelivery => "a watch event comes twice now and then",
            Lie::RepeatedAnswer => "a request is answered twice now and then",
            Lie::StaleRange => "a range is answered as it was before now and then",
            Lie::ForgottenAppend => "an append is not written now and then",
            Lie::EarlyPromise => "a vote is promised before it is on disk",
            Lie::EarlyAck => "an entry is acknowledged before it is on disk",
            Lie::GrantedVote => "a refused vote arrives as a granted one",
            Lie::TwoTruths => "one follower is sent another entry than the leader has",
            Lie::StaleReadIndex => {
                "behind an election a follower's first read is given the index of one before"
            }
            Lie::Sleepless => "members take turns without cause",
            Lie::CreditUnseen => "what a watch client gives as credit is not on record",
            Lie::GarbledAppend => "a frame that is handed to the disk lacks its last byte",
            Lie::GarbledMail => "a message arrives without its last byte now and then",
            Lie::GivesUp => "a member gives up without cause",
            Lie::LearnersRefusal => "a voter refuses what only learners refuse now and then",
            Lie::UnseenForgery => "forged mail is not on record as forged",
            Lie::WrongSender => "mail is in the name of another member now and then",
            Lie::WrongReceiver => "mail is for a member that there never was now and then",
            Lie::DeafToLoss => "a member that is told that its disk lost something goes on",
            Lie::Boast => "leaders are told that members know a version of State that they do not know",
            Lie::YoungCompaction => "leaders compact later revisions than they may of their own accord",
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Lie::PersistedTooEarly => "persisted-too-early",
            Lie::FlushIsNoFlush => "flush-is-no-flush",
            Lie::NamesAreNotFlushed => "names-are-not-flushed",
            Lie::FastClock => "fast-clock",
            Lie::LostDelivery => "lost-delivery",
            Lie::RepeatedDelivery => "repeated-delivery",
            Lie::RepeatedAnswer => "repeated-answer",
            Lie::StaleRange => "stale-range",
            Lie::ForgottenAppend => "forgotten-append",
            Lie::EarlyPromise => "early-promise",
            Lie::EarlyAck => "early-ack",
            Lie::GrantedVote => "granted-vote",
            Lie::TwoTruths => "two-truths",
            Lie::StaleReadIndex => "stale-read-index",
            Lie::Sleepless => "sleepless",
            Lie::CreditUnseen => "credit-unseen",
            Lie::GarbledAppend => "garbled-append",
            Lie::GarbledMail => "garbled-mail",
            Lie::GivesUp => "gives-up",
            Lie::LearnersRefusal => "learners-refusal",
            Lie::UnseenForgery => "unseen-forgery",
            Lie::WrongSender => "wrong-sender",
            Lie::WrongReceiver => "wrong-receiver",
            Lie::DeafToLoss => "deaf-to-loss",
            Lie::Boast => "boast",
            Lie::YoungCompaction => "young-compaction",
        }
    }

    pub fn by_name(name: &str) -> Option<Lie> {
        Lie::ALL.into_iter().find(|lie| lie.name() == name)
    }

    /// The profile whose faults show it soonest.
    pub fn seen_in(self) -> Profile {
        match self {
            Lie::FlushIsNoFlush | Lie::NamesAreNotFlushed | Lie::PersistedTooEarly | Lie::ForgottenAppend => {
                Profile::AimedCrashes
            }
            Lie::EarlyPromise | Lie::GrantedVote => Profile::Votes,
            Lie::StaleReadIndex => Profile::LeaderIsolation,
            Lie::DeafToLoss => Profile::Wipes,
            _ => Profile::Standard,
        }
    }

    /// Whether there must be more than one member to tell it.
    pub fn needs_peers(self) -> bool {
        matches!(
            self,
            Lie::EarlyPromise
                | Lie::EarlyAck
                | Lie::GrantedVote
                | Lie::TwoTruths
                | Lie::StaleReadIndex
                | Lie::GarbledMail
                | Lie::UnseenForgery
                | Lie::WrongSender
                | Lie::WrongReceiver
                | Lie::DeafToLoss
                | Lie::Boast
        )
    }
}
