//! What happened in a run, in numbers.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened, in numbers.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Counts {
            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }

            /// Each with its name.
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    events,
    turns,
    ops,
    acknowledged,
    /// Refused for want of a right, a name or a good token.
    denied,
    crashes,
    power_losses,
    blackouts,
    lives,
    /// Leaderships that began.
    leaders,
    appends,
    checkpoints,
    /// Changes of the membership that were decided.
    member_changes,
    /// Disks that were lost.
    wipes,
    checkpoints_failed,
    reclaims,
    deliveries,
    /// Messages between members: sent, lost, and delivered once more.
    mails,
    mails_lost,
    mails_repeated,
    partitions,
    clogs,
    /// Faults of every kind but of single messages: crashes, cuts, clogs, failed and stalled flushes,
    /// flips, refusals for space, pauses.
    faults,
    pauses,
    flips,
    /// Lives that did not begin since damage was refused.
    refused_damage,
    dropped_tails,
    restored_checkpoints,
    entries_lost,
    deaths_by_disk,
    virtual_ns,
}
