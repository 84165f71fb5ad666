//! Crash states of log and checkpoints: what recovery makes of a disk after a power loss at any point.
//!
//! A script of appends, checkpoints, reclaims and restarts is performed operation by operation on a
//! simulated disk. Now and then the power goes: from that one moment many disks are drawn (each unsynced
//! sector new, old or torn, directory changes kept in part), and recovery must find, on each of them, every
//! frame that was acknowledged, nothing that was never appended, and a checkpoint if one was finished.
//! One of them is the disk of the next life. Between lives bits are flipped: what was acknowledged is then
//! there or refused, never changed.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use holdfast_core::base::{ClusterId, LeaseId, LogIndex, Lsn, MemberId, Term};
use holdfast_core::boundary::CheckpointStep;
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::disk::DiskOp;
use holdfast_core::recover::{self, Listed, RecoverError, Recovered};
use holdfast_core::snapshot::SnapshotRun;
use holdfast_core::state::{STATE_VERSION, State};
use holdfast_core::wal::{
    Entry, EntryKind, Frame, FrameKind, FrameWriter, HardState, Identity, Layout, LayoutConfig,
};

use crate::disk::{DiskError, DiskFaults, SimDisk};
use crate::rng::{Rng, derive};

const IDENTITY: Identity = Identity { cluster_id: ClusterId(11), member_id: MemberId(22) };

/// Disks drawn from one moment of power loss.
const DRAWS: u64 = 12;

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub scripts: u64,
    pub states: u64,
    pub lives: u64,
    pub checkpoints: u64,
    pub flips: u64,
    pub flips_refused: u64,
    pub tails_dropped: u64,
    pub segments_recycled: u64,
}

/// A state that recovery got wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
}

/// Checks at least `count` crash states, from scripts drawn from `base`.
pub fn check_crash_states(base: u64, count: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    while report.states < count {
        let seed = derive(base, report.scripts);
        Script::new(seed).run(&mut report).map_err(|what| Failure { seed, what })?;
        report.scripts += 1;
    }
    Ok(report)
}

/// One member's log over several lives.
struct Script {
    rng: Rng,
    disk: SimDisk,
    config: LayoutConfig,
    /// Fingerprint of each frame's entries by its number, as last appended.
    appended: BTreeMap<u64, Vec<(u64, Bytes)>>,
    acknowledged: Lsn,
    /// Index of the newest checkpoint that was finished for good.
    checkpoint: LogIndex,
    index: LogIndex,
}

/// A life: the parts of a shell.
struct Life {
    layout: Layout,
    checkpoints: Checkpoints,
    writer: FrameWriter,
    /// Index of the newest and the one before, for reclaim.
    newest: LogIndex,
    frames: Vec<(Lsn, LogIndex)>,
}

impl Script {
    fn new(seed: u64) -> Script {
        let mut rng = Rng::named(seed, "crash-states");
        let segment_bytes = *rng.pick(&[16 << 10, 24 << 10, 64 << 10]);
        let faults = DiskFaults { torn: 0.2, ..DiskFaults::default() };
        Script {
            disk: SimDisk::new(seed, faults),
            config: LayoutConfig {
                first_segment_bytes: 16 << 10,
                segment_bytes,
                spares_max: rng.below(3) as usize,
            },
            appended: BTreeMap::new(),
            acknowledged: Lsn(0),
            checkpoint: LogIndex(0),
            index: LogIndex(0),
            rng,
        }
    }

    fn run(&mut self, report: &mut Report) -> Result<(), String> {
        for _ in 0..2 + self.rng.below(5) {
            report.lives += 1;
            let recovered = recover_disk(&self.disk).map_err(|e| format!("refused: {e}"))?;
            self.check(&recovered)?;
            let mut life = self.open(recovered);
            self.live(&mut life, report)?;
            self.disk.lose_power();
            let recovered = recover_disk(&self.disk).map_err(|e| format!("refused: {e}"))?;
            report.tails_dropped +=
                u64::from(recovered.found.as_ref().is_some_and(|f| f.dropped().is_some()));
            self.check(&recovered)?;
            self.flip(report)?;
        }
        Ok(())
    }

    fn open(&mut self, recovered: Recovered) -> Life {
        let found = recovered.found;
        let layout = recover::layout(IDENTITY, self.config, found.as_ref());
        let writer = found.as_ref().map_or(FrameWriter::new(Lsn(0), 0), |found| found.log.writer);
        let newest = found.as_ref().and_then(|f| f.checkpoint.as_ref()).map_or(LogIndex(0), |c| c.1);
        let frames =
            found.as_ref().map_or(Vec::new(), |f| f.log.frames.iter().map(|f| (f.lsn, f.last)).collect());
        let last = found.as_ref().and_then(|f| f.log.entries.last()).map_or(LogIndex(0), |e| e.index);
        self.index = last.max(newest);
        // What was torn off is appended anew under the same numbers.
        self.appended.retain(|lsn, _| *lsn <= writer.last().0);
        Life { layout, checkpoints: recovered.checkpoints, writer, newest, frames }
    }

    /// Works until the power goes; draws crash states on the way.
    fn live(&mut self, life: &mut Life, report: &mut Report) -> Result<(), String> {
        let steps = 3 + self.rng.below(25);
        let mut ops = life.layout.clean_up();
        ops.extend(life.checkpoints.clean_up());
        self.perform(ops, 0.0, report)?;
        if !self.append(life, true, report)? {
            return Ok(());
        }
        for _ in 0..steps {
            let carry_on = match self.rng.below(10) {
                0 => self.write_checkpoint(life, report)?,
                1 => match life.layout.prepare() {
                    Some(ops) => {
                        let done = self.perform(ops, 0.05, report)?;
                        life.layout.prepared(done);
                        done
                    }
                    None => true,
                },
                _ => self.append(life, false, report)?,
            };
            if !carry_on {
                break;
            }
        }
        Ok(())
    }

    /// One append; false if the power went.
    fn append(&mut self, life: &mut Life, is_boot: bool, report: &mut Report) -> Result<bool, String> {
        let batch = Lsn(life.writer.last().0 + 1);
        let mut bytes = BytesMut::new();
        for i in 0..1 + self.rng.below(3) {
            let mut entries = Vec::new();
            for _ in 0..self.rng.below(4) {
                self.index = LogIndex(self.index.0 + 1);
                let len = self.rng.log_between(1, 9000) as usize;
                let data: Vec<u8> = (0..len).map(|_| self.rng.next() as u8).collect();
                entries.push(Entry {
                    index: self.index,
                    term: Term(1),
                    kind: EntryKind::Normal,
                    data: data.into(),
                });
            }
            let kind = match is_boot && i == 0 {
                true => FrameKind::Boot { life: self.rng.next() },
                false => FrameKind::Ready,
            };
            let fingerprint = entries.iter().map(|e| (e.index.0, e.data.clone())).collect();
            let hard = Some(HardState { term: Term(1), vote: MemberId(22), commit: LogIndex(0) });
            let last = entries.last().map(|e| e.index);
            let lsn = life.writer.push(&Frame { kind, hard, snapshot: None, entries }, batch, &mut bytes);
            self.appended.insert(lsn.0, fingerprint);
            life.frames.extend(last.map(|last| (lsn, last)));
        }
        let through = life.writer.last();
        let ops = life.layout.append(&bytes.freeze(), through);
        let done = self.perform(ops, 0.08, report)?;
        if done {
            self.acknowledged = through;
        }
        Ok(done)
    }

    /// A checkpoint at the last acknowledged entry, then reclaim behind the one before.
    fn write_checkpoint(&mut self, life: &mut Life, report: &mut Report) -> Result<bool, String> {
        if self.index <= life.newest {
            return Ok(true);
        }
        let state = state_at(self.index);
        let mut run = SnapshotRun::begin(&state, IDENTITY);
        while !run.is_finished() {
            let step = run.next_step(&state.kv, 200);
            let abort = self.rng.chance(0.02);
            let ops = life.checkpoints.plan(step);
            if !self.perform(ops, 0.05, report)? {
                return Ok(false);
            }
            if abort && !run.is_finished() {
                let ops = life.checkpoints.plan(CheckpointStep::Abort);
                return self.perform(ops, 0.0, report);
            }
        }
        self.checkpoint = self.index;
        report.checkpoints += 1;
        let older = std::mem::replace(&mut life.newest, self.index);
        let needed = life.frames.iter().find(|(_, last)| *last > older).map(|(lsn, _)| *lsn);
        // The last frame always carries a hard state here; it stays.
        let through = needed.unwrap_or(life.writer.last()).0 - 1;
        let ops = life.layout.reclaim(Lsn(through));
        report.segments_recycled +=
            ops.iter().filter(|op| matches!(op, DiskOp::Rename { .. })).count() as u64;
        self.perform(ops, 0.05, report)
    }

    /// Performs operations in order; with probability `power` at each the power goes before it, and the
    /// states that the disk may be in are checked. False then.
    fn perform(&mut self, ops: Vec<DiskOp>, power: f64, report: &mut Report) -> Result<bool, String> {
        for op in ops {
            if self.rng.chance(power) {
                self.draw_states(report)?;
                return Ok(false);
            }
            let what = format!("{op:?}");
            perform(&mut self.disk, op)
                .map_err(|e| format!("the disk is honest here: {e:?} at {}", &what[..what.len().min(120)]))?;
        }
        Ok(true)
    }

    fn draw_states(&mut self, report: &mut Report) -> Result<(), String> {
        for _ in 0..DRAWS {
            let mut disk = self.disk.clone();
            disk.reseed(self.rng.next());
            disk.lose_power();
            let recovered = recover_disk(&disk).map_err(|e| format!("refused after power loss: {e}"))?;
            self.check(&recovered)?;
            report.states += 1;
        }
        Ok(())
    }

    /// Everything acknowledged is there, and nothing that was never appended.
    fn check(&self, recovered: &Recovered) -> Result<(), String> {
        let Some(found) = &recovered.found else {
            return if self.acknowledged == Lsn(0) { Ok(()) } else { Err("the log is gone".to_owned()) };
        };
        let last = found.log.writer.last();
        if last < self.acknowledged {
            return Err(format!("frame {} was acknowledged, the log ends at {last}", self.acknowledged));
        }
        let from = found.checkpoint.as_ref().map_or(LogIndex(0), |c| c.1);
        if from < self.checkpoint {
            return Err(format!("checkpoint {} was finished, {from} was found", self.checkpoint));
        }
        if let Some((state, index, _)) = &found.checkpoint
            && state.hash() != state_at(*index).hash()
        {
            return Err(format!("the checkpoint at {index} has another state"));
        }
        let appended = self.appended.range(..=last.0).flat_map(|(_, entries)| entries);
        let expected: Vec<_> = appended.filter(|(index, _)| *index > from.0).collect();
        let entries = &found.log.entries;
        let found: Vec<_> =
            entries.iter().filter(|e| e.index > from).map(|e| (e.index.0, e.data.clone())).collect();
        match expected.len() == found.len() && expected.iter().zip(&found).all(|(a, b)| *a == b) {
            true => Ok(()),
            false => Err(format!("{} entries behind {from} appended, {} found", expected.len(), found.len())),
        }
    }

    /// Flips a bit anywhere: recovery refuses, or finds all but at most the last append unchanged.
    fn flip(&mut self, report: &mut Report) -> Result<(), String> {
        let names: Vec<String> = [self.disk.list("wal"), self.disk.list("ckpt")].concat();
        for _ in 0..6 {
            if names.is_empty() {
                return Ok(());
            }
            let name = self.rng.pick(&names).clone();
            let len = self.disk.length(&name).unwrap_or(0);
            if len == 0 {
                continue;
            }
            let mut disk = self.disk.clone();
            // Half of the flips where the frames are.
            let within = if self.rng.chance(0.5) { len.min(24 << 10) } else { len };
            let (offset, bit) = (self.rng.below(within), self.rng.below(8) as u8);
            disk.flip_bit(&name, offset, bit);
            report.flips += 1;
            match recover_disk(&disk) {
                Err(_) => report.flips_refused += 1,
                Ok(recovered) => {
                    self.check_flipped(&recovered).map_err(|e| format!("{e} ({name} at {offset})"))?
                }
            }
        }
        Ok(())
    }

    fn check_flipped(&self, recovered: &Recovered) -> Result<(), String> {
        let Some(found) = &recovered.found else { return self.check(recovered) };
        let appended: BTreeMap<u64, &Bytes> =
            self.appended.values().flatten().map(|(index, data)| (*index, data)).collect();
        // Of what a checkpoint holds, the log gives no data.
        let from = found.checkpoint.as_ref().map_or(LogIndex(0), |c| c.1);
        for entry in found.log.entries.iter().filter(|entry| entry.index > from) {
            if appended.get(&entry.index.0) != Some(&&entry.data) {
                return Err(format!("a flipped bit changed entry {}", entry.index));
            }
        }
        if let Some((state, index, _)) = &found.checkpoint
            && state.hash() != state_at(*index).hash()
        {
            return Err(format!("a flipped bit changed the checkpoint at {index}"));
        }
        Ok(())
    }
}

/// A small state that names its index.
fn state_at(index: LogIndex) -> State {
    let mut state = State::new();
    for i in 0..8u64 {
        state.kv.begin();
        let key = format!("key-{}", i % 5);
        state.kv.put(key.as_bytes(), Bytes::from(vec![index.0 as u8; 40 + i as usize]), LeaseId(0));
        state.kv.end();
    }
    state.applied = index;
    state.applied_term = Term(1);
    state
}

fn recover_disk(disk: &SimDisk) -> Result<Recovered, RecoverError<String>> {
    let names = [disk.list("wal"), disk.list("ckpt")].concat();
    let listing: Vec<Listed> =
        names.into_iter().map(|path| Listed { len: disk.length(&path).unwrap_or(0), path }).collect();
    let mut cached: Option<(String, Bytes)> = None;
    Recovered::read(&listing, STATE_VERSION, |path, offset, len| {
        if cached.as_ref().is_none_or(|(name, _)| name != path) {
            let bytes = disk.read(path).ok_or_else(|| "no such file".to_owned())?;
            cached = Some((path.to_owned(), Bytes::from(bytes)));
        }
        let (_, bytes) = cached.as_ref().expect("just read");
        Ok(bytes.slice(offset as usize..(offset + len) as usize))
    })
}

/// Performs one operation at once, flushes included.
pub fn perform(disk: &mut SimDisk, op: DiskOp) -> Result<(), DiskError> {
    match op {
        DiskOp::Create { file, head, len } => {
            disk.create(&file, len)?;
            disk.write(&file, 0, &head)?;
            disk.sync(&file)
        }
        DiskOp::Write { file, offset, bytes } => disk.write(&file, offset, &bytes),
        DiskOp::Sync { file } => disk.sync(&file),
        DiskOp::Rename { from, to } => disk.rename(&from, &to),
        DiskOp::SyncDir { dir } => {
            disk.sync_dir(dir);
            Ok(())
        }
        DiskOp::Remove { file } => match disk.remove(&file) {
            Err(DiskError::NotFound) | Ok(()) => Ok(()),
            error => error,
        },
    }
}
