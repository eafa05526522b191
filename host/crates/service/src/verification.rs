//! Verification: what a user submits, sealed, and who decides on it.

use std::pin::Pin;

use koban_domain::ids::{SubmissionId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::time::Timestamp;
use koban_domain::verification::{Submission, Unverify};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::plugins::check_reason;
use crate::sealing::{SealError, Sealed, about_verification};
use crate::users::{self, audit};

/// What a user says of themselves. Personal: it is sealed before it is stored and never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Particulars {
    /// The name in full.
    pub name: String,
    /// The day of birth, `YYYY-MM-DD`.
    pub birth_date: String,
    /// Where they live.
    pub address: String,
    /// What they use the account for.
    pub purpose: String,
    /// What they do for a living.
    pub occupation: String,
}

impl std::fmt::Debug for Particulars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Particulars { .. }")
    }
}

/// What somebody found who checked a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The user is who they say.
    Verified,
    /// It is not enough.
    Rejected {
        /// Why, for operators.
        reason: String,
    },
    /// An operator has to look.
    Waits,
}

/// The answer of a [`Check`], in its own time.
pub type Found<'a> = Pin<Box<dyn Future<Output = Finding> + Send + 'a>>;

/// Who checks submissions: the port behind which a service for electronic identity checks may stand.
pub trait Check: Send + Sync {
    /// Checks what a user submitted. It is told once, after the submission was taken; what it does not decide waits for an operator.
    fn check<'a>(&'a self, user: UserId, particulars: &'a Particulars) -> Found<'a>;
}

/// Nobody but operators decides.
#[derive(Debug, Clone, Copy)]
pub struct ByOperators;

impl Check for ByOperators {
    fn check<'a>(&'a self, _: UserId, _: &'a Particulars) -> Found<'a> {
        Box::pin(std::future::ready(Finding::Waits))
    }
}

/// Takes what a user submits. The books keep it sealed.
pub async fn submit(app: &App, ctx: &Ctx, input: Particulars) -> Result<Answered<Answer>, Error> {
    let user = ctx.user()?;
    check(&input, app.clock.now())?;
    let plain =
        zeroize::Zeroizing::new(serde_json::to_vec(&input).map_err(|error| Error::Internal(error.to_string()))?);
    let sealed = app.sealer.seal(&about_verification(user), &plain).map_err(seal_error)?;
    let id = SubmissionId(app.clock.id());
    let submission = Submission { id, user, key_id: sealed.key_id, sealed: sealed.bytes, at: app.clock.now() };
    let answered =
        operations::act(app, ctx, ("POST /v1/me/verification", &input), Command::Submit(submission), None).await?;
    if !answered.replayed {
        match app.identity_check.check(user, &input).await {
            Finding::Waits => {}
            Finding::Verified => {
                users::verify(app, &by_check(id), user).await?;
            }
            Finding::Rejected { reason } => {
                reject(app, &by_check(id), user, &reason).await?;
            }
        }
    }
    Ok(answered)
}

/// The check decides in the operators' name, under a key of its own for each time.
fn by_check(id: SubmissionId) -> Ctx {
    Ctx::new(Actor::IdentityCheck, format!("identity-check-{id}"))
}

/// What a user submitted last, opened for an operator; the look is in the audit log.
pub async fn read(app: &App, ctx: &Ctx, user: UserId) -> Result<(Particulars, Timestamp), Error> {
    ctx.operator()?;
    users::get(app, user).await?;
    let submission = koban_store::submissions::newest(&app.store, user).await?.ok_or(Error::NotFound("submission"))?;
    let sealed = Sealed { key_id: submission.key_id, bytes: submission.sealed };
    let plain = app.sealer.open(&about_verification(user), &sealed).map_err(seal_error)?;
    let row = audit(app, ctx, "verification.read", user.to_string(), "{}");
    koban_store::audit::append(&app.store, &row, app.clock.now()).await?;
    let particulars = serde_json::from_slice(&plain)
        .map_err(|_| Error::Internal("a submission was opened and cannot be read".to_owned()))?;
    Ok((particulars, submission.at))
}

/// Rejects what a user submitted; they may submit anew.
pub async fn reject(app: &App, ctx: &Ctx, user: UserId, reason: &str) -> Result<Answered<Answer>, Error> {
    unverify(app, ctx, user, reason, false).await
}

/// Takes a verification back: what is there may be paid with, nothing is sent and nothing charged.
pub async fn revoke(app: &App, ctx: &Ctx, user: UserId, reason: &str) -> Result<Answered<Answer>, Error> {
    unverify(app, ctx, user, reason, true).await
}

async fn unverify(app: &App, ctx: &Ctx, user: UserId, reason: &str, revoked: bool) -> Result<Answered<Answer>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let (act, route) = match revoked {
        true => ("user.revoke", "POST /v1/operator/users/{id}/verification/revoke"),
        false => ("user.reject", "POST /v1/operator/users/{id}/verification/reject"),
    };
    let row = audit(app, ctx, act, user.to_string(), &json!({ "reason": reason }).to_string());
    let asked = (user, reason);
    operations::act(app, ctx, (route, &asked), Command::Unverify(Unverify { user, revoked }), Some(row)).await
}

fn seal_error(error: SealError) -> Error {
    Error::Internal(error.to_string())
}

/// The oldest anybody may say they are.
const AGE_MAX_YEARS: i32 = 130;

fn check(input: &Particulars, now: Timestamp) -> Result<(), Error> {
    for (field, text, most) in [
        ("name", &input.name, 100),
        ("address", &input.address, 300),
        ("purpose", &input.purpose, 100),
        ("occupation", &input.occupation, 100),
    ] {
        let length = text.chars().count();
        if text.trim().is_empty() || length > most || text.chars().any(char::is_control) {
            return Err(Error::invalid(field, format!("use 1 to {most} printable characters")));
        }
    }
    // Times are written with the day first, so that two days compare as their texts do.
    let today = now.to_string().chars().take(10).collect::<String>();
    let year = |day: &str| day.get(..4).and_then(|year| year.parse::<i32>().ok());
    let born = year(&input.birth_date).zip(year(&today));
    let plausible = born.is_some_and(|(born, now)| (0..=AGE_MAX_YEARS).contains(&(now - born)));
    match is_day(&input.birth_date) && plausible && input.birth_date <= today {
        true => Ok(()),
        false => Err(Error::invalid("birth_date", "write the day of birth as YYYY-MM-DD")),
    }
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(0))
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::is_day;

    #[test]
    fn a_day_is_one_that_was() {
        for day in ["2000-02-29", "1999-12-31", "1988-02-29"] {
            assert!(is_day(day), "{day}");
        }
        for day in ["1900-02-29", "2001-02-29", "2000-13-01", "2000-00-01", "2000-01-00", "2000-04-31", "2000-1-1", "x"]
        {
            assert!(!is_day(day), "{day}");
        }
    }
}
