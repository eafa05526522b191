//! Withdrawals: a flow that takes money out of a wallet to its owner, through a channel that pays out.

use koban_domain::flows::{Flow, Linking};
use koban_domain::guest::{Named, Standing, WithdrawRequest};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::{Beginning, is_plugin_id};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::Input;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::users::UserRow;
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::begin::{self, BEGUN_MAX, Opening};
use crate::flows::own::{self, Note, Shown};
use crate::operations::{self, Answered, Begun};
use crate::page::{Page, Paged};
use crate::payments::check_amount;
use crate::plugins;

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithdrawInput {
    /// The channel: a plugin's id.
    pub channel: String,
    /// What the user gets.
    pub amount: Money,
    /// What the user agrees to pay on top.
    pub fee: Money,
}

/// A withdrawal as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawalView {
    /// Its id, which is its flow's.
    pub id: FlowId,
    /// The channel.
    pub channel: String,
    /// Where it stands; `checking` as well when an operator has to look.
    pub standing: Standing,
    /// What the user gets.
    pub amount: Money,
    /// What it costs on top.
    pub fee: Money,
    /// What is shown now, in the order in which the plugin asked for it.
    pub shows: Vec<Shown>,
    /// What is set aside for it.
    pub held: Money,
    /// What was taken out, fee included.
    pub taken: Money,
    /// Why it failed, or was closed.
    pub note: Option<Note>,
    /// When it began.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Begins a withdrawal. A decided beginning never calls the plugin again. What the plugin itself refuses is recorded and decides
/// nothing: the same key may be tried again.
pub async fn begin(app: &App, ctx: &Ctx, input: WithdrawInput) -> Result<Answered<WithdrawalView>, Error> {
    let user = ctx.user()?;
    ctx.not_on_trial()?;
    check(&input)?;
    let operation = operations::begin(app, ctx, "POST /v1/withdrawals", &input)?;
    let begun = begin_once(app, ctx, user, &input, &operation).await;
    app.metrics.dealt("withdrawal", operations::result_word(&begun));
    let Answered { value: flow, replayed } = begun?.ok_or(Error::Busy)?;
    Ok(Answered { value: get(app, ctx, flow).await?, replayed })
}

/// None: the plugin was switched each time that it was asked.
async fn begin_once(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    input: &WithdrawInput,
    operation: &Begun,
) -> Result<Option<Answered<FlowId>>, Error> {
    if let Some(decided) = operation.decided(app).await? {
        return decided.expect(begin::opened).map(Some);
    }
    for _ in 0..BEGUN_MAX {
        // Like every 503, a channel that is not there, or that pays nothing out, decides nothing.
        let channel = plugins::in_force_for(app, &input.channel, user).await?;
        let Some(plugin) = channel.filter(|plugin| plugin.interfaces().contains(&"withdraw")) else {
            return Err(Error::refused(Refusal::ChannelNotAvailable));
        };
        let mut work = ctx.work(app.clock.id());
        work.relies_on = vec![Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }];
        // Prepaid value is never taken out: the books would say so at the hold, this says it before a plugin is asked.
        let verified =
            |owner: UserRow| if owner.kind == WalletKind::Funds { Ok(owner) } else { Err(Refusal::NotVerified) };
        match begin::owner(app, user).await?.and_then(verified) {
            Ok(owner) => {
                begin::lay(app, ctx, &plugin, opening(app, ctx, &plugin, &owner, input), &mut work).await?;
            }
            Err(refusal) => work.refused = Some(refusal),
        }
        if let Some(begun) = begin::commit(app, operation, work).await? {
            return Ok(Some(begun));
        }
    }
    Ok(None)
}

/// The call that begins the withdrawal.
fn opening(app: &App, ctx: &Ctx, plugin: &Plugin, owner: &UserRow, input: &WithdrawInput) -> Opening {
    let at_most = Money::new(input.amount.minor.saturating_add(input.fee.minor), input.amount.currency);
    let known = Some((owner.kind, owner.created_at));
    let request = WithdrawRequest {
        wallet: begin::wallet_name(plugin.id(), owner.id),
        amount: input.amount,
        at_most,
        link: None,
        facts: begin::facts(&plugin.manifest().facts, ctx, known, app.clock.now()),
    };
    let (user, beginning, fee) = (owner.id, Beginning::Withdraw, input.fee.minor);
    Opening {
        user,
        beginning,
        at_most,
        fee,
        bill: None,
        linking: Linking::default(),
        rows: None,
        input: Input::BeginWithdraw(request),
    }
}

fn check(input: &WithdrawInput) -> Result<(), Error> {
    if !is_plugin_id(&input.channel) {
        return Err(Error::invalid("channel", "name a channel by its plugin's id, such as `bank-transfer`"));
    }
    check_amount(input.amount)?;
    begin::check_fee(input.fee, input.amount.currency)
}

/// A withdrawal of the signed-in user.
pub async fn get(app: &App, ctx: &Ctx, id: FlowId) -> Result<WithdrawalView, Error> {
    let flow = own::flow(app, ctx, id, Beginning::Withdraw).await?;
    Ok(view(app, ctx, flow).await)
}

/// The signed-in user's withdrawals, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<WithdrawalView>, Error> {
    let paged = own::list(app, ctx, Beginning::Withdraw, page).await?;
    let mut items = Vec::with_capacity(paged.items.len());
    for flow in paged.items {
        items.push(view(app, ctx, flow).await);
    }
    Ok(Paged { items, next: paged.next })
}

/// Fills in a form that the withdrawal shows. Waits a moment for the plugin, then says how it stands.
pub async fn answer(app: &App, ctx: &Ctx, id: FlowId, key: &str, values: Vec<Named>) -> Result<WithdrawalView, Error> {
    own::answer(app, &own::flow(app, ctx, id, Beginning::Withdraw).await?, key, values).await?;
    get(app, ctx, id).await
}

/// Asks the plugin to stop the withdrawal. Whether it can is the plugin's to say.
pub async fn cancel(app: &App, ctx: &Ctx, id: FlowId) -> Result<WithdrawalView, Error> {
    own::cancel(app, &own::flow(app, ctx, id, Beginning::Withdraw).await?).await?;
    get(app, ctx, id).await
}

/// The withdrawal in the user's language.
async fn view(app: &App, ctx: &Ctx, flow: Flow) -> WithdrawalView {
    let plugin = plugins::of_flow(app, &flow).await.ok();
    let manifest = plugin.as_ref().map(Plugin::manifest);
    let at_most = flow.authorisation.at_most;
    let money = |minor| Money::new(minor, at_most.currency);
    WithdrawalView {
        id: flow.id,
        channel: flow.plugin.clone(),
        standing: own::standing(&flow),
        amount: money(at_most.minor.saturating_sub(flow.outgoing.fee)),
        fee: money(flow.outgoing.fee),
        shows: own::shows(&flow, manifest, &ctx.locale),
        held: money(flow.outgoing.held()),
        taken: money(flow.outgoing.captured()),
        note: own::note(&flow, manifest, &ctx.locale),
        opened_at: flow.opened_at,
        changed_at: flow.changed_at,
    }
}
