//! `put`.

use std::io::Read as _;

use holdfast_net::proto::etcdserverpb as pb;

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::exit::{Exit, Outcome};
use crate::go::number::parse_int;

pub static SPEC: Spec = Spec::leaf(
    "put [options] <key> <value> (<value> can also be given from stdin)",
    "Writes a value under a key",
    |given| Box::pin(put(given)),
)
.long(
    "Writes a value under a key.

A value that begins with '-' would be read as a flag; '--' before it ends the flags:

$ put <key> -- <value>
$ put -- <key> <value>

Without a value, and without --ignore-value, the value is read from standard input:

$ cat file | put <key>",
)
.group(Group::KeyValue)
.flags(&[
    Flag::text("lease", "0", "lease (in hexadecimal) that the key is to live with"),
    Flag::bool("prev-kv", "print what was there before"),
    Flag::bool("ignore-value", "keep the value that is there"),
    Flag::bool("ignore-lease", "keep the lease that is there"),
]);

const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";

async fn put(given: &Given) -> Outcome {
    let request = request(given)?;
    let (client, printer) = given.connect_bounded().await?;
    printer.print(&client.put(request).await?)
}

/// What the words, flags and perhaps standard input ask for; also within a transaction.
pub fn request(given: &Given) -> Result<pb::PutRequest, Exit> {
    let mut words = given.words().into_iter();
    let Some(key) = words.next() else { return Err(Exit::arguments(NEEDS)) };
    let (value, ignore_value) = (words.next(), given.bool("ignore-value"));
    let value = match value {
        Some(_) if ignore_value => {
            let text = "put command needs only 1 argument when 'ignore-value' is set";
            return Err(Exit::arguments(text));
        }
        Some(value) => value,
        None if ignore_value => Vec::new(),
        None => standard_input()?,
    };
    let lease = parse_int(&given.text("lease"), 16)
        .map_err(|why| Exit::arguments(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(pb::PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        prev_kv: given.bool("prev-kv"),
        ignore_value,
        ignore_lease: given.bool("ignore-lease"),
    })
}

fn standard_input() -> Result<Vec<u8>, Exit> {
    let mut value = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut value) {
        Ok(1..) => Ok(value),
        Ok(_) | Err(_) => Err(Exit::arguments(NEEDS)),
    }
}
