//! Which ring hunts: each has mutants of its own, a tool that runs its seeds, and a page that tells of them.

use std::process::Command;

/// A ring of simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Ring 1: the core.
    Core,
    /// Ring 2: the production shell.
    Shell,
}

impl Ring {
    /// Folder of its patches, from the root.
    pub fn patches(self) -> &'static str {
        match self {
            Ring::Core => "sim/mutants",
            Ring::Shell => "sim/mutants/ring2",
        }
    }

    /// The page with its table, in `docs`.
    pub fn page(self) -> &'static str {
        match self {
            Ring::Core => "mutants.md",
            Ring::Shell => "ring2.md",
        }
    }

    /// The file of its outcomes.
    pub fn results(self) -> &'static str {
        match self {
            Ring::Core => "results.tsv",
            Ring::Shell => "results-ring2.tsv",
        }
    }

    /// The tool without any mutant, as it is kept.
    pub fn clean(self) -> &'static str {
        match self {
            Ring::Core => "clean",
            Ring::Shell => "clean-ring2",
        }
    }

    /// Folder of its builds.
    pub fn builds(self) -> &'static str {
        match self {
            Ring::Core => "build",
            Ring::Shell => "build-ring2",
        }
    }

    /// Where its tool is built, below the folder of builds.
    pub fn tool(self) -> &'static str {
        match self {
            Ring::Core => "release/holdfast-sim",
            Ring::Shell => "debug/holdfast-madsim",
        }
    }

    /// Whether traces are compared by a command of their own; storms compare a share of them by themselves.
    pub fn has_twice(self) -> bool {
        self == Ring::Core
    }

    /// Tells cargo what to build.
    pub fn ask_for_tool(self, cargo: &mut Command) {
        match self {
            Ring::Core => cargo.args(["--release", "--bin", "holdfast-sim"]),
            // The shell is large and its seeds wait for little: what an optimised build saves it costs.
            Ring::Shell => {
                cargo.args(["--bin", "holdfast-madsim", "--config", r#"build.rustflags=["--cfg","madsim"]"#])
            }
        };
    }

    /// Whether a file has a part in how seeds run: the tool that plants mutants and the texts have none.
    pub fn decides(self, file: &str) -> bool {
        let shell = self == Ring::Shell && (file.starts_with("server/") || file.starts_with("net/"));
        let is_source =
            file.starts_with("core/") || file.starts_with("sim/src/") || file.starts_with("scenarios/");
        let is_hunter = file.starts_with("sim/src/mutants");
        shell || (is_source && !is_hunter) || file == "Cargo.lock"
    }
}
