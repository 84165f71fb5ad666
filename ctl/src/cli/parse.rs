//! Flags read by clap, refused in pflag's words.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::find::Path;
use super::spec::{Flag, Kind};
use crate::go::{duration, number};

/// Under which clap keeps the words that are no flags.
pub const WORDS: &str = "words";

/// Reads the flags of the command at `path`.
///
/// Errors: pflag's text for what is wrong with the first one that is.
pub fn parse(path: &Path, words: &[OsString]) -> Result<ArgMatches, String> {
    command(path).try_get_matches_from(words).map_err(|error| refusal(&error, path, words))
}

/// The command with all flags that it takes, without a name before them.
fn command(path: &Path) -> Command {
    let flags = path.specs.iter().flat_map(|spec| spec.flags);
    let words = Arg::new(WORDS).num_args(0..).value_parser(OsStringValueParser::new());
    Command::new("command")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(Arg::new("help").long("help").short('h').action(ArgAction::SetTrue))
        .args(flags.map(argument))
        .arg(words)
}

/// The same flag as clap has it.
pub fn argument(flag: &Flag) -> Arg {
    let mut arg = Arg::new(flag.name).long(flag.name).help(flag.about).value_parser(parser(flag.kind));
    if let Some(short) = flag.short {
        arg = arg.short(short);
    }
    match flag.kind {
        Kind::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Texts => arg.num_args(1).allow_hyphen_values(true).action(ArgAction::Append),
        _ => arg.num_args(1).allow_hyphen_values(true),
    }
}

fn parser(kind: Kind) -> ValueParser {
    match kind {
        Kind::Bool => ValueParser::from(|text: &str| number::parse_bool(text)),
        Kind::Duration => ValueParser::from(|text: &str| duration::parse(text)),
        Kind::Int => ValueParser::from(|text: &str| number::parse_int(text, 0)),
        Kind::Uint => ValueParser::from(|text: &str| number::parse_uint(text, 0)),
        Kind::Text | Kind::Texts => ValueParser::from(OsStringValueParser::new()),
    }
}

/// Source: pflag 1.0.10 errors.go.
fn refusal(error: &clap::Error, path: &Path, words: &[OsString]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    // `--limit <limit>`, `-w, --write-out <write-out>`, or the word itself if no flag is so called.
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let flag = path.specs.iter().flat_map(|spec| spec.flags).find(|flag| {
        argument.split([' ', ',', '=', '[']).any(|part| part.strip_prefix("--") == Some(flag.name))
    });
    match (error.kind(), flag) {
        (ErrorKind::UnknownArgument, _) => unknown(&argument, words),
        (ErrorKind::InvalidValue, Some(flag)) if value.is_empty() => missing(flag, words),
        (ErrorKind::ValueValidation, Some(flag)) => {
            let why = std::error::Error::source(error).map_or(String::new(), ToString::to_string);
            let name = match flag.short {
                Some(short) => format!("-{short}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            format!(
                "invalid argument {} for \"{name}\" flag: {why}",
                crate::go::quote::quoted(value.as_bytes())
            )
        }
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

fn unknown(argument: &str, words: &[OsString]) -> String {
    if argument.starts_with("--") {
        let name = argument.split('=').next().expect("a split has a first part");
        return format!("unknown flag: {name}");
    }
    let letter = argument.trim_start_matches('-').chars().next().unwrap_or('-');
    let is_cluster = |word: &&OsString| {
        let word = word.to_string_lossy();
        word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
    };
    let word = words.iter().find(is_cluster).map_or(argument.into(), |word| word.to_string_lossy());
    format!("unknown shorthand flag: {letter:?} in {word}")
}

fn missing(flag: &Flag, words: &[OsString]) -> String {
    let last = words.last().map_or("".into(), |word| word.to_string_lossy());
    match flag.short {
        Some(short) if !last.starts_with("--") && last.ends_with(short) => {
            format!("flag needs an argument: {short:?} in {last}")
        }
        _ => format!("flag needs an argument: --{}", flag.name),
    }
}

/// The bytes of a word; etcd's keys need not be UTF-8.
pub fn bytes(word: &OsStr) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    word.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{find, table};

    fn refused(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let found = find::find(&table::ROOT, &words);
        parse(&found.path, &found.rest).expect_err("refused")
    }

    #[test]
    fn wrong_flags_are_refused_in_the_words_of_pflag() {
        let invalid = "strconv.ParseInt: parsing \"x\": invalid syntax";
        for (line, text) in [
            ("get --limit=x foo", format!("invalid argument \"x\" for \"--limit\" flag: {invalid}")),
            ("get --foo", "unknown flag: --foo".to_owned()),
            ("get --foo=1 k", "unknown flag: --foo".to_owned()),
            ("get -x", "unknown shorthand flag: 'x' in -x".to_owned()),
            ("put k -value", "unknown shorthand flag: 'v' in -value".to_owned()),
            ("get --limit", "flag needs an argument: --limit".to_owned()),
            ("get -w", "flag needs an argument: 'w' in -w".to_owned()),
            (
                "get --dial-timeout=x foo",
                "invalid argument \"x\" for \"--dial-timeout\" flag: time: invalid duration \"x\"".to_owned(),
            ),
            (
                "get --prefix=maybe foo",
                "invalid argument \"maybe\" for \"--prefix\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
                    .to_owned(),
            ),
        ] {
            assert_eq!(refused(line), text, "{line}");
        }
    }

    #[test]
    fn the_last_of_a_flag_counts_and_values_may_begin_with_a_dash() {
        let words: Vec<OsString> =
            ["--rev", "-1", "a", "--limit=1", "--limit", "2", "--", "-b"].map(OsString::from).to_vec();
        let found = find::find(&table::ROOT, &["get".into()]);
        let matches = parse(&found.path, &words).expect("all is well");
        assert_eq!(matches.get_one::<i64>("rev"), Some(&-1));
        assert_eq!(matches.get_one::<i64>("limit"), Some(&2));
        let rest: Vec<_> = matches.get_many::<OsString>(WORDS).expect("words").collect();
        assert_eq!(rest, ["a", "-b"]);
    }
}
