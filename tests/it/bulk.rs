//! Many money requests in one: all or none, or each by itself, in order and once.

use std::sync::Arc;

use koban_domain::guest::Verdict;
use serde_json::{Value, json};

use crate::harness::{Caller, Database, HostProcess, Kind, Request, Setup, Shop, TestApp, User, minor, unique, whole};
use koban_web::{Rate, Rates, WebConfig};

fn payment(shop: &Shop, yen: i64) -> Value {
    json!({ "payment": { "merchant": shop.id, "amount": yen, "currency": "JPY" } })
}

fn transfer(receiver: &User, yen: i64) -> Value {
    json!({ "transfer": { "receiver": receiver.id, "amount": yen, "currency": "JPY" } })
}

fn bulk<'a>(caller: &'a impl Caller, mode: &str, items: &[Value]) -> Request<'a> {
    caller.post("/v1/bulk", json!({ "mode": mode, "items": items }))
}

fn statuses(body: &Value) -> Vec<u64> {
    body["items"].as_array().expect("items").iter().map(|item| item["status"].as_u64().expect("a status")).collect()
}

#[tokio::test]
async fn an_atomic_bulk_is_done_as_a_whole_and_answered_in_order() {
    let app = TestApp::start().await;
    app.offer_dollars(1_000_000).await;
    let (hana, ken, shop) =
        (app.verified_user_holding(20_000).await, app.verified_user_holding(0).await, app.shop().await);
    let buy =
        json!({ "exchange": { "sell": "JPY", "buy": "USD", "amount": 100, "currency": "USD", "rate": "113.8727" } });
    let mut held = payment(&shop, 500);
    held["payment"]["capture"] = json!(false);
    let items = [payment(&shop, 1_000), transfer(&ken, 300), buy, held];
    let first = bulk(&hana, "atomic", &items).key("b1").await;
    assert!(!first.replayed());
    let first = first.ok();
    assert_eq!(statuses(&first), [201, 201, 201, 201]);
    assert_eq!((minor(&first, "done"), minor(&first, "failed")), (4, 0));
    assert_eq!(first["items"][1]["transfer"]["receiver"], json!(ken.id));
    let paid = first["items"][0]["payment"]["id"].as_str().expect("an id");
    assert_eq!(hana.get(format!("/v1/payments/{paid}")).await.ok(), first["items"][0]["payment"]);
    let again = bulk(&hana, "atomic", &items).key("b1").await;
    assert!(again.replayed());
    let again = again.ok();
    assert_eq!(again["items"][3]["payment"], first["items"][3]["payment"]);
    assert!(again["items"].as_array().expect("items").iter().all(|item| item["replayed"] == true));
    bulk(&hana, "atomic", &items[..3]).key("b1").await.problem(422, "idempotency_key_reused");
    assert_eq!((hana.balance().await, ken.balance().await, shop.balance().await), (18_586, 300, 1_000));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_atomic_bulk_names_the_first_refusal_and_does_nothing() {
    let app = TestApp::start().await;
    let (hana, ken, shop) =
        (app.verified_user_holding(1_000).await, app.verified_user_holding(0).await, app.shop().await);
    let before = app.entries().await;
    let items = [payment(&shop, 600), transfer(&ken, 600), transfer(&ken, 1)];
    let refused = bulk(&hana, "atomic", &items).key("b1").await;
    assert!(!refused.replayed());
    let refused = refused.problem(422, "insufficient_funds");
    assert_eq!(refused.body["field"], "items[1]");
    assert_eq!((app.entries().await, hana.balance().await, ken.balance().await), (before, 1_000, 0));
    app.bring(hana.id, 5_000).await;
    let again = bulk(&hana, "atomic", &items).key("b1").await;
    assert!(again.replayed(), "the refusal sticks");
    assert_eq!(again.problem(422, "insufficient_funds").body["field"], "items[1]");
    let nobody =
        json!({ "transfer": { "receiver": format!("usr_{}", "0".repeat(32)), "amount": 1, "currency": "JPY" } });
    let missing = bulk(&hana, "atomic", &[payment(&shop, 1), nobody]).key("b2").await.problem(404, "user_not_found");
    assert_eq!(missing.body["field"], "items[1]");
    let other = json!({ "payment": { "merchant": format!("mer_{}", "0".repeat(32)), "amount": 1, "currency": "JPY" } });
    let missing = bulk(&hana, "atomic", &[payment(&shop, 1), other]).key("b3").await.problem(404, "not_found");
    assert_eq!(missing.body["field"], "items[1]");
    assert_eq!(hana.balance().await, 6_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_independent_bulk_gives_each_item_its_own_outcome_once() {
    let app = TestApp::start().await;
    let (hana, ken, shop) =
        (app.verified_user_holding(1_000).await, app.verified_user_holding(0).await, app.shop().await);
    let nobody =
        json!({ "payment": { "merchant": format!("mer_{}", "0".repeat(32)), "amount": 1, "currency": "JPY" } });
    let alone = hana.pay(&shop, 50).key("alone").await.created();
    let mut known = payment(&shop, 50);
    known["key"] = json!("alone");
    let items = [payment(&shop, 600), transfer(&ken, 600), nobody, transfer(&ken, 300), known];
    let first = bulk(&hana, "independent", &items).key("b1").await;
    assert!(!first.replayed());
    let first = first.ok();
    assert_eq!(statuses(&first), [201, 422, 404, 201, 201]);
    assert_eq!((minor(&first, "done"), minor(&first, "failed")), (3, 2));
    assert_eq!(first["items"][1]["problem"]["code"], "insufficient_funds");
    assert_eq!(first["items"][2]["problem"]["code"], "not_found");
    assert_eq!((&first["items"][4]["payment"]["id"], &first["items"][4]["replayed"]), (&json!(alone.id), &json!(true)));
    app.bring(hana.id, 5_000).await;
    let again = bulk(&hana, "independent", &items).key("b1").await.ok();
    assert_eq!(statuses(&again), [201, 422, 404, 201, 201], "refusals stick, too");
    assert_eq!(again["items"][0]["payment"], first["items"][0]["payment"]);
    assert_eq!(again["items"][1]["replayed"], true);
    bulk(&hana, "independent", &items[1..]).key("b1").await.problem(422, "idempotency_key_reused");
    bulk(&hana, "atomic", &items[..2]).key("b1").await.problem(422, "idempotency_key_reused");
    hana.pay(&shop, 50).key("b1").await.problem(422, "idempotency_key_reused");
    assert_eq!((hana.balance().await, ken.balance().await, shop.balance().await), (5_050, 300, 650));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn merchants_send_refunds_captures_and_voids_as_their_scopes_allow() {
    let app = TestApp::start().await;
    let (user, shop, other) = (app.user_holding(10_000).await, app.shop().await, app.shop().await);
    let (paid, theirs) = (user.pay(&shop, 1_000).await.created(), user.pay(&other, 1_000).await.created());
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(user.pay(&shop, 500).with("capture", false).await.created());
    }
    let refund =
        |payment: &str, yen: i64| json!({ "refund": { "payment": payment, "amount": yen, "currency": "JPY" } });
    let items = [
        refund(&paid.id, 300),
        json!({ "capture": { "payment": held[0].id, "amount": 200, "final": true } }),
        json!({ "void": { "payment": held[1].id } }),
        refund(&theirs.id, 1),
    ];
    let done = bulk(&shop, "independent", &items).await.ok();
    assert_eq!(statuses(&done), [201, 201, 200, 404]);
    assert_eq!(done["items"][2]["payment"]["state"], "voided");
    let missing = refund(&format!("pay_{}", "0".repeat(32)), 1);
    let same = bulk(&shop, "independent", &[items[3].clone(), missing]).await.ok();
    assert_eq!(same["items"][0], same["items"][1], "another merchant's payment is told like none");
    assert_eq!((user.balance().await, shop.balance().await), (8_100, 900));

    let made =
        shop.post("/v1/merchant/keys", json!({ "name": "refunds", "scopes": ["payments:refund"] })).await.created();
    let narrow = shop.with_secret(&made.text("secret"));
    let refused = bulk(&narrow, "independent", &items[..2]).await.problem(403, "insufficient_scope");
    assert_eq!(refused.body["field"], "items[1].capture");
    bulk(&narrow, "independent", &items[..1]).await.ok();
    let forbidden = bulk(&shop, "atomic", &[payment(&shop, 1)]).await.problem(403, "forbidden");
    assert_eq!(forbidden.body["field"], "items[0].payment");
    bulk(&user, "atomic", &items[..1]).await.problem(403, "forbidden");
    bulk(&app.operator().await, "atomic", &items[..1]).await.problem(403, "forbidden");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_bulk_that_is_none_is_refused_before_anything_is_done() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let many: Vec<Value> = (0..1_001).map(|_| payment(&shop, 1)).collect();
    let keyed = |key: &str| {
        let mut item = payment(&shop, 1);
        item["key"] = json!(key);
        item
    };
    let mut two = payment(&shop, 1);
    two["void"] = json!({ "payment": format!("pay_{}", "0".repeat(32)) });
    for (mode, items, field) in [
        ("atomic", vec![], "items"),
        ("independent", many, "items"),
        ("atomic", vec![keyed("k")], "items[0].key"),
        ("independent", vec![keyed("k"), keyed("k")], "items[1].key"),
        ("independent", vec![keyed("")], "items[0].key"),
        ("independent", vec![keyed("a b")], "items[0].key"),
        ("atomic", vec![payment(&shop, 1), json!({})], "items[1]"),
        ("atomic", vec![json!({ "grant": {} })], "items[0].grant"),
        ("atomic", vec![payment(&shop, 0)], "items[0].payment.amount"),
        ("some", vec![payment(&shop, 1)], "mode"),
    ] {
        let refused = bulk(&user, mode, &items).await.problem(400, "invalid_request");
        assert_eq!(refused.body["field"], field, "{}", refused.body);
    }
    bulk(&user, "atomic", &[two]).await.problem(403, "forbidden");
    assert_eq!(user.balance().await, 10_000);
    assert_eq!(app.database.hand().await.number("select count(*) from operations").await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_thousand_payments_by_one_user_are_judged_as_if_they_came_one_after_the_other() {
    let settings = [whole("night_from", 0), whole("night_to", 0), whole("user_10m_count", 5)];
    let app = TestApp::start().await.with_fraud_rules(&settings).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let items: Vec<Value> = (0..20).map(|_| payment(&shop, 10)).collect();
    let done = bulk(&user, "independent", &items).await.ok();
    let (bulked, _) = statuses(&done).into_iter().partition::<Vec<_>, _>(|status| *status == 201);
    let alone = app.user_holding(10_000).await;
    let mut single = 0;
    for _ in 0..20 {
        single += usize::from(alone.pay(&shop, 10).await.reply.status == 201);
    }
    assert!(bulked.len() < 20 && bulked.len() == single, "{} in a bulk, {single} one by one", bulked.len());
    assert!(done["items"][0]["payment"]["decision"].is_string(), "each item has its own record");
    assert_ne!(done["items"][0]["payment"]["decision"], done["items"][1]["payment"]["decision"]);
    bulk(&user, "atomic", &items).await.problem(403, done["items"][19]["problem"]["code"].as_str().expect("a code"));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_thousand_items_are_done_and_counted_by_the_rate_and_the_queue() {
    let rates = Rates { items: Rate::per_minute(1, 1_000), ..Rates::UNREACHED };
    let web = WebConfig { rates, notice: std::time::Duration::ZERO, ..WebConfig::default() };
    let app = TestApp::start_with(Setup { web, ..Setup::default() }).await;
    let (hana, shop) = (app.user_holding(10_000).await, app.shop().await);
    let items: Vec<Value> = (0..1_000).map(|_| payment(&shop, 3)).collect();
    let before = app.entries().await;
    let done = bulk(&hana, "atomic", &items).await.ok();
    assert_eq!((minor(&done, "done"), app.entries().await - before), (1_000, 1_000));
    let refused = bulk(&hana, "atomic", &items[..1]).await.problem(429, "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    hana.pay(&shop, 3).await.created();
    assert_eq!((hana.balance().await, shop.balance().await), (6_997, 3_003));

    let ken = app.user_holding(10_000).await;
    let done = bulk(&ken, "independent", &items).await.ok();
    assert_eq!((minor(&done, "done"), shop.balance().await), (1_000, 6_003));
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_that_finds_no_room_in_the_queue_is_told_to_come_back() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let mut hand = app.database.hand().await;
    match app.database.kind {
        Kind::Sqlite => drop(hand.run("begin immediate").await),
        Kind::Postgres => {
            hand.run("begin").await;
            hand.run("select sequence from lane_heads where lane = 0 for update").await;
        }
    }
    let items: Vec<Value> = (0..1_000).map(|_| payment(&shop, 1)).collect();
    let sent: Vec<_> = (0..6)
        .map(|number| {
            let (user, items) = (user.again(), items.clone());
            tokio::spawn(async move {
                bulk(&user, "atomic", &items)
                    .key(&format!("b{number}"))
                    .attempt()
                    .await
                    .map(|outcome| outcome.reply.status)
            })
        })
        .collect();
    let full = || async { app.app.ledger.counts().full.load(std::sync::atomic::Ordering::Relaxed) };
    crate::harness::eventually("the queue is full", full, |full| *full > 0).await;
    hand.run("rollback").await;
    let mut done = 0;
    for sent in sent {
        match sent.await.expect("no panic").expect("an answer") {
            200 => done += 1,
            503 => {}
            other => panic!("{other}"),
        }
    }
    assert!((1..6).contains(&done), "{done} were done");
    assert_eq!(user.balance().await, 10_000 - 1_000 * done);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_all_or_nothing_and_each_item_once() {
    let database = Arc::new(Database::fresh().await);
    let app = TestApp::on(Arc::clone(&database), Setup::default()).await;
    app.fraud_policy(Verdict::Decline, Verdict::Allow).await;
    let (user, shop) = (app.verified_user_holding(90_000).await, app.shop().await);
    app.stop().await;
    let items: Vec<Value> = (0..200).map(|_| payment(&shop, 1)).collect();
    let (mut expected, mut unsure) = (90_000, 0);
    for round in 0..8_u64 {
        let host = HostProcess::start(&database).await;
        let mode = if round % 2 == 0 { "atomic" } else { "independent" };
        let key = unique("bulk");
        let again = User::signed_in(user.id, user.token.clone(), &host.client());
        let sent = {
            let (items, key) = (items.clone(), key.clone());
            tokio::spawn(async move {
                bulk(&again, mode, &items).key(&key).attempt().await.map(|outcome| outcome.reply.status)
            })
        };
        tokio::time::sleep(std::time::Duration::from_millis(5 + round * 7)).await;
        host.kill();
        unsure += usize::from(sent.await.expect("no panic") != Ok(200));
        let host = HostProcess::start(&database).await;
        let user = User::signed_in(user.id, user.token.clone(), &host.client());
        let before = user.balance().await;
        if mode == "atomic" {
            assert!([expected, expected - 200].contains(&before), "all or nothing: {before} of {expected}");
        }
        let done = bulk(&user, mode, &items).key(&key).await.ok();
        assert_eq!(minor(&done, "done"), 200);
        expected -= 200;
        assert_eq!(user.balance().await, expected, "each item once");
        assert!(host.stop().await.success());
    }
    assert!(unsure > 0, "no kill came between request and answer");
    let app = TestApp::on(database, Setup::default()).await;
    app.ledger_is_clean().await;
}
