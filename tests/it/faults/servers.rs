//! A PostgreSQL that is restarted, loses connections, is cut off or is asked too much: the host goes on by itself, and every answer
//! for good stands in the books once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::{Cluster, Cut, Database, HostProcess, Kind, Line, Shop, Stop, Stopwatch, User, eventually_for};
use crate::kills::free_address;
use crate::load::{Dice, Town, is_soak, seed};
use crate::two_hosts::somebody;

/// A town at work on a server of its own, over a line that can be cut, and a host that shall live through it.
struct Siege {
    cluster: Cluster,
    line: Line,
    town: Town,
    host: HostProcess,
    dice: Dice,
}

impl Siege {
    async fn lay(people: usize) -> Siege {
        let seed = seed();
        println!("faults: seed {seed} (KOBAN_TEST_SEED={seed} runs it again)");
        let mut dice = Dice::new(seed);
        let cluster = Cluster::start().await;
        let line = Line::to(&cluster.address()).await;
        let address = free_address();
        // The town's own look into the books goes past the line.
        let mut town = Town::found(Arc::new(Database::at(cluster.url())), &address, people).await;
        let over = Database::at(line.over(&cluster.url()));
        let host = HostProcess::start_at(&over, "host", &address).await;
        town.work(std::slice::from_ref(&address), &mut dice);
        Siege { cluster, line, town, host, dice }
    }

    /// Waits until something more is acknowledged: the host is at work again.
    async fn goes_on(&self, within: Duration) -> Duration {
        let (before, stopwatch) = (self.town.acknowledged(), Stopwatch::start());
        let more = || async { self.town.acknowledged() };
        eventually_for(within, "the host is at work again", more, |now| *now > before + 5).await;
        stopwatch.elapsed()
    }

    async fn pause(&mut self, least_ms: u64, more_ms: u64) {
        tokio::time::sleep(Duration::from_millis(least_ms + self.dice.below(more_ms))).await;
    }

    /// Everybody comes to rest; the same host still lives; nothing is lost or doubled.
    async fn holds(mut self) {
        let told = || async { self.town.acknowledged() };
        eventually_for(Duration::from_secs(60), "there was load", told, |count| *count > 20).await;
        self.town.rest().await;
        self.town.agrees_with_the_network().await;
        assert!(self.host.stop().await.success(), "the host lived through it");
        self.town.books_hold_what_was_told().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_under_load_loses_and_doubles_nothing() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let mut siege = Siege::lay(4).await;
    let rounds = if is_soak() { 20 } else { 1 };
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
            siege.pause(200, 500).await;
            siege.cluster.stop(how).await;
            siege.pause(100, 300).await;
            siege.cluster.go().await;
            longest = longest.max(siege.goes_on(Duration::from_secs(30)).await);
        }
    }
    println!("faults: {rounds} x 3 restarts of the server; at work again after {} ms at most", longest.as_millis());
    let said = siege.host.said();
    assert!(said.contains("a commit is tried again") || said.contains("was not read"), "{said}");
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_under_load_lose_and_double_nothing() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let mut siege = Siege::lay(4).await;
    let rounds = if is_soak() { 200 } else { 15 };
    // pg_terminate_backend: 57P01 in the middle of whatever they do.
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'koban%'";
    let mut ended = 0;
    for _ in 0..rounds {
        siege.pause(20, 150).await;
        ended += siege.cluster.number(end).await;
    }
    assert!(ended > rounds, "{ended} connections were ended");
    siege.goes_on(Duration::from_secs(20)).await;
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_are_cut_off_under_load_lose_and_double_nothing() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let mut siege = Siege::lay(4).await;
    let cuts = if is_soak() { 300 } else { 20 };
    for round in 0..cuts {
        let cut = *siege.dice.one_of(&[Cut::AnswerLost, Cut::RequestLost]);
        let after = u32::try_from(siege.dice.below(8)).unwrap_or(0);
        siege.line.cut_after(after, cut);
        let count = || async { siege.line.cuts() };
        eventually_for(Duration::from_secs(20), "a commit is cut", count, |cuts| *cuts > round).await;
    }
    siege.goes_on(Duration::from_secs(20)).await;
    assert!(siege.host.said().contains("the connection was lost during a commit"), "{}", siege.host.said());
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_cut_off_from_its_database_is_not_ready_and_heals_by_itself() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let siege = Siege::lay(6).await;
    siege.goes_on(Duration::from_secs(20)).await;
    siege.line.is_dead(true);
    let stopwatch = Stopwatch::start();
    let ready = || async { siege.host.client().get("/readyz").await.expect("an answer").status };
    eventually_for(Duration::from_secs(10), "it is not ready", ready, |status| *status == 503).await;
    let noticed = stopwatch.elapsed();
    assert_eq!(siege.host.client().get("/livez").await.expect("an answer").status, 200, "it lives");
    // What was on its way when the line died may still be told; after that nothing is, for as long as it lasts.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let told = siege.town.acknowledged();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(siege.town.acknowledged(), told, "nothing is acknowledged without a database");
    siege.line.is_dead(false);
    eventually_for(Duration::from_secs(30), "it is ready again", ready, |status| *status == 200).await;
    let back = siege.goes_on(Duration::from_secs(30)).await;
    println!("faults: not ready after {} ms, at work again after {} ms", noticed.as_millis(), back.as_millis());
    while siege.town.acknowledged() < 40 {
        siege.goes_on(Duration::from_secs(20)).await;
    }
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_connections_are_taken_requests_are_told_soon_to_come_back() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let database = Arc::new(Database::fresh().await);
    let (user, token, shop) = somebody(&database).await;
    let host = HostProcess::start(&database).await;
    let user = User::signed_in(user, token, &host.client());
    let shop = Shop::new(shop.0, shop.1, &host.client());
    user.pay(&shop, 100).key("before").await.created();
    let mut hand = database.hand().await;
    hand.run("begin").await;
    hand.run("lock table payments in access exclusive mode").await;
    let mut readers = JoinSet::new();
    for _ in 0..40 {
        let user = user.again();
        readers.spawn(async move {
            let stopwatch = Stopwatch::start();
            let reply = crate::harness::Caller::client(&user).get("/v1/payments").await.expect("an answer");
            (reply.status, reply.code().to_owned(), reply.header("retry-after").is_some(), stopwatch.elapsed())
        });
    }
    for (status, code, says_when, took) in readers.join_all().await {
        assert_eq!((status, code.as_str(), says_when), (503, "books_unreachable", true));
        assert!(took < Duration::from_secs(9), "one was told after {took:?}");
    }
    hand.run("rollback").await;
    user.pay(&shop, 1).key("after").await.created();
    assert_eq!(user.balance().await, 99_899);
    assert!(host.stop().await.success());
    database.is_sound().await;
}
