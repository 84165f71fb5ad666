//! `get`.

use holdfast_net::proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::keys::{prefix_range, range_from};
use crate::exit::{Code, Exit, Outcome};
use crate::go::quote::quoted;
use crate::output::Format;

const ORDERS: &[&str] = &["ASCEND", "DESCEND"];
const TARGETS: &[&str] = &["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"];

pub static SPEC: Spec =
    Spec::leaf("get [options] <key> [range_end]", "Reads a key or a range of keys", |given| {
        Box::pin(get(given))
    })
    .group(Group::KeyValue)
    .flags(&[
        Flag::text("consistency", "l", "linearizable (l), or what one member knows: serializable (s)")
            .values(&["l", "s"]),
        Flag::text("order", "", "order of the results; ASCEND or DESCEND (ASCEND by default)").values(ORDERS),
        Flag::text("sort-by", "", "what to sort by; CREATE, KEY, MODIFY, VALUE or VERSION").values(TARGETS),
        Flag::int("limit", "0", "most results (0: all)"),
        Flag::bool("prefix", "all keys that begin with the key"),
        Flag::bool("from-key", "all keys from the key on"),
        Flag::int("rev", "0", "revision to read at (0: the current one)"),
        Flag::bool("keys-only", "keys without their values"),
        Flag::bool("count-only", "only how many there are (with --write-out=fields)"),
        Flag::bool("print-value-only", "values without their keys (with --write-out=simple)"),
        Flag::int("min-create-rev", "0", "only keys created at this revision or later"),
        Flag::int("max-create-rev", "0", "only keys created at this revision or earlier"),
        Flag::int("min-mod-rev", "0", "only keys changed at this revision or later"),
        Flag::int("max-mod-rev", "0", "only keys changed at this revision or earlier"),
        Flag::bool("stream", "have the answer sent in parts"),
    ]);

async fn get(given: &Given) -> Outcome {
    let request = request(given)?;
    let (client, printer) = given.connect_bounded().await?;
    let answer = if given.bool("stream") {
        client.range_stream(request).await?
    } else {
        client.range(request).await?
    };
    if given.bool("count-only") && printer.format != Format::Fields {
        return Err(Exit::arguments("--count-only is only for `--write-out=fields`"));
    }
    if !given.bool("print-value-only") {
        return printer.print(&answer);
    }
    if printer.format != Format::Simple {
        return Err(Exit::arguments("print-value-only is only for `--write-out=simple`"));
    }
    printer.value_only().print(&answer)
}

/// What the words and flags ask for; also within a transaction.
pub fn request(given: &Given) -> Result<pb::RangeRequest, Exit> {
    let mut words = given.words().into_iter();
    let Some(key) = words.next() else {
        let text = "get command needs one argument as key and an optional argument as range_end";
        return Err(Exit::arguments(text));
    };
    let (prefix, from_key) = (given.bool("prefix"), given.bool("from-key"));
    if prefix && from_key {
        let text = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Exit::arguments(text));
    }
    if given.bool("keys-only") && given.bool("count-only") {
        let text = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
        return Err(Exit::arguments(text));
    }
    let serializable = is_serializable(&given.text("consistency"))?;
    let range_end = words.next();
    if range_end.is_some() && (prefix || from_key) {
        let text = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
        return Err(Exit::arguments(text));
    }
    let (order, target) = (order(given)?, target(given)?);
    let (key, range_end) = if prefix {
        prefix_range(key)
    } else if from_key {
        range_from(key)
    } else {
        (key, range_end.unwrap_or_default())
    };
    Ok(pb::RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: given.int("limit"),
        revision: given.int("rev").max(0),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: given.bool("keys-only"),
        count_only: given.bool("count-only"),
        min_create_revision: given.int("min-create-rev").max(0),
        max_create_revision: bound(given, "CreateRev", "create-rev")?,
        min_mod_revision: given.int("min-mod-rev").max(0),
        max_mod_revision: bound(given, "ModRev", "mod-rev")?,
    })
}

pub fn is_serializable(consistency: &str) -> Result<bool, Exit> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        other => {
            let text = format!("unknown consistency flag {}", quoted(other.as_bytes()));
            Err(Exit::new(Code::BadFeature, text))
        }
    }
}

/// The server sorts by key by itself, so ascending keys need no order.
fn order(given: &Given) -> Result<SortOrder, Exit> {
    let text = given.text("order");
    match text.to_uppercase().as_str() {
        "" => Ok(SortOrder::None),
        "ASCEND" if target(given)? == SortTarget::Key => Ok(SortOrder::None),
        "ASCEND" => Ok(SortOrder::Ascend),
        "DESCEND" => Ok(SortOrder::Descend),
        _ => Err(Exit::new(Code::BadFeature, format!("bad sort order {text}"))),
    }
}

fn target(given: &Given) -> Result<SortTarget, Exit> {
    let text = given.text("sort-by");
    match text.to_uppercase().as_str() {
        "" | "KEY" => Ok(SortTarget::Key),
        "CREATE" => Ok(SortTarget::Create),
        "MODIFY" => Ok(SortTarget::Mod),
        "VALUE" => Ok(SortTarget::Value),
        "VERSION" => Ok(SortTarget::Version),
        _ => Err(Exit::new(Code::BadFeature, format!("bad sort target {text}"))),
    }
}

/// An upper bound, which must not be below its lower one.
fn bound(given: &Given, name: &str, flag: &str) -> Result<i64, Exit> {
    let (min, max) = (given.int(&format!("min-{flag}")), given.int(&format!("max-{flag}")));
    if max > 0 && min > max {
        let text = format!("getMin{name}(={min}) > getMax{name}(={max})");
        return Err(Exit::new(Code::BadFeature, text));
    }
    Ok(max.max(0))
}
