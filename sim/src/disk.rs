//! A disk that loses, tears, flips and fills, as disks do; and that is slow.
//!
//! It knows no time of its own and no event loop: `begin_sync` says how long a flush will take, and
//! whoever keeps the time calls `end_sync` then. Everything is drawn from the seed.
//!
//! What is modelled: a page cache over a medium. A write goes to the cache; a flush of the file moves what
//! was in the cache when it began to the medium; a directory entry is on the medium after a flush of its
//! directory. A killed process loses nothing of this. A power loss keeps the medium, and of everything
//! else what chance keeps: each 512-byte sector new, old or torn, and a prefix of the directory changes, or
//! any of them where names are reordered.

use std::collections::BTreeMap;

use crate::aim::{Aim, Tally};
use crate::rng::Rng;

/// Unit in which the cache is kept.
const PAGE: usize = 4096;
/// Unit in which a power loss keeps or loses.
const SECTOR: usize = 512;

type Page = Box<[u8; PAGE]>;

/// What a disk does to those who trust it. All zero: an honest disk.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// Bounds of a flush in ns.
    pub sync_ns: (u64, u64),
    /// Probability that a flush stalls, and the bounds of a stall in ns.
    pub stall: f64,
    pub stall_ns: (u64, u64),
    /// Probability that a flush fails. What it covered is then partly on the medium.
    pub sync_fails: f64,
    /// Probability that an unsynced sector is torn at a power loss rather than new or old as a whole.
    pub torn: f64,
    /// How a power loss picks what is kept; weights of [keep nothing, keep all, lose a tail, random, lose a head].
    pub loss: [u32; 5],
    /// A power loss may keep a change of a directory and lose one before it: no journal orders them.
    pub reorders_names: bool,
    /// Bytes the medium holds.
    pub capacity_bytes: u64,
    /// The disk lies: a flush of a file, or of a directory, ends well and has done nothing.
    pub ignores_flush: bool,
    pub ignores_directory_flush: bool,
}

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        DiskFaults {
            sync_ns: (100_000, 2_000_000),
            stall: 0.0,
            stall_ns: (0, 0),
            sync_fails: 0.0,
            torn: 0.1,
            loss: [1, 1, 1, 1, 1],
            reorders_names: false,
            capacity_bytes: u64::MAX,
            ignores_flush: false,
            ignores_directory_flush: false,
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// ENOSPC.
    NoSpace,
    /// EIO: the caller must not go on.
    Io,
    /// ENOENT.
    NotFound,
}

/// What strikes one flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It takes so much longer, in ns.
    Stall(u64),
    /// It fails.
    Fail,
}

/// How often the disk did harm; read by coverage gates.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskCounts {
    pub power_losses: u64,
    pub sectors_lost: u64,
    pub sectors_torn: u64,
    pub names_lost: u64,
    pub syncs: u64,
    pub syncs_failed: u64,
    pub stalls: u64,
    pub refused_for_space: u64,
    pub bits_flipped: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What readers see; absent pages are zero.
    pages: BTreeMap<u32, Page>,
    length: u64,
    /// Unsynced pages: what the medium has instead; `None` is zeroes.
    dirty: BTreeMap<u32, Option<Page>>,
    durable_length: u64,
    /// Bytes that count against the capacity.
    allocated: u64,
}

/// A change of a directory that only the cache knows.
#[derive(Clone, Debug)]
enum NameChange {
    Bind {
        name: String,
        file: u64,
    },
    /// Of a file, whoever else has the name by the time.
    Rename {
        from: String,
        to: String,
        file: u64,
    },
    Unbind {
        name: String,
    },
}

/// What a flush in progress covers.
#[derive(Debug)]
pub struct Sync {
    file: u64,
    /// The unsynced pages as they were when the flush began.
    pages: Vec<(u32, Option<Page>)>,
    length: u64,
    /// How long the flush takes.
    pub takes_ns: u64,
    fails: bool,
}

/// The disk of one machine; it outlives every process that uses it. Names are paths with `/`.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// Draws of times, of what strikes flushes, and of what a loss keeps.
    rng: Rng,
    fate: Rng,
    harm: Rng,
    pub faults: DiskFaults,
    pub counts: DiskCounts,
    /// The time, as whoever keeps it says.
    pub now_ns: u64,
    flushes: Tally,
    /// What strikes the first flush that an aim is met by; and all that has struck.
    strikes: Vec<(Aim, Strike)>,
    pub struck: Vec<(Aim, Strike)>,
    files: BTreeMap<u64, File>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last flush of their directory, oldest first.
    pending: Vec<NameChange>,
    used_bytes: u64,
}

impl SimDisk {
    pub fn new(seed: u64, faults: DiskFaults) -> SimDisk {
        SimDisk {
            rng: Rng::named(seed, "disk"),
            fate: Rng::named(seed, "disk fate"),
            harm: Rng::named(seed, "disk harm"),
            faults,
            counts: DiskCounts::default(),
            now_ns: 0,
            flushes: Tally::default(),
            strikes: Vec::new(),
            struck: Vec::new(),
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            used_bytes: 0,
        }
    }

    /// What the next loss keeps is drawn as `seed` says.
    pub fn reseed(&mut self, seed: u64) {
        self.harm = Rng::named(seed, "disk harm");
    }

    /// Strikes the first flush that meets the aim. Only flushes of files can fail.
    pub fn strike(&mut self, aim: Aim, strike: Strike) {
        self.strikes.push((aim, strike));
    }

    /// What has not struck yet does not strike any more.
    pub fn end_strikes(&mut self) {
        self.strikes.clear();
    }

    /// Names in `directory` (without trailing slash), sorted.
    pub fn list(&self, directory: &str) -> Vec<String> {
        self.names.keys().filter(|name| parent(name) == directory).cloned().collect()
    }

    pub fn length(&self, name: &str) -> Option<u64> {
        self.names.get(name).map(|file| self.files[file].length)
    }

    /// The whole file as a reader sees it.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = &self.files[self.names.get(name)?];
        let mut bytes = vec![0; file.length as usize];
        for (number, page) in &file.pages {
            let start = *number as usize * PAGE;
            if start < bytes.len() {
                let end = bytes.len().min(start + PAGE);
                bytes[start..end].copy_from_slice(&page[..end - start]);
            }
        }
        Some(bytes)
    }

    /// Offset of the last byte below `length` that is not zero; 0 if there is none.
    pub fn last_set_byte(&self, name: &str, length: u64) -> u64 {
        let Some(id) = self.names.get(name) else { return 0 };
        let last_in = |(number, page): (&u32, &Page)| {
            let start = u64::from(*number) * PAGE as u64;
            let most = length.saturating_sub(start).min(PAGE as u64) as usize;
            let within = page[..most].iter().rposition(|byte| *byte != 0)?;
            Some(start + within as u64)
        };
        self.files[id].pages.iter().rev().find_map(last_in).unwrap_or(0)
    }

    /// Makes an empty file, or empties an existing one, and takes room for `bytes` in it.
    /// Errors: `NoSpace`, and nothing has changed.
    pub fn create(&mut self, name: &str, bytes: u64) -> Result<(), DiskError> {
        self.take_space(bytes)?;
        let file = File { length: bytes, allocated: bytes, ..File::default() };
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, file);
        self.names.insert(name.to_owned(), id);
        self.pending.push(NameChange::Bind { name: name.to_owned(), file: id });
        self.forget_unnamed();
        Ok(())
    }

    /// Writes at an offset; the file grows if need be.
    /// Errors: `NotFound`; `NoSpace`, and nothing has changed.
    pub fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let id = *self.names.get(name).ok_or(DiskError::NotFound)?;
        let end = offset + bytes.len() as u64;
        let grows = end.saturating_sub(self.files[&id].allocated);
        self.take_space(grows)?;
        let file = self.files.get_mut(&id).expect("names lead to files");
        file.allocated += grows;
        file.length = file.length.max(end);
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, within) = ((at / PAGE) as u32, at % PAGE);
            let (piece, tail) = rest.split_at(rest.len().min(PAGE - within));
            file.write_page(number, within, piece);
            at += piece.len();
            rest = tail;
        }
        Ok(())
    }

    /// Begins a flush of what is in the cache of `name`. Errors: `NotFound`.
    pub fn begin_sync(&mut self, name: &str) -> Result<Sync, DiskError> {
        let id = *self.names.get(name).ok_or(DiskError::NotFound)?;
        let file = &self.files[&id];
        let pages = file.dirty.keys().map(|number| (*number, file.pages.get(number).cloned())).collect();
        let length = file.length;
        self.counts.syncs += 1;
        let aim = self.flushes.next(self.now_ns);
        let fails = self.take_strike(aim, true).is_some() || self.fate.chance(self.faults.sync_fails);
        if fails {
            self.struck.push((aim, Strike::Fail));
        }
        let takes_ns = self.draw_takes_ns(aim);
        Ok(Sync { file: id, pages, length, takes_ns, fails })
    }

    fn take_strike(&mut self, flush: Aim, fails: bool) -> Option<Strike> {
        let is_meant =
            |(aim, strike): &(Aim, Strike)| aim.is_met(flush) && (*strike == Strike::Fail) == fails;
        let place = self.strikes.iter().position(is_meant)?;
        Some(self.strikes.remove(place).1)
    }

    /// How long the next flush takes.
    pub fn draw_sync_ns(&mut self) -> u64 {
        let aim = self.flushes.next(self.now_ns);
        self.draw_takes_ns(aim)
    }

    fn draw_takes_ns(&mut self, aim: Aim) -> u64 {
        let (low, high) = self.faults.sync_ns;
        let takes_ns = self.rng.between(low, high);
        let stall_ns = match self.take_strike(aim, false) {
            Some(Strike::Stall(stall_ns)) => stall_ns,
            _ if self.fate.chance(self.faults.stall) => {
                self.fate.between(self.faults.stall_ns.0, self.faults.stall_ns.1)
            }
            _ => return takes_ns,
        };
        self.counts.stalls += 1;
        self.struck.push((aim, Strike::Stall(stall_ns)));
        takes_ns + stall_ns
    }

    /// Ends a flush: what it covered is on the medium.
    /// Errors: `Io`, and of what it covered only what chance wrote is there, in the cache as well.
    pub fn end_sync(&mut self, sync: Sync) -> Result<(), DiskError> {
        // A file may have been removed meanwhile.
        let Some(file) = self.files.get_mut(&sync.file) else { return Ok(()) };
        if sync.fails {
            self.counts.syncs_failed += 1;
            let loss = Loss::draw(&mut self.harm, &self.faults);
            file.lose(&mut self.harm, &loss, self.faults.torn, &mut self.counts);
            return Err(DiskError::Io);
        }
        if self.faults.ignores_flush {
            return Ok(());
        }
        for (number, page) in sync.pages {
            if file.pages.get(&number) == page.as_ref() {
                file.dirty.remove(&number);
            } else {
                file.dirty.insert(number, page);
            }
        }
        file.durable_length = file.durable_length.max(sync.length);
        Ok(())
    }

    /// A flush that is over at once, for those who keep no time.
    pub fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        let sync = self.begin_sync(name)?;
        self.end_sync(sync)
    }

    /// Gives a file another name; one that had this name is gone. Errors: `NotFound`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let file = self.names.remove(from).ok_or(DiskError::NotFound)?;
        self.names.insert(to.to_owned(), file);
        self.pending.push(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
        self.forget_unnamed();
        Ok(())
    }

    /// Removes a name. Errors: `NotFound`.
    pub fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.names.remove(name).ok_or(DiskError::NotFound)?;
        self.pending.push(NameChange::Unbind { name: name.to_owned() });
        self.forget_unnamed();
        Ok(())
    }

    /// Flushes a directory: its names are on the medium.
    pub fn sync_dir(&mut self, directory: &str) {
        if self.faults.ignores_directory_flush {
            return;
        }
        let (flushed, kept) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change: &NameChange| change.directory() == directory);
        self.pending = kept;
        Vec::into_iter(flushed).for_each(|change| change.apply(&mut self.durable_names));
        self.forget_unnamed();
    }

    /// Whether a power loss could lose something.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty() || self.files.values().any(|file| !file.dirty.is_empty())
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Bytes taken of the capacity.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The machine lost power: the medium is what is left, and of the cache what chance kept.
    pub fn lose_power(&mut self) {
        self.counts.power_losses += 1;
        let loss = Loss::draw(&mut self.harm, &self.faults);
        let pending = std::mem::take(&mut self.pending);
        // Where directory changes are journalled, a prefix of them survives.
        let prefix = match loss {
            Loss::Everything => 0,
            Loss::Nothing => pending.len(),
            _ => self.harm.below(pending.len() as u64 + 1) as usize,
        };
        let picks = self.faults.reorders_names && !matches!(loss, Loss::Everything | Loss::Nothing);
        for (place, change) in pending.into_iter().enumerate() {
            let is_kept = if picks { self.harm.chance(0.5) } else { place < prefix };
            match is_kept {
                true => change.apply(&mut self.durable_names),
                false => self.counts.names_lost += 1,
            }
        }
        self.names = self.durable_names.clone();
        for file in self.files.values_mut() {
            file.lose(&mut self.harm, &loss, self.faults.torn, &mut self.counts);
        }
        self.forget_unnamed();
    }

    /// Bit rot: flips one bit of what the medium and the cache have at `offset`; false if nothing is there.
    pub fn flip_bit(&mut self, name: &str, offset: u64, bit: u8) -> bool {
        let Some(id) = self.names.get(name) else { return false };
        let file = self.files.get_mut(id).expect("names lead to files");
        if offset >= file.length.min(file.durable_length) {
            return false;
        }
        let (number, within) = ((offset / PAGE as u64) as u32, offset as usize % PAGE);
        let page = file.pages.entry(number).or_insert_with(zero_page);
        page[within] ^= 1 << bit;
        if let Some(durable) = file.dirty.get_mut(&number) {
            durable.get_or_insert_with(zero_page)[within] ^= 1 << bit;
        }
        self.counts.bits_flipped += 1;
        true
    }

    fn take_space(&mut self, bytes: u64) -> Result<(), DiskError> {
        if self.used_bytes + bytes > self.faults.capacity_bytes {
            self.counts.refused_for_space += 1;
            return Err(DiskError::NoSpace);
        }
        self.used_bytes += bytes;
        Ok(())
    }

    /// Drops files that no name leads to, in the cache, on the medium or in what chance may yet keep.
    fn forget_unnamed(&mut self) {
        let mut named: Vec<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        named.extend(self.pending.iter().filter_map(|change| match change {
            NameChange::Bind { file, .. } | NameChange::Rename { file, .. } => Some(*file),
            NameChange::Unbind { .. } => None,
        }));
        named.sort_unstable();
        let mut freed = 0;
        self.files.retain(|id, file| {
            let is_named = named.binary_search(id).is_ok();
            freed += if is_named { 0 } else { file.allocated };
            is_named
        });
        self.used_bytes -= freed;
    }
}

/// Which unsynced sectors a power loss keeps.
enum Loss {
    Everything,
    Nothing,
    /// Sectors from a point on are lost.
    Tail,
    Random,
    /// Sectors before a point are lost.
    Head,
}

impl Loss {
    fn draw(rng: &mut Rng, faults: &DiskFaults) -> Loss {
        match rng.weighted(&faults.loss) {
            0 => Loss::Everything,
            1 => Loss::Nothing,
            2 => Loss::Tail,
            3 => Loss::Random,
            _ => Loss::Head,
        }
    }
}

impl File {
    fn write_page(&mut self, number: u32, within: usize, bytes: &[u8]) {
        let is_zero = bytes.iter().all(|byte| *byte == 0);
        if is_zero && !self.pages.contains_key(&number) {
            return;
        }
        let before = self.pages.get(&number).cloned();
        self.dirty.entry(number).or_insert(before);
        let page = self.pages.entry(number).or_insert_with(zero_page);
        page[within..within + bytes.len()].copy_from_slice(bytes);
    }

    /// What is left of the cache after a power loss becomes both medium and cache.
    fn lose(&mut self, rng: &mut Rng, loss: &Loss, torn: f64, counts: &mut DiskCounts) {
        let dirty = std::mem::take(&mut self.dirty);
        let sectors = dirty.len() * (PAGE / SECTOR);
        let cut = rng.below(sectors as u64 + 1) as usize;
        let mut position = 0;
        for (number, durable) in dirty {
            let old = durable.unwrap_or_else(zero_page);
            let page = self.pages.get_mut(&number).expect("a dirty page is in the cache");
            for start in (0..PAGE).step_by(SECTOR) {
                let keeps = match loss {
                    Loss::Everything => false,
                    Loss::Nothing => true,
                    Loss::Tail => position < cut,
                    Loss::Head => position >= cut,
                    Loss::Random => rng.chance(0.5),
                };
                position += 1;
                let sector = start..start + SECTOR;
                if page[sector.clone()] == old[sector.clone()] {
                    continue;
                }
                if !matches!(loss, Loss::Nothing) && rng.chance(torn) {
                    counts.sectors_torn += 1;
                    let tear = start + rng.below(SECTOR as u64) as usize;
                    page[tear..start + SECTOR].copy_from_slice(&old[tear..start + SECTOR]);
                } else if !keeps {
                    counts.sectors_lost += 1;
                    page[sector.clone()].copy_from_slice(&old[sector]);
                }
            }
        }
        let kept_length = if rng.chance(0.5) { self.length } else { self.durable_length };
        self.cut(kept_length);
        self.durable_length = kept_length;
    }

    /// Makes the file `length` long; what is cut off reads as zero if the file grows again.
    fn cut(&mut self, length: u64) {
        self.length = length;
        let (last, within) = ((length / PAGE as u64) as u32, length as usize % PAGE);
        self.pages.retain(|number, _| *number <= last);
        if let Some(page) = self.pages.get_mut(&last) {
            page[within..].fill(0);
        }
    }
}

impl NameChange {
    fn directory(&self) -> &str {
        match self {
            NameChange::Bind { name, .. } | NameChange::Unbind { name } => parent(name),
            NameChange::Rename { to, .. } => parent(to),
        }
    }

    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Bind { name, file } => {
                names.insert(name, file);
            }
            NameChange::Unbind { name } => {
                names.remove(&name);
            }
            NameChange::Rename { from, to, file } => {
                if names.get(&from) == Some(&file) {
                    names.remove(&from);
                }
                names.insert(to, file);
            }
        }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn zero_page() -> Page {
    Box::new([0; PAGE])
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
