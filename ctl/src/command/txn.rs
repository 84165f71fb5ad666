//! `txn`: compares and requests typed line by line.

use std::io::BufRead;

use holdfast_net::proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Op;

use super::argify::argify;
use super::{del, get, put};
use crate::cli::find::Path;
use crate::cli::given::Given;
use crate::cli::parse;
use crate::cli::spec::{Flag, Group, Spec};
use crate::cli::table::ROOT;
use crate::exit::{Code, Exit, Outcome};
use crate::go::number::parse_int;
use crate::go::quote::{quoted, unquote_prefix};
use crate::output::print_line;

pub static SPEC: Spec =
    Spec::leaf("txn [options]", "Carries out several requests as one", |given| Box::pin(txn(given)))
        .long(
            "Reads compares and requests from standard input and carries them out as one transaction.

Three parts, each ended by an empty line: what must hold; what is done if all of it holds; what is done
otherwise. For example:

mod(\"key1\") > \"0\"

put key1 \"overwritten\"

put key1 \"created\"
put key2 \"some extra key\"

Compares are of ver[sion], c[reate], m[od], val[ue] or lease with =, !=, < or >; requests are get, put and
del with their flags.",
        )
        .group(Group::KeyValue)
        .flags(&[Flag::bool("interactive", "ask for each part").short('i')]);

async fn txn(given: &Given) -> Outcome {
    if !given.os_words().is_empty() {
        return Err(Exit::arguments("txn command does not accept argument"));
    }
    let (client, printer) = given.connect().await?;
    let mut lines = Lines { input: std::io::stdin().lock() };
    let interactive = given.bool("interactive");
    let prompt = |text| if interactive { print_line(text) } else { Ok(()) };
    prompt("compares:")?;
    let mut compare = Vec::new();
    while let Some(line) = lines.next()? {
        compare.push(parse_compare(&line).map_err(invalid)?);
    }
    prompt("success requests (get, put, del):")?;
    let success = read_ops(&mut lines).await?;
    prompt("failure requests (get, put, del):")?;
    let failure = read_ops(&mut lines).await?;
    printer.print(&client.txn(pb::TxnRequest { compare, success, failure }).await?)
}

fn invalid(text: impl std::fmt::Display) -> Exit {
    Exit::new(Code::InvalidInput, text)
}

struct Lines<R> {
    input: R,
}

impl<R: BufRead> Lines<R> {
    /// The next line; `None` if it is empty. Input must not end before that.
    fn next(&mut self) -> Result<Option<String>, Exit> {
        let mut line = String::new();
        self.input.read_line(&mut line).map_err(invalid)?;
        if !line.ends_with('\n') {
            return Err(invalid("EOF"));
        }
        let line = line.trim();
        Ok((!line.is_empty()).then(|| line.to_owned()))
    }
}

async fn read_ops(lines: &mut Lines<impl BufRead>) -> Result<Vec<pb::RequestOp>, Exit> {
    let mut ops = Vec::new();
    while let Some(line) = lines.next()? {
        ops.push(parse_op(&line).await?);
    }
    Ok(ops)
}

async fn parse_op(line: &str) -> Result<pb::RequestOp, Exit> {
    let words = argify(line)?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let wrong = || invalid(format!("invalid txn request: {line}"));
    let spec = [&get::SPEC, &put::SPEC, &del::SPEC].into_iter().find(|spec| words[0] == spec.name());
    let path = Path { specs: vec![&ROOT, spec.ok_or_else(wrong)?] };
    let matches = parse::parse(&path, &words[1..]).map_err(|_| wrong())?;
    let given = Given::new(String::new(), path, matches);
    let request = match given.path.spec().name() {
        "get" => Op::RequestRange(get::request(&given)?),
        "put" => Op::RequestPut(put::request(&given)?),
        _ => Op::RequestDeleteRange(del::request(&given).await?),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

/// `mod("key") > "0"`.
fn parse_compare(line: &str) -> Result<pb::Compare, String> {
    let malformed = || format!("malformed comparison: {line}");
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let parts = compare_parts(rest)
        .ok_or_else(|| format!("malformed comparison: {line}; got {target}(\"\")  \"\""))?;
    let (key, result, value) = parts;
    let invalid = |_| format!("invalid txn compare request: {line}");
    let text = String::from_utf8_lossy(&value).into_owned();
    let number = |base| parse_int(&text, base).map_err(invalid);
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        // As hexadecimal, which is how all else shows leases; etcdctl itself fails on any.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        unknown => return Err(format!("malformed comparison: {line} (unknown target {unknown})")),
    };
    let result = match result {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => {
            return Err(format!(
                "malformed comparison: {line} (unknown operator {})",
                quoted(other.as_bytes())
            ));
        }
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..pb::Compare::default()
    })
}

/// `"key") > "value"`.
fn compare_parts(text: &str) -> Option<(Vec<u8>, &str, Vec<u8>)> {
    let (key, rest) = unquote_prefix(text.trim_start())?;
    let rest = rest.strip_prefix(')')?.trim_start();
    let (result, rest) = rest.split_at(rest.find(char::is_whitespace)?);
    let (value, _) = unquote_prefix(rest.trim_start())?;
    Some((key, result, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_are_read_as_typed() {
        let compare = parse_compare(r#"val("k\n") != "v""#).expect("fine");
        assert_eq!(&compare.key[..], b"k\n");
        assert_eq!(compare.result(), CompareResult::NotEqual);
        assert_eq!(compare.target_union, Some(TargetUnion::Value("v".into())));
        let compare = parse_compare(r#"mod("k") > "5""#).expect("fine");
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(5)));
        for (line, text) in [
            ("mod", "malformed comparison: mod"),
            (r#"mod("k") > "x""#, r#"invalid txn compare request: mod("k") > "x""#),
            (r#"size("k") > "1""#, r#"malformed comparison: size("k") > "1" (unknown target size)"#),
            (r#"mod("k") ~ "1""#, r#"malformed comparison: mod("k") ~ "1" (unknown operator "~")"#),
        ] {
            assert_eq!(parse_compare(line).expect_err("refused"), text);
        }
        assert!(parse_compare(r#"mod(k) > "1""#).is_err());
    }

    #[tokio::test]
    async fn requests_are_read_with_their_flags() {
        let op = parse_op("get foo --prefix --limit 3").await.expect("fine");
        let Some(Op::RequestRange(range)) = op.request else { panic!("a range") };
        assert_eq!((&range.key[..], &range.range_end[..], range.limit), (&b"foo"[..], &b"fop"[..], 3));
        let op = parse_op(r#"put "a b" 'c d' --prev-kv"#).await.expect("fine");
        let Some(Op::RequestPut(put)) = op.request else { panic!("a put") };
        assert_eq!((&put.key[..], &put.value[..], put.prev_kv), (&b"a b"[..], &b"c d"[..], true));
        for (line, text) in [
            ("get", "invalid txn compare request: get"),
            ("frob foo", "invalid txn request: frob foo"),
            ("get foo --nonesuch", "invalid txn request: get foo --nonesuch"),
        ] {
            let exit = parse_op(line).await.expect_err("refused");
            assert_eq!((exit.code, exit.text.as_deref()), (3, Some(text)));
        }
    }
}
