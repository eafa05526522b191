//! Moving a flow to another release of its plugin: tried first without effect, then done in one commit.

use koban_domain::flows::{self, Flow, StepRefused};
use koban_domain::guest::{Act, Proposal, Standing};
use koban_domain::ids::FlowId;
use koban_domain::records::{Digest, Input, Output};
use koban_domain::releases::{Scope, State};
use koban_store::flows as rows;
use koban_store::releases;
use serde::Serialize;

use super::resolve::{DECIDED_MAX, answered, commit, find, moved_on, operator_work};
use super::view::FlowDetail;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::guests::{self, For};
use crate::loaded::loaded;
use crate::operations::{self, Answered};
use crate::plugins::check_reason;

/// What a release would make of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prospect {
    /// The component it has.
    pub from: Digest,
    /// The component it would have.
    pub to: Digest,
    /// That one's version.
    pub version: String,
    /// What the new release answers to the event that waits first; none if nothing waits, and then nobody can say.
    pub next: Option<NextStep>,
}

/// A step that would be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextStep {
    /// The event's key.
    pub event: String,
    /// Where the flow would stand.
    pub standing: Standing,
    /// What it would propose about money, in order.
    pub proposals: Vec<String>,
    /// What it would ask for, in order.
    pub effects: Vec<String>,
}

#[derive(Serialize)]
struct Asked<'a> {
    flow: FlowId,
    to: Digest,
    reason: &'a str,
}

/// What would come of moving a flow. Nothing is changed, nothing leaves. Errors: the release is not installed, or cannot go on with it; the
/// message says why.
pub async fn foresee(app: &App, ctx: &Ctx, id: FlowId, to: Digest) -> Result<Prospect, Error> {
    ctx.operator()?;
    let flow = find(app, id).await?;
    let (next, version) = target(app, &flow, to).await?;
    prospect(app, &flow, &next, version).await
}

/// Moves a flow to another release of its plugin: it goes on there with the event that waits first, faults and refusals forgotten. The new
/// release is tried first, as [`foresee`] does; what it cannot go on with is not moved.
pub async fn move_to(
    app: &App,
    ctx: &Ctx,
    id: FlowId,
    to: Digest,
    reason: &str,
) -> Result<Answered<FlowDetail>, Error> {
    ctx.operator()?;
    ctx.not_on_trial()?;
    check_reason(reason)?;
    let operation = operations::begin(app, ctx, "POST /v1/operator/flows/{id}/move", &Asked { flow: id, to, reason })?;
    for _ in 0..DECIDED_MAX {
        if let Some(decided) = operation.decided(app).await? {
            return answered(app, id, decided.replayed).await;
        }
        let flow = find(app, id).await?;
        let (next, version) = target(app, &flow, to).await?;
        prospect(app, &flow, &next, version).await?;
        let step = flows::moved(&flow, next.digest, next.settings, app.clock.now());
        let detail = serde_json::json!({ "from": flow.digest, "to": to, "reason": reason });
        let work = operator_work(app, ctx, step, "flow.move", &detail);
        if let Some(replayed) = commit(app, &operation, work).await? {
            app.bell.flow(id);
            return answered(app, id, replayed).await;
        }
    }
    Err(moved_on())
}

/// The flow as the new release would have it, and that one's version.
async fn target(app: &App, flow: &Flow, to: Digest) -> Result<(Flow, String), Error> {
    if flow.standing.is_final() && flow.stuck.is_none() {
        return Err(Error::Conflict("the flow has ended and does not wait for anybody".to_owned()));
    }
    if flow.digest == to {
        let text = "the flow has this component already; `retry` lets it go on with it";
        return Err(Error::Conflict(text.to_owned()));
    }
    let standing = releases::standing(&app.store, &flow.plugin).await?;
    let release = standing.releases.iter().find(|release| release.digest == to).ok_or(Error::NotFound("release"))?;
    if standing.revoked.contains(&to) {
        return Err(Error::Conflict("this component is revoked as well; move it to another".to_owned()));
    }
    let placed = standing.enablements.iter().find(|(row, _)| row.digest == to && row.scope == Scope::Platform);
    let settings = placed.map(|(row, _)| row.settings).or(release.settings);
    match (release.state, settings) {
        (State::Installed, Some(settings)) => {
            let next = Flow { digest: to, settings, stuck: None, faults: 0, refused: None, ..flow.clone() };
            Ok((next, release.manifest.version.clone()))
        }
        _ => Err(Error::Conflict("nobody has accepted what this release may do; install it first".to_owned())),
    }
}

/// Gives the event that waits first to the new release, and keeps nothing of it.
async fn prospect(app: &App, flow: &Flow, next: &Flow, version: String) -> Result<Prospect, Error> {
    let mut prospect = Prospect { from: flow.digest, to: next.digest, version, next: None };
    let Some(consumed) = rows::next_event(&app.store, flow).await? else { return Ok(prospect) };
    let plugin = loaded(app, next.digest, next.settings).await?;
    let whom = For { scope: "platform", locale: &flow.locale, about: Some(flow.authorisation.user) };
    let input = Input::Resume(flow.state.clone(), consumed.event.clone(), None);
    let (answer, _) = guests::call(app, &plugin, whom, input).await;
    let cannot = |why: String| {
        Error::Conflict(format!(
            "release {} cannot go on with this flow: {why}; the flow stays as it is",
            prospect.version
        ))
    };
    let step = match answer {
        Ok(Output::Step(step)) => step,
        Ok(Output::Failure(failure)) => return Err(cannot(format!("{} ({})", failure.code, failure.message))),
        Ok(_) => return Err(cannot("its answer belongs to another function".to_owned())),
        Err(fault) => return Err(cannot(fault.to_string())),
    };
    let proposals = step.proposals.iter().map(proposed).collect();
    let effects = step.effects.iter().map(|effect| format!("{} {}", act(&effect.act), effect.key)).collect();
    let standing = step.standing;
    match flows::advance(next, Some(&consumed), step, plugin.manifest(), app.clock.now()) {
        Ok(_) => {}
        // The plugin is told and asked once more, as in every step.
        Err(StepRefused::Refused(_)) => {}
        Err(StepRefused::Broken(why)) => return Err(cannot(why)),
    }
    prospect.next = Some(NextStep { event: consumed.event.key, standing, proposals, effects });
    Ok(prospect)
}

fn proposed(proposal: &Proposal) -> String {
    // As it is written in records; which fields it has depends on the contract.
    serde_json::to_string(proposal).unwrap_or_default()
}

fn act(act: &Act) -> &'static str {
    match act {
        Act::Http(_) => "call",
        Act::Show(_) => "show",
        Act::Timer(_) => "timer",
        Act::Expect(_) => "expect",
        Act::Enqueue(..) => "file",
        Act::Cancel(_) => "cancel",
        Act::SaveLink(_) => "save link",
        Act::DropLink(_) => "drop link",
    }
}
