//! `check perf`: puts for a minute at a fixed rate.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::load::{Load, Puts};
use super::report::Report;
use super::{AUTO_COMPACT, AUTO_DEFRAG, LOAD, check_no_keys, compact, defragment, delete_keys, load};
use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Flag, Spec};
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::output::print_line;
use crate::signals::Signals;
use crate::terminal;

pub static SPEC: Spec =
    Spec::leaf("perf [options]", "Whether the cluster keeps up with a load of writes", |given| {
        Box::pin(perf(given))
    })
    .flags(&[
        LOAD,
        Flag::text("prefix", "/etcdctl-check-perf/", "what the check's keys begin with"),
        AUTO_COMPACT,
        AUTO_DEFRAG,
    ]);

const DURATION_S: u64 = 60;
const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;
/// What passes: this part of the rate, no call slower, no deviation larger.
const RATE_PART_MIN: f64 = 0.9;
const SLOWEST_MAX_S: f64 = 0.5;
const DEVIATION_MAX_S: f64 = 0.1;

struct Size {
    /// Writes a second.
    rate: u32,
    clients: usize,
}

const SIZES: [Size; 4] = [
    Size { rate: 150, clients: 50 },
    Size { rate: 1000, clients: 200 },
    Size { rate: 8000, clients: 500 },
    Size { rate: 15000, clients: 1000 },
];

async fn perf(given: &Given) -> Outcome {
    let size = &SIZES[load(given)?];
    let prefix = given.text("prefix");
    let config = globals::config(given).await?;
    given.printer()?;
    let mut clients = Vec::new();
    for _ in 0..size.clients {
        clients.push(Client::new(config.clone()).await?);
    }
    let mut signals = Signals::new().map_err(Exit::error)?;
    check_no_keys(&clients[0], &prefix, "'").await?;
    let puts = Puts { prefix: prefix.clone(), key_bytes: KEY_BYTES, value_bytes: VALUE_BYTES };
    let (report, took) = run(&clients, &puts, size.rate, &mut signals).await;
    match delete_keys(&clients[0], &prefix).await {
        Ok(revision) if given.bool("auto-compact") => compact(&clients[0], revision).await?,
        Ok(_) => {}
        Err(error) => print_line(&format!("FAIL: Cleanup failed during key deletion: ERROR({error})"))?,
    }
    if given.bool("auto-defrag") {
        defragment(&clients[0]).await?;
    }
    judge(&report, took, size.rate)
}

/// Until the minute or the user's patience is over.
async fn run(clients: &[Client], puts: &Puts, rate: u32, signals: &mut Signals) -> (Report, Duration) {
    let load = Load::start(clients);
    let began = Instant::now();
    let mut ticks = interval(Duration::from_secs(1) / rate);
    // A server that falls behind is given no more at once than it can take.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let show = terminal::shows_progress();
    let mut shown = 0;
    while began.elapsed() < Duration::from_secs(DURATION_S) {
        tokio::select! {
            _ = ticks.tick() => load.put(puts.next()).await,
            () = signals.recv() => break,
        }
        let seconds = began.elapsed().as_secs();
        if show && seconds > shown {
            shown = seconds;
            terminal::progress(shown, DURATION_S);
        }
    }
    (load.finish().await, began.elapsed())
}

fn judge(report: &Report, took: Duration, rate: u32) -> Outcome {
    let mut passed = true;
    let mut verdict = |passes: bool, good: String, bad: String| {
        passed &= passes;
        print_line(if passes { &good } else { &bad })
    };
    if !report.failures.is_empty() {
        verdict(false, String::new(), "FAIL: too many errors".to_owned())?;
        for (text, count) in &report.failures {
            verdict(false, String::new(), format!("FAIL: ERROR({text}) -> {count}"))?;
        }
    }
    let achieved = report.rate(took);
    let shown = achieved as u64 + 1;
    verdict(
        achieved / f64::from(rate) > RATE_PART_MIN,
        format!("PASS: Throughput is {shown} writes/s"),
        format!("FAIL: Throughput too low: {shown} writes/s"),
    )?;
    let slowest = report.slowest_s();
    verdict(
        slowest <= SLOWEST_MAX_S,
        format!("PASS: Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    )?;
    let deviation = report.deviation_s();
    verdict(
        deviation <= DEVIATION_MAX_S,
        format!("PASS: Stddev is {deviation:.6}s"),
        format!("Stddev too high: {deviation:.6}s"),
    )?;
    print_line(if passed { "PASS" } else { "FAIL" })?;
    if passed { Ok(()) } else { Err(Exit::silent(1)) }
}
