//! Ring 2 from a plain `cargo test`: the simulated machine needs other flags for rustc, so another cargo
//! builds and runs it in a target directory of its own.
#![cfg(not(madsim))]

use std::path::Path;
use std::process::Command;

#[test]
fn ring_2_holds() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim is below the workspace");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace).args(["test", "-p", "holdfast-sim", "--test", "ring2"]);
    cargo.args(["--config", r#"build.rustflags=["--cfg","madsim"]"#, "--target-dir", "target/madsim"]);
    cargo.args(["--", "--nocapture"]);
    // RUSTFLAGS in the environment would beat the configuration, and what the outer cargo says of this
    // package would rebuild all that looks at it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name == "RUSTFLAGS" || name.starts_with("CARGO") && name != "CARGO_HOME" {
            cargo.env_remove(&*name);
        }
    }
    let run = cargo.output().expect("cargo, which runs this test, can be run again");
    let text = String::from_utf8_lossy(&run.stdout);
    for line in text.lines().filter(|line| line.starts_with("ring2 ") || line.starts_with("FAIL ")) {
        println!("{line}");
    }
    assert!(run.status.success(), "{text}\n{}", String::from_utf8_lossy(&run.stderr));
}
