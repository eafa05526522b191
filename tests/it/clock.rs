//! One clock for the whole platform, and a database for tests whose clock operators move.

use koban_service::platform::{self, Mode};
use serde_json::json;

use crate::harness::{Caller as _, Database, HostProcess, Operator, Setup, Shop, TestApp, eventually, koban};

/// A host on a test's database, as `koban serve --test-clock` puts it together.
async fn test_host() -> TestApp {
    let database = std::sync::Arc::new(Database::fresh().await);
    let store = database.store().await;
    let clock = platform::begin(&store, true).await.expect("a new database may become a test's");
    store.close().await;
    TestApp::on(database, Setup { clock, ..Setup::default() }).await
}

#[tokio::test]
async fn an_operator_moves_the_clock_of_a_test_and_sessions_end_by_it() {
    let app = test_host().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let before = operator.get("/v1/operator/clock").await.ok();
    assert_eq!((&before["mode"], &before["ahead_ms"]), (&json!("test"), &json!(0)));
    let moved = operator.post("/v1/operator/clock/advance", json!({ "by_s": 600 })).await.ok();
    assert_eq!(moved["ahead_ms"], 600_000);
    user.get("/v1/wallet").await.ok();
    operator.post("/v1/operator/clock/advance", json!({ "by_s": 899 })).await.ok();
    let moved = operator.post("/v1/operator/clock/advance", json!({ "by_s": 2 })).await.ok();
    assert_eq!(moved["ahead_ms"], 1_501_000, "moves add up");
    user.get("/v1/wallet").await.problem(401, "not_signed_in");
    let acts = operator.get("/v1/operator/audit?act=clock.move").await.ok();
    assert_eq!(acts["items"].as_array().map(Vec::len), Some(3));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_clock_is_never_moved_back_nor_too_far() {
    let app = test_host().await;
    let operator = app.operator().await;
    for by_s in [0, -1, 31_622_401] {
        let wrong = operator.post("/v1/operator/clock/advance", json!({ "by_s": by_s })).await;
        assert_eq!(wrong.problem(400, "invalid_request").body["field"], "by_s");
    }
    assert_eq!(operator.get("/v1/operator/clock").await.ok()["ahead_ms"], 0);
}

#[tokio::test]
async fn every_host_of_a_test_follows_its_clock() {
    let app = test_host().await;
    let store = app.database.store().await;
    let clock = platform::begin(&store, true).await.expect("it is a test's database");
    let other = TestApp::on(std::sync::Arc::clone(&app.database), Setup { clock, ..Setup::default() }).await;
    let operator = app.operator().await;
    operator.post("/v1/operator/clock/advance", json!({ "by_s": 86_400 })).await.ok();
    let follows =
        eventually("the other host follows", async || other.app.clock.ahead_ms(), |ahead| *ahead > Some(0)).await;
    assert_eq!(follows, Some(86_400_000));
    store.close().await;
}

#[tokio::test]
async fn the_clock_of_live_money_does_not_move() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    assert_eq!(operator.get("/v1/operator/clock").await.ok()["mode"], "live");
    operator.post("/v1/operator/clock/advance", json!({ "by_s": 1 })).await.problem(409, "conflict");
}

#[tokio::test]
async fn live_and_test_keys_are_not_taken_for_each_other() {
    let (live, test) = (TestApp::start().await, test_host().await);
    let (shop, tried) = (live.shop().await, test.shop().await);
    assert!(shop.secret.starts_with("kbn_live_") && tried.secret.starts_with("kbn_test_"));
    let reply = Shop::new(tried.id, tried.secret.clone(), &live.anonymous()).get("/v1/merchant").await;
    assert!(reply.problem(401, "not_signed_in").body.to_string().contains("test key"));
    Shop::new(shop.id, shop.secret.clone(), &test.anonymous()).get("/v1/merchant").await.problem(401, "not_signed_in");
}

#[tokio::test]
async fn a_test_clock_refuses_to_start_on_a_live_database_and_the_other_way_round() {
    let (live, test) = (Database::fresh().await, Database::fresh().await);
    assert!(HostProcess::start(&live).await.stop().await.success());
    let with_test_clock = HostProcess::start_with(&test, "host", &["--listen", "127.0.0.1:0", "--test-clock"]).await;
    assert!(with_test_clock.stop().await.success());
    let (status, _, said) = koban(&live, &["serve", "--listen", "127.0.0.1:0", "--test-clock"]);
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("live money"), "{said}");
    let (status, _, said) = koban(&test, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("--test-clock"), "{said}");
    let (status, _, said) = koban(&test, &["ledger", "verify"]);
    assert!(status.success(), "commands that visit need no flag: {said}");
}

#[tokio::test]
async fn a_database_with_keys_that_nobody_served_yet_is_no_tests() {
    let app = TestApp::start().await;
    app.shop().await;
    assert!(platform::begin(&app.app.store, true).await.is_err());
    assert_eq!(koban_store::platform::mode(&app.app.store).await.expect("readable"), None);
    platform::begin(&app.app.store, false).await.expect("live it may become");
    assert_eq!(koban_store::platform::mode(&app.app.store).await.expect("readable"), Some(Mode::Live));
}

#[tokio::test]
async fn a_moved_clock_stays_moved_when_the_host_starts_again() {
    let database = Database::fresh().await;
    let (status, _, said) = koban(&database, &["migrate"]);
    assert!(status.success(), "{said}");
    let arguments = ["--listen", "127.0.0.1:0", "--test-clock"];
    let host = HostProcess::start_with(&database, "host", &arguments).await;
    let store = database.store().await;
    let app = koban_service::App::start(
        store.clone(),
        crate::harness::door(),
        koban_outside::Outside::new(koban_outside::Settings::default()).expect("the way out opens"),
        platform::clock(&store).await.expect("a clock"),
        crate::harness::sealer(),
    )
    .await
    .expect("it starts");
    let email = crate::harness::seed_operator(&app).await;
    let operator = Operator::sign_in(&host.client(), &email).await;
    operator.post("/v1/operator/clock/advance", json!({ "by_s": 40 * 86_400 })).await.ok();
    host.kill();
    let host = HostProcess::start_with(&database, "host", &arguments).await;
    let operator = Operator::sign_in(&host.client(), &email).await;
    assert_eq!(operator.get("/v1/operator/clock").await.ok()["ahead_ms"], 40_i64 * 86_400_000);
    assert!(host.stop().await.success());
    store.close().await;
}
