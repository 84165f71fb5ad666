//! `cargo bench-all`: figures of holdfast and, when there is one, of a real etcd in the same run.
//!
//! Each run starts both servers on empty directories, one after the other; the figures are medians of the
//! runs. CPU is user and system time of the server's process.

#![cfg(not(madsim))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_tests::client::Client;
use holdfast_tests::cluster::Cluster;
use holdfast_tests::etcd::real_etcd;
use holdfast_tests::load::{self, Measured, Probe, Watchers};
use holdfast_tests::process::{Program, Server, http_get};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Clients of the closed loops of small calls.
const CLIENTS: u32 = 64;
/// Clients of the closed loop of ranges: their answers are hundreds of kilobytes.
const RANGE_CLIENTS: u32 = 10;
const RANGE_LIMIT: i64 = 1000;
/// Keys that gets meet.
const GET_KEYS: u32 = 10_000;
/// Above what any of this fills; etcd's default is 2 GiB.
const QUOTA: &str = "--quota-backend-bytes=16000000000";
/// How long memory is given to come back before it is looked at.
const SETTLE: Duration = Duration::from_secs(5);
/// Keys overwritten between two looks at the checkpoints.
const OVERWRITE_KEYS: u32 = 20_000;
/// Rounds of overwriting after which a checkpoint is not waited for any longer.
const ROUNDS_MAX: u32 = 10;
/// When a server that does not finish is given up.
const FINISH_WITHIN: Duration = Duration::from_secs(300);

/// Figures of holdfast and of a real etcd beside it.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// What to measure; everything when left out.
    #[arg(value_enum)]
    benches: Vec<Bench>,
    /// Runs of each; medians are printed.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Keys of the large fillings.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
    /// Keys of the lease that is revoked.
    #[arg(long, default_value_t = 100_000)]
    lease_keys: u32,
    /// Watchers that look elsewhere; a multiple of 100.
    #[arg(long, default_value_t = 10_000)]
    watchers: u32,
    /// Length of each closed loop.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where data directories go; its disk is part of what is measured.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Measures holdfast alone.
    #[arg(long)]
    alone: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bench {
    /// Puts of 256 bytes, 64 clients on 10 connections.
    Put,
    /// Linearizable gets of one key, the same clients.
    Get,
    /// Ranges with a limit of 1000 among all keys.
    Range,
    /// Resident memory: full, overwritten three times, compacted.
    Memory,
    /// From kill -9 to the first linearizable read: right behind a checkpoint, and just before the next.
    Restart,
    /// A compaction of as many old revisions as keys.
    Compact,
    /// One DeleteRange of all keys, and what others feel.
    Delete,
    /// Revocation of a lease with many keys, and what others feel.
    Revoke,
    /// Puts alone and then while many watchers look elsewhere, on one server.
    Watchers,
    /// Puts and linearizable gets on the leader of three members, whose CPU is added up.
    Three,
}

/// Name with unit, and value.
type Figures = Vec<(&'static str, f64)>;

async fn measure(bench: Bench, server: &mut Server, cli: &Cli) -> Figures {
    match bench {
        Bench::Put => put(server, cli).await,
        Bench::Get => get(server, cli).await,
        Bench::Range => range(server, cli).await,
        Bench::Memory => memory(server, cli).await,
        Bench::Restart => restart(server, cli).await,
        Bench::Compact => compact(server, cli).await,
        Bench::Delete => delete(server, cli).await,
        Bench::Revoke => revoke(server, cli).await,
        Bench::Watchers => watchers(server, cli).await,
        Bench::Three => unreachable!("it has servers of its own"),
    }
}

fn loop_figures(measured: &Measured, cpu_s: f64) -> Figures {
    vec![
        ("calls/s", measured.a_second()),
        ("p50 ms", measured.quantile_ms(0.5)),
        ("p99 ms", measured.quantile_ms(0.99)),
        ("server CPU us/call", cpu_s * 1e6 / measured.calls as f64),
    ]
}

/// The closed loop of puts, and the server's CPU seconds meanwhile.
async fn puts(server: &Server, cli: &Cli) -> (Measured, f64) {
    let (length, before) = (Duration::from_secs(cli.seconds), server.cpu_s());
    let call = |mut client: Client, index| async move {
        client.put(load::key(index), load::value(index)).await.map(|_| ())
    };
    let measured = load::closed_loops(&server.endpoint(), CLIENTS, length, call).await;
    (measured, server.cpu_s() - before)
}

/// Durable writes of the log so far; etcd counts them under the same name.
fn log_writes(server: &Server) -> f64 {
    let page = http_get(server.client_port, "/metrics").expect("served");
    let count =
        page.lines().find_map(|line| line.strip_prefix("etcd_disk_wal_fsync_duration_seconds_count "));
    count.expect("counted").parse().expect("a number")
}

async fn put(server: &Server, cli: &Cli) -> Figures {
    let before = log_writes(server);
    let (measured, cpu_s) = puts(server, cli).await;
    let mut figures = loop_figures(&measured, cpu_s);
    figures.push(("puts a durable write", measured.calls as f64 / (log_writes(server) - before)));
    figures
}

async fn watchers(server: &Server, cli: &Cli) -> Figures {
    let us_a_call = |(measured, cpu_s): (Measured, f64)| cpu_s * 1e6 / measured.calls as f64;
    let alone = us_a_call(puts(server, cli).await);
    let watchers = Watchers::start(&server.endpoint(), cli.watchers).await;
    let watched = us_a_call(puts(server, cli).await);
    drop(watchers);
    vec![
        ("CPU us/put, alone", alone),
        ("CPU us/put, watched", watched),
        ("CPU raised by %", 100.0 * (watched / alone - 1.0)),
    ]
}

async fn three(program: &Program, cli: &Cli, parent: &Path) -> Figures {
    let cluster = Cluster::start_below(parent, program.clone(), 3, &[QUOTA]);
    let leader = &cluster.members[cluster.leader().await];
    let cpu_s = || cluster.members.iter().map(Server::cpu_s).sum::<f64>();
    let length = Duration::from_secs(cli.seconds);
    let put = |mut client: Client, index| async move {
        client.put(load::key(index), load::value(index)).await.map(|_| ())
    };
    let get = |mut client: Client, index: u32| async move {
        client.get(load::key(index % GET_KEYS), 0).await.map(|_| ())
    };
    let (before, written) = (cpu_s(), log_writes(leader));
    let puts = load::closed_loops(&leader.endpoint(), CLIENTS, length, put).await;
    let put_cpu_s = cpu_s() - before;
    let a_write = puts.calls as f64 / (log_writes(leader) - written);
    let before = cpu_s();
    let gets = load::closed_loops(&leader.endpoint(), CLIENTS, length, get).await;
    let get_cpu_s = cpu_s() - before;
    vec![
        ("puts/s", puts.a_second()),
        ("put p50 ms", puts.quantile_ms(0.5)),
        ("put p99 ms", puts.quantile_ms(0.99)),
        ("CPU us/put, 3 servers", put_cpu_s * 1e6 / puts.calls as f64),
        ("puts a durable write", a_write),
        ("gets/s", gets.a_second()),
        ("CPU us/get, 3 servers", get_cpu_s * 1e6 / gets.calls as f64),
    ]
}

async fn get(server: &Server, cli: &Cli) -> Figures {
    load::fill(&server.endpoint(), (0..GET_KEYS).collect(), 0).await;
    let (length, before) = (Duration::from_secs(cli.seconds), server.cpu_s());
    let call = |mut client: Client, index: u32| async move {
        let found = client.get(load::key(index.wrapping_mul(7919) % GET_KEYS), 0).await?;
        assert!(found.is_some(), "a key that was put is not there");
        Ok(())
    };
    let measured = load::closed_loops(&server.endpoint(), CLIENTS, length, call).await;
    loop_figures(&measured, server.cpu_s() - before)
}

async fn range(server: &Server, cli: &Cli) -> Figures {
    load::fill(&server.endpoint(), (0..cli.keys).collect(), 0).await;
    let (length, before, keys) = (Duration::from_secs(cli.seconds), server.cpu_s(), cli.keys);
    let call = move |mut client: Client, index: u32| async move {
        let key = load::key(index.wrapping_mul(7919) % keys);
        let (_, range_end) = load::all_keys();
        let request = pb::RangeRequest { key, range_end, limit: RANGE_LIMIT, ..Default::default() };
        client.kv.range(request).await.map(|_| ())
    };
    let measured = load::closed_loops(&server.endpoint(), RANGE_CLIENTS, length, call).await;
    loop_figures(&measured, server.cpu_s() - before)
}

async fn memory(server: &Server, cli: &Cli) -> Figures {
    let endpoint = server.endpoint();
    let (started, before) = (Instant::now(), server.cpu_s());
    load::fill(&endpoint, (0..cli.keys).collect(), 0).await;
    let mut figures =
        vec![("fill s", started.elapsed().as_secs_f64()), ("fill server CPU s", server.cpu_s() - before)];
    tokio::time::sleep(SETTLE).await;
    figures.push(("RSS MB full", server.rss_mb()));
    let mut order: Vec<u32> = (0..cli.keys).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..3 {
        order.shuffle(&mut rng);
        load::fill(&endpoint, order.clone(), 0).await;
    }
    figures.push(("RSS MB overwritten", server.rss_mb()));
    compact_now(&endpoint).await;
    tokio::time::sleep(SETTLE).await;
    figures.push(("RSS MB compacted", server.rss_mb()));
    figures
}

/// Where a server is between two checkpoints.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Behind,
    Before,
}

/// Names of a holdfast's checkpoints, and whether another is being written; a real etcd has none of ours.
fn checkpoints(server: &Server) -> (Vec<String>, bool) {
    let Ok(directory) = std::fs::read_dir(server.directory().join("member/ckpt")) else {
        return Default::default();
    };
    let names = directory.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let (finished, unfinished): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".ckpt"));
    (finished, !unfinished.is_empty())
}

/// Overwrites and compacts until the server is at `moment`; each key once on a server without checkpoints.
async fn bring_to(server: &Server, cli: &Cli, moment: Moment) {
    let (before, _) = checkpoints(server);
    for round in 0.. {
        for start in (0..cli.keys).step_by(OVERWRITE_KEYS as usize) {
            let (finished, is_writing) = checkpoints(server);
            match moment {
                Moment::Behind if finished != before => return,
                Moment::Before if is_writing => return,
                _ => {}
            }
            let end = cli.keys.min(start + OVERWRITE_KEYS);
            load::fill(&server.endpoint(), (start..end).collect(), 0).await;
            compact_now(&server.endpoint()).await;
        }
        if matches!(server.program(), Program::Etcd(_)) || round == ROUNDS_MAX {
            return;
        }
    }
}

/// Kills the server; milliseconds from there to the answer of the last key, and CPU seconds it took.
async fn kill_and_read(server: &mut Server, cli: &Cli) -> (f64, f64) {
    server.kill();
    let started = Instant::now();
    server.spawn();
    loop {
        // A new connection each time: one that was refused is not tried again at once.
        let read = Client::new(&server.endpoint()).get(load::key(cli.keys - 1), 0).await;
        if let Ok(found) = read {
            assert!(found.is_some(), "the last key is lost");
            return (started.elapsed().as_secs_f64() * 1e3, server.cpu_s());
        }
        assert!(started.elapsed() < FINISH_WITHIN, "{}", server.log_tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn restart(server: &mut Server, cli: &Cli) -> Figures {
    load::fill(&server.endpoint(), (0..cli.keys).collect(), 0).await;
    bring_to(server, cli, Moment::Behind).await;
    let behind = kill_and_read(server, cli).await;
    server.wait_ready();
    bring_to(server, cli, Moment::Before).await;
    let before = kill_and_read(server, cli).await;
    vec![
        ("ms to first read, behind", behind.0),
        ("CPU s to first read, behind", behind.1),
        ("ms to first read, before", before.0),
        ("CPU s to first read, before", before.1),
    ]
}

/// Compacts at the current revision and waits until the old revisions are gone.
async fn compact_now(endpoint: &str) {
    let mut client = Client::new(endpoint);
    let revision = client.put("/other/key", "").await.expect("served");
    let request = pb::CompactionRequest { revision, physical: true };
    if let Err(status) = client.kv.compact(request).await {
        eprintln!("a compaction is not waited for: {status}");
    }
}

/// What `work` takes, and what others feel meanwhile.
async fn felt(server: &Server, work: impl Future<Output = ()>) -> Figures {
    let (probe, before, started) = (Probe::start(&server.endpoint()), server.cpu_s(), Instant::now());
    work.await;
    let (took, cpu_s) = (started.elapsed(), server.cpu_s() - before);
    let worst = probe.end().await;
    vec![
        ("wall ms", took.as_secs_f64() * 1e3),
        ("server CPU s", cpu_s),
        ("worst get ms meanwhile", worst.get.as_secs_f64() * 1e3),
        ("worst put ms meanwhile", worst.put.as_secs_f64() * 1e3),
    ]
}

async fn compact(server: &Server, cli: &Cli) -> Figures {
    let endpoint = server.endpoint();
    for _ in 0..2 {
        load::fill(&endpoint, (0..cli.keys).collect(), 0).await;
    }
    felt(server, compact_now(&endpoint)).await
}

/// Waits until the keys are gone; a call that timed out may still be at work.
async fn wait_gone(endpoint: &str) {
    let (mut client, started) = (Client::new(endpoint), Instant::now());
    while load::count(&mut client).await.unwrap_or(1) > 0 {
        assert!(started.elapsed() < FINISH_WITHIN, "the keys do not go");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn delete(server: &Server, cli: &Cli) -> Figures {
    let endpoint = server.endpoint();
    load::fill(&endpoint, (0..cli.keys).collect(), 0).await;
    let (key, range_end) = load::all_keys();
    let request = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
    let work = async {
        if let Err(status) = Client::new(&endpoint).kv.delete_range(request).await {
            eprintln!("a delete is not waited for: {status}");
        }
        wait_gone(&endpoint).await;
    };
    felt(server, work).await
}

async fn revoke(server: &Server, cli: &Cli) -> Figures {
    let endpoint = server.endpoint();
    let mut client = Client::new(&endpoint);
    let id = client.grant(100_000).await.expect("served");
    load::fill(&endpoint, (0..cli.lease_keys).collect(), id).await;
    let work = async {
        if let Err(status) = client.lease.lease_revoke(pb::LeaseRevokeRequest { id }).await {
            eprintln!("a revocation is not waited for: {status}");
        }
        wait_gone(&endpoint).await;
    };
    felt(server, work).await
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All runs of one bench, as a table.
async fn run_bench(bench: Bench, programs: &[Program], cli: &Cli) {
    let mut names: Vec<&'static str> = Vec::new();
    let mut values: BTreeMap<(&'static str, &'static str), Vec<f64>> = BTreeMap::new();
    for _ in 0..cli.runs {
        for program in programs {
            let parent = cli.directory.clone().unwrap_or_else(std::env::temp_dir);
            let figures = if let Bench::Three = bench {
                three(program, cli, &parent).await
            } else {
                let scratch = tempfile::tempdir_in(parent).expect("a scratch directory");
                let mut server = Server::start(program.clone(), scratch.path(), &[QUOTA]);
                measure(bench, &mut server, cli).await
            };
            names = figures.iter().map(|(name, _)| *name).collect();
            for (name, value) in figures {
                values.entry((name, program.name())).or_default().push(value);
            }
        }
    }
    for name in names {
        let mut line = format!("{:<9} {name:<27}", format!("{bench:?}").to_lowercase());
        let medians: Vec<f64> = programs
            .iter()
            .map(|program| median(values.get_mut(&(name, program.name())).expect("measured each run")))
            .collect();
        for (program, value) in programs.iter().zip(&medians) {
            line += &format!(" {:>9} {value:>12.3}", program.name());
        }
        if let [ours, theirs] = medians[..] {
            line += &format!("  ratio {:.3}", ours / theirs);
        }
        println!("{line}");
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut cli = Cli::parse();
    assert!(cli.runs > 0 && cli.keys > 0, "nothing to measure");
    let mut programs = vec![Program::holdfast()];
    if !cli.alone {
        match real_etcd() {
            Ok(etcd) => programs.push(etcd),
            Err(why) => eprintln!("no comparison, for there is no real etcd: {why}"),
        }
    }
    if cli.benches.is_empty() {
        cli.benches = Bench::value_variants().to_vec();
    }
    if cfg!(debug_assertions) {
        eprintln!("an unoptimised build: these figures mean nothing");
    }
    println!("medians of {} runs, {} keys, {} s loops", cli.runs, cli.keys, cli.seconds);
    for &bench in &cli.benches {
        run_bench(bench, &programs, &cli).await;
    }
}
