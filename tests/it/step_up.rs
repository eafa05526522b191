//! Step-ups over HTTP: a rule asks, the payer confirms with the password, and the very same request goes through, once.

use koban_domain::guest::Verdict;
use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use serde_json::json;

use crate::client::Reply;
use crate::harness::{Caller as _, PASSWORD, Request, Setup, TestApp, User, minor, whole, yen};

const MINUTE_MS: i64 = 60_000;

/// A host whose rules want payments over 1,000 yen confirmed, and decline those over 5,000.
async fn careful(setup: Setup) -> TestApp {
    let settings =
        [whole("night_from", 0), whole("night_to", 0), yen("amount_high", 1_000), yen("amount_limit", 5_000)];
    TestApp::start_with(setup).await.with_fraud_rules(&settings).await
}

fn challenge_of(reply: &Reply) -> String {
    let id = reply.body["step_up"].as_str().unwrap_or_else(|| panic!("no challenge in {}", reply.body));
    assert!(id.starts_with("stu_"), "{id}");
    id.to_owned()
}

fn confirm<'a>(user: &'a User, challenge: &str, password: &str) -> Request<'a> {
    user.post(format!("/v1/step-ups/{challenge}/confirm"), json!({ "password": password }))
}

#[tokio::test]
async fn a_confirmed_payment_goes_through_once() {
    let app = careful(Setup::default()).await;
    let (user, shop) = (app.user_holding(20_000).await, app.shop().await);
    let asked = user.pay(&shop, 1_500).key("k1").await.problem(403, "step_up_required");
    let challenge = challenge_of(&asked);
    let again = user.pay(&shop, 1_500).key("k1").await;
    assert!(again.replayed());
    assert_eq!(challenge_of(&again.problem(403, "step_up_required")), challenge, "the same key, the same challenge");
    let early = user.pay(&shop, 1_500).header("koban-step-up", &challenge).await.problem(403, "step_up_required");
    assert_ne!(challenge_of(&early), challenge, "nobody has confirmed it, so there is another");

    let seen = user.get(format!("/v1/step-ups/{challenge}")).await.ok();
    assert_eq!((&seen["state"], minor(&seen, "amount")), (&json!("open"), 1_500));
    let confirmed = confirm(&user, &challenge, PASSWORD).await.ok();
    assert_eq!(confirmed["state"], "confirmed");
    confirm(&user, &challenge, PASSWORD).await.problem(409, "conflict");
    let other = user.pay(&shop, 1_501).header("koban-step-up", &challenge).await;
    other.problem(403, "step_up_required");
    let other = app.shop().await;
    user.pay(&other, 1_500).header("koban-step-up", &challenge).await.problem(403, "step_up_required");
    let held = user.pay(&shop, 1_500).with("capture", false).header("koban-step-up", &challenge).await;
    held.problem(403, "step_up_required");

    let paid = user.pay(&shop, 1_500).key("k2").header("koban-step-up", &challenge).await.created();
    assert!(paid.body["decision"].is_string(), "it was judged again");
    let same = user.pay(&shop, 1_500).key("k2").header("koban-step-up", &challenge).await.created();
    assert!(same.replayed && same.id == paid.id);
    user.pay(&shop, 1_500).header("koban-step-up", &challenge).await.problem(403, "step_up_required");
    assert_eq!(user.get(format!("/v1/step-ups/{challenge}")).await.ok()["state"], "used");
    assert_eq!((user.balance().await, shop.balance().await), (18_500, 1_500));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn authorisations_and_transfers_are_confirmed_in_the_same_way_and_a_decline_stays_a_decline() {
    let app = careful(Setup::default()).await;
    let (hana, ken, shop) =
        (app.verified_user_holding(50_000).await, app.verified_user_holding(0).await, app.shop().await);
    let asked = hana.pay(&shop, 2_000).with("capture", false).await.problem(403, "step_up_required");
    let challenge = challenge_of(&asked);
    confirm(&hana, &challenge, PASSWORD).await.ok();
    let held = hana.pay(&shop, 2_000).with("capture", false).header("koban-step-up", &challenge).await.created();
    assert_eq!(held.text("state"), "authorised");

    let asked = hana.send(&ken, 3_000).await.problem(403, "step_up_required");
    let challenge = challenge_of(&asked);
    confirm(&hana, &challenge, PASSWORD).await.ok();
    hana.pay(&shop, 6_000).header("koban-step-up", &challenge).await.problem(403, "declined_by_fraud");
    hana.send(&ken, 3_000).header("koban-step-up", &challenge).await.created();
    assert_eq!(ken.balance().await, 3_000);

    app.fraud_policy(Verdict::Decline, Verdict::StepUp).await;
    hana.pay(&shop, 6_000).header("koban-step-up", &challenge).await.problem(403, "declined_by_fraud");
    hana.pay(&shop, 100).header("koban-step-up", "stu_nonsense").await.problem(400, "invalid_request");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn five_wrong_passwords_end_a_challenge_and_nobody_elses_can_be_seen_or_confirmed() {
    let app = careful(Setup::default()).await;
    let (user, other, shop) = (app.user_holding(20_000).await, app.user_holding(20_000).await, app.shop().await);
    let challenge = challenge_of(&user.pay(&shop, 1_500).await.problem(403, "step_up_required"));
    other.get(format!("/v1/step-ups/{challenge}")).await.problem(404, "not_found");
    confirm(&other, &challenge, PASSWORD).await.problem(404, "not_found");
    confirm(&user, "stu_00000000000000000000000000000001", PASSWORD).await.problem(404, "not_found");
    let mut tries = Vec::new();
    for _ in 0..8 {
        tries.push(confirm(&user, &challenge, "not the password").await.reply.status);
    }
    let wrong = tries.iter().filter(|status| **status == 401).count();
    assert!(wrong <= 5 && tries.iter().all(|status| matches!(status, 401 | 409 | 429)), "{tries:?}");
    // Whoever was too fast for the limit of tries goes on until the challenge is dead.
    let id = challenge.parse().expect("an id");
    let known = koban_store::step_ups::by_id(&app.app.store, id, user.id).await.expect("rows").expect("a challenge");
    for _ in known.attempts..koban_domain::step_ups::ATTEMPTS_MAX {
        let ctx = koban_service::Ctx::new(koban_service::Actor::User(user.id), "");
        koban_service::step_ups::confirm(&app.app, &ctx, id, "wrong".into()).await.expect_err("a wrong password");
    }
    let ctx = koban_service::Ctx::new(koban_service::Actor::User(user.id), "");
    let right = koban_service::step_ups::confirm(&app.app, &ctx, id, PASSWORD.to_owned()).await;
    assert!(matches!(right, Err(koban_service::Error::Conflict(_))), "the challenge is dead: {right:?}");
    other.pay(&shop, 1_500).header("koban-step-up", &challenge).await.problem(403, "step_up_required");
    assert_eq!(shop.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_challenge_lasts_five_minutes_and_a_confirmed_one_another_five() {
    let clock = Clock::standing_at(Timestamp(1_537_844_400_000));
    let app = careful(Setup { clock: clock.clone(), jobs: false, ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(20_000).await, app.shop().await);
    let ask = async || challenge_of(&user.pay(&shop, 1_500).await.problem(403, "step_up_required"));
    let (first, second) = (ask().await, ask().await);
    clock.advance_ms(5 * MINUTE_MS - 1);
    confirm(&user, &first, PASSWORD).await.ok();
    clock.advance_ms(1);
    confirm(&user, &second, PASSWORD).await.problem(409, "conflict");
    clock.advance_ms(5 * MINUTE_MS - 2);
    let third = ask().await;
    confirm(&user, &third, PASSWORD).await.ok();
    user.pay(&shop, 1_500).header("koban-step-up", &first).await.created();
    clock.advance_ms(5 * MINUTE_MS);
    user.pay(&shop, 1_500).header("koban-step-up", &third).await.problem(403, "step_up_required");
    assert_eq!(shop.balance().await, 1_500);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn of_two_requests_with_one_challenge_at_once_one_pays() {
    let app = careful(Setup::default()).await;
    let (user, shop) = (app.user_holding(20_000).await, app.shop().await);
    let again = user.again();
    for round in 1..=3 {
        let challenge = challenge_of(&user.pay(&shop, 1_500).await.problem(403, "step_up_required"));
        koban_service::step_ups::confirm(
            &app.app,
            &koban_service::Ctx::new(koban_service::Actor::User(user.id), ""),
            challenge.parse().expect("an id"),
            PASSWORD.to_owned(),
        )
        .await
        .expect("confirmed");
        let one = user.pay(&shop, 1_500).header("koban-step-up", &challenge);
        let other = again.pay(&shop, 1_500).header("koban-step-up", &challenge);
        let (one, other) = tokio::join!(one, other);
        let mut statuses = [one.reply.status, other.reply.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 403]);
        assert_eq!(shop.balance().await, 1_500 * round);
    }
    app.ledger_is_clean().await;
}
