//! Bonus: campaigns grant it out of a budget, it pays first and ends by itself, and refunds bring back what has not ended.

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::jobs;
use serde_json::{Value, json};

use crate::harness::{Caller, Made, Operator, PASSWORD, Setup, Shop, TestApp, User, koban, minor};

/// 14:00 on 2018-09-25 in Japan.
const START: Timestamp = Timestamp(1_537_851_600_000);
const HOUR_MS: i64 = 3_600_000;

/// A host whose clock a test moves and whose sweeper comes when it is called.
async fn slow_host() -> (TestApp, Clock) {
    let clock = Clock::standing_at(START);
    let app = TestApp::start_with(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    (app, clock)
}

fn campaign(budget: i64) -> Value {
    json!({ "name": "Autumn 秋", "budget": budget, "currency": "JPY", "reason": "agreed with marketing" })
}

fn gift(user: &User, yen: i64, expires_on: &str) -> Value {
    json!({ "user": user.id, "amount": yen, "currency": "JPY", "expires_on": expires_on, "reason": "a visit" })
}

struct Marketing {
    operator: Operator,
    campaign: String,
}

impl Marketing {
    async fn with_budget(app: &TestApp, budget: i64) -> Marketing {
        let operator = app.operator().await;
        let campaign = operator.post("/v1/operator/campaigns", campaign(budget)).await.created().id;
        Marketing { operator, campaign }
    }

    fn grants(&self) -> String {
        format!("/v1/operator/campaigns/{}/grants", self.campaign)
    }

    async fn grant(&self, user: &User, yen: i64, expires_on: &str) -> Made {
        self.operator.post(self.grants(), gift(user, yen, expires_on)).await.created()
    }

    async fn granted(&self) -> i64 {
        minor(&self.operator.get(format!("/v1/operator/campaigns/{}", self.campaign)).await.ok(), "granted")
    }
}

/// The same user with a session that has not ended.
async fn later(app: &TestApp, user: &User) -> User {
    let anonymous = app.anonymous();
    let body = json!({ "email": user.email, "password": PASSWORD });
    let session = Caller::post(&anonymous, "/v1/sessions", body).await.created();
    User::signed_in(user.id, session.text("token"), &anonymous)
}

async fn cast(app: &TestApp, yen: i64) -> (User, Shop) {
    let user = User::sign_up(&app.anonymous()).await;
    if yen > 0 {
        app.bring(user.id, yen).await;
    }
    (user, app.shop().await)
}

#[tokio::test]
async fn bonus_pays_first_by_its_earliest_end_and_the_wallet_tells_it_apart() {
    let (app, clock) = slow_host().await;
    let (user, shop) = cast(&app, 1_000).await;
    let marketing = Marketing::with_budget(&app, 10_000).await;
    let long = marketing.grant(&user, 200, "2019-03-31").await;
    clock.advance_ms(1);
    let short = marketing.grant(&user, 300, "2018-09-25").await;
    assert_eq!(short.body["expires_at"], "2018-09-25T15:00:00.000Z", "at midnight in Japan");
    let wallet = user.wallet().await;
    assert_eq!((minor(&wallet, "bonus"), minor(&wallet, "prepaid"), minor(&wallet, "available")), (500, 1_000, 1_500));
    assert_eq!(wallet["bonus_next"], json!({ "amount": 300, "expires_at": "2018-09-25T15:00:00.000Z" }));

    user.pay(&shop, 450).await.created();
    let wallet = user.wallet().await;
    assert_eq!((minor(&wallet, "bonus"), minor(&wallet, "prepaid")), (50, 1_000));
    assert_eq!(wallet["bonus_next"]["amount"], 50);
    let lots = user.get("/v1/wallet/lots").await.ok();
    let left: Vec<_> =
        lots["items"].as_array().unwrap().iter().map(|lot| (lot["id"].clone(), minor(lot, "left"))).collect();
    assert_eq!(left, [(json!(short.id), 0), (json!(long.id), 50)]);

    let statement = user.get("/v1/wallet/statement").await.ok();
    let line = &statement["items"][0];
    assert_eq!((&line["account"], minor(line, "change"), minor(line, "balance")), (&json!("bonus"), -450, 50));
    assert_eq!(statement["items"][1]["kind"], "bonus-grant");
    assert_eq!(statement["items"][1]["subject"], json!(short.id));
    let past = user.get(format!("/v1/wallet/balances?at_ms={}", START.0 + 1)).await.ok();
    assert_eq!(minor(&past, "bonus"), 50);
    assert_eq!(marketing.granted().await, 500);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_lot_ends_at_midnight_whether_the_sweeper_comes_or_not() {
    let (app, clock) = slow_host().await;
    let (user, shop) = cast(&app, 0).await;
    let marketing = Marketing::with_budget(&app, 10_000).await;
    let lot = marketing.grant(&user, 300, "2018-09-25").await;
    user.pay(&shop, 100).await.created();
    clock.advance_ms(10 * HOUR_MS - 1);
    let user = later(&app, &user).await;
    assert_eq!(minor(&user.wallet().await, "available"), 200);
    clock.advance_ms(1);
    user.pay(&shop, 1).await.problem(422, "insufficient_funds");
    let wallet = user.wallet().await;
    assert_eq!((minor(&wallet, "bonus"), minor(&wallet, "available"), &wallet["bonus_next"]), (0, 0, &Value::Null));
    for _ in 0..2 {
        jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    }
    let statement = user.get("/v1/wallet/statement").await.ok();
    assert_eq!(
        (&statement["items"][0]["kind"], minor(&statement["items"][0], "change")),
        (&json!("bonus-expiry"), -200)
    );
    let lots = user.get("/v1/wallet/lots").await.ok();
    assert_eq!((&lots["items"][0]["id"], minor(&lots["items"][0], "left")), (&json!(lot.id), 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_refund_brings_back_bonus_that_lasts_and_tells_what_has_ended() {
    let (app, clock) = slow_host().await;
    let (user, shop) = cast(&app, 1_000).await;
    let marketing = Marketing::with_budget(&app, 10_000).await;
    marketing.grant(&user, 200, "2019-03-31").await;
    marketing.grant(&user, 300, "2018-09-25").await;
    let paid = user.pay(&shop, 1_000).await.created();
    let first = shop.refund(&paid, 600).await.created();
    clock.advance_ms(10 * HOUR_MS);
    let user = later(&app, &user).await;
    shop.refund(&paid, 400).await.created();
    let wallet = user.wallet().await;
    assert_eq!((minor(&wallet, "bonus"), minor(&wallet, "prepaid"), shop.balance().await), (200, 1_000, 0));
    let path = format!("/v1/payments/{}/refunds", paid.id);
    let told = user.get(path.as_str()).await.ok();
    let told = told["items"].as_array().expect("refunds").iter();
    let parts: Vec<_> = told.map(|refund| (minor(refund, "bonus"), minor(refund, "lapsed"))).collect();
    assert_eq!(parts, [(100, 0), (100, 300)], "500 of prepaid value, then a lot");
    // With what it was paid, and what was owed, is no business of the merchant's.
    let of_shop = shop.get(path.as_str()).await.ok();
    for refund in of_shop["items"].as_array().expect("refunds").iter().chain([&first.body]) {
        let told = ["repaid", "bonus", "lapsed"].map(|field| refund.get(field));
        assert_eq!(told, [None; 3], "{refund}");
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_budget_is_met_exactly_however_many_grants_come_at_once() {
    let app = TestApp::start().await;
    let (user, _) = cast(&app, 0).await;
    let marketing = Marketing::with_budget(&app, 1_000).await;
    let (path, body) = (marketing.grants(), gift(&user, 300, "2030-12-31"));
    let three = async |operator: &Operator| {
        let mut granted = 0;
        for _ in 0..3 {
            let outcome = operator.post(path.as_str(), body.clone()).await;
            match outcome.reply.status {
                201 => granted += 1,
                _ => drop(outcome.problem(422, "campaign_budget_exhausted")),
            }
        }
        granted
    };
    let (one, two, other) = (app.operator().await, app.operator().await, app.operator().await);
    let found = tokio::join!(three(&marketing.operator), three(&one), three(&two), three(&other));
    let granted = found.0 + found.1 + found.2 + found.3;
    assert_eq!((granted, marketing.granted().await, minor(&user.wallet().await, "bonus")), (3, 900, 900));
    marketing.grant(&user, 100, "2030-12-31").await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_same_key_grants_once_and_acts_leave_their_reasons() {
    let app = TestApp::start().await;
    let (user, _) = cast(&app, 0).await;
    let marketing = Marketing::with_budget(&app, 1_000).await;
    let first = marketing.operator.post(marketing.grants(), gift(&user, 300, "2030-12-31")).key("k1").await.created();
    let again = marketing.operator.post(marketing.grants(), gift(&user, 300, "2030-12-31")).key("k1").await.created();
    assert!(again.replayed && again.body == first.body);
    let other = marketing.operator.post(marketing.grants(), gift(&user, 301, "2030-12-31")).key("k1").await;
    other.problem(422, "idempotency_key_reused");
    let lot = format!("/v1/operator/lots/{}", first.id);
    let reason = json!({ "reason": "granted by mistake" });
    let taken = marketing.operator.post(format!("{lot}/revoke"), reason.clone()).await.ok();
    assert_eq!((minor(&taken, "left"), taken["ended_at"].is_string()), (0, true));
    marketing.operator.post(format!("{lot}/revoke"), reason.clone()).await.problem(409, "lot_empty");
    marketing.operator.post(format!("{lot}/release"), reason).await.problem(409, "lot_empty");
    assert_eq!(marketing.operator.get(lot).await.ok(), taken);
    let acts = marketing.operator.get("/v1/operator/audit?act=bonus.revoke").await.ok();
    assert_eq!(acts["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(acts["items"][0]["subject"], json!(first.id));
    assert_eq!((minor(&user.wallet().await, "bonus"), marketing.granted().await), (0, 300));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_lot_for_later_is_released_by_its_day_or_by_an_operator() {
    let (app, clock) = slow_host().await;
    let (user, shop) = cast(&app, 0).await;
    let marketing = Marketing::with_budget(&app, 1_000).await;
    let mut lots = Vec::new();
    for _ in 0..2 {
        let mut body = gift(&user, 300, "2018-09-30");
        body["usable_on"] = json!("2018-09-26");
        lots.push(marketing.operator.post(marketing.grants(), body).await.created());
    }
    let wallet = user.wallet().await;
    assert_eq!((minor(&wallet, "bonus"), minor(&wallet, "available")), (600, 0));
    user.pay(&shop, 1).await.problem(422, "insufficient_funds");
    let release = format!("/v1/operator/lots/{}/release", lots[0].id);
    marketing.operator.post(release, json!({ "reason": "a complaint" })).await.ok();
    assert_eq!(minor(&user.wallet().await, "available"), 300);
    user.pay(&shop, 300).await.created();
    clock.advance_ms(10 * HOUR_MS);
    let user = later(&app, &user).await;
    user.pay(&shop, 300).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_campaign_is_changed_closed_and_not_cut_below_what_it_granted() {
    let app = TestApp::start().await;
    let (user, _) = cast(&app, 0).await;
    let marketing = Marketing::with_budget(&app, 1_000).await;
    let path = format!("/v1/operator/campaigns/{}", marketing.campaign);
    marketing.grant(&user, 300, "2030-12-31").await;
    let put = |body| marketing.operator.put(path.as_str(), body);
    put(campaign(299)).await.problem(422, "budget_below_granted");
    let mut closed = campaign(300);
    closed["open"] = json!(false);
    assert_eq!(put(closed).await.ok()["open"], json!(false));
    marketing.operator.post(marketing.grants(), gift(&user, 1, "2030-12-31")).await.problem(409, "campaign_closed");
    let mut over = campaign(400);
    over["ends_on"] = json!("2018-01-01");
    put(over).await.ok();
    marketing.operator.post(marketing.grants(), gift(&user, 1, "2030-12-31")).await.problem(409, "campaign_closed");
    put(campaign(301)).await.ok();
    marketing.grant(&user, 1, "2030-12-31").await;
    let listed = marketing.operator.get("/v1/operator/campaigns").await.ok();
    assert_eq!((minor(&listed["items"][0], "budget"), minor(&listed["items"][0], "granted")), (301, 301));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_cannot_be_granted_says_why() {
    let (app, _) = slow_host().await;
    let (user, _) = cast(&app, 99_999).await;
    let marketing = Marketing::with_budget(&app, 1_000_000).await;
    let grant = |body: Value| marketing.operator.post(marketing.grants(), body);
    for wrong in ["2018-9-25", "2018-02-30", "tomorrow"] {
        assert_eq!(grant(gift(&user, 1, wrong)).await.problem(400, "invalid_request").body["field"], "expires_on");
    }
    assert_eq!(grant(gift(&user, 1, "2030-01-01")).await.problem(400, "invalid_request").body["field"], "expires_on");
    grant(gift(&user, 1, "2018-09-24")).await.problem(422, "lot_expired");
    grant(gift(&user, 2, "2018-09-25")).await.problem(422, "balance_limit");
    grant(gift(&user, 1, "2018-09-25").clone()).await.created();
    let nobody = json!({ "user": format!("usr_{}", "0".repeat(32)), "amount": 1, "currency": "JPY",
        "expires_on": "2018-09-25", "reason": "a visit" });
    grant(nobody).await.problem(404, "user_not_found");
    let nothing = format!("/v1/operator/campaigns/cmp_{}/grants", "0".repeat(32));
    marketing.operator.post(nothing, gift(&user, 1, "2018-09-25")).await.problem(404, "campaign_not_found");
    let adjustment = json!({ "reason": "a trick", "lines": [{ "debit": { "class": "bonus", "owner": user.id },
        "credit": { "class": "suspense" }, "amount": 1, "currency": "JPY" }] });
    marketing.operator.post("/v1/operator/adjustments", adjustment).await.problem(400, "invalid_request");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn bonus_is_not_sent_and_is_forfeited_with_the_account() {
    let app = TestApp::start().await;
    let (user, shop) = cast(&app, 500).await;
    let marketing = Marketing::with_budget(&app, 1_000).await;
    let lot = marketing.grant(&user, 300, "2030-12-31").await;
    app.verify(&user).await;
    let wallet = user.wallet().await;
    assert_eq!((minor(&wallet, "bonus"), minor(&wallet, "funds"), minor(&wallet, "available")), (300, 500, 800));
    let receiver = app.verified_user_holding(0).await;
    user.send(&receiver, 501).await.problem(422, "insufficient_funds");
    user.pay(&shop, 100).await.created();
    let path = format!("/v1/operator/users/{}/closure", user.id);
    let closed = marketing.operator.post(path, json!({ "reason": "asked for" })).await.ok();
    assert_eq!(closed["set_aside"], json!([{ "amount": 500, "currency": "JPY" }]));
    let lot = marketing.operator.get(format!("/v1/operator/lots/{}", lot.id)).await.ok();
    assert_eq!((minor(&lot, "left"), lot["ended_at"].is_string()), (0, true));
    let listed = marketing.operator.get(format!("/v1/operator/users/{}/lots", user.id)).await.ok();
    assert_eq!(listed["items"][0], lot);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_lot_or_a_campaign_that_was_changed_by_hand_is_found() {
    let app = TestApp::start().await;
    let (user, shop) = cast(&app, 0).await;
    let marketing = Marketing::with_budget(&app, 1_000).await;
    let lot = marketing.grant(&user, 300, "2030-12-31").await;
    let body = json!({ "merchant": shop.id, "amount": 100, "currency": "JPY", "capture": false });
    user.post("/v1/payments", body).await.created();
    app.ledger_is_clean().await;
    let database = app.stop().await;
    let mut hand = database.hand().await;
    for (change, back, expected) in [
        ("remaining = remaining - 1", "remaining = remaining + 1", "account bonus"),
        ("held = held + 1", "held = held - 1", lot.id.as_str()),
        ("amount = amount + 1", "amount = amount - 1", "account bonus-expense"),
    ] {
        assert_eq!(hand.run(&format!("update bonus_lots set {change}")).await, 1);
        let (_, said, _) = koban(&database, &["--json", "ledger", "verify"]);
        let verdict: Value = serde_json::from_str(&said).expect("a verdict");
        let place = verdict["difference"]["place"].as_str().unwrap_or_default();
        assert!(place.contains(expected), "{change}: {verdict}");
        hand.run(&format!("update bonus_lots set {back}")).await;
    }
    hand.run("update campaigns set granted = granted + 1").await;
    let (_, said, _) = koban(&database, &["--json", "ledger", "verify"]);
    assert!(said.contains(&marketing.campaign), "{said}");
}
