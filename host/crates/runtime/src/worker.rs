//! Compiling in a process of its own. A compiler is a large program that reads what a stranger wrote; should it hang, blow up or be taken
//! over, that happens where there is nothing: no environment, no file, no network, no other process, bounded memory and time.
//!
//! The host starts itself again with [`ARGUMENT`]. The component goes in over standard input, compiled code comes out over standard
//! output, with the digest of what was compiled and the name of the engine it was compiled for. [`work`] is the worker's whole life.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use koban_domain::manifest::EngineKind;
use koban_domain::records::Digest;
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::engine::Engine;

/// What the worker is started with, before the name of the engine that it compiles for.
pub const ARGUMENT: &str = "compile-component";
/// First bytes of what the worker writes.
const MAGIC: &[u8] = b"koban compiled 1\n";
/// Most bytes of a component that the worker reads, whatever its class.
const COMPONENT_BYTES_MAX: u64 = 48 << 20;
/// Most bytes of compiled code that the host takes.
const CODE_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of the worker's last words.
const WORDS_BYTES_MAX: u64 = 2_000;
/// Address space of the worker beside what it has when it starts, bytes.
const MEMORY_BYTES: u64 = 2 << 30;
/// Processor time for any component, and more for each MiB of it, seconds. A development build compiles ten times slower.
const CPU_S: u64 = 30;
const CPU_PER_MIB_S: u64 = 30;

/// What the worker may ask of the system once it has seen its limits. Anything else is refused.
const CALLS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
/// What it may ask unless it is for memory that can be run.
const MEMORY_CALLS: &[i64] = &[libc::SYS_mmap, libc::SYS_mprotect];
/// `PROT_EXEC` of mmap(2), in its third argument and in that of mprotect(2).
const RUNNABLE: u64 = 4;

/// Who compiles.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// The host itself. For tests, and where processes cannot be started.
    #[default]
    InProcess,
    /// This program, started anew with [`ARGUMENT`] for each component.
    Worker(PathBuf),
}

/// Why a worker gave no code.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started or talked to.
    #[error("the process that compiles could not be started")]
    Start(#[source] io::Error),
    /// The compiler refuses the component.
    #[error("{0}")]
    Refused(String),
    /// It ended by itself or by its limits.
    #[error(
        "the process that compiles was ended ({0}): the component takes more than {MEMORY_MIB} MiB or {CPU_S} s and more to compile, which no honest plugin does"
    )]
    Ended(String),
    /// What it wrote is no code of ours.
    #[error("the process that compiles gave something else than code for this host: {0}")]
    Strange(&'static str),
}

const MEMORY_MIB: u64 = MEMORY_BYTES >> 20;

/// The worker's whole life, for the engine of this name: reads a component, compiles it, writes the code. Errors go to standard error, for the host that started it.
pub fn work(engine: &str) -> ExitCode {
    match close_inherited().map_err(Into::into).and_then(|()| compile_once(engine)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::stderr().write_all(format!("{error:#}").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Closes every file but the three pipes. What whoever started the host left open for everybody (a lock, a log) comes down to its
/// children, and a worker that is taken over must not find it.
#[expect(
    unsafe_code,
    reason = "closing a file by its number cannot be written without; nothing in this process owns one yet"
)]
fn close_inherited() -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
    // The folder was open itself while it was read.
    let still_open = |number: &i32| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    for number in numbers.filter(|number| *number > 2).filter(still_open) {
        // SAFETY: the worker has only just begun, single-threaded, and has opened nothing that it keeps.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}

fn compile_once(engine: &str) -> wasmtime::Result<()> {
    let kinds = [EngineKind::Native, EngineKind::Interpreter];
    let kind = kinds.into_iter().find(|kind| kind.word() == engine);
    let kind = kind.ok_or_else(|| wasmtime::Error::msg("no engine of this name; this is for the host alone"))?;
    // The engine looks at the machine when it is made; nothing of the component is here yet.
    let engine = Engine::for_compiling(kind)?;
    confine(CPU_S)?;
    let mut component = Vec::new();
    io::stdin().lock().take(COMPONENT_BYTES_MAX).read_to_end(&mut component)?;
    let mib = u64::try_from(component.len()).unwrap_or(u64::MAX) >> 20;
    limit(Resource::Cpu, CPU_S + CPU_PER_MIB_S * (mib + 1))?;
    shut()?;
    let code = engine.wasm.precompile_component(&component)?;
    let mut out = io::stdout().lock();
    out.write_all(MAGIC)?;
    out.write_all(&engine.compiled_for.0)?;
    out.write_all(&Digest::of(&component).0)?;
    out.write_all(&code)?;
    out.flush()?;
    Ok(())
}

/// Limits that hold from here on, also for whoever might take the process over: no new file, socket or pipe, no byte into any file, no
/// further process, no dump of memory.
fn confine(cpu_s: u64) -> io::Result<()> {
    let used = address_space_bytes()?;
    limit(Resource::As, used.saturating_add(MEMORY_BYTES))?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nproc, 0)?;
    limit(Resource::Nofile, 0)?;
    // Only the soft limit: what a large component may take is known once it is read.
    let most = Some(CPU_S + CPU_PER_MIB_S * ((COMPONENT_BYTES_MAX >> 20) + 1));
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), maximum: most })?;
    Ok(())
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// How much address space the process has now: the pool of the engine reserves some (proc(5), `statm`, in pages).
fn address_space_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4_096)))
}

/// Closes the door behind the worker: only the calls that compiling needs are left (seccomp(2)), and no memory becomes code.
fn shut() -> io::Result<()> {
    let to_io = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let not_run = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(RUNNABLE), 0)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| to_io(&error))?;
    let whole = CALLS.iter().map(|call| (*call, Vec::new()));
    let memory = MEMORY_CALLS.iter().map(|call| (*call, vec![not_run.clone()]));
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| to_io(&error))?;
    // EPERM: sys/errno.h; the worker's libraries go on without what they asked for.
    let filter = SeccompFilter::new(whole.chain(memory).collect(), SeccompAction::Errno(1), SeccompAction::Allow, arch)
        .map_err(|error| to_io(&error))?;
    let program: seccompiler::BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| to_io(&error))?;
    // Sets `no_new_privs` as well: nothing that it could run would have more rights.
    seccompiler::apply_filter(&program).map_err(|error| to_io(&error))
}

/// Has a component compiled by a worker: the code, for this engine and of these very bytes.
pub(crate) fn compile(program: &PathBuf, component: &[u8], engine: &Engine) -> Result<Vec<u8>, WorkerError> {
    let mib = u64::try_from(component.len()).unwrap_or(u64::MAX) >> 20;
    // Processor time is bounded by the system; this is for a worker that waits, on a machine that is busy.
    let patience = Duration::from_secs(4 * (CPU_S + CPU_PER_MIB_S * (mib + 1)));
    let child = Command::new(program)
        .args([ARGUMENT, engine.kind.word()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(WorkerError::Start)?;
    let (code, words, status) = talk(child, component, patience).map_err(WorkerError::Start)?;
    if !status.success() {
        use std::os::unix::process::ExitStatusExt as _;
        let words = words.trim().to_owned();
        return Err(match status.signal() {
            Some(signal) => WorkerError::Ended(format!("signal {signal}")),
            None if words.is_empty() => WorkerError::Ended(status.to_string()),
            None => WorkerError::Refused(words),
        });
    }
    let rest = code.strip_prefix(MAGIC).ok_or(WorkerError::Strange("its head is missing"))?;
    let (compiled_for, rest) = rest.split_first_chunk::<32>().ok_or(WorkerError::Strange("it is cut off"))?;
    let (digest, code) = rest.split_first_chunk::<32>().ok_or(WorkerError::Strange("it is cut off"))?;
    if *compiled_for != engine.compiled_for.0 {
        return Err(WorkerError::Strange("it was compiled for another engine"));
    }
    if *digest != Digest::of(component).0 {
        return Err(WorkerError::Strange("it is of another component"));
    }
    Ok(code.to_vec())
}

/// Gives the worker its component and takes what it writes, both within bounds, until it ends or patience does.
fn talk(
    mut child: Child,
    component: &[u8],
    patience: Duration,
) -> io::Result<(Vec<u8>, String, std::process::ExitStatus)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (ended, ends) = channel::<()>();
    let (code, words) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A worker that refuses early hangs up; why stands in its words.
            let _ = stdin.map(|mut stdin| stdin.write_all(component));
        });
        let words = scope.spawn(move || {
            let mut words = Vec::new();
            let read = stderr.map(|stderr| stderr.take(WORDS_BYTES_MAX).read_to_end(&mut words));
            drop(read);
            String::from_utf8_lossy(&words).into_owned()
        });
        let code = scope.spawn(move || {
            let mut code = Vec::new();
            let read = stdout.map(|stdout| stdout.take(CODE_BYTES_MAX).read_to_end(&mut code));
            drop((read, ended));
            code
        });
        if ends.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            // Its pipes close, and the threads end.
            let _ = child.kill();
        }
        (code.join().unwrap_or_default(), words.join().unwrap_or_default())
    });
    Ok((code, words, child.wait()?))
}
