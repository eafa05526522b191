//! The rules of an ATM charge, a sentence each, over the SDK's pretend host (which checks the host's own rules after every step).

use koban_sdk::flow::{Act, HttpAnswer, Lost, Request, Show, Standing};
use koban_sdk::pretend::{self, Taken};
use koban_sdk::{Json, Money, Named, json};

use crate::ChargeAtm;

mod deposits;
mod reversals;
mod routing;
mod sessions;
mod settlement;

type Flow = pretend::Flow<ChargeAtm>;

/// 2026-04-01 12:00 in Japan.
const NOON: u64 = 1_775_012_400_000;

fn settings() -> Vec<Named> {
    vec![
        Named::new("company_number", "4321"),
        Named::new("max_prepaid", Money::yen(100_000)),
        Named::new("max_funds", Money::yen(500_000)),
        Named::new("session_minutes", 5),
    ]
}

fn request(yen: i64) -> Request {
    pretend::request(Money::yen(yen), &[Named::new("account.kind", "prepaid")])
}

/// A charge of at most 30,000 yen whose session was scanned: the network is being asked.
fn scanned() -> Flow {
    let (mut flow, _) = Flow::begin(NOON, &settings(), &request(30_000)).unwrap();
    flow.form("scan", &[("session", "KOBAN-ATM:s-1".into())]).unwrap();
    flow
}

/// A charge that the network approved: the user puts in the notes.
fn approved() -> Flow {
    let mut flow = scanned();
    flow.answer("approve", 200, &json!({"result": "ok"})).unwrap();
    flow
}

/// A charge of 10,000 yen that went well.
fn done() -> Flow {
    let mut flow = approved();
    call(&mut flow, "deposit", &cash("7", 10_000));
    assert_eq!(flow.credited_minor(), 10_000);
    flow
}

/// The body of a deposit or reversal with this serial.
fn cash(serial: &str, yen: i64) -> Json {
    json!({"session": "s-1", "atm_id": "A-17", "business_date": "2026-04-01", "serial": serial, "amount": yen})
}

/// The network calls, and its body says which operation it means.
#[track_caller]
fn call(flow: &mut Flow, operation: &str, body: &Json) -> Taken {
    flow.partner_calls(operation, &meant(operation, body)).unwrap()
}

/// The body as it is signed for this operation.
fn meant(operation: &str, body: &Json) -> Json {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("operation".to_owned(), operation.into());
    }
    body
}

#[track_caller]
fn says(taken: &Taken, reply: Json, standing: Standing) {
    assert_eq!(taken.reply_json(), (200, reply));
    assert_eq!(taken.standing, standing);
}

fn ok() -> Json {
    json!({"result": "ok"})
}

fn refused(reason: &str) -> Json {
    json!({"result": "refused", "reason": reason})
}

fn body(answer: &HttpAnswer) -> Json {
    answer.read().unwrap()
}
