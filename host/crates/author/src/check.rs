//! Says whether a component is what its manifest says, and asks for nothing that plugins do not get.

use koban_domain::guest::CONTRACT;
use koban_domain::manifest::{BEGINS_FLOWS, EngineKind, Manifest, NOT_DRIVEN};
use koban_domain::records::Digest;
use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, Encoding, Instance, Parser, Payload, Validator, WasmFeatures,
};

/// What a component may import. All but `log` have types only, so `log` is all that a plugin can call.
const IMPORTS: &[&str] = &["log", "types", "flow", "market", "accounts"];

/// What the componentizers of JavaScript and Python leave behind beside the plugin's exports: how the interpreter was started at build time. The
/// host calls neither.
const TOOL_EXPORTS: &[&str] = &["init (Func)", "exports"];

/// What a component may be made of: the same list as the host's engine has, so what passes here is compiled there.
const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// A component that fits its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its identity.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: usize,
    /// The interfaces that it imports, with their version, sorted.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their version, sorted.
    pub exports: Vec<String>,
}

/// Why a component cannot be a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Larger than a plugin of its engine may be.
    #[error("the component has {bytes} bytes, at most {most} are allowed for the {engine} engine: {hint}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What its engine takes.
        most: usize,
        /// The engine that the manifest names.
        engine: &'static str,
        /// What helps.
        hint: &'static str,
    },
    /// Not WebAssembly at all.
    #[error("the bytes are not WebAssembly: give the component.wasm that `koban plugin build` writes")]
    NotWasm,
    /// A core module.
    #[error("this is a core module and not a component: `koban plugin build` makes a component of it")]
    CoreModule,
    /// Machine code.
    #[error(
        "this is compiled machine code, which is never accepted: give the component.wasm that `koban plugin build` writes"
    )]
    Precompiled,
    /// Damaged, or made of features that plugins may not use.
    #[error(
        "the component is not valid ({problem} at byte {at}): plugins use no threads, SIMD, 64-bit or several memories, garbage collection, exceptions, tail calls or asynchronous functions; build it for wasm32-unknown-unknown without extra target features"
    )]
    Invalid {
        /// What the validator says.
        problem: String,
        /// Where.
        at: u64,
    },
    /// More functions than any honest plugin.
    #[error("the component has more than {0} functions: leave out dependencies that it does not need")]
    TooManyFunctions(u32),
    /// The manifest names the interpreter engine, and the native one could run it.
    #[error(
        "plugin.toml says `engine = \"interpreter\"`, but the component is a native one ({instances} core instances, an interpreter has more than {most}): take the line out", most = EngineKind::NATIVE_INSTANCES_MAX
    )]
    NoInterpreter {
        /// How many core instances it has.
        instances: u32,
    },
    /// The native engine cannot run it.
    #[error(
        "the component has {instances} core instances, at most {most} run in the native engine: if it carries an interpreter, write `engine = \"interpreter\"` in plugin.toml", most = EngineKind::NATIVE_INSTANCES_MAX
    )]
    Interpreter {
        /// How many core instances it has.
        instances: u32,
    },
    /// An import that no plugin gets.
    #[error(
        "the component imports `{0}`, which no plugin gets: plugins import only `log` of {CONTRACT}; a clock, files, network and randomness come as input or are asked for as effects"
    )]
    Import(String),
    /// An import of another version of the contract.
    #[error("the component imports `{0}`, but this host speaks {CONTRACT}: build it with the SDK of that version")]
    ImportVersion(String),
    /// An interface that the manifest's kind needs is missing.
    #[error(
        "a {kind} exports `{interface}` of {CONTRACT}, and this component does not: implement it and name it in the SDK's export macro"
    )]
    MissingExport {
        /// The manifest's kind.
        kind: &'static str,
        /// The interface.
        interface: String,
    },
    /// An interface that the manifest's kind does not have.
    #[error(
        "the component exports `{export}`, which a {kind} does not have: leave it out, or choose the kind that has it"
    )]
    UnexpectedExport {
        /// The manifest's kind.
        kind: &'static str,
        /// What is exported.
        export: String,
    },
    /// An interface that this host does not call yet.
    #[error(
        "the component exports `{interface}`, which this host does not call yet: leave it out, or wait for a newer host"
    )]
    NotDriven {
        /// The interface.
        interface: &'static str,
    },
    /// Flows would begin, and nothing would go on with them.
    #[error(
        "the component exports `{interface}`, which begins flows, but not `machine`, which goes on with them: implement it"
    )]
    NoMachine {
        /// The interface that begins flows.
        interface: &'static str,
    },
    /// The manifest and the component disagree on an interface that answers to one of the manifest's lists.
    #[error("the manifest {names} `{list}`, and the component {exports} `{interface}`: one needs the other")]
    Unmatched {
        /// What the manifest does.
        names: &'static str,
        /// The list.
        list: &'static str,
        /// What the component does.
        exports: &'static str,
        /// The interface.
        interface: &'static str,
    },
    /// The manifest lets a partner call, and nobody would answer.
    #[error(
        "the manifest has the inbound operation `{operation}`, but the component does not export `{interface}`: implement it or take the operation out"
    )]
    NoHook {
        /// The operation.
        operation: String,
        /// The interface that would answer.
        interface: &'static str,
    },
    /// The component would answer calls that nobody may make.
    #[error("the component exports `{interface}`, but the manifest has no inbound operation for it: add one to an endpoint{how}", how = how(interface))]
    NoOperation {
        /// The interface.
        interface: &'static str,
    },
}

fn how(interface: &str) -> &'static str {
    if interface == "settlement" { " and mark it `settlement = true`" } else { "" }
}

/// Checks a component against its manifest. Errors: everything that is wrong with it.
pub fn check(component: &[u8], manifest: &Manifest) -> Result<Checked, Vec<CheckError>> {
    check_shape(component, manifest.engine).map_err(|error| vec![error])?;
    let surface = surface(component, manifest.engine).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    let instances = surface.instances;
    match manifest.engine {
        EngineKind::Native if instances > EngineKind::NATIVE_INSTANCES_MAX => {
            errors.push(CheckError::Interpreter { instances });
        }
        EngineKind::Interpreter if instances <= EngineKind::NATIVE_INSTANCES_MAX => {
            errors.push(CheckError::NoInterpreter { instances });
        }
        EngineKind::Native | EngineKind::Interpreter => {}
    }
    for import in &surface.imports {
        errors.extend(check_import(import));
    }
    check_exports(&surface.exports, manifest, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Checked {
        digest: Digest::of(component),
        bytes: component.len(),
        imports: surface.imports,
        exports: surface.exports,
    })
}

fn check_shape(bytes: &[u8], engine: EngineKind) -> Result<(), CheckError> {
    // What engines write is an ELF file.
    if bytes.starts_with(b"\x7fELF") {
        return Err(CheckError::Precompiled);
    }
    let most = engine.component_bytes_max();
    if bytes.len() > most {
        let hint = match engine {
            EngineKind::Native => "build it in release mode, with opt-level \"s\" and lto, and strip it",
            EngineKind::Interpreter => "leave out packages that it does not need",
        };
        return Err(CheckError::TooLarge { bytes: bytes.len(), most, engine: engine.word(), hint });
    }
    if Parser::is_core_wasm(bytes) {
        return Err(CheckError::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(CheckError::NotWasm);
    }
    match Validator::new_with_features(FEATURES).validate_all(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(CheckError::Invalid { problem: error.message().to_owned(), at: error.offset() }),
    }
}

struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
    /// Core instances, those of nested components included.
    instances: u32,
}

/// What the outermost component imports and exports. What is nested inside is its own affair: it can get nothing from elsewhere.
fn surface(bytes: &[u8], engine: EngineKind) -> Result<Surface, CheckError> {
    let invalid = |error: wasmparser::BinaryReaderError| CheckError::Invalid {
        problem: error.message().to_owned(),
        at: error.offset(),
    };
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let (mut depth, mut functions, mut instances) = (0_u32, 0_u32, 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(CheckError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::FunctionSection(section) => {
                functions = functions.saturating_add(section.count());
                if functions > engine.functions_max() {
                    return Err(CheckError::TooManyFunctions(engine.functions_max()));
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let Instance::Instantiate { .. } = instance.map_err(invalid)? {
                        instances = instances.saturating_add(1);
                    }
                }
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(invalid)?;
                    let name = import.name.full_name();
                    imports.push(match import.ty {
                        ComponentTypeRef::Instance(_) => name.into_owned(),
                        // Never in the list of what is given, whatever its name.
                        other => format!("{name} ({:?})", other.kind()),
                    });
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    let name = export.name.full_name();
                    exports.push(match export.kind {
                        ComponentExternalKind::Instance => name.into_owned(),
                        other => format!("{name} ({other:?})"),
                    });
                }
            }
            _ => {}
        }
    }
    imports.sort();
    exports.sort();
    Ok(Surface { imports, exports, instances })
}

fn check_import(import: &str) -> Option<CheckError> {
    let given = |interface: &&str| import == full_name(interface);
    if IMPORTS.iter().any(given) {
        return None;
    }
    let other_version =
        |interface: &&str| import.split('@').next() == full_name(interface).split('@').next() && import.contains('@');
    Some(if IMPORTS.iter().any(other_version) {
        CheckError::ImportVersion(import.to_owned())
    } else {
        CheckError::Import(import.to_owned())
    })
}

fn check_exports(exports: &[String], manifest: &Manifest, errors: &mut Vec<CheckError>) {
    let kind = manifest.kind;
    let exported = |interface: &str| exports.iter().any(|export| *export == full_name(interface));
    let required = || ["plugin"].iter().chain(kind.required_interfaces());
    for interface in required().filter(|interface| !exported(interface)) {
        errors.push(CheckError::MissingExport { kind: kind.word(), interface: (*interface).to_owned() });
    }
    for export in exports {
        let known = |interface: &&str| *export == full_name(interface);
        let of_tool = manifest.engine == EngineKind::Interpreter && TOOL_EXPORTS.contains(&export.as_str());
        if !of_tool && !required().chain(kind.optional_interfaces()).any(known) {
            errors.push(CheckError::UnexpectedExport { kind: kind.word(), export: export.clone() });
        }
    }
    for interface in NOT_DRIVEN.iter().filter(|interface| exported(interface)) {
        errors.push(CheckError::NotDriven { interface });
    }
    if !exported("machine") && !kind.required_interfaces().contains(&"machine") {
        errors.extend(
            BEGINS_FLOWS
                .iter()
                .filter(|interface| exported(interface))
                .map(|interface| CheckError::NoMachine { interface }),
        );
    }
    if kind.optional_interfaces().contains(&"table") && exported("table") == manifest.tables.is_empty() {
        let (names, exports) =
            if manifest.tables.is_empty() { ("has no", "exports") } else { ("has", "does not export") };
        errors.push(CheckError::Unmatched { names, list: "tables", exports, interface: "table" });
    }
    if kind.optional_interfaces().contains(&"files") && exported("files") == manifest.directories.is_empty() {
        let (names, exports) =
            if manifest.directories.is_empty() { ("has no", "exports") } else { ("has", "does not export") };
        errors.push(CheckError::Unmatched { names, list: "directories", exports, interface: "files" });
    }
    for (interface, settlement) in [("inbound", false), ("settlement", true)] {
        if !kind.optional_interfaces().contains(&interface) {
            continue;
        }
        let operations = || {
            let inbound = manifest.endpoints.iter().flat_map(|endpoint| &endpoint.inbound);
            inbound.filter(|operation| operation.settlement == settlement)
        };
        if exported(interface) {
            if operations().next().is_none() {
                errors.push(CheckError::NoOperation { interface });
            }
        } else {
            errors.extend(
                operations().map(|operation| CheckError::NoHook { operation: operation.name.clone(), interface }),
            );
        }
    }
}

/// `log` becomes `koban:plugin/log@0.1.0`.
fn full_name(interface: &str) -> String {
    match CONTRACT.split_once('@') {
        Some((package, version)) => format!("{package}/{interface}@{version}"),
        None => format!("{CONTRACT}/{interface}"),
    }
}
