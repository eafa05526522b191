//! What an operator can do with a flow: let it go on, or end it with a named correcting entry.

use koban_domain::adjustments::Judge;
use koban_domain::flows::{self, Closing, Consumed, Flow, Resolution, StepCommit};
use koban_domain::guest::{Failure, HttpAnswer, What};
use koban_domain::ids::{AdjustmentId, AuditId, FlowId};
use koban_domain::ledger::{Audit, Decided, Work};
use koban_domain::records::Digest;
use koban_store::flows as rows;
use serde::Serialize;

use super::drive::{self, Told};
use super::view::{self, FlowDetail};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered, Begun};
use crate::plugins::check_reason;
use crate::users;

/// How often an act is decided anew because the flow moved meanwhile.
pub(super) const DECIDED_MAX: u32 = 5;
/// Most waiting events that a resolution answers in its commit, and as many that come meanwhile.
const ANSWERED_MAX: u16 = 1_000;
/// The code of the note on a flow that an operator ended.
pub const RESOLVED: &str = "resolved_by_operator";

/// What the partner's call that waits first in a resolved flow is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Yes, in the manifest's words: an ATM keeps the cash.
    Accept,
    /// No: an ATM gives the cash back.
    Refuse,
}

#[derive(Serialize)]
struct Asked<'a> {
    flow: FlowId,
    resolution: Option<&'a Resolution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Reply>,
    reason: &'a str,
}

/// Lets a stuck flow go on: faults and refusals are forgotten, and its first event is tried again.
pub async fn retry(app: &App, ctx: &Ctx, id: FlowId, reason: &str) -> Result<Answered<FlowDetail>, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    check_reason(reason)?;
    let asked = Asked { flow: id, resolution: None, reply: None, reason };
    let operation = operations::begin(app, ctx, "POST /v1/operator/flows/{id}/retry", &asked)?;
    for _ in 0..DECIDED_MAX {
        if let Some(decided) = operation.decided(app).await? {
            return answered(app, id, decided.replayed).await;
        }
        let flow = find(app, id).await?;
        if flow.stuck.is_none() {
            return Err(Error::Conflict("the flow is not stuck; there is nothing to retry".to_owned()));
        }
        if app.ledger.policy().revoked.contains(&flow.digest) {
            let text =
                "the flow's component is revoked, so it cannot go on; move the flow to another release, or resolve it";
            return Err(Error::Conflict(text.to_owned()));
        }
        let settings = settings_for(app, &flow).await?;
        let step = flows::retried(&flow, settings, app.clock.now());
        let work = operator_work(app, ctx, step, "flow.retry", &serde_json::json!({ "reason": reason }));
        if let Some(replayed) = commit(app, &operation, work).await? {
            app.bell.flow(id);
            return answered(app, id, replayed).await;
        }
    }
    Err(moved_on())
}

/// The settings that a retried flow goes on with: those of today if its component is still the one installed, which has checked
/// them; otherwise its own.
async fn settings_for(app: &App, flow: &Flow) -> Result<Digest, Error> {
    let installed = koban_store::plugins::by_id(&app.store, &flow.plugin).await?;
    Ok(installed.filter(|row| row.digest == flow.digest).map_or(flow.settings, |row| row.settings))
}

/// Ends a flow: confirms a credit or a capture that the partner proved, takes its own credits back, or ends it without money. What it has
/// set aside beyond that is let go. What waits in
/// its inbox is taken out in the same commit, so that nothing of it is decided afterwards. `reply` is what the call that waits
/// first is told, and others of its operation; without it, and to all other calls, the answer is no. Errors: [`Error::Invalid`]
/// for a confirmed credit or an adjustment while a call waits and nobody said what it is told.
pub async fn resolve(
    app: &App,
    ctx: &Ctx,
    id: FlowId,
    resolution: &Resolution,
    reply: Option<Reply>,
    reason: &str,
) -> Result<Answered<FlowDetail>, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    check_reason(reason)?;
    check_resolution(resolution)?;
    let operator = ctx.operator()?;
    if let Resolution::Adjust(judge) = resolution
        && judge.operator != operator
    {
        return Err(Error::Forbidden("who posts the adjustment is who resolves the flow"));
    }
    let asked = Asked { flow: id, resolution: Some(resolution), reply, reason };
    let operation = operations::begin(app, ctx, "POST /v1/operator/flows/{id}/resolve", &asked)?;
    for _ in 0..DECIDED_MAX {
        if let Some(decided) = operation.decided(app).await? {
            return answered(app, id, decided.replayed).await;
        }
        let flow = find(app, id).await?;
        check_needed(&flow, resolution)?;
        let waiting = rows::waiting(&app.store, &flow, ANSWERED_MAX).await?;
        let answers = Answers::find(app, &flow, resolution, reply, &waiting).await?;
        let work = match flows::resolved(&flow, resolution, answers.closing(&waiting), app.clock.now()) {
            Ok(mut plan) => {
                if !flow.standing.is_final() && plan.step.flow.standing == koban_domain::guest::Standing::Failed {
                    plan.step.flow.note = Some(note(reason));
                }
                let detail = serde_json::json!({ "resolution": resolution, "reply": reply, "reason": reason });
                let mut work = operator_work(app, ctx, plan.step, "flow.resolve", &detail);
                if let Resolution::Adjust(judge) = resolution {
                    // It is an approval like any other, and is looked for as one.
                    let detail = serde_json::json!({ "reason": reason, "flow": id }).to_string();
                    let row = users::audit(app, ctx, "adjustment.approve", judge.adjustment.to_string(), &detail);
                    work.audit.push(row);
                }
                work.commands = plan.commands;
                work
            }
            // Decided all the same, so that the same key has the same answer.
            Err(refusal) => {
                let mut work = ctx.work(app.clock.id());
                work.refused = Some(refusal);
                work
            }
        };
        if let Some(replayed) = commit(app, &operation, work).await? {
            answer_late(app, id, &answers).await?;
            return answered(app, id, replayed).await;
        }
    }
    Err(moved_on())
}

/// What calls in the inbox of a resolved flow are told.
struct Answers {
    /// The operation that waits first, with what its calls are told.
    first: Option<(String, HttpAnswer)>,
}

impl Answers {
    async fn find(
        app: &App,
        flow: &Flow,
        resolution: &Resolution,
        reply: Option<Reply>,
        waiting: &[Consumed],
    ) -> Result<Answers, Error> {
        let Some(operation) = waiting.iter().find_map(called) else { return Ok(Answers { first: None }) };
        let reply = match (reply, resolution) {
            (Some(reply), _) => reply,
            (None, Resolution::ConfirmCredit { .. } | Resolution::ConfirmCapture { .. } | Resolution::Adjust(_)) => {
                let problem = format!(
                    "a call of `{operation}` waits: say `accept` if the partner shall keep the money, `refuse` if it shall not"
                );
                return Err(Error::invalid("reply", problem));
            }
            (None, Resolution::ReverseCredits | Resolution::End) => Reply::Refuse,
        };
        let component = koban_store::plugins::component(&app.store, flow.digest).await?;
        let component = component.ok_or(Error::NotFound("component"))?;
        let spec = component.manifest.inbound(operation).map(|(_, spec)| spec);
        let answer = match reply {
            Reply::Accept => spec.and_then(|spec| spec.accepted.as_deref()).map(yes_or_no).ok_or_else(|| {
                let problem = format!(
                    "the manifest of `{}` does not say how `{operation}` is accepted (`accepted`), so only `refuse` can be told",
                    flow.plugin
                );
                Error::invalid("reply", problem)
            })?,
            Reply::Refuse => spec.and_then(|spec| spec.refused.as_deref()).map_or_else(gone, yes_or_no),
        };
        Ok(Answers { first: Some((operation.to_owned(), answer)) })
    }

    fn of(&self, consumed: &Consumed) -> HttpAnswer {
        match (&self.first, called(consumed)) {
            (Some((first, answer)), Some(operation)) if operation == first => answer.clone(),
            _ => gone(),
        }
    }

    fn closing(&self, waiting: &[Consumed]) -> Closing {
        let replies = waiting.iter().filter_map(|one| one.call.map(|call| (call, self.of(one))));
        Closing { consumed: waiting.iter().map(|one| one.place).collect(), replies: replies.collect() }
    }
}

/// The operation of a partner's call that waits for its reply.
fn called(consumed: &Consumed) -> Option<&str> {
    match (&consumed.call, &consumed.event.what) {
        (Some(_), What::Message(message)) => Some(&message.operation),
        _ => None,
    }
}

fn yes_or_no(body: &str) -> HttpAnswer {
    answer(200, body)
}

/// For partners whose manifest has no words for it: this is settled, do not ask again.
fn gone() -> HttpAnswer {
    answer(410, r#"{"result":"closed","reason":"resolved_by_operator"}"#)
}

fn answer(status: u16, body: &str) -> HttpAnswer {
    let json = ("content-type".to_owned(), "application/json".to_owned());
    HttpAnswer { status, headers: vec![json], body: body.as_bytes().to_vec() }
}

pub(super) async fn find(app: &App, id: FlowId) -> Result<Flow, Error> {
    rows::by_id(&app.store, id).await?.ok_or(Error::NotFound("flow"))
}

pub(super) async fn answered(app: &App, id: FlowId, replayed: bool) -> Result<Answered<FlowDetail>, Error> {
    Ok(Answered { value: view::get(app, id).await?, replayed })
}

/// Commits under the operator's key. None: the flow moved meanwhile, decide again.
pub(super) async fn commit(app: &App, operation: &Begun, work: Work) -> Result<Option<bool>, Error> {
    let told = Told::of(&work);
    let Some(answered) = operation.commit(app, work).await? else { return Ok(None) };
    told.tell(app);
    Ok(Some(answered.replayed))
}

pub(super) fn operator_work(app: &App, ctx: &Ctx, step: StepCommit, act: &str, detail: &serde_json::Value) -> Work {
    let mut work = ctx.work(app.clock.id());
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

/// The posting of an adjustment that another operator proposed for this flow, as a way to resolve it. Errors: nobody in
/// particular asks; there is no such adjustment, or it is for another flow.
pub async fn adjusting(app: &App, ctx: &Ctx, id: FlowId, adjustment: AdjustmentId) -> Result<Resolution, Error> {
    let operator = ctx.person()?;
    let proposed = crate::adjustments::get(app, adjustment).await?;
    if proposed.flow != Some(id) {
        let text = "this adjustment is not made for this flow; propose one that names it";
        return Err(Error::Conflict(text.to_owned()));
    }
    Ok(Resolution::Adjust(Judge { adjustment, lines: proposed.lines, flow: Some(id), operator, approve: true }))
}

fn check_resolution(resolution: &Resolution) -> Result<(), Error> {
    let (Resolution::ConfirmCredit { amount, reference } | Resolution::ConfirmCapture { amount, reference }) =
        resolution
    else {
        return Ok(());
    };
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
        Resolution::ConfirmCredit { .. } if flow.purpose().is_some() => {
            Err(Error::Conflict("the flow takes money out; confirm a capture, or `end` it".to_owned()))
        }
        Resolution::ConfirmCapture { .. } if flow.outgoing.held() == 0 => {
            Err(Error::Conflict("the flow has nothing set aside that its partner could have taken".to_owned()))
        }
        Resolution::ReverseCredits if flow.net() > 0 => Ok(()),
        Resolution::ReverseCredits => {
            Err(Error::Conflict("nothing is left of the flow's credits to reverse; `end` it instead".to_owned()))
        }
        Resolution::ConfirmCredit { .. }
        | Resolution::ConfirmCapture { .. }
        | Resolution::Adjust(_)
        | Resolution::End
            if waits =>
        {
            Ok(())
        }
        Resolution::ConfirmCredit { .. }
        | Resolution::ConfirmCapture { .. }
        | Resolution::Adjust(_)
        | Resolution::End => Err(Error::Conflict("the flow has ended and does not wait for anybody".to_owned())),
    }
}

fn note(reason: &str) -> Failure {
    Failure { code: RESOLVED.to_owned(), message: reason.to_owned(), text: None, retryable: false }
}

/// Takes out what came between the look and the commit: the plugin does not know of the resolution and must not decide on it.
async fn answer_late(app: &App, id: FlowId, answers: &Answers) -> Result<(), Error> {
    for _ in 0..ANSWERED_MAX {
        let flow = find(app, id).await?;
        let Some(consumed) = rows::next_event(&app.store, &flow).await? else { return Ok(()) };
        let mut work = Work::new(app.clock.id(), "system");
        let reply = Some(answers.of(&consumed));
        work.step = Some(Box::new(drive::taken_out(&flow, &consumed, reply, app.clock.now())));
        if let Decided::Refused(_, refusal) = drive::commit(app, work).await? {
            return Err(Error::Internal(format!("an event could not be taken out of an inbox: {refusal}")));
        }
    }
    Ok(())
}

pub(super) fn moved_on() -> Error {
    Error::Conflict("the flow moved on while this was decided; look at it again".to_owned())
}
