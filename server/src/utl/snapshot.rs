//! `snapshot status`, and the holder of both commands.
//!
//! Source: etcd 3.7.1 etcdutl/etcdutl/snapshot_command.go, printer*.go.

use std::fs::{self, File};

use holdfast_ctl::cli::given::Given;
use holdfast_ctl::cli::spec::Spec;
use holdfast_ctl::exit::{Code, Exit, Outcome};
use holdfast_ctl::go::humanize;
use holdfast_ctl::go::system::error_text;
use holdfast_ctl::output::table::Table;
use holdfast_ctl::output::{Answer, Lines, Printer, Style, Unsupported};
use holdfast_net::backup::{Contents, Snapshot};
use serde_json::json;

use crate::snapshot_restore;

pub static SPEC: Spec =
    Spec::holder("snapshot <subcommand>", "Snapshots of members", &[&snapshot_restore::SPEC, &STATUS]);

static STATUS: Spec =
    Spec::leaf("status <filename>", "Shows what a snapshot holds", |given| Box::pin(async { status(given) }))
        .long(
            "Shows what a snapshot holds.

In the simple format, separated by commas: hash, revision, number of keys, size, storage version.",
        );

fn status(given: &Given) -> Outcome {
    let words = given.os_words();
    let [path] = words.as_slice() else {
        return Err(Exit::arguments("snapshot status requires exactly one argument"));
    };
    let shown = path.to_string_lossy();
    let failed = |what: &str, error| Exit::error(format!("{what} {shown}: {}", error_text(&error)));
    fs::metadata(path).map_err(|error| failed("stat", error))?;
    let printer = Printer::new(&given.text("write-out"), false)
        .ok_or_else(|| Exit::new(Code::BadFeature, "unsupported output format"))?;
    let file = File::open(path).map_err(|error| failed("open", error))?;
    let snapshot = Snapshot::read(&file).map_err(Exit::error)?;
    printer.print(&Status(snapshot.contents().clone()))
}

/// What `snapshot status` prints.
struct Status(Contents);

impl Answer for Status {
    fn simple(&self, out: &mut Lines) {
        out.raw(self.rows().comma_lines());
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        out.field("Hash", self.0.hash);
        out.field("Revision", self.0.revision);
        out.field("Keys", self.0.keys);
        out.field("Size", self.0.bytes);
        out.field("Version", &self.0.version);
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let Contents { hash, revision, keys, bytes, version } = &self.0;
        let object = json!({
            "hash": hash, "revision": revision, "totalKey": keys, "totalSize": bytes, "version": version,
        });
        Ok(object.to_string())
    }

    fn table(&self) -> Result<Table, Unsupported> {
        Ok(self.rows())
    }
}

impl Status {
    fn rows(&self) -> Table {
        let Contents { hash, revision, keys, bytes, version } = &self.0;
        let row = vec![
            format!("{hash:x}"),
            revision.to_string(),
            keys.to_string(),
            humanize::bytes(*bytes),
            version.clone(),
        ];
        Table { header: &["hash", "revision", "total keys", "total size", "version"], rows: vec![row] }
    }
}
