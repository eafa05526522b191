//! Charging at an ATM, end to end: the wallet, the plugin, the host and a network that misbehaves.

use koban_service::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{
    ATM_SECRET, COMPANY_NUMBER, Caller as _, Setup, TestApp, User, answer, eventually, minor, say, shows, sign,
};

async fn ended(user: &User, charge: &str) -> Value {
    let is_final = |charge: &Value| matches!(charge["standing"].as_str(), Some("done" | "failed" | "cancelled"));
    eventually("the charge ends", || user.charge(charge), is_final).await
}

#[tokio::test]
async fn cash_in_the_machine_becomes_a_balance() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (_, charge, report) = atm.charge(&user, 10_000).await;
    assert_eq!((&report["standing"], &report["atm"]), (&json!("booked"), &json!("accepted-cash")), "{report}");
    let charge = ended(&user, &charge).await;
    assert_eq!((charge["standing"].as_str(), minor(&charge, "credited")), (Some("done"), 10_000));
    assert_eq!(user.balance().await, 10_000);
    assert_eq!(app.exposure("charge-atm").await.used.minor, 10_000);
    assert_eq!(atm.book().await["cash_in_the_atm"], 10_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn the_user_is_told_in_their_language_what_to_do() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let session = atm.open().await;
    let begin = json!({ "channel": "charge-atm", "currency": "JPY" });
    let charge = user.post("/v1/charges", begin).header("accept-language", "en").await.created();
    assert_eq!(charge.body["shows"][0]["fields"][0]["label"], "Scan the code on the ATM's screen", "{}", charge.body);
    session.answer(&user, &charge.id).await;
    let read = || async { user.get(format!("/v1/charges/{}", charge.id)).await.ok() };
    eventually("the number is shown", read, |charge| shows(charge, COMPANY_NUMBER)).await;
}

#[tokio::test]
async fn notes_other_than_thousands_come_back() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    let report = session.deposit_anyway(1_500).await;
    assert_eq!((&report["standing"], &report["atm"]), (&json!("refused"), &json!("gave-cash-back")), "{report}");
    let charge = ended(&user, &charge).await;
    assert_eq!(
        (charge["standing"].as_str(), charge["note"]["code"].as_str()),
        (Some("failed"), Some("amount_not_allowed"))
    );
    assert_eq!((user.balance().await, app.exposure("charge-atm").await.used.minor), (0, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn no_more_comes_in_than_the_wallet_may_hold() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user_holding(95_000).await;
    let (session, charge) = atm.approved(&user).await;
    assert_eq!(minor(&user.charge(&charge).await, "at_most"), 5_000);
    let report = session.deposit_anyway(6_000).await;
    assert_eq!(report["atm"], "gave-cash-back", "{report}");
    assert_eq!(user.balance().await, 95_000);
    let (_, _, report) = atm.charge(&user, 5_000).await;
    assert_eq!(report["atm"], "accepted-cash", "{report}");
    assert_eq!(user.balance().await, 100_000);
    user.post("/v1/charges", json!({ "channel": "charge-atm", "currency": "JPY" })).await.problem(422, "balance_limit");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_deposit_that_no_longer_fits_is_refused_when_it_comes() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    // The wallet fills up from elsewhere between approval and deposit.
    app.bring(user.id, 95_000).await;
    session.type_number(COMPANY_NUMBER).await;
    let report = session.deposit(10_000).await;
    assert_eq!(report["atm"], "gave-cash-back", "{report}");
    let charge = ended(&user, &charge).await;
    assert_eq!(
        (charge["standing"].as_str(), charge["note"]["code"].as_str()),
        (Some("failed"), Some("deposit_refused"))
    );
    assert_eq!(user.balance().await, 95_000);
    let sent_again = atm.send(report["reference"].as_str().expect("a reference")).await;
    assert_eq!(sent_again["atm"], "gave-cash-back", "{sent_again}");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_deposit_that_is_sent_again_because_our_answer_was_lost_is_credited_once() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    atm.switch(json!({ "ours": "repeat" })).await;
    let (_, _, report) = atm.charge(&user, 10_000).await;
    assert_eq!(report["standing"], "booked", "{report}");
    assert!(report["answers"].as_array().is_some_and(|answers| answers.len() >= 2), "{report}");
    assert_eq!(user.balance().await, 10_000);
    for _ in 0..3 {
        atm.send(report["reference"].as_str().expect("a reference")).await;
    }
    assert_eq!(user.balance().await, 10_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_reversal_after_the_deposit_takes_it_back() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    atm.switch(json!({ "ours": "reverse" })).await;
    let (_, charge, report) = atm.charge(&user, 10_000).await;
    assert_eq!((&report["standing"], &report["atm"]), (&json!("reversed"), &json!("gave-cash-back")), "{report}");
    let read = || user.charge(&charge);
    let charge = eventually("the reversal is shown", read, |charge| minor(charge, "reversed") == 10_000).await;
    assert_eq!(charge["standing"], "done", "final stays final");
    assert_eq!(user.balance().await, 0);
    atm.reverse(report["reference"].as_str().expect("a reference")).await;
    assert_eq!((user.balance().await, user.receivable().await), (0, 0), "reversed once");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_reversal_before_its_deposit_kills_the_deposit() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    session.type_number(COMPANY_NUMBER).await;
    let reference = session.count(10_000).await;
    let reversed = atm.reverse(&reference).await;
    assert_eq!(reversed["standing"], "reversed", "{reversed}");
    assert_eq!(ended(&user, &charge).await["standing"], "failed");
    let late = deposit_by_hand(&app, &reference, &session.id, 10_000).await;
    assert_eq!((late.status, &late.body["result"]), (200, &json!("refused")), "{}", late.body);
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_reversal_that_no_charge_ever_expected_kills_its_deposit_for_ever() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let session = atm.open().await;
    let reference = session.count_anyway(10_000).await;
    let reversed = atm.reverse(&reference).await;
    assert_eq!(reversed["standing"], "reversed", "{reversed}");
    // The user scans after all: the session belongs to nobody any more.
    let charge = session.scan(&user).await;
    let charge = ended(&user, &charge.id).await;
    assert_eq!((charge["standing"].as_str(), charge["note"]["code"].as_str()), (Some("failed"), Some("session_used")));
    let late = deposit_by_hand(&app, &reference, &session.id, 10_000).await;
    assert_eq!((late.status, &late.body["result"]), (200, &json!("refused")), "{}", late.body);
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

/// The deposit of a reference, sent although the network knows that it is reversed.
async fn deposit_by_hand(app: &TestApp, reference: &str, session: &str, yen: i64) -> crate::client::Reply {
    let parts: Vec<&str> = reference.split('/').collect();
    let body = json!({
        "operation": "deposit", "session": session, "atm_id": parts[0], "business_date": parts[1], "serial": parts[2], "amount": yen,
    });
    let body = body.to_string().into_bytes();
    say(&app.anonymous(), "deposit", &sign(ATM_SECRET, &body, 0), body).await
}

#[tokio::test]
async fn three_wrong_numbers_end_the_session() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    for left in [2, 1] {
        assert_eq!(session.type_number("0000").await["left"], left);
    }
    assert_eq!(session.type_number("0000").await["result"], "ended");
    let charge = ended(&user, &charge).await;
    assert_eq!((charge["standing"].as_str(), charge["note"]["code"].as_str()), (Some("failed"), Some("session_ended")));
    let report = session.deposit_anyway(10_000).await;
    assert_eq!(report["atm"], "gave-cash-back", "{report}");
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_user_who_walks_away_has_charged_nothing() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    session.end().await;
    assert_eq!(ended(&user, &charge).await["note"]["code"], "session_ended");
}

#[tokio::test]
async fn a_charge_that_the_user_cancels_takes_no_deposit_any_more() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    session.type_number(COMPANY_NUMBER).await;
    user.post(format!("/v1/charges/{charge}/cancel"), json!({})).await.accepted();
    assert_eq!(ended(&user, &charge).await["standing"], "cancelled");
    let report = session.deposit(10_000).await;
    assert_eq!(report["atm"], "gave-cash-back", "{report}");
    assert_eq!(user.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_session_without_a_deposit_runs_out_of_time() {
    let clock = Clock::standing_at(Clock::machine().now());
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (_, charge) = atm.approved(&user).await;
    clock.advance_ms(5 * 60_000 - 1_000);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(user.charge(&charge).await["standing"], "waiting-for-user");
    clock.advance_ms(1_000);
    let charge = ended(&user, &charge).await;
    assert_eq!(
        (charge["standing"].as_str(), charge["note"]["code"].as_str()),
        (Some("failed"), Some("session_expired"))
    );
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_session_is_good_for_one_charge() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let (hana, ken) = (app.user().await, app.user().await);
    let (session, _) = atm.approved(&hana).await;
    let second = session.scan(&ken).await;
    assert_eq!(ended(&ken, &second.id).await["note"]["code"], "session_used");
    session.type_number(COMPANY_NUMBER).await;
    session.deposit(3_000).await;
    assert_eq!((hana.balance().await, ken.balance().await), (3_000, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn something_else_that_is_scanned_is_asked_for_again_three_times() {
    let app = TestApp::start().await;
    let _atm = app.atm().await;
    let user = app.user().await;
    let charge = user.post("/v1/charges", json!({ "channel": "charge-atm", "currency": "JPY" })).await.created().id;
    for key in ["scan", "scan-2", "scan-3"] {
        let read = || user.charge(&charge);
        let asked = |charge: &Value| {
            charge["shows"].as_array().is_some_and(|shows| shows.iter().any(|show| show["key"] == key))
        };
        eventually("the form is shown", read, asked).await;
        answer(&user, &charge, key, "session", "https://example.com/not an atm").await;
    }
    assert_eq!(ended(&user, &charge).await["note"]["code"], "session_invalid");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_charge_is_its_users_alone() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let (_, charge) = atm.approved(&user).await;
    stranger.get(format!("/v1/charges/{charge}")).await.problem(404, "not_found");
    stranger.post(format!("/v1/charges/{charge}/cancel"), json!({})).await.problem(404, "not_found");
    let body = json!({ "key": "scan", "values": [] });
    stranger.post(format!("/v1/charges/{charge}/answers"), body).await.problem(404, "not_found");
    assert_eq!(user.charge(&charge).await["standing"], "waiting-for-user");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_network_that_is_slow_fails_or_hangs_up_is_asked_again_until_it_answers() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    for (place, answers) in ["slow", "error", "lost"].into_iter().enumerate() {
        let user = app.user().await;
        atm.switch(json!({ "answers": answers, "slow_ms": 800 })).await;
        let session = atm.open().await;
        let charge = session.scan(&user).await.id;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        assert_ne!(user.charge(&charge).await["standing"], "failed", "{answers}");
        atm.switch(json!({ "answers": "normal" })).await;
        let read = || user.charge(&charge);
        eventually(answers, read, |charge| shows(charge, COMPANY_NUMBER)).await;
        session.type_number(COMPANY_NUMBER).await;
        let yen = 1_000 * (1 + i64::try_from(place).expect("small"));
        assert_eq!(session.deposit(yen).await["standing"], "booked");
        assert_eq!(user.balance().await, yen);
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_network_that_never_answers_is_given_up_in_time_and_asked_again() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    atm.switch(json!({ "answers": "silent" })).await;
    let session = atm.open().await;
    let charge = session.scan(&user).await.id;
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    atm.switch(json!({ "answers": "normal" })).await;
    // The call that was begun is waited for as long as the manifest says, five seconds; then it is made again.
    let read = || user.charge(&charge);
    eventually("it is asked again", read, |charge| shows(charge, COMPANY_NUMBER)).await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn messages_that_come_twice_at_once_have_one_effect() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    atm.switch(json!({ "answers": "twice" })).await;
    for yen in [1_000, 2_000, 3_000] {
        let user = app.user().await;
        let (_, charge, report) = atm.charge(&user, yen).await;
        assert_eq!(report["standing"], "booked", "{report}");
        assert_eq!(user.balance().await, yen);
        let reversed = atm.reverse(report["reference"].as_str().expect("a reference")).await;
        assert_eq!(reversed["standing"], "reversed", "{reversed}");
        assert_eq!(minor(&user.charge(&charge).await, "reversed"), yen);
        assert_eq!((user.balance().await, user.receivable().await), (0, 0));
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_hundred_repeats_of_a_deposit_at_once_are_one() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, _) = atm.approved(&user).await;
    session.type_number(COMPANY_NUMBER).await;
    let reference = session.count(10_000).await;
    let parts: Vec<&str> = reference.split('/').collect();
    let body = json!({
        "operation": "deposit", "session": session.id, "atm_id": parts[0], "business_date": parts[1], "serial": parts[2], "amount": 10_000,
    });
    let body = body.to_string().into_bytes();
    let host = app.anonymous();
    let mut calls = Vec::new();
    for _ in 0..100 {
        let (body, host) = (body.clone(), crate::client::Client::new(host.address()));
        calls.push(tokio::spawn(async move { say(&host, "deposit", &sign(ATM_SECRET, &body, 0), body).await }));
    }
    for call in calls {
        let reply = call.await.expect("no panic");
        // Whoever was not answered in time asks again.
        assert!(reply.status == 503 || reply.body["result"] == "ok", "{} {}", reply.status, reply.body);
    }
    assert_eq!(user.balance().await, 10_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_call_that_the_partner_did_not_sign_changes_nothing() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (session, charge) = atm.approved(&user).await;
    let body = json!({
        "operation": "deposit", "session": session.id, "atm_id": "ATM1", "business_date": "2026-04-24", "serial": "000001", "amount": 10_000,
    });
    let body = body.to_string().into_bytes();
    let host = app.anonymous();
    let before = app.entries().await;
    let other = "whsec_BQYHCAkKCwwNDg8QERITFBUWFxgZGhsc";
    for (what, signed) in [
        ("no signature", Vec::new()),
        ("another secret", sign(other, &body, 0).to_vec()),
        ("an old message", sign(ATM_SECRET, &body, -301).to_vec()),
        ("a message from the future", sign(ATM_SECRET, &body, 330).to_vec()),
        ("another body", sign(ATM_SECRET, b"{}", 0).to_vec()),
    ] {
        let reply = say(&host, "deposit", &signed, body.clone()).await;
        assert_eq!((reply.status, reply.code()), (401, "bad_signature"), "{what}: {}", reply.body);
    }
    assert_eq!(user.charge(&charge).await["standing"], "waiting-for-user");
    assert_eq!((user.balance().await, app.entries().await), (0, before));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn money_that_was_spent_before_its_deposit_was_taken_back_is_owed_and_repaid_first() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let (user, shop) = (app.user().await, app.shop().await);
    let (_, _, report) = atm.charge(&user, 10_000).await;
    user.pay(&shop, 9_000).await.created();
    atm.reverse(report["reference"].as_str().expect("a reference")).await;
    assert_eq!((user.balance().await, user.receivable().await), (0, 9_000));
    user.pay(&shop, 1).await.problem(422, "repayment_due");
    let (_, _, report) = atm.charge(&user, 12_000).await;
    assert_eq!(report["standing"], "booked", "{report}");
    assert_eq!((user.balance().await, user.receivable().await), (3_000, 0));
    user.pay(&shop, 3_000).await.created();
    assert_eq!(shop.balance().await, 12_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_channel_that_reaches_its_exposure_cap_takes_nothing_more() {
    let app = TestApp::start().await;
    let atm = app.atm_with(&[], (15_000, 0)).await;
    let (hana, ken) = (app.user().await, app.user().await);
    let (session, _) = atm.approved(&ken).await;
    session.type_number(COMPANY_NUMBER).await;
    assert_eq!(atm.charge(&hana, 10_000).await.2["standing"], "booked");
    let report = session.deposit(6_000).await;
    assert_eq!(report["atm"], "gave-cash-back", "{report}");
    assert_eq!((hana.balance().await, ken.balance().await), (10_000, 0));
    let (session, _) = atm.approved(&ken).await;
    session.type_number(COMPANY_NUMBER).await;
    assert_eq!(session.deposit(5_000).await["standing"], "booked");
    assert_eq!(app.exposure("charge-atm").await.used.minor, 15_000);
    let begin = json!({ "channel": "charge-atm", "currency": "JPY" });
    ken.post("/v1/charges", begin).await.problem(422, "exposure_cap_reached");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_channel_that_is_not_there_or_switched_off_is_not_available() {
    let app = TestApp::start().await;
    let _atm = app.atm().await;
    let user = app.user().await;
    let begin = |channel: &str| json!({ "channel": channel, "currency": "JPY" });
    user.post("/v1/charges", begin("nothing-here")).await.problem(503, "channel_not_available");
    koban_service::plugins::set_enabled(&app.app, &app.operator_ctx(), "charge-atm", false)
        .await
        .expect("switched off");
    user.post("/v1/charges", begin("charge-atm")).await.problem(503, "channel_not_available");
}
