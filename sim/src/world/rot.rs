//! Bits that a script lets flip in a part of a directory.

use holdfast_core::checkpoint::files::DIR as CHECKPOINTS;
use holdfast_core::wal::segment::DIR as LOG;

use super::World;
use crate::plan::step::Part;

/// What counts as the end of a file.
const END_BYTES: u64 = 64;

impl World {
    /// A bit flips in this part, where something is written. Errors: nothing is there that could rot.
    pub(super) fn rot(&mut self, m: usize, part: Part) -> Result<(), String> {
        let mut draws = self.draws_of("rot", m as u64, self.now_ns);
        let directory = if part == Part::Checkpoint { CHECKPOINTS } else { LOG };
        let machine = &self.machines[m];
        let (append, from) = &machine.last_append;
        let written = |name: &String| {
            let whole = machine.disk.length(name).unwrap_or(0);
            let length = if append == name { whole.min(*from) } else { whole };
            machine.disk.last_set_byte(name, length)
        };
        let files: Vec<(String, u64)> = machine
            .disk
            .list(directory)
            .into_iter()
            .filter(|name| !name.ends_with(".spare") && !name.ends_with(".tmp"))
            .map(|name| (written(&name), name))
            .filter(|(last, _)| *last > 0)
            .map(|(last, name)| (name, last))
            .collect();
        let Some((newest, last)) = files.last().cloned() else {
            return Err(format!("m{m} has written nothing in {directory}"));
        };
        let (file, offset) = match part {
            Part::Log => {
                let (file, last) = draws.pick(&files).clone();
                (file, draws.below(last + 1))
            }
            Part::LogEnd => (newest, last.saturating_sub(draws.below(END_BYTES))),
            Part::Checkpoint => (newest, draws.below(last + 1)),
        };
        self.flip_bit(m, &file, offset, draws.below(8) as u8);
        Ok(())
    }
}
