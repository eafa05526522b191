//! The only way a guest runs: a free slot, a fresh store, one call, a typed answer and the record of it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cap_std::fs::Dir;
use koban_domain::guest::{CONTRACT, Context, Named};
use koban_domain::ids::RecordId;
use koban_domain::manifest::{EngineKind, Manifest};
use koban_domain::records::{Ending, Fault, FaultClass, Input, Output, Part, Record};
use koban_domain::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Linker;

use crate::admit::Gate;
use crate::cache::Cache;
use crate::calls::{self, Raw};
use crate::engine::Engine;
use crate::faults::{self, fault};
use crate::limits::{Class, ClassLimits, LimitsError};
use crate::meters::{Counters, Meters};
use crate::plugin::{self, LoadError, Place, Plugin};
use crate::sizes;
use crate::state::State;
use crate::worker::Compiler;

/// Most native calls that may run at once, whatever the operator asks for: each slot reserves 64 MiB of address space.
const SLOTS_MAX: u32 = 4_096;
/// Most calls of interpreters that may run at once: each slot reserves 4 GiB of address space and may hold 128 MiB of memory.
const INTERPRETER_SLOTS_MAX: u32 = 256;

/// The part of a side's slots that one component may take at once, and the least that it may: calls of others always find room.
const SHARE: u32 = 8;
const SHARE_MIN: u32 = 4;

/// How the door is set up.
pub struct DoorConfig {
    /// Where compiled code is kept: a directory that only this host writes. Without it every start compiles.
    pub cache: Option<Dir>,
    /// Who compiles what the cache does not have.
    pub compiler: Compiler,
    /// Native calls that may run at once: 1 to 4,096.
    pub slots: u32,
    /// Calls of plugins that carry an interpreter that may run at once: 1 to 256. They wait for each other, never for native ones.
    pub interpreter_slots: u32,
    /// How long a call waits for a free slot before it is `busy`, in milliseconds.
    pub wait_ms: u64,
    /// What one call may use.
    pub limits: ClassLimits,
    /// For tests of replay, none on any host: something that guests are told and no record says, as a broken host would do it. Is added
    /// to the seed of every call.
    pub drift: Option<fn() -> u64>,
}

impl Default for DoorConfig {
    /// 256 slots and 16 for interpreters, a second of waiting, the published limits, no cache.
    fn default() -> DoorConfig {
        DoorConfig {
            cache: None,
            compiler: Compiler::InProcess,
            slots: 256,
            interpreter_slots: 16,
            wait_ms: 1_000,
            limits: ClassLimits::default(),
            drift: None,
        }
    }
}

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Too few or too many slots.
    #[error("{0} slots: set 1 to {SLOTS_MAX}")]
    Slots(u32),
    /// Too few or too many slots for interpreters.
    #[error("{0} slots for interpreters: set 1 to {INTERPRETER_SLOTS_MAX}")]
    InterpreterSlots(u32),
    /// A limit above the published one.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The engine refuses its configuration, usually because the machine has too little address space.
    #[error("the WebAssembly engine cannot start with {slots} slots: {problem}; try fewer slots")]
    Engine {
        /// The slots asked for.
        slots: u32,
        /// What the engine says.
        problem: String,
    },
    /// The cache cannot be read or written.
    #[error("the directory for compiled code cannot be used: make it writable for this host alone")]
    Cache(#[source] std::io::Error),
}

/// The circumstances of a call, as values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallContext {
    /// The id of the call and of its record.
    pub id: RecordId,
    /// The time that the guest is told.
    pub at: Timestamp,
    /// `platform`, or the id of a merchant or a store.
    pub scope: String,
    /// The guest's only randomness.
    pub seed: u64,
    /// `ja` or `en`.
    pub locale: String,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Called {
    /// The answer, or the fault.
    pub result: Result<Output, Fault>,
    /// The evidence, for the commit that uses the answer: live, about nobody and without a salt until the caller says otherwise.
    pub record: Record,
    /// Bytes of linear memory that the guest had, at the most; no decision sees it.
    pub memory_bytes: usize,
}

impl Called {
    /// What the call used of its class's limits, for those who write plugins.
    pub fn used(&self, plugin: &Plugin) -> Used {
        Used {
            class: Class::of(plugin.code.engine, &self.record.input),
            fuel: self.record.fuel,
            memory_bytes: self.memory_bytes,
            input_bytes: sizes::input_bytes(plugin.settings(), &self.record.input),
            output_bytes: self.result.as_ref().map_or(0, Output::encoded_bytes),
            log_lines: self.record.log.len(),
        }
    }
}

/// What a call used of its class's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The class whose limits hold.
    pub class: Class,
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes of linear memory, at the most.
    pub memory_bytes: usize,
    /// Bytes of the input's texts and bodies.
    pub input_bytes: usize,
    /// Bytes of the answer as its record writes it, which is near to what the limit counts.
    pub output_bytes: usize,
    /// Lines kept of its log.
    pub log_lines: usize,
}

/// The door. Cloning it is cheap; all clones share slots, engine and counts.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    native: Side,
    /// Opened when the first plugin that needs it is loaded: a host without one never pays for it.
    interpreter: OnceLock<Side>,
    interpreter_slots: u32,
    cache: Option<Dir>,
    compiler: Compiler,
    limits: ClassLimits,
    wait: Duration,
    counters: Counters,
    loading: Mutex<()>,
    drift: Option<fn() -> u64>,
}

/// One engine with all that belongs to it alone: never does anything of one side meet the other.
struct Side {
    engine: Engine,
    linker: Linker<State>,
    cache: Option<Cache>,
    slots: Semaphore,
    slots_max: u32,
}

/// How a run ended, with what was seen of it.
pub(crate) struct Run {
    pub(crate) result: Result<Output, Fault>,
    pub(crate) log: Vec<(u8, String)>,
    pub(crate) fuel: u64,
    pub(crate) memory_bytes: usize,
}

impl Door {
    /// Opens the door. Errors: limits or slots outside their bounds, an engine that cannot start, a cache that cannot be used.
    pub fn new(config: DoorConfig) -> Result<Door, DoorError> {
        if !(1..=SLOTS_MAX).contains(&config.slots) {
            return Err(DoorError::Slots(config.slots));
        }
        if !(1..=INTERPRETER_SLOTS_MAX).contains(&config.interpreter_slots) {
            return Err(DoorError::InterpreterSlots(config.interpreter_slots));
        }
        config.limits.check()?;
        let inner = Inner {
            native: Side::open(EngineKind::Native, config.slots, config.cache.as_ref())?,
            interpreter: OnceLock::new(),
            interpreter_slots: config.interpreter_slots,
            cache: config.cache,
            compiler: config.compiler,
            limits: config.limits,
            wait: Duration::from_millis(config.wait_ms),
            counters: Counters::default(),
            loading: Mutex::new(()),
            drift: config.drift,
        };
        Ok(Door { inner: Arc::new(inner) })
    }

    /// Makes a component ready: checks, compiles (or finds it in the cache) and links it, and starts it once. Takes up to some seconds of
    /// processor time, so call it where blocking is allowed. `settings` are complete, as [`Manifest::settings`] gives them. Errors:
    /// everything that is wrong with the component.
    pub fn load(&self, component: &[u8], manifest: &Manifest, settings: Vec<Named>) -> Result<Plugin, LoadError> {
        let inner = &*self.inner;
        // One at a time: compiling uses every core by itself, and starting needs the one place that calls do not have.
        let _alone = inner.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let side = self.side_or_open(manifest.engine)?;
        let class = Class::of(manifest.engine, &Input::Describe);
        let place = Place {
            engine: &side.engine,
            linker: &side.linker,
            compiler: &inner.compiler,
            cache: side.cache.as_ref(),
            class,
            limits: inner.limits.of(class),
            share: share(side.slots_max),
        };
        plugin::load(&place, component, manifest, settings)
    }

    /// The native engine's name, version and settings, as records write it. A plugin's own is [`Plugin::engine`].
    pub fn engine(&self) -> &str {
        &self.inner.native.engine.id
    }

    /// What one call may use.
    pub fn limits(&self) -> &ClassLimits {
        &self.inner.limits
    }

    /// What was counted so far.
    pub fn meters(&self) -> Meters {
        let (mut running, mut slots) = (0, 0);
        for side in [Some(&self.inner.native), self.inner.interpreter.get()].into_iter().flatten() {
            let of_side = usize::try_from(side.slots_max).unwrap_or(1);
            running += of_side.saturating_sub(side.slots.available_permits());
            slots += of_side;
        }
        self.inner.counters.read(running, slots)
    }

    /// The side of an engine, if it was opened: it was if a plugin of it is loaded.
    fn side(&self, kind: EngineKind) -> Option<&Side> {
        match kind {
            EngineKind::Native => Some(&self.inner.native),
            EngineKind::Interpreter => self.inner.interpreter.get(),
        }
    }

    fn side_or_open(&self, kind: EngineKind) -> Result<&Side, LoadError> {
        if let Some(side) = self.side(kind) {
            return Ok(side);
        }
        let side = Side::open(kind, self.inner.interpreter_slots, self.inner.cache.as_ref());
        let side = side.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            LoadError::Engine { engine: kind.word(), problem: format!("{error}{source}") }
        })?;
        Ok(self.inner.interpreter.get_or_init(|| side))
    }

    /// Runs one call in a fresh instance and returns its typed answer with the record of it. Never panics, never runs longer than the class
    /// allows; whatever the guest does comes back as a fault. Dropping the future ends the guest.
    pub async fn call(&self, plugin: &Plugin, context: CallContext, input: Input) -> Called {
        let CallContext { id, at, scope, seed, locale } = context;
        let now = u64::try_from(at.0).unwrap_or(0);
        let mut context = Context { call: id.to_string(), scope, now, seed, locale };
        context.seed = seed.wrapping_add(self.inner.drift.map_or(0, |drift| drift()));
        let Run { result, log, fuel, memory_bytes } = self.run(plugin, &context, &input).await;
        context.seed = seed;
        let ending = match &result {
            Ok(output) => Ending::Output(output.clone()),
            Err(fault) => Ending::Fault(fault.clone()),
        };
        let record = Record {
            id,
            at,
            plugin: plugin.id().to_owned(),
            part: Part::Live,
            about: None,
            component: plugin.digest(),
            contract: CONTRACT.to_owned(),
            engine: plugin.engine().to_owned(),
            settings: plugin.settings_digest(),
            grants: plugin.grants(),
            context,
            input,
            log,
            ending,
            fuel,
            salt: [0; 16],
        };
        Called { result, record, memory_bytes }
    }

    /// The measure for what this door costs: the same instance, store and limits, the same typed call, and nothing else. No slot, no gate, no
    /// record, no count. Errors: the guest's fault.
    pub async fn call_raw(&self, plugin: &Plugin, context: &Context, input: &Input) -> Result<(), Fault> {
        let class = Class::of(plugin.code.engine, input);
        let limits = self.inner.limits.of(class);
        let Some(side) = self.side(plugin.code.engine) else { return Err(not_loaded_here()) };
        let answer = async {
            let mut store = side.engine.store(limits)?;
            run_in(&mut store, plugin, context, input).await
        };
        answer.await.map(|_| ()).map_err(|error| faults::from_error(&error, None, class, limits))
    }

    /// Asks a component what another one was asked: a question of the past, whose answer has no effect and leaves no record. Answers how
    /// it ended and the fuel used.
    pub async fn ask_again(&self, plugin: &Plugin, context: &Context, input: &Input) -> (Ending, u64) {
        let Run { result, fuel, .. } = self.run(plugin, context, input).await;
        (result.map_or_else(Ending::Fault, Ending::Output), fuel)
    }

    /// A call without its record: what `call` and `replay` have in common.
    pub(crate) async fn run(&self, plugin: &Plugin, context: &Context, input: &Input) -> Run {
        let run = self.run_uncounted(plugin, context, input).await;
        self.inner.counters.called(run.result.as_ref().err().map(|fault| fault.class));
        run
    }

    async fn run_uncounted(&self, plugin: &Plugin, context: &Context, input: &Input) -> Run {
        let class = Class::of(plugin.code.engine, input);
        let limits = self.inner.limits.of(class);
        let nothing_ran = |fault| Run { result: Err(fault), log: Vec::new(), fuel: 0, memory_bytes: 0 };
        let bytes = sizes::input_bytes(plugin.settings(), input);
        if bytes > limits.input_bytes {
            let most = limits.input_bytes;
            let detail = format!("an input of {bytes} bytes, at most {most} are given to a {} call", class.word());
            return nothing_ran(fault(FaultClass::HostDataTooLarge, detail));
        }
        let Some(side) = self.side(plugin.code.engine) else { return nothing_ran(not_loaded_here()) };
        let word = side.engine.kind.word();
        // Its own share first: whoever waits for that holds nothing that another could use.
        let Some(own) = self.slot(&plugin.code.share).await else {
            let most = share(side.slots_max);
            let detail = format!("all {most} slots of the {word} engine that one component may take at once are taken");
            return nothing_ran(fault(FaultClass::Busy, detail));
        };
        let Some(permit) = self.slot(&side.slots).await else {
            let detail = format!("all {} slots of the {word} engine are taken", side.slots_max);
            return nothing_ran(fault(FaultClass::Busy, detail));
        };
        let mut store = match side.engine.store(limits) {
            Ok(store) => store,
            Err(error) => return nothing_ran(faults::from_error(&error, None, class, limits)),
        };
        let answer = run_in(&mut store, plugin, context, input).await;
        let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
        let memory_bytes = store.data().memory_seen();
        let (log, panic) = store.into_data().into_log();
        drop((permit, own));
        let exports = &plugin.code.exports;
        let (has_files, has_machine) = (exports.files.is_some(), exports.machine.is_some());
        let gate = Gate { manifest: plugin.manifest(), has_files, has_machine };
        let result = match answer {
            Ok(raw) => gate.admit(input, raw),
            Err(error) => Err(faults::from_error(&error, panic.as_deref(), class, limits)),
        };
        Run { result, log, fuel, memory_bytes }
    }

    /// A free slot, at once or after a bounded wait that is measured.
    #[expect(clippy::disallowed_methods, reason = "measures a wait for the metrics; no decision sees it")]
    async fn slot<'s>(&self, slots: &'s Semaphore) -> Option<SemaphorePermit<'s>> {
        if let Ok(permit) = slots.try_acquire() {
            return Some(permit);
        }
        let since = Instant::now();
        let permit = tokio::time::timeout(self.inner.wait, slots.acquire()).await;
        self.inner.counters.waited(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        permit.ok()?.ok()
    }
}

impl Side {
    fn open(kind: EngineKind, slots: u32, cache: Option<&Dir>) -> Result<Side, DoorError> {
        let unable = |error: wasmtime::Error| DoorError::Engine { slots, problem: format!("{error:#}") };
        // One more than there are permits: loading a plugin starts it once, beside the calls.
        let engine = Engine::new(kind, slots + 1).map_err(unable)?;
        let linker = plugin::linker(&engine.wasm).map_err(unable)?;
        let open = |dir: &Dir| Cache::open(dir.try_clone()?, engine.compiled_for);
        let cache = cache.map(open).transpose().map_err(DoorError::Cache)?;
        let permits = Semaphore::new(usize::try_from(slots).unwrap_or(1));
        Ok(Side { engine, linker, cache, slots: permits, slots_max: slots })
    }
}

/// How many of so many slots one component may take at once.
fn share(slots: u32) -> u32 {
    (slots / SHARE).max(SHARE_MIN).min(slots)
}

/// A plugin that another door loaded, for an engine that this one never needed.
fn not_loaded_here() -> Fault {
    fault(FaultClass::Busy, "the plugin's engine is not running here: load the plugin at this door first")
}

async fn run_in(store: &mut Store<State>, plugin: &Plugin, context: &Context, input: &Input) -> wasmtime::Result<Raw> {
    let instance = plugin.code.pre.instantiate_async(&mut *store).await?;
    calls::run(&plugin.code.exports, store, &instance, context, plugin.settings(), input).await
}
