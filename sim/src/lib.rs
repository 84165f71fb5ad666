//! Rings of simulation around the core.
//!
//! Ring 1, here: the members of a cluster as they are, their logs and checkpoints as bytes on disks that do
//! harm, a network that loses and repeats, clients, skewed clocks and crashes between any two effects, all
//! from one seed; checked by a referee that sees every member, and against an oracle that shares no code
//! with the core.
//!
//! Ring 2, `ring2` (under `--cfg madsim`): the production shell around that node, its tasks, channels and
//! services, on a simulated machine and network with the same disk.

pub mod aim;
pub mod blackbox;
pub mod check;
pub mod crash_states;
pub mod demo;
pub mod disk;
pub mod disk_ops;
pub mod every_effect;
pub mod explain;
pub mod history;
pub mod hostile;
pub mod marks;
pub mod mutants;
pub mod oracle;
pub mod plan;
pub mod record;
pub mod replay;
#[cfg(madsim)]
pub mod ring2;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod told;
pub mod trace;
pub mod workload;
pub mod world;
