//! Merchants' API keys: scoped, rotated with an overlap, revoked at once, stored as hashes.

use koban_domain::access::Warrant;
use koban_domain::time::Timestamp;
use koban_service::captures::{self, CaptureInput};
use koban_service::clock::Clock;
use koban_service::ctx::Actor;
use koban_service::{Ctx, Error};
use serde_json::json;

use crate::harness::{Caller as _, Setup, TestApp};

#[tokio::test]
async fn a_rotated_key_goes_on_for_its_overlap_and_no_longer() {
    let clock = Clock::standing_at(Timestamp(1_790_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let shop = app.shop().await;
    let listed = shop.get("/v1/merchant/keys").await.ok();
    let old = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let rotated = shop.post(format!("/v1/merchant/keys/{old}/rotate"), json!({ "overlap_s": 3_600 })).await.created();
    let new = shop.with_secret(&rotated.text("secret"));
    clock.advance_ms(3_599_000);
    assert_eq!((shop.balance().await, new.balance().await), (0, 0), "both work within the overlap");
    clock.advance_ms(1_000);
    shop.get("/v1/merchant").await.problem(401, "not_signed_in");
    assert_eq!(new.balance().await, 0);
}

#[tokio::test]
async fn a_revoked_key_is_worth_nothing_at_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let made = shop.post("/v1/merchant/keys", json!({ "name": "spare", "scopes": ["payments:read"] })).await.created();
    let spare = shop.with_secret(&made.text("secret"));
    assert_eq!(spare.balance().await, 0);
    let id = made.body["key"]["id"].as_str().expect("an id");
    assert_eq!(shop.delete(format!("/v1/merchant/keys/{id}")).await.reply.status, 204);
    spare.get("/v1/merchant").await.problem(401, "not_signed_in");
}

/// Goal: a revoked authority commits nothing, whenever the request was let in. Method: as for sessions, with a capture.
#[tokio::test]
async fn a_capture_under_way_does_nothing_once_its_key_was_revoked() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let held = user.pay(&shop, 500).with("capture", false).await.created();
    let made =
        shop.post("/v1/merchant/keys", json!({ "name": "spare", "scopes": ["payments:capture"] })).await.created();
    let id = made.body["key"]["id"].as_str().expect("an id").to_owned();
    let key = id.parse().expect("a key's id");
    let ctx = Ctx { warrant: Some(Warrant::Key(key)), ..Ctx::new(Actor::Merchant(shop.id, key), "capture") };
    assert_eq!(shop.delete(format!("/v1/merchant/keys/{id}")).await.reply.status, 204);
    let input = CaptureInput { payment: held.id.parse().expect("an id"), amount: None, last: true };
    let refused = captures::capture(&app.app, &ctx, input).await;
    assert!(matches!(refused, Err(Error::NotSignedIn)), "{refused:?}");
    assert_eq!(shop.balance().await, 0);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_merchant_has_to_do_with_its_own_keys_alone() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let listed = shop.get("/v1/merchant/keys").await.ok();
    let id = listed["items"][0]["id"].as_str().expect("an id");
    other.delete(format!("/v1/merchant/keys/{id}")).await.problem(404, "not_found");
    other.post(format!("/v1/merchant/keys/{id}/rotate"), json!({ "overlap_s": 0 })).await.problem(404, "not_found");
    assert_eq!(shop.balance().await, 0, "the key still works");
}

#[tokio::test]
async fn no_secret_is_kept_in_the_database() {
    let app = TestApp::start().await;
    let (shop, user) = (app.shop().await, app.user().await);
    let mut hand = app.database.hand().await;
    for row in hand.blobs("select hash from api_keys").await {
        assert_eq!(row.len(), 32);
        assert!(!shop.secret.as_bytes().windows(8).any(|part| row.windows(8).any(|kept| kept == part)));
    }
    for row in hand.blobs("select token_hash from sessions").await {
        assert_eq!(row.len(), 32);
        assert!(!user.token.as_bytes().windows(8).any(|part| row.windows(8).any(|kept| kept == part)));
    }
    for hash in hand.texts("select password_hash from users where password_hash is not null").await {
        assert!(hash.starts_with("$argon2id$"), "{hash}");
    }
}
