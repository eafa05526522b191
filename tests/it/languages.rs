//! Plugins that third parties write in other languages: they decide real payments, and what they decided runs again to the byte.

use koban_domain::records::{Ending, Output, Record};
use koban_service::page::Page;
use koban_service::{decisions, platform};
use serde_json::json;

use crate::harness::{Caller as _, Database, Operator, Setup, TestApp, yen};

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

fn verdict(record: &Record) -> String {
    let Ending::Output(Output::Assessment(answer)) = &record.ending else { panic!("{:?}", record.ending) };
    let reasons: String = answer.reasons.iter().map(|reason| format!(" {}", reason.code)).collect();
    format!("{:?} {}{reasons}", answer.verdict, answer.score)
}
