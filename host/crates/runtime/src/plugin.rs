//! A component made ready: checked, compiled, linked, with the interfaces that it exports found once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use koban_domain::guest::Named;
use koban_domain::manifest::{EngineKind, Manifest};
use koban_domain::records::{Digest, Fault, settings_digest};
use tokio::sync::Semaphore;
use wasmparser::{Parser, Payload};
use wasmtime::Precompiled;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use crate::bindings::Guests;
use crate::cache::{Cache, CacheUse, load_ours};
use crate::engine::{Bounds, Engine};
use crate::exports::Exports;
use crate::faults;
use crate::limits::{Class, Limits};
use crate::state::State;
use crate::worker::{self, Compiler, WorkerError};

/// A plugin that can be called: one component under one manifest with one set of settings. Cloning it is cheap.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) code: Arc<Code>,
    settings: Arc<[Named]>,
    settings_digest: Digest,
}

/// What does not change with the settings.
pub(crate) struct Code {
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) manifest: Manifest,
    pub(crate) digest: Digest,
    pub(crate) grants: Digest,
    pub(crate) engine: EngineKind,
    pub(crate) engine_id: Arc<str>,
    /// The slots that its calls may take at once.
    pub(crate) share: Semaphore,
    cache: CacheUse,
}

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Larger than a plugin of its engine may be.
    #[error(
        "the component has {bytes} bytes, at most {most} are allowed for the {engine} engine: build it in release mode and strip it"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What its engine takes.
        most: usize,
        /// The engine that the manifest names.
        engine: &'static str,
    },
    /// Not WebAssembly at all.
    #[error("the bytes are not WebAssembly: give the component.wasm of the package")]
    NotWasm,
    /// A core module.
    #[error("this is a core module and not a component: build it with `koban plugin build`")]
    CoreModule,
    /// Machine code. Only this host's own compiler may make that.
    #[error(
        "this is compiled machine code, which is never accepted from outside: give the component.wasm of the package"
    )]
    Precompiled,
    /// More functions than any honest plugin has.
    #[error("the component has more than {0} functions: leave out dependencies that it does not need")]
    TooManyFunctions(u32),
    /// Not valid, or made of features that guests may not use.
    #[error("the component is not valid here: {0}")]
    Invalid(String),
    /// The process that compiles could not be used, or was ended by its limits.
    #[error("the component was not compiled: {0}")]
    Worker(WorkerError),
    /// It asks for an import that no guest gets.
    #[error("the component imports what no plugin gets (only `log` and types are given): {0}")]
    ImportRefused(String),
    /// An interface of its kind is missing.
    #[error("a {kind} exports `{interface}` of {contract}, and this component does not: implement it and build again", contract = koban_domain::guest::CONTRACT)]
    MissingExport {
        /// The manifest's kind.
        kind: &'static str,
        /// The interface.
        interface: String,
    },
    /// An interface has another shape than the contract says.
    #[error("an exported function differs from {contract} as this host has it, which is a preview and has grown: build the plugin again with this host's SDK ({0})", contract = koban_domain::guest::CONTRACT)]
    WrongType(String),
    /// It could not even be started.
    #[error("the component cannot be started: {0}")]
    Start(Fault),
    /// The engine that it needs refuses to start, usually because the machine has too little address space.
    #[error("the {engine} engine cannot start: {problem}; try fewer slots for it")]
    Engine {
        /// Which engine.
        engine: &'static str,
        /// What it says.
        problem: String,
    },
}

impl From<wasmtime::Error> for LoadError {
    fn from(error: wasmtime::Error) -> LoadError {
        LoadError::Invalid(format!("{error:#}"))
    }
}

impl From<WorkerError> for LoadError {
    fn from(error: WorkerError) -> LoadError {
        match error {
            WorkerError::Refused(why) => LoadError::Invalid(why),
            other => LoadError::Worker(other),
        }
    }
}

/// The digest of a manifest, by which a record names the grants that applied: of its JSON, with fields in the order of the manifest's reference.
pub fn grants_digest(manifest: &Manifest) -> Digest {
    // A manifest has no map with keys that are not text, the only thing that can fail here.
    Digest::of(&serde_json::to_vec(manifest).unwrap_or_default())
}

impl Plugin {
    /// The plugin's id.
    pub fn id(&self) -> &str {
        &self.code.manifest.id
    }

    /// The component's digest.
    pub fn digest(&self) -> Digest {
        self.code.digest
    }

    /// The manifest that its answers are measured against.
    pub fn manifest(&self) -> &Manifest {
        &self.code.manifest
    }

    /// The manifest's digest, which records name as the grants.
    pub fn grants(&self) -> Digest {
        self.code.grants
    }

    /// The settings that it is given at every call.
    pub fn settings(&self) -> &[Named] {
        &self.settings
    }

    /// Their digest.
    pub fn settings_digest(&self) -> Digest {
        self.settings_digest
    }

    /// The engine that runs it, as its records name it.
    pub fn engine(&self) -> &str {
        &self.code.engine_id
    }

    /// The interfaces of the contract that it exports, in the order of the contract.
    pub fn interfaces(&self) -> &[&'static str] {
        &self.code.exports.names
    }

    /// What the cache had to say when it was loaded.
    pub fn cache(&self) -> &CacheUse {
        &self.code.cache
    }

    /// The same component with other settings; nothing is compiled again.
    pub fn with_settings(&self, settings: Vec<Named>) -> Plugin {
        Plugin { code: Arc::clone(&self.code), settings_digest: settings_digest(&settings), settings: settings.into() }
    }
}

/// The one linker: `log`, and the interfaces that have types only. What is not in it cannot be imported.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    Guests::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// Compiles in this process. The compiler panics on some components that its validator lets pass; that is the component's fault and no
/// reason to end the host.
fn compile_here(wasm: &wasmtime::Engine, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compiled = std::panic::catch_unwind(AssertUnwindSafe(|| wasm.precompile_component(bytes)));
    let compiled = compiled.unwrap_or_else(|_| Err(wasmtime::Error::msg("the compiler cannot make code of it")));
    Ok(compiled?)
}

/// Where a component is made ready: its engine, what it may import, who compiles it, where its code is kept, and the limits that its start
/// meets.
pub(crate) struct Place<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) linker: &'a Linker<State>,
    pub(crate) compiler: &'a Compiler,
    pub(crate) cache: Option<&'a Cache>,
    pub(crate) class: Class,
    pub(crate) limits: &'a Limits,
    /// How many calls of the component may run at once.
    pub(crate) share: u32,
}

/// Checks, compiles and links. `probe` runs the component's own start once.
pub(crate) fn load(
    place: &Place<'_>,
    bytes: &[u8],
    manifest: &Manifest,
    settings: Vec<Named>,
) -> Result<Plugin, LoadError> {
    check_shape(bytes, place.engine.kind)?;
    let digest = Digest::of(bytes);
    let wasm = &place.engine.wasm;
    // What was compiled before was counted before.
    let compile = || {
        check_functions(bytes, place.engine.kind)?;
        match place.compiler {
            Compiler::InProcess => compile_here(wasm, bytes),
            Compiler::Worker(program) => Ok(worker::compile(program, bytes, place.engine)?),
        }
    };
    let (component, cache) = match place.cache {
        Some(cache) => cache.component::<LoadError>(wasm, digest, compile)?,
        None => (load_ours(wasm, &compile()?)?, CacheUse::Off),
    };
    let pre =
        place.linker.instantiate_pre(&component).map_err(|error| LoadError::ImportRefused(format!("{error:#}")))?;
    let exports = Exports::find(&pre, manifest)?;
    probe(place, &pre, &exports)?;
    let code = Code {
        pre,
        exports,
        manifest: manifest.clone(),
        digest,
        grants: grants_digest(manifest),
        engine: place.engine.kind,
        engine_id: place.engine.id.as_str().into(),
        share: Semaphore::new(usize::try_from(place.share).unwrap_or(1)),
        cache,
    };
    Ok(Plugin { code: Arc::new(code), settings_digest: settings_digest(&settings), settings: settings.into() })
}

fn check_shape(bytes: &[u8], engine: EngineKind) -> Result<(), LoadError> {
    if let Some(Precompiled::Module | Precompiled::Component) = wasmtime::Engine::detect_precompiled(bytes) {
        return Err(LoadError::Precompiled);
    }
    let most = engine.component_bytes_max();
    if bytes.len() > most {
        return Err(LoadError::TooLarge { bytes: bytes.len(), most, engine: engine.word() });
    }
    // Preamble: `\0asm`, two bytes of version, two bytes of layer (0 a core module, 1 a component).
    match bytes.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

/// Counts the functions of all modules inside. Bytes that cannot be read are the compiler's to refuse.
fn check_functions(bytes: &[u8], engine: EngineKind) -> Result<(), LoadError> {
    let mut functions = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        if let Ok(Payload::FunctionSection(section)) = payload {
            functions = functions.saturating_add(section.count());
        }
        if functions > engine.functions_max() {
            return Err(LoadError::TooManyFunctions(engine.functions_max()));
        }
    }
    Ok(())
}

/// Starts the component once and looks at the types of its functions, so that neither can be a surprise at the first payment.
///
/// Its start runs on the stack of a thread of its own: the caller's may be smaller than what the engine lets a guest use.
fn probe(place: &Place<'_>, pre: &InstancePre<State>, exports: &Exports) -> Result<(), LoadError> {
    let stack_bytes = Bounds::of(place.engine.kind).stack_bytes + (1 << 20);
    let unable = |problem: String| LoadError::Engine { engine: place.engine.kind.word(), problem };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("koban-probe".into()).stack_size(stack_bytes);
        let probe = builder.spawn_scoped(scope, || start(place, pre, exports));
        let probe = probe.map_err(|error| unable(error.to_string()))?;
        probe.join().unwrap_or_else(|_| Err(unable("it panicked while the component was started".to_owned())))
    })
}

fn start(place: &Place<'_>, pre: &InstancePre<State>, exports: &Exports) -> Result<(), LoadError> {
    let Place { engine, class, limits, .. } = place;
    let start = |error: wasmtime::Error| LoadError::Start(faults::from_error(&error, None, *class, limits));
    let mut store = engine.store(limits).map_err(start)?;
    store.epoch_deadline_trap();
    store.set_epoch_deadline(engine.deadline_ticks(limits));
    let instance = pre.instantiate(&mut store).map_err(start)?;
    let shape = |error: wasmtime::Error| LoadError::WrongType(format!("{error:#}"));
    exports.probe(&mut store, &instance).map_err(shape)?;
    Ok(())
}
