//! Charging a wallet: a flow that a user begins through a channel, answers and may cancel.

mod form;

use std::time::Duration;

use koban_domain::accounts::PluginKey;
use koban_domain::flows::{self, Arrival, Authorisation, EffectState, Flow, StepRefused};
use koban_domain::guest::{ChargeRequest, Named, Show, Standing, What};
use koban_domain::ids::{AuditId, FlowId, UserId};
use koban_domain::ledger::{Answer, Audit, SealedRecord, Work};
use koban_domain::limits::{Action, WalletKind, Window};
use koban_domain::manifest::{Beginning, Kind, Manifest, is_plugin_id};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::{Digest, Fault, FaultClass, Input, Output};
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::flows as rows;
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::resolve::RESOLVED;
use crate::guests::{self, For};
use crate::metrics::Faulted;
use crate::operations::{self, Answered, Begun};
use crate::page::{Page, Paged};
use crate::plugins;
use crate::wallets;

/// How long an authorisation holds; a plugin's own timers are usually shorter.
pub(crate) const AUTHORISED_MS: i64 = 30 * 60_000;
/// How often a beginning is decided again because the plugin was switched meanwhile.
const BEGUN_MAX: u32 = 3;
/// How long answers and cancellations wait for the plugin, so that what is shown next is mostly there.
const STEP_WITHIN: Duration = Duration::from_secs(2);

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChargeInput {
    /// The channel: a plugin's id.
    pub channel: String,
    /// How much, where the channel asks beforehand.
    pub amount: Option<Money>,
    /// The most that the user agrees to; without it, the most that is possible.
    pub at_most: Option<Money>,
}

/// A charge as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeView {
    /// Its id, which is its flow's.
    pub id: FlowId,
    /// The channel.
    pub channel: String,
    /// Where it stands; `checking` as well when an operator has to look.
    pub standing: Standing,
    /// What is shown now, in the order in which the plugin asked for it.
    pub shows: Vec<Shown>,
    /// The most that may be credited.
    pub at_most: Money,
    /// Everything credited, gross.
    pub credited: Money,
    /// What of it was taken back.
    pub reversed: Money,
    /// Why it failed, or was closed.
    pub note: Option<Note>,
    /// When it began.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Something that the user is shown, its texts in the user's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The plugin's name for it; a form is answered under it.
    pub key: String,
    /// What is shown, as the plugin asked for it.
    pub show: Show,
    /// For a text: the text.
    pub text: Option<String>,
    /// For a form: the labels of its fields, in their order.
    pub labels: Vec<String>,
}

/// Why a charge ended as it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// A code of the plugin's manifest, or `resolved_by_operator`.
    pub code: String,
    /// For the user, in the user's language; none if the plugin has nothing to say to users.
    pub text: Option<String>,
}

/// Begins a charge. A decided beginning never calls the plugin again. What the plugin itself refuses is recorded and decides
/// nothing: the same key may be tried again.
pub async fn begin(app: &App, ctx: &Ctx, input: ChargeInput) -> Result<Answered<ChargeView>, Error> {
    let user = ctx.user()?;
    ctx.not_on_trial()?;
    check(&input)?;
    let operation = operations::begin(app, ctx, "POST /v1/charges", &input)?;
    let begun = begin_once(app, ctx, user, &input, &operation).await;
    app.metrics.dealt("charge", operations::result_word(&begun));
    let Answered { value: flow, replayed } = begun?.ok_or(Error::Busy)?;
    Ok(Answered { value: get(app, ctx, flow).await?, replayed })
}

/// None: the plugin was switched each time that it was asked.
async fn begin_once(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    input: &ChargeInput,
    operation: &Begun,
) -> Result<Option<Answered<FlowId>>, Error> {
    if let Some(decided) = operation.decided(app).await? {
        return decided.expect(opened).map(Some);
    }
    for _ in 0..BEGUN_MAX {
        // Like every 503, a channel that is not there decides nothing.
        let channel = plugins::in_force_for(app, &input.channel, user)
            .await?
            .filter(|plugin| plugin.manifest().kind == Kind::ChargeChannel);
        let Some(plugin) = channel else { return Err(Error::refused(Refusal::ChannelNotAvailable)) };
        let mut work = ctx.work(app.clock.id());
        work.relies_on = vec![Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }];
        match most(app, user, &plugin, input).await? {
            Ok(room) => begin_with(app, ctx, user, &plugin, input, &room, &mut work).await?,
            Err(refusal) => work.refused = Some(refusal),
        }
        let queued = work.step.as_ref().is_some_and(|step| !step.queued.is_empty());
        if let Some(answered) = operation.commit(app, work).await? {
            if queued {
                app.bell.effects();
            }
            let answered = answered.expect(opened)?;
            // Something may have arisen in the commit itself, such as an expectation that another flow has.
            app.bell.flow(answered.value);
            return Ok(Some(answered));
        }
    }
    Ok(None)
}

fn opened(answer: Answer) -> Option<FlowId> {
    match answer {
        Answer::Opened(flow) => Some(flow),
        _ => None,
    }
}

/// What is known of the wallet when a charge begins.
struct Room {
    kind: WalletKind,
    since: Timestamp,
    at_most: Money,
}

/// The most that the charge may bring: what was asked, what the wallet may take at one time and may hold, what the plugin's
/// exposure cap leaves. The books check all of it again when money comes, with what the day and the month have seen.
async fn most(app: &App, user: UserId, plugin: &Plugin, input: &ChargeInput) -> Result<Result<Room, Refusal>, Error> {
    let asked = input.at_most.or(input.amount);
    let currency = asked.map_or(koban_domain::money::Currency::JPY, |asked| asked.currency);
    let exposures = koban_store::plugins::exposures(&app.store, PluginKey::of(plugin.id())).await?;
    let Some((_, exposure)) = exposures.into_iter().find(|(known, _)| *known == currency) else {
        return Err(Error::refused(Refusal::ChannelNotAvailable));
    };
    let owner = koban_store::users::by_id(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let dealing = koban_domain::books::User {
        id: owner.id,
        kind: owner.kind,
        access: owner.access,
        verification: owner.verification,
        created_at: owner.created_at,
    };
    // The commit decides it again: whoever is frozen meanwhile opens no flow.
    if let Err(refusal) = dealing.check_open().and(dealing.check_not_revoked()) {
        return Ok(Err(refusal));
    }
    let wallet = wallets::balances(app, user).await?;
    let now = app.clock.now();
    let policy = app.ledger.policy();
    let limit = |action, window| policy.limits.most(owner.kind, action, window, currency, now);
    if exposure.budget_is_used_up() {
        return Ok(Err(Refusal::LossBudgetExhausted));
    }
    let holds = wallet.prepaid.minor.saturating_add(wallet.funds.minor).saturating_add(wallet.bonus.left.minor);
    // In the order of precedence of outcomes: what leaves nothing first says why.
    let rooms = [
        (Some(exposure.cap.saturating_sub(exposure.used)), Refusal::ExposureCapReached),
        (limit(Action::Charge, Window::Once), Refusal::AmountLimit),
        (
            limit(Action::Hold, Window::Once)
                .map(|most| most.saturating_sub(holds).saturating_add(wallet.receivable.minor)),
            Refusal::BalanceLimit,
        ),
    ];
    let needed = input.amount.map_or(1, |amount| amount.minor);
    let mut most = asked.map_or(i64::MAX, |asked| asked.minor);
    for (room, refusal) in rooms {
        let Some(room) = room else { continue };
        if room < needed {
            return Ok(Err(refusal));
        }
        most = most.min(room);
    }
    Ok(Ok(Room { kind: owner.kind, since: owner.created_at, at_most: Money::new(most, currency) }))
}

/// Asks the plugin, and lays what may be done of its answer into the work. Errors: a fault or a refusal of the plugin, whose
/// record is kept by then.
async fn begin_with(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    plugin: &Plugin,
    input: &ChargeInput,
    room: &Room,
    work: &mut Work,
) -> Result<(), Error> {
    let now = app.clock.now();
    let request = ChargeRequest {
        wallet: wallet_name(plugin.id(), user),
        amount: input.amount,
        at_most: room.at_most,
        facts: facts(&plugin.manifest().facts, ctx, room, now),
    };
    let whom = For { scope: "platform", locale: &ctx.locale, about: Some(user) };
    let (answer, record) = guests::call(app, plugin, whom, Input::BeginCharge(request)).await;
    let step = match answer {
        Ok(Output::Step(step)) => step,
        Ok(Output::Failure(failure)) => {
            keep(app, ctx, record).await?;
            let (code, message) = (failure.code, failure.message);
            return Err(Error::PluginRefused { plugin: plugin.id().to_owned(), code, message });
        }
        Ok(_) => return Err(faulted(app, ctx, plugin, record, bad_answer()).await),
        Err(fault) if fault.class == FaultClass::Busy => return Err(Error::Busy),
        Err(fault) => return Err(faulted(app, ctx, plugin, record, fault).await),
    };
    let authorisation = Authorisation { user, at_most: room.at_most, expires_at: now.plus_ms(AUTHORISED_MS) };
    let id = FlowId(app.clock.id());
    let runs_on = (plugin.digest(), plugin.settings_digest());
    let flow = Flow::open(id, plugin.id(), runs_on, Beginning::Charge, authorisation, &ctx.locale, now);
    match flows::advance(&flow, None, step, plugin.manifest(), now) {
        Ok(plan) => {
            let detail = serde_json::json!({ "decision": record.id, "standing": plan.step.flow.standing });
            work.audit = vec![Audit {
                id: AuditId(app.clock.id()),
                actor: ctx.actor.to_string(),
                act: "flow.begin".to_owned(),
                subject: id.to_string(),
                detail: detail.to_string(),
            }];
            work.commands = plan.commands;
            work.step = Some(Box::new(plan.step));
        }
        Err(StepRefused::Broken(why)) => {
            let fault = Fault { class: FaultClass::Denied, detail: why.chars().take(500).collect() };
            let faulted_by = Faulted { plugin: plugin.id().to_owned(), class: fault.class.word() };
            app.metrics.faults.get_or_create(&faulted_by).inc();
            return Err(faulted(app, ctx, plugin, record, fault).await);
        }
        // A beginning that is refused opens no flow.
        Err(StepRefused::Refused(refused)) => {
            let refusal = Refusal::ALL.into_iter().find(|refusal| refusal.code() == refused.outcome);
            work.refused = Some(refusal.unwrap_or(Refusal::PathNotAllowed));
        }
    }
    work.records = vec![record];
    Ok(())
}

/// The wallet's name for a plugin: the same for the same wallet and plugin, and no id of ours.
pub(crate) fn wallet_name(plugin: &str, user: UserId) -> String {
    hex::encode(Digest::of_parts(&[b"koban wallet 1", plugin.as_bytes(), &user.bytes()]).half())
}

fn facts(asked: &[String], ctx: &Ctx, room: &Room, now: Timestamp) -> Vec<Named> {
    const DAY_MS: i64 = 86_400_000;
    let mut facts = Vec::with_capacity(asked.len());
    for name in asked {
        facts.extend(match name.as_str() {
            "account.kind" => Some(Named::text(name, room.kind.word())),
            "account.age_days" => Some(Named::whole(name, now.since_ms(room.since).max(0) / DAY_MS)),
            "device.id" => ctx.device.as_deref().map(|device| Named::text(name, device)),
            // The others are about a payee, which a charge does not have.
            _ => None,
        });
    }
    facts
}

async fn faulted(app: &App, ctx: &Ctx, plugin: &Plugin, record: SealedRecord, fault: Fault) -> Error {
    match keep(app, ctx, record).await {
        Ok(()) => Error::PluginFault { plugin: plugin.id().to_owned(), fault },
        Err(error) => error,
    }
}

/// Keeps the record of a call that decided nothing.
async fn keep(app: &App, ctx: &Ctx, record: SealedRecord) -> Result<(), Error> {
    let mut work = ctx.work(app.clock.id());
    work.records = vec![record];
    app.ledger.commit(work).await?;
    Ok(())
}

fn bad_answer() -> Fault {
    Fault { class: FaultClass::BadAnswer, detail: "the answer belongs to another function".to_owned() }
}

fn check(input: &ChargeInput) -> Result<(), Error> {
    if !is_plugin_id(&input.channel) {
        return Err(Error::invalid("channel", "name a channel by its plugin's id, such as `charge-atm`"));
    }
    for (field, amount) in [("amount", input.amount), ("at_most", input.at_most)] {
        if amount.is_some_and(|amount| amount.minor <= 0) {
            return Err(Error::invalid(field, "must be more than zero"));
        }
    }
    if let (Some(amount), Some(at_most)) = (input.amount, input.at_most) {
        if amount.currency != at_most.currency {
            return Err(Error::invalid("at_most", "must be in the currency of `amount`"));
        }
        if amount.minor > at_most.minor {
            return Err(Error::invalid("at_most", "must be at least `amount`"));
        }
    }
    Ok(())
}

/// A charge of the signed-in user.
pub async fn get(app: &App, ctx: &Ctx, id: FlowId) -> Result<ChargeView, Error> {
    let flow = own(app, ctx, id).await?;
    Ok(view(app, ctx, flow).await)
}

/// The signed-in user's charges, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<ChargeView>, Error> {
    let user = ctx.user()?;
    let limit = page.limit()?;
    let before = page.place::<16>()?.map(|bytes| FlowId(uuid::Uuid::from_bytes(bytes)));
    let flows = rows::by_user(&app.store, user, before, limit + 1).await?;
    let paged = Paged::of(flows, limit, |flow| flow.id.bytes().to_vec());
    let mut items = Vec::with_capacity(paged.items.len());
    for flow in paged.items {
        items.push(view(app, ctx, flow).await);
    }
    Ok(Paged { items, next: paged.next })
}

/// Fills in a form that the charge shows. Waits a moment for the plugin, then says how the charge stands.
pub async fn answer(app: &App, ctx: &Ctx, id: FlowId, key: &str, values: Vec<Named>) -> Result<ChargeView, Error> {
    let flow = own(app, ctx, id).await?;
    if flow.standing.is_final() {
        return Err(Error::Conflict("the charge has ended; begin a new one".to_owned()));
    }
    let shown = flow.effects.iter().find(|effect| effect.key == key && effect.state == EffectState::Open);
    let Some(Show::Form(fields)) = shown.and_then(|effect| effect.show.as_ref()) else {
        return Err(Error::Conflict(format!("the charge shows no form `{key}` now; read it again")));
    };
    form::check(fields, &values, flow.authorisation.at_most.currency)?;
    arrive(app, ctx, &flow, key, What::Form(values)).await
}

/// Asks the plugin to stop the charge. Whether it can is the plugin's to say.
pub async fn cancel(app: &App, ctx: &Ctx, id: FlowId) -> Result<ChargeView, Error> {
    let flow = own(app, ctx, id).await?;
    match flow.standing {
        Standing::Cancelled => Ok(view(app, ctx, flow).await),
        standing if standing.is_final() => {
            Err(Error::Conflict("the charge has ended and cannot be cancelled".to_owned()))
        }
        _ => arrive(app, ctx, &flow, "", What::CancelAsked).await,
    }
}

async fn own(app: &App, ctx: &Ctx, id: FlowId) -> Result<Flow, Error> {
    let user = ctx.user()?;
    let flow = rows::by_id(&app.store, id).await?.filter(|flow| flow.authorisation.user == user);
    flow.filter(|flow| flow.beginning == Beginning::Charge).ok_or(Error::NotFound("charge"))
}

async fn arrive(app: &App, ctx: &Ctx, flow: &Flow, key: &str, what: What) -> Result<ChargeView, Error> {
    if flow.stuck.is_some() {
        return Err(Error::Conflict(
            "somebody of the platform has to look at this charge first; try again later".to_owned(),
        ));
    }
    let mut waiter = app.bell.move_of(flow.id);
    // The same wish again while it waits is the same wish.
    let same =
        rows::next_event(&app.store, flow).await?.filter(|next| next.event.key == key && next.event.what == what);
    let place = match same {
        Some(same) => same.place,
        None => {
            let at = app.clock.now();
            rows::arrive(&app.store, &Arrival { flow: flow.id, key: key.to_owned(), what, call: None, at }).await?
        }
    };
    app.bell.flow(flow.id);
    let stepped = async {
        while rows::next_event(&app.store, flow).await?.is_some_and(|next| next.place <= place) {
            waiter.look_again().await;
        }
        Ok(())
    };
    // Slow is no error: the charge is read again later.
    tokio::time::timeout(STEP_WITHIN, stepped).await.unwrap_or(Ok::<(), Error>(()))?;
    get(app, ctx, flow.id).await
}

async fn view(app: &App, ctx: &Ctx, flow: Flow) -> ChargeView {
    // Without its component a charge is still shown, only without the plugin's texts.
    let plugin = plugins::of_flow(app, &flow).await.ok();
    shown(&flow, plugin.as_ref().map(Plugin::manifest), &ctx.locale)
}

/// The charge in the user's language.
fn shown(flow: &Flow, manifest: Option<&Manifest>, locale: &str) -> ChargeView {
    let text = |key: &str| {
        let words = manifest?.texts.get(key)?;
        Some(if locale == "en" { words.en.clone() } else { words.ja.clone() })
    };
    let shows = flow
        .shown()
        .map(|(key, show)| Shown {
            key: key.to_owned(),
            text: match show {
                Show::Text(key) => text(key),
                Show::Code(_) | Show::Qr(_) | Show::Link(_) | Show::Form(_) | Show::Consent(_) => None,
            },
            labels: match show {
                Show::Form(fields) => {
                    fields.iter().map(|field| text(&field.label).unwrap_or_else(|| field.name.clone())).collect()
                }
                Show::Text(_) | Show::Code(_) | Show::Qr(_) | Show::Link(_) | Show::Consent(_) => Vec::new(),
            },
            show: show.clone(),
        })
        .collect();
    let currency = flow.authorisation.at_most.currency;
    let credited = flow.credits.iter().fold(0_i64, |sum, credit| sum.saturating_add(credit.amount.minor));
    let reversed = flow.credits.iter().fold(0_i64, |sum, credit| sum.saturating_add(credit.reversed));
    let waits = flow.stuck.is_some() && !flow.standing.is_final();
    ChargeView {
        id: flow.id,
        channel: flow.plugin.clone(),
        standing: if waits { Standing::Checking } else { flow.standing },
        // Nothing is asked of the user while an operator has to look.
        shows: if waits { Vec::new() } else { shows },
        at_most: flow.authorisation.at_most,
        credited: Money::new(credited, currency),
        reversed: Money::new(reversed, currency),
        note: flow.note.as_ref().map(|note| Note {
            code: note.code.clone(),
            text: match (note.text.as_deref(), note.code.as_str()) {
                (Some(key), _) => text(key),
                (None, RESOLVED) if locale == "en" => Some("An operator closed this charge".to_owned()),
                (None, RESOLVED) => Some("運営がこのチャージを終了しました".to_owned()),
                (None, _) => None,
            },
        }),
        opened_at: flow.opened_at,
        changed_at: flow.changed_at,
    }
}
