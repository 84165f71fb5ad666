//! `check datascale`: what a load of keys costs a server in memory.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::load::{Load, Puts};
use super::{AUTO_COMPACT, AUTO_DEFRAG, LOAD, check_no_keys, compact, defragment, delete_keys, load};
use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Flag, Spec};
use crate::client::connect::Connector;
use crate::client::{Client, Config, Endpoint};
use crate::exit::{Exit, Outcome};
use crate::output::print_line;
use crate::terminal;

pub static SPEC: Spec =
    Spec::leaf("datascale [options]", "What a load of keys costs a server in memory", |given| {
        Box::pin(datascale(given))
    })
    .long("What a load of keys costs a server in memory. Of several endpoints the first is asked.")
    .flags(&[
        LOAD,
        Flag::text("prefix", "/etcdctl-check-datascale/", "what the check's keys begin with"),
        AUTO_COMPACT,
        AUTO_DEFRAG,
    ]);

const METRIC: &str = "process_resident_memory_bytes";
const KEY_BYTES: usize = 512;
const VALUE_BYTES: usize = 512;
const BYTES_PER_MB: f64 = 1024.0 * 1024.0;
/// Of the page of metrics.
const PAGE_BYTES_MAX: u64 = 64 << 20;

struct Size {
    keys: u64,
    clients: usize,
}

const SIZES: [Size; 4] = [
    Size { keys: 10_000, clients: 50 },
    Size { keys: 100_000, clients: 200 },
    Size { keys: 1_000_000, clients: 500 },
    Size { keys: 3_000_000, clients: 1000 },
];

async fn datascale(given: &Given) -> Outcome {
    let size = &SIZES[load(given)?];
    let prefix = given.text("prefix");
    let config = globals::config(given).await?;
    given.printer()?;
    let mut clients = Vec::new();
    for _ in 0..size.clients {
        clients.push(Client::new(config.clone()).await?);
    }
    check_no_keys(&clients[0], &prefix, "").await?;
    let before = memory(&config, "before").await?;
    let (keys, bytes, count) = (size.keys, KEY_BYTES + VALUE_BYTES, size.clients);
    print_line(&format!(
        "Start data scale check for work load [{keys} key-value pairs, {bytes} bytes per key-value, {count} \
         concurrent clients]."
    ))?;
    let puts = Puts { prefix: prefix.clone(), key_bytes: KEY_BYTES, value_bytes: VALUE_BYTES };
    let load = Load::start(&clients);
    let show = terminal::shows_progress();
    for done in 1..=keys {
        load.put(puts.next()).await;
        if show && (done * 100).is_multiple_of(keys) {
            terminal::progress(done, keys);
        }
    }
    let report = load.finish().await;
    let after = memory(&config, "after").await?;
    let revision = delete_keys(&clients[0], &prefix).await?;
    if given.bool("auto-compact") {
        compact(&clients[0], revision).await?;
    }
    if given.bool("auto-defrag") {
        defragment(&clients[0]).await?;
    }
    if !report.failures.is_empty() {
        print_line("FAIL: too many errors")?;
        for (text, count) in &report.failures {
            print_line(&format!("FAIL: ERROR({text}) -> {count}"))?;
        }
        return Err(Exit::silent(1));
    }
    print_line(&format!("PASS: Approximate system memory used : {:.2} MB.", (after - before) / BYTES_PER_MB))
}

/// What the server's own metrics say.
async fn memory(config: &Config, when: &str) -> Result<f64, Exit> {
    let page = metrics(config).await.map_err(|error| format!("fetch error: {error}"));
    let found = page.and_then(|page| {
        let line = page.lines().find_map(|line| line.strip_prefix(METRIC));
        let value = line.ok_or_else(|| format!("could not find: {METRIC}"))?;
        value.trim().parse::<f64>().map_err(|error| format!("parse error: {error}"))
    });
    match found {
        Ok(bytes) if bytes > 0.0 => Ok(bytes),
        other => {
            if let Err(why) = other {
                print_line(&why)?;
            }
            print_line(&format!("FAIL: Could not read {METRIC} {when} the put operations."))?;
            Err(Exit::silent(1))
        }
    }
}

/// One HTTP/1.0 request, so that the answer comes in one piece and ends with the connection.
async fn metrics(config: &Config) -> io::Result<String> {
    let endpoint = Endpoint::parse(&config.endpoints[0]);
    let host = endpoint.server_name.clone();
    let tls = config.tls.as_ref().map(|tls| tls.for_http1());
    let connector = Connector::new(endpoint, tls).map_err(io::Error::other)?;
    let mut stream = connector.connect().await?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    (&mut stream).take(PAGE_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(answer.lines().next().unwrap_or("no answer").to_owned())),
    }
}
