//! All commands, in the order in which suggestions name them.

use super::globals;
use super::spec::{Group, Spec};
use crate::command::{
    alarm, auth, check, compaction, completion, defrag, del, downgrade, elect, endpoint, get, lease, lock,
    make_mirror, member, move_leader, put, role, snapshot, txn, user, version, watch,
};

pub static ROOT: Spec = Spec {
    usage: "etcdctl",
    about: "A command line client of an etcd v3 cluster.",
    long: "",
    example: "",
    group: None,
    flags: globals::FLAGS,
    flags_persist: true,
    commands: COMMANDS,
    run: None,
    variables: Some(globals::PREFIX),
};

const COMMANDS: &[&Spec] = &[
    &get::SPEC,
    &put::SPEC,
    &del::SPEC,
    &txn::SPEC,
    &compaction::SPEC,
    &alarm::SPEC,
    &defrag::SPEC,
    &endpoint::SPEC,
    &move_leader::SPEC,
    &watch::SPEC,
    &version::SPEC,
    &lease::SPEC,
    &member::SPEC,
    &snapshot::SPEC,
    &make_mirror::SPEC,
    &lock::SPEC,
    &elect::SPEC,
    &auth::SPEC,
    &user::SPEC,
    &role::SPEC,
    &check::SPEC,
    &completion::SPEC,
    &downgrade::SPEC,
    &OPTIONS,
    &HELP,
];

/// `options` of any tool.
pub static OPTIONS: Spec = Spec::leaf("options", "Shows the flags that all commands have", |given| {
    Box::pin(async { crate::output::print(super::usage::options(given.path.root()).as_bytes()) })
})
.group(Group::Utility);

/// `help` of any tool.
pub static HELP: Spec = Spec::leaf("help [command]", "Shows help about any command", |given| {
    Box::pin(async move { crate::output::print(help(given).as_bytes()) })
})
.group(Group::Utility);

fn help(given: &super::given::Given) -> String {
    let words: Vec<std::ffi::OsString> = given.os_words().into_iter().map(Into::into).collect();
    let found = super::find::find(given.path.root(), &words);
    match found.unknown {
        Some(_) => {
            let topics: Vec<String> = given.texts().iter().map(|word| format!("`{word}`")).collect();
            let usage = super::usage::usage(&given.program, &found.path);
            format!("Unknown help topic [{}]\n{usage}", topics.join(" "))
        }
        None => super::usage::help(&given.program, &found.path),
    }
}
