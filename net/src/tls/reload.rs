//! What was made of files, made again when they change.
//!
//! Asked at each handshake: a look at a file's times costs about a microsecond, a handshake hundreds. A file
//! that is written in place, or a certificate whose key comes a moment later, is broken until it is whole; what
//! was read before stays in force meanwhile.

use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

/// Shape: of each file device, number, length, and the seconds and nanoseconds of both its changes.
type Stamp = Vec<Option<(u64, u64, u64, [i64; 4])>>;

#[derive(Debug)]
pub struct Reloaded<T> {
    files: Vec<String>,
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    value: Option<T>,
    /// Of the files when they were last tried.
    stamp: Stamp,
}

impl<T: Clone> Reloaded<T> {
    /// Nothing is read yet. Empty names are no files.
    pub fn new(files: &[&str]) -> Reloaded<T> {
        let files = files.iter().filter(|file| !file.is_empty()).map(|file| (*file).to_owned()).collect();
        Reloaded { files, held: Mutex::new(Held { value: None, stamp: Vec::new() }) }
    }

    /// What `load` makes of the files as they are; of broken ones what it made before.
    /// Errors: they are broken and there is nothing from before.
    pub fn current(&self, load: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at before they are read: what changes meanwhile is seen the next time.
        let stamp = self.stamp();
        let is_first = held.value.is_none();
        if let Some(value) = held.value.as_ref().filter(|_| held.stamp == stamp) {
            return Ok(value.clone());
        }
        held.stamp = stamp;
        match load() {
            Ok(value) => {
                if !is_first {
                    info!(files = self.files.join(","), "certificate files have changed and are in force");
                }
                held.value = Some(value.clone());
                Ok(value)
            }
            Err(why) if is_first => Err(why),
            Err(why) => {
                warn!(
                    files = self.files.join(","),
                    error = why,
                    "certificate files have changed and cannot be used; what was read before stays in force"
                );
                held.value.clone().ok_or(why)
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let of = |file: &String| {
            let of = std::fs::metadata(file).ok()?;
            let times = [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()];
            Some((of.dev(), of.ino(), of.len(), times))
        };
        self.files.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn files_are_read_when_they_change_and_only_then() {
        let path = std::env::temp_dir().join(format!("holdfast-reload-{}", std::process::id()));
        let file = path.to_string_lossy().into_owned();
        let reads = Cell::new(0);
        let load = || {
            reads.set(reads.get() + 1);
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            if text.starts_with("bad") { Err("bad".to_owned()) } else { Ok(text) }
        };
        let reloaded = Reloaded::new(&[&file, ""]);
        assert!(reloaded.current(load).is_err(), "there is no file yet");
        std::fs::write(&path, "one").expect("a writable directory");
        for _ in 0..3 {
            assert_eq!(reloaded.current(load), Ok("one".to_owned()));
        }
        assert_eq!(reads.get(), 2);
        for (text, expected) in [("three", "three"), ("bad file", "three"), ("seven", "seven")] {
            std::fs::write(&path, text).expect("a writable directory");
            assert_eq!(reloaded.current(load), Ok(expected.to_owned()), "{text}");
            assert_eq!(reloaded.current(load), Ok(expected.to_owned()), "{text}");
        }
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(reloaded.current(load), Ok("seven".to_owned()));
        assert_eq!(reads.get(), 6);
    }
}
