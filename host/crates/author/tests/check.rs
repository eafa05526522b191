//! What a component may be, held against its manifest: each refusal says what is wrong and what to do.

use koban_author::{CheckError, check};
use koban_domain::manifest::Manifest;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

const RULE: &str = r#"
id = "rule-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "fraud-rule"
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }
"#;

const CHANNEL: &str = r#"
id = "charge-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "charge-channel"
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }

[[endpoints]]
name = "network"
credential = "standard-webhooks"
"#;

fn manifest(text: &str) -> Manifest {
    koban_author::manifest::read(text).unwrap()
}

/// A component with these imports and exports that does nothing.
fn component(world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../wit/preview")).unwrap();
    let text = format!("package koban:test; interface clock {{ now: func() -> u64; }} world it {{ {world} }}");
    let package = resolve.push_str("test.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("it")).unwrap();
    let mut core = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&core).unwrap().encode().unwrap()
}

fn world(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let line = |what: &str, name: &&str| match name.contains(':') || *name == "clock" {
        true => format!("{what} {name};"),
        false => format!("{what} koban:plugin/{name}@0.1.0;"),
    };
    let imports: String = imports.iter().map(|name| line("import", name)).collect();
    let exports: String = exports.iter().map(|name| line("export", name)).collect();
    component(&format!("{imports} {exports}"))
}

#[track_caller]
fn refused(component: &[u8], manifest: &Manifest, expected: &[&str]) {
    let errors: Vec<String> = check(component, manifest).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, part) in errors.iter().zip(expected) {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_rule_with_log_alone_passes() {
    let checked = check(&world(&["log"], &["plugin", "assess"]), &manifest(RULE)).unwrap();
    assert_eq!(checked.exports, ["koban:plugin/assess@0.1.0", "koban:plugin/plugin@0.1.0"]);
    assert!(checked.imports.contains(&"koban:plugin/log@0.1.0".to_owned()), "{:?}", checked.imports);
}

#[test]
fn a_channel_exports_what_its_manifest_lets_partners_call() {
    let plain = world(&["log"], &["plugin", "machine", "charge"]);
    let full = world(&["log"], &["plugin", "machine", "charge", "inbound", "settlement"]);
    check(&plain, &manifest(CHANNEL)).unwrap();
    refused(
        &full,
        &manifest(CHANNEL),
        &["exports `inbound`, but the manifest has no inbound operation", "mark it `settlement = true`"],
    );
    let called = format!("{CHANNEL}inbound = [{{ name = \"reversal\" }}, {{ name = \"day\", settlement = true }}]\n");
    check(&full, &manifest(&called)).unwrap();
    refused(&plain, &manifest(&called), &["operation `reversal`, but", "operation `day`, but"]);
}

#[test]
fn an_import_that_no_plugin_gets_is_named() {
    let rule = manifest(RULE);
    refused(&world(&["log", "clock"], &["plugin", "assess"]), &rule, &["imports `koban:test/clock`, which no plugin"]);
    refused(
        &component(
            "import koban:plugin/assess@0.1.0; export koban:plugin/plugin@0.1.0; export koban:plugin/assess@0.1.0;",
        ),
        &rule,
        &["imports `koban:plugin/assess@0.1.0`"],
    );
    let function = "import now: func() -> u64; export koban:plugin/plugin@0.1.0; export koban:plugin/assess@0.1.0;";
    refused(&component(function), &rule, &["imports `now (Func)`"]);
}

#[test]
fn exports_are_those_of_the_kind() {
    refused(
        &world(&["log"], &["plugin"]),
        &manifest(RULE),
        &["a fraud-rule exports `assess` of koban:plugin@0.1.0, and this component does not"],
    );
    refused(
        &world(&["log"], &["plugin", "assess", "charge"]),
        &manifest(RULE),
        &["exports `koban:plugin/charge@0.1.0`, which a fraud-rule does not have", "begins flows, but not `machine`"],
    );
    refused(&world(&["log"], &["plugin", "assess"]), &manifest(CHANNEL), &["`machine`", "`charge`", "/assess@0.1.0`"]);
}

#[test]
fn a_component_proves_which_engine_it_needs() {
    let interpreter = RULE.replace("kind =", "engine = \"interpreter\"\nkind =");
    refused(&world(&["log"], &["plugin", "assess"]), &manifest(&interpreter), &["take the line out"]);
    let instances = "(core instance (instantiate $m)) ".repeat(11);
    let linked = wat::parse_str(format!("(component (core module $m) {instances})")).unwrap();
    refused(
        &linked,
        &manifest(RULE),
        &["has 11 core instances, at most 10 run in the native engine", "exports `plugin`", "exports `assess`"],
    );
    refused(&linked, &manifest(&interpreter), &["exports `plugin`", "exports `assess`"]);
    refused(&vec![0; 3 << 20], &manifest(&interpreter), &["not WebAssembly"]);
    refused(&vec![0; 33 << 20], &manifest(&interpreter), &["at most 33554432 are allowed for the interpreter engine"]);
}

#[test]
fn what_is_no_plain_component_is_refused() {
    let rule = manifest(RULE);
    refused(b"", &rule, &["not WebAssembly"]);
    refused(b"MZ\x90\x00 and so on", &rule, &["not WebAssembly"]);
    refused(b"\x7fELF\x02\x01\x01", &rule, &["compiled machine code"]);
    refused(&wat::parse_str("(module)").unwrap(), &rule, &["a core module and not a component"]);
    refused(&vec![0; 3 << 20], &rule, &["at most 2097152 are allowed"]);
    let good = world(&["log"], &["plugin", "assess"]);
    for at in [9, good.len() / 2, good.len() - 1] {
        assert!(check(&good[..at], &rule).is_err(), "cut at {at}");
    }
    // A second component behind the first.
    assert!(check(&[good.clone(), good].concat(), &rule).is_err());
}

#[test]
fn features_that_plugins_may_not_use_are_refused() {
    for (feature, module) in [
        ("SIMD", "(func (drop (v128.const i64x2 0 0)))"),
        ("threads", "(memory 1 1 shared)"),
        ("64-bit memory", "(memory i64 1)"),
        ("several memories", "(memory 1) (memory 1)"),
        ("tail calls", "(func $tail (return_call $tail))"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct))"),
    ] {
        let bytes = wat::parse_str(format!("(component (core module {module}))")).unwrap();
        let errors = check(&bytes, &manifest(RULE)).unwrap_err();
        assert!(matches!(errors[..], [CheckError::Invalid { .. }]), "{feature}: {errors:?}");
    }
}

#[test]
fn a_component_of_very_many_functions_is_refused() {
    let bytes = wat::parse_str(format!("(component (core module {}))", "(func)".repeat(20_001))).unwrap();
    refused(&bytes, &manifest(RULE), &["more than 20000 functions"]);
}
