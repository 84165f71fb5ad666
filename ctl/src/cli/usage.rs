//! Help and usage, laid out as cobra does.
//!
//! Source: cobra 1.10.2 command.go (defaultUsageFunc), pflag 1.0.10 flag.go (FlagUsages).

use super::find::Path;
use super::spec::{Flag, Group, Kind, Spec};

/// Where to read of the flags that all commands have.
const OPTIONS_HINT: &str = "for a list of global command-line options (applies to all commands).";

/// What `--help` prints.
pub fn help(program: &str, path: &Path) -> String {
    let spec = path.spec();
    let about = if spec.long.is_empty() { spec.about } else { spec.long };
    let help = format!("{}\n\n{}", about.trim_end(), usage(program, path));
    match path.root().commands.iter().any(|command| command.name() == "options") {
        true => format!("{help}Use \"{program} options\" {OPTIONS_HINT}\n"),
        false => help,
    }
}

/// What a usage error prints behind its text.
pub fn usage(program: &str, path: &Path) -> String {
    let (spec, words) = (path.spec(), path.words(program));
    let mut out = String::from("Usage:\n");
    if spec.run.is_some() {
        let above = &words[..words.len() - spec.name().len()];
        let flags = if spec.usage.starts_with("completion ") { "" } else { " [flags]" };
        out.push_str(&format!("  {above}{}{flags}\n", spec.usage));
    }
    if !spec.commands.is_empty() {
        out.push_str(&format!("  {words} [command]\n"));
    }
    if !spec.example.is_empty() {
        out.push_str(&format!("\nExamples:\n{}\n", spec.example));
    }
    push_commands(&mut out, spec);
    // What all commands have is told by `options`.
    if path.specs.len() > 1 {
        out.push_str(&format!("\nFlags:\n{}", flag_lines(spec.name(), &visible_flags(path))));
    }
    if !spec.commands.is_empty() {
        out.push_str(&format!("\nUse \"{words} [command] --help\" for more information about a command.\n"));
    }
    out
}

fn push_commands(out: &mut String, spec: &Spec) {
    let mut commands = spec.commands.to_vec();
    commands.sort_by_key(|command| command.name());
    let line = |command: &&Spec| format!("  {:11} {}\n", command.name(), command.about);
    if commands.iter().all(|command| command.group.is_none()) {
        if !commands.is_empty() {
            let lines: String = commands.iter().copied().map(|command| line(&command)).collect();
            out.push_str(&format!("\nAvailable Commands:\n{lines}"));
        }
        return;
    }
    for group in Group::ALL {
        let of_group = commands.iter().copied().filter(|command| command.group == Some(group));
        let lines: String = of_group.map(|command| line(&command)).collect();
        out.push_str(&format!("\n{}\n{lines}", group.title()));
    }
}

/// The command's own flags and those of the holders above it.
fn visible_flags(path: &Path) -> Vec<&'static Flag> {
    let own = path.spec().flags.iter();
    let persistent = path.specs[1..path.specs.len() - 1].iter().filter(|spec| spec.flags_persist);
    own.chain(persistent.flat_map(|spec| spec.flags)).collect()
}

/// What `options` prints.
pub fn options(root: &Spec) -> String {
    let flags: Vec<&Flag> = root.flags.iter().collect();
    let lines = lines_of(flags.iter().map(|flag| (head(flag), flag.name, tail(flag))).collect());
    format!("The following options can be passed to any command:\n\n{lines}")
}

fn flag_lines(command: &str, flags: &[&Flag]) -> String {
    let mut rows: Vec<_> = flags.iter().map(|flag| (head(flag), flag.name, tail(flag))).collect();
    rows.push(("  -h, --help".to_owned(), "help", format!("help for {command}")));
    lines_of(rows)
}

/// Sorted by name, in two columns.
fn lines_of(mut rows: Vec<(String, &str, String)>) -> String {
    rows.sort_by_key(|(_, name, _)| *name);
    let width = rows.iter().map(|(head, _, _)| head.len()).max().unwrap_or(0);
    rows.iter().map(|(head, _, tail)| format!("{head:width$}   {tail}\n")).collect()
}

fn head(flag: &Flag) -> String {
    let short = flag.short.map_or("      ".to_owned(), |short| format!("  -{short}, "));
    let kind = flag.kind.name();
    let gap = if kind.is_empty() { "" } else { " " };
    format!("{short}--{}{gap}{kind}", flag.name)
}

fn tail(flag: &Flag) -> String {
    let default = match (flag.kind, flag.default) {
        (_, "" | "0" | "false") if flag.kind != Kind::Text || flag.default.is_empty() => String::new(),
        (Kind::Text, default) => format!(" (default \"{default}\")"),
        (Kind::Texts, default) => format!(" (default [{default}])"),
        (_, default) => format!(" (default {default})"),
    };
    format!("{}{default}", flag.about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::find::find;
    use crate::cli::table::ROOT;

    fn help_of(line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().map(std::ffi::OsString::from).collect();
        help("etcdctl", &find(&ROOT, &words).path)
    }

    #[test]
    fn help_is_laid_out_as_by_cobra() {
        assert_eq!(
            help_of("lease keep-alive"),
            "Keeps a lease alive\n\nUsage:\n  etcdctl lease keep-alive [options] <leaseID> [flags]\n\nFlags:\n  \
             -h, --help   help for keep-alive\n      --once   renew once and exit\nUse \"etcdctl options\" for a \
             list of global command-line options (applies to all commands).\n"
        );
        assert_eq!(
            help_of("endpoint"),
            "Questions put to each endpoint by itself\n\nUsage:\n  etcdctl endpoint [command]\n\nAvailable \
             Commands:\n  hashkv      Hash of each endpoint's history of keys\n  health      Whether each endpoint \
             can commit a proposal\n  status      How each endpoint stands\n\nFlags:\n      --cluster   all \
             endpoints that the cluster's members tell of\n  -h, --help      help for endpoint\n\nUse \"etcdctl \
             endpoint [command] --help\" for more information about a command.\nUse \"etcdctl options\" for a list \
             of global command-line options (applies to all commands).\n"
        );
    }

    #[test]
    fn defaults_are_told_where_they_say_something() {
        let put = help_of("put");
        assert!(put.contains(
            "      --lease string   lease (in hexadecimal) that the key is to live with (default \"0\")\n"
        ));
        assert!(help_of("get").contains("      --limit int            most results (0: all)\n"));
        let options = options(&ROOT);
        assert!(options.contains("  -w, --write-out string             output format"));
        assert!(options.contains("(default [127.0.0.1:2379])\n"));
        assert!(options.contains("(default 5s)\n"));
        assert!(!ROOT.commands.iter().any(|command| command.about.is_empty()));
    }
}
