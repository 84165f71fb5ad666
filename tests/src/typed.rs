//! Commands as they are typed, with what they print and how they exit: files that are run and compared.
//!
//! Shape of a file: `# ` comments, then for each command
//! ```text
//! $ [until 2] watch foo --rev 2      options in brackets, words split at blanks, '' quotes
//! < a line of standard input
//! | a line of standard output        `|\ ` if its end of line is missing, or all of it in escapes
//! ! a line of standard error
//! exit 0
//! ```
//! Options: `until N` kills the command when it has printed N lines; `shape` keeps only the shape of what is
//! printed, where numbers are the moment's; `sorted` sorts what stands between commas, quotes, brackets and line ends,
//! where the order hangs on ids; `env NAME=VALUE`.
//!
//! Left out or named by what they are: the server's port, leases and members that come, how long something
//! took, lines of logs, what stty says of a pipe, and help behind a usage error. `{lease1}` and `{member1}`
//! may be used in commands.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a command may take, or not print what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// One command of a file.
#[derive(Debug, Default)]
struct Typed {
    /// As written, with its options.
    line: String,
    input: Vec<String>,
    /// What is expected, as written.
    expected: Vec<String>,
}

/// A program and the server it is to talk to.
pub struct Shell {
    pub program: PathBuf,
    /// What it believes to be called.
    pub port: u16,
    /// Where `{tmp}` is.
    pub scratch: PathBuf,
}

/// What is known of a run so far.
struct Names {
    port: String,
    scratch: String,
    /// Name, hexadecimal and decimal of each id, in the order in which they came.
    ids: Vec<(String, String, String)>,
}

/// Runs a file's commands; gives the file as it would have to be.
///
/// Panics if a command cannot be run.
pub fn run(shell: &Shell, text: &str) -> String {
    let (head, commands) = parse(text);
    let mut names = Names {
        port: shell.port.to_string(),
        scratch: shell.scratch.to_string_lossy().into_owned(),
        ids: Vec::new(),
    };
    let mut out = head;
    for typed in commands {
        out.push_str(&format!("$ {}\n", typed.line));
        for line in &typed.input {
            out.push_str(format!("< {line}").trim_end());
            out.push('\n');
        }
        out.push_str(&run_one(shell, &typed, &mut names));
    }
    out
}

/// The first difference between two runs of a file, with the command it belongs to.
pub fn difference(expected: &str, found: &str) -> Option<String> {
    let ((_, expected), (_, found)) = (parse(expected), parse(found));
    let pairs = expected.iter().zip(&found).find(|(a, b)| a.expected != b.expected);
    pairs.map(|(expected, found)| {
        let (was, is) = (expected.expected.join("\n"), found.expected.join("\n"));
        format!("$ {}\nexpected:\n{was}\nfound:\n{is}\n", expected.line)
    })
}

fn parse(text: &str) -> (String, Vec<Typed>) {
    let (mut head, mut commands) = (String::new(), Vec::<Typed>::new());
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(line), _) => commands.push(Typed { line: line.to_owned(), ..Typed::default() }),
            (None, None) => head.push_str(&format!("{line}\n")),
            (None, Some(typed)) => match line.strip_prefix('<') {
                Some(input) => typed.input.push(input.strip_prefix(' ').unwrap_or(input).to_owned()),
                None => typed.expected.push(line.to_owned()),
            },
        }
    }
    (head, commands)
}

/// What a command line asks of us besides.
#[derive(Default)]
struct Options {
    until: Option<usize>,
    shape: bool,
    sorted: bool,
    environment: Vec<(String, String)>,
}

fn options(line: &str) -> (Options, &str) {
    let (mut options, mut rest) = (Options::default(), line);
    while let Some((option, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        match option.split_once(' ') {
            Some(("until", count)) => options.until = Some(count.parse().expect("a count")),
            Some(("env", pair)) => {
                let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                options.environment.push((name.to_owned(), value.to_owned()));
            }
            None if option == "shape" => options.shape = true,
            None if option == "sorted" => options.sorted = true,
            _ => panic!("no such option: {option}"),
        }
        rest = after;
    }
    (options, rest)
}

/// Words at blanks, those in '' whole.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').expect("a closing quote"),
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

fn run_one(shell: &Shell, typed: &Typed, names: &mut Names) -> String {
    let (options, line) = options(&typed.line);
    let mut line = line.replace("{tmp}", &names.scratch);
    for (name, hex, _) in &names.ids {
        line = line.replace(&format!("{{{name}}}"), hex);
    }
    let mut command = Command::new(&shell.program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCDCTL")) {
        command.env_remove(name);
    }
    if !line.contains("--endpoints") {
        command.args(["--endpoints", &format!("127.0.0.1:{}", shell.port)]);
    }
    command.args(words(&line)).envs(options.environment.iter().cloned());
    command.current_dir(&shell.scratch);
    let input: String = typed.input.iter().map(|line| format!("{line}\n")).collect();
    let (exit, stdout, stderr) = carry_out(command, &input, options.until);
    names.learn(&String::from_utf8_lossy(&stdout));
    let mut out = String::new();
    let stdout = names.shown(&stdout);
    let stdout = if options.shape { shape(&stdout) } else { stdout };
    let stdout = if options.sorted { sorted(&stdout) } else { stdout };
    push_lines(&mut out, '|', &stdout);
    let stderr = names.shown(&stderr);
    push_lines(&mut out, '!', &without_noise(&stderr));
    out.push_str(&format!("exit {exit}\n"));
    out
}

/// Without lines of logs, what stty says, and help.
fn without_noise(stderr: &str) -> String {
    let (mut out, mut in_help) = (String::new(), false);
    for line in stderr.split_inclusive('\n') {
        in_help = (in_help || line == "Usage:\n") && !line.starts_with("Error:");
        if !in_help && !line.starts_with("{\"level\"") && !line.starts_with("stty:") {
            out.push_str(line);
        }
    }
    out
}

fn push_lines(out: &mut String, mark: char, text: &str) {
    for line in text.split_inclusive('\n') {
        match line.strip_suffix('\n') {
            Some("") => out.push_str(&format!("{mark}\n")),
            Some(line) => out.push_str(&format!("{mark} {line}\n")),
            None => out.push_str(&format!("{mark}\\ {line}\n")),
        }
    }
}

/// Exit status, standard output, standard error.
fn carry_out(mut command: Command, input: &str, until: Option<usize>) -> (String, Vec<u8>, Vec<u8>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("piped");
    // A command that refuses its flags reads nothing.
    stdin.write_all(input.as_bytes()).ok();
    // What is typed into a command that is killed in the end stays open.
    let stdin = until.map(|_| stdin);
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let (mut out, started) = (Vec::new(), Instant::now());
    let has_all =
        |out: &[u8]| until.is_some_and(|count| out.iter().filter(|byte| **byte == b'\n').count() >= count);
    let (mut killed, mut late) = (false, false);
    loop {
        match stdout.recv_timeout(Duration::from_millis(100)) {
            Ok(chunk) => out.extend(chunk),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        late |= !killed && started.elapsed() > PATIENCE;
        if !killed && (late || has_all(&out)) {
            killed = true;
            child.kill().expect("the process is ours");
        }
    }
    drop(stdin);
    let status = child.wait().expect("the process is ours");
    let exit = match status.code() {
        _ if late => "never: it had to be killed".to_owned(),
        Some(code) => code.to_string(),
        None => "killed".to_owned(),
    };
    (exit, out, stderr.iter().flatten().collect())
}

/// Reads to the end in a thread of its own.
fn gather(source: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let mut source = source.expect("piped");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut chunk) {
            if sender.send(chunk[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Names {
    /// Leases that a command says it has granted, members that it has added.
    fn learn(&mut self, stdout: &str) {
        let between = |from: &str, to: &str| Some(stdout.split_once(from)?.1.split_once(to)?.0.to_owned());
        let hex = |text: String| i64::from_str_radix(&text, 16).ok();
        let decimal = |text: String| text.parse::<i64>().ok();
        let lease = between("lease ", " granted")
            .and_then(hex)
            .or(between("\"ID\":", ",\"TTL\"").and_then(decimal))
            .or(between("\"ID\" : ", "\n\"TTL\"").and_then(decimal));
        if let Some(id) = lease {
            self.name("lease", format!("{id:016x}"), id.to_string());
        }
        let member = between("Member ", " added").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        if let Some(id) = member {
            self.name("member", format!("{id:x}"), id.to_string());
        }
    }

    fn name(&mut self, kind: &str, hex: String, decimal: String) {
        if self.ids.iter().all(|(_, known, _)| *known != hex) {
            let count = self.ids.iter().filter(|(name, _, _)| name.starts_with(kind)).count();
            self.ids.push((format!("{kind}{}", count + 1), hex, decimal));
        }
    }

    /// With what is the moment's called by its name.
    fn shown(&self, bytes: &[u8]) -> String {
        let is_text = |text: &&str| !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t'));
        let mut text = match std::str::from_utf8(bytes).ok().filter(is_text) {
            Some(text) => text.to_owned(),
            None => bytes.escape_ascii().to_string(),
        };
        for (name, hex, decimal) in &self.ids {
            // Some sentences pad an id to sixteen places, and one in sixteen ids has fewer.
            text = text.replace(&format!("{hex:>16}"), &format!("{{{name}}}"));
            text = text.replace(hex, &format!("{{{name}}}"));
            text = text.replace(decimal, &format!("{{{name} in decimal}}"));
        }
        // With its colon, for long ids have the port's digits among theirs.
        text = text.replace(&format!(":{}", self.port), ":{port}").replace(&self.scratch, "{tmp}");
        for (from, to) in [("took = ", "\n"), ("took ", "\n"), ("\"took\":\"", "\""), ("\"Took\" : ", "\n")] {
            text = blank(&text, from, to, "{time}");
        }
        blank_sessions(&text)
    }
}

/// Puts `name` in place of what stands between two texts.
fn blank(text: &str, from: &str, to: &str, name: &str) -> String {
    let mut parts = text.split(from);
    let mut out = parts.next().expect("a split has a first part").to_owned();
    for part in parts {
        let end = part.find(to).unwrap_or(part.len());
        out.push_str(&format!("{from}{name}{}", &part[end..]));
    }
    out
}

/// Keys of locks and elections end with their session's lease.
fn blank_sessions(text: &str) -> String {
    let mut parts = text.split('/');
    let mut out = parts.next().expect("a split has a first part").to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        let is_lease = (13..=16).contains(&digits);
        out.push('/');
        out.push_str(if is_lease { "{session}" } else { &part[..digits] });
        out.push_str(&part[digits..]);
    }
    out
}

/// Runs of digits, blanks and rules each become one, and all short times milliseconds.
fn shape(text: &str) -> String {
    let text = text.replace("µs", "ms");
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        let repeats = matches!(c, '0' | ' ' | '─') && out.ends_with(c);
        if !repeats {
            out.push(c);
        }
    }
    out
}

/// The parts between commas, quotes, brackets and line ends, a line each.
fn sorted(text: &str) -> String {
    let mut parts: Vec<&str> = text.split(|c| ",\"\n{}[]".contains(c)).map(str::trim).collect();
    parts.retain(|part| !part.is_empty() && *part != ":");
    parts.sort_unstable();
    parts.iter().map(|part| format!("{part}\n")).collect()
}

/// All files of a directory, by name.
pub fn files(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn an_id_with_leading_zeros_has_its_name_as_any_other() {
        let mut names = Names { port: "37476".to_owned(), scratch: "/tmp/s".to_owned(), ids: Vec::new() };
        names.learn("Member    f00df00df00df added to cluster a2624dd56e655037\n");
        let shown = |text: &str| names.shown(text.as_bytes());
        assert_eq!(shown("Member    f00df00df00df removed"), "Member {member1} removed");
        assert_eq!(shown("f00df00df00df, started"), "{member1}, started");
        assert_eq!(
            shown("11701000360937476151 at 127.0.0.1:37476"),
            "11701000360937476151 at 127.0.0.1:{port}"
        );
    }
}
