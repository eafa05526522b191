//! Guests of the pack: components made on the spot from answers as data and a few lines of WebAssembly text, so that no compiler is needed.

use std::fmt::Write as _;
use std::sync::OnceLock;

use anyhow::Context as _;
use koban_domain::guest::CONTRACT;
use serde_json::{Value, json};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, SourceMap};

use super::lower::{Memory, Types};

/// Where a guest's data begins.
const DATA: usize = 1_024;
/// Bytes of a page of memory.
const PAGE: usize = 65_536;
/// What the pack's guests call themselves.
pub(super) const VERSION: &str = "1.0.0";

/// When an answer of a flow is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// The event is this: `message`, `answer`, `rang`, …
    What(&'static str),
    /// A step was refused, and the guest is told.
    Refused,
    /// The flow's state begins with this letter.
    State(char),
    /// A number of the arguments is this.
    Is(&'static str, i32),
    /// A number of the arguments is odd.
    Odd(&'static str),
}

struct Answering {
    interface: &'static str,
    function: &'static str,
    /// What runs before an answer is looked for. The address of the arguments is its parameter 0.
    first: String,
    answers: Vec<(Vec<When>, Value)>,
}

/// What a guest would like to import beside `log`.
struct Import {
    /// Its package and interface, as text of the contract's language.
    wit: String,
    /// Its name.
    name: String,
    /// The function, as WebAssembly text.
    core: String,
}

/// A guest that is being put together.
pub(super) struct Guest {
    pub(super) id: String,
    version: String,
    functions: Vec<Answering>,
    definitions: String,
    realloc: Option<&'static str>,
    imports: Vec<Import>,
}

impl Guest {
    /// A guest of this id that does nothing yet.
    pub(super) fn new(id: &str) -> Guest {
        let guest = Guest {
            id: id.to_owned(),
            version: VERSION.to_owned(),
            functions: Vec::new(),
            definitions: String::new(),
            realloc: None,
            imports: Vec::new(),
        };
        guest.answers("plugin", "check-settings", json!({ "ok": null }))
    }

    /// A rule that allows everything.
    pub(super) fn rule(id: &str) -> Guest {
        Guest::new(id).answers("assess", "assess", allow(0))
    }

    /// A rule that runs this before it allows everything; what it runs may end in an answer of its own.
    pub(super) fn running(id: &str, body: impl Into<String>) -> Guest {
        Guest::rule(id).first("assess", "assess", body)
    }

    /// The same guest of another version.
    pub(super) fn version(mut self, version: &str) -> Guest {
        version.clone_into(&mut self.version);
        self
    }

    /// What a function answers.
    pub(super) fn answers(self, interface: &'static str, function: &'static str, answer: Value) -> Guest {
        self.when(interface, function, &[], answer)
    }

    /// What a function answers if all of this holds and nothing that was said before. Null is a trap.
    pub(super) fn when(
        mut self,
        interface: &'static str,
        function: &'static str,
        when: &[When],
        answer: Value,
    ) -> Guest {
        self.function(interface, function).answers.push((when.to_vec(), answer));
        self
    }

    /// What a function does first.
    pub(super) fn first(mut self, interface: &'static str, function: &'static str, body: impl Into<String>) -> Guest {
        self.function(interface, function).first = body.into();
        self
    }

    /// More definitions of its module.
    pub(super) fn defines(mut self, definitions: impl Into<String>) -> Guest {
        self.definitions.push_str(&definitions.into());
        self
    }

    /// How it gives the host room for what it is told, instead of as it should.
    pub(super) fn reallocates(mut self, body: &'static str) -> Guest {
        self.realloc = Some(body);
        self
    }

    /// An import beside `log`: a package with an interface, one item in it, and the function as its module sees it.
    pub(super) fn imports(mut self, package: &str, interface: &str, item: &str, function: &str, shape: &str) -> Guest {
        let (name, version) =
            package.split_once('@').map_or((package, String::new()), |(name, version)| (name, format!("@{version}")));
        let name = format!("{name}/{interface}{version}");
        let core = format!(r#"(import "{name}" "{function}" (func {shape}))"#);
        self.imports.push(Import {
            wit: format!("package {package} {{ interface {interface} {{ {item} }} }}"),
            name,
            core,
        });
        self
    }

    fn function(&mut self, interface: &'static str, function: &'static str) -> &mut Answering {
        let same = |known: &Answering| known.interface == interface && known.function == function;
        let place = self.functions.iter().position(same).unwrap_or(self.functions.len());
        if place == self.functions.len() {
            self.functions.push(Answering { interface, function, first: String::new(), answers: Vec::new() });
        }
        &mut self.functions[place]
    }

    /// The component. Errors: an answer that does not fit the contract, or text that is no WebAssembly.
    pub(super) fn build(&self) -> anyhow::Result<Vec<u8>> {
        self.component().with_context(|| format!("the guest {} cannot be made", self.id))
    }

    fn component(&self) -> anyhow::Result<Vec<u8>> {
        let (package, version) = CONTRACT.split_once('@').context("the contract has a version")?;
        let full = |interface: &str| format!("{package}/{interface}@{version}");
        let mut interfaces: Vec<&str> = self.functions.iter().map(|function| function.interface).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        let exports: String = interfaces.iter().map(|interface| format!("export {};", full(interface))).collect();
        let imports: String = self.imports.iter().map(|import| format!("import {};", import.name)).collect();
        let packages: String = self.imports.iter().map(|import| import.wit.as_str()).collect();
        let log = full("log");
        let mut resolve = contract()?.clone();
        let world = format!("package koban:selftest; {packages} world guest {{ import {log}; {imports} {exports} }}");
        let own = resolve.push_source("selftest.wit", &world)?;
        let world = resolve.select_world(&[own], Some("guest"))?;
        let types = Types::of(resolve)?;
        let core = wat::parse_str(self.module(&types, &full)?)?;
        Ok(koban_author::component(core, &types.resolve, world)?)
    }

    fn module(&self, types: &Types, full: &impl Fn(&str) -> String) -> anyhow::Result<String> {
        let mut memory = Memory::from(DATA);
        let mut functions = String::new();
        let describe = Answering {
            interface: "plugin",
            function: "describe",
            first: String::new(),
            answers: vec![(vec![], json!({ "id": self.id, "version": self.version, "contract": CONTRACT }))],
        };
        for answering in self.functions.iter().chain([&describe]) {
            let name = full(answering.interface);
            let function = find(&types.resolve, &name, answering.function)?;
            functions.push_str(&answering.text(types, function, &name, &mut memory)?);
        }
        let next = memory.end().next_multiple_of(16);
        // A page for what the host tells it.
        let pages = next.div_ceil(PAGE) + 1;
        let imports: String = self.imports.iter().map(|import| import.core.as_str()).collect();
        let realloc = self.realloc.unwrap_or(REALLOC);
        let data = memory.bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\{byte:02x}");
            text
        });
        Ok(format!(
            r#"(module
                {imports}
                (import "{log}" "write" (func $log (param i32 i32 i32)))
                (memory $memory (export "memory") {pages})
                (global $next (mut i32) (i32.const {next}))
                (func $realloc (export "cabi_realloc")
                    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32) (local $at i32)
                    {realloc})
                {functions}
                {definitions}
                (data (i32.const {DATA}) "{data}"))"#,
            log = full("log"),
            definitions = self.definitions,
        ))
    }
}

/// Room from the end of the data on, with more memory as it is needed.
const REALLOC: &str = "
    (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $enough (loop $grow
        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (drop (memory.grow (i32.const 1)))
        (br $grow)))
    (local.get $at)";

impl Answering {
    fn text(&self, types: &Types, function: &Function, name: &str, memory: &mut Memory) -> anyhow::Result<String> {
        let signature = types.resolve.wasm_signature(AbiVariant::GuestExport, function);
        let list = |of: &[WasmType]| of.iter().map(|one| format!(" {}", wat_type(*one))).collect::<String>();
        let (params, results) = (list(&signature.params), list(&signature.results));
        let mut body = String::new();
        for (when, answer) in &self.answers {
            let give = self.give(types, function, memory, answer)?;
            let conditions = when.iter().map(|when| when.text(types, function)).collect::<anyhow::Result<Vec<_>>>()?;
            match conditions.into_iter().reduce(|all, one| format!("(i32.and {all} {one})")) {
                Some(condition) => write!(body, "(if {condition} (then {give}))")?,
                None => body.push_str(&give),
            }
        }
        Ok(format!(
            r#"(func ${interface}-{short} (export "{name}#{function}") (param{params}) (result{results}) {first} {body} unreachable)"#,
            interface = self.interface,
            short = self.function,
            function = self.function,
            first = self.first,
        ))
    }
}

impl Answering {
    /// Gives one answer.
    fn give(&self, types: &Types, function: &Function, memory: &mut Memory, answer: &Value) -> anyhow::Result<String> {
        if answer.is_null() {
            return Ok("unreachable".to_owned());
        }
        let (at, copied) = types.answer(memory, function, answer)?;
        let indirect = types.resolve.wasm_signature(AbiVariant::GuestExport, function).indirect_params;
        if !copied.is_empty() && !indirect {
            anyhow::bail!("`{}` has few arguments, and nothing is copied from those", self.function);
        }
        let mut give = String::new();
        for one in copied {
            write!(
                give,
                "(memory.copy (i32.const {}) (i32.add (local.get 0) (i32.const {})) (i32.const {}))",
                one.to, one.from, one.bytes
            )?;
        }
        write!(give, "(return (i32.const {at}))")?;
        Ok(give)
    }
}

impl When {
    fn text(self, types: &Types, function: &Function) -> anyhow::Result<String> {
        Ok(match self {
            When::What(case) => {
                let (at, of) = types.place(function, "event.what")?;
                let number = types.case(&of, case)?;
                format!("(i32.eq (i32.load8_u offset={at} (local.get 0)) (i32.const {number}))")
            }
            When::Refused => {
                let (at, _) = types.place(function, "refused")?;
                format!("(i32.load8_u offset={at} (local.get 0))")
            }
            When::State(letter) => {
                let (at, _) = types.place(function, "state")?;
                let letter = u32::from(letter);
                format!("(i32.eq (i32.load8_u (i32.load offset={at} (local.get 0))) (i32.const {letter}))")
            }
            When::Is(path, number) => {
                let (at, _) = types.place(function, path)?;
                format!("(i32.eq (i32.load offset={at} (local.get 0)) (i32.const {number}))")
            }
            When::Odd(path) => {
                let (at, _) = types.place(function, path)?;
                format!("(i32.and (i32.load8_u offset={at} (local.get 0)) (i32.const 1))")
            }
        })
    }
}

fn wat_type(of: WasmType) -> &'static str {
    match of {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

fn find<'a>(resolve: &'a Resolve, interface: &str, function: &str) -> anyhow::Result<&'a Function> {
    let named = |(id, _): &(wit_parser::InterfaceId, _)| resolve.id_of(*id).as_deref() == Some(interface);
    let found = resolve.interfaces.iter().find(named);
    let (_, found) = found.with_context(|| format!("the contract has no interface {interface}"))?;
    found.functions.get(function).with_context(|| format!("{interface} has no function {function}"))
}

/// The contract as this program carries it.
fn contract() -> anyhow::Result<&'static Resolve> {
    static CONTRACT: OnceLock<Resolve> = OnceLock::new();
    if let Some(known) = CONTRACT.get() {
        return Ok(known);
    }
    let mut texts = SourceMap::default();
    for (name, text) in koban_author::template::contract() {
        texts.push_str(name, text);
    }
    let group = texts.parse().map_err(|(_, error)| anyhow::anyhow!("the contract cannot be read: {error}"))?;
    let mut resolve = Resolve::default();
    resolve.push_group(group).map_err(|error| anyhow::anyhow!("the contract cannot be read: {error}"))?;
    Ok(CONTRACT.get_or_init(|| resolve))
}

/// The answer of a rule that allows, with this score.
pub(super) fn allow(score: u32) -> Value {
    json!({ "ok": { "verdict": "allow", "score": score, "reasons": [] } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_a_component_that_asks_for_nothing_but_the_log() {
        let manifest = super::super::manifests::rule("canary");
        let bytes = Guest::rule("canary").build().unwrap();
        let checked = koban_author::check(&bytes, &manifest).unwrap();
        let known = |import: &String| import.contains("/log@") || import.contains("/types@");
        assert!(checked.imports.iter().all(known), "{checked:?}");
        assert!(bytes.len() < 16_000, "{} bytes", bytes.len());
    }

    #[test]
    fn an_answer_that_does_not_fit_the_contract_is_named() {
        let wrong = Guest::new("wrong").answers("assess", "assess", json!({ "ok": { "verdict": "perhaps" } }));
        let error = format!("{:#}", wrong.build().unwrap_err());
        assert!(error.contains("perhaps") || error.contains("missing"), "{error}");
        let copied = Guest::new("wrong").answers("assess", "assess", json!("$payment.kind"));
        assert!(format!("{:#}", copied.build().unwrap_err()).contains("another type"));
    }
}
