//! One SQLite file and more than one program: a second host is turned away, and a foreign writer only makes the host wait.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Database, HostProcess, Kind, Setup, Shop, Stopwatch, TestApp, User, koban_in};
use crate::two_hosts::somebody;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_host_on_one_sqlite_file_is_turned_away_and_told_who_has_it() {
    let database = Database::sqlite();
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    let alone = [("KOBAN_SHARED_FILE", OsString::from("false"))];
    let host = HostProcess::start_in(&database, "one", &["--listen", "127.0.0.1:0"], &alone).await;
    let (status, _, said) = koban_in(&database, "other", &listen, &alone);
    assert_eq!(status.code(), Some(1), "{said}");
    let holder = format!("process {}", host.process());
    for word in ["another host serves", &holder, "koban.db", "PostgreSQL"] {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    // Commands that visit the file are welcome beside the host.
    let (status, _, said) = koban_in(&database, "command", &["ledger", "verify"], &[]);
    assert!(status.success(), "{said}");
    // However the first one ends, the next one may come.
    host.kill();
    let next = HostProcess::start_in(&database, "other", &["--listen", "127.0.0.1:0"], &alone).await;
    assert!(next.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_writer_makes_the_host_wait_and_readers_do_not_notice() {
    if Kind::of_this_run() == Kind::Postgres {
        // There the head row is what others may hold: overload.rs and two_hosts.rs.
        return;
    }
    let database = Arc::new(Database::sqlite());
    let (user, token, shop) = somebody(&database).await;
    let host = HostProcess::start(&database).await;
    let user = User::signed_in(user, token, &host.client());
    let shop = Shop::new(shop.0, shop.1, &host.client());
    user.pay(&shop, 100).key("before").await.created();
    let mut hand = database.hand().await;
    hand.run("begin immediate").await;
    let (waiting, held) = (user.again(), Stopwatch::start());
    let paying = tokio::spawn({
        let shop = Shop::new(shop.id, shop.secret.clone(), &host.client());
        async move { waiting.pay(&shop, 1).key("k").await.created() }
    });
    // Longer than the host waits for SQLite's lock: it is told BUSY and tries again.
    while held.elapsed() < Duration::from_millis(6_500) {
        let stopwatch = Stopwatch::start();
        assert_eq!(user.balance().await, 99_900);
        assert!(stopwatch.elapsed() < Duration::from_secs(1), "a reader waited {:?}", stopwatch.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!paying.is_finished(), "nothing is said before it is done");
    hand.run("rollback").await;
    paying.await.expect("it is paid");
    assert!(host.said().contains("a commit is tried again"), "{}", host.said());
    assert_eq!(user.balance().await, 99_899);
    assert!(host.stop().await.success());
    let app = TestApp::on(database, Setup { jobs: false, ..Setup::default() }).await;
    app.ledger_is_clean().await;
}
