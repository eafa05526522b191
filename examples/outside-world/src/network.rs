//! The network's side that Koban calls: `approve`, signed both ways, answered once per session however often it is asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::book::Approval;
use crate::serve::HangUp;
use crate::switches::{Answers, SLOW_MS_MAX};
use crate::world::World;

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/atm/approve", post(approve)).layer(DefaultBodyLimit::max(16 << 10))
}

#[derive(Deserialize)]
struct ApproveBody {
    session: String,
    company_number: String,
    max_amount: i64,
    /// Milliseconds since 1970.
    expires_at: i64,
}

async fn approve(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let id = match world.signer.check(&headers, &body, world.now_ms()) {
        Ok(id) => id,
        // Not signed: whoever this is shall not get anything of ours signed.
        Err(why) => return (StatusCode::UNAUTHORIZED, why.to_string()).into_response(),
    };
    let switches = *world.switches();
    match switches.answers {
        Answers::Error => return (StatusCode::INTERNAL_SERVER_ERROR, "as the switches are set").into_response(),
        Answers::Silent => {
            // Ends when Koban hangs up, which drops this future.
            tokio::time::sleep(Duration::from_millis(SLOW_MS_MAX)).await;
            return HangUp.into_response();
        }
        Answers::Normal | Answers::Slow | Answers::Lost | Answers::Twice => {}
    }
    let (status, answer) = decide(&world, &body);
    tracing::info!(%answer, "Koban asked for approval");
    match switches.answers {
        Answers::Lost => return HangUp.into_response(),
        Answers::Slow => tokio::time::sleep(Duration::from_millis(switches.slow_ms)).await,
        Answers::Normal | Answers::Twice | Answers::Error | Answers::Silent => {}
    }
    signed(&world, &id, status, &answer)
}

fn decide(world: &World, body: &[u8]) -> (StatusCode, Value) {
    let Ok(asked) = serde_json::from_slice::<ApproveBody>(body) else {
        return (StatusCode::BAD_REQUEST, json!({ "result": "refused", "reason": "malformed" }));
    };
    let plain = !asked.company_number.is_empty() && asked.company_number.bytes().all(|b| b.is_ascii_digit());
    if !plain || asked.company_number.len() > 8 || asked.max_amount < 1 {
        return (StatusCode::BAD_REQUEST, json!({ "result": "refused", "reason": "malformed" }));
    }
    let ApproveBody { session, company_number, max_amount, expires_at } = asked;
    let approval = Approval { company_number, max_amount, expires_at };
    match world.book().approve(&session, approval, world.now_ms()) {
        Ok(()) => (StatusCode::OK, json!({ "result": "ok" })),
        Err(reason) => (StatusCode::OK, json!({ "result": "refused", "reason": reason })),
    }
}

/// An answer with the id of what it answers.
pub(crate) fn signed(world: &World, id: &str, status: StatusCode, answer: &Value) -> Response {
    let body = answer.to_string().into_bytes();
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in world.signer.sign(id, &body, world.now_ms()) {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
