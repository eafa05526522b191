//! Erasing what records hold of people: single records, everything about a user, and what is older than the policy keeps. The chain of
//! records stays whole: what goes is content, which the chain names by a salted digest.

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::guest::{Event, Message, What};
use koban_domain::ids::{AuditId, RecordId, UserId};
use koban_domain::ledger::Audit;
use koban_domain::records::{Digest, Input, Kept};
use koban_domain::time::Timestamp;
use koban_store::records::{self, Retention, SealedPage};
use serde_json::json;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::links;
use crate::plugins::check_reason;
use crate::subscriptions;

/// Shortest time for which contents can be kept, in days: what is not settled yet must be provable.
const KEEP_DAYS_MIN: i64 = 30;
/// Longest, in days: a hundred years.
const KEEP_DAYS_MAX: i64 = 36_500;
/// Pages that one sweep erases at most.
const SWEPT_MAX: u16 = 200;
/// Pages looked through at a time.
const PAGES: u16 = 16;
const DAY_MS: i64 = 86_400_000;

/// What an audit row says was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noted {
    /// The contents of these records.
    Records(Vec<RecordId>),
    /// All contents up to this page.
    Pages(i64),
}

/// Reads the rows that this file writes.
pub(crate) fn noted(audit: &Audit) -> Option<Noted> {
    let detail: serde_json::Value = serde_json::from_str(&audit.detail).ok()?;
    match audit.act.as_str() {
        "decision.erase" => {
            let ids = detail["records"].as_array()?.iter();
            Some(Noted::Records(ids.filter_map(|id| id.as_str()?.parse().ok()).collect()))
        }
        "decision.sweep" => Some(Noted::Pages(detail["to"].as_i64()?)),
        _ => None,
    }
}

/// Erases the content of one record. Errors: there is no such record, it is erased already, or its content cannot be taken apart from
/// the chain.
pub async fn erase(app: &App, ctx: &Ctx, id: RecordId, reason: &str) -> Result<(), Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let found = records::find(&app.store, id).await?.ok_or(Error::NotFound("decision"))?;
    if found.kept.is_erased() {
        return Err(Error::Conflict("the content of this decision was erased before".to_owned()));
    }
    if found.kept.head.content.is_none() {
        let problem = "this decision was recorded by an older version, inside the chain; its content cannot be erased";
        return Err(Error::Conflict(problem.to_owned()));
    }
    let page = records::page_of(&app.store, id).await?.ok_or(Error::NotFound("decision"))?;
    erase_of(app, ctx, page, &BTreeSet::from([id]), &id.to_string(), reason).await.map(drop)
}

/// Erases the contents of all records about this user: of rules that judged them, of their flows, and of partners' calls that reached
/// those flows; and what plugins have remembered about them. Answers how many records. `progress` hears how many pages of how many were seen.
pub async fn erase_user(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    reason: &str,
    mut progress: impl FnMut(i64, i64),
) -> Result<u64, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    koban_store::users::by_id(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let last = records::last_page(&app.store).await?;
    let mut about = About { user, messages: BTreeSet::new(), pages: BTreeMap::new() };
    // Only a flow's own record says whom a partner's call was about; the call was routed before, and perhaps again afterwards.
    for round in [Round::Theirs, Round::Routed] {
        let mut from = 1;
        while from <= last && (round == Round::Theirs || !about.messages.is_empty()) {
            let pages = records::pages(&app.store, from, last, PAGES).await?;
            let Some(end) = pages.last().map(|page| page.sequence) else { break };
            for page in &pages {
                about.look(page, round)?;
            }
            progress(end, last);
            from = end + 1;
        }
    }
    let mut erased = 0;
    // Oldest first: a call is routed before its flow deals with it, so what an interruption leaves is found again.
    for (page, ids) in &about.pages {
        erased += erase_of(app, ctx, *page, ids, &user.to_string(), reason).await?;
    }
    subscriptions::forget_user(app, ctx, user).await?;
    links::forget_user(app, ctx, user).await?;
    Ok(erased)
}

/// Which records are about a user.
struct About {
    user: UserId,
    /// Digests of partners' calls that the user's flows dealt with.
    messages: BTreeSet<Digest>,
    pages: BTreeMap<i64, BTreeSet<RecordId>>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Records that name the user.
    Theirs,
    /// Routed calls that reached a flow of theirs.
    Routed,
}

impl About {
    fn look(&mut self, page: &SealedPage, round: Round) -> Result<(), Error> {
        for kept in page.open()? {
            let is_meant = match round {
                Round::Theirs => kept.head.about == Some(self.user) && self.hears(&kept),
                Round::Routed => kept.head.function == "inbound.route" && self.was_heard(&kept),
            };
            if is_meant && !kept.is_erased() {
                self.pages.entry(page.sequence).or_default().insert(kept.head.id);
            }
        }
        Ok(())
    }

    /// Remembers the partner's call that a flow of theirs dealt with.
    fn hears(&mut self, kept: &Kept) -> bool {
        if let Ok(Input::Resume(_, Event { what: What::Message(message), .. }, _)) =
            kept.record().map(|record| record.input)
        {
            self.messages.insert(of_message(&message));
        }
        true
    }

    fn was_heard(&self, kept: &Kept) -> bool {
        let Ok(Input::Route(call)) = kept.record().map(|record| record.input) else { return false };
        let (operation, path, query, body) = (call.operation, call.path, call.query, call.body);
        self.messages.contains(&of_message(&Message { operation, path, query, body }))
    }
}

fn of_message(message: &Message) -> Digest {
    Digest::of_parts(&[
        message.operation.as_bytes(),
        message.path.as_bytes(),
        format!("{:?}", message.query).as_bytes(),
        &message.body,
    ])
}

async fn erase_of(
    app: &App,
    ctx: &Ctx,
    page: i64,
    ids: &BTreeSet<RecordId>,
    subject: &str,
    reason: &str,
) -> Result<u64, Error> {
    let note = |erased: &[RecordId]| Audit {
        id: AuditId(app.clock.id()),
        actor: ctx.actor.to_string(),
        act: "decision.erase".to_owned(),
        subject: subject.to_owned(),
        detail: json!({ "reason": reason, "records": erased }).to_string(),
    };
    let erased = records::erase(&app.store, page, ids, note, app.clock.now()).await?;
    Ok(u64::try_from(erased.len()).unwrap_or(u64::MAX))
}

/// For how long contents are kept, and how far that has come.
pub async fn retention(app: &App) -> Result<Retention, Error> {
    Ok(records::retention(&app.store).await?)
}

/// Sets for how many days contents are kept; none: for ever. Errors: fewer days than disputes and settlements take.
pub async fn set_retention(app: &App, ctx: &Ctx, keep_days: Option<i64>) -> Result<Retention, Error> {
    ctx.operator()?;
    if keep_days.is_some_and(|days| !(KEEP_DAYS_MIN..=KEEP_DAYS_MAX).contains(&days)) {
        return Err(Error::invalid("days", format!("keep them for {KEEP_DAYS_MIN} to {KEEP_DAYS_MAX} days")));
    }
    let audit = Audit {
        id: AuditId(app.clock.id()),
        actor: ctx.actor.to_string(),
        act: "decision.keep".to_owned(),
        subject: "records".to_owned(),
        detail: json!({ "days": keep_days }).to_string(),
    };
    records::set_retention(&app.store, keep_days, &audit, app.clock.now()).await?;
    retention(app).await
}

/// One round of the policy: the contents of the next pages that are older than it says. Answers how many pages that were.
pub async fn sweep(app: &App, now: Timestamp) -> Result<i64, Error> {
    let Some(days) = records::retention(&app.store).await?.keep_days else { return Ok(0) };
    let before = now.plus_ms(-days.saturating_mul(DAY_MS));
    // Looked at first: a sweep holds the lane's head, and there is mostly nothing to do.
    if records::oldest_unswept(&app.store).await?.is_none_or(|at| at >= before) {
        return Ok(0);
    }
    let note = |from: i64, to: i64| Audit {
        id: AuditId(app.clock.id()),
        actor: Actor::System.to_string(),
        act: "decision.sweep".to_owned(),
        subject: "records".to_owned(),
        detail: json!({ "days": days, "from": from, "to": to }).to_string(),
    };
    let swept = records::sweep(&app.store, before, SWEPT_MAX, note, now).await?;
    Ok(swept.map_or(0, |(from, to)| to - from + 1))
}
