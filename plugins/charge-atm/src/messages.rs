//! The network's messages: their bodies, our answers, and which flow each concerns.

use koban_sdk::flow::{Call, HttpAnswer, Routing};
use koban_sdk::json;
use koban_sdk::serde::Deserialize;

/// `deposit` and `reversal`: the same fields, so that `operation` alone tells one from the other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) struct Cash {
    operation: String,
    pub(crate) session: String,
    atm_id: String,
    business_date: String,
    serial: String,
    /// Whole yen.
    pub(crate) amount: i64,
}

impl Cash {
    /// The body of a `deposit` or `reversal`, which says the operation that was called, with all parts of its reference plain.
    /// Errors: what to tell the network.
    pub(crate) fn read(called: &str, body: Result<Cash, String>) -> Result<Cash, String> {
        let cash = body?;
        check_called(called, &cash.operation)?;
        let parts = [("atm_id", &cash.atm_id), ("business_date", &cash.business_date), ("serial", &cash.serial)];
        // A `/` in a part would let two different transactions have one reference.
        if let Some((name, _)) = parts.into_iter().find(|(_, part)| !is_plain(part, 32)) {
            return Err(format!("{name} must be 1 to 32 letters, digits or hyphens"));
        }
        if !is_session(&cash.session) {
            return Err("session must be 1 to 64 letters, digits, hyphens or underscores".to_owned());
        }
        if cash.amount <= 0 {
            return Err("amount must be positive".to_owned());
        }
        Ok(cash)
    }

    /// The network's own id of the transaction; the end-of-day file calls it `channel_txn_id`.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}/{}", self.atm_id, self.business_date, self.serial)
    }
}

/// `session-ended`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) struct SessionEnded {
    operation: String,
    pub(crate) session: String,
    #[serde(default)]
    pub(crate) reason: String,
}

impl SessionEnded {
    /// The body of a `session-ended`. Errors: what to tell the network.
    pub(crate) fn read(body: Result<SessionEnded, String>) -> Result<SessionEnded, String> {
        let ended = body?;
        check_called("session-ended", &ended.operation)?;
        if !is_session(&ended.session) {
            return Err("session must be 1 to 64 letters, digits, hyphens or underscores".to_owned());
        }
        Ok(ended)
    }
}

/// The network's answer to `approve`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(crate = "koban_sdk::serde")]
pub(crate) struct Approval {
    pub(crate) result: String,
    #[serde(default)]
    pub(crate) reason: String,
}

/// What a scanned code says, if it is an ATM's: `KOBAN-ATM:<session>`, or the session alone where somebody typed it.
pub(crate) fn scanned_session(code: &str) -> Option<&str> {
    let code = code.trim();
    let session = code.strip_prefix("KOBAN-ATM:").unwrap_or(code);
    is_session(session).then_some(session)
}

/// Sends each message to the flow of its session. What no flow ever expected is answered as the network can bear: a deposit is refused, so that the ATM
/// gives the notes back; a reversal is in order, and its deposit is dead should it still come.
pub(crate) fn route(call: &Call) -> Routing {
    match call.operation.as_str() {
        "deposit" => match Cash::read("deposit", call.read()) {
            Ok(deposit) => Routing::deliver(&deposit.session, refused("unknown_session")),
            Err(problem) => Routing::Answer(malformed(&problem)),
        },
        "reversal" => match Cash::read("reversal", call.read()) {
            Ok(reversal) => Routing::deliver_or_kill(&reversal.session, ok(), &reversal.reference()),
            Err(problem) => Routing::Answer(malformed(&problem)),
        },
        "session-ended" => match SessionEnded::read(call.read()) {
            Ok(ended) => Routing::deliver(&ended.session, ok()),
            Err(problem) => Routing::Answer(malformed(&problem)),
        },
        other => Routing::Answer(malformed(&format!("there is no operation {other}"))),
    }
}

/// Taken.
pub(crate) fn ok() -> HttpAnswer {
    HttpAnswer::json(200, &json!({"result": "ok"}))
}

/// Read and refused: the ATM gives the notes back.
pub(crate) fn refused(reason: &str) -> HttpAnswer {
    HttpAnswer::json(200, &json!({"result": "refused", "reason": reason}))
}

/// Not to be read: nothing was done.
pub(crate) fn malformed(problem: &str) -> HttpAnswer {
    HttpAnswer::json(400, &json!({"result": "malformed", "reason": problem}))
}

/// The signature covers the body and not the path: a deposit posted to `reversal` would carry a good one.
fn check_called(called: &str, signed: &str) -> Result<(), String> {
    if called == signed {
        return Ok(());
    }
    Err(format!("operation is `{signed}` in the signed body, and `{called}` was called"))
}

fn is_session(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
