//! A component made ready: checked, compiled, linked, with the interfaces that it exports found once.

use std::sync::Arc;

use koban_domain::guest::Named;
use koban_domain::manifest::Manifest;
use koban_domain::records::{Digest, Fault, settings_digest};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Engine, Precompiled};

use crate::bindings::Guests;
use crate::bindings::exports::koban::plugin as exports;
use crate::cache::{Cache, CacheUse};
use crate::engine::Native;
use crate::faults;
use crate::limits::{COMPONENT_BYTES_MAX, Class, Limits};
use crate::state::State;

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
    pub(crate) engine_id: Arc<str>,
    cache: CacheUse,
}

/// The interfaces that a component exports, found by name once. A kind's manifest says which must be there.
pub(crate) struct Exports {
    pub(crate) plugin: exports::plugin::GuestIndices,
    pub(crate) assess: Option<exports::assess::GuestIndices>,
    pub(crate) charge: Option<exports::charge::GuestIndices>,
    pub(crate) machine: Option<exports::machine::GuestIndices>,
    pub(crate) inbound: Option<exports::inbound::GuestIndices>,
    pub(crate) settlement: Option<exports::settlement::GuestIndices>,
    pub(crate) files: bool,
}

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Larger than any plugin may be.
    #[error(
        "the component has {0} bytes, at most {COMPONENT_BYTES_MAX} are allowed: build it in release mode and strip it"
    )]
    TooLarge(usize),
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
    /// Not valid, or made of features that guests may not use.
    #[error("the component is not valid here: {0}")]
    Invalid(String),
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
    #[error("an exported function differs from {contract}: {0}", contract = koban_domain::guest::CONTRACT)]
    WrongType(String),
    /// It could not even be started.
    #[error("the component cannot be started: {0}")]
    Start(Fault),
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

    /// What the cache had to say when it was loaded.
    pub fn cache(&self) -> &CacheUse {
        &self.code.cache
    }

    /// The same component with other settings; nothing is compiled again.
    pub fn with_settings(&self, settings: Vec<Named>) -> Plugin {
        Plugin { code: Arc::clone(&self.code), settings_digest: settings_digest(&settings), settings: settings.into() }
    }
}

/// The one linker: `log`, and the two interfaces that have types only. What is not in it cannot be imported.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    Guests::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// Checks, compiles and links. `probe` runs the component's own start once, within the limits of a decision.
pub(crate) fn load(
    native: &Native,
    linker: &Linker<State>,
    cache: Option<&Cache>,
    limits: &Limits,
    bytes: &[u8],
    manifest: &Manifest,
    settings: Vec<Named>,
) -> Result<Plugin, LoadError> {
    check_shape(bytes)?;
    let digest = Digest::of(bytes);
    let compile = || Component::from_binary(&native.engine, bytes);
    let (component, cache) = match cache {
        Some(cache) => cache.component(&native.engine, digest, compile),
        None => compile().map(|component| (component, CacheUse::Off)),
    }
    .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
    let pre = linker.instantiate_pre(&component).map_err(|error| LoadError::ImportRefused(format!("{error:#}")))?;
    let exports = Exports::find(&pre, manifest)?;
    probe(native, limits, &pre, &exports)?;
    let code = Code {
        pre,
        exports,
        manifest: manifest.clone(),
        digest,
        grants: grants_digest(manifest),
        engine_id: native.id.as_str().into(),
        cache,
    };
    Ok(Plugin { code: Arc::new(code), settings_digest: settings_digest(&settings), settings: settings.into() })
}

fn check_shape(bytes: &[u8]) -> Result<(), LoadError> {
    if let Some(Precompiled::Module | Precompiled::Component) = Engine::detect_precompiled(bytes) {
        return Err(LoadError::Precompiled);
    }
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge(bytes.len()));
    }
    // Preamble: `\0asm`, two bytes of version, two bytes of layer (0 a core module, 1 a component).
    match bytes.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

impl Exports {
    fn find(pre: &InstancePre<State>, manifest: &Manifest) -> Result<Exports, LoadError> {
        let (name, version) = koban_domain::guest::CONTRACT.split_once('@').unwrap_or_default();
        let has =
            |interface: &str| pre.component().get_export_index(None, format!("{name}/{interface}@{version}")).is_some();
        for interface in ["plugin"].iter().chain(manifest.kind.required_interfaces()) {
            if !has(interface) {
                return Err(LoadError::MissingExport {
                    kind: manifest.kind.word(),
                    interface: (*interface).to_owned(),
                });
            }
        }
        // An interface that is there but lacks one of its functions.
        let shape = |error: wasmtime::Error| LoadError::WrongType(error.to_string());
        Ok(Exports {
            plugin: exports::plugin::GuestIndices::new(pre).map_err(shape)?,
            assess: has("assess").then(|| exports::assess::GuestIndices::new(pre)).transpose().map_err(shape)?,
            charge: has("charge").then(|| exports::charge::GuestIndices::new(pre)).transpose().map_err(shape)?,
            machine: has("machine").then(|| exports::machine::GuestIndices::new(pre)).transpose().map_err(shape)?,
            inbound: has("inbound").then(|| exports::inbound::GuestIndices::new(pre)).transpose().map_err(shape)?,
            settlement: has("settlement")
                .then(|| exports::settlement::GuestIndices::new(pre))
                .transpose()
                .map_err(shape)?,
            files: has("files"),
        })
    }
}

/// Starts the component once and looks at the types of its functions, so that neither can be a surprise at the first payment.
fn probe(native: &Native, limits: &Limits, pre: &InstancePre<State>, exports: &Exports) -> Result<(), LoadError> {
    let start = |error: wasmtime::Error| LoadError::Start(faults::from_error(&error, None, Class::Decision, limits));
    let mut store = native.store(limits).map_err(start)?;
    store.epoch_deadline_trap();
    store.set_epoch_deadline(native.deadline_ticks(limits));
    let instance = pre.instantiate(&mut store).map_err(start)?;
    let shape = |error: wasmtime::Error| LoadError::WrongType(format!("{error:#}"));
    exports.plugin.load(&mut store, &instance).map_err(shape)?;
    if let Some(indices) = &exports.assess {
        indices.load(&mut store, &instance).map_err(shape)?;
    }
    if let Some(indices) = &exports.charge {
        indices.load(&mut store, &instance).map_err(shape)?;
    }
    if let Some(indices) = &exports.machine {
        indices.load(&mut store, &instance).map_err(shape)?;
    }
    if let Some(indices) = &exports.inbound {
        indices.load(&mut store, &instance).map_err(shape)?;
    }
    if let Some(indices) = &exports.settlement {
        indices.load(&mut store, &instance).map_err(shape)?;
    }
    Ok(())
}
