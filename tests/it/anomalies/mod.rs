//! Races on one ledger from two hosts, each provoked many times: only what is allowed ever comes of them.
//!
//! The numbers are those of the list of anomalies that the core is held to. R18 (a plugin's own key-value store) has no such store, for what plugins remember is flow state; R20 (passkeys) waits for passkeys.

mod holds;
mod keys;
mod money;
mod others;
mod shops;
mod stage;
mod warrants;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::harness::{Kind, Stopwatch};
use crate::load::{Dice, is_soak, seed};

use stage::Stage;

/// How often each race is provoked.
fn times() -> u32 {
    let told = std::env::var("KOBAN_ANOMALIES").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(if is_soak() { 1_000 } else { 16 })
}

/// Races that run at the same moment.
const AT_ONCE: usize = 16;

/// Provokes a race again and again on one database with two hosts. Each time says in one word what came of it; a word that is not in the
/// list is not allowed, and at full scale each word of the list must have come. The auditor looks afterwards.
async fn provoke<F>(id: &str, allowed: &[&str], race: impl Fn(Arc<Stage>, Dice) -> F)
where
    F: Future<Output = &'static str> + Send + 'static,
{
    provoke_at_once(id, (times(), AT_ONCE), allowed, race).await;
}

async fn provoke_at_once<F>(
    id: &str,
    (times, at_once): (u32, usize),
    allowed: &[&str],
    race: impl Fn(Arc<Stage>, Dice) -> F,
) where
    F: Future<Output = &'static str> + Send + 'static,
{
    let seed = seed();
    println!("{id}: seed {seed} (KOBAN_TEST_SEED={seed} draws the same amounts again)");
    let (stage, mut dice) = (Stage::open().await, Dice::new(seed));
    let stopwatch = Stopwatch::start();
    let mut came: BTreeMap<&str, u32> = BTreeMap::new();
    let mut races = JoinSet::new();
    for _ in 0..times {
        if races.len() >= at_once
            && let Some(ended) = races.join_next().await
        {
            *came.entry(ended.unwrap_or_else(|error| panic!("{id}, seed {seed}: {error}"))).or_default() += 1;
        }
        races.spawn(race(Arc::clone(&stage), Dice::new(dice.next())));
    }
    while let Some(ended) = races.join_next().await {
        *came.entry(ended.unwrap_or_else(|error| panic!("{id}, seed {seed}: {error}"))).or_default() += 1;
    }
    let ms = stopwatch.elapsed().as_millis();
    println!("{id}: {times} times in {ms} ms on two hosts, {came:?}");
    for word in came.keys() {
        assert!(allowed.contains(word), "{id}: `{word}` came, allowed are {allowed:?}");
    }
    if is_soak() {
        for word in allowed {
            assert!(came.contains_key(word), "{id}: `{word}` never came: the race was not provoked");
        }
    }
    if stage.database.kind == Kind::Postgres {
        let sql = "select deadlocks from pg_stat_database where datname = current_database()";
        assert_eq!(stage.database.hand().await.number(sql).await, 0, "{id}: nobody deadlocks");
    }
    stage.database.is_sound().await;
}
