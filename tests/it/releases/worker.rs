//! Compiling in a process of its own: the real program started by itself, with what it may reach, and what it makes of bad input.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use koban_runtime::{CacheUse, Compiler, Door, DoorConfig};

use crate::harness::{Folder, package_as};

/// The program itself.
fn koban() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_koban"))
}

fn door(cache: Option<&Folder>) -> Door {
    let cache = cache.map(|folder| {
        cap_std::fs::Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).expect("the folder")
    });
    let config = DoorConfig { cache, compiler: Compiler::Worker(koban()), slots: 4, ..DoorConfig::default() };
    Door::new(config).expect("the door opens")
}

#[test]
fn what_a_worker_compiles_is_kept_by_digest_and_loaded_again() {
    let package = package_as("fraud-rules", "0.2.0");
    let folder = Folder::new();
    let load = |door: &Door| {
        let plugin = door.load(&package.component, &package.manifest, Vec::new()).expect("it is loaded");
        plugin.cache().clone()
    };
    assert_eq!(load(&door(Some(&folder))), CacheUse::Compiled);
    assert_eq!(load(&door(Some(&folder))), CacheUse::Hit);
    assert_eq!(load(&door(None)), CacheUse::Off);
    let mine = DoorConfig { slots: 4, ..DoorConfig::default() };
    let by_itself = Door::new(mine).expect("the door opens");
    assert_eq!(by_itself.engine(), door(None).engine(), "what a worker makes is what the host would make");
}

#[test]
fn a_changed_byte_of_kept_code_is_compiled_again() {
    let package = package_as("fraud-rules", "0.2.0");
    let folder = Folder::new();
    let load = || door(Some(&folder)).load(&package.component, &package.manifest, Vec::new()).expect("it is loaded");
    load();
    let file = std::fs::read_dir(folder.path()).expect("the folder").filter_map(Result::ok).map(|entry| entry.path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "cwasm")).expect("code");
    let mut code = std::fs::read(&file).expect("code");
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&file, code).expect("changed");
    assert!(matches!(load().cache(), CacheUse::Repaired { .. }));
    assert_eq!(load().cache(), &CacheUse::Hit);
}

#[test]
fn a_worker_that_gets_rubbish_refuses_it_and_the_host_goes_on() {
    let package = package_as("fraud-rules", "0.2.0");
    let door = door(None);
    let mut cut = package.component.clone();
    cut.truncate(cut.len() / 2);
    let mut noise = package.component.clone();
    for at in (8..noise.len()).step_by(97) {
        noise[at] ^= 0x5a;
    }
    for bytes in [cut, noise, b"\0asm\x0d\0\x01\0".to_vec()] {
        let error = door.load(&bytes, &package.manifest, Vec::new()).err().expect("it is refused").to_string();
        assert!(error.contains("not valid") || error.contains("exports"), "{error}");
    }
    door.load(&package.component, &package.manifest, Vec::new()).expect("a good one is loaded");
}

#[test]
fn a_program_that_is_no_worker_is_found_out() {
    let package = package_as("fraud-rules", "0.2.0");
    for (program, expected) in
        [("/bin/true", "its head is missing"), ("/bin/false", "was ended"), ("/nowhere", "could not be started")]
    {
        let config = DoorConfig { compiler: Compiler::Worker(program.into()), slots: 4, ..DoorConfig::default() };
        let door = Door::new(config).expect("the door opens");
        let error = door.load(&package.component, &package.manifest, Vec::new()).err().expect("no code").to_string();
        assert!(error.contains(expected), "{program}: {error}");
    }
}

/// Goal: whoever takes the worker over finds nothing there. Method: the worker is stopped in the middle of its input, once it has shut
/// itself in, and the system says what it has and may.
#[test]
fn a_worker_has_no_environment_no_files_and_no_way_to_either() {
    // A host may be started with a file open that is for everybody, as under a lock.
    let for_everybody = std::fs::File::open(koban()).expect("a file");
    rustix::io::fcntl_setfd(&for_everybody, rustix::io::FdFlags::empty()).expect("left open for children");
    let mut worker = Command::new(koban())
        .args([koban_runtime::worker::ARGUMENT, "native"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(for_everybody);
    let mut stdin = worker.stdin.take().expect("its input");
    stdin.write_all(b"\0asm").expect("the first bytes");
    let proc = format!("/proc/{}", worker.id());
    let limits = |name: &str| {
        let limits = std::fs::read_to_string(format!("{proc}/limits")).expect("its limits");
        let line = limits.lines().find(|line| line.starts_with(name)).expect("the limit").to_owned();
        line[name.len()..].split_whitespace().next().expect("a number").to_owned()
    };
    // It looks at the machine first, and then limits itself before it reads.
    let stopwatch = crate::harness::Stopwatch::start();
    while limits("Max open files") != "0" {
        assert!(stopwatch.elapsed().as_secs() < 20, "the worker did not limit itself");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(std::fs::read(format!("{proc}/environ")).expect("its environment"), b"");
    assert_eq!((limits("Max file size"), limits("Max core file size")), ("0".to_owned(), "0".to_owned()));
    assert_eq!(limits("Max processes"), "0");
    assert_ne!(limits("Max address space"), "unlimited");
    assert_ne!(limits("Max cpu time"), "unlimited");
    let open: Vec<String> = std::fs::read_dir(format!("{proc}/fd"))
        .expect("its files")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        .collect();
    // Nothing of the host: its pipes and its own page map.
    let harmless =
        |target: &String| target.starts_with("pipe:") || target == "/dev/null" || target.ends_with("/pagemap");
    assert!(open.len() >= 3 && open.iter().all(harmless), "{open:?}");
    drop(stdin);
    let ended = worker.wait_with_output().expect("it ends");
    assert!(!ended.status.success(), "four bytes are no component");
    assert!(!ended.stderr.is_empty(), "it says why");
}
