//! Charging a wallet: a flow that a user begins through a channel, answers and may cancel.

use koban_domain::accounts::PluginKey;
use koban_domain::flows::{Flow, Linking};
use koban_domain::guest::{ChargeRequest, Named, Standing};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::limits::{Action, WalletKind, Window};
use koban_domain::manifest::{Beginning, Kind, is_plugin_id};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::Input;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::begin::{self, BEGUN_MAX, Opening};
use crate::flows::own;
pub use crate::flows::own::{Note, Shown};
use crate::operations::{self, Answered, Begun};
use crate::page::{Page, Paged};
use crate::plugins;
use crate::wallets;

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
        return decided.expect(begin::opened).map(Some);
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
            Ok(room) => {
                begin::lay(app, ctx, &plugin, opening(ctx, user, &plugin, input, &room, app.clock.now()), &mut work)
                    .await?
            }
            Err(refusal) => work.refused = Some(refusal),
        }
        if let Some(begun) = begin::commit(app, operation, work).await? {
            return Ok(Some(begun));
        }
    }
    Ok(None)
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
    let owner = match begin::owner(app, user).await? {
        Ok(owner) => owner,
        Err(refusal) => return Ok(Err(refusal)),
    };
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

/// The call that begins the charge, within this room.
fn opening(ctx: &Ctx, user: UserId, plugin: &Plugin, input: &ChargeInput, room: &Room, now: Timestamp) -> Opening {
    let request = ChargeRequest {
        wallet: begin::wallet_name(plugin.id(), user),
        amount: input.amount,
        at_most: room.at_most,
        facts: begin::facts(&plugin.manifest().facts, ctx, Some((room.kind, room.since)), now),
    };
    let (beginning, at_most) = (Beginning::Charge, room.at_most);
    Opening {
        user,
        beginning,
        at_most,
        fee: 0,
        bill: None,
        linking: Linking::default(),
        rows: None,
        input: Input::BeginCharge(request),
    }
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
    let flow = own::flow(app, ctx, id, Beginning::Charge).await?;
    Ok(view(app, ctx, flow).await)
}

/// The signed-in user's charges, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<ChargeView>, Error> {
    let paged = own::list(app, ctx, Beginning::Charge, page).await?;
    let mut items = Vec::with_capacity(paged.items.len());
    for flow in paged.items {
        items.push(view(app, ctx, flow).await);
    }
    Ok(Paged { items, next: paged.next })
}

/// Fills in a form that the charge shows. Waits a moment for the plugin, then says how the charge stands.
pub async fn answer(app: &App, ctx: &Ctx, id: FlowId, key: &str, values: Vec<Named>) -> Result<ChargeView, Error> {
    own::answer(app, &own::flow(app, ctx, id, Beginning::Charge).await?, key, values).await?;
    get(app, ctx, id).await
}

/// Asks the plugin to stop the charge. Whether it can is the plugin's to say.
pub async fn cancel(app: &App, ctx: &Ctx, id: FlowId) -> Result<ChargeView, Error> {
    own::cancel(app, &own::flow(app, ctx, id, Beginning::Charge).await?).await?;
    get(app, ctx, id).await
}

/// The charge in the user's language.
async fn view(app: &App, ctx: &Ctx, flow: Flow) -> ChargeView {
    let plugin = plugins::of_flow(app, &flow).await.ok();
    let manifest = plugin.as_ref().map(Plugin::manifest);
    let currency = flow.authorisation.at_most.currency;
    let credited = flow.credits.iter().fold(0_i64, |sum, credit| sum.saturating_add(credit.amount.minor));
    let reversed = flow.credits.iter().fold(0_i64, |sum, credit| sum.saturating_add(credit.reversed));
    ChargeView {
        id: flow.id,
        channel: flow.plugin.clone(),
        standing: own::standing(&flow),
        shows: own::shows(&flow, manifest, &ctx.locale),
        at_most: flow.authorisation.at_most,
        credited: Money::new(credited, currency),
        reversed: Money::new(reversed, currency),
        note: own::note(&flow, manifest, &ctx.locale),
        opened_at: flow.opened_at,
        changed_at: flow.changed_at,
    }
}
