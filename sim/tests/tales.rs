//! Short stories as tales: what a reader of the protocol wants to see, kept as text in `snapshots/`.
//!
//! A tale that changed says how the protocol goes another way now: `cargo insta accept`, or
//! `INSTA_UPDATE=always cargo test --test tales`, takes it over.

use std::path::Path;

use holdfast_sim::demo::tale;
use holdfast_sim::run::run_world;
use holdfast_sim::scenario::Scenario;
use holdfast_sim::world::World;

const SEED: u64 = 1;

fn told(story: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(story).with_extension("toml");
    let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let (result, outcome) = run_world(World::new(scenario.even_plan(SEED), false).with_record());
    if let Err(failure) = result {
        panic!("{failure}");
    }
    format!("{}\n\n{}\n", scenario.about, tale(&outcome).join("\n"))
}

macro_rules! tales {
    ($($name:ident: $story:literal,)*) => {
        $(
            #[test]
            fn $name() {
                insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                    insta::assert_snapshot!(stringify!($name), told($story));
                });
            }
        )*
    };
}

tales! {
    split_brain: "fast/split_brain",
    figure_8: "fast/figure_8",
    lost_vote: "fast/lost_vote",
    late_answer: "fast/late_answer",
    read_rounds: "fast/read_rounds",
    asked_again: "fast/asked_again",
    watch_over_snapshot: "fast/watch_over_snapshot",
    compacted_under_watch: "fast/compacted_under_watch",
    paused_holder: "fast/paused_holder",
    etcd_7331: "history/etcd_7331",
    etcd_15247: "history/etcd_15247",
    etcd_20418: "history/etcd_20418",
}
