//! `del`.

use std::time::Duration;

use holdfast_net::proto::etcdserverpb as pb;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::keys::{prefix_range, range_from};
use crate::exit::{Exit, Outcome};
use crate::go::quote::quoted;

/// To think again about a range that was perhaps meant as two keys.
const SECOND_THOUGHT: Duration = Duration::from_secs(2);

pub static SPEC: Spec = Spec::leaf(
    "del [options] <key> [range_end]",
    "Deletes a key or the keys from one up to, not including, another",
    |given| Box::pin(del(given)),
)
.group(Group::KeyValue)
.flags(&[
    Flag::bool("prefix", "all keys that begin with the key"),
    Flag::bool("prev-kv", "print what was there before"),
    Flag::bool("from-key", "all keys from the key on"),
    Flag::bool("range", "delete a range without waiting two seconds first"),
]);

async fn del(given: &Given) -> Outcome {
    let request = request(given).await?;
    let (client, printer) = given.connect_bounded().await?;
    printer.print(&client.delete_range(request).await?)
}

/// What the words and flags ask for; also within a transaction. Warns and waits before a range.
pub async fn request(given: &Given) -> Result<pb::DeleteRangeRequest, Exit> {
    let words = given.words();
    let (key, range_end) = match words.as_slice() {
        [key] => (key.clone(), None),
        [key, range_end] => (key.clone(), Some(range_end.clone())),
        _ => {
            let text = "del command needs one argument as key and an optional argument as range_end";
            return Err(Exit::arguments(text));
        }
    };
    let (prefix, from_key) = (given.bool("prefix"), given.bool("from-key"));
    if prefix && from_key {
        let text = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Exit::arguments(text));
    }
    if let Some(range_end) = &range_end {
        if prefix || from_key {
            let text = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
            return Err(Exit::arguments(text));
        }
        if !given.bool("range") {
            crate::output::tell(&format!(
                "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 \
                 seconds to cancel. You can provide `--range` flag to avoid the delay.",
                quoted(&key),
                quoted(range_end)
            ));
            tokio::time::sleep(SECOND_THOUGHT).await;
        }
    }
    let (key, range_end) = if prefix {
        prefix_range(key)
    } else if from_key {
        range_from(key)
    } else {
        (key, range_end.unwrap_or_default())
    };
    Ok(pb::DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: given.bool("prev-kv"),
    })
}
