//! What an operator can do with a flow: let it go on, or end it with a named correcting entry.

use koban_domain::flows::{self, Flow, Resolution, StepCommit};
use koban_domain::guest::{Failure, HttpAnswer};
use koban_domain::ids::{AuditId, FlowId};
use koban_domain::ledger::{Audit, Decided, Work};
use koban_store::flows as rows;
use serde::Serialize;

use super::drive::{self, Told};
use super::view::{self, FlowDetail};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered, Begun};
use crate::plugins::check_reason;

/// How often an act is decided anew because the flow moved meanwhile.
const DECIDED_MAX: u32 = 5;
/// Most waiting events that a resolution answers.
const ANSWERED_MAX: u32 = 1_000;
/// The code of the note on a flow that an operator ended.
pub const RESOLVED: &str = "resolved_by_operator";

#[derive(Serialize)]
struct Asked<'a> {
    flow: FlowId,
    resolution: Option<&'a Resolution>,
    reason: &'a str,
}

/// Lets a stuck flow go on: faults and refusals are forgotten, and its first event is tried again.
pub async fn retry(app: &App, ctx: &Ctx, id: FlowId, reason: &str) -> Result<Answered<FlowDetail>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let asked = Asked { flow: id, resolution: None, reason };
    let operation = operations::begin(app, ctx, "POST /v1/operator/flows/{id}/retry", &asked)?;
    for _ in 0..DECIDED_MAX {
        if let Some(decided) = operation.decided(app).await? {
            return answered(app, id, decided.replayed).await;
        }
        let flow = flow(app, id).await?;
        if flow.stuck.is_none() {
            return Err(Error::Conflict("the flow is not stuck; there is nothing to retry".to_owned()));
        }
        if app.ledger.policy().revoked.contains(&flow.digest) {
            let text = "the flow's component is revoked, so it cannot go on; resolve the flow instead";
            return Err(Error::Conflict(text.to_owned()));
        }
        let step = flows::retried(&flow, app.clock.now());
        let work = operator_work(app, ctx, step, "flow.retry", &serde_json::json!({ "reason": reason }));
        if let Some(replayed) = commit(app, &operation, work).await? {
            app.bell.flow(id);
            return answered(app, id, replayed).await;
        }
    }
    Err(moved_on())
}

/// Ends a flow: confirms a credit that the partner proved, takes its own credits back, or ends it without money. What still
/// waits in its inbox is answered with 410, so that nothing of it is decided afterwards.
pub async fn resolve(
    app: &App,
    ctx: &Ctx,
    id: FlowId,
    resolution: &Resolution,
    reason: &str,
) -> Result<Answered<FlowDetail>, Error> {
    ctx.operator()?;
    check_reason(reason)?;
    check_resolution(resolution)?;
    let asked = Asked { flow: id, resolution: Some(resolution), reason };
    let operation = operations::begin(app, ctx, "POST /v1/operator/flows/{id}/resolve", &asked)?;
    for _ in 0..DECIDED_MAX {
        if let Some(decided) = operation.decided(app).await? {
            return answered(app, id, decided.replayed).await;
        }
        let flow = flow(app, id).await?;
        check_needed(&flow, resolution)?;
        let work = match flows::resolved(&flow, resolution, app.clock.now()) {
            Ok(mut plan) => {
                if !flow.standing.is_final() && plan.step.flow.standing == koban_domain::guest::Standing::Failed {
                    plan.step.flow.note = Some(note(reason));
                }
                let detail = serde_json::json!({ "resolution": resolution, "reason": reason });
                let mut work = operator_work(app, ctx, plan.step, "flow.resolve", &detail);
                work.commands = plan.commands;
                work
            }
            // Decided all the same, so that the same key has the same answer.
            Err(refusal) => {
                let mut work = Work::new(app.clock.id(), ctx.actor.to_string());
                work.refused = Some(refusal);
                work
            }
        };
        if let Some(replayed) = commit(app, &operation, work).await? {
            answer_waiting(app, id).await?;
            return answered(app, id, replayed).await;
        }
    }
    Err(moved_on())
}

async fn flow(app: &App, id: FlowId) -> Result<Flow, Error> {
    rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("flow"))
}

async fn answered(app: &App, id: FlowId, replayed: bool) -> Result<Answered<FlowDetail>, Error> {
    Ok(Answered { value: view::get(app, id).await?, replayed })
}

/// Commits under the operator's key. None: the flow moved meanwhile, decide again.
async fn commit(app: &App, operation: &Begun, work: Work) -> Result<Option<bool>, Error> {
    let told = Told::of(&work);
    let Some(answered) = operation.commit(app, work).await? else { return Ok(None) };
    told.tell(app);
    Ok(Some(answered.replayed))
}

fn operator_work(app: &App, ctx: &Ctx, step: StepCommit, act: &str, detail: &serde_json::Value) -> Work {
    let mut work = Work::new(app.clock.id(), ctx.actor.to_string());
    work.audit = vec![Audit {
        id: AuditId(app.clock.id()),
        actor: work.actor.clone(),
        act: act.to_owned(),
        subject: step.flow.id.to_string(),
        detail: detail.to_string(),
    }];
    work.step = Some(Box::new(step));
    work
}

fn check_resolution(resolution: &Resolution) -> Result<(), Error> {
    let Resolution::ConfirmCredit { amount, reference } = resolution else { return Ok(()) };
    if amount.minor <= 0 {
        return Err(Error::invalid("amount", "must be more than zero"));
    }
    if reference.is_empty() || reference.chars().count() > 200 || reference.chars().any(char::is_control) {
        return Err(Error::invalid("reference", "use the partner's reference, 1 to 200 printable characters"));
    }
    Ok(())
}

/// A final flow that goes its way needs nobody to end it; only its credits may still have to be taken back.
fn check_needed(flow: &Flow, resolution: &Resolution) -> Result<(), Error> {
    let waits = flow.stuck.is_some() || !flow.standing.is_final();
    match resolution {
        Resolution::ReverseCredits if flow.net() > 0 => Ok(()),
        Resolution::ReverseCredits => {
            Err(Error::Conflict("nothing is left of the flow's credits to reverse; `end` it instead".to_owned()))
        }
        Resolution::ConfirmCredit { .. } | Resolution::End if waits => Ok(()),
        Resolution::ConfirmCredit { .. } | Resolution::End => {
            Err(Error::Conflict("the flow has ended and does not wait for anybody".to_owned()))
        }
    }
}

fn note(reason: &str) -> Failure {
    Failure { code: RESOLVED.to_owned(), message: reason.to_owned(), text: None, retryable: false }
}

/// Takes what waits out of a resolved flow's inbox: the plugin does not know of the resolution and must not decide on it.
async fn answer_waiting(app: &App, id: FlowId) -> Result<(), Error> {
    for _ in 0..ANSWERED_MAX {
        let flow = flow(app, id).await?;
        let Some(consumed) = rows::next_event(&app.store, &flow).await? else { return Ok(()) };
        let gone = br#"{"result":"closed","reason":"resolved_by_operator"}"#.to_vec();
        let json = ("content-type".to_owned(), "application/json".to_owned());
        let reply = HttpAnswer { status: 410, headers: vec![json], body: gone };
        let mut work = Work::new(app.clock.id(), "system");
        work.step = Some(Box::new(drive::taken_out(&flow, &consumed, Some(reply), app.clock.now())));
        if let Decided::Refused(_, refusal) = drive::commit(app, work).await? {
            return Err(Error::Internal(format!("an event could not be taken out of an inbox: {refusal}")));
        }
    }
    Ok(())
}

fn moved_on() -> Error {
    Error::Conflict("the flow moved on while this was decided; look at it again".to_owned())
}
