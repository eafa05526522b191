//! Plugins that third parties write in other languages: they decide real payments, and what they decided runs again to the byte.

use koban_domain::records::{Ending, Output, Record};
use koban_service::page::Page;
use koban_service::{decisions, platform};
use serde_json::json;

use crate::harness::{Caller as _, Database, Operator, Setup, TestApp, eventually, minor, whole, yen};

const DAY_S: i64 = 86_400;
/// Nine hours before UTC all year.
const JST_OFFSET_S: i64 = 9 * 3_600;

/// A host whose clock the test moves.
async fn test_host() -> TestApp {
    let database = std::sync::Arc::new(Database::fresh().await);
    let store = database.store().await;
    let clock = platform::begin(&store, true).await.expect("a new database may become a test's");
    store.close().await;
    TestApp::on(database, Setup { clock, ..Setup::default() }).await
}

/// Moves the clock to the next time that it is this hour in Japan.
async fn until_hour(app: &TestApp, operator: &Operator, hour: i64) {
    let now_s = app.app.clock.now().0 / 1_000 + JST_OFFSET_S;
    let by_s = (hour * 3_600 + 60 - now_s).rem_euclid(DAY_S);
    operator.post("/v1/operator/clock/advance", json!({ "by_s": by_s.max(1) })).await.ok();
}

async fn decided(app: &TestApp, plugin: &str, function: &str) -> Vec<Record> {
    let page = Page { after: None, limit: 100 };
    let list = decisions::list(&app.app, Some(plugin), &page).await.expect("the decisions");
    let kept = list.items.into_iter().filter(|kept| kept.head.function == function);
    kept.map(|kept| kept.record().expect("nothing is erased")).collect()
}

/// Goal: a rule in JavaScript is as good as any. Method: the same amounts by day and at night, every verdict once, and then every one of its
/// records, installation included, run again.
#[tokio::test]
async fn a_rule_in_javascript_decides_payments_at_night_and_lets_the_day_alone() {
    let app = test_host().await;
    let operator = app.operator().await;
    let settings = [yen("amount_review", 20_000), yen("amount_decline", 30_000)];
    app.install("fraud-night-owl", &settings, None).await;

    until_hour(&app, &operator, 12).await;
    let (user, shop) = (app.verified_user_holding(400_000).await, app.shop().await);
    user.pay(&shop, 30_001).await.created();

    until_hour(&app, &app.operator().await, 2).await;
    let (night_user, new_shop) = (app.verified_user_holding(400_000).await, app.shop().await);
    night_user.pay(&new_shop, 10_000).await.created();
    night_user.pay(&new_shop, 10_001).await.problem(403, "step_up_required");
    let waits = night_user.pay(&new_shop, 20_001).await;
    assert_eq!((waits.reply.status, &waits.reply.body["state"]), (202, &"in-review".into()));
    night_user.pay(&new_shop, 30_001).await.problem(403, "declined_by_fraud");
    night_user.pay(&shop, 9_999).await.created();

    let records = decided(&app, "fraud-night-owl", "assess.assess").await;
    let said: Vec<String> = records.iter().rev().map(verdict).collect();
    assert_eq!(
        said,
        [
            "Allow 0",
            "Allow 200 night_first_payee",
            "StepUp 300 night_amount",
            "Review 600 night_amount_very_high",
            "Decline 1000 night_amount_over_limit",
            "Allow 200 night_first_payee",
        ]
    );
    for record in decisions::list(&app.app, Some("fraud-night-owl"), &Page { after: None, limit: 100 })
        .await
        .expect("decisions")
        .items
    {
        assert!(record.head.engine.contains(" interpreter "), "{}", record.head.engine);
        let again = decisions::replay(&app.app, record.head.id).await.expect("it runs again");
        assert!(again.same && again.fuel_compared, "{again:?}");
    }
    app.ledger_is_clean().await;
}

/// Goal: a tool in Python is as good as any. Method: three payments fill a card, the fourth begins another, and every one of its records runs
/// again.
#[tokio::test]
async fn a_stamp_card_in_python_grants_its_bonus_when_it_is_full() {
    const TOOL: &str = "merchant-stamp-card";
    let app = TestApp::start().await;
    app.install(TOOL, &[whole("stamps", 3), yen("bonus", 500), yen("least_amount", 100)], None).await;
    let (operator, shop) = (app.operator().await, app.shop().await);
    let campaign = json!({
        "name": "Full cards", "budget": 10_000, "currency": "JPY", "reason": "agreed with the shop",
        "bound": { "plugin": TOOL, "budget": "stamp_card", "lasts_days": 30 },
    });
    operator.post("/v1/operator/campaigns", campaign).await.created();
    let user = app.user_holding(10_000).await;
    for _ in 0..2 {
        user.pay(&shop, 1_000).await.created();
    }
    user.pay(&shop, 99).await.created();
    let full = user.pay(&shop, 1_000).await.created();
    let bonus = || async { minor(&user.wallet().await, "bonus") };
    eventually("the bonus of a full card", bonus, |found| *found == 500).await;
    // The bonus pays first; the payment is the first stamp of the next card.
    user.pay(&shop, 1_000).await.created();
    let heard = async || decided(&app, TOOL, "on-event.on-event").await.len();
    eventually("every payment heard", heard, |found| *found == 5).await;
    assert_eq!(minor(&user.wallet().await, "bonus"), 0);
    // Given back, the payment that filled the card takes what is left of its bonus along; it is spent.
    let full = format!("/v1/payments/{}/refunds", full.id);
    shop.post(full, json!({ "amount": 1_000, "currency": "JPY" })).await.created();
    eventually("the refund heard", heard, |found| *found == 6).await;
    assert_eq!(minor(&user.wallet().await, "bonus"), 0);
    for record in decided(&app, TOOL, "on-event.on-event").await {
        assert!(record.engine.contains(" interpreter "), "{}", record.engine);
        let again = decisions::replay(&app.app, record.id).await.expect("it runs again");
        assert!(again.same && again.fuel_compared, "{again:?}");
    }
    app.ledger_is_clean().await;
}

fn verdict(record: &Record) -> String {
    let Ending::Output(Output::Assessment(answer)) = &record.ending else { panic!("{:?}", record.ending) };
    let reasons: String = answer.reasons.iter().map(|reason| format!(" {}", reason.code)).collect();
    format!("{:?} {}{reasons}", answer.verdict, answer.score)
}
