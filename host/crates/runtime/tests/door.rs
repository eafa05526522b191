//! What guests may try and what comes of it: every attack ends in its typed fault, and nobody else notices.

mod support;

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use koban_domain::guest::{Named, Verdict};
use koban_domain::manifest::{EngineKind, Manifest};
use koban_domain::records::{Ending, Fault, FaultClass, Input, Kept, Output, Record};
use koban_runtime::{CacheUse, Door, DoorConfig, LoadError};
use support::{ANSWER, assess, component, context, core_module, good_rule, manifest, rule};

fn door() -> Door {
    Door::new(DoorConfig { slots: 16, ..DoorConfig::default() }).unwrap()
}

/// Loads a rule with this body and calls it once.
async fn fault_of(definitions: &str, body: &str) -> (Fault, Record) {
    let door = door();
    let plugin = door.load(&rule(definitions, body), &manifest(), Vec::new()).unwrap();
    let called = door.call(&plugin, context(1), assess()).await;
    (called.result.unwrap_err(), called.record)
}

#[tokio::test]
async fn a_good_rule_answers_and_its_record_says_everything() {
    let door = door();
    let settings = vec![Named::whole("limit", 5)];
    let plugin = door.load(&good_rule(), &manifest(), settings).unwrap();
    let called = door.call(&plugin, context(1), assess()).await;
    let Ok(Output::Assessment(assessment)) = called.result else { panic!("{:?}", called.result) };
    assert_eq!((assessment.verdict, assessment.score), (Verdict::Allow, 0));
    let record = called.record;
    assert_eq!(record.ending, Ending::Output(Output::Assessment(assessment)));
    assert_eq!(record.context.call, record.id.to_string());
    assert_eq!((record.component, record.settings), (plugin.digest(), plugin.settings_digest()));
    assert_eq!(record.engine, door.engine());
    assert!(record.fuel > 0 && record.fuel < 10_000, "{}", record.fuel);
    let kept = record.keep();
    assert_eq!(Kept::open(kept.bytes, kept.held).unwrap().record().unwrap(), record);
}

#[tokio::test]
async fn describe_and_check_settings_are_asked_by_name() {
    let door = door();
    let plugin = door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
    assert_eq!(door.describe(&plugin, context(1)).await.0.unwrap().id, "rule-test");
    assert_eq!(door.check_settings(&plugin, context(2)).await.0.unwrap(), []);
    let mut other = manifest();
    other.version = "1.0.1".into();
    let plugin = door.load(&good_rule(), &other, Vec::new()).unwrap();
    let fault = door.describe(&plugin, context(3)).await.0.unwrap_err();
    assert_eq!(fault.to_string(), "bad-answer (describe says version `1.0.0`, the manifest says `1.0.1`)");
}

#[tokio::test]
async fn an_endless_loop_runs_out_of_fuel() {
    let (fault, record) = fault_of("", &format!("(loop $again (br $again)) {ANSWER}")).await;
    assert_eq!(fault.to_string(), "fuel-exhausted (all 10000000 units of fuel used (decision))");
    assert_eq!(record.ending, Ending::Fault(fault));
    assert_eq!(record.fuel, 10_000_000);
}

#[tokio::test]
async fn a_memory_bomb_is_denied() {
    let (fault, _) = fault_of("", &format!("(drop (memory.grow (i32.const 1000))) {ANSWER}")).await;
    assert_eq!(fault.class, FaultClass::MemoryDenied);
    assert_eq!(fault.detail, "memory of 65667072 bytes asked for, 16777216 allowed (decision)");
}

#[tokio::test]
async fn deep_recursion_ends_at_the_stack() {
    let (fault, _) = fault_of("", "(i32.add (call $assess (local.get $arguments)) (i32.const 1))").await;
    assert_eq!(fault.class, FaultClass::StackOverflow);
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    // A list of 100,000 reasons, wherever they lie.
    let body =
        format!("(i32.store (i32.const 1036) (i32.const 2048)) (i32.store (i32.const 1040) (i32.const 5000)) {ANSWER}");
    let (fault, _) = fault_of("", &body).await;
    assert_eq!(fault.to_string(), "output-too-large (the answer is larger than 20480 bytes (decision))");
}

#[tokio::test]
async fn a_trap_is_a_fault_with_the_panics_text() {
    let (fault, _) = fault_of("", "unreachable").await;
    assert_eq!(fault.to_string(), "trap (wasm trap: wasm `unreachable` instruction executed)");
    let (fault, record) = fault_of(
        r#"(data (i32.const 2048) "panicked at src/lib.rs:63:24: boom")"#,
        "(call $log (i32.const 3) (i32.const 2048) (i32.const 34)) unreachable",
    )
    .await;
    assert_eq!(fault.to_string(), "trap (panicked at src/lib.rs:63:24: boom)");
    assert_eq!(record.log, [(3, "panicked at src/lib.rs:63:24: boom".to_owned())]);
}

#[tokio::test]
async fn a_log_flood_ends_the_call() {
    let body = format!("(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $again)) {ANSWER}");
    let (fault, record) = fault_of("", &body).await;
    assert_eq!(fault.to_string(), "host-data-too-large (more bytes logged than the class allows (decision))");
    assert_eq!(record.log.len(), 33, "32 lines and the count of those dropped");
}

#[tokio::test]
async fn a_log_line_of_a_megabyte_ends_the_call() {
    let body = format!(
        "(drop (memory.grow (i32.const 32))) (call $log (i32.const 1) (i32.const 0) (i32.const 1048576)) {ANSWER}"
    );
    let (fault, _) = fault_of("", &body).await;
    assert_eq!(fault.to_string(), "host-data-too-large (a log line is larger than 20480 bytes (decision))");
}

#[tokio::test]
async fn text_that_is_not_utf8_and_pointers_out_of_bounds_are_faults() {
    let log = |address: &str, length: &str| {
        format!("(call $log (i32.const 1) (i32.const {address}) (i32.const {length})) {ANSWER}")
    };
    let (fault, _) = fault_of(r#"(data (i32.const 2048) "\ff\fe")"#, &log("2048", "2")).await;
    assert_eq!(fault.class, FaultClass::Trap, "{fault}");
    assert!(fault.detail.contains("utf-8"), "{fault}");
    let (fault, _) = fault_of("", &log("-8", "100")).await;
    assert_eq!(fault.class, FaultClass::Trap, "{fault}");
    // An answer outside the memory, and one at an address that nothing is aligned to.
    for address in ["-16", "1025"] {
        let (fault, _) = fault_of("", &format!("i32.const {address}")).await;
        assert_eq!(fault.class, FaultClass::Trap, "{fault}");
    }
}

#[tokio::test]
async fn an_answer_outside_the_manifest_is_a_bad_answer() {
    // Score 1001.
    let (fault, _) = fault_of("", &format!("(i32.store (i32.const 1032) (i32.const 1001)) {ANSWER}")).await;
    assert_eq!(fault.to_string(), "bad-answer (score 1001 is above 1000)");
    // One reason with the code `day`, weight 0.
    let reason = |code: &str| {
        format!(r#"(data (i32.const 2048) "\00\09\00\00\05\00\00\00\00\00\00\00") (data (i32.const 2304) "{code}")"#)
    };
    let one =
        format!("(i32.store (i32.const 1036) (i32.const 2048)) (i32.store (i32.const 1040) (i32.const 1)) {ANSWER}");
    let (fault, _) = fault_of(&reason("day\\0d\\0a"), &one).await;
    assert_eq!(fault.to_string(), "bad-answer (reason code `day\\r\\n` is not in the manifest)");
    let door = door();
    let plugin = door.load(&rule(&reason("night"), &one), &manifest(), Vec::new()).unwrap();
    let called = door.call(&plugin, context(1), assess()).await;
    let Ok(Output::Assessment(assessment)) = called.result else { panic!("{:?}", called.result) };
    assert_eq!(assessment.reasons[0].code, "night");
}

#[tokio::test]
async fn nothing_is_remembered_between_calls() {
    // Answers with the score that it finds, then counts it up.
    let body = format!(
        "(i32.store (i32.const 1032) (i32.load (i32.const 4096))) (i32.store (i32.const 4096) (i32.const 700)) {ANSWER}"
    );
    let door = door();
    let plugin = door.load(&rule("", &body), &manifest(), Vec::new()).unwrap();
    let mut fuel = Vec::new();
    for number in 0..20 {
        let called = door.call(&plugin, context(number), assess()).await;
        let Ok(Output::Assessment(assessment)) = called.result else { panic!("{:?}", called.result) };
        assert_eq!(assessment.score, 0);
        fuel.push(called.record.fuel);
    }
    fuel.dedup();
    assert_eq!(fuel.len(), 1, "the same call takes the same fuel");
}

#[tokio::test]
async fn a_call_that_the_component_does_not_export_is_denied() {
    let door = door();
    let plugin = door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
    let called = door.call(&plugin, context(1), Input::ParseSettlement(b"x".to_vec())).await;
    let fault = called.result.unwrap_err();
    assert_eq!(fault.to_string(), "denied (the component does not export `settlement.parse`)");
    let called = door.call(&plugin, context(1), Input::ParseSettlement(vec![0; 5 << 20])).await;
    assert_eq!(called.result.unwrap_err().class, FaultClass::HostDataTooLarge);
}

#[test]
fn what_is_no_plain_component_of_the_contract_is_refused() {
    let door = door();
    let load = |bytes: &[u8]| door.load(bytes, &manifest(), Vec::new()).err().unwrap();
    assert!(matches!(load(b""), LoadError::NotWasm));
    assert!(matches!(load(b"#!/bin/sh\necho"), LoadError::NotWasm));
    assert!(matches!(load(&core_module("", ANSWER)), LoadError::CoreModule));
    assert!(matches!(load(&vec![0; 3 << 20]), LoadError::TooLarge { .. }));
    let good = good_rule();
    assert!(matches!(load(&good[..good.len() / 2]), LoadError::Invalid(_)));
    let clock = component("import koban:plugin/log@0.1.0; import clock;", &core_with_clock());
    let error = load(&clock);
    assert!(matches!(error, LoadError::ImportRefused(_)), "{error}");
    assert!(error.to_string().contains("koban:test/clock"), "{error}");
    let mut channel = manifest();
    channel.kind = koban_domain::manifest::Kind::ChargeChannel;
    let error = door.load(&good, &channel, Vec::new()).err().unwrap().to_string();
    assert!(error.contains("a charge-channel exports `machine`"), "{error}");
}

fn core_with_clock() -> Vec<u8> {
    let text = r#"(module
        (import "koban:test/clock" "now" (func $now (result i64)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
        (func (export "koban:plugin/plugin@0.1.0#describe") (result i32) i32.const 0)
        (func (export "koban:plugin/plugin@0.1.0#check-settings") (param i32 i32) (result i32) i32.const 0)
        (func (export "koban:plugin/assess@0.1.0#assess") (param i32) (result i32) (drop (call $now)) i32.const 0))"#;
    wat::parse_str(text).unwrap()
}

#[test]
fn features_that_guests_may_not_use_are_refused() {
    let door = door();
    for (feature, definitions) in [
        ("SIMD", "(func (drop (v128.const i64x2 0 0)))"),
        ("tail calls", "(func $tail (return_call $tail))"),
        ("several memories", "(memory $second 1)"),
        ("64-bit tables", "(table i64 1 funcref)"),
    ] {
        let core = core_module(definitions, ANSWER);
        let error = door.load(&component("import koban:plugin/log@0.1.0;", &core), &manifest(), Vec::new());
        assert!(matches!(error, Err(LoadError::Invalid(_))), "{feature}: {:?}", error.err());
    }
}

#[test]
fn a_start_that_never_ends_is_refused_at_loading() {
    let door = door();
    let bytes = rule("(func $start (loop $again (br $again))) (start $start)", ANSWER);
    match door.load(&bytes, &manifest(), Vec::new()) {
        Err(LoadError::Start(fault)) => assert_eq!(fault.class, FaultClass::FuelExhausted),
        other => panic!("{:?}", other.err()),
    }
    let bytes = rule("(table 20000 funcref)", ANSWER);
    assert!(door.load(&bytes, &manifest(), Vec::new()).is_err(), "a table beyond the bound");
}

#[tokio::test]
async fn compiled_code_is_kept_and_a_changed_byte_is_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let dir = Dir::open_ambient_dir(directory.path(), ambient_authority()).unwrap();
        Door::new(DoorConfig { cache: Some(dir), slots: 4, ..DoorConfig::default() }).unwrap()
    };
    let load = |door: &Door| door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
    assert_eq!(load(&open()).cache(), &CacheUse::Compiled);
    assert_eq!(load(&open()).cache(), &CacheUse::Hit);
    let file = code_file(directory.path());
    let sound = std::fs::read(&file).unwrap();
    for at in [0, 20, 60, sound.len() / 2, sound.len() - 1] {
        let mut changed = sound.clone();
        changed[at] ^= 1;
        std::fs::write(&file, changed).unwrap();
        let door = open();
        let plugin = load(&door);
        match plugin.cache() {
            CacheUse::Repaired { file: named, .. } => assert!(file.ends_with(named), "{named}"),
            other => panic!("byte {at}: {other:?}"),
        }
        assert!(door.call(&plugin, context(1), assess()).await.result.is_ok());
        assert_eq!(load(&door).cache(), &CacheUse::Hit, "it was written again");
    }
    // Code that another host wrote under its own key is as good as changed.
    std::fs::remove_file(directory.path().join("cache.key")).unwrap();
    assert!(matches!(load(&open()).cache(), CacheUse::Repaired { .. }));
    // And what lies in the cache is never taken for a component.
    let code = std::fs::read(&file).unwrap()[45..].to_vec();
    assert!(matches!(open().load(&code, &manifest(), Vec::new()), Err(LoadError::Precompiled)));
}

fn code_file(directory: &Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
}

#[tokio::test]
async fn a_recorded_call_can_be_run_again_and_a_difference_is_named() {
    let door = door();
    let good = good_rule();
    let plugin = door.load(&good, &manifest(), Vec::new()).unwrap();
    let record = door.call(&plugin, context(1), assess()).await.record;
    let again = door.replay(&good, &manifest(), &[], &record).await.unwrap();
    assert!(again.same && again.fuel_compared, "{again:?}");
    let mut changed = record.clone();
    let Ending::Output(Output::Assessment(assessment)) = &mut changed.ending else { panic!() };
    assessment.verdict = Verdict::Decline;
    changed.fuel += 1;
    let again = door.replay(&good, &manifest(), &[], &changed).await.unwrap();
    assert_eq!(again.differences.iter().map(|difference| difference.what).collect::<Vec<_>>(), ["ending", "fuel"]);
    // Fuel counts under the same engine only.
    changed = Record { engine: "wasmtime 47".into(), fuel: 1, ..record.clone() };
    assert!(door.replay(&good, &manifest(), &[], &changed).await.unwrap().same);
    let settings = [Named::flag("strict", true)];
    let again = door.replay(&rule("", "unreachable"), &manifest(), &settings, &record).await.unwrap();
    assert_eq!(
        again.differences.iter().map(|difference| difference.what).collect::<Vec<_>>(),
        ["component", "settings"]
    );
}

#[tokio::test]
async fn a_recorded_fault_is_the_same_fault_again() {
    let door = door();
    for body in ["unreachable", "(loop $again (br $again)) i32.const 1024", "(call $assess (local.get $arguments))"] {
        let bytes = rule("", body);
        let plugin = door.load(&bytes, &manifest(), Vec::new()).unwrap();
        let record = door.call(&plugin, context(1), assess()).await.record;
        let again = door.replay(&bytes, &manifest(), &[], &record).await.unwrap();
        assert!(again.same, "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_calls_do_not_notice_bad_ones() {
    let door = Door::new(DoorConfig { slots: 32, wait_ms: 20_000, ..DoorConfig::default() }).unwrap();
    let load = |body: &str| door.load(&rule("", body), &manifest(), Vec::new()).unwrap();
    let good = load(ANSWER);
    let bad = [
        load(&format!("(loop $again (br $again)) {ANSWER}")),
        load(&format!("(drop (memory.grow (i32.const 1000))) {ANSWER}")),
        load("(i32.add (call $assess (local.get $arguments)) (i32.const 1))"),
        load("unreachable"),
        load(&format!("(i32.store (i32.const 1040) (i32.const 5000)) {ANSWER}")),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64_usize {
        let (hurried, good) = (door.clone(), good.clone());
        tasks.spawn(async move {
            for _ in 0..20 {
                hurried.call(&good, context(1), assess()).await.result.unwrap();
            }
        });
        let (hurried, bad) = (door.clone(), bad[number % bad.len()].clone());
        tasks.spawn(async move {
            let called = hurried.call(&bad, context(2), assess()).await;
            assert_ne!(called.result.unwrap_err().class, FaultClass::Busy);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let meters = door.meters();
    assert_eq!((meters.calls, meters.running, meters.slots), (64 * 20 + 64, 0, 32));
    assert_eq!(meters.faults.iter().map(|(_, count)| count).sum::<u64>(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_finds_no_slot_in_time_is_busy() {
    let door = Door::new(DoorConfig { slots: 1, wait_ms: 0, ..DoorConfig::default() }).unwrap();
    let endless =
        door.load(&rule("", &format!("(loop $again (br $again)) {ANSWER}")), &manifest(), Vec::new()).unwrap();
    let good = door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
    // Endless calls, one after the other, have the only slot nearly all the time.
    let taken = door.clone();
    let attack = tokio::spawn(async move {
        loop {
            drop(taken.call(&endless, context(1), assess()).await);
            tokio::task::yield_now().await;
        }
    });
    let (mut busy, mut tries) = (false, 0);
    while !busy && tries < 10_000 {
        tries += 1;
        let called = door.call(&good, context(2), assess()).await;
        busy = called.result.is_err_and(|fault| fault.class == FaultClass::Busy);
        tokio::task::yield_now().await;
    }
    attack.abort();
    assert!(busy, "the only slot was free at each of {tries} tries");
}

/// Goal: whoever finds an input on which a plugin never answers cannot keep others from answering by sending it often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_component_leaves_slots_for_the_others() {
    let door = Door::new(DoorConfig { slots: 16, wait_ms: 0, ..DoorConfig::default() }).unwrap();
    let load = |body: &str| door.load(&rule("", body), &manifest(), Vec::new()).unwrap();
    let (endless, good) = (load(&format!("(loop $again (br $again)) {ANSWER}")), load(ANSWER));
    let mut attacks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (door, endless) = (door.clone(), endless.clone());
        attacks.spawn(async move { door.call(&endless, context(number), assess()).await.result.unwrap_err() });
    }
    // On a busy machine it takes a while until the first of them runs.
    for _ in 0..10_000 {
        if door.meters().running > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let mut most = 0;
    for number in 0..200 {
        most = most.max(door.meters().running);
        door.call(&good, context(1_000 + number), assess()).await.result.expect("others find a slot at once");
    }
    assert!((1..=4).contains(&most), "an eighth of the slots, at least four: {most} at once");
    while let Some(fault) = attacks.join_next().await {
        let fault = fault.unwrap();
        match fault.class {
            FaultClass::Busy => assert!(fault.detail.contains("all 4 slots of the native engine that one"), "{fault}"),
            class => assert_eq!(class, FaultClass::FuelExhausted, "{fault}"),
        }
    }
}

/// The manifest of the same rules for the other engine.
fn interpreted() -> Manifest {
    Manifest { engine: EngineKind::Interpreter, ..manifest() }
}

#[tokio::test]
async fn a_record_names_the_engine_that_ran_the_call_and_replays_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(directory.path(), ambient_authority()).unwrap();
    let door = Door::new(DoorConfig { cache: Some(dir), slots: 4, ..DoorConfig::default() }).unwrap();
    let native = door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
    let interpreter = door.load(&good_rule(), &interpreted(), Vec::new()).unwrap();
    assert_eq!(interpreter.cache(), &CacheUse::Compiled, "code of the one engine is no code of the other");
    let by_native = door.call(&native, context(1), assess()).await.record;
    let by_interpreter = door.call(&interpreter, context(1), assess()).await.record;
    assert_eq!((by_native.engine.as_str(), by_interpreter.engine.as_str()), (native.engine(), interpreter.engine()));
    assert!(by_native.engine.contains(" native ") && by_interpreter.engine.contains(" interpreter "));
    for (manifest, record) in [(manifest(), by_native), (interpreted(), by_interpreter)] {
        let again = door.replay(&good_rule(), &manifest, &[], &record).await.unwrap();
        assert!(again.same && again.fuel_compared, "{again:?}");
    }
}

#[tokio::test]
async fn an_interpreter_has_limits_of_its_own() {
    let door = door();
    let load = |body: &str| door.load(&rule("", body), &interpreted(), Vec::new()).unwrap();
    // 20 million rounds of a loop: more than a native decision may use, and far from what an interpreter may.
    let long = format!(
        "(local $left i32) (local.set $left (i32.const 20000000))
         (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
         (drop (memory.grow (i32.const 400))) {ANSWER}"
    );
    let called = door.call(&load(&long), context(1), assess()).await;
    assert!(called.result.is_ok(), "{:?}", called.result);
    assert!(called.record.fuel > door.limits().decision.fuel, "{}", called.record.fuel);
    for (body, class, said) in [
        (
            format!("(loop $again (br $again)) {ANSWER}"),
            FaultClass::FuelExhausted,
            "200000000 units of fuel used (interpreter)",
        ),
        (
            format!("(drop (memory.grow (i32.const 2100))) {ANSWER}"),
            FaultClass::MemoryDenied,
            "134217728 allowed (interpreter)",
        ),
        ("(call $assess (local.get $arguments))".to_owned(), FaultClass::StackOverflow, "call stack"),
    ] {
        let fault = door.call(&load(&body), context(1), assess()).await.result.unwrap_err();
        assert_eq!(fault.class, class, "{fault}");
        assert!(fault.detail.contains(said), "{fault}");
    }
}

#[tokio::test]
async fn a_native_call_never_waits_for_an_interpreter() {
    let config = DoorConfig { slots: 1, interpreter_slots: 1, wait_ms: 0, ..DoorConfig::default() };
    let door = Door::new(config).unwrap();
    let body = format!("(loop $again (br $again)) {ANSWER}");
    let endless = door.load(&rule("", &body), &interpreted(), Vec::new()).unwrap();
    let quick = door.load(&good_rule(), &interpreted(), Vec::new()).unwrap();
    let native = door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
    let (mut busy, mut tries) = (false, 0);
    while !busy && tries < 50 {
        tries += 1;
        // The endless call gives way at every tick, so all three are under way at once.
        let (_, second, called) = tokio::join!(
            door.call(&endless, context(1), assess()),
            door.call(&quick, context(2), assess()),
            door.call(&native, context(3), assess())
        );
        assert!(called.result.is_ok(), "{:?}", called.result);
        busy = second.result.is_err_and(|fault| fault.class == FaultClass::Busy);
    }
    assert!(busy, "the interpreters' only slot was free at each of {tries} tries");
    assert_eq!(door.meters().slots, 2);
}

#[test]
fn a_component_with_more_functions_than_honest_ones_have_is_not_compiled() {
    let functions = |count: usize| wat::parse_str(format!("(component (core module {}))", "(func)".repeat(count)));
    let door = door();
    let load = |bytes: &[u8]| door.load(bytes, &manifest(), Vec::new()).err().unwrap();
    let most = load(&functions(20_000).unwrap());
    assert!(matches!(most, LoadError::MissingExport { .. }), "it was compiled: {most}");
    assert!(matches!(load(&functions(20_001).unwrap()), LoadError::TooManyFunctions(20_000)));
}

#[test]
fn a_component_is_measured_by_its_engines_size() {
    let door = door();
    let large = vec![0; 3 << 20];
    let load = |manifest: &Manifest| door.load(&large, manifest, Vec::new()).err().unwrap();
    assert!(matches!(load(&manifest()), LoadError::TooLarge { most: 2_097_152, engine: "native", .. }));
    assert!(matches!(load(&interpreted()), LoadError::NotWasm));
}

/// Goal: what a division by zero leaves is the same on every processor, for a guest can look at its bits. Method: the numbers are read from memory,
/// so that nothing is worked out beforehand.
#[tokio::test]
async fn not_a_number_has_the_same_bits_everywhere() {
    let door = door();
    let body = format!(
        "(if (i64.ne (i64.reinterpret_f64 (f64.div (f64.load (i32.const 0)) (f64.load (i32.const 8)))) (i64.const 0x7ff8000000000000))
            (then unreachable)) {ANSWER}"
    );
    for manifest in [manifest(), interpreted()] {
        let plugin = door.load(&rule("", &body), &manifest, Vec::new()).unwrap();
        let called = door.call(&plugin, context(1), assess()).await;
        assert!(called.result.is_ok(), "{:?}", called.result);
    }
}

/// Two components in one, of which the second calls the first with a text: the engine writes an adapter that touches both memories.
const COMPOSED: &str = r#"(component
    (component $callee
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "f") (param i32 i32)))
        (core instance $i (instantiate $m))
        (func (export "f") (param "x" string)
            (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
    (component $caller
        (import "f" (func $f (param "x" string)))
        (core module $libc
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
        (core instance $libc (instantiate $libc))
        (core func $lowered (canon lower (func $f) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core module $m (import "" "f" (func (param i32 i32))))
        (core instance (instantiate $m (with "" (instance (export "f" (func $lowered)))))))
    (instance $callee (instantiate $callee))
    (instance (instantiate $caller (with "f" (func $callee "f")))))"#;

#[test]
fn a_component_on_which_the_compiler_panics_is_refused_and_the_door_stays_open() {
    let door = door();
    let composed = wat::parse_str(COMPOSED).unwrap();
    let error = door.load(&composed, &manifest(), Vec::new()).err().unwrap();
    assert!(matches!(error, LoadError::Invalid(_)), "{error}");
    let error = door.load(&composed, &interpreted(), Vec::new()).err().unwrap();
    assert!(matches!(error, LoadError::MissingExport { .. }), "the other engine can run it: {error}");
    door.load(&good_rule(), &manifest(), Vec::new()).unwrap();
}
