//! kill -9 at random moments under load: nothing acknowledged is lost, nothing is doubled, and every flow is accounted for.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Database, HostProcess, Stopwatch};
use crate::load::{Dice, Town, is_soak, seed};

/// A port that nobody has: hosts that come back must come back to the same place.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let kills: u32 = if is_soak() { 1_000 } else { 40 };
    let seed = seed();
    println!("kills: seed {seed} (KOBAN_TEST_SEED={seed} runs it again), {kills} kills");
    let mut dice = Dice::new(seed);
    let address = free_address();
    let mut town = Town::found(Arc::new(Database::fresh().await), &address, 12).await;
    let stopwatch = Stopwatch::start();
    let mut ready_ms = Vec::new();
    let mut host = HostProcess::start_at(&town.database, "host", &address).await;
    town.work(std::slice::from_ref(&address), &mut dice);
    for _ in 0..kills {
        let answers = dice.one_of(&["normal", "normal", "normal", "slow", "error", "lost", "twice", "silent"]);
        let ours = dice.one_of(&["normal", "normal", "repeat", "reverse"]);
        town.atm.switch(json!({ "answers": answers, "ours": ours, "slow_ms": 300 })).await;
        tokio::time::sleep(Duration::from_millis(50 + dice.below(700))).await;
        host.kill();
        host = HostProcess::start_at(&town.database, "host", &address).await;
        ready_ms.push(host.ready_after.as_millis());
    }
    town.rest().await;
    town.agrees_with_the_network().await;
    assert!(host.stop().await.success());
    town.books_hold_what_was_told().await;
    ready_ms.sort_unstable();
    let told = town.told.lock().expect("told");
    println!(
        "kills: seed {seed}, {kills} kills in {} s; {} payments, {} holds, {} captures, {} voids, {} exchanges, {} refunds, \
         {} transfers, {} refusals, {} deposits acknowledged; \
         {} calls without an answer, {} first answers given again; ready again after {} ms (median), {} ms (longest)",
        stopwatch.elapsed().as_secs(),
        told.payments.len(),
        told.held.len(),
        told.captures.len(),
        told.voided.len(),
        told.exchanges.len(),
        told.refunds.len(),
        told.transfers.len(),
        told.refusals,
        town.counts.deposits.load(Ordering::Relaxed),
        town.counts.unanswered.load(Ordering::Relaxed),
        town.counts.replays.load(Ordering::Relaxed),
        ready_ms[ready_ms.len() / 2],
        ready_ms[ready_ms.len() - 1],
    );
    assert!(told.payments.len() > usize::try_from(kills).unwrap_or(0), "there was load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_while_it_starts_starts_all_the_same() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let address = free_address();
    let mut town = Town::found(Arc::new(Database::fresh().await), &address, 3).await;
    let host = HostProcess::start_at(&town.database, "host", &address).await;
    town.work(std::slice::from_ref(&address), &mut dice);
    tokio::time::sleep(Duration::from_millis(800)).await;
    host.kill();
    for _ in 0..10 {
        HostProcess::start_and_kill(&town.database, "host", &address, Duration::from_millis(5 + dice.below(300))).await;
    }
    let host = HostProcess::start_at(&town.database, "host", &address).await;
    town.rest().await;
    town.agrees_with_the_network().await;
    assert!(host.stop().await.success(), "seed {seed}");
    town.books_hold_what_was_told().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_asked_to_end_finishes_what_was_begun() {
    let mut dice = Dice::new(seed());
    let address = free_address();
    let mut town = Town::found(Arc::new(Database::fresh().await), &address, 6).await;
    let host = HostProcess::start_at(&town.database, "host", &address).await;
    town.work(std::slice::from_ref(&address), &mut dice);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    host.signal("TERM");
    let told_off = Stopwatch::start();
    let mut not_ready = false;
    while told_off.elapsed() < Duration::from_millis(1_500) {
        not_ready |= host.client().get("/readyz").await.is_ok_and(|reply| reply.status == 503);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(not_ready, "readiness goes first, while the host still answers");
    let exit = host.ended().await;
    assert!(exit.success(), "{exit:?}");
    let host = HostProcess::start_at(&town.database, "host", &address).await;
    town.rest().await;
    town.agrees_with_the_network().await;
    assert!(host.stop().await.success());
    town.books_hold_what_was_told().await;
    assert!(town.acknowledged() > 20, "there was load");
}
