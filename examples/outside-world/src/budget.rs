//! A budgeting app with an OAuth server of its own: users agree at its page, and Koban sends it rows, each of which it keeps once by its id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::serve::HangUp;
use crate::switches::{Answers, SLOW_MS_MAX};
use crate::world::{World, random_name};

/// The client that Koban is here.
pub const CLIENT: &str = "koban";
/// How long a token lasts, seconds.
const TOKEN_S: u32 = 3_600;
/// Most rows that the app keeps; this is a toy.
const ROWS_MAX: usize = 100_000;

/// What the app knows.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// Codes that were given out, with the challenge that came along.
    codes: BTreeMap<String, String>,
    /// Tokens that hold: access and refresh.
    access: BTreeSet<String>,
    refresh: BTreeSet<String>,
    /// Tokens that were given up.
    revoked: Vec<String>,
    rows: BTreeMap<String, Value>,
    /// Calls that brought rows, by their idempotency key.
    calls: Vec<String>,
    /// Rows that came again, and rows that came again with another content.
    again: u64,
    changed: u64,
    /// The app knows its account no more.
    gone: bool,
}

/// What Koban and its users call.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/app/agree", get(agree))
        .route("/app/oauth/token", post(token))
        .route("/app/oauth/revoke", post(revoke))
        .route("/app/api/account", get(account))
        .route("/app/api/transactions", post(transactions))
        .layer(DefaultBodyLimit::max(256 << 10))
}

/// What the one at the controls does.
pub(crate) fn controls() -> Router<Arc<World>> {
    Router::new().route("/control/app", get(show)).route("/control/app/forget", post(forget))
}

/// The page where users agree: this app's users always do.
async fn agree(State(world): State<Arc<World>>, uri: Uri) -> Response {
    let asked = fields(uri.query().unwrap_or_default());
    let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let fits =
        field("response_type") == "code" && field("client_id") == CLIENT && field("code_challenge_method") == "S256";
    if !fits || field("redirect_uri").is_empty() {
        return (StatusCode::BAD_REQUEST, "this is no question of a client that the app knows").into_response();
    }
    let code = random_name(16);
    world.budget().codes.insert(code.clone(), field("code_challenge"));
    let back = format!("{}?code={code}&state={}", field("redirect_uri"), field("state"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, back)]).into_response()
}

async fn token(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let asked = fields(&String::from_utf8_lossy(&body));
    let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let mut budget = world.budget();
    let holds = match field("grant_type").as_str() {
        "authorization_code" => {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier").as_bytes()));
            budget.codes.remove(&field("code")).is_some_and(|known| known == challenge)
        }
        "refresh_token" => budget.refresh.remove(&field("refresh_token")),
        _ => false,
    };
    if !holds {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    }
    let (access, refresh) = (random_name(16), random_name(16));
    budget.access.insert(access.clone());
    budget.refresh.insert(refresh.clone());
    let said =
        json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": TOKEN_S });
    Json(said).into_response()
}

/// A token is given up: with it goes whatever the app gave this client (RFC 7009).
async fn revoke(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let asked = fields(&String::from_utf8_lossy(&body));
    let token = asked.get("token").cloned().unwrap_or_default();
    let mut budget = world.budget();
    if budget.refresh.remove(&token) | budget.access.remove(&token) {
        budget.access.clear();
        budget.refresh.clear();
        budget.revoked.push(token);
    }
    StatusCode::OK.into_response()
}

fn may(world: &World, headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    shown.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| world.budget().access.contains(token))
}

async fn account(State(world): State<Arc<World>>, headers: HeaderMap) -> Response {
    if !may(&world, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({ "id": "acc-0042", "name": "Household book *0042" })).into_response()
}

#[derive(Deserialize)]
struct RowsBody {
    rows: Vec<Value>,
}

async fn transactions(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    if !may(&world, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let switch = world.switches().rows;
    match switch {
        // A failure would leave it unknown what the app did; this is a word.
        Answers::Error => return StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Answers::Silent => {
            tokio::time::sleep(Duration::from_millis(SLOW_MS_MAX)).await;
            return HangUp.into_response();
        }
        Answers::Normal | Answers::Slow | Answers::Lost | Answers::Twice => {}
    }
    let Ok(brought) = serde_json::from_slice::<RowsBody>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    {
        let mut budget = world.budget();
        if budget.gone {
            return StatusCode::GONE.into_response();
        }
        if budget.rows.len() + brought.rows.len() > ROWS_MAX {
            return StatusCode::INSUFFICIENT_STORAGE.into_response();
        }
        budget.calls.push(key);
        for row in brought.rows {
            budget.keep(row);
        }
    }
    match switch {
        Answers::Lost => return HangUp.into_response(),
        Answers::Slow => {
            let slow_ms = world.switches().slow_ms;
            tokio::time::sleep(Duration::from_millis(slow_ms)).await;
        }
        Answers::Normal | Answers::Twice | Answers::Error | Answers::Silent => {}
    }
    (StatusCode::ACCEPTED, Json(json!({ "result": "ok" }))).into_response()
}

impl Budget {
    /// A row is kept once, whatever comes again.
    fn keep(&mut self, row: Value) {
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        match self.rows.get(&id) {
            Some(known) if *known == row => self.again += 1,
            Some(_) => self.changed += 1,
            None => drop(self.rows.insert(id, row)),
        }
    }
}

async fn show(State(world): State<Arc<World>>) -> Json<Value> {
    let budget = world.budget();
    let rows: Vec<&Value> = budget.rows.values().collect();
    Json(json!({
        "rows": rows, "calls": budget.calls, "again": budget.again, "changed": budget.changed,
        "tokens": budget.access.len(), "revoked": budget.revoked.len(),
    }))
}

/// The user deletes the account in the app.
async fn forget(State(world): State<Arc<World>>) -> Json<Value> {
    world.budget().gone = true;
    Json(json!({ "result": "ok" }))
}

/// The fields of a query or a form.
fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// `%41+b` is `A b`; what is no encoding stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        (bytes, rest) = match byte {
            Some(byte) => ([bytes, vec![byte]].concat(), &behind[2..]),
            None => ([bytes, vec![if *first == b'+' { b' ' } else { *first }]].concat(), behind),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let read = fields("a=b%2Fc&d=e+f&g=%zz");
        let expected = [("a", "b/c"), ("d", "e f"), ("g", "%zz")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_row_is_kept_once() {
        let mut budget = Budget::default();
        for amount in [1, 1, 2] {
            budget.keep(json!({ "id": "ent_1", "amount": amount }));
        }
        assert_eq!((budget.rows.len(), budget.again, budget.changed), (1, 1, 1));
    }
}
