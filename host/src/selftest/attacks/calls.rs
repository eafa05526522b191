//! Attacks of a single call: time, stack, memory, answers, the log, and whatever a guest would like to keep for its next call.

use koban_domain::records::{FaultClass, Input};
use koban_runtime::{CallContext, Door};
use koban_service::{clock, decisions};
use serde_json::json;
use tokio::task::JoinSet;

use super::Tries;
use crate::selftest::guest::When::{Is, Odd};
use crate::selftest::guest::{Guest, allow};
use crate::selftest::manifests;
use crate::selftest::stage::{Stage, ended};

/// An address behind the data of every guest here, in its first page.
const FREE: u32 = 50_000;

/// A rule that runs this judges one payment.
async fn run(stage: &Stage, guest: Guest) -> anyhow::Result<String> {
    Ok(ended(stage.judged(&guest).await?.as_ref()))
}

/// Several rules, one after another.
async fn run_all(stage: &Stage, guests: Vec<Guest>) -> Tries {
    let mut seen = Vec::new();
    for guest in guests {
        seen.push(run(stage, guest).await?);
    }
    Ok(seen)
}

/// Rules that run these, called `id-1`, `id-2` and so on.
async fn bodies(stage: &Stage, id: &str, bodies: &[&str]) -> Tries {
    let guests = bodies.iter().enumerate().map(|(number, body)| Guest::running(&format!("{id}-{}", number + 1), *body));
    run_all(stage, guests.collect()).await
}

pub(super) async fn endless(stage: &Stage) -> Tries {
    bodies(stage, "endless", &["(loop $again (br $again))"]).await
}

pub(super) async fn recursion(stage: &Stage) -> Tries {
    bodies(stage, "recursion", &["(drop (call $assess-assess (local.get 0)))"]).await
}

pub(super) async fn memory(stage: &Stage) -> Tries {
    bodies(stage, "memory", &["(drop (memory.grow (i32.const 65534)))"]).await
}

/// Traps if it finds more memory than it has at its start, then takes more.
pub(super) async fn small_grows(stage: &Stage) -> Tries {
    let body = "(if (i32.ne (memory.size) (i32.const 2)) (then unreachable)) (drop (memory.grow (i32.const 100)))";
    repeated(stage, Guest::running("small-grows", body)).await
}

/// Twenty payments under one rule; how each call ended.
async fn repeated(stage: &Stage, guest: Guest) -> Tries {
    let shop = stage.rule(&guest).await?;
    for _ in 0..20 {
        // How the call ended is what counts, and that is recorded.
        let _ = stage.pay(shop, 1).await;
    }
    let records = stage.records(&guest.id).await?;
    let judged = records.iter().filter(|record| matches!(record.input, Input::Assess(..)));
    Ok(judged.map(|record| ended(Some(record))).collect())
}

pub(super) async fn tables(stage: &Stage) -> Tries {
    let grow = Guest::running("tables", "(drop (table.grow $t (ref.null func) (i32.const 1000000)))");
    let mut seen = vec![run(stage, grow.defines("(table $t 1 funcref)")).await?];
    let many = Guest::rule("many-tables").defines("(table 1 funcref)".repeat(100));
    let instances = format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(1_000));
    for (id, component) in [("many-tables", many.build()?), ("many-instances", wat::parse_str(instances)?)] {
        seen.push(super::installing::refused(stage, id, component).await);
    }
    Ok(seen)
}

pub(super) async fn large_log(stage: &Stage) -> Tries {
    let own = "(drop (memory.grow (i32.const 230))) (call $log (i32.const 1) (i32.const 0) (i32.const 15000000))";
    let wild = "(call $log (i32.const 1) (i32.const 0) (i32.const 1073741824))";
    bodies(stage, "large-log", &[own, wild]).await
}

/// Answers with a list whose every item is the same text of 10,000 bytes.
pub(super) async fn amplification(stage: &Stage) -> Tries {
    let body = format!(
        "(local $at i32) (drop (memory.grow (i32.const 2)))
         (local.set $at (i32.const 70000))
         (loop $again
            (i32.store offset=4 (local.get $at) (i32.const 10000))
            (local.set $at (i32.add (local.get $at) (i32.const 12)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const 190000))))
         {}",
        answer_of(70_000, 10_000)
    );
    bodies(stage, "amplification", &[&body]).await
}

/// Answers with one reason whose code is nearly all of the memory that a decision may have.
pub(super) async fn large_answer(stage: &Stage) -> Tries {
    let body = format!(
        "(drop (memory.grow (i32.const 230))) (i32.store (i32.const {}) (i32.const 15000000)) {}",
        FREE + 104,
        answer_of(FREE + 100, 1)
    );
    bodies(stage, "large-answer", &[&body]).await
}

/// Returns `ok` with `allow` and so many reasons that lie there: case, verdict, score, address and length, each in a word of four bytes.
fn answer_of(reasons: u32, count: u32) -> String {
    format!(
        "(i32.store (i32.const {}) (i32.const {reasons})) (i32.store (i32.const {}) (i32.const {count})) (return (i32.const {FREE}))",
        FREE + 12,
        FREE + 16
    )
}

pub(super) async fn bad_pointers(stage: &Stage) -> Tries {
    let texts = r#"(data (i32.const 50000) "\ff\fe\ed\a0\80")"#;
    let log = |at: i64, length: i64| format!("(call $log (i32.const 1) (i32.const {at}) (i32.const {length}))");
    let guests = [
        log(50_000, 2),
        log(50_002, 3),
        log(-8, 100),
        "(return (i32.const 1025))".to_owned(),
        "(return (i32.const -16))".to_owned(),
    ];
    let guests = guests.into_iter().enumerate();
    let guests =
        guests.map(|(number, body)| Guest::running(&format!("bad-pointers-{}", number + 1), body).defines(texts));
    run_all(stage, guests.collect()).await
}

pub(super) async fn bad_room(stage: &Stage) -> Tries {
    // Honest as long as nothing is asked for: the settings of these rules are empty.
    const OUTSIDE: &str = "(if (i32.eqz (local.get $size)) (then (return (i32.const 16)))) (i32.const -16)";
    const CROOKED: &str = "(if (i32.eqz (local.get $size)) (then (return (i32.const 16)))) (i32.const 50001)";
    const THE_SAME: &str = "(i32.const 50000)";
    let guests = [("bad-room-1", OUTSIDE), ("bad-room-2", CROOKED), ("bad-room-3", THE_SAME)];
    run_all(stage, guests.into_iter().map(|(id, body)| Guest::rule(id).reallocates(body)).collect()).await
}

pub(super) async fn reentry(stage: &Stage) -> Tries {
    const BODY: &str = "
        (if (i32.eqz (local.get $size)) (then (return (i32.const 16))))
        (call $log (i32.const 1) (i32.const 0) (i32.const 4))
        (i32.const 50000)";
    run_all(stage, vec![Guest::rule("reentry").reallocates(BODY)]).await
}

pub(super) async fn log_flood(stage: &Stage) -> Tries {
    bodies(stage, "log-flood", &["(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $again))"])
        .await
}

/// Logs what would forge a line, steer a terminal and break a page; what is kept of it must be one line of plain text.
pub(super) async fn log_forgery(stage: &Stage) -> Tries {
    const TEXT: &str = "paid\\0d\\0aERROR {\\22level\\22:\\22error\\22} \\1b[2J\\e2\\80\\ae</script>";
    let guest = Guest::running("log-forgery", "(call $log (i32.const 1) (i32.const 50000) (i32.const 46))")
        .defines(format!(r#"(data (i32.const 50000) "{TEXT}")"#));
    let log = stage.judged(&guest).await?.map(|record| record.log).unwrap_or_default();
    let steers = |text: &str| text.chars().any(|one| one.is_control() || ('\u{202a}'..='\u{202e}').contains(&one));
    match log.as_slice() {
        [(_, line)] if line.contains("ERROR") && !steers(line) => Ok(vec!["answered, one plain line kept".to_owned()]),
        other => Ok(vec![format!("the log holds {other:?}")]),
    }
}

/// Answers as chance says; every answer must come out again when its record is run again.
pub(super) async fn chance(stage: &Stage) -> Tries {
    let decline = json!({ "ok": { "verdict": "decline", "score": 0, "reasons": [] } });
    let guest = Guest::new("chance").when("assess", "assess", &[Odd("ctx.seed")], decline);
    let guest = guest.answers("assess", "assess", allow(1));
    let shop = stage.rule(&guest).await?;
    for _ in 0..12 {
        let _ = stage.pay(shop, 1).await;
    }
    let mut seen = Vec::new();
    for record in stage.records(&guest.id).await? {
        let again = decisions::replay(&stage.app, record.id).await?;
        seen.push(match again.same {
            true => format!("{}, the same again", ended(Some(&record))),
            false => format!("another answer when run again: {:?}", again.differences),
        });
    }
    Ok(seen)
}

/// One rule declines everything, another uses nearly all of its fuel at every call.
pub(super) async fn obstruction(stage: &Stage) -> Tries {
    let decline = json!({ "ok": { "verdict": "decline", "score": 1000, "reasons": [] } });
    let denier = Guest::new("denier").answers("assess", "assess", decline);
    let shop = stage.rule(&denier).await?;
    let mut seen = Vec::new();
    seen.push(match stage.pay(shop, 1).await {
        Ok(_) => "paid".to_owned(),
        Err(error) => super::refusal(&error),
    });
    let slow = "(local $left i32) (local.set $left (i32.const 1300000))
        (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    seen.extend(repeated(stage, Guest::running("slow", slow)).await?);
    Ok(seen)
}

/// Traps on payments of 13 yen and on no other.
pub(super) async fn now_and_then(stage: &Stage) -> Tries {
    let guest = Guest::new("now-and-then").when("assess", "assess", &[Is("payment.amount.minor", 13)], json!(null));
    let guest = guest.answers("assess", "assess", allow(0));
    let shop = stage.rule(&guest).await?;
    let mut seen = Vec::new();
    for yen in [11, 12, 13, 14, 15] {
        seen.push(match stage.pay(shop, yen).await {
            Ok(_) => "answered".to_owned(),
            Err(error) => super::refusal(&error),
        });
    }
    seen.push(ended(stage.records(&guest.id).await?.get(2)));
    Ok(seen)
}

/// More calls that never end than there are slots, all at once, while the neighbours go on paying.
pub(super) async fn all_slots(stage: &Stage) -> Tries {
    let id = "all-slots";
    let endless = Guest::running(id, "(loop $again (br $again))").build()?;
    let plugin = stage.app.door.load(&endless, &manifests::rule(id), Vec::new())?;
    let mut calls = JoinSet::new();
    for _ in 0..stage.app.door.meters().slots + 50 {
        let (door, plugin, context) = (stage.app.door.clone(), plugin.clone(), context(stage));
        calls.spawn(async move { door.call(&plugin, context, super::a_payment()).await.result });
    }
    let (mut others, mut number) = (std::collections::BTreeSet::new(), 0_u32);
    while let Some(ended) = calls.join_next().await {
        match ended?.map_err(|fault| fault.class) {
            Err(FaultClass::FuelExhausted | FaultClass::Busy) => {}
            other => drop(others.insert(format!("{other:?}"))),
        }
        number += 1;
        if number.is_multiple_of(10) {
            // What fails here is counted like any other of the neighbours' calls.
            stage.neighbour_pays().await;
        }
    }
    Ok(vec![if others.is_empty() { "fuel-exhausted or busy".to_owned() } else { format!("{others:?}") }])
}

/// Looks for what its last call left in memory, in more memory and in a global; traps if it finds anything, then leaves it.
pub(super) async fn memory_of_its_own(stage: &Stage) -> Tries {
    let body = "
        (drop (memory.grow (i32.const 20)))
        (if (i32.or (i32.load (i32.const 60000)) (i32.or (i32.load (i32.const 1000000)) (global.get $kept))) (then unreachable))
        (i32.store (i32.const 60000) (i32.const 1)) (i32.store (i32.const 1000000) (i32.const 1)) (global.set $kept (i32.const 1))";
    let guest = Guest::running("keeper", body).defines("(global $kept (mut i32) (i32.const 0))");
    repeated(stage, guest).await
}

/// A guest fills all of its memory with a pattern, another one and then itself look for it in the very same place: behind a door with one
/// slot there is no other.
pub(super) async fn memory_of_a_neighbour(stage: &Stage) -> Tries {
    // All that a decision may have, and as much as one can both look through and fill with its fuel.
    let (all, half) = (256, 120);
    let (fills, scans) = (through(all, &[fill()]), through(all, &[scan()]));
    let both = through(half, &[scan(), fill()]);
    let load = |id: &str, body: &str| -> anyhow::Result<koban_runtime::Plugin> {
        Ok(stage.alone.load(&Guest::running(id, body).build()?, &manifests::rule(id), Vec::new())?)
    };
    let (filler, scanner, keeper) = (load("filler", &fills)?, load("scanner", &scans)?, load("both", &both)?);
    let mut seen = Vec::new();
    for plugin in [&filler, &scanner, &filler, &scanner, &keeper, &keeper, &scanner] {
        let called = stage.alone.call(plugin, context(stage), super::a_payment()).await;
        seen.push(ended(Some(&called.record)));
    }
    Ok(seen)
}

/// Leaves a pattern in 128 bytes.
fn fill() -> String {
    (0..16)
        .map(|number| format!("(i64.store offset={} (local.get $at) (i64.const 0x5a5a5a5a5a5a5a5a))", number * 8))
        .collect()
}

/// Traps if 128 bytes hold anything.
fn scan() -> String {
    let load = |number: u32| format!("(i64.load offset={} (local.get $at))", number * 8);
    let all = (1..16).fold(load(0), |all, number| format!("(i64.or {all} {})", load(number)));
    format!("(if (i64.ne {all} (i64.const 0)) (then unreachable))")
}

/// Takes so many pages of memory, and goes through all of it, once for each of these.
fn through(pages: u32, each: &[String]) -> String {
    let mut text = format!("(local $at i32) (drop (memory.grow (i32.sub (i32.const {pages}) (memory.size))))");
    for step in each {
        // From the second page on: the first one holds what the guest itself was told.
        text.push_str(&format!(
            "(local.set $at (i32.const 65536))
             (loop $again
                {step}
                (local.set $at (i32.add (local.get $at) (i32.const 128)))
                (br_if $again (i32.lt_u (local.get $at) (i32.const {}))))",
            pages * 65_536
        ));
    }
    text
}

/// Has a guest in each slot of a door once, which uses as much memory as a slot keeps. So it is on any host that has run for long, and what
/// the attacks leave in memory afterwards is seen.
pub(in crate::selftest) async fn use_every_slot(door: &Door) -> anyhow::Result<()> {
    let id = "everywhere";
    let body = "(local $at i32) (drop (memory.grow (i32.const 8)))
        (loop $again
            (i32.store (local.get $at) (i32.load (local.get $at)))
            (local.set $at (i32.add (local.get $at) (i32.const 4096)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const 524288))))";
    let guest = Guest::running(id, body).build()?;
    let clock = clock::Clock::machine();
    // Loaded anew it is another one to the engine, which prefers a slot that nobody had; all of them are held until the last one was called.
    let mut held = Vec::new();
    for _ in 0..door.meters().slots {
        let plugin = door.load(&guest, &manifests::rule(id), Vec::new())?;
        door.call(&plugin, context_at(&clock), super::a_payment()).await.result?;
        held.push(plugin);
    }
    Ok(())
}

fn context(stage: &Stage) -> CallContext {
    context_at(&stage.app.clock)
}

fn context_at(clock: &clock::Clock) -> CallContext {
    CallContext {
        id: koban_domain::ids::RecordId(clock.id()),
        at: clock.now(),
        scope: "platform".to_owned(),
        seed: u64::from_be_bytes(clock::take()),
        locale: "en".to_owned(),
    }
}
