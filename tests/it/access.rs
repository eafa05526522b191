//! Freezing and closing over HTTP: what binds from the next commit on, and what goes on all the same.

use serde_json::{Value, json};

use crate::harness::{COMPANY_NUMBER, Caller, Operator, TestApp, User, minor};

async fn freeze(operator: &Operator, path: &str, frozen: bool) -> Value {
    operator.put(path, json!({ "frozen": frozen, "reason": "a test" })).await.ok()
}

fn path(user: &User) -> String {
    format!("/v1/operator/users/{}/access", user.id)
}

#[tokio::test]
async fn a_frozen_user_neither_pays_nor_sends_nor_receives_until_thawed() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.verified_user_holding(10_000).await, app.verified_user_holding(1_000).await);
    let (shop, operator) = (app.shop().await, app.operator().await);
    let paid = hana.pay(&shop, 1_000).await.created();
    assert_eq!(freeze(&operator, &path(&hana), true).await["access"], "frozen");
    hana.pay(&shop, 1).key("k1").await.problem(403, "wallet_frozen");
    hana.send(&ken, 1).await.problem(403, "wallet_frozen");
    ken.send(&hana, 1).await.problem(422, "receiver_unavailable");
    shop.refund(&paid, 400).await.created();
    assert_eq!(hana.balance().await, 9_400, "what is given back is taken");
    assert_eq!(freeze(&operator, &path(&hana), false).await["access"], "open");
    hana.pay(&shop, 1).key("k1").await.problem(403, "wallet_frozen");
    hana.pay(&shop, 1).key("k2").await.created();
    let nobody = format!("/v1/operator/users/usr_{}/access", "0".repeat(32));
    operator.put(nobody, json!({ "frozen": true, "reason": "a test" })).await.problem(404, "user_not_found");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_frozen_user_begins_no_charge_and_keeps_what_has_arrived() {
    let app = TestApp::start().await;
    let atm = app.atm().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let (session, _) = atm.approved(&user).await;
    session.type_number(COMPANY_NUMBER).await;
    session.deposit(3_000).await;
    freeze(&operator, &path(&user), true).await;
    let body = json!({ "channel": "charge-atm" });
    user.post("/v1/charges", body).await.problem(403, "wallet_frozen");
    assert_eq!(user.balance().await, 3_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_frozen_merchant_is_not_paid_and_a_frozen_key_does_nothing() {
    let app = TestApp::start().await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let paid = user.pay(&shop, 1_000).await.created();
    let merchant = format!("/v1/operator/merchants/{}/access", shop.id);
    assert_eq!(freeze(&operator, &merchant, true).await["access"], "frozen");
    user.pay(&shop, 1).await.problem(422, "merchant_frozen");
    shop.refund(&paid, 100).await.created();
    freeze(&operator, &merchant, false).await;
    user.pay(&shop, 1).await.created();

    let keys = shop.get("/v1/merchant/keys").await.ok();
    let key = keys["items"][0]["id"].as_str().expect("a key").to_owned();
    let key = format!("/v1/operator/keys/{key}/access");
    freeze(&operator, &key, true).await;
    shop.refund(&paid, 100).await.problem(403, "key_frozen");
    shop.get("/v1/merchant").await.problem(403, "key_frozen");
    freeze(&operator, &key, false).await;
    shop.refund(&paid, 100).await.created();
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_frozen_device_pays_from_no_wallet() {
    let app = TestApp::start().await;
    let (user, shop, operator) = (app.user_holding(10_000).await, app.shop().await, app.operator().await);
    let device = |frozen| json!({ "device": "phone-7", "frozen": frozen, "reason": "stolen" });
    operator.put("/v1/operator/devices/access", device(true)).await.ok();
    user.pay(&shop, 1).device("phone-7").await.problem(403, "device_frozen");
    user.pay(&shop, 1).device("phone-8").await.created();
    operator.put("/v1/operator/devices/access", device(false)).await.ok();
    user.pay(&shop, 1).device("phone-7").await.created();
    let log = operator.get("/v1/operator/audit?subject=phone-7").await.ok();
    let acts: Vec<&str> = log["items"].as_array().expect("rows").iter().filter_map(|row| row["act"].as_str()).collect();
    assert_eq!(acts, ["device.thaw", "device.freeze"]);
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_among_transfers_is_decided_at_its_commit() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.verified_user_holding(10_000).await, app.verified_user_holding(0).await);
    let operator = app.operator().await;
    for round in 0..10 {
        let others: Vec<User> = (0..4).map(|_| hana.again()).collect();
        let sending = async {
            let sends = others.iter().map(|one| one.send(&ken, 1).attempt());
            let mut done = Vec::new();
            for send in sends {
                done.push(send.await.expect("an answer"));
            }
            done
        };
        let account = path(&hana);
        let (outcomes, _) = tokio::join!(sending, freeze(&operator, &account, true));
        for outcome in outcomes {
            let (status, code) = (outcome.reply.status, outcome.reply.code());
            assert!(status == 201 || code == "wallet_frozen", "round {round}: {status} {code}");
        }
        let before = hana.balance().await;
        hana.send(&ken, 1).await.problem(403, "wallet_frozen");
        assert_eq!(hana.balance().await, before, "after the freeze was answered nothing moves");
        freeze(&operator, &account, false).await;
    }
    // The journal itself says so: no transfer lies between a freeze and the thaw after it.
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_closed_account_leaves_its_money_to_its_owner_and_does_nothing_more() {
    let app = TestApp::start().await;
    let (hana, ken) = (app.verified_user_holding(2_000).await, app.verified_user_holding(10).await);
    let (shop, operator) = (app.shop().await, app.operator().await);
    let paid = hana.pay(&shop, 500).await.created();
    let closure = format!("/v1/operator/users/{}/closure", hana.id);
    let reason = json!({ "reason": "asked for" });
    let closed = operator.post(&closure, reason.clone()).key("c1").await.ok();
    assert_eq!(minor(&closed["set_aside"][0], "amount"), 1_500);
    assert_eq!(hana.balance().await, 0);
    assert!(operator.post(&closure, reason.clone()).key("c1").await.replayed());
    operator.post(&closure, reason).key("c2").await.problem(403, "account_closed");
    hana.pay(&shop, 1).await.problem(403, "account_closed");
    ken.send(&hana, 1).await.problem(422, "receiver_unavailable");
    shop.refund(&paid, 1).await.problem(403, "account_closed");
    app.ledger_is_clean().await;
}
