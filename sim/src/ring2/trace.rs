//! What happens in a run, line by line, for who replays one. A run has a thread of its own, and so has its trace.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From here on this thread's run is written down.
pub fn listen() {
    LINES.with_borrow_mut(|lines| *lines = Some(Vec::new()));
}

/// What was written down.
pub fn take() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

/// Writes down a line if anybody listens.
pub fn tell(line: impl FnOnce() -> String) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line());
        }
    });
}
