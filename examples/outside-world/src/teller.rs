//! The bank, as Koban calls it: gives an account number for a charge, transfers money, says how a transfer stands, takes one back; and tells Koban what came.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bank::{NoTransfer, Payee, Transfer, TransferStanding};
use crate::batches;
use crate::book::CannotDo;
use crate::collector::{answer, is_id, malformed};
use crate::courier;
use crate::switches::Answers;
use crate::world::World;

/// What Koban calls.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/bank/accounts", post(open))
        .route("/bank/transfers", post(transfer))
        .route("/bank/transfers/status", post(status))
        .route("/bank/transfers/cancel", post(cancel))
        .layer(DefaultBodyLimit::max(16 << 10))
}

/// What the one at the controls does.
pub(crate) fn controls() -> Router<Arc<World>> {
    Router::new()
        .route("/control/bank", get(show))
        .route("/control/bank/deposits", post(deposit))
        .route("/control/bank/end-of-day", post(end_of_day))
        .route("/control/bank/files", post(take_files))
}

#[derive(Deserialize)]
struct OpenBody {
    request: String,
}

#[derive(Deserialize)]
struct TransferBody {
    transfer: String,
    bank: String,
    branch: String,
    account: String,
    name: String,
    amount: i64,
}

#[derive(Deserialize)]
struct QuestionBody {
    transfer: String,
}

async fn open(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let switch = world.switches().questions;
    answer(&world, &headers, &body, switch, |world, body| match serde_json::from_slice::<OpenBody>(body) {
        Ok(asked) if is_id(&asked.request) => match world.bank().open(&asked.request, world.first_account()) {
            Ok(account) => (StatusCode::OK, json!({ "result": "ok", "account": account })),
            Err(why) => busy(why),
        },
        _ => malformed(),
    })
    .await
}

async fn transfer(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let switch = world.switches().transfers;
    answer(&world, &headers, &body, switch, |world, body| {
        let Ok(asked) = serde_json::from_slice::<TransferBody>(body) else { return malformed() };
        if !is_id(&asked.transfer) {
            return malformed();
        }
        let payee = Payee { bank: asked.bank, branch: asked.branch, account: asked.account, name: asked.name };
        let now_ms = world.now_ms();
        let mut bank = world.bank();
        if switch == Answers::Twice {
            // It came twice over the wire: the book must not care.
            let _ = bank.transfer(&asked.transfer, payee.clone(), asked.amount, &key, now_ms);
        }
        said(bank.transfer(&asked.transfer, payee, asked.amount, &key, now_ms).map(Some))
    })
    .await
}

async fn status(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let switch = world.switches().questions;
    answer(&world, &headers, &body, switch, |world, body| match serde_json::from_slice::<QuestionBody>(body) {
        Ok(asked) if is_id(&asked.transfer) => said(Ok(world.bank().find(&asked.transfer))),
        _ => malformed(),
    })
    .await
}

async fn cancel(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let switch = world.switches().questions;
    answer(&world, &headers, &body, switch, |world, body| match serde_json::from_slice::<QuestionBody>(body) {
        Ok(asked) if is_id(&asked.transfer) => said(world.bank().cancel(&asked.transfer, world.now_ms()).map(Some)),
        _ => malformed(),
    })
    .await
}

fn busy(why: NoTransfer) -> (StatusCode, Value) {
    (StatusCode::SERVICE_UNAVAILABLE, json!({ "result": "busy", "reason": why.to_string() }))
}

fn said(found: Result<Option<&Transfer>, NoTransfer>) -> (StatusCode, Value) {
    let said = match found {
        Err(why) => return busy(why),
        Ok(None) => json!({ "result": "unknown" }),
        Ok(Some(known)) => match known.standing {
            TransferStanding::Done => json!({ "result": "done", "receipt": known.receipt, "amount": known.amount }),
            TransferStanding::Refused => json!({ "result": "refused", "reason": known.reason }),
            TransferStanding::Cancelled => json!({ "result": "cancelled" }),
        },
    };
    (StatusCode::OK, said)
}

async fn show(State(world): State<Arc<World>>) -> Json<Value> {
    let bank = world.bank();
    let transfers: Vec<&Transfer> = bank.transfers().collect();
    let done = transfers.iter().filter(|transfer| transfer.standing == TransferStanding::Done);
    let sum: i128 = done.map(|transfer| i128::from(transfer.amount)).sum();
    let deposits = bank.deposits();
    Json(json!({ "transfers": transfers, "deposits": deposits, "done": i64::try_from(sum).unwrap_or(i64::MAX) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DepositBody {
    account: String,
    amount: i64,
}

/// Somebody transfers to an account that was given out: Koban is told, and what it does not take goes back.
async fn deposit(State(world): State<Arc<World>>, Json(body): Json<DepositBody>) -> Response {
    let deposit = match world.bank().deposit(&body.account, body.amount, world.now_ms()) {
        Ok(deposit) => deposit,
        Err(why) => return (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()).into_response(),
    };
    match courier::received(&world, &deposit).await {
        Ok((taken, answers)) => {
            if let Some(taken) = taken {
                world.bank().answered(&deposit.reference, taken);
            }
            Json(json!({ "reference": deposit.reference, "taken": taken, "answers": answers })).into_response()
        }
        Err(CannotDo::Full) => (StatusCode::INSUFFICIENT_STORAGE, "too many errands").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()).into_response(),
    }
}

async fn end_of_day(State(world): State<Arc<World>>) -> Response {
    let file = match world.bank().close_day(world.now_ms()) {
        Ok(file) => file,
        Err(why) => return (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()).into_response(),
    };
    let shown = String::from_utf8_lossy(&file).into_owned();
    match courier::settlement(&world, &world.config.bank_plugin, file).await {
        Ok(answers) => Json(json!({ "file": shown, "answers": answers })).into_response(),
        Err(CannotDo::Full) => (StatusCode::INSUFFICIENT_STORAGE, "too many errands").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()).into_response(),
    }
}

/// The bank looks into the directory that it shares with Koban: what is new is done, and answered in a file.
async fn take_files(State(world): State<Arc<World>>) -> Response {
    let Some(directory) = world.config.bank_directory.clone() else {
        return (StatusCode::CONFLICT, "the bank shares no directory; start it with one").into_response();
    };
    let seen = {
        let now_ms = world.now_ms();
        let (mut bank, mut taken) = (world.bank(), world.taken_files());
        batches::take(&mut bank, &mut taken, &directory, now_ms)
    };
    match seen {
        Ok(files) => Json(json!({ "files": files })).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
