//! The terminal: passwords typed unseen, and whether anybody watches.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Prints `prompt` and reads a line without showing it. From anything but a terminal, just reads a line.
pub fn ask(prompt: &str) -> io::Result<String> {
    let mut stdout = io::stdout();
    stdout.write_all(prompt.as_bytes())?;
    stdout.flush()?;
    let stdin = io::stdin();
    let line = if stdin.is_terminal() {
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        let line = read_line();
        tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
        line
    } else {
        read_line()
    };
    stdout.write_all(b"\n")?;
    line
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Progress is shown only where a person can see it.
pub fn shows_progress() -> bool {
    io::stderr().is_terminal()
}

/// Draws how far something is, on one line of standard error; ends the line when all is done.
pub fn progress(done: u64, all: u64) {
    const WIDTH: u64 = 50;
    let filled = (done * WIDTH).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    let bar: String = (0..WIDTH).map(|at| if at < filled { '=' } else { ' ' }).collect();
    let percent = (done * 100).checked_div(all).unwrap_or(100).min(100);
    let end = if done >= all { "\n" } else { "" };
    // A bar that cannot be drawn is no reason to stop.
    write!(io::stderr(), "\r{done} / {all} [{bar}] {percent}%{end}").ok();
}
