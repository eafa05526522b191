//! Lists the files that `koban plugin new` writes, so that the program carries them: SDKs, templates and the contract.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a new plugin may need, below the root of the repository.
const CARRIED: [&str; 4] = ["sdk", "wit", "plugins/Cargo.toml", "plugins/Cargo.lock"];
/// What is built or fetched and not ours to hand on.
const NOT_OURS: [&str; 5] = ["target", "node_modules", "__pycache__", "dist", ".venv"];

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../../..").canonicalize()?;
    let mut files = Vec::new();
    for carried in CARRIED {
        collect(&root.join(carried), &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        writeln!(list, "    ({:?}, include_str!({:?})),", name.display().to_string(), file)
            .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("carried.rs"), list)
}

/// Every file below, and a word to cargo that a change there is a change here.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", path.display());
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}
