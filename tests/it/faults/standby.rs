//! A primary with a synchronous standby: what was acknowledged survives the primary, and a primary that was replaced takes no more
//! writes from anybody who has seen its successor.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Cluster, Database, HostProcess, Kind, Shop, Stop, Stopwatch, User, eventually_for, koban_in};
use crate::kills::free_address;
use crate::load::{Dice, Town, is_soak, seed};
use crate::two_hosts::somebody;

/// One address that names both, as `--database` takes it.
fn both(first: &Cluster, second: &Cluster) -> Database {
    Database::at(format!(
        "postgres://koban@{},{}/koban?target_session_attrs=read-write",
        first.address(),
        second.address()
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_has_everything_that_was_acknowledged_and_the_old_primary_takes_no_more_writes() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let seed = seed();
    println!("standby: seed {seed} (KOBAN_TEST_SEED={seed} runs it again)");
    let mut dice = Dice::new(seed);
    for _ in 0..if is_soak() { 10 } else { 1 } {
        fail_over(&mut dice).await;
    }
}

async fn fail_over(dice: &mut Dice) {
    let mut old = Cluster::start().await;
    let (first, second) = (free_address(), free_address());
    let mut town = Town::found(Arc::new(Database::at(old.url())), &first, 6).await;
    let mut new = old.synchronous_standby().await;
    let servers = both(&old, &new);
    let one = HostProcess::start_at(&servers, "one", &first).await;
    let other = HostProcess::start_at(&servers, "other", &second).await;
    town.work(&[first.clone(), second.clone()], dice);
    tokio::time::sleep(Duration::from_millis(1_500 + dice.below(500))).await;

    // The primary is gone in the middle of the work.
    old.stop(Stop::Kill).await;
    let (before, stopwatch) = (town.acknowledged(), Stopwatch::start());
    new.promote().await;
    town.database = Arc::new(Database::at(new.url()));
    let more = || async { town.acknowledged() };
    eventually_for(Duration::from_secs(30), "the hosts are at work again", more, |now| *now > before + 10).await;
    println!("standby: promoted, and at work again after {} ms", stopwatch.elapsed().as_millis());
    assert!(one.said().contains("another server is the primary now"), "{}", one.said());

    // It comes back, knows of nothing, waits for no standby, and would take writes.
    old.set("synchronous_standby_names", "");
    old.go().await;
    let stale = old.number("select sequence from lane_heads where lane = 0").await;
    let before = town.acknowledged();
    eventually_for(Duration::from_secs(20), "they go on", more, |now| *now > before + 10).await;
    one.signal("TERM");
    assert!(one.ended().await.success());
    let one = HostProcess::start_at(&servers, "one", &first).await;
    let before = town.acknowledged();
    eventually_for(Duration::from_secs(20), "so does one that starts now", more, |now| *now > before + 10).await;
    town.rest().await;
    town.agrees_with_the_network().await;

    // Even when its successor cannot be seen.
    let serving = new.number("select sequence from lane_heads where lane = 0").await;
    new.stop(Stop::Fast).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    one.kill();
    other.kill();
    let (status, _, said) = koban_in(&servers, "one", &["serve", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(said.contains("an old primary, at timeline 1") && said.contains("make it a standby"), "{said}");
    let (status, said, _) = koban_in(&servers, "one", &["--json", "doctor"], &[]);
    assert!(!status.success() && said.contains("an old primary"), "{said}");
    assert_eq!(old.number("select sequence from lane_heads where lane = 0").await, stale, "nobody wrote to it");
    new.go().await;
    let (status, said, _) = koban_in(&servers, "one", &["--json", "doctor"], &[]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let line = |what: &str| {
        let lines = said["checks"].as_array().expect("lines");
        lines.iter().find(|line| line["check"] == what).unwrap_or_else(|| panic!("no line {what}: {said}")).clone()
    };
    let server = line("server")["found"].as_str().expect("text").to_owned();
    assert!(server.contains(&new.address()) && server.contains("timeline 2"), "{server}");
    // Several servers, and nobody to take over: that is worth a warning.
    assert_eq!(line("standby")["state"], "warn", "{said} {status:?}");
    assert!(serving > stale, "the work went to the successor");
    town.books_hold_what_was_told().await;
    assert!(town.acknowledged() > 50, "there was load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_standby_nothing_is_acknowledged_and_what_waited_is_done_once() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let primary = Cluster::start().await;
    let database = Arc::new(Database::at(primary.url()));
    let (user, token, shop) = somebody(&database).await;
    let mut standby = primary.synchronous_standby().await;
    let host = HostProcess::start(&database).await;
    let user = User::signed_in(user, token, &host.client());
    let shop = Shop::new(shop.0, shop.1, &host.client());
    user.pay(&shop, 100).key("before").await.created();
    standby.stop(Stop::Kill).await;
    let (payer, at) = (user.again(), Shop::new(shop.id, shop.secret.clone(), &host.client()));
    let paying = tokio::spawn(async move { payer.pay(&at, 1).key("k").attempt().await });
    // Longer than every timeout of the host's connections, of which none may make the server answer alone.
    tokio::time::sleep(Duration::from_secs(if is_soak() { 40 } else { 8 })).await;
    if !is_soak() {
        assert!(!paying.is_finished(), "nothing is acknowledged that the standby does not have");
    }
    assert_eq!(user.balance().await, 99_900, "reading goes on, and sees what both have");
    let (_, said, _) = koban_in(&database, "doctor", &["--json", "doctor"], &[]);
    assert!(said.contains("commits wait for it and nobody follows"), "{said}");
    standby.go().await;
    primary.is_followed().await;
    let told = paying.await.expect("no panic");
    if is_soak() {
        // It was told to come back, and what became of its commit is found under its key.
        let status = told.map(|told| told.reply.status);
        assert!(matches!(status, Ok(503 | 504)), "{status:?}");
    } else {
        assert!(!told.expect("an answer").created().replayed);
    }
    let paid = || async { user.pay(&shop, 1).key("k").await.reply.status };
    eventually_for(Duration::from_secs(40), "it is paid", paid, |status| *status == 201).await;
    assert_eq!(user.balance().await, 99_899, "once");
    assert!(host.stop().await.success());
    database.is_sound().await;
}
