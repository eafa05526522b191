//! Two hosts on one database: sums are right, nobody deadlocks, and a host that stops in the middle does not stop the other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, HostProcess, Kind, Shop, Stopwatch, TestApp, User, eventually_for, koban};
use crate::kills::free_address;
use crate::load::{Dice, Town, seed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_database_keep_one_ledger() {
    let mut dice = Dice::new(seed());
    let (first, second) = (free_address(), free_address());
    let mut town = Town::found(Arc::new(Database::fresh().await), &first, 6).await;
    let one = HostProcess::start_at(&town.database, "one", &first).await;
    let other = HostProcess::start_at(&town.database, "other", &second).await;
    town.work(&[first.clone(), second.clone()], &mut dice);
    tokio::time::sleep(Duration::from_secs(4)).await;
    // Effects, timers and deliveries are leased: it does not matter to whom the network talks.
    town.atm.koban_at(&format!("http://{second}"));
    tokio::time::sleep(Duration::from_secs(4)).await;
    // On a machine that is busy with something else, hosts take longer to do as much.
    let told = || async { town.acknowledged() };
    eventually_for(Duration::from_secs(120), "both are at work", told, |told| *told > 50).await;
    town.rest().await;
    town.agrees_with_the_network().await;
    for host in [&one, &other] {
        let said = host.said();
        assert!(!said.contains("deadlock"), "{said}");
    }
    if town.database.kind == Kind::Postgres {
        let sql = "select deadlocks from pg_stat_database where datname = current_database()";
        assert_eq!(town.database.hand().await.number(sql).await, 0);
    }
    assert!(one.stop().await.success());
    assert!(other.stop().await.success());
    town.books_hold_what_was_told().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_on_two_hosts_at_once_pays_once() {
    let database = Arc::new(Database::fresh().await);
    let (user, token, shop) = somebody(&database).await;
    let one = HostProcess::start_at(&database, "one", "127.0.0.1:0").await;
    let other = HostProcess::start_at(&database, "other", "127.0.0.1:0").await;
    let (here, there) =
        (User::signed_in(user, token.clone(), &one.client()), User::signed_in(user, token, &other.client()));
    let shop = Shop::new(shop.0, shop.1, &one.client());
    for round in 0..20 {
        let key = format!("round-{round}");
        let (a, b) = tokio::join!(here.pay(&shop, 10).key(&key), there.pay(&shop, 10).key(&key));
        let (a, b) = (a.created(), b.created());
        assert_eq!(a.id, b.id);
        assert!(a.replayed != b.replayed, "one is the first answer, the other the first answer again");
    }
    assert_eq!(here.balance().await, 100_000 - 200);
    assert!(one.stop().await.success());
    assert!(other.stop().await.success());
    database.is_sound().await;
}

pub(crate) async fn somebody(
    database: &Arc<Database>,
) -> (koban_domain::ids::UserId, String, (koban_domain::ids::MerchantId, String)) {
    use crate::harness::{Setup, seed_money, seed_shop, seed_till, seed_user};
    let app = TestApp::on(Arc::clone(database), Setup { jobs: false, ..Setup::default() }).await;
    app.fraud_policy(koban_domain::guest::Verdict::Decline, koban_domain::guest::Verdict::Allow).await;
    let (user, token) = seed_user(&app.app, true).await;
    seed_till(&app.app).await;
    seed_money(&app.app, user, 100_000).await;
    let shop = seed_shop(&app.app, "5812").await;
    app.stop().await;
    (user, token, shop)
}

/// How often a host is stopped until it is caught between lock and commit.
const CAUGHT_WITHIN: u32 = 400;
/// How soon the other host must commit again: the server's own timeout, at most five seconds, and a moment to notice.
const FREE_WITHIN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_stopped_between_lock_and_commit_does_not_stop_the_other() {
    if Kind::of_this_run() != Kind::Postgres {
        // On SQLite the lock is the file's and no server frees it: one machine, one host is what is supported there.
        return;
    }
    let mut dice = Dice::new(seed());
    let (first, second) = (free_address(), free_address());
    let mut town = Town::found(Arc::new(Database::fresh().await), &second, 6).await;
    let timeout = idle_timeout_ms(&town.database);
    assert!((1..=5_000).contains(&timeout), "the server frees the row after {timeout} ms");
    let (user, token, shop) = somebody(&town.database).await;
    let one = HostProcess::start_at(&town.database, "one", &first).await;
    let other = HostProcess::start_at(&town.database, "other", &second).await;
    town.work(std::slice::from_ref(&first), &mut dice);
    let there = User::signed_in(user, token.clone(), &other.client());
    let shop = Shop::new(shop.0, shop.1, &other.client());
    let mut watched = vec![(there.pay(&shop, 1).await.created().id, 1)];

    let mut hand = town.database.hand().await;
    let mut tries = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(1 + dice.below(15))).await;
        one.signal("STOP");
        // What the server sees of it now stays so: the host can say nothing more.
        let held = "select count(*) from pg_stat_activity where datname = current_database()
            and application_name = 'koban-ledger' and state = 'idle in transaction'
            and pid in (select pid from pg_locks where relation = 'lane_heads'::regclass)";
        let mut is_held = false;
        for _ in 0..3 {
            is_held = hand.number(held).await > 0;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if is_held {
            break;
        }
        one.signal("CONT");
        tries += 1;
        assert!(tries < CAUGHT_WITHIN, "the host was never caught between lock and commit");
    }
    let stopwatch = Stopwatch::start();
    watched.push((there.pay(&shop, 2).await.created().id, 2));
    let freed = stopwatch.elapsed();
    assert!(freed <= FREE_WITHIN, "the other host waited {freed:?}");
    assert!(freed >= Duration::from_millis(200), "the row was not held: the other host paid after {freed:?}");
    for _ in 0..5 {
        watched.push((there.pay(&shop, 1).await.created().id, 1));
    }
    one.signal("CONT");
    let here = User::signed_in(user, token, &one.client());
    watched.push((here.pay(&shop, 3).await.created().id, 3));
    town.rest().await;
    let said = one.said();
    assert!(said.contains("a commit is tried again"), "the woken host's batch was refused, and decided again: {said}");
    town.agrees_with_the_network().await;
    assert_eq!(there.balance().await, 100_000 - 1 - 2 - 5 - 3);
    println!(
        "two hosts: caught between lock and commit after {tries} tries; the other committed again after {} ms \
         (idle_in_transaction_session_timeout {timeout} ms)",
        freed.as_millis()
    );
    assert!(one.stop().await.success(), "the woken host is well");
    assert!(other.stop().await.success());
    town.told.lock().expect("told").payments.extend(watched);
    town.books_hold_what_was_told().await;
}

fn idle_timeout_ms(database: &Database) -> i64 {
    let (status, said, log) = koban(database, &["--json", "doctor"]);
    assert!(status.success(), "{log}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let text = said["settings"]["idle_in_transaction_session_timeout"].as_str().expect("the setting").to_owned();
    text.trim_end_matches("ms").parse().unwrap_or_else(|_| panic!("{text}"))
}
