//! Components made from a few lines of WebAssembly text, so that the tests need no guest toolchain.

use koban_domain::guest::{AssessPayment, CONTRACT};
use koban_domain::ids::RecordId;
use koban_domain::manifest::{CodeSpec, EngineKind, Kind, Manifest, Words};
use koban_domain::money::Money;
use koban_domain::records::Input;
use koban_domain::time::Timestamp;
use koban_runtime::CallContext;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the guest's answer lies: `ok(answer { allow, score 0, no reasons })` as long as nobody writes into it.
pub(crate) const ANSWER: &str = "i32.const 1024";

/// A rule that allows everything.
pub(crate) fn good_rule() -> Vec<u8> {
    rule("", ANSWER)
}

/// A rule whose `assess` has this body (one parameter, the address of its arguments; one result, the address of its answer), beside these
/// further definitions.
pub(crate) fn rule(definitions: &str, body: &str) -> Vec<u8> {
    component("import koban:plugin/log@0.1.0;", &core_module(definitions, body))
}

/// The core module of such a rule.
pub(crate) fn core_module(definitions: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "koban:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                (global.set $next (i32.add (local.get $at) (local.get $size)))
                (block $enough (loop $grow
                    (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
                    (drop (memory.grow (i32.const 1)))
                    (br $grow)))
                (local.get $at))
            (func (export "koban:plugin/plugin@0.1.0#describe") (result i32) i32.const 1056)
            (func (export "koban:plugin/plugin@0.1.0#check-settings") (param i32 i32) (result i32) i32.const 1024)
            (func $assess (export "koban:plugin/assess@0.1.0#assess") (param $arguments i32) (result i32)
                {body})
            {definitions}
            (data (i32.const 1056) "\00\05\00\00\09\00\00\00\10\05\00\00\05\00\00\00\20\05\00\00\12\00\00\00")
            (data (i32.const 1280) "rule-test")
            (data (i32.const 1296) "1.0.0")
            (data (i32.const 1312) "koban:plugin@0.1.0")
        )"#
    );
    wat::parse_str(text).expect("the test's WebAssembly text is right")
}

/// Wraps a core module that exports `plugin` and `assess` and has these imports.
pub(crate) fn component(imports: &str, core: &[u8]) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../wit/preview");
    resolve.push_dir(wit).expect("the contract can be read");
    let world = format!(
        "package koban:test; interface clock {{ now: func() -> u64; }}
         world rule {{ {imports} export koban:plugin/plugin@0.1.0; export koban:plugin/assess@0.1.0; }}"
    );
    let package = resolve.push_str("test.wit", &world).expect("the test's world is right");
    let world = resolve.select_world(&[package], Some("rule")).expect("there is one world");
    let mut core = core.to_vec();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false).expect("metadata fits");
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.validate(true).module(&core).expect("the module fits its world");
    encoder.encode().expect("the module becomes a component")
}

/// The manifest of all these rules.
pub(crate) fn manifest() -> Manifest {
    let words = || Words { ja: "試し".into(), en: "test".into() };
    Manifest {
        id: "rule-test".into(),
        version: "1.0.0".into(),
        contract: CONTRACT.into(),
        kind: Kind::FraudRule,
        engine: EngineKind::Native,
        name: words(),
        purpose: words(),
        settings: Vec::new(),
        facts: Vec::new(),
        signals: Vec::new(),
        directories: vec![],
        endpoints: Vec::new(),
        proposals: Default::default(),
        codes: vec![CodeSpec { code: "night".into(), about: words() }],
        texts: Default::default(),
        links: vec![],
        formats: vec![],
        events: vec![],
        budgets: vec![],
        tables: vec![],
    }
}

/// The circumstances of a test call.
pub(crate) fn context(number: u128) -> CallContext {
    CallContext {
        id: RecordId(uuid::Uuid::from_u128(number)),
        at: Timestamp(1_537_844_400_000),
        scope: "platform".into(),
        seed: 7,
        locale: "ja".into(),
    }
}

/// A payment to judge.
pub(crate) fn assess() -> Input {
    let payment =
        AssessPayment { id: "pay_1".into(), kind: "payment".into(), amount: Money::yen(1_280), at: 1_537_844_400_000 };
    Input::Assess(payment, Vec::new(), Vec::new())
}
