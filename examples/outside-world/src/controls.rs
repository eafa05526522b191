//! The controls: what a user does at the ATM, and how the network shall misbehave. Unsigned, and only from this machine.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::book::{CannotDo, Deposit, DepositStanding, Keyed, Reference, Session};
use crate::budget;
use crate::collector;
use crate::courier::{self, Report};
use crate::koban::KobanBase;
use crate::serve::Caller;
use crate::switches::{Switches, SwitchesChange};
use crate::teller;
use crate::world::{World, random_name};

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/control/sessions", post(session_open))
        .route("/control/sessions/{session}", get(session_show))
        .route("/control/sessions/{session}/keypad", post(session_keypad))
        .route("/control/sessions/{session}/deposit", post(session_deposit))
        .route("/control/sessions/{session}/end", post(session_end))
        .route("/control/deposits/{atm_id}/{business_date}/{serial}/send", post(deposit_send))
        .route("/control/deposits/{atm_id}/{business_date}/{serial}/reversal", post(deposit_reversal))
        .route("/control/switches", get(switches_show).post(switches_set))
        .route("/control/koban", post(koban_move))
        .route("/control/end-of-day", post(end_of_day))
        .route("/control/book", get(book_show))
        .merge(collector::controls())
        .merge(teller::controls())
        .merge(budget::controls())
        .layer(from_fn(only_from_here))
        .layer(DefaultBodyLimit::max(16 << 10))
}

/// Whoever moves money by a click must sit at this machine, and not be a page in its browser.
async fn only_from_here(request: Request, next: Next) -> Response {
    let here = request.extensions().get::<Caller>().is_some_and(|caller| caller.0.ip().is_loopback());
    if !here || request.headers().contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "the controls are for programs on this machine").into_response();
    }
    next.run(request).await
}

async fn session_open(State(world): State<Arc<World>>) -> Result<(StatusCode, Json<Value>), Problem> {
    let session = random_name(8);
    world.book().open_session(session.clone())?;
    let qr = format!("KOBAN-ATM:{session}");
    Ok((StatusCode::CREATED, Json(json!({ "session": session, "qr": qr }))))
}

async fn session_show(State(world): State<Arc<World>>, Path(session): Path<String>) -> Result<Json<Session>, Problem> {
    Ok(Json(world.book().session(&session)?.clone()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeypadBody {
    company_number: String,
}

async fn session_keypad(
    State(world): State<Arc<World>>,
    Path(session): Path<String>,
    Json(body): Json<KeypadBody>,
) -> Result<Json<Value>, Problem> {
    let (keyed, ended_now) = world.book().type_number(&session, &body.company_number, world.now_ms())?;
    let mut shown = json!(keyed);
    if let (Keyed::Ended { reason }, true) = (&keyed, ended_now) {
        shown["answers"] = json!(courier::session_ended(&world, &session, reason).await?);
    }
    Ok(Json(shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DepositBody {
    /// In yen.
    amount: i64,
    /// The ATM does not look at the session.
    #[serde(default)]
    anyway: bool,
    /// Only count the cash; it is sent by `…/send`.
    #[serde(default)]
    later: bool,
}

async fn session_deposit(
    State(world): State<Arc<World>>,
    Path(session): Path<String>,
    Json(body): Json<DepositBody>,
) -> Result<Response, Problem> {
    let reference = world.book().count_cash(&session, body.amount, body.anyway, world.now_ms())?;
    if body.later {
        let shown = json!({ "reference": reference, "standing": DepositStanding::Prepared, "atm": "holds-cash" });
        return Ok((StatusCode::CREATED, Json(shown)).into_response());
    }
    Ok(Json(courier::deposit(&world, reference).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndBody {
    reason: String,
}

async fn session_end(
    State(world): State<Arc<World>>,
    Path(session): Path<String>,
    Json(body): Json<EndBody>,
) -> Result<Json<Value>, Problem> {
    let ended_now = world.book().end_session(&session, &body.reason)?;
    let answers = if ended_now { courier::session_ended(&world, &session, &body.reason).await? } else { Vec::new() };
    Ok(Json(json!({ "ended": ended_now, "answers": answers })))
}

type ReferencePath = Path<(String, String, String)>;

fn reference(Path((atm_id, business_date, serial)): ReferencePath) -> Reference {
    Reference { atm_id, business_date, serial }
}

async fn deposit_send(State(world): State<Arc<World>>, path: ReferencePath) -> Result<Json<Report>, Problem> {
    Ok(Json(courier::deposit(&world, reference(path)).await?))
}

async fn deposit_reversal(State(world): State<Arc<World>>, path: ReferencePath) -> Result<Json<Report>, Problem> {
    Ok(Json(courier::reversal(&world, reference(path)).await?))
}

async fn switches_show(State(world): State<Arc<World>>) -> Json<Switches> {
    Json(*world.switches())
}

async fn switches_set(State(world): State<Arc<World>>, Json(change): Json<SwitchesChange>) -> Json<Switches> {
    let mut switches = world.switches();
    switches.set(change);
    Json(*switches)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KobanBody {
    base: String,
}

async fn koban_move(State(world): State<Arc<World>>, Json(body): Json<KobanBody>) -> Response {
    match KobanBase::parse(&body.base) {
        Some(koban) => {
            world.move_koban(koban);
            StatusCode::NO_CONTENT.into_response()
        }
        None => (StatusCode::BAD_REQUEST, "write the base as http://host:port").into_response(),
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndOfDayBody {
    business_date: Option<String>,
}

async fn end_of_day(State(world): State<Arc<World>>, body: Option<Json<EndOfDayBody>>) -> Result<Json<Value>, Problem> {
    let asked = body.map(|Json(body)| body).unwrap_or_default();
    let (day, file) = world.book().close_day(asked.business_date.as_deref(), world.now_ms())?;
    let shown = String::from_utf8_lossy(&file).into_owned();
    let answers = courier::settlement(&world, &world.config.plugin, file).await?;
    Ok(Json(json!({ "business_date": day.to_string(), "file": shown, "answers": answers })))
}

async fn book_show(State(world): State<Arc<World>>) -> Json<Value> {
    let book = world.book();
    let deposits: Vec<&Deposit> = book.deposits().collect();
    let booked = |deposit: &&&Deposit| deposit.standing == DepositStanding::Booked;
    let cash: i128 = deposits.iter().filter(booked).map(|deposit| i128::from(deposit.amount)).sum();
    let cash = i64::try_from(cash).unwrap_or(i64::MAX);
    Json(json!({ "deposits": deposits, "cash_in_the_atm": cash, "on_their_way": world.errands() }))
}

/// What cannot be done, in one place as HTTP.
struct Problem(CannotDo);

impl From<CannotDo> for Problem {
    fn from(cannot: CannotDo) -> Self {
        Problem(cannot)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            CannotDo::UnknownSession(_) => (StatusCode::NOT_FOUND, "unknown_session"),
            CannotDo::UnknownDeposit(_) => (StatusCode::NOT_FOUND, "unknown_deposit"),
            CannotDo::NotReady(_) => (StatusCode::CONFLICT, "not_ready"),
            CannotDo::Amount => (StatusCode::UNPROCESSABLE_ENTITY, "amount"),
            CannotDo::Day(_) => (StatusCode::UNPROCESSABLE_ENTITY, "business_date"),
            CannotDo::Sum => (StatusCode::UNPROCESSABLE_ENTITY, "sum"),
            CannotDo::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            CannotDo::Full => (StatusCode::INSUFFICIENT_STORAGE, "full"),
        };
        (status, Json(json!({ "error": code, "message": self.0.to_string() }))).into_response()
    }
}
