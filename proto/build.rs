//! Compiles the contracts in pure Rust: no installed protoc.

use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=posmesh");
    let mut files = Vec::new();
    collect(Path::new("posmesh"), &mut files)?;
    files.sort();

    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("posmesh.bin"), descriptors.encode_to_vec())?;

    // Named types can travel as details of an error.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names().type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        .skip_debug([
            "posmesh.adapter.v1.PosContext",
            "posmesh.router.v1.PutConnectionRequest",
            "posmesh.order.v1.GuestContact",
        ])
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
