//! What each event does to a charge.

use koban_sdk::flow::{Credit, Event, HttpAnswer, HttpCall, Lost, Message, Refusal, Reversal, Show, Step, What};
use koban_sdk::{Context, Failure, Money, Named, Values, json, log};

use crate::begin::{NOTE_YEN, SCANS_MAX, scan_again_key, scan_form, scan_key};
use crate::messages::{self, Approval, Cash, SessionEnded};
use crate::settings::AtmSettings;
use crate::state::{Booked, Phase, Session};

/// One event, one step. A final charge never moves again, but it still answers the network and takes back what the network takes back.
pub(crate) fn resume(
    ctx: &Context,
    settings: &AtmSettings,
    session: Session,
    event: &Event,
    refused: Option<&Refusal>,
) -> Step<Session> {
    match (&event.what, event.key.as_str()) {
        (What::Message(message), _) => match message.operation.as_str() {
            "deposit" => deposit(session, event, message, refused),
            "reversal" => reversal(session, event, message, refused),
            "session-ended" => session_ended(session, message),
            other => stay(session).reply(messages::malformed(&format!("there is no operation {other}"))),
        },
        _ if session.phase.is_final() => stay(session),
        (What::Form(answers), _) => scanned(ctx, settings, session, answers),
        (What::Answer(answer), "approve") => approved(settings, session, answer),
        (What::Lost((Lost::Refused, why)), "approve") => {
            fail(session, Failure::new("approval_refused", format!("not sent: {why}")).text("approval-refused"))
        }
        (What::Lost((_, why)), "approve") => check(session, why),
        (What::Lost((_, why)), "calls") => {
            fail(session, Failure::new("session_used", format!("calls cannot be expected: {why}")).text("session-used"))
        }
        (What::Rang, "expiry") => {
            fail(session, Failure::new("session_expired", "no deposit came in time").text("session-expired"))
        }
        (What::CancelAsked, _) => turn(session, Phase::Cancelled),
        _ => stay(session),
    }
}

/// The user scanned something. A session is approved; the network's calls are expected before it can know of the approval.
fn scanned(ctx: &Context, settings: &AtmSettings, mut session: Session, answers: &[Named]) -> Step<Session> {
    if session.phase != Phase::Scanning {
        return stay(session);
    }
    let code = Values(answers).get::<String>("session").unwrap_or_default();
    let Some(scanned) = messages::scanned_session(&code) else {
        if session.scans >= SCANS_MAX {
            let failure = Failure::new("session_invalid", "no ATM session was scanned").text("session-invalid");
            return fail(session, failure);
        }
        session.scans += 1;
        let (why, key) = (scan_again_key(session.scans), scan_key(session.scans));
        return stay(session).show(&why, Show::Text("scan-again".into())).show(&key, scan_form());
    };
    let expires_at = ctx.now.saturating_add(settings.session_ms());
    let approve = json!({
        "session": scanned,
        "company_number": settings.company_number,
        "max_amount": session.max_yen,
        "expires_at": expires_at,
    });
    turn(session, Phase::Approving)
        .expect("calls", scanned)
        .http("approve", HttpCall::json("network", "approve", &approve))
        .timer("expiry", expires_at)
}

/// The network answered `approve`. Whatever is no clear answer leaves the charge checking: a deposit may still come, and only time says that none will.
fn approved(settings: &AtmSettings, session: Session, answer: &HttpAnswer) -> Step<Session> {
    if !matches!(session.phase, Phase::Approving | Phase::Checking) {
        return stay(session);
    }
    let refuse = |session, why: String| fail(session, Failure::new("approval_refused", why).text("approval-refused"));
    match answer.read::<Approval>() {
        Ok(approval) if answer.is_success() && approval.result == "ok" => turn(session, Phase::Depositing)
            .show("enter-number", Show::Text("enter-number".into()))
            .show("company-number", Show::Code(settings.company_number.clone())),
        Ok(approval) if answer.is_success() && approval.result == "refused" => {
            refuse(session, format!("the network refused: {}", approval.reason))
        }
        _ if (400..500).contains(&answer.status) => {
            refuse(session, format!("the network answered with status {}", answer.status))
        }
        Ok(approval) => check(session, &format!("status {} with result `{}`", answer.status, approval.result)),
        Err(problem) => check(session, &format!("status {} with a body that cannot be read: {problem}", answer.status)),
    }
}

/// Cash went into the ATM, which now asks whether to keep it.
fn deposit(session: Session, event: &Event, message: &Message, refused: Option<&Refusal>) -> Step<Session> {
    let deposit = match Cash::read("deposit", message.read()) {
        Ok(deposit) => deposit,
        Err(problem) => return stay(session).reply(messages::malformed(&problem)),
    };
    let reference = deposit.reference();
    if let Some(refusal) = refused {
        return deposit_refused(session, &reference, refusal);
    }
    if let Some(booked) = session.deposit.as_ref().filter(|booked| booked.reference == reference) {
        // Sent again, because our answer was lost.
        let answer = match booked {
            Booked { reversed: true, .. } => messages::refused("reversed"),
            Booked { yen, .. } if *yen != deposit.amount => messages::refused("amount_differs"),
            _ => messages::ok(),
        };
        return stay(session).reply(answer);
    }
    if session.phase.is_final() {
        // A session is good for one deposit. This one was refused, so it must stay refused: the ATM gives the notes back.
        return stay(session).tombstone(&reference).reply(messages::refused("session_closed"));
    }
    if deposit.amount % NOTE_YEN != 0 || deposit.amount > session.max_yen {
        let message =
            format!("{} yen were deposited, at most {} in notes of 1,000 are allowed", deposit.amount, session.max_yen);
        return fail(session, Failure::new("amount_not_allowed", message).text("amount-not-allowed"))
            .tombstone(&reference)
            .reply(messages::refused("amount_not_allowed"));
    }
    let credit = Credit::asked("deposit", Money::yen(deposit.amount), &reference, event);
    let booked = Booked { reference, yen: deposit.amount, reversed: false };
    turn(Session { deposit: Some(booked), ..session }, Phase::Done).credit(credit).reply(messages::ok())
}

/// The ledger would not take it: the ATM is told so and gives the notes back, hence the deposit must never be credited later.
fn deposit_refused(session: Session, reference: &str, refusal: &Refusal) -> Step<Session> {
    let answer = messages::refused(&refusal.outcome);
    let closed = if session.phase.is_final() {
        stay(session)
    } else {
        let message = format!("the ledger refused the deposit {reference}: {}", refusal.outcome);
        fail(session, Failure::new("deposit_refused", message).text("deposit-refused"))
    };
    // A reference that is already used or dead needs no tombstone, and a second refusal would make the flow stuck.
    let is_settled =
        matches!(refusal.outcome.as_str(), "reference_used" | "reference_credited" | "reference_tombstoned");
    if is_settled { closed.reply(answer) } else { closed.tombstone(reference).reply(answer) }
}

/// The ATM gave the notes back, or never learned that it might keep them.
fn reversal(mut session: Session, event: &Event, message: &Message, refused: Option<&Refusal>) -> Step<Session> {
    let reversal = match Cash::read("reversal", message.read()) {
        Ok(reversal) => reversal,
        Err(problem) => return stay(session).reply(messages::malformed(&problem)),
    };
    let reference = reversal.reference();
    if let Some(refusal) = refused {
        let message = format!("the ledger refused the reversal of {reference}: {}", refusal.outcome);
        let answer = messages::refused(&refusal.outcome);
        return stay(session).note(Failure::new("reversal_refused", message)).reply(answer);
    }
    match session.deposit.as_mut().filter(|booked| booked.reference == reference) {
        Some(booked) if booked.yen != reversal.amount => stay(session).reply(messages::refused("amount_differs")),
        Some(booked) if booked.reversed => stay(session).reply(messages::ok()),
        Some(booked) => {
            booked.reversed = true;
            let reverse = Reversal::new("deposit", booked.amount(), &reference, event);
            let note =
                Failure::new("deposit_reversed", format!("the network reversed {reference}")).text("deposit-reversed");
            stay(session).reverse(reverse).note(note).reply(messages::ok())
        }
        // Its deposit has not come. Should it come late, it is dead.
        None if session.phase.is_final() => stay(session).tombstone(&reference).reply(messages::ok()),
        None => {
            let note =
                Failure::new("deposit_reversed", format!("the network reversed {reference} before its deposit came"));
            fail(session, note.text("deposit-reversed")).tombstone(&reference).reply(messages::ok())
        }
    }
}

/// The ATM ended the session: three wrong numbers, or the user went away.
fn session_ended(session: Session, message: &Message) -> Step<Session> {
    let ended = match SessionEnded::read(message.read()) {
        Ok(ended) => ended,
        Err(problem) => return stay(session).reply(messages::malformed(&problem)),
    };
    if session.phase.is_final() {
        return stay(session).reply(messages::ok());
    }
    let note =
        Failure::new("session_ended", format!("the ATM ended the session: {}", ended.reason)).text("session-ended");
    fail(session, note).reply(messages::ok())
}

/// It is not known whether the network approved. The reason is for operators; a note would stay with the charge when it ends well.
fn check(session: Session, why: &str) -> Step<Session> {
    log::warn(&format!("approval is unclear: {why}"));
    if session.phase == Phase::Checking {
        return stay(session);
    }
    turn(session, Phase::Checking).show("checking", Show::Text("checking".into()))
}

fn fail(session: Session, why: Failure) -> Step<Session> {
    turn(session, Phase::Failed).note(why)
}

/// To the next phase, taking back what the last one showed.
fn turn(session: Session, phase: Phase) -> Step<Session> {
    let shown: Vec<String> = match session.phase {
        Phase::Scanning => (2..=session.scans).map(scan_again_key).collect(),
        Phase::Depositing => vec!["enter-number".to_owned(), "company-number".to_owned()],
        Phase::Checking => vec!["checking".to_owned()],
        Phase::Approving | Phase::Done | Phase::Failed | Phase::Cancelled => Vec::new(),
    };
    let step = stay(Session { phase, ..session });
    shown.iter().fold(step, |step, key| step.cancel(&format!("{key}-gone"), key))
}

fn stay(session: Session) -> Step<Session> {
    let standing = session.phase.standing();
    Step::new(session, standing)
}
