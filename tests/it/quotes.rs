//! Prices that a plugin names at a bank's published rates: read from the feed, held against the platform's own, accepted once and in time.

use std::sync::{Arc, Mutex};

use koban_domain::exchanges::Pair;
use koban_domain::guest::{Named, Value as Setting};
use koban_domain::money::Currency;
use koban_domain::records::Digest;
use koban_domain::releases::State;
use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::plugins::{self, EndpointInput};
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{exchanges, quotes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Caller as _, Operator, Setup, TestApp, User, eventually, minor, package_as, root, seed_plugin};

/// 2018-09-25 15:00 in Frankfurt: the day's rates are three quarters of an hour old.
const AFTERNOON: Timestamp = Timestamp(1_537_880_400_000);
const EXCHANGE: &str = "exchange-ecb";

/// A bank that publishes whatever it is told to.
struct Bank {
    base: String,
    publishes: Arc<Mutex<(u16, String)>>,
}

impl Bank {
    async fn open() -> Bank {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("its address"));
        let day = std::fs::read_to_string(root().join("examples/outside-world/feeds/2018-09-25.xml")).expect("the day");
        let publishes = Arc::new(Mutex::new((200, day)));
        let told = Arc::clone(&publishes);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (status, body) = told.lock().expect("whole").clone();
                let mut asked = [0; 4_096];
                let _ = stream.read(&mut asked).await;
                let head =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Bank { base, publishes }
    }

    fn publish(&self, status: u16, body: &str) {
        *self.publishes.lock().expect("whole") = (status, body.to_owned());
    }
}

/// A host with the exchange, dollars and rates that were read.
async fn market() -> (TestApp, Clock, Bank) {
    let (clock, bank) = (Clock::standing_at(AFTERNOON), Bank::open().await);
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    app.offer_dollars(1_000_000).await;
    seed_plugin(&app.app, EXCHANGE, &[], None).await;
    let endpoint =
        EndpointInput { name: "bank".into(), base: bank.base.clone(), allow_private: true, ..EndpointInput::default() };
    plugins::set_endpoint(&app.app, &app.operator_ctx(), EXCHANGE, endpoint).await.expect("the endpoint is set");
    let operator = app.operator().await;
    ask_feed(&operator).await;
    let read = async || feed(&operator).await;
    eventually("the feed is read", read, |feed| feed["rates"].as_array().is_some_and(|rates| rates.len() == 6)).await;
    (app, clock, bank)
}

async fn feed(operator: &Operator) -> Value {
    operator.get("/v1/operator/feeds").await.ok()["items"][0].clone()
}

/// The feed may have been asked before its address was set.
async fn ask_feed(operator: &Operator) {
    let there = async || feed(operator).await;
    eventually("the feed is known", there, |feed| feed["plugin"] == EXCHANGE).await;
    let asked = operator.post(format!("/v1/operator/feeds/{EXCHANGE}/ask"), json!({})).await;
    assert_eq!(asked.reply.status, 204);
}

fn buy(cents: i64) -> Value {
    json!({ "sell": "JPY", "buy": "USD", "amount": cents, "currency": "USD" })
}

async fn dollars(user: &User) -> i64 {
    minor(&user.get("/v1/wallet?currency=USD").await.ok(), "funds")
}

#[tokio::test]
async fn a_quote_is_the_banks_rate_with_a_spread_and_is_accepted_once() {
    let (app, _, _) = market().await;
    let (user, other) = (app.verified_user_holding(50_000).await, app.verified_user_holding(0).await);
    let quote = user.post("/v1/quotes", buy(10_000)).await.created();
    let named = |field: &str| quote.body[field].clone();
    assert_eq!((named("rate"), named("base"), named("quote")), (json!("113.8727"), json!("USD"), json!("JPY")));
    assert_eq!(named("sell"), json!({ "amount": 11_388, "currency": "JPY" }), "rounded against the customer");
    assert!(named("mid").as_str().expect("text").starts_with("112.745"), "{}", quote.body);
    assert_eq!((named("last_good"), named("plugin")), (json!(false), json!(EXCHANGE)));
    assert_eq!(user.balance().await, 50_000, "nothing is held");
    let path = format!("/v1/quotes/{}", quote.id);
    assert_eq!(user.get(&path).await.ok(), quote.body);
    other.get(&path).await.problem(404, "not_found");
    other.post(format!("{path}/accept"), json!({})).await.problem(404, "not_found");
    let accept = |key: &'static str| user.post(format!("{path}/accept"), json!({})).key(key);
    let (a, b) = tokio::join!(accept("k1"), accept("k2"));
    let made = [a, b].map(|reply| (reply.reply.status, reply.reply.body["id"].clone()));
    let done = accept("k3").await.created();
    assert!(done.replayed, "whatever the key");
    for (status, id) in made {
        assert!((status == 201 && id == json!(done.id)) || status == 409, "{status}: once");
    }
    assert_eq!((user.balance().await, dollars(&user).await), (50_000 - 11_388, 10_000));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_quote_that_ran_out_or_left_the_band_trades_nothing() {
    let (app, clock, _) = market().await;
    let user = app.verified_user_holding(50_000).await;
    let accept = async |id: &str| user.post(format!("/v1/quotes/{id}/accept"), json!({})).await;
    let quote = user.post("/v1/quotes", buy(100)).await.created();
    clock.advance_ms(30_001);
    accept(&quote.id).await.problem(409, "quote_expired");
    let quote = user.post("/v1/quotes", buy(100)).await.created();
    let pair = Pair { base: Currency::new("USD").expect("a currency"), quote: Currency::JPY };
    exchanges::put_reference(&app.app, &app.operator_ctx(), pair, "150", "0.01").await.expect("another reference");
    accept(&quote.id).await.problem(503, "rate_out_of_band");
    user.post("/v1/quotes", buy(100)).await.problem(503, "rate_out_of_band");
    quotes::set_policy(&app.app, &app.operator_ctx(), "0.3", 0).await.expect("a wider band");
    let quote = user.post("/v1/quotes", buy(100)).await.created();
    accept(&quote.id).await.created();
    assert_eq!((user.balance().await, dollars(&user).await), (50_000 - 114, 100));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_the_bank_publishes_wrongly_changes_no_rate() {
    let (app, clock, bank) = market().await;
    let operator = app.operator().await;
    let before = feed(&operator).await["rates"].clone();
    for (status, body, problem) in
        [(500, "later", "failed with 500"), (200, "<Cube", "feed_unreadable"), (200, "", "feed_unreadable")]
    {
        bank.publish(status, body);
        ask_feed(&operator).await;
        let found = eventually(
            "it is told",
            async || feed(&operator).await,
            |feed| feed["problem"].as_str().is_some_and(|told| told.contains(problem)),
        );
        assert_eq!(found.await["rates"], before, "{problem}");
        clock.advance_ms(61_000);
    }
    let user = app.verified_user_holding(50_000).await;
    user.post("/v1/quotes", buy(100)).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn without_a_new_price_an_earlier_one_is_named_again_while_it_is_young() {
    let (app, clock, _) = market().await;
    let user = app.verified_user_holding(50_000).await;
    let first = user.post("/v1/quotes", buy(100)).await.created();
    // From now on the exchange does not quote dollars.
    let pounds = [Named { name: "currencies".into(), value: Setting::Text("GBP".into()) }];
    plugins::set_settings(&app.app, &app.operator_ctx(), EXCHANGE, &pounds).await.expect("it is set");
    clock.advance_ms(299_000);
    let again = user.post("/v1/quotes", buy(200)).await.created();
    assert_eq!((&again.body["last_good"], &again.body["rate"]), (&json!(true), &first.body["rate"]));
    assert_eq!(again.body["buy"], json!({ "amount": 200, "currency": "USD" }));
    user.post(format!("/v1/quotes/{}/accept", again.id), json!({})).await.created();
    clock.advance_ms(1_001);
    user.post("/v1/quotes", buy(100)).await.problem(503, "rate_not_available");
    app.ledger_is_clean().await;
}

/// Goal: the kill switch reaches what was named before it, on every host from its next commit on.
#[tokio::test]
async fn what_a_component_named_trades_nothing_once_it_is_revoked() {
    let (app, clock, _) = market().await;
    // Without jobs it learns of a change only by its own commits.
    let setup = Setup { clock: clock.clone(), jobs: false, ..Setup::default() };
    let other = TestApp::on(Arc::clone(&app.database), setup).await;
    let user = app.verified_user_holding(50_000).await;
    let elsewhere = User::signed_in(user.id, user.token.clone(), &other.anonymous());
    let accept = async |user: &User, id: &str| user.post(format!("/v1/quotes/{id}/accept"), json!({})).await;
    let traded = user.post("/v1/quotes", buy(100)).await.created();
    accept(&user, &traded.id).await.created();
    let (first, second) = (user.post("/v1/quotes", buy(100)).await, user.post("/v1/quotes", buy(100)).await);
    let (first, second) = (first.created(), second.created());
    let named = plugins::get(&app.app, EXCHANGE).await.expect("the exchange").digest;
    releases::revoke(&app.app, &app.operator_ctx(), named, "it lies").await.expect("revoked");

    accept(&elsewhere, &first.id).await.problem(409, "quote_expired");
    accept(&user, &second.id).await.problem(409, "quote_expired");
    assert!(accept(&elsewhere, &traded.id).await.created().replayed, "what was traded before stands");
    user.post("/v1/quotes", buy(100)).await.problem(503, "rate_not_available");
    assert_eq!((user.balance().await, dollars(&user).await), (50_000 - 114, 100));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_a_revoked_component_named_is_not_named_again() {
    let (app, _, _) = market().await;
    let (user, ctx) = (app.verified_user_holding(50_000).await, app.operator_ctx());
    let first = user.post("/v1/quotes", buy(100)).await.created();
    let old: Digest = plugins::get(&app.app, EXCHANGE).await.expect("the exchange").digest;
    // The next release does not quote dollars.
    let package = package_as(EXCHANGE, "0.2.0");
    let release = releases::upload(&app.app, &ctx, Upload { package, unsigned: true }).await.expect("taken");
    let pounds = vec![Named { name: "currencies".into(), value: Setting::Text("GBP".into()) }];
    let accept = Accept { settings: Some(pounds), ..Accept::default() };
    releases::install(&app.app, &ctx, EXCHANGE, release.digest, accept).await.expect("the consent carries over");
    let step = Move::to(State::Enabled);
    releases::move_to(&app.app, &ctx, EXCHANGE, release.digest, &step).await.expect("enabled");
    let again = user.post("/v1/quotes", buy(100)).await.created();
    assert_eq!((&again.body["last_good"], &again.body["rate"]), (&json!(true), &first.body["rate"]));

    releases::revoke(&app.app, &ctx, old, "it lies").await.expect("revoked");
    user.post("/v1/quotes", buy(100)).await.problem(503, "rate_not_available");
    let accept = user.post(format!("/v1/quotes/{}/accept", again.id), json!({})).await;
    accept.problem(409, "quote_expired");
    assert_eq!((user.balance().await, dollars(&user).await), (50_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_cannot_be_priced_is_said_by_field() {
    let (app, _, _) = market().await;
    let (user, unverified) = (app.verified_user_holding(1_000).await, app.user().await);
    unverified.post("/v1/quotes", buy(100)).await.problem(403, "not_verified");
    let wrong = |field: &str, value: Value| {
        let mut body = buy(100);
        body[field] = value;
        body
    };
    for (field, body) in [
        ("buy", wrong("buy", json!("JPY"))),
        ("currency", wrong("currency", json!("EUR"))),
        ("amount", wrong("amount", json!(0))),
    ] {
        let problem = user.post("/v1/quotes", body).await.problem(400, "invalid_request");
        assert_eq!(problem.body["field"], field, "{}", problem.body);
    }
    let pounds = json!({ "sell": "JPY", "buy": "GBP", "amount": 100, "currency": "GBP" });
    user.post("/v1/quotes", pounds).await.problem(422, "currency_not_accepted");
    app.ledger_is_clean().await;
}
