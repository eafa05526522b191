//! Adjustments over HTTP: one proposes, another decides, and of two who decide at once, one does.

use serde_json::{Value, json};

use crate::harness::{Caller, Operator, TestApp};

/// Gives a user money out of nothing but a write-off: the plainest goodwill.
fn goodwill(user: &str, yen: i64) -> Value {
    json!({
        "lines": [{
            "debit": { "class": "write-off" },
            "credit": { "class": "prepaid", "owner": user },
            "amount": yen,
            "currency": "JPY",
        }],
        "reason": "the machine kept a note",
    })
}

fn decide<'a>(operator: &'a Operator, id: &str, how: &str) -> crate::harness::Request<'a> {
    operator.post(format!("/v1/operator/adjustments/{id}/{how}"), json!({ "reason": "looked at it" }))
}

#[tokio::test]
async fn another_operator_approves_what_one_has_proposed() {
    let app = TestApp::start().await;
    let (user, one, other) = (app.user().await, app.operator().await, app.operator().await);
    let id = user.id.to_string();
    let proposed = one.post("/v1/operator/adjustments", goodwill(&id, 700)).key("p").await.created();
    assert_eq!((proposed.text("state").as_str(), user.balance().await), ("proposed", 0));
    assert_eq!(one.post("/v1/operator/adjustments", goodwill(&id, 700)).key("p").await.created().id, proposed.id);
    decide(&one, &proposed.id, "approve").await.problem(403, "second_person_required");
    decide(&one, &proposed.id, "reject").await.problem(403, "second_person_required");
    let approved = decide(&other, &proposed.id, "approve").await.ok();
    assert_eq!((approved["state"].as_str(), user.balance().await), (Some("approved"), 700));
    decide(&other, &proposed.id, "reject").await.problem(409, "adjustment_closed");
    let rejected = one.post("/v1/operator/adjustments", goodwill(&id, 1)).await.created();
    assert_eq!(decide(&other, &rejected.id, "reject").await.ok()["state"], "rejected");
    let list = one.get("/v1/operator/adjustments").await.ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
    let path = format!("/v1/operator/adjustments/{}", proposed.id);
    assert_eq!(one.get(path).await.ok()["decider"], approved["decider"]);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn money_is_never_adjusted_to_where_nobody_could_spend_it() {
    let app = TestApp::start().await;
    let (user, one, other) = (app.user().await, app.operator().await, app.operator().await);
    let nobody = koban_domain::ids::UserId(app.app.clock.id()).to_string();
    one.post("/v1/operator/adjustments", goodwill(&nobody, 700)).await.problem(404, "user_not_found");
    let mut dollars = goodwill(&user.id.to_string(), 700);
    dollars["lines"][0]["currency"] = json!("USD");
    one.post("/v1/operator/adjustments", dollars).await.problem(422, "currency_not_accepted");
    // What could be spent when it was proposed is looked at again when it is approved.
    let proposed = one.post("/v1/operator/adjustments", goodwill(&user.id.to_string(), 700)).await.created();
    let close = json!({ "reason": "asked for" });
    one.post(format!("/v1/operator/users/{}/closure", user.id), close).await.ok();
    decide(&other, &proposed.id, "approve").await.problem(403, "account_closed");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once_decide_an_adjustment_once() {
    let app = TestApp::start().await;
    let (user, one) = (app.user().await, app.operator().await);
    let (two, three) = (app.operator().await, app.operator().await);
    for round in 1..=10 {
        let proposed = one.post("/v1/operator/adjustments", goodwill(&user.id.to_string(), 10)).await.created();
        let (a, b) = tokio::join!(decide(&two, &proposed.id, "approve"), decide(&three, &proposed.id, "approve"));
        let mut statuses = [a.reply.status, b.reply.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "round {round}");
        assert_eq!(user.balance().await, 10 * round);
    }
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_line_off_the_table_or_without_its_owner_is_named() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let id = user.id.to_string();
    let line = |debit: Value, credit: Value| json!({ "lines": [{ "debit": debit, "credit": credit, "amount": 1, "currency": "JPY" }], "reason": "x" });
    let (prepaid, funds) = (json!({ "class": "prepaid", "owner": id }), json!({ "class": "funds", "owner": id }));
    for (body, field) in [
        (line(prepaid.clone(), funds), "lines[0]"),
        (line(prepaid.clone(), json!({ "class": "bank" })), "lines[0]"),
        (line(json!({ "class": "prepaid" }), json!({ "class": "suspense" })), "lines[0].debit.owner"),
        (line(prepaid.clone(), json!({ "class": "suspense", "owner": id })), "lines[0].credit.owner"),
        (line(json!({ "class": "prepaid", "owner": "mer_1" }), json!({ "class": "suspense" })), "lines[0].debit.owner"),
        (json!({ "lines": [], "reason": "x" }), "lines"),
    ] {
        let reply = operator.post("/v1/operator/adjustments", body).await.problem(400, "invalid_request");
        assert_eq!(reply.body["field"], field, "{}", reply.body);
    }
    let more = line(prepaid, json!({ "class": "suspense" }));
    let proposed = operator.post("/v1/operator/adjustments", more).await.created();
    decide(&app.operator().await, &proposed.id, "approve").await.problem(422, "insufficient_funds");
}
