//! `make-mirror`: one cluster's keys into another, and on as they change.
//!
//! Source: etcd 3.7.1 client/v3/mirror/syncer.go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_core::boundary::{Event, EventKind};
use holdfast_core::status::Status as Refusal;
use holdfast_net::proto::etcdserverpb as pb;
use pb::request_op::Request as Op;

use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::keys::prefix_range;
use crate::client::queue::op;
use crate::client::watch::Watcher;
use crate::client::{CallError, Client, Config, tls};
use crate::exit::{Exit, Outcome};
use crate::output::print_line;

/// Keys read at once.
const BATCH: i64 = 1000;
/// Between two counts of what has been copied.
const TELL_EVERY: Duration = Duration::from_secs(30);

pub static SPEC: Spec = Spec::leaf(
    "make-mirror [options] <destination>",
    "Copies keys to another cluster, and goes on",
    |given| Box::pin(make_mirror(given)),
)
.group(Group::Utility)
.flags(&[
    Flag::text("prefix", "", "only keys that begin with this"),
    Flag::int("rev", "0", "only changes from this revision on (0: all that is there, then changes)"),
    Flag::uint("max-txn-ops", "128", "most requests in one transaction"),
    Flag::text("dest-prefix", "", "what the prefix becomes there"),
    Flag::bool("no-dest-prefix", "the prefix goes away there"),
    Flag::text("dest-cert", "", "file of the certificate that is shown there"),
    Flag::text("dest-key", "", "file of the key to that certificate"),
    Flag::text("dest-cacert", "", "file of the authorities that certificates there are checked against"),
    Flag::bool_on(
        "dest-insecure-transport",
        "no TLS where neither the destination nor a certificate asks for it",
    ),
    Flag::text("dest-user", "", "name[:password] to authenticate with there"),
    Flag::text("dest-password", "", "password of --dest-user"),
]);

/// How keys are renamed.
#[derive(Clone)]
struct Renaming {
    prefix: Vec<u8>,
    becomes: Vec<u8>,
}

impl Renaming {
    fn rename(&self, key: &[u8]) -> Vec<u8> {
        match key.strip_prefix(self.prefix.as_slice()) {
            Some(rest) => [&self.becomes, rest].concat(),
            None => key.to_vec(),
        }
    }
}

async fn make_mirror(given: &Given) -> Outcome {
    let words = given.texts();
    let [destination] = words.as_slice() else {
        return Err(Exit::arguments("make-mirror takes one destination argument"));
    };
    let to = Client::new(destination_config(given, destination)?).await?;
    let (from, _) = given.connect().await?;
    let (no_prefix, dest_prefix) = (given.bool("no-dest-prefix"), text(given, "dest-prefix"));
    if no_prefix && !dest_prefix.is_empty() {
        let text = "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one";
        return Err(Exit::arguments(text));
    }
    let prefix = text(given, "prefix");
    let becomes = if dest_prefix.is_empty() && !no_prefix { prefix.clone() } else { dest_prefix };
    let ops_max = usize::try_from(given.uint("max-txn-ops")).unwrap_or(usize::MAX).max(1);
    let copied = Arc::new(AtomicU64::new(0));
    let mirror =
        Mirror { from, to, renaming: Renaming { prefix, becomes }, ops_max, copied: Arc::clone(&copied) };
    let telling = tokio::spawn(tell(copied));
    let ended = mirror.run(given.int("rev")).await;
    telling.abort();
    // It only ever ends with an error.
    ended.and_then(|()| Err(Exit::error("<nil>")))
}

fn text(given: &Given, flag: &str) -> Vec<u8> {
    crate::cli::parse::bytes(&given.os_text(flag))
}

fn destination_config(given: &Given, destination: &str) -> Result<Config, Exit> {
    let flags = tls::Flags {
        cert: given.text("dest-cert"),
        key: given.text("dest-key"),
        cacert: given.text("dest-cacert"),
        insecure_transport: given.bool("dest-insecure-transport"),
        ..tls::Flags::default()
    };
    let prompt = "Destination Password: ";
    let bytes = |name| usize::try_from(given.int(name)).unwrap_or(0);
    Ok(Config {
        endpoints: vec![destination.to_owned()],
        dial_timeout: given.duration("dial-timeout"),
        keepalive_time: given.duration("keepalive-time"),
        keepalive_timeout: given.duration("keepalive-timeout"),
        send_bytes_max: bytes("max-request-bytes"),
        receive_bytes_max: bytes("max-recv-bytes"),
        tls: tls::Config::new(&flags).map_err(Exit::arguments)?.map(Arc::new),
        identity: globals::named(given.text("dest-user"), given.text("dest-password"), prompt)?,
    })
}

/// How many there are so far, now and then.
async fn tell(copied: Arc<AtomicU64>) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        // If nobody reads it, the copy goes on all the same.
        print_line(&copied.load(Ordering::Relaxed).to_string()).ok();
    }
}

struct Mirror {
    from: Client,
    to: Client,
    renaming: Renaming,
    ops_max: usize,
    copied: Arc<AtomicU64>,
}

impl Mirror {
    async fn run(&self, revision: i64) -> Outcome {
        let mut revision = (revision - 1).max(0);
        if revision == 0 {
            revision = self.copy_all().await?;
        }
        let (key, range_end) = prefix_range(self.renaming.prefix.clone());
        let create = pb::WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: revision + 1,
            ..pb::WatchCreateRequest::default()
        };
        let mut watcher = Watcher::new(&self.from, create);
        while let Some(told) = watcher.next().await {
            if told.compact_revision != 0 {
                return Err(Exit::error(Refusal::Compacted.text()));
            }
            self.copy_events(&told.events).await?;
        }
        Ok(())
    }

    /// All that is there at one revision, which is given back.
    async fn copy_all(&self) -> Result<i64, CallError> {
        let probe = if self.renaming.prefix.is_empty() { b"foo" } else { self.renaming.prefix.as_slice() };
        let revision = self.from.get(probe).await?.header.map_or(0, |header| header.revision);
        let (mut key, range_end) = prefix_range(self.renaming.prefix.clone());
        loop {
            let request = pb::RangeRequest {
                key: key.into(),
                range_end: range_end.clone().into(),
                limit: BATCH,
                revision,
                ..pb::RangeRequest::default()
            };
            let answer = self.from.range(request).await?;
            for kv in &answer.kvs {
                let key = self.renaming.rename(&kv.key).into();
                let put = pb::PutRequest { key, value: kv.value.clone(), ..pb::PutRequest::default() };
                self.to.put(put).await?;
                self.copied.fetch_add(1, Ordering::Relaxed);
            }
            let Some(last) = answer.kvs.last().filter(|_| answer.more) else { return Ok(revision) };
            key = [&last.key[..], &[0]].concat();
        }
    }

    /// What changed in one revision goes into one transaction, if it fits.
    async fn copy_events(&self, events: &[Event]) -> Result<(), CallError> {
        let mut ops = Vec::new();
        let mut revision = 0;
        for event in events {
            let is_next = revision != 0 && event.kv.mod_revision > revision;
            if is_next || ops.len() == self.ops_max {
                self.commit(std::mem::take(&mut ops)).await?;
            }
            revision = event.kv.mod_revision;
            let key = self.renaming.rename(&event.kv.key).into();
            ops.push(op(match event.kind {
                EventKind::Put => {
                    let value = event.kv.value.clone();
                    Op::RequestPut(pb::PutRequest { key, value, ..pb::PutRequest::default() })
                }
                EventKind::Delete => Op::RequestDeleteRange(pb::DeleteRangeRequest {
                    key,
                    ..pb::DeleteRangeRequest::default()
                }),
            }));
            self.copied.fetch_add(1, Ordering::Relaxed);
        }
        if ops.is_empty() { Ok(()) } else { self.commit(ops).await }
    }

    async fn commit(&self, success: Vec<pb::RequestOp>) -> Result<(), CallError> {
        self.to.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_replaced_at_the_start_of_keys() {
        let renaming =
            |prefix: &str, becomes: &str| Renaming { prefix: prefix.into(), becomes: becomes.into() };
        assert_eq!(renaming("a/", "b/").rename(b"a/x"), b"b/x");
        assert_eq!(renaming("a/", "").rename(b"a/x"), b"x");
        assert_eq!(renaming("", "b/").rename(b"x"), b"b/x");
    }
}
