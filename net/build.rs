//! Compiles `proto/` for the real transport and for the simulated one.

use std::io;
use std::path::PathBuf;

const FILES: &[&str] =
    &["auth.proto", "election.proto", "health.proto", "kv.proto", "lock.proto", "peer.proto", "rpc.proto"];

fn main() -> io::Result<()> {
    let directory = PathBuf::from("proto");
    let files: Vec<PathBuf> = FILES.iter().map(|file| directory.join(file)).collect();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let descriptors = out.join("descriptors.bin");
    let set = protox::compile(&files, [&directory]).map_err(io::Error::other)?;
    std::fs::write(&descriptors, prost::Message::encode_to_vec(&set))?;
    tonic_build::configure()
        .file_descriptor_set_path(&descriptors)
        .skip_protoc_run()
        .bytes(["."])
        // Written by hand: they share the node's memory instead of copying it.
        .extern_path(".mvccpb.KeyValue", "crate::wire::KeyValue")
        .extern_path(".etcdserverpb.WatchResponse", "crate::wire::WatchResponse")
        .compile_protos(&files, &[directory])
}
