//! Webhooks end to end: told at least once and each under its id, to whom it concerns, whatever the receiver or the host does.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{
    Caller as _, Database, HostProcess, Operator, Setup, Shop, Sink, TestApp, User, eventually, koban, program,
    seed_money, seed_operator, seed_shop, seed_till, seed_user,
};

const DAY_MS: i64 = 86_400_000;

async fn sink() -> Sink {
    Sink::start(Clock::machine()).await
}

#[tokio::test]
async fn a_merchant_is_told_of_its_own_payments_and_refunds_as_the_api_gives_them() {
    let app = TestApp::start().await;
    let (operator, sink, other_sink) = (app.operator().await, sink().await, sink().await);
    let (user, shop, other) = (app.user_holding(10_000).await, app.shop().await, app.shop().await);
    sink.register(&operator, Some(shop.id.to_string())).await;
    other_sink.register(&operator, Some(other.id.to_string())).await;
    let payment = user.pay(&shop, 1_280).with("reference", "order-1").await.created();
    let as_it_was = shop.get(format!("/v1/payments/{}", payment.id)).await.ok();
    shop.refund(&payment, 280).await.created();
    let refund = shop.get(format!("/v1/payments/{}/refunds", payment.id)).await.ok()["items"][0].clone();

    let events = sink.has(2).await;
    let of = |kind: &str| events.values().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let captured = of("payment.captured");
    assert_eq!(captured["data"], as_it_was);
    assert_eq!((&captured["version"], &captured["sequence"]), (&json!(1), &json!(1)));
    assert_eq!(of("refund.posted")["data"], refund);
    assert_eq!(of("refund.posted")["sequence"], 2);
    assert!(sink.calls().iter().all(|call| call.bytes.len() <= 20_000 && call.signatures == 2));

    let theirs = user.pay(&other, 100).await.created();
    let told = other_sink.has(1).await;
    assert_eq!(told.values().next().expect("one")["data"]["id"], theirs.id.as_str());
    assert_eq!((sink.events().len(), other_sink.events().len()), (2, 1), "nobody is told of another's");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_platform_is_told_everything_and_only_what_it_asked_for() {
    let app = TestApp::start().await;
    let (operator, all, some) = (app.operator().await, sink().await, sink().await);
    all.register(&operator, None).await;
    let asked = json!({ "url": some.url(), "allow_private": true, "types": ["charge.credited", "user.verified"] });
    some.knows(&operator.post("/v1/operator/webhook-endpoints", asked).await.created());
    let (user, shop) = (app.verified_user_holding(5_000).await, app.shop().await);
    user.pay(&shop, 100).await.created();
    let kinds = |events: &std::collections::BTreeMap<String, Value>| {
        let mut kinds: Vec<_> =
            events.values().map(|event| event["type"].as_str().expect("a type").to_owned()).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&all.has(3).await), ["charge.credited", "payment.captured", "user.verified"]);
    assert_eq!(kinds(&some.has(2).await), ["charge.credited", "user.verified"]);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_endpoint_belongs_to_its_merchant_alone() {
    let app = TestApp::start().await;
    let (shop, other, operator) = (app.shop().await, app.shop().await, app.operator().await);
    let body = json!({ "url": "https://shop.example/hooks", "description": "orders" });
    let made = shop.post("/v1/webhook-endpoints", body.clone()).await.created();
    assert!(made.text("secret").starts_with("whsec_"));
    let id = made.body["endpoint"]["id"].as_str().expect("an id").to_owned();
    let secret = koban_outside::Secret::parse(&made.text("secret")).expect("a secret");
    let open = made.text("secret").trim_start_matches("whsec_").to_owned();
    assert_eq!(secret.reveal().as_str(), made.text("secret"));
    let bytes = {
        use base64::Engine as _;
        hex::encode(base64::engine::general_purpose::STANDARD.decode(open).expect("base64"))
    };
    let look = match crate::harness::Kind::of_this_run() {
        crate::harness::Kind::Sqlite => {
            format!("select count(*) from webhook_endpoints where instr(hex(secret), upper('{bytes}')) > 0")
        }
        crate::harness::Kind::Postgres => {
            format!("select count(*) from webhook_endpoints where position('{bytes}' in encode(secret, 'hex')) > 0")
        }
    };
    assert_eq!(app.database.hand().await.number(&look).await, 0, "secrets lie sealed");
    let path = format!("/v1/webhook-endpoints/{id}");
    for path in [path.clone(), format!("{path}/deliveries")] {
        other.get(&path).await.problem(404, "not_found");
    }
    for (path, body) in [
        ("rotate", json!({ "overlap_s": 0 })),
        ("test", json!({})),
        ("replay", json!({ "since": "2026-01-01T00:00:00Z" })),
    ] {
        other.post(format!("/v1/webhook-endpoints/{id}/{path}"), body).await.problem(404, "not_found");
    }
    assert_eq!(other.get("/v1/webhook-endpoints").await.ok()["items"], json!([]));
    let platform = json!({ "url": "https://ledger.example/koban" });
    operator.post("/v1/operator/webhook-endpoints", platform).await.created();
    let mine = shop.get("/v1/webhook-endpoints").await.ok();
    assert_eq!(mine["items"].as_array().expect("items").len(), 1, "not the platform's");
    let shown = shop.get(&path).await.ok();
    assert!(!shown.to_string().contains("whsec_"), "shown once: {shown}");
    assert_eq!(operator.get("/v1/operator/webhook-endpoints").await.ok()["items"].as_array().expect("items").len(), 2);
    let settings = json!({ "url": "https://shop.example/other", "types": ["refund.posted"], "enabled": false });
    let set = shop.put(&path, settings).await.ok();
    assert_eq!((&set["url"], &set["enabled"]), (&json!("https://shop.example/other"), &json!(false)));
    shop.post(format!("{path}/test"), json!({})).await.problem(409, "conflict");
    shop.delete(&path).await.ok();
    shop.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn addresses_inside_are_refused_unless_an_operator_opens_them_and_metadata_always() {
    let app = TestApp::start().await;
    let (shop, operator) = (app.shop().await, app.operator().await);
    for url in [
        "http://shop.example/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://[::ffff:192.168.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://user:secret@shop.example/",
        "https://shop.example/?token=1",
        "file:///etc/passwd",
        "",
    ] {
        let refused = shop.post("/v1/webhook-endpoints", json!({ "url": url })).await.problem(400, "invalid_request");
        assert_eq!(refused.body["field"], "url", "{url}");
    }
    for url in ["https://169.254.169.254/", "http://0.0.0.0/"] {
        let body = json!({ "url": url, "allow_private": true });
        operator.post("/v1/operator/webhook-endpoints", body).await.problem(400, "invalid_request");
    }
    let opened = json!({ "merchant": shop.id.to_string(), "url": "http://127.0.0.1:9/", "allow_private": true });
    let made = operator.post("/v1/operator/webhook-endpoints", opened).await.created();
    let path = format!("/v1/webhook-endpoints/{}", made.body["endpoint"]["id"].as_str().expect("an id"));
    shop.put(&path, json!({ "url": "http://127.0.0.1:9/", "enabled": true })).await.ok();
    // The operator's word was for that address.
    shop.put(&path, json!({ "url": "http://127.0.0.1:8/", "enabled": true })).await.problem(400, "invalid_request");
    let unknown = json!({ "url": "https://shop.example/", "types": ["transfer.posted"] });
    let refused = shop.post("/v1/webhook-endpoints", unknown).await.problem(400, "invalid_request");
    assert_eq!(refused.body["field"], "types[0]", "a merchant is not told of transfers");
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_under_the_same_id_and_the_log_says_how_it_went() {
    let clock = Clock::standing_at(Timestamp(1_777_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let sink = Sink::start(clock.clone()).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let operator = app.operator().await;
    let id = sink.register(&operator, Some(shop.id.to_string())).await;
    sink.answers(503);
    user.pay(&shop, 100).await.created();
    sink.was_called(1).await;
    let log = format!("/v1/webhook-endpoints/{id}/deliveries");
    let first = async || shop.get(&log).await.ok()["items"][0].clone();
    let waiting = eventually("the attempt is written down", first, |one: &Value| one["attempts"] == 1).await;
    assert_eq!((&waiting["state"], &waiting["tries"][0]["status"]), (&json!("waiting"), &json!(503)));
    sink.answers(200);
    clock.advance_ms(7_000);
    let delivered = eventually("it is delivered", first, |one: &Value| one["state"] == "delivered").await;
    assert_eq!(delivered["attempts"], 2);
    assert_eq!((sink.calls().len(), sink.events().len()), (2, 1));
    let one = shop.get(format!("{log}/{}", delivered["event"].as_str().expect("an id"))).await.ok();
    assert_eq!(one["body"].as_str().expect("a body").as_bytes(), sink.calls()[0].bytes, "shown to the byte");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_switched_off_at_once_and_one_that_fails_after_five_days() {
    let clock = Clock::standing_at(Timestamp(1_777_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (gone, failing) = (Sink::start(clock.clone()).await, Sink::start(clock.clone()).await);
    app.user_holding(10_000).await;
    let operator = app.operator().await;
    let (gone_id, failing_id) = (gone.register(&operator, None).await, failing.register(&operator, None).await);
    gone.answers(410);
    failing.answers(500);
    app.user_holding(100).await;
    let state = async |id: &str| -> Value {
        // Days pass and sessions end.
        let operator = app.operator().await;
        operator.get(format!("/v1/operator/webhook-endpoints/{id}")).await.ok()
    };
    let off = eventually("it is switched off", || state(&gone_id), |one: &Value| one["enabled"] == false).await;
    assert_eq!(off["disabled_reason"], "it answered 410: it is gone");
    eventually("it fails", || state(&failing_id), |one: &Value| one["failing_since"].is_string()).await;
    for _ in 0..5 {
        let before = failing.calls().len();
        clock.advance_ms(DAY_MS + 1);
        app.user_holding(100).await;
        // An attempt that began on the day before may be the one that ends it.
        let look = async || (failing.calls().len(), state(&failing_id).await["enabled"] == false);
        eventually("it is tried", look, |(calls, off)| *calls > before || *off).await;
    }
    let off = eventually("it is switched off", || state(&failing_id), |one: &Value| one["enabled"] == false).await;
    assert_eq!(off["disabled_reason"], "every attempt failed for five days");
    let operator = app.operator().await;
    let audit = operator.get("/v1/operator/audit?act=webhook.disable").await.ok();
    assert_eq!(audit["items"].as_array().expect("items").len(), 2);

    // Switched on again, what it missed is there.
    failing.answers(200);
    let settings = json!({ "url": failing.url(), "enabled": true, "allow_private": true });
    operator.put(format!("/v1/operator/webhook-endpoints/{failing_id}"), settings).await.ok();
    let before = failing.events().len();
    let replay = json!({ "since": Timestamp(1_777_000_000_000).to_string() });
    operator.post(format!("/v1/operator/webhook-endpoints/{failing_id}/replay"), replay).await.accepted();
    let log = format!("/v1/operator/webhook-endpoints/{failing_id}/deliveries");
    let all = async || {
        let rows = operator.get(&log).await.ok();
        rows["items"].as_array().expect("items").iter().filter(|row| row["state"] == "delivered").count()
    };
    // One before it was made, six after it.
    eventually("all is delivered", all, |count| *count == 7).await;
    assert!(failing.events().len() >= before);
    let sequences: std::collections::BTreeSet<i64> =
        failing.events().values().map(|event| event["sequence"].as_i64().expect("a number")).collect();
    assert_eq!(sequences, (1..=7).collect(), "numbered without holes");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_test_event_and_one_event_again_reach_the_endpoint() {
    let app = TestApp::start().await;
    let (user, shop, sink) = (app.user_holding(1_000).await, app.shop().await, sink().await);
    let id = sink.register(&app.operator().await, Some(shop.id.to_string())).await;
    let test = shop.post(format!("/v1/webhook-endpoints/{id}/test"), json!({})).await.accepted();
    let events = sink.has(1).await;
    assert_eq!(events[test["event"].as_str().expect("an id")]["type"], "webhook.test");
    user.pay(&shop, 100).await.created();
    let events = sink.has(2).await;
    let payment = events.values().find(|event| event["type"] == "payment.captured").expect("the payment");
    let before = sink.calls().len();
    let path = format!("/v1/webhook-endpoints/{id}");
    let again = |event: &str| format!("{path}/deliveries/{event}/replay");
    shop.post(again(payment["id"].as_str().expect("an id")), json!({})).await.accepted();
    sink.was_called(before + 1).await;
    assert_eq!(sink.events().len(), 2, "the same id");
    let nothing = again("evt_00000000000000000000000000000000");
    shop.post(nothing, json!({})).await.problem(404, "not_found");
    for wrong in [json!({}), json!({ "since": "soon" }), json!({ "since": 1 })] {
        shop.post(format!("{path}/replay"), wrong).await.problem(400, "invalid_request");
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn while_keys_change_messages_carry_the_signatures_of_both() {
    let app = TestApp::start().await;
    let (shop, sink) = (app.shop().await, sink().await);
    let id = sink.register(&app.operator().await, Some(shop.id.to_string())).await;
    let (rotate, test) = (format!("/v1/webhook-endpoints/{id}/rotate"), format!("/v1/webhook-endpoints/{id}/test"));
    let new = shop.post(rotate.clone(), json!({ "overlap_s": 3_600 })).await.created();
    assert!(new.body["endpoint"]["old_keys_until"].is_string());
    // The sink still holds the old keys.
    shop.post(test.clone(), json!({})).await.accepted();
    sink.has(1).await;
    sink.knows(&new);
    shop.post(test.clone(), json!({})).await.accepted();
    sink.has(2).await;
    assert!(sink.calls().iter().all(|call| call.signatures == 4), "two of each kind, and either key was enough");
    let newest = shop.post(rotate.clone(), json!({ "overlap_s": 0 })).await.created();
    sink.knows(&newest);
    shop.post(test, json!({})).await.accepted();
    sink.has(3).await;
    assert_eq!(sink.calls().last().expect("a call").signatures, 2, "without an overlap the old keys end at once");
    shop.post(rotate, json!({ "overlap_s": 604_801 })).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn a_slow_endpoint_keeps_nobody_else_waiting() {
    let app = TestApp::start().await;
    let (slow, quick) = (sink().await, sink().await);
    let (slow_shop, quick_shop) = (app.shop().await, app.shop().await);
    let (user, operator) = (app.user_holding(50_000).await, app.operator().await);
    slow.register(&operator, Some(slow_shop.id.to_string())).await;
    quick.register(&operator, Some(quick_shop.id.to_string())).await;
    // Longer than this test takes, and than an attempt may.
    slow.waits(Duration::from_secs(60));
    for _ in 0..70 {
        user.pay(&slow_shop, 1).await.created();
    }
    for _ in 0..10 {
        user.pay(&quick_shop, 1).await.created();
    }
    quick.has(10).await;
    assert!(slow.calls().len() <= 4, "it has four places and no more");
    app.ledger_is_clean().await;
}

/// A user with money, their token, a shop and an operator's email, on a database whose host is gone again.
async fn somebody(database: &Arc<Database>) -> (User, Shop, String) {
    let app = TestApp::on(Arc::clone(database), Setup { jobs: false, ..Setup::default() }).await;
    app.fraud_policy(koban_domain::guest::Verdict::Decline, koban_domain::guest::Verdict::Allow).await;
    let (user, token) = seed_user(&app.app, true).await;
    seed_till(&app.app).await;
    seed_money(&app.app, user, 100_000).await;
    let (merchant, secret) = seed_shop(&app.app, "5812").await;
    let email = seed_operator(&app.app).await;
    app.stop().await;
    let nowhere = Client::new("127.0.0.1:9");
    (User::signed_in(user, token, &nowhere), Shop::new(merchant, secret, &nowhere), email)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_killed_between_sending_and_writing_it_down_sends_again_under_the_same_id() {
    let database = Arc::new(Database::fresh().await);
    let (user, shop, email) = somebody(&database).await;
    let sink = sink().await;
    let host = HostProcess::start(&database).await;
    let operator = Operator::sign_in(&host.client(), &email).await;
    let id = sink.register(&operator, Some(shop.id.to_string())).await;
    let here = User::signed_in(user.id, user.token.clone(), &host.client());
    let there = Shop::new(shop.id, shop.secret.clone(), &host.client());
    // The call is taken, and the answer would come only after the host is dead.
    sink.waits(Duration::from_secs(60));
    let payment = here.pay(&there, 100).await.created();
    sink.was_called(1).await;
    host.kill();
    sink.waits(Duration::ZERO);
    // The next host waits for the lease of the dead one, by a clock that has moved on.
    let clock = Clock::standing_at(Clock::machine().now().plus_ms(60_000));
    let app = TestApp::on(Arc::clone(&database), Setup { clock, ..Setup::default() }).await;
    sink.was_called(2).await;
    let events = sink.events();
    assert_eq!(events.len(), 1, "the same id, so that it counts once");
    assert_eq!(events.values().next().expect("one")["data"]["id"], payment.id.as_str());
    // Keys are those of a platform's own clock; an operator sees the same.
    let (operator, log) = (app.operator().await, format!("/v1/operator/webhook-endpoints/{id}/deliveries"));
    let done = async || operator.get(log.as_str()).await.ok()["items"][0].clone();
    eventually("it is written down", done, |one: &Value| one["state"] == "delivered").await;
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_tell_of_every_payment_and_number_without_holes() {
    const PAYMENTS: usize = 40;
    let database = Arc::new(Database::fresh().await);
    let (user, shop, email) = somebody(&database).await;
    let sink = sink().await;
    let one = HostProcess::start_at(&database, "one", "127.0.0.1:0").await;
    let other = HostProcess::start_at(&database, "other", "127.0.0.1:0").await;
    let operator = Operator::sign_in(&one.client(), &email).await;
    sink.register(&operator, Some(shop.id.to_string())).await;
    let mut paid = std::collections::BTreeSet::new();
    for number in 0..PAYMENTS {
        let host = if number % 2 == 0 { &one } else { &other };
        let user = User::signed_in(user.id, user.token.clone(), &host.client());
        let shop = Shop::new(shop.id, shop.secret.clone(), &host.client());
        paid.insert(user.pay(&shop, 10).await.created().id);
    }
    let events = sink.has(PAYMENTS).await;
    let told: std::collections::BTreeSet<String> =
        events.values().map(|event| event["data"]["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(told, paid, "every payment, and nothing else");
    let numbers: std::collections::BTreeSet<i64> =
        events.values().map(|event| event["sequence"].as_i64().expect("a number")).collect();
    let most = i64::try_from(PAYMENTS).expect("few");
    assert_eq!(numbers, (1..=most).collect());
    assert_eq!(sink.calls().len(), PAYMENTS, "while nobody dies, each is told once");
    assert!(one.stop().await.success());
    assert!(other.stop().await.success());
    database.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_at_a_terminal_listens_to_what_a_merchant_is_told() {
    let database = Database::fresh().await;
    let app = TestApp::on(Arc::new(database), Setup { jobs: false, ..Setup::default() }).await;
    let (shop, secret) = seed_shop(&app.app, "5812").await;
    let database = app.stop().await;
    let host = HostProcess::start(&database).await;
    let shop = Shop::new(shop, secret, &host.client());

    // A receiver that takes it, and one that refuses: the first call ends each of them.
    for status in ["200", "500"] {
        let mut listening = program(&database, "listen");
        let merchant = shop.id.to_string();
        listening.args(["--json", "webhook", "listen", "--merchant", &merchant, "--status", status, "--count", "1"]);
        let mut listening = listening.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("koban starts");
        let mut told = BufReader::new(listening.stderr.take().expect("a pipe")).lines();
        let first = told.next().expect("a line").expect("text");
        let endpoint = first.split(' ').next().expect("an endpoint").to_owned();
        assert!(
            endpoint.starts_with("whk_") && first.contains(&format!("koban webhook trigger {endpoint}")),
            "{first}"
        );
        let listed = shop.get("/v1/webhook-endpoints").await.ok();
        assert_eq!(listed["items"][0]["id"], endpoint.as_str(), "{listed}");

        let (triggered, event, said) = koban(&database, &["--json", "webhook", "trigger", &endpoint]);
        assert!(triggered.success(), "{said}");
        let event: Value = serde_json::from_str(&event).expect("JSON");
        let output = listening.wait_with_output().expect("it ends by itself");
        assert!(output.status.success());
        let heard: Value = serde_json::from_slice(&output.stdout).expect("one event");
        assert_eq!(
            (&heard["id"], &heard["verified"], &heard["problem"]),
            (&event["event"], &json!(true), &Value::Null)
        );
        assert_eq!(heard["event"]["type"], "webhook.test", "{heard}");
        assert_eq!(told.next().expect("a line").expect("text"), format!("{endpoint} is taken away"));
        assert_eq!(shop.get("/v1/webhook-endpoints").await.ok()["items"], json!([]));
        let (gone, _, said) = koban(&database, &["webhook", "trigger", &endpoint]);
        assert!(!gone.success() && said.contains("endpoint"), "{said}");
    }
    assert!(host.stop().await.success());
}
