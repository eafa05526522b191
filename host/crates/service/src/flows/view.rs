//! Flows as operators see them: where each stands, how old it is, how much money it is about, and which decisions made it so.

use koban_domain::flows::{EffectState, Flow, FlowCredit, FlowHold, Unsure};
use koban_domain::guest::{Act, Bill, Failure, Standing, What};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::money::Money;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_store::audit::{self, AuditFilter};
use koban_store::flows::{self as rows, Which};

use crate::app::App;
use crate::error::Error;
use crate::page::{Page, Paged};

/// Most decisions that one flow shows; the newest ones.
const DECISIONS_MAX: u16 = 100;

/// Which flows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowFilter {
    /// All, those that are not final, or those that need an operator.
    pub which: Which,
    /// Only this plugin's.
    pub plugin: Option<String>,
}

/// A flow in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowSummary {
    /// Its id.
    pub id: FlowId,
    /// Whose flow it is.
    pub plugin: String,
    /// The component that it runs on.
    pub digest: Digest,
    /// Whose wallet.
    pub user: UserId,
    /// Where it stands, as its plugin says.
    pub standing: Standing,
    /// Why it needs an operator, if it does.
    pub stuck: Option<String>,
    /// Since when it needs one.
    pub stuck_since: Option<Timestamp>,
    /// The money at stake: what it credited, less what was taken back.
    pub credited: Money,
    /// The money that may still come: the most that the user agreed to, less all it credited; zero once it is final, and for a flow that
    /// takes money out.
    pub may_come: Money,
    /// What it has set aside for its partner.
    pub held: Money,
    /// What its partner has taken of that.
    pub taken: Money,
    /// Steps taken.
    pub steps: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it became final.
    pub final_at: Option<Timestamp>,
    /// How old it is: from its beginning to its end, or to now. Milliseconds.
    pub age_ms: i64,
}

/// A flow with everything about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowDetail {
    /// What a list shows.
    pub summary: FlowSummary,
    /// The most that the user agreed to.
    pub at_most: Money,
    /// Until when.
    pub expires_at: Timestamp,
    /// What it credited.
    pub credits: Vec<FlowCredit>,
    /// What it set aside.
    pub holds: Vec<FlowHold>,
    /// The call of which nobody knows whether the partner did it.
    pub unsure: Option<Unsure>,
    /// The bill that it pays.
    pub bill: Option<Bill>,
    /// What it asked for, in order.
    pub effects: Vec<EffectView>,
    /// What waits first in its inbox.
    pub next: Option<WaitingView>,
    /// Why it failed, or what its plugin would like operators to know.
    pub note: Option<Failure>,
    /// Faults of its plugin in a row.
    pub faults: u32,
    /// The outcome that its last step was refused with, if it was.
    pub refused: Option<String>,
    /// The decisions that made it so, newest first.
    pub decisions: Vec<DecisionView>,
}

/// Something that a flow asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectView {
    /// The plugin's name for it.
    pub key: String,
    /// What it is: `call`, `timer`, `show` or `expectation`.
    pub kind: &'static str,
    /// How it stands.
    pub state: EffectState,
    /// For what is still under way: how often it was tried.
    pub attempts: Option<u32>,
    /// For what is still under way: when it is due.
    pub due_at: Option<Timestamp>,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingView {
    /// The effect or expectation it belongs to.
    pub key: String,
    /// What happened, in a word, such as `message deposit`.
    pub what: String,
}

/// A guest call that a flow rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionView {
    /// What it was for: `flow.begin`, `flow.step`, `flow.refused`, `flow.fault`, `flow.stuck`, `flow.retry`, `flow.resolve`.
    pub act: String,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// The record's id and particulars, as compact JSON.
    pub detail: String,
}

/// Flows, newest first.
pub async fn list(app: &App, filter: &FlowFilter, page: &Page) -> Result<Paged<FlowSummary>, Error> {
    let limit = page.limit()?;
    let before = page.place::<16>()?.map(|bytes| FlowId(uuid::Uuid::from_bytes(bytes)));
    let flows = rows::list(&app.store, filter.which, filter.plugin.as_deref(), before, limit + 1).await?;
    let now = app.clock.now();
    let summaries = flows.iter().map(|flow| summary(flow, now)).collect();
    Ok(Paged::of(summaries, limit, |flow: &FlowSummary| flow.id.bytes().to_vec()))
}

/// One flow.
pub async fn get(app: &App, id: FlowId) -> Result<FlowDetail, Error> {
    let flow = rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("flow"))?;
    let queued = rows::open_effects(&app.store, id).await?;
    let next = rows::next_event(&app.store, &flow).await?;
    let subject = id.to_string();
    let of_flow = AuditFilter { subject: Some(&subject), ..AuditFilter::default() };
    let decisions = audit::list(&app.store, of_flow, None, DECISIONS_MAX).await?;
    let effects = flow
        .effects
        .iter()
        .map(|effect| {
            let queued = queued.iter().find(|queued| queued.key == effect.key);
            let kind = match (queued.map(|queued| &queued.act), &effect.show, effect.expects) {
                (Some(Act::Timer(_)), ..) => "timer",
                (_, Some(_), _) => "show",
                (_, _, true) => "expectation",
                _ => "call",
            };
            EffectView {
                key: effect.key.clone(),
                kind,
                state: effect.state,
                attempts: queued.map(|queued| queued.attempts),
                due_at: queued.map(|queued| queued.due_at),
            }
        })
        .collect();
    Ok(FlowDetail {
        summary: summary(&flow, app.clock.now()),
        at_most: flow.authorisation.at_most,
        expires_at: flow.authorisation.expires_at,
        effects,
        next: next.map(|next| WaitingView { what: word(&next.event.what), key: next.event.key }),
        decisions: decisions
            .into_iter()
            .map(|row| DecisionView {
                act: row.audit.act,
                actor: row.audit.actor,
                at: row.at,
                detail: row.audit.detail,
            })
            .collect(),
        refused: flow.refused.map(|(.., refusal)| refusal.outcome),
        credits: flow.credits,
        holds: flow.outgoing.holds,
        unsure: flow.outgoing.unsure,
        bill: flow.outgoing.bill,
        note: flow.note,
        faults: flow.faults,
    })
}

fn summary(flow: &Flow, now: Timestamp) -> FlowSummary {
    let at_most = flow.authorisation.at_most;
    let gross = flow.credits.iter().fold(0_i64, |sum, credit| sum.saturating_add(credit.amount.minor));
    let brings = flow.purpose().is_none() && !flow.standing.is_final();
    let may_come = if !brings { 0 } else { at_most.minor.saturating_sub(gross).max(0) };
    FlowSummary {
        id: flow.id,
        plugin: flow.plugin.clone(),
        digest: flow.digest,
        user: flow.authorisation.user,
        standing: flow.standing,
        stuck: flow.stuck.as_ref().map(|stuck| stuck.reason.clone()),
        stuck_since: flow.stuck.as_ref().map(|stuck| stuck.since),
        credited: Money::new(flow.net(), at_most.currency),
        may_come: Money::new(may_come, at_most.currency),
        held: Money::new(flow.outgoing.held(), at_most.currency),
        taken: Money::new(flow.outgoing.captured(), at_most.currency),
        steps: flow.steps,
        opened_at: flow.opened_at,
        changed_at: flow.changed_at,
        final_at: flow.final_at,
        age_ms: flow.final_at.unwrap_or(now).since_ms(flow.opened_at).max(0),
    }
}

pub(crate) fn word(what: &What) -> String {
    match what {
        What::Answer(answer) => format!("answer {}", answer.status),
        What::Lost(how, why) => format!("lost ({how:?}): {why}"),
        What::Rang => "timer".to_owned(),
        What::Form(_) => "form".to_owned(),
        What::Queued => "queued".to_owned(),
        What::Sealed(file) => format!("sealed {file}"),
        What::Message(message) => format!("message {}", message.operation),
        What::CancelAsked => "cancel".to_owned(),
        What::Agreed => "agreed".to_owned(),
    }
}
