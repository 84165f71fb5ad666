//! Rings of simulation around the core.
//!
//! Ring 1, here: the node as it is, its log and checkpoints as bytes on a disk that does harm, clients, a
//! skewed clock and crashes between any two effects, all from one seed; checked against an oracle that
//! shares no code with the core.
//!
//! Ring 2, `ring2` (under `--cfg madsim`): the production shell around that node, its tasks, channels and
//! services, on a simulated machine and network with the same disk.

pub mod check;
pub mod crash_states;
pub mod disk;
pub mod disk_ops;
pub mod history;
pub mod oracle;
pub mod plan;
pub mod replay;
#[cfg(madsim)]
pub mod ring2;
pub mod rng;
pub mod run;
pub mod trace;
pub mod workload;
pub mod world;
