//! Memory that was freed goes back to the system, also while nothing happens.
//!
//! mimalloc gives back what has been free for a second, but looks only when something is allocated or freed:
//! a server that has just compacted and is idle would keep it all. After 1M keys of 256 bytes were
//! overwritten three times and compacted, that was 1.8 times what the keys take.

use std::time::Duration;

/// Time between two looks; mimalloc's own delay is a second.
const EVERY: Duration = Duration::from_secs(1);

/// Looks from now on, on a thread of its own: unmapping takes a while, and holds up nobody there.
pub fn give_back() {
    let look = || {
        loop {
            std::thread::sleep(EVERY);
            #[expect(unsafe_code, reason = "a C function without arguments that matter or conditions")]
            // SAFETY: may be called at any time on any thread; `false` takes only what is free for long enough.
            unsafe {
                libmimalloc_sys::mi_collect(false);
            }
        }
    };
    let spawned = std::thread::Builder::new().name("memory".into()).spawn(look);
    if let Err(error) = spawned {
        tracing::warn!(error = error.to_string(), "freed memory will be given back late");
    }
}
