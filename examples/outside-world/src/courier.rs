//! Carrying messages to Koban: a few tries while somebody waits, then again and again until there is an answer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::bank::Deposit;
use crate::book::{CannotDo, Decided, DepositStanding, Reference};
use crate::koban::{self, Heard, Message};
use crate::switches::{Answers, Ours};
use crate::world::{World, random_name};

/// What came of a deposit or a reversal, as the one at the controls sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) reference: String,
    pub(crate) standing: DepositStanding,
    /// What the ATM did with the cash.
    pub(crate) atm: Atm,
    pub(crate) reason: Option<String>,
    /// Everything that was heard, in order.
    pub(crate) answers: Vec<HeardLine>,
}

/// What the ATM did with the cash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Atm {
    AcceptedCash,
    GaveCashBack,
    HoldsCash,
}

/// One attempt, as shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeardLine {
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nothing: Option<String>,
}

/// Sends a deposit and sees it through: booked, refused, or reversed. Goes on if nobody waits for the report any more.
pub(crate) async fn deposit(world: &Arc<World>, reference: Reference) -> Result<Report, CannotDo> {
    world.book().deposit(&reference)?;
    run(world, move |world| async move { deposit_through(&world, &reference).await }).await
}

/// Reverses a deposit: a few tries now, the rest in the background.
pub(crate) async fn reversal(world: &Arc<World>, reference: Reference) -> Result<Report, CannotDo> {
    world.book().deposit(&reference)?;
    run(world, move |world| async move {
        let mut answers = Vec::new();
        reverse(&world, &reference, &mut answers).await?;
        report(&world, &reference, answers)
    })
    .await
}

/// Tells Koban that a session ended: a few tries now, the rest in the background.
pub(crate) async fn session_ended(world: &Arc<World>, session: &str, reason: &str) -> Result<Vec<HeardLine>, CannotDo> {
    let body = json!({ "operation": "session-ended", "session": session, "reason": reason });
    let message = json_message(world, "session-ended", &body);
    run(world, move |world| async move {
        let mut answers = Vec::new();
        if let Heard::Nothing(_) = try_often(&world, &message, world.config.patience.attempts, &mut answers).await {
            let later = world.clone();
            world.errand(async move {
                let _ = try_often(&later, &message, later.config.patience.attempts_max, &mut Vec::new()).await;
            });
        }
        Ok(answers)
    })
    .await
}

/// Tells Koban of a transfer that came to an account: whether it takes it, if it was heard.
pub(crate) async fn received(
    world: &Arc<World>,
    deposit: &Deposit,
) -> Result<(Option<bool>, Vec<HeardLine>), CannotDo> {
    let Deposit { reference, account, amount, .. } = deposit;
    let body = json!({ "operation": "received", "account": account, "reference": reference, "amount": amount });
    let message = Message {
        plugin: world.config.bank_plugin.clone(),
        id: format!("msg_received_{reference}"),
        ..json_message(world, "received", &body)
    };
    run(world, move |world| async move {
        let mut answers = Vec::new();
        let heard = try_often(&world, &message, world.config.patience.attempts, &mut answers).await;
        let taken = match decision(&heard) {
            Decided::Ok => Some(true),
            Decided::Refused(_) => Some(false),
            Decided::Nothing => None,
        };
        Ok((taken, answers))
    })
    .await
}

/// Posts a settlement file to this plugin. Each posting is a message of its own; its tries are the same message.
pub(crate) async fn settlement(world: &Arc<World>, plugin: &str, file: Vec<u8>) -> Result<Vec<HeardLine>, CannotDo> {
    let message = Message {
        plugin: plugin.to_owned(),
        id: message_id(),
        operation: "settlement",
        content_type: "text/csv; charset=utf-8",
        body: file,
    };
    run(world, move |world| async move {
        let mut answers = Vec::new();
        let _ = try_often(&world, &message, world.config.patience.attempts, &mut answers).await;
        Ok(answers)
    })
    .await
}

async fn deposit_through(world: &Arc<World>, reference: &Reference) -> Result<Report, CannotDo> {
    let message = message_about("deposit", world, reference)?;
    let attempts = world.config.patience.attempts;
    let ours = world.switches().ours;
    let mut answers = Vec::new();

    world.book().sending(reference);
    let mut heard = try_often(world, &message, attempts, &mut answers).await;
    match ours {
        Ours::Normal => {}
        Ours::Repeat => heard = try_often(world, &message, attempts, &mut answers).await,
        Ours::Reverse => heard = Heard::Nothing("as the switches are set, Koban's answer did not arrive".to_owned()),
    }
    let decided = decision(&heard);
    let standing = world.book().decided(reference, &decided);
    if decided == Decided::Nothing && standing == Some(DepositStanding::Unknown) {
        reverse(world, reference, &mut answers).await?;
    }
    report(world, reference, answers)
}

async fn reverse(world: &Arc<World>, reference: &Reference, answers: &mut Vec<HeardLine>) -> Result<(), CannotDo> {
    let message = message_about("reversal", world, reference)?;
    world.book().reversing(reference);
    let heard = try_often(world, &message, world.config.patience.attempts, answers).await;
    if !reversal_ended(world, reference, &heard) {
        let (later, reference_later) = (world.clone(), reference.clone());
        let taken = world.errand(async move {
            let attempts = later.config.patience.attempts_max;
            let heard = try_often(&later, &message, attempts, &mut Vec::new()).await;
            if !reversal_ended(&later, &reference_later, &heard) {
                later.book().note(&reference_later, "nobody answered the reversal; telephone Koban".to_owned());
            }
        });
        if !taken {
            world.book().note(reference, "too many reversals are waiting; send this one again".to_owned());
        }
    }
    Ok(())
}

/// Writes down what was heard of a reversal; `false` if it was nothing.
fn reversal_ended(world: &World, reference: &Reference, heard: &Heard) -> bool {
    let now_ms = world.now_ms();
    match decision(heard) {
        Decided::Ok => world.book().reversed(reference, now_ms),
        // Koban must never refuse one. The cash is gone from the ATM: somebody has to look.
        Decided::Refused(reason) => world.book().note(reference, format!("the reversal was refused: {reason}")),
        Decided::Nothing => return false,
    }
    true
}

fn report(world: &World, reference: &Reference, answers: Vec<HeardLine>) -> Result<Report, CannotDo> {
    let book = world.book();
    let deposit = book.deposit(reference)?;
    let atm = match deposit.standing {
        DepositStanding::Prepared => Atm::HoldsCash,
        DepositStanding::Booked => Atm::AcceptedCash,
        DepositStanding::Unknown | DepositStanding::Refused | DepositStanding::Reversed => Atm::GaveCashBack,
    };
    let (standing, reason) = (deposit.standing, deposit.reason.clone());
    Ok(Report { reference: reference.to_string(), standing, atm, reason, answers })
}

/// What an answer says about a deposit or a reversal. An answer in words that we do not know decides nothing.
fn decision(heard: &Heard) -> Decided {
    let Heard::Answer { status, body } = heard else { return Decided::Nothing };
    let word = |name: &str| body.get(name).and_then(Value::as_str);
    match (*status, word("result")) {
        (200..=299, Some("ok")) => Decided::Ok,
        (200..=299, Some("refused")) => Decided::Refused(word("reason").unwrap_or("no reason given").to_owned()),
        (400..=499, _) => {
            let reason = word("reason").or_else(|| word("code")).unwrap_or("not understood");
            Decided::Refused(format!("{status} {reason}"))
        }
        _ => Decided::Nothing,
    }
}

/// Tries until something is heard, with pauses that double.
async fn try_often(world: &World, message: &Message, attempts: u32, answers: &mut Vec<HeardLine>) -> Heard {
    let patience = world.config.patience;
    let mut pause = patience.pause;
    let mut heard = Heard::Nothing("nothing was tried".to_owned());
    for attempt in 0..attempts {
        if attempt > 0 {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(patience.pause_max);
        }
        heard = try_once(world, message, patience.answer, answers).await;
        if let Heard::Answer { .. } = heard {
            break;
        }
        // Errands that go on for long do not collect what was not said.
        answers.truncate(64);
    }
    heard
}

async fn try_once(world: &World, message: &Message, patience: Duration, answers: &mut Vec<HeardLine>) -> Heard {
    let base = world.koban();
    let call = || koban::call(&base, &world.signer, &world.config.clock, patience, message);
    let twice = world.switches().answers == Answers::Twice;
    let heard = if twice {
        let (first, second) = tokio::join!(call(), call());
        answers.push(line(message, &first));
        answers.push(line(message, &second));
        if matches!(first, Heard::Answer { .. }) { first } else { second }
    } else {
        let heard = call().await;
        answers.push(line(message, &heard));
        heard
    };
    tracing::info!(operation = message.operation, id = %message.id, ?heard, "told Koban");
    heard
}

fn line(message: &Message, heard: &Heard) -> HeardLine {
    let operation = message.operation;
    match heard {
        Heard::Answer { status, body } => {
            HeardLine { operation, status: Some(*status), body: Some(body.clone()), nothing: None }
        }
        Heard::Nothing(why) => HeardLine { operation, status: None, body: None, nothing: Some(why.clone()) },
    }
}

/// The same deposit has the same id for each of its two messages, however often they are sent: it is made from the reference.
fn message_about(operation: &'static str, world: &World, reference: &Reference) -> Result<Message, CannotDo> {
    let book = world.book();
    let deposit = book.deposit(reference)?;
    let Reference { atm_id, business_date, serial } = reference;
    let body = json!({
        // The signature covers the body alone: without this a deposit could be posted as a reversal on its way.
        "operation": operation,
        "session": deposit.session,
        "atm_id": atm_id,
        "business_date": business_date,
        "serial": serial,
        "amount": deposit.amount,
    });
    let id = format!("msg_{operation}_{atm_id}_{business_date}_{serial}");
    Ok(Message { id, ..json_message(world, operation, &body) })
}

fn json_message(world: &World, operation: &'static str, body: &Value) -> Message {
    Message {
        plugin: world.config.plugin.clone(),
        id: message_id(),
        operation,
        content_type: "application/json",
        body: body.to_string().into_bytes(),
    }
}

fn message_id() -> String {
    format!("msg_{}", random_name(16))
}

/// Runs an errand of its own and waits for its report: the network goes on although the one at the controls hangs up.
async fn run<F, R, T>(world: &Arc<World>, errand: F) -> Result<T, CannotDo>
where
    F: FnOnce(Arc<World>) -> R + Send + 'static,
    R: Future<Output = Result<T, CannotDo>> + Send,
    T: Send + 'static,
{
    let (done, report) = oneshot::channel();
    let own = world.clone();
    let taken = world.errand(async move {
        let _ = done.send(errand(own).await);
    });
    if !taken {
        return Err(CannotDo::Full);
    }
    // The other end is dropped only when the whole world stops.
    report.await.unwrap_or(Err(CannotDo::Stopping))
}
