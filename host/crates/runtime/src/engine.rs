//! The two engines for guests: what each allows, how it is named, and the clock that ticks for it.
//!
//! *Native* runs compiled plugins: small, many at once, started in microseconds. *Interpreter* runs components that carry a whole language
//! (JavaScript, Python): more stack, memory, tables and instances, and few at once. Nothing of one is ever given to the other.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use koban_domain::manifest::EngineKind;
use koban_domain::records::Digest;
use wasmtime::{Config, Enabled, EngineWeak, ModuleVersionStrategy, PoolingAllocationConfig, Store, WasmFeatures};

use crate::limits::{INTERPRETER_MEMORY_BYTES, Limits, POOL_MEMORY_BYTES};
use crate::state::State;

/// Milliseconds between two ticks of the epoch.
pub(crate) const TICK_MS: u64 = 5;

/// Everything a guest may be made of. Not among it: threads, 64-bit and several memories, garbage collection, exceptions, tail calls, SIMD and
/// everything asynchronous. Floats are allowed inside a guest (the contract has none), with one canonical NaN.
const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// An interpreter's component is composed of several, and the engine's own adapter between two of them touches the memories of both. Guests
/// themselves still have one memory: the check of a package refuses more.
const INTERPRETER_FEATURES: WasmFeatures = FEATURES.union(WasmFeatures::MULTI_MEMORY);

/// What one engine's guests may be made of, and how many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Core instances in one component.
    pub(crate) instances: u32,
    features: WasmFeatures,
    /// Memories and tables in one component.
    memories: u32,
    tables: u32,
    /// Entries of one table.
    pub(crate) table_elements: usize,
    /// Bytes of native stack that a guest may use.
    pub(crate) stack_bytes: usize,
    /// Bytes that the runtime keeps for one core instance, and for all of a component.
    instance_bytes: usize,
    /// Bytes of memory that the pool has room for.
    memory_bytes: usize,
    /// Address space set aside for one memory. With 4 GiB no access needs a check of its own: smaller and faster code, for few guests.
    reservation_bytes: u64,
    /// Bytes of memory that are reset by copying rather than by giving their pages back.
    keep_bytes: usize,
}

impl Bounds {
    /// The bounds of an engine.
    pub(crate) const fn of(kind: EngineKind) -> Bounds {
        match kind {
            EngineKind::Native => Bounds {
                instances: EngineKind::NATIVE_INSTANCES_MAX,
                features: FEATURES,
                memories: 1,
                tables: 4,
                table_elements: 10_000,
                stack_bytes: 512 << 10,
                instance_bytes: 1 << 20,
                memory_bytes: POOL_MEMORY_BYTES,
                reservation_bytes: POOL_MEMORY_BYTES as u64,
                keep_bytes: 512 << 10,
            },
            // An interpreter is linked at its start from libraries: eleven instances in JavaScript, 38 in Python.
            EngineKind::Interpreter => Bounds {
                instances: 100,
                features: INTERPRETER_FEATURES,
                memories: 4,
                tables: 10,
                table_elements: 50_000,
                stack_bytes: 2 << 20,
                instance_bytes: 4 << 20,
                memory_bytes: INTERPRETER_MEMORY_BYTES,
                reservation_bytes: 4 << 30,
                keep_bytes: 4 << 20,
            },
        }
    }
}

/// An engine with its names and its clock.
pub(crate) struct Engine {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) kind: EngineKind,
    /// Name, version and settings, as records write it: fuel is comparable under the same one only.
    pub(crate) id: String,
    /// What compiled code depends on, the processor's features included: part of the cache's key.
    pub(crate) compiled_for: Digest,
}

impl Engine {
    /// An engine with room for so many calls at once. Errors: wasmtime's own, when the machine cannot give that much address space.
    pub(crate) fn new(kind: EngineKind, slots: u32) -> wasmtime::Result<Engine> {
        let engine = Engine::named(wasmtime::Engine::new(&config(&Bounds::of(kind), slots))?, kind);
        start_clock(engine.wasm.weak())?;
        Ok(engine)
    }

    /// An engine that compiles what one of [`Engine::new`] runs: on one thread, with no clock, and with room for hardly anything.
    pub(crate) fn for_compiling(kind: EngineKind) -> wasmtime::Result<Engine> {
        let mut config = config(&Bounds::of(kind), 1);
        config.parallel_compilation(false);
        Ok(Engine::named(wasmtime::Engine::new(&config)?, kind))
    }

    fn named(wasm: wasmtime::Engine, kind: EngineKind) -> Engine {
        let bounds = Bounds::of(kind);
        let settings = format!(
            "features {:x}, fuel {}, epoch {}, canonical nan {:?}, wasm stack {}, memory {}",
            wasm.get_wasm_features().bits(),
            wasm.get_consume_fuel(),
            wasm.get_epoch_interruption(),
            wasm.get_cranelift_nan_canonicalization(),
            wasm.get_max_wasm_stack(),
            bounds.memory_bytes,
        );
        let version = Written::of(&ModuleVersionStrategy::WasmtimeVersion);
        let version =
            String::from_utf8_lossy(&version).trim_end_matches(|char: char| !char.is_ascii_digit()).to_owned();
        let word = kind.word();
        let id = format!("wasmtime {version} {word} {}", &Digest::of(settings.as_bytes()).to_string()[..12]);
        let compiled_for = Digest::of_parts(&[id.as_bytes(), &Written::of(&wasm.precompile_compatibility_hash())]);
        Engine { wasm, kind, id, compiled_for }
    }

    /// A fresh store within these limits. The guest gives way at every tick, and stops at its deadline.
    pub(crate) fn store(&self, limits: &Limits) -> wasmtime::Result<Store<State>> {
        let state = State::new(limits, Bounds::of(self.kind), self.deadline_ticks(limits));
        let mut store = Store::try_new(&self.wasm, state)?;
        store.limiter(|state| state);
        store.set_fuel(limits.fuel)?;
        store.set_hostcall_fuel(limits.output_bytes);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().at_tick()));
        store.set_epoch_deadline(1);
        Ok(store)
    }

    /// The guard of these limits in ticks.
    pub(crate) fn deadline_ticks(&self, limits: &Limits) -> u64 {
        limits.deadline_ms().div_ceil(TICK_MS)
    }
}

fn config(bounds: &Bounds, slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(bounds.instances))
        .total_memories(slots.saturating_mul(bounds.memories.max(2)))
        .total_tables(slots.saturating_mul(bounds.tables))
        .total_stacks(slots)
        .max_core_instances_per_component(bounds.instances)
        .max_memories_per_component(bounds.memories)
        .max_tables_per_component(bounds.tables)
        .max_memories_per_module(1)
        .max_tables_per_module(2)
        .max_component_instance_size(bounds.instance_bytes)
        .max_core_instance_size(bounds.instance_bytes)
        .table_elements(bounds.table_elements)
        .max_memory_size(bounds.memory_bytes)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(bounds.keep_bytes)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(32 << 10)
        // Resets only the pages that were touched: no page fault in the usual call (Linux 6.7 and later).
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(bounds.features, true)
        .allocation_strategy(pool)
        .memory_reservation(bounds.reservation_bytes)
        .memory_init_cow(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(bounds.stack_bytes)
        .async_stack_size(bounds.stack_bytes + (512 << 10))
        .parallel_compilation(true);
    config
}

/// One plain thread that ticks until the engine is gone. Late ticks are not made up for.
fn start_clock(engine: EngineWeak) -> std::io::Result<()> {
    std::thread::Builder::new().name("koban-epoch".into()).spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(TICK_MS));
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    })?;
    Ok(())
}

/// A hasher that only writes down what it is given: the engine tells its version and settings as something to hash, and a name has to stay the
/// same from one build of the host to the next.
#[derive(Default)]
struct Written(Vec<u8>);

impl Written {
    fn of(value: &impl Hash) -> Vec<u8> {
        let mut written = Written::default();
        value.hash(&mut written);
        written.0
    }
}

impl Hasher for Written {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Class, ClassLimits};

    #[tokio::test]
    async fn the_guard_ends_what_fuel_does_not() {
        for (kind, class, said) in [
            (EngineKind::Native, Class::Decision, "deadline (stopped after 250 ms (decision))"),
            (EngineKind::Interpreter, Class::Interpreter, "deadline (stopped after 250 ms (interpreter))"),
        ] {
            let engine = Engine::new(kind, 4).unwrap();
            let text = r#"(module (func (export "spin") (loop $again (br $again))))"#;
            let module = wasmtime::Module::new(&engine.wasm, wat::parse_str(text).unwrap()).unwrap();
            // As short a guard as there is, so that nobody waits for an interpreter's own.
            let limits = Limits { fuel: 1, ..*ClassLimits::default().of(class) };
            let mut store = engine.store(&limits).unwrap();
            store.set_fuel(u64::MAX).unwrap();
            let instance = wasmtime::Instance::new_async(&mut store, &module, &[]).await.unwrap();
            let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
            let error = spin.call_async(&mut store, ()).await.unwrap_err();
            let fault = crate::faults::from_error(&error, None, class, &limits);
            assert_eq!(fault.to_string(), said);
        }
    }

    #[test]
    fn what_is_compiled_apart_runs_here() {
        for kind in [EngineKind::Native, EngineKind::Interpreter] {
            let (apart, here) = (Engine::for_compiling(kind).unwrap(), Engine::new(kind, 2).unwrap());
            assert_eq!((apart.id, apart.compiled_for), (here.id, here.compiled_for));
        }
    }

    #[test]
    fn an_engine_is_named_by_kind_version_and_settings() {
        let one = Engine::new(EngineKind::Native, 4).unwrap();
        let other = Engine::new(EngineKind::Native, 8).unwrap();
        assert_eq!(one.id, other.id, "the number of slots changes no answer");
        assert!(one.id.starts_with("wasmtime 48.0."), "{}", one.id);
        assert_eq!(one.id.len(), "wasmtime 48.0.8 native 0123456789ab".len(), "{}", one.id);
        let interpreter = Engine::new(EngineKind::Interpreter, 2).unwrap();
        assert!(interpreter.id.contains(" interpreter "), "{}", interpreter.id);
        assert_ne!(one.compiled_for, interpreter.compiled_for, "code of one is never loaded by the other");
    }
}
