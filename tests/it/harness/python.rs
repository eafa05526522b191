//! Programs from the Python package index, pinned with all they need, in virtual environments below the build folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use super::root;

/// Where the programs are that `tests/NAME/requirements.txt` pins. Tests that need them at the same moment wait for one installation.
pub(crate) fn programs(name: &'static str) -> PathBuf {
    static HOMES: Mutex<BTreeMap<&str, Arc<OnceLock<PathBuf>>>> = Mutex::new(BTreeMap::new());
    let home = Arc::clone(HOMES.lock().expect("no test ends while it has it").entry(name).or_default());
    home.get_or_init(|| install(name)).clone()
}

/// Installs them, once for all runs of a build folder.
fn install(name: &str) -> PathBuf {
    let wanted = root().join(format!("tests/{name}/requirements.txt"));
    let pins = std::fs::read(&wanted).expect("the pinned packages");
    let digest = koban_domain::records::Digest::of(&pins).to_string();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", &digest[..12]));
    let programs = home.join("bin");
    if programs.join("python3").is_file() && home.join("complete").is_file() {
        return programs;
    }
    let _ = std::fs::remove_dir_all(&home);
    run(Command::new("python3").args(["-m", "venv"]).arg(&home));
    run(Command::new(programs.join("pip")).args(["install", "--quiet", "--no-deps", "--requirement"]).arg(&wanted));
    std::fs::write(home.join("complete"), "").expect("the folder can be written");
    programs
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
