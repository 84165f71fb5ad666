//! Marks: what must happen now and then, or a farm of seeds proves nothing.
//!
//! Each is counted in a run and summed over a farm; one that stays at zero in thousands of seeds means
//! that a fault, a workload or the core does not reach what it is there for.

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that happens sometimes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark { $($(#[$doc])* $name,)* }

        impl Mark {
            pub const ALL: &'static [Mark] = &[$(Mark::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Mark::$name => stringify!($name),)* }
            }
        }
    };
}

marks! {
    /// A leader came while a client waited for an answer to a write.
    LeaderChangeUnderWrite,
    /// Two members believed to lead at one time.
    TwoLeaders,
    /// Two members asked for votes in one term.
    SplitVote,
    /// A follower's undecided entries were overwritten by a later leader's.
    TailOverwritten,
    /// Recovery dropped a torn tail.
    TornTailDropped,
    /// A member took over a snapshot of another.
    SnapshotInstalled,
    /// The same, while watch streams were open on it.
    SnapshotUnderWatches,
    /// Another snapshot of the same sender set out while one was on its way.
    SnapshotRepeated,
    /// A lease ran out on another leader than the one that granted it.
    LeaseExpiredOnSecondLeader,
    /// A leader compacted of its own accord.
    AutoCompacted,
    /// Forwarded commands were lost on their way.
    ForwardLost,
    /// A member crashed right behind a granted vote.
    CrashAfterVote,
    /// A member crashed with a received state on disk that its log did not name yet.
    CrashAfterReceived,
    /// The leader crashed.
    LeaderCrashed,
    /// The leader was paused.
    LeaderPaused,
    /// The leader was cut off from some or all others.
    LeaderCutOff,
    /// All members lost power at once.
    Blackout,
    /// No majority ran.
    QuorumDown,
    /// A late copy of a message arrived.
    LateMail,
    /// A message arrived in a later life of its receiver than it was sent to.
    MailToNextLife,
    /// A message of an earlier life of its sender arrived.
    MailOfEarlierLife,
    /// A message overtook another of its link.
    MailOvertaken,
    /// A read came to a member that believed to lead while another led in a later term.
    ReadAtDeposedLeader,
    /// A keep-alive was answered by a member that does not lead.
    KeepAliveThroughFollower,
    /// A keep-alive came to a member that believed to lead while another led in a later term.
    KeepAliveAtDeposedLeader,
    /// A member that did not lead answered a write.
    WriteThroughFollower,
    /// A member opened a checkpoint of its own in a later life.
    CheckpointRestored,
    /// A client went to another member than before.
    ClientMoved,
    /// A watch was resumed on another member.
    WatchMoved,
    /// Damage on a disk was refused.
    DamageRefused,
    /// A member died by its disk.
    DeathByDisk,
    /// A member was out of space while another was not.
    NoSpaceOnOne,
    /// A member refused what no correct member says.
    LieRefused,
    /// An entry was refused since users or roles had changed behind its proposal.
    AuthRevisionOld,
    /// A login was overtaken by a change and looked at its password again.
    LoginRetried,
    /// A login got its token, was refused.
    LoginDone,
    LoginRefused,
    /// A token was refused.
    TokenRefused,
    /// A request was denied, by its kind: put, delete, txn, range, lease, admin's.
    PutDenied,
    DeleteDenied,
    TxnDenied,
    RangeDenied,
    LeaseDenied,
    AdminDenied,
    /// A watch was denied.
    WatchDenied,
    /// A member took over a snapshot while auth was on.
    SnapshotUnderAuth,
    /// A lease ran out while auth was on.
    LeaseExpiredUnderAuth,
    /// The membership became another one: by a voter, by a learner, without somebody, by a learner that votes.
    VoterAdded,
    LearnerAdded,
    MemberRemoved,
    LearnerPromoted,
    /// The same while the network was cut somewhere.
    MembersChangedWhileCut,
    LearnerPromotedWhileCut,
    /// A leader applied its own removal.
    LeaderRemovedItself,
    /// A removed member was started again, and refused.
    RemovedMemberRefused,
    /// Mail of a removed member arrived.
    MailOfRemovedMember,
    /// Mail for a removed member arrived at another one at its address.
    MailForFormerMember,
    /// A new member began with a snapshot.
    JoinedBySnapshot,
    /// A member began before anybody had heard that it was added.
    JoinedBeforeAdded,
    /// Leadership was handed over, and was not in time.
    LeaderHandedOver,
    HandoverAborted,
    /// A change was refused: the learner was behind, too few had started, too few were in reach.
    LearnerNotReady,
    ChangeNeedsStarted,
    ChangeNeedsHealthy,
    /// A learner refused what learners do not serve.
    LearnerRefuses,
    /// A disk was lost; the leader's.
    DiskLost,
    DiskOfLeaderLost,
    /// A member without its disk gave up when it was told of what it had acknowledged.
    WipedMemberRefused,
    /// A member without its disk was removed.
    WipedMemberRemoved,
    /// The version of State was raised in a cluster of which some began with the release before.
    StateVersionRaised,
    /// The program of a member became one of the release before, and went on.
    ReleaseTakenBack,
    /// A program of the release before did not go on with what later ones had decided.
    EarlierReleaseRefused,
    /// The leader's machine was suspended, and its clock with it.
    LeaderSuspended,
    /// An entry deleted a thousand keys at once.
    ManyKeysInOneEntry,
    /// A request without an answer took effect, and one did not.
    UnknownDone,
    UnknownLost,
}

/// How often each mark was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    hits: Vec<u64>,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { hits: vec![0; Mark::ALL.len()] }
    }
}

impl Marks {
    pub fn hit(&mut self, mark: Mark) {
        self.hits[mark as usize] += 1;
    }

    pub fn hit_if(&mut self, mark: Mark, happened: bool) {
        if happened {
            self.hit(mark);
        }
    }

    pub fn of(&self, mark: Mark) -> u64 {
        self.hits[mark as usize]
    }

    pub fn add(&mut self, other: &Marks) {
        for (hits, more) in self.hits.iter_mut().zip(&other.hits) {
            *hits += more;
        }
    }

    /// Those that were never hit.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        Mark::ALL.iter().copied().filter(|mark| self.of(*mark) == 0)
    }

    /// Every mark with its count, for a line to read.
    pub fn table(&self) -> String {
        let words = Mark::ALL.iter().map(|mark| format!("{}={}", mark.name(), self.of(*mark)));
        words.collect::<Vec<_>>().join(" ")
    }
}
