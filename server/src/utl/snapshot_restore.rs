//! `snapshot restore`.
//!
//! Source: etcd 3.7.1 etcdutl/etcdutl/snapshot_command.go (snapshotRestoreCommandFunc).

use std::path::{Path, PathBuf};

use holdfast_core::members::Bootstrap;
use holdfast_ctl::cli::given::Given;
use holdfast_ctl::cli::spec::{Flag, Spec};
use holdfast_ctl::exit::{Exit, Outcome};
use holdfast_ctl::output::tell;
use holdfast_server::config::{self, ServerConfig, Surroundings};
use holdfast_server::restore::Plan;
use serde_json::json;

pub static SPEC: Spec = Spec::leaf(
    "restore <filename> --data-dir {output dir} [options]",
    "Makes a data directory from a snapshot",
    |given| Box::pin(restore(given)),
)
.flags(&[
    Flag::uint("bump-revision", "0", "how much to add to the revision"),
    Flag::text("data-dir", "", "directory to make (NAME.etcd if none is given)"),
    Flag::text(
        "initial-advertise-peer-urls",
        "http://localhost:2380",
        "this member's peer URLs, as the others of the new cluster reach it",
    ),
    Flag::text("initial-cluster", "default=http://localhost:2380", "members of the new cluster"),
    Flag::text("initial-cluster-token", "etcd-cluster", "what tells the new cluster from others"),
    Flag::uint("initial-memory-map-size", "10737418240", "has no meaning here"),
    Flag::bool(
        "mark-compacted",
        "count all revisions up to the new one as compacted (goes with --bump-revision, and only with it)",
    ),
    Flag::text("name", "default", "name of this member"),
    Flag::bool("skip-hash-check", "believe a file without its hash, as one copied from a data directory is"),
    Flag::text("wal-dir", "", "directory of the log (not supported yet)"),
]);

async fn restore(given: &Given) -> Outcome {
    let words = given.os_words();
    let [path] = words.as_slice() else {
        return Err(Exit::arguments("snapshot restore requires exactly one argument"));
    };
    let bump_revision = given.uint("bump-revision");
    if (bump_revision > 0) != given.bool("mark-compacted") {
        return Err(Exit::arguments("--mark-compacted required if --revision-bump > 0"));
    }
    let config = cluster(given).map_err(Exit::error)?;
    check_wal_dir(given)?;
    let plan = Plan {
        snapshot: PathBuf::from(path),
        data_dir: config.data_dir.clone(),
        bootstrap: bootstrap(&config).map_err(Exit::error)?,
        skip_hash_check: given.bool("skip-hash-check"),
        bump_revision,
    };
    log("restoring snapshot", &plan);
    plan.carry_out().await.map_err(Exit::error)?;
    log("restored snapshot", &plan);
    Ok(())
}

/// The flags of the new cluster, read as those of a server.
fn cluster(given: &Given) -> Result<ServerConfig, String> {
    let names =
        ["name", "initial-cluster", "initial-cluster-token", "initial-advertise-peer-urls", "data-dir"];
    let arguments: Vec<String> = names.iter().map(|name| format!("--{name}={}", given.text(name))).collect();
    let nothing = Surroundings {
        environment: &[],
        read_file: &|path| Err(format!("open {path}: no file is read here")),
        default_host: &|| None,
    };
    match config::parse(&arguments, &nothing).map_err(|exit| exit.text)? {
        // A server puts its own name into the default; etcdutl does not.
        config::Outcome::Run(config) => {
            Ok(ServerConfig { initial_cluster: given.text("initial-cluster"), ..*config })
        }
        config::Outcome::Print(_) => unreachable!("no flag here asks for that"),
    }
}

fn bootstrap(config: &ServerConfig) -> Result<Bootstrap, String> {
    let cluster = config.check_bootstrap()?;
    let members =
        cluster.iter().map(|(name, urls)| (name.clone(), urls.iter().map(ToString::to_string).collect()));
    let (token, name) = (config.initial_cluster_token.clone(), config.name.clone());
    Ok(Bootstrap { token, members: members.collect(), name })
}

/// The server does not take one either.
fn check_wal_dir(given: &Given) -> Result<(), Exit> {
    let directory = given.text("wal-dir");
    match directory.as_str() {
        "" => Ok(()),
        there if Path::new(there).exists() => Err(Exit::error(format!("wal-dir {directory:?} exists"))),
        _ => Err(Exit::error("--wal-dir is not supported yet")),
    }
}

/// A line for standard error, laid out as etcdutl's.
fn log(message: &str, plan: &Plan) {
    let now = chrono::Local::now().format("%Y-%m-%dT%H:%M:%S%:z");
    let member = plan.data_dir.join("member");
    let fields = json!({
        "path": plan.snapshot.to_string_lossy(),
        "data-dir": plan.data_dir.to_string_lossy(),
        "wal-dir": member.join("wal").to_string_lossy(),
        "snap-dir": member.join("ckpt").to_string_lossy(),
    });
    tell(&format!("{now}\tinfo\tsnapshot\t{message}\t{fields}"));
}
