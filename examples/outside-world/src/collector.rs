//! The collector of convenience-store slips, as Koban calls it: pays a bill, says how a payment stands, takes one back that has not come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bills::{BillStanding, NoBill, Payment};
use crate::book::CannotDo;
use crate::courier;
use crate::network::signed;
use crate::serve::HangUp;
use crate::switches::{Answers, SLOW_MS_MAX};
use crate::world::World;

/// What Koban calls.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/collector/pay", post(pay))
        .route("/collector/status", post(status))
        .route("/collector/cancel", post(cancel))
        .layer(DefaultBodyLimit::max(16 << 10))
}

/// What the one at the controls does.
pub(crate) fn controls() -> Router<Arc<World>> {
    Router::new()
        .route("/control/bills", get(show))
        .route("/control/bills/slips", post(print))
        .route("/control/bills/end-of-day", post(end_of_day))
}

#[derive(Deserialize)]
struct PayBody {
    payment: String,
    slip: String,
    amount: i64,
}

#[derive(Deserialize)]
struct QuestionBody {
    payment: String,
}

async fn pay(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let switch = world.switches().bills;
    answer(&world, &headers, &body, switch, |world, body| {
        let Ok(asked) = serde_json::from_slice::<PayBody>(body) else { return malformed() };
        if !is_id(&asked.payment) || asked.slip.len() > 64 {
            return malformed();
        }
        let now_ms = world.now_ms();
        let mut bills = world.bills();
        if switch == Answers::Twice {
            // It came twice over the wire: the book must not care.
            let _ = bills.pay(&asked.payment, &asked.slip, asked.amount, &key, now_ms);
        }
        said(bills.pay(&asked.payment, &asked.slip, asked.amount, &key, now_ms).map(Some))
    })
    .await
}

async fn status(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let switch = world.switches().questions;
    answer(&world, &headers, &body, switch, |world, body| match serde_json::from_slice::<QuestionBody>(body) {
        Ok(asked) if is_id(&asked.payment) => said(Ok(world.bills().payment(&asked.payment))),
        _ => malformed(),
    })
    .await
}

async fn cancel(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let switch = world.switches().questions;
    answer(&world, &headers, &body, switch, |world, body| match serde_json::from_slice::<QuestionBody>(body) {
        Ok(asked) if is_id(&asked.payment) => said(world.bills().cancel(&asked.payment, world.now_ms()).map(Some)),
        _ => malformed(),
    })
    .await
}

/// Checks who asks, does it as the switch says, and signs the answer.
pub(crate) async fn answer(
    world: &World,
    headers: &HeaderMap,
    body: &[u8],
    switch: Answers,
    does: impl FnOnce(&World, &[u8]) -> (StatusCode, Value),
) -> Response {
    let id = match world.signer.check(headers, body, world.now_ms()) {
        Ok(id) => id,
        Err(why) => return (StatusCode::UNAUTHORIZED, why.to_string()).into_response(),
    };
    match switch {
        Answers::Error => return (StatusCode::INTERNAL_SERVER_ERROR, "as the switches are set").into_response(),
        Answers::Silent => {
            tokio::time::sleep(Duration::from_millis(SLOW_MS_MAX)).await;
            return HangUp.into_response();
        }
        Answers::Normal | Answers::Slow | Answers::Lost | Answers::Twice => {}
    }
    let (status, said) = does(world, body);
    tracing::info!(%said, "Koban asked");
    match switch {
        Answers::Lost => return HangUp.into_response(),
        Answers::Slow => {
            let slow_ms = world.switches().slow_ms;
            tokio::time::sleep(Duration::from_millis(slow_ms)).await;
        }
        Answers::Normal | Answers::Twice | Answers::Error | Answers::Silent => {}
    }
    signed(world, &id, status, &said)
}

fn said(found: Result<Option<&Payment>, NoBill>) -> (StatusCode, Value) {
    let said = match found {
        Err(why) => return (StatusCode::SERVICE_UNAVAILABLE, json!({ "result": "busy", "reason": why.to_string() })),
        Ok(None) => json!({ "result": "unknown" }),
        Ok(Some(known)) => match known.standing {
            BillStanding::Paid => json!({ "result": "paid", "receipt": known.receipt, "amount": known.amount }),
            BillStanding::Refused => json!({ "result": "refused", "reason": known.reason }),
            BillStanding::Cancelled => json!({ "result": "cancelled" }),
        },
    };
    (StatusCode::OK, said)
}

pub(crate) fn malformed() -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({ "result": "refused", "reason": "malformed" }))
}

pub(crate) fn is_id(payment: &str) -> bool {
    (1..=100).contains(&payment.len()) && payment.bytes().all(|byte| byte.is_ascii_graphic())
}

async fn show(State(world): State<Arc<World>>) -> Json<Value> {
    let bills = world.bills();
    let payments: Vec<&Payment> = bills.payments().collect();
    let paid = payments.iter().filter(|payment| payment.standing == BillStanding::Paid);
    let sum: i128 = paid.map(|payment| i128::from(payment.amount)).sum();
    Json(json!({ "payments": payments, "paid": i64::try_from(sum).unwrap_or(i64::MAX) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlipBody {
    amount: i64,
    /// `YYMMDD`; without it the slip has no last day.
    due: Option<String>,
    /// The biller's company code, 6 digits.
    company: Option<String>,
}

async fn print(State(world): State<Arc<World>>, Json(body): Json<SlipBody>) -> Response {
    let company = body.company.as_deref().unwrap_or("912345");
    match world.bills().print(company, body.amount, body.due.as_deref()) {
        Ok(slip) => (StatusCode::CREATED, Json(json!({ "slip": slip }))).into_response(),
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()).into_response(),
    }
}

async fn end_of_day(State(world): State<Arc<World>>) -> Response {
    let file = match world.bills().close_day(world.now_ms()) {
        Ok(file) => file,
        Err(why) => return (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()).into_response(),
    };
    let shown = String::from_utf8_lossy(&file).into_owned();
    match courier::settlement(&world, &world.config.bill_plugin, file).await {
        Ok(answers) => Json(json!({ "file": shown, "answers": answers })).into_response(),
        Err(CannotDo::Full) => (StatusCode::INSUFFICIENT_STORAGE, "too many errands").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()).into_response(),
    }
}
