//! The one engine for native guests: what it allows, how it is named, and the clock that ticks for it.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use koban_domain::records::Digest;
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, ModuleVersionStrategy, PoolingAllocationConfig, Store, WasmFeatures,
};

use crate::limits::{Limits, POOL_MEMORY_BYTES};
use crate::state::{State, TABLE_ELEMENTS_MAX};

/// Milliseconds between two ticks of the epoch.
pub(crate) const TICK_MS: u64 = 5;
/// Bytes of native stack that a guest may use.
const STACK_BYTES_MAX: usize = 512 << 10;

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

/// An engine with its names and its clock.
pub(crate) struct Native {
    pub(crate) engine: Engine,
    /// Name, version and settings, as records write it: fuel is comparable under the same one only.
    pub(crate) id: String,
    /// What compiled code depends on, the processor's features included: part of the cache's key.
    pub(crate) compiled_for: Digest,
}

impl Native {
    /// An engine with room for so many calls at once. Errors: wasmtime's own, when the machine cannot give that much address space.
    pub(crate) fn new(slots: u32) -> wasmtime::Result<Native> {
        let config = config(slots);
        let engine = Engine::new(&config)?;
        start_clock(engine.weak())?;
        let settings = format!(
            "features {:x}, fuel {}, epoch {}, canonical nan {:?}, wasm stack {}, memory {}",
            engine.get_wasm_features().bits(),
            engine.get_consume_fuel(),
            engine.get_epoch_interruption(),
            engine.get_cranelift_nan_canonicalization(),
            engine.get_max_wasm_stack(),
            POOL_MEMORY_BYTES,
        );
        let version = Written::of(&ModuleVersionStrategy::WasmtimeVersion);
        let version =
            String::from_utf8_lossy(&version).trim_end_matches(|char: char| !char.is_ascii_digit()).to_owned();
        let id = format!("wasmtime {version} native {}", &Digest::of(settings.as_bytes()).to_string()[..12]);
        let compiled_for = Digest::of_parts(&[id.as_bytes(), &Written::of(&engine.precompile_compatibility_hash())]);
        Ok(Native { engine, id, compiled_for })
    }

    /// A fresh store within these limits. The guest gives way at every tick, and stops at its deadline.
    pub(crate) fn store(&self, limits: &Limits) -> wasmtime::Result<Store<State>> {
        let state = State::new(limits, self.deadline_ticks(limits));
        let mut store = Store::try_new(&self.engine, state)?;
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

fn config(slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots.saturating_mul(2))
        .total_tables(slots.saturating_mul(4))
        .total_stacks(slots)
        .max_core_instances_per_component(10)
        .max_memories_per_component(1)
        .max_tables_per_component(4)
        .max_memories_per_module(1)
        .max_tables_per_module(2)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(POOL_MEMORY_BYTES)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(32 << 10)
        // Resets only the pages that were touched: no page fault in the usual call (Linux 6.7 and later).
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        .allocation_strategy(pool)
        .memory_reservation(u64::try_from(POOL_MEMORY_BYTES).unwrap_or(u64::MAX))
        .memory_init_cow(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(1 << 20)
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
        let native = Native::new(4).unwrap();
        let text = r#"(module (func (export "spin") (loop $again (br $again))))"#;
        let module = wasmtime::Module::new(&native.engine, wat::parse_str(text).unwrap()).unwrap();
        let limits = ClassLimits::default().decision;
        let mut store = native.store(&limits).unwrap();
        store.set_fuel(u64::MAX).unwrap();
        let instance = wasmtime::Instance::new_async(&mut store, &module, &[]).await.unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
        let error = spin.call_async(&mut store, ()).await.unwrap_err();
        let fault = crate::faults::from_error(&error, None, Class::Decision, &limits);
        assert_eq!(fault.to_string(), "deadline (stopped after 250 ms (decision))");
    }

    #[test]
    fn the_engine_is_named_by_version_and_settings() {
        let one = Native::new(4).unwrap();
        let other = Native::new(8).unwrap();
        assert_eq!(one.id, other.id, "the number of slots changes no answer");
        assert!(one.id.starts_with("wasmtime 48.0."), "{}", one.id);
        assert_eq!(one.id.len(), "wasmtime 48.0.8 native 0123456789ab".len(), "{}", one.id);
    }
}
