//! Payments past a fraud plugin: verdicts, signals, and what happens when a rule faults or is missing.

use koban_domain::guest::{Named, Verdict};
use koban_domain::records::{Ending, FaultClass, Output, Record};
use koban_service::page::Page;
use koban_service::{decisions, plugins};

use crate::harness::{TestApp, text, whole, yen};

/// The rules in force in a test: what a test is not about does not weigh.
fn rules(more: &[Named]) -> Vec<Named> {
    let mut settings = vec![whole("night_from", 0), whole("night_to", 0)];
    settings.extend(more.iter().cloned());
    settings
}

async fn decided(app: &TestApp) -> Vec<Record> {
    let page = Page { after: None, limit: 100 };
    let list = decisions::list(&app.app, None, &page).await.expect("the decisions");
    let rules = list.items.into_iter().filter(|kept| kept.head.function == "assess.assess");
    rules.map(|kept| kept.record().expect("nothing is erased")).collect()
}

#[tokio::test]
async fn a_harmless_payment_is_made_and_names_the_decision_behind_it() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[])).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let paid = user.pay(&shop, 1_280).await.created();
    let decision = paid.text("decision").parse().expect("a decision id");
    let record = decisions::get(&app.app, decision).await.expect("the decision").kept.record().expect("whole");
    assert_eq!(record.plugin, "fraud-rules");
    let Ending::Output(Output::Assessment(answer)) = &record.ending else { panic!("{:?}", record.ending) };
    assert_eq!(answer.verdict, Verdict::Allow);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_denied_device_pays_nothing_and_the_refusal_is_recorded() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[text("deny_devices", "stolen-phone")])).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.pay(&shop, 100).key("k1").device("stolen-phone").await.problem(403, "declined_by_fraud");
    assert_eq!((user.balance().await, shop.balance().await), (10_000, 0));
    let records = decided(&app).await;
    assert_eq!(records.len(), 1);
    let Ending::Output(Output::Assessment(answer)) = &records[0].ending else { panic!("{:?}", records[0].ending) };
    assert_eq!((answer.verdict, answer.reasons[0].code.as_str()), (Verdict::Decline, "denied_device"));
    let again = user.pay(&shop, 100).key("k1").device("stolen-phone").await;
    assert!(again.replayed(), "a decided operation never calls a plugin again");
    again.problem(403, "declined_by_fraud");
    assert_eq!(decided(&app).await.len(), 1);
    user.pay(&shop, 100).device("own-phone").await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn each_verdict_has_its_own_code() {
    let settings = rules(&[yen("amount_high", 1_000), yen("amount_limit", 5_000), yen("new_payee_amount", 2_000)]);
    let app = TestApp::start().await.with_fraud_rules(&settings).await;
    let (user, shop) = (app.user_holding(100_000).await, app.shop().await);
    user.pay(&shop, 1_001).await.problem(403, "step_up_required");
    let waits = user.pay(&shop, 2_001).await;
    assert_eq!((waits.reply.status, &waits.reply.body["state"]), (202, &"in-review".into()));
    user.pay(&shop, 5_001).await.problem(403, "declined_by_fraud");
    assert_eq!(user.balance().await, 100_000);
    user.pay(&shop, 1_000).await.created();
    user.pay(&shop, 2_001).await.problem(403, "step_up_required");
    assert_eq!(user.balance().await, 99_000, "a payee that was paid before no longer weighs");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn signals_count_what_was_paid_and_nothing_that_was_refused() {
    let settings = rules(&[whole("user_10m_count", 3), text("deny_devices", "stolen-phone")]);
    let app = TestApp::start().await.with_fraud_rules(&settings).await;
    let (user, other, shop) = (app.user_holding(10_000).await, app.user_holding(10_000).await, app.shop().await);
    for _ in 0..5 {
        user.pay(&shop, 100).device("stolen-phone").await.problem(403, "declined_by_fraud");
        user.pay(&shop, 10_001).await.problem(422, "insufficient_funds");
    }
    for _ in 0..3 {
        user.pay(&shop, 100).await.created();
    }
    user.pay(&shop, 100).await.problem(403, "step_up_required");
    other.pay(&shop, 100).await.created();
    assert_eq!(user.balance().await, 9_700);
    app.ledger_is_clean().await;
}

/// Goal: switching something does not make each waiting payment load the rule. Method: payments at once, before and after the
/// operator changes what happens around the rule, and then the rule's own settings.
#[tokio::test]
async fn a_rule_is_loaded_once_whatever_the_operator_changes() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[])).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    for on_fault in [Verdict::Decline, Verdict::StepUp] {
        app.fraud_policy(on_fault, Verdict::Decline).await;
        let (one, other, third, fourth) =
            tokio::join!(user.pay(&shop, 1), user.pay(&shop, 2), user.pay(&shop, 3), user.pay(&shop, 4));
        for paid in [one, other, third, fourth] {
            paid.created();
        }
        assert_eq!(app.app.loaded.loads(), 1);
    }
    let settings = rules(&[text("deny_devices", "stolen-phone")]);
    plugins::set_settings(&app.app, &app.operator_ctx(), "fraud-rules", &settings)
        .await
        .expect("the settings are good");
    user.pay(&shop, 5).device("stolen-phone").await.problem(403, "declined_by_fraud");
    user.pay(&shop, 5).await.created();
    assert_eq!(app.app.loaded.loads(), 1, "other settings need no other code");
    assert_eq!(user.balance().await, 10_000 - 25);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn transfers_are_judged_by_the_same_rules() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[yen("amount_high", 1_000)])).await;
    let (hana, ken) = (app.verified_user_holding(10_000).await, app.verified_user_holding(0).await);
    hana.send(&ken, 1_001).await.problem(403, "step_up_required");
    hana.send(&ken, 1_000).await.created();
    assert_eq!((hana.balance().await, ken.balance().await), (9_000, 1_000));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchants_category_can_be_denied() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[text("deny_categories", "7995")])).await;
    let (user, casino) = (app.user_holding(1_000).await, app.shop_of_category("7995").await);
    user.pay(&casino, 100).await.problem(403, "declined_by_fraud");
    assert_eq!(user.balance().await, 1_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_rule_that_faults_is_answered_as_the_operator_decided() {
    let app = TestApp::start().await;
    app.install("hostile-rule", &[text("attack", "panic"), yen("from_amount", 1_000)], None).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    for (on_fault, status, code) in
        [(Verdict::Decline, 403, "declined_by_fraud"), (Verdict::StepUp, 403, "step_up_required")]
    {
        app.fraud_policy(on_fault, Verdict::Decline).await;
        user.pay(&shop, 1_000).await.problem(status, code);
    }
    app.fraud_policy(Verdict::Allow, Verdict::Decline).await;
    user.pay(&shop, 1_000).await.created();
    let faults = decided(&app).await;
    assert_eq!(faults.len(), 3, "each fault is recorded");
    for record in &faults {
        let Ending::Fault(fault) = &record.ending else { panic!("{:?}", record.ending) };
        assert_eq!(fault.class, FaultClass::Trap);
    }
    user.pay(&shop, 999).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn without_a_rule_the_operators_word_for_that_counts() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[])).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    plugins::set_enabled(&app.app, &app.operator_ctx(), "fraud-rules", false).await.expect("switched off");
    user.pay(&shop, 100).await.problem(403, "declined_by_fraud");
    app.fraud_policy(Verdict::Decline, Verdict::StepUp).await;
    user.pay(&shop, 100).await.problem(403, "step_up_required");
    app.fraud_policy(Verdict::Decline, Verdict::Allow).await;
    user.pay(&shop, 100).await.created();
    assert_eq!(user.balance().await, 900);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_strictest_of_several_rules_wins() {
    let app = TestApp::start().await.with_fraud_rules(&rules(&[yen("amount_high", 500)])).await;
    app.install("hostile-rule", &[text("attack", "none")], None).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    user.pay(&shop, 501).await.problem(403, "step_up_required");
    user.pay(&shop, 500).await.created();
    assert_eq!(decided(&app).await.len(), 4, "every rule is asked and recorded");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_revoked_rule_decides_nothing_any_more() {
    let app = TestApp::start().await;
    let digest = app.install("fraud-rules", &rules(&[]), None).await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    user.pay(&shop, 100).await.created();
    app.fraud_policy(Verdict::Decline, Verdict::Decline).await;
    plugins::revoke(&app.app, &app.operator_ctx(), digest, "found to be wrong").await.expect("revoked");
    let refused = user.pay(&shop, 100).await.reply;
    assert_ne!(refused.status, 201, "{}", refused.body);
    assert_eq!(user.balance().await, 900);
    app.ledger_is_clean().await;
}
