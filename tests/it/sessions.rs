//! Signing up, in and out.

use koban_domain::access::Warrant;
use koban_domain::money::Money;
use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::ctx::Actor;
use koban_service::identity::token_hash;
use koban_service::payments::{self, PayInput};
use koban_service::users::{SESSION_IDLE_MS, SESSION_MAX_MS};
use koban_service::{Ctx, Error};
use serde_json::json;

use crate::harness::{Caller as _, PASSWORD, Setup, TestApp, User};

#[tokio::test]
async fn an_email_address_has_one_account() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let body = json!({ "email": user.email, "password": PASSWORD, "name": "Ken", "locale": "ja" });
    let reply = app.anonymous().post("/v1/users", body).await.expect("an answer");
    assert_eq!(reply.status, 409, "{}", reply.body);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_look_alike() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let anonymous = app.anonymous();
    let wrong = json!({ "email": user.email, "password": "not this one at all" });
    let unknown = json!({ "email": "nobody@example.com", "password": PASSWORD });
    let wrong = crate::harness::Caller::post(&anonymous, "/v1/sessions", wrong).await.problem(401, "wrong_credentials");
    let unknown =
        crate::harness::Caller::post(&anonymous, "/v1/sessions", unknown).await.problem(401, "wrong_credentials");
    assert_eq!((&wrong.body["title"], &wrong.body["detail"]), (&unknown.body["title"], &unknown.body["detail"]));
}

#[tokio::test]
async fn a_session_that_was_ended_is_worth_nothing() {
    let app = TestApp::start().await;
    let user = app.user().await;
    assert_eq!(user.balance().await, 0);
    assert_eq!(user.delete("/v1/sessions/current").await.reply.status, 204);
    user.get("/v1/wallet").await.problem(401, "not_signed_in");
}

/// Goal: no use after sign-out, also of a request that was let in before. Method: its context is kept, the session ended, and then the use case
/// goes on.
#[tokio::test]
async fn a_request_under_way_does_nothing_once_its_session_was_ended() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let warrant = Some(Warrant::Session(token_hash(&user.token)));
    let ctx = |key: &str| Ctx { warrant, ..Ctx::new(Actor::User(user.id), key) };
    let input = || PayInput { merchant: shop.id, amount: Money::yen(100), reference: None, hold_s: None };
    payments::pay(&app.app, &ctx("before"), input()).await.expect("it is signed in");
    assert_eq!(user.delete("/v1/sessions/current").await.reply.status, 204);
    let refused = payments::pay(&app.app, &ctx("after"), input()).await;
    assert!(matches!(refused, Err(Error::NotSignedIn)), "{refused:?}");
    // Nothing of it sticks to the key: signed in again, the same request is done.
    let again = Ctx { warrant: None, ..ctx("after") };
    payments::pay(&app.app, &again, input()).await.expect("another session");
    assert_eq!(shop.balance().await, 200);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let clock = Clock::standing_at(Timestamp(1_790_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (idle, busy) = (app.user().await, app.user().await);
    let mut passed = 0;
    while passed + SESSION_IDLE_MS < SESSION_MAX_MS {
        clock.advance_ms(SESSION_IDLE_MS);
        passed += SESSION_IDLE_MS;
        assert_eq!(busy.balance().await, 0, "after {passed} ms");
    }
    idle.get("/v1/wallet").await.problem(401, "not_signed_in");
    clock.advance_ms(SESSION_MAX_MS - passed);
    busy.get("/v1/wallet").await.problem(401, "not_signed_in");
    let back = User::signed_in(busy.id, sign_in(&app, &busy).await, &app.anonymous());
    assert_eq!(back.balance().await, 0);
}

async fn sign_in(app: &TestApp, user: &User) -> String {
    let body = json!({ "email": user.email, "password": PASSWORD });
    crate::harness::Caller::post(&app.anonymous(), "/v1/sessions", body).await.created().text("token")
}
