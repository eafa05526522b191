//! Input that nobody should send, to every request that moves money: the right code, the field that is wrong, nothing changed.

use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::harness::{Atm, BANK_FEE, Bank, Caller, Channel, Made, Operator, Setup, Shop, TestApp, User};
use crate::platform::next_month;

/// A user with money, a shop that was paid, and another one of each.
struct World {
    app: TestApp,
    user: User,
    friend: User,
    shop: Shop,
    other: Shop,
    paid: Made,
    held: Made,
    operator: Operator,
    campaign: String,
    /// The network and the bank behind the plugins.
    _partners: (Atm, Bank),
}

impl World {
    async fn new() -> World {
        // Without jobs: flows that begin stay where they are.
        let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
        let partners = (app.atm().await, app.bank().await);
        Channel::install_as("hostile-payer", &app, "asks", (1_000_000, 0)).await;
        let user = app.verified_user_holding(10_000).await;
        let friend = app.verified_user_holding(0).await;
        let (shop, other) = (app.shop().await, app.shop().await);
        let paid = user.pay(&shop, 1_000).await.created();
        let held = user.pay(&shop, 500).with("capture", false).await.created();
        app.offer_dollars(1_000_000).await;
        let operator = app.operator().await;
        let campaign = json!({ "name": "Autumn", "budget": 1_000, "currency": "JPY", "reason": "agreed" });
        let campaign = operator.post("/v1/operator/campaigns", campaign).await.created().id;
        World { app, user, friend, shop, other, paid, held, operator, campaign, _partners: partners }
    }

    /// Every request that moves money of its own accord, good as it is, with its sender.
    fn requests(&self) -> Vec<(&Client, String, Value)> {
        let refunds = format!("/v1/payments/{}/refunds", self.paid.id);
        vec![
            (
                self.user.client(),
                "/v1/payments".into(),
                json!({ "merchant": self.shop.id, "amount": 100, "currency": "JPY" }),
            ),
            (
                self.user.client(),
                "/v1/transfers".into(),
                json!({ "receiver": self.friend.id, "amount": 100, "currency": "JPY" }),
            ),
            (
                self.user.client(),
                "/v1/charges".into(),
                json!({ "channel": "charge-atm", "amount": 100, "currency": "JPY" }),
            ),
            (
                self.user.client(),
                "/v1/bills".into(),
                json!({ "payer": "hostile-payer", "code": { "source": "bar-code", "content": "bill:odd:100" }, "amount": 100, "currency": "JPY" }),
            ),
            (
                self.user.client(),
                "/v1/withdrawals".into(),
                json!({ "channel": "bank-transfer", "amount": 100, "fee": BANK_FEE, "currency": "JPY" }),
            ),
            (
                self.user.client(),
                format!("/v1/payments/{}/increments", self.held.id),
                json!({ "amount": 100, "currency": "JPY" }),
            ),
            (
                self.user.client(),
                "/v1/exchanges".into(),
                json!({ "sell": "JPY", "buy": "USD", "amount": 100, "currency": "JPY", "rate": "113.8727" }),
            ),
            (self.shop.client(), refunds, json!({ "amount": 100, "currency": "JPY" })),
            (
                self.operator.client(),
                "/v1/operator/disputes".into(),
                json!({ "payment": self.paid.id, "amount": 100, "currency": "JPY", "reason": "never came" }),
            ),
            (
                self.operator.client(),
                format!("/v1/operator/campaigns/{}/grants", self.campaign),
                json!({ "user": self.user.id, "amount": 100, "currency": "JPY", "expires_on": next_month(), "reason": "sorry" }),
            ),
            (
                self.user.client(),
                "/v1/schedules".into(),
                json!({ "merchant": self.shop.id, "amount": 100, "currency": "JPY", "execute_at_ms": in_a_day() }),
            ),
        ]
    }

    /// What could have changed.
    async fn state(&self) -> (i64, i64, i64, i64, i64) {
        let mut hand = self.app.database.hand().await;
        (
            self.user.balance().await,
            self.friend.balance().await,
            self.shop.balance().await,
            self.app.entries().await,
            hand.number("select count(*) from operations").await,
        )
    }
}

/// Tomorrow at this time.
fn in_a_day() -> i64 {
    koban_service::clock::Clock::machine().now().0 + 86_400_000
}

/// Posts what is refused before anything is decided.
async fn refused(client: &Client, path: &str, body: Value) -> Reply {
    Caller::post(client, path, body).await.problem(400, "invalid_request")
}

#[tokio::test]
async fn an_amount_that_is_none_is_refused_by_name_and_changes_nothing() {
    let world = World::new().await;
    let before = world.state().await;
    let amounts = [
        json!(0),
        json!(-1),
        json!(1.0),
        json!(12.8),
        json!("100"),
        json!(null),
        json!(true),
        json!([100]),
        json!({ "minor": 100 }),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1_000_000_000_001_i64),
        json!(i64::MAX),
    ];
    for (client, path, good) in world.requests() {
        for amount in &amounts {
            // A charge may leave its amount out, and null says so.
            if path == "/v1/charges" && (amount.is_null() || amount.as_i64().is_some_and(|amount| amount > 0)) {
                continue;
            }
            let mut body = good.clone();
            body["amount"] = amount.clone();
            let reply = refused(client, &path, body).await;
            assert_eq!(reply.body["field"], "amount", "{path} {amount}: {}", reply.body);
            assert!(reply.body["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
        }
        // What no JSON value of ours can say.
        for amount in ["1e400", "1E2", "-0", "170141183460469231731687303715884105728"] {
            let text = good.to_string().replace("\"amount\":100", &format!("\"amount\":{amount}"));
            let headers = [("idempotency-key", "odd"), ("content-type", "application/json")];
            let reply =
                client.send(hyper::Method::POST, &path, &headers, Some(text.into_bytes())).await.expect("an answer");
            assert_eq!(
                (reply.status, reply.code(), &reply.body["field"]),
                (400, "invalid_request", &json!("amount")),
                "{path} {amount}"
            );
        }
    }
    assert_eq!(world.state().await, before);
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_currency_that_is_none_is_refused_by_name_and_changes_nothing() {
    let world = World::new().await;
    let before = world.state().await;
    for (client, path, good) in world.requests() {
        for currency in
            [json!("jpy"), json!("ZZZ"), json!(""), json!("JP"), json!("ＪＰＹ"), json!(392), json!(["JPY"])]
        {
            let mut body = good.clone();
            body["currency"] = currency.clone();
            let reply = refused(client, &path, body).await;
            assert_eq!(reply.body["field"], "currency", "{path} {currency}: {}", reply.body);
        }
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove("currency");
        let reply = refused(client, &path, body).await;
        assert_eq!(reply.body["field"], "currency", "{path}: {}", reply.body);
    }
    assert_eq!(world.state().await, before);
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn another_known_currency_is_an_outcome_and_moves_nothing() {
    let world = World::new().await;
    let (user, friend, shop, entries, _) = world.state().await;
    // Of an exchange it would be the other side; what is scheduled is judged when its time comes.
    let judged = |path: &str| !["/v1/exchanges", "/v1/schedules"].contains(&path);
    for (client, path, good) in world.requests().into_iter().filter(|(_, path, _)| judged(path)) {
        let mut body = good.clone();
        body["currency"] = json!("USD");
        let reply = Caller::post(client, &path, body).await.reply;
        let status = match path.as_str() {
            // Not what was agreed to.
            "/v1/bills" => 409,
            // No channel brings that.
            "/v1/charges" => 503,
            _ => 422,
        };
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
    }
    let after = world.state().await;
    assert_eq!((after.0, after.1, after.2, after.3), (user, friend, shop, entries));
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn extra_doubled_and_read_only_fields_are_refused_by_name() {
    let world = World::new().await;
    let before = world.state().await;
    for (client, path, good) in world.requests() {
        for field in ["id", "at", "payer", "sender", "refunded", "decision", "actor", "__proto__"] {
            let mut body = good.clone();
            body[field] = json!("x");
            let reply = refused(client, &path, body).await;
            assert_eq!(reply.body["field"], field, "{path}: {}", reply.body);
        }
        let doubled = good.to_string().replacen('{', "{\"amount\":1,", 1);
        let headers = [("idempotency-key", "doubled"), ("content-type", "application/json")];
        let reply =
            client.send(hyper::Method::POST, &path, &headers, Some(doubled.into_bytes())).await.expect("an answer");
        assert_eq!(
            (reply.status, reply.code(), &reply.body["field"]),
            (400, "invalid_request", &json!("amount")),
            "{path}"
        );
    }
    assert_eq!(world.state().await, before);
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn text_that_deceives_or_is_too_long_is_refused_by_name() {
    let world = World::new().await;
    let before = world.state().await;
    let long = "あ".repeat(101);
    for text in ["a\u{0}b", "a\nb", "\u{202e}gnp", "\u{2066}x\u{2069}", long.as_str()] {
        let pay = world.user.pay(&world.shop, 100).with("reference", text).await.problem(400, "invalid_request");
        assert_eq!(pay.body["field"], "reference", "{text:?}: {}", pay.body);
        let send = world.user.send(&world.friend, 100).with("message", text).await.problem(400, "invalid_request");
        assert_eq!(send.body["field"], "message", "{text:?}: {}", send.body);
    }
    assert_eq!(world.state().await, before);
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn an_id_of_another_kind_or_of_nothing_is_said_to_be_so() {
    let world = World::new().await;
    let (user, friend, shop, entries, _) = world.state().await;
    let zero = "0".repeat(32);
    for (merchant, status, code) in [
        (json!(world.user.id), 400, "invalid_request"),
        (json!("mer_1"), 400, "invalid_request"),
        (json!(7), 400, "invalid_request"),
        (json!(format!("mer_{}", "F".repeat(32))), 400, "invalid_request"),
        (json!(format!("mer_{zero}")), 404, "merchant_not_found"),
    ] {
        let body = json!({ "merchant": merchant, "amount": 100, "currency": "JPY" });
        let reply = Caller::post(world.user.client(), "/v1/payments", body).await.reply;
        // A merchant of nothing may be found out before the books are asked.
        let codes = if status == 404 { vec![code, "not_found"] } else { vec![code] };
        assert!(reply.status == status && codes.contains(&reply.code()), "{merchant}: {} {}", reply.status, reply.body);
    }
    let body = json!({ "receiver": world.shop.id, "amount": 100, "currency": "JPY" });
    let reply = refused(world.user.client(), "/v1/transfers", body).await;
    assert_eq!(reply.body["field"], "receiver");
    let after = world.state().await;
    assert_eq!((after.0, after.1, after.2, after.3), (user, friend, shop, entries));
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn anothers_payment_is_answered_like_one_that_does_not_exist() {
    let world = World::new().await;
    let before = world.state().await;
    let stranger = world.app.user().await;
    let nothing = format!("pay_{}", "0".repeat(32));
    for path in ["/v1/payments/{}", "/v1/payments/{}/refunds"] {
        for client in [stranger.client(), world.other.client()] {
            let own = Caller::get(client, path.replace("{}", &world.paid.id)).await.problem(404, "not_found");
            let none = Caller::get(client, path.replace("{}", &nothing)).await.problem(404, "not_found");
            let told = |reply: &Reply| {
                let mut body = reply.body.clone();
                body["request_id"] = Value::Null;
                body["instance"] = Value::Null;
                body.to_string()
            };
            assert_eq!(told(&own), told(&none));
        }
    }
    world.other.refund(&world.paid, 100).await.problem(404, "not_found");
    let listed = world.other.get("/v1/payments").await.ok();
    assert_eq!(listed["items"], json!([]));
    assert_eq!(world.state().await, before);
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let world = World::new().await;
    for (index, (client, path, mut good)) in world.requests().into_iter().enumerate() {
        let key = format!("once-{index}");
        if path == "/v1/charges" {
            // The ATM takes no less.
            good["amount"] = json!(1_000);
        }
        let first = Caller::post(client, path.clone(), good.clone()).key(&key).await.reply;
        assert!(matches!(first.status, 200 | 201), "{path}: {}", first.body);
        let before = world.state().await;
        let again = Caller::post(client, path.clone(), good.clone()).key(&key).await;
        assert!(again.replayed(), "{path}");
        assert_eq!((again.reply.status, &again.reply.body), (first.status, &first.body), "{path}");
        let mut other = good;
        other["amount"] = json!(101);
        Caller::post(client, path, other).key(&key).await.problem(422, "idempotency_key_reused");
        assert_eq!(world.state().await, before);
    }
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_page_is_asked_for_within_its_bounds() {
    let world = World::new().await;
    let operator = world.app.operator().await;
    let lists: [(&Client, &str); 8] = [
        (world.user.client(), "/v1/payments"),
        (world.user.client(), "/v1/transfers"),
        (world.user.client(), "/v1/bills"),
        (world.user.client(), "/v1/withdrawals"),
        (world.user.client(), "/v1/charges"),
        (world.user.client(), "/v1/wallet/statement"),
        (world.shop.client(), "/v1/merchant/statement"),
        (operator.client(), "/v1/operator/users"),
    ];
    for (who, path) in lists {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=1.5", "limit"),
            ("limit=x", "limit"),
            ("limit=99999999999999999999", "limit"),
            ("limit=1&limit=2", "limit"),
            ("after=", "after"),
            ("after=x", "after"),
            ("after=%00", "after"),
            ("after=AAAA", "after"),
            ("offset=1", "offset"),
        ] {
            let reply = Caller::get(who, format!("{path}?{query}")).await.problem(400, "invalid_request");
            assert_eq!(reply.body["field"], field, "{path}?{query}: {}", reply.body);
        }
    }
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn who_signs_up_with_what_cannot_be_used_is_told_which_field() {
    let app = TestApp::start().await;
    let good = json!({ "email": "hana@example.com", "password": "correct horse battery", "name": "花子" });
    for (field, value) in [
        ("email", json!("hana")),
        ("email", json!("a@b@c.example")),
        ("email", json!("ha\u{0}na@example.com")),
        ("email", json!(7)),
        ("password", json!("short")),
        ("password", json!("aaaaaaaaaaaaaaaaaa")),
        ("password", json!("x".repeat(129))),
        ("name", json!("")),
        ("name", json!("x".repeat(61))),
        ("name", json!("\u{202e}anaH")),
        ("locale", json!("fr")),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let reply = refused(&app.anonymous(), "/v1/users", body).await;
        assert_eq!(reply.body["field"], field, "{value}: {}", reply.body);
        assert!(!reply.body.to_string().contains("aaaaaaaa"), "a password is never said again");
    }
    assert_eq!(app.database.hand().await.number("select count(*) from users").await, 0);
}
