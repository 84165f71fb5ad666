//! What the system says, in Go's words.

use std::ffi::OsStr;
use std::io;

use super::quote::quoted;

/// Without the number that Rust adds, and not as the start of a sentence.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().expect("a split has a first part");
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// Why a program could not be started: a name is looked for on the PATH, a path is not.
pub fn start_error(program: &OsStr, error: &io::Error) -> String {
    let bytes = program.as_encoded_bytes();
    if bytes.contains(&b'/') {
        return format!("fork/exec {}: {}", program.to_string_lossy(), error_text(error));
    }
    let why = match error.kind() {
        io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
        _ => error_text(error),
    };
    format!("exec: {}: {why}", quoted(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_go_words_them() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(error_text(&error), "no such file or directory");
        let text = "fork/exec /x/y: no such file or directory";
        assert_eq!(start_error(OsStr::new("/x/y"), &error), text);
        let text = "exec: \"y\": executable file not found in $PATH";
        assert_eq!(start_error(OsStr::new("y"), &error), text);
    }
}
