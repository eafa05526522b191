//! Beginning a flow: the plugin is asked once, and what may be done of its answer is laid into the work of one commit.

use koban_domain::bills::ClaimBill;
use koban_domain::flows::{self, Authorisation, Flow, Linking, StepRefused};
use koban_domain::guest::{Bill, Named};
use koban_domain::ids::{AuditId, FlowId, UserId};
use koban_domain::ledger::{Answer, Audit, Command, Decided, SealedRecord, Work};
use koban_domain::limits::WalletKind;
use koban_domain::links::{self, OfLink};
use koban_domain::manifest::Beginning;
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::records::{Digest, Fault, FaultClass, Input, Output};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::users::UserRow;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::{links as shown, own};
use crate::guests::{self, For};
use crate::metrics::Faulted;
use crate::operations::{Answered, Begun};
use crate::quarantine;

/// How long an authorisation holds; a plugin's own timers are usually shorter.
pub(crate) const AUTHORISED_MS: i64 = 30 * 60_000;
/// How often a beginning is decided again because the plugin was switched meanwhile.
pub(crate) const BEGUN_MAX: u32 = 3;

/// What shall begin, with the call that begins it.
pub(crate) struct Opening {
    /// Whose money it is about.
    pub(crate) user: UserId,
    /// As what.
    pub(crate) beginning: Beginning,
    /// The most that the user agreed to.
    pub(crate) at_most: Money,
    /// What of that the platform keeps for its service, minor units.
    pub(crate) fee: i64,
    /// The bill that is to be paid.
    pub(crate) bill: Option<Bill>,
    /// The link that it is about.
    pub(crate) linking: Linking,
    /// The rows that it takes along, of a flow that has no id yet.
    pub(crate) rows: Option<links::Begin>,
    /// The call.
    pub(crate) input: Input,
}

/// Asks the plugin, and lays what may be done of its answer into the work. Errors: a fault or a refusal of the plugin, whose
/// record is kept by then, with those that the work had.
pub(crate) async fn lay(app: &App, ctx: &Ctx, plugin: &Plugin, opening: Opening, work: &mut Work) -> Result<(), Error> {
    let now = app.clock.now();
    let whom = For { scope: "platform", locale: &ctx.locale, about: Some(opening.user) };
    let (answer, record) = guests::call(app, plugin, whom, opening.input).await;
    work.records.push(record);
    let step = match answer {
        Ok(Output::Step(step)) => step,
        Ok(Output::Failure(failure)) => {
            keep(app, ctx, std::mem::take(&mut work.records)).await?;
            let (code, message) = (failure.code, failure.message);
            let text = failure.text.and_then(|key| own::word(Some(plugin.manifest()), &key, &ctx.locale));
            return Err(Error::PluginRefused { plugin: plugin.id().to_owned(), code, message, text });
        }
        Ok(_) => return Err(faulted(app, ctx, plugin, std::mem::take(&mut work.records), bad_answer()).await),
        Err(fault) if fault.class == FaultClass::Busy => return Err(Error::Busy),
        Err(fault) => return Err(faulted(app, ctx, plugin, std::mem::take(&mut work.records), fault).await),
    };
    let authorisation =
        Authorisation { user: opening.user, at_most: opening.at_most, expires_at: now.plus_ms(AUTHORISED_MS) };
    let id = FlowId(app.clock.id());
    let runs_on = (plugin.digest(), plugin.settings_digest());
    let mut flow = Flow::open(id, plugin.id(), runs_on, opening.beginning, authorisation, &ctx.locale, now);
    let due = opening.bill.as_ref().and_then(|bill| bill.due).map(moment);
    (flow.outgoing.bill, flow.outgoing.fee) = (opening.bill, opening.fee);
    flow.linking = opening.linking;
    let advanced = match shown::check(app, plugin.id(), &step).await? {
        Some(why) => Err(StepRefused::Broken(why)),
        None => flows::advance(&flow, None, step, plugin.manifest(), now),
    };
    match advanced {
        Ok(plan) => {
            let decision = work.records.last().map(|record| record.id);
            let detail = serde_json::json!({ "decision": decision, "standing": plan.step.flow.standing });
            work.audit = vec![Audit {
                id: AuditId(app.clock.id()),
                actor: ctx.actor.to_string(),
                act: "flow.begin".to_owned(),
                subject: id.to_string(),
                detail: detail.to_string(),
            }];
            // The bill is this flow's before any money is set aside for it.
            let claim = flow.bill_key().map(|bill| Command::ClaimBill(ClaimBill { bill, flow: id, due }));
            let rows = opening.rows.map(|mut begin| {
                begin.rows.flow = id;
                Command::Link(Box::new(OfLink::Begin(begin)))
            });
            work.commands = claim.into_iter().chain(rows).chain(plan.commands).collect();
            work.step = Some(Box::new(plan.step));
        }
        Err(StepRefused::Broken(why)) => {
            let fault = Fault { class: FaultClass::Denied, detail: why.chars().take(500).collect() };
            let faulted_by = Faulted { plugin: plugin.id().to_owned(), class: fault.class.word() };
            app.metrics.faults.get_or_create(&faulted_by).inc();
            quarantine::note_broken(app, plugin, &fault);
            return Err(faulted(app, ctx, plugin, std::mem::take(&mut work.records), fault).await);
        }
        // A beginning that is refused opens no flow.
        Err(StepRefused::Refused(refused)) => {
            let refusal = Refusal::ALL.into_iter().find(|refusal| refusal.code() == refused.outcome);
            work.refused = Some(refusal.unwrap_or(Refusal::PathNotAllowed));
        }
    }
    Ok(())
}

/// A fee is nothing or an amount, in the currency of what it is for.
pub(crate) fn check_fee(fee: Money, currency: Currency) -> Result<(), Error> {
    if fee.currency != currency {
        return Err(Error::invalid("fee", "must be in the currency of `amount`"));
    }
    match fee.minor {
        0..=1_000_000_000_000 => Ok(()),
        _ => Err(Error::invalid("fee", "give whole minor units, 1 to 1,000,000,000,000, or leave it out")),
    }
}

/// The flow that a beginning opened.
pub(crate) fn opened(answer: Answer) -> Option<FlowId> {
    match answer {
        Answer::Opened(flow) => Some(flow),
        _ => None,
    }
}

/// The wallet's name for a plugin: the same for the same wallet and plugin, and no id of ours.
pub(crate) fn wallet_name(plugin: &str, user: UserId) -> String {
    hex::encode(Digest::of_parts(&[b"koban wallet 1", plugin.as_bytes(), &user.bytes()]).half())
}

/// The facts about a wallet that a manifest asks for; without an owner those that are about nobody.
pub(crate) fn facts(asked: &[String], ctx: &Ctx, owner: Option<(WalletKind, Timestamp)>, now: Timestamp) -> Vec<Named> {
    const DAY_MS: i64 = 86_400_000;
    let mut facts = Vec::with_capacity(asked.len());
    for name in asked {
        facts.extend(match name.as_str() {
            "account.kind" => owner.map(|(kind, _)| Named::text(name, kind.word())),
            "account.age_days" => owner.map(|(_, since)| Named::whole(name, now.since_ms(since).max(0) / DAY_MS)),
            "device.id" => ctx.device.as_deref().map(|device| Named::text(name, device)),
            // The others are about a payee, which these beginnings do not have.
            _ => None,
        });
    }
    facts
}

/// The owner of a wallet, if they may deal. The commit decides it again: whoever is frozen meanwhile opens no flow.
pub(crate) async fn owner(app: &App, user: UserId) -> Result<Result<UserRow, Refusal>, Error> {
    let owner = koban_store::users::by_id(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let dealing = koban_domain::books::User {
        id: owner.id,
        kind: owner.kind,
        access: owner.access,
        verification: owner.verification,
        created_at: owner.created_at,
    };
    Ok(dealing.check_open().and(dealing.check_not_revoked()).map(|()| owner))
}

/// A guest's moment as a time of ours; one that no time reaches is the last there is.
pub(crate) fn moment(at: u64) -> Timestamp {
    Timestamp(i64::try_from(at).unwrap_or(i64::MAX))
}

pub(crate) async fn faulted(app: &App, ctx: &Ctx, plugin: &Plugin, records: Vec<SealedRecord>, fault: Fault) -> Error {
    match keep(app, ctx, records).await {
        Ok(()) => Error::PluginFault { plugin: plugin.id().to_owned(), fault },
        Err(error) => error,
    }
}

/// Commits a beginning, and rings for what it has to do. None: the plugin was switched meanwhile, so it must be asked anew.
pub(crate) async fn commit(app: &App, operation: &Begun, work: Work) -> Result<Option<Answered<FlowId>>, Error> {
    let queued = work.step.as_ref().is_some_and(|step| !step.queued.is_empty());
    let Some(answered) = operation.commit(app, work).await? else { return Ok(None) };
    if queued {
        app.bell.effects();
    }
    let answered = answered.expect(opened)?;
    // Something may have arisen in the commit itself, such as an expectation that another flow has.
    app.bell.flow(answered.value);
    Ok(Some(answered))
}

/// Keeps the records of calls that decided nothing.
pub(crate) async fn keep(app: &App, ctx: &Ctx, records: Vec<SealedRecord>) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let mut work = ctx.work(app.clock.id());
    work.records = records;
    match app.ledger.commit(work).await? {
        Decided::Done(_) => Ok(()),
        Decided::SignedOut => Err(Error::NotSignedIn),
        other => Err(Error::Internal(format!("records alone were decided as {other:?}"))),
    }
}

pub(crate) fn bad_answer() -> Fault {
    Fault { class: FaultClass::BadAnswer, detail: "the answer belongs to another function".to_owned() }
}
