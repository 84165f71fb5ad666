//! The writers over a disk that fails on demand.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdfast_core::base::{ClusterId, LogIndex, Lsn, MemberId, Term};
use holdfast_core::boundary::CheckpointStep;
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::recover::{self, Recovered};
use holdfast_core::state::STATE_VERSION;
use holdfast_core::wal::{Entry, EntryKind, Frame, FrameKind, FrameWriter, Identity, LayoutConfig};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Disk;
use super::checkpoint_writer::CheckpointWriter;
use super::log_writer::{LogWork, LogWriter, make_spares};
use super::test_disk::TestDisk;
use crate::core_loop::Event;
use crate::metrics::{self, Metrics};

const LAYOUT: LayoutConfig =
    LayoutConfig { first_segment_bytes: 64 << 10, segment_bytes: 64 << 10, spares_max: 1 };
const IDENTITY: Identity = Identity { cluster_id: ClusterId(1), member_id: MemberId(2) };

fn metrics() -> Metrics {
    let versions = ("3.7.1", "3.7");
    let (server_version, cluster_version) = versions;
    Metrics::new(metrics::Identity {
        member_id: 2,
        extensive: false,
        server_version,
        cluster_version,
        features: &[],
    })
}

/// A running log writer, and what the loop would hold.
struct Log {
    disk: TestDisk,
    work: mpsc::UnboundedSender<LogWork>,
    events: mpsc::UnboundedReceiver<Event>,
    frames: FrameWriter,
    index: u64,
    metrics: Metrics,
}

impl Log {
    fn start() -> Log {
        let disk = TestDisk::default();
        let metrics = metrics();
        let (work, todo) = mpsc::unbounded_channel();
        let (happened, events) = mpsc::unbounded_channel();
        let (spares, asked) = mpsc::unbounded_channel();
        let writer = LogWriter {
            disk: disk.clone(),
            layout: recover::layout(IDENTITY, LAYOUT, None),
            work: todo,
            events: happened,
            spares,
            metrics: metrics.disk.clone(),
            spare_at: Instant::now(),
        };
        tokio::spawn(writer.run());
        tokio::spawn(make_spares(disk.clone(), asked, work.downgrade()));
        Log { disk, work, events, frames: FrameWriter::new(Lsn(0), 0), index: 0, metrics }
    }

    /// Asks for an append of one entry of some 9 kB.
    fn append(&mut self) -> Lsn {
        self.index += 1;
        let (index, data) = (LogIndex(self.index), vec![7; 9000].into());
        let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data };
        let frame = Frame { kind: FrameKind::Ready, hard: None, snapshot: None, entries: vec![entry] };
        let mut bytes = BytesMut::new();
        self.frames.push(&frame, Lsn(self.frames.last().0 + 1), &mut bytes);
        let through = self.frames.last();
        self.work.send(LogWork::Append { frames: bytes.freeze(), through }).expect("the writer runs");
        through
    }

    async fn event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    async fn persisted(&mut self) -> Lsn {
        match self.event().await {
            Some(Event::Persisted(through)) => through,
            other => panic!("{other:?}"),
        }
    }

    fn entries_on_disk(&self) -> usize {
        let disk = &self.disk;
        let recovered =
            Recovered::read(&disk.list().expect("it can"), STATE_VERSION, |p, o, l| disk.read(p, o, l));
        recovered.expect("undamaged").found.map_or(0, |found| found.log.entries.len())
    }
}

#[tokio::test]
async fn appends_are_reported_in_order_over_many_segments() {
    let mut log = Log::start();
    for appended in 1..=30 {
        let through = log.append();
        assert_eq!(log.persisted().await, through);
        assert_eq!(log.entries_on_disk(), appended);
    }
    assert!(log.disk.names().iter().filter(|name| name.ends_with(".wal")).count() > 3);
    assert_eq!(log.metrics.disk.wal_fsync_seconds.get_sample_count(), 30);
    // And a header a segment that was made ahead.
    assert!(log.metrics.disk.wal_write_bytes.get() > 30 * 3 * 4096);
}

#[tokio::test]
async fn failed_write_is_the_end_and_reports_nothing_more() {
    for failing in ["Write", "Sync", "Rename"] {
        let mut log = Log::start();
        log.disk.fail(Some((failing, ErrorKind::Other)));
        log.append();
        log.append();
        let Some(Event::DiskFailed(why)) = log.event().await else { panic!("{failing} failed") };
        assert!(why.starts_with("cannot write the log: "), "{why}");
        assert!(log.event().await.is_none(), "nothing may follow");
    }
}

#[tokio::test(start_paused = true)]
async fn disk_that_fills_up_is_waited_for() {
    let mut log = Log::start();
    log.append();
    log.persisted().await;
    log.disk.fail(Some(("Create", ErrorKind::StorageFull)));
    let mut entries = 1;
    let through = loop {
        let through = log.append();
        entries += 1;
        match timeout(Duration::from_secs(30), log.persisted()).await {
            Ok(_) => assert!(entries < 1000, "there is room for one segment and a spare"),
            Err(_) => break through,
        }
    };
    log.disk.fail(None);
    assert_eq!(log.persisted().await, through);
    assert_eq!(log.entries_on_disk(), entries);
}

#[tokio::test]
async fn disk_that_is_full_at_the_start_is_the_end() {
    let mut log = Log::start();
    log.disk.fail(Some(("Create", ErrorKind::StorageFull)));
    log.append();
    let Some(Event::DiskFailed(why)) = log.event().await else { panic!("there is no room") };
    assert!(why.starts_with("cannot write the log: create wal/0000000000000001.tmp of "), "{why}");
}

#[tokio::test(start_paused = true)]
async fn spare_that_cannot_be_made_leaves_nothing_and_is_tried_later() {
    let mut log = Log::start();
    log.append();
    log.persisted().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let spares = |log: &Log| log.disk.names().iter().filter(|name| name.contains("spare")).count();
    assert_eq!(spares(&log), 1, "{:?}", log.disk.names());

    let mut log = Log::start();
    log.append();
    log.disk.fail(Some(("Create { file: \"wal/spare", ErrorKind::StorageFull)));
    log.persisted().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(spares(&log), 0, "{:?}", log.disk.names());
    log.disk.fail(None);
    log.append();
    log.persisted().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(spares(&log), 0, "too early");
    tokio::time::sleep(Duration::from_secs(11)).await;
    log.append();
    log.persisted().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(spares(&log), 1, "{:?}", log.disk.names());
}

#[tokio::test]
async fn writers_end_when_the_loop_is_gone() {
    let Log { work, mut events, .. } = Log::start();
    drop(work);
    let ended = timeout(Duration::from_secs(10), events.recv()).await;
    assert!(ended.expect("the writer ends").is_none());
}

#[tokio::test]
async fn checkpoint_that_fails_leaves_no_file() {
    let disk = TestDisk::default();
    let (steps, todo) = mpsc::unbounded_channel();
    let (happened, mut events) = mpsc::unbounded_channel();
    let writer = CheckpointWriter {
        disk: disk.clone(),
        checkpoints: Checkpoints::new(vec![], vec![]),
        steps: todo,
        events: happened,
        metrics: metrics().disk,
    };
    tokio::spawn(writer.run());
    let bytes = Bytes::from_static(b"state");
    let begin = || CheckpointStep::Begin { index: LogIndex(9), bytes: bytes.clone() };
    let end = || CheckpointStep::End { bytes: bytes.clone() };
    let cases: [(&str, Vec<CheckpointStep>); 3] =
        [("Create", vec![begin()]), ("Write", vec![begin(), end()]), ("Sync", vec![begin(), end()])];
    for (failing, tried) in cases {
        let last = tried.len() - 1;
        for (number, step) in tried.into_iter().enumerate() {
            disk.fail((number == last).then_some((failing, ErrorKind::StorageFull)));
            steps.send(step).expect("the writer runs");
            let Some(Event::Checkpointed { ok }) = events.recv().await else { panic!("every step reports") };
            assert_eq!(ok, number != last, "{failing}");
        }
        assert_eq!(disk.names(), Vec::<String>::new(), "{failing}");
    }
    disk.fail(None);
    for step in [begin(), end()] {
        steps.send(step).expect("the writer runs");
        assert!(matches!(events.recv().await, Some(Event::Checkpointed { ok: true })));
    }
    assert_eq!(disk.names(), ["ckpt/0000000000000009.ckpt"]);
}
