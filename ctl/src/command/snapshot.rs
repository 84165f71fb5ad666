//! `snapshot`: one member's storage, as a file.
//!
//! Source: etcd 3.7.1 client/v3/snapshot/v3_snapshot.go.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::cli::given::Given;
use crate::cli::globals;
use crate::cli::spec::{Group, Spec};
use crate::client::{Client, Config};
use crate::exit::{Code, Exit, Outcome};
use crate::go::system::error_text;
use crate::go::{duration, humanize};
use crate::log;
use crate::output::print_line;

/// The last bytes of a snapshot are the SHA-256 of all before them; these come in whole blocks.
const SHA256_BYTES: u64 = 32;
const BLOCK_BYTES: u64 = 512;

const EXAMPLES: &str = "  # Save a snapshot to a file
  etcdctl snapshot save /backup/etcd-snapshot.db

  # Of another endpoint, with a certificate
  etcdctl --endpoints=https://10.0.0.1:2379 --cacert=ca.crt --cert=client.crt --key=client.key \\
    snapshot save /backup/etcd-snapshot.db";

pub static SPEC: Spec = Spec::holder("snapshot <subcommand>", "A member's storage as a file", &[&SAVE])
    .example(EXAMPLES)
    .group(Group::ClusterMaintenance);

static SAVE: Spec =
    Spec::leaf("save <filename>", "Saves a member's storage to a file", |given| Box::pin(save(given)))
        .example(EXAMPLES);

async fn save(given: &Given) -> Outcome {
    let words = given.os_words();
    let [path] = words.as_slice() else {
        return Err(Exit::arguments("snapshot save expects one argument <filename>"));
    };
    let path = PathBuf::from(path);
    let config = globals::config(given).await?;
    given.printer()?;
    if config.endpoints.len() != 1 {
        let all = config.endpoints.join(" ");
        return Err(interrupted(format!(
            "snapshot must be requested to one selected node, not multiple [{all}]"
        )));
    }
    // Snapshots may be large: they end in time only if the user says so.
    let deadline = given.is_set("command-timeout").then(|| given.deadline());
    let version = fetch(config, deadline, &path).await?;
    print_line(&format!("Snapshot saved at {}", path.display()))?;
    if version.is_empty() { Ok(()) } else { print_line(&format!("Server version {version}")) }
}

fn interrupted(text: impl std::fmt::Display) -> Exit {
    Exit::new(Code::Interrupted, text)
}

/// A file that is gone with this unless it is complete.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(path: PathBuf) -> Result<Part, Exit> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            let shown = path.display();
            interrupted(format!("could not open {shown} (open {shown}: {})", error_text(&error)))
        })?;
        Ok(Part { path, file })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has been renamed if all went well.
        fs::remove_file(&self.path).ok();
    }
}

/// Gives the version of the server whose storage it is.
async fn fetch(config: Config, deadline: Option<Instant>, path: &Path) -> Result<String, Exit> {
    let endpoint = config.endpoints[0].clone();
    let client = Client::new(config).await.map_err(|exit| Exit { code: Code::Interrupted as u8, ..exit })?;
    let client = match deadline {
        Some(deadline) => client.until(deadline),
        None => client,
    };
    let mut part_path = path.as_os_str().to_owned();
    part_path.push(".part");
    let mut part = Part::create(part_path.into())?;
    let began = Instant::now();
    let mut stream = client.snapshot().await.map_err(interrupted)?;
    let (mut version, mut size) = (String::new(), 0);
    let show = crate::terminal::shows_progress();
    while let Some(piece) = client
        .bounded(stream.message())
        .await
        .map_err(|error| interrupted(format!("could not write snapshot: {error}")))?
        .map_err(|status| {
            interrupted(format!("could not write snapshot: {}", crate::client::CallError::from(status)))
        })?
    {
        if size == 0 {
            version = piece.version;
        }
        part.file
            .write_all(&piece.blob)
            .map_err(|error| interrupted(format!("could not write snapshot: {}", error_text(&error))))?;
        size += piece.blob.len() as u64;
        if show {
            crate::terminal::progress(size, size + piece.remaining_bytes);
        }
    }
    if size % BLOCK_BYTES != SHA256_BYTES {
        return Err(interrupted(format!("sha256 checksum not found [bytes: {size}]")));
    }
    keep(&part, path)?;
    let took = duration::format(began.elapsed());
    log::info(
        "fetched snapshot",
        &[("endpoint", &endpoint), ("size", &humanize::bytes(size)), ("took", &took)],
    );
    Ok(version)
}

/// On the disk under its own name, whatever happens next.
fn keep(part: &Part, path: &Path) -> Outcome {
    part.file
        .sync_all()
        .map_err(|error| interrupted(format!("could not fsync snapshot: {}", error_text(&error))))?;
    fs::rename(&part.path, path).map_err(|error| {
        let (from, to, why) = (part.path.display(), path.display(), error_text(&error));
        interrupted(format!("could not rename {from} to {to} (rename {from} {to}: {why})"))
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| {
        interrupted(format!("could not fsync {}: {}", directory.display(), error_text(&error)))
    })
}
