//! Answers of channels of the pack: steps of flows and routings, as the contract has them.

use serde_json::{Value, json};

/// A step that waits for the partner and asks for nothing more.
pub(super) fn waits() -> Value {
    step(json!([]))
}

/// A beginning that expects the partner's call, under the wallet's name.
pub(super) fn expects() -> Value {
    step(json!([{ "key": "call", "act": { "expect": "$request.wallet" } }]))
}

/// A step that asks for these effects.
pub(super) fn step(effects: Value) -> Value {
    json!({ "ok": {
        "state": "a", "standing": "waiting-for-partner", "effects": effects, "proposals": [], "reply": null, "note": null,
    } })
}

/// A beginning that expects the partner's call and asks for these effects as well.
pub(super) fn begins(effects: &Value) -> Value {
    let mut all = vec![json!({ "key": "call", "act": { "expect": "$request.wallet" } })];
    all.extend(effects.as_array().cloned().unwrap_or_default());
    step(Value::Array(all))
}

/// The same step with another field.
pub(super) fn with(mut step: Value, field: &str, value: Value) -> Value {
    step["ok"][field] = value;
    step
}

/// A step with these proposals, which tells the partner that all is well.
pub(super) fn proposes(proposals: Value) -> Value {
    with(with(waits(), "proposals", proposals), "reply", reply(200, "ok"))
}

/// The last step of an honest charge: so many yen under this reference, because of this event.
pub(super) fn credit(yen: i64, reference: &str) -> Value {
    with(proposes(json!([one_credit("credit", yen, reference)])), "standing", json!("done"))
}

/// A credit of so many yen, because of the event at hand.
pub(super) fn one_credit(key: &str, yen: i64, reference: &str) -> Value {
    json!({ "credit": {
        "key": key, "amount": { "minor": yen, "currency": "JPY" }, "reference": reference, "because": "$event.number", "arrived": false,
    } })
}

/// What the partner is told.
pub(super) fn reply(status: u16, body: &str) -> Value {
    json!({ "status": status, "headers": [["content-type", "text/plain"]], "body": body })
}

/// A routing to this correlation.
pub(super) fn deliver(correlation: &str) -> Value {
    json!({ "ok": { "deliver": { "correlation": correlation, "otherwise": reply(404, "nobody"), "tombstone": null } } })
}

/// A call of an operation of the endpoint, with this path behind the operation's own and this body.
pub(super) fn call(key: &str, endpoint: &str, operation: &str, path: &str, body: &str) -> Value {
    json!({ "key": key, "act": { "http": {
        "endpoint": endpoint, "operation": operation, "path": path, "query": [], "body": body,
    } } })
}
