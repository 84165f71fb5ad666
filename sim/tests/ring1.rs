//! Ring 1 in number: seeds of every profile, some of them twice.

use std::io::Write;
use std::time::Instant;

use holdfast_sim::plan::Profile;
use holdfast_sim::run::{Farm, Harvest};

/// Seeds of each profile; `HOLDFAST_SIM_SEEDS` gives another number for all of them together.
const SEEDS: [(Profile, u64); 17] = [
    (Profile::Standard, 960),
    (Profile::AimedCrashes, 440),
    (Profile::SlowDisk, 100),
    (Profile::FullDisk, 100),
    (Profile::BitRot, 100),
    (Profile::Calm, 50),
    (Profile::Votes, 130),
    (Profile::StaleReads, 130),
    (Profile::LeaseClocks, 100),
    (Profile::WatchPartitions, 100),
    (Profile::PowerLoss, 100),
    (Profile::LeaderIsolation, 130),
    (Profile::Laggards, 100),
    (Profile::Auth, 170),
    (Profile::Membership, 170),
    (Profile::Wipes, 110),
    (Profile::Large, 12),
];

/// A number from the environment; decimal, or hexadecimal with 0x.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(parsed.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Where seeds are derived from: each run of CI names its own.
fn base() -> u64 {
    number("HOLDFAST_SIM_BASE").unwrap_or(0x0401_d5a5)
}

fn farm(profile: Profile, seeds: u64, twice: bool) -> Harvest {
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    let (base, profile, members) = (base(), Some(profile), None);
    let (failures_max, until, progress) = (3, None, None);
    Farm { base, seeds, jobs, profile, members, twice, failures_max, until, progress }.run()
}

/// Prints past the capture of the test's output: the last line of a run is always to be read.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("standard output is open");
}

fn fail_if_any(harvest: &Harvest) {
    for failure in &harvest.failures {
        say(&failure.to_string());
    }
    assert!(harvest.failures.is_empty(), "{} of {} seeds failed", harvest.failures.len(), harvest.seeds);
}

#[test]
fn seeds_of_every_profile_keep_every_promise() {
    let start = Instant::now();
    let total: u64 = SEEDS.iter().map(|(_, seeds)| seeds).sum();
    let wanted = number("HOLDFAST_SIM_SEEDS").unwrap_or(total);
    let mut all = Harvest::default();
    for (profile, seeds) in SEEDS {
        all.merge(farm(profile, (seeds * wanted).div_ceil(total), false));
    }
    say(&format!("ring 1: base={:#x} {}", base(), all.summary(start.elapsed().as_secs_f64())));
    fail_if_any(&all);
    if wanted >= total {
        check_reach(&all);
    }
}

/// What must have happened at least once in so many seeds: a suite in which nothing happens checks nothing.
fn check_reach(all: &Harvest) {
    assert_eq!(all.too_little(), None);
    let (counts, checked) = (&all.counts, &all.checked);
    let reached = [
        ("kills and power losses", (counts.crashes - counts.power_losses).min(counts.power_losses)),
        ("torn tails", counts.dropped_tails),
        ("entries lost with a life", counts.entries_lost),
        ("checkpoints restored", counts.restored_checkpoints),
        ("checkpoints failed", counts.checkpoints_failed),
        ("log reclaimed", counts.reclaims),
        ("deaths by the disk", counts.deaths_by_disk),
        ("bits flipped", counts.flips),
        ("damage refused", counts.refused_damage),
        ("pauses", counts.pauses),
        ("unanswered writes that happened", checked.unknown_done),
        ("unanswered writes that did not", checked.unknown_lost),
        ("refusals", checked.refusals),
        ("events", checked.events),
        ("progress", checked.progress),
        ("notifications owed", checked.silences),
        ("leases", checked.leases),
        ("digests", checked.digests),
        ("digests of replays", all.replayed),
    ];
    for (what, count) in reached {
        assert!(count > 0, "nothing of this in all seeds: {what}");
    }
    let missing: Vec<&str> = all.marks.missing().map(|mark| mark.name()).collect();
    assert!(missing.is_empty(), "marks that no seed hit: {missing:?}");
}

#[test]
fn same_seed_twice_is_the_same_to_the_last_byte() {
    for (profile, seeds) in SEEDS {
        fail_if_any(&farm(profile, seeds.div_ceil(20), true));
    }
}
