//! Signing up, in and out.

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;
use koban_service::users::{SESSION_IDLE_MS, SESSION_MAX_MS};
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
