//! Faults that no node can survive, planted so that a test sees the checkers find them.

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
    /// A follower's read is given the index of an earlier one.
    StaleReadIndex,
    /// Members take turns without cause.
    Sleepless,
    /// What a watch client gives as credit is not on record.
    CreditUnseen,
}

impl Lie {
    /// Those that a cluster of any size can be told.
    pub const ALL: [Lie; 16] = [
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
            Lie::StaleReadIndex => "a follower's read is given the index of an earlier one now and then",
            Lie::Sleepless => "members take turns without cause",
            Lie::CreditUnseen => "what a watch client gives as credit is not on record",
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
        }
    }

    pub fn by_name(name: &str) -> Option<Lie> {
        Lie::ALL.into_iter().find(|lie| lie.name() == name)
    }

    /// Whether there must be more than one member to tell it.
    pub fn needs_peers(self) -> bool {
        matches!(
            self,
            Lie::EarlyPromise | Lie::EarlyAck | Lie::GrantedVote | Lie::TwoTruths | Lie::StaleReadIndex
        )
    }
}
