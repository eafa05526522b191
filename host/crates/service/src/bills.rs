//! Bills: a code is recognised by the plugin that knows it, the user agrees to what it says, and a flow pays it.

use koban_domain::flows::{Flow, Linking};
use koban_domain::guest::{Bill, BillCode, BillRequest, Named, Standing};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::ledger::{SealedRecord, Work};
use koban_domain::manifest::{Beginning, Kind, Manifest, is_plugin_id};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::{FaultClass, Input, Output};
use koban_domain::releases::Scope;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::users::UserRow;
use serde::Serialize;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::begin::{self, BEGUN_MAX, Opening};
use crate::flows::own::{self, Note, Shown};
use crate::guests::{self, For};
use crate::operations::{self, Answered, Begun};
use crate::page::{Page, Paged};
use crate::payments::check_amount;
use crate::plugins;

/// Most bytes of a scanned code: a QR code of the largest version holds no more.
const CODE_BYTES_MAX: usize = 2_000;
/// Most bytes of a biller's id, and of its id of a bill.
const PAYEE_BYTES_MAX: usize = 200;
/// Most plugins that are asked what a code is.
const ASKED_MAX: usize = 20;

/// A bill as a plugin recognised it, in the user's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The plugin that would pay it.
    pub payer: String,
    /// What it says.
    pub bill: Bill,
    /// Further lines: label and value.
    pub lines: Vec<(String, koban_domain::guest::Value)>,
}

/// What a user agrees to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PayInput {
    /// The plugin that recognised the code.
    pub payer: String,
    /// The code.
    pub code: BillCode,
    /// What the biller gets.
    pub amount: Money,
    /// What the user pays on top.
    pub fee: Money,
    /// Who is paid, as the user was shown it; nothing is begun if the code names another one by now. None does not ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biller: Option<String>,
    /// The biller's own id of the bill, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl PayInput {
    /// Whether this is the bill that the user agreed to.
    fn means(&self, bill: &Bill) -> bool {
        let same = |agreed: &Option<String>, is: &str| agreed.as_deref().is_none_or(|agreed| agreed == is);
        (bill.amount, bill.fee) == (self.amount, self.fee)
            && same(&self.biller, &bill.biller)
            && same(&self.reference, &bill.reference)
    }
}

/// A bill as its payer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillView {
    /// Its id, which is its flow's.
    pub id: FlowId,
    /// The plugin that pays it.
    pub payer: String,
    /// Where it stands; `checking` as well when an operator has to look.
    pub standing: Standing,
    /// What was agreed to.
    pub bill: Bill,
    /// What is shown now, in the order in which the plugin asked for it.
    pub shows: Vec<Shown>,
    /// What is set aside for it.
    pub held: Money,
    /// What was paid, fee included.
    pub paid: Money,
    /// Why it failed, or was closed.
    pub note: Option<Note>,
    /// When it began.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Says what bill a code is. Every plugin that pays bills, as it decides for the user, is asked in turn, in the order of their ids, until one knows the code. Each call's
/// record is kept. Errors: [`Error::NotFound`] if none knows it, [`Error::PluginRefused`] if one knows it as a bill that cannot be paid.
pub async fn recognise(app: &App, ctx: &Ctx, code: &BillCode) -> Result<Recognised, Error> {
    check_code(code)?;
    let owner = match ctx.user() {
        Ok(user) => Some(koban_store::users::by_id(&app.store, user).await?.ok_or(Error::NotFound("user"))?),
        // An operator who looks at a slip stands for nobody.
        Err(_) => ctx.operator().map(|_| None)?,
    };
    let mut records = Vec::new();
    let payers = match &owner {
        // A canary recognises for those whose bills it would pay.
        Some(owner) => plugins::all_in_force_for(app, Kind::BillPayer, &[Scope::Platform], &owner.id.bytes()).await?,
        None => plugins::all_in_force(app, Kind::BillPayer).await?,
    };
    for plugin in payers.iter().take(ASKED_MAX) {
        match ask(app, ctx, plugin, owner.as_ref(), code, &mut records).await {
            Ok(None) => {}
            // One that is broken does not keep the next from knowing the code.
            Err(Error::PluginFault { plugin, fault }) => {
                tracing::warn!(plugin, %fault, "a plugin could not say what a code is; the next one is asked");
            }
            answer => {
                begin::keep(app, ctx, records).await?;
                return answer?.map(|bill| recognised(plugin, bill, &ctx.locale)).ok_or(Error::NotFound("bill"));
            }
        }
    }
    begin::keep(app, ctx, records).await?;
    Err(Error::NotFound("bill"))
}

fn recognised(plugin: &Plugin, bill: Bill, locale: &str) -> Recognised {
    let lines = lines(Some(plugin.manifest()), &bill.fields, locale);
    Recognised { payer: plugin.id().to_owned(), bill, lines }
}

/// A bill's further lines under their labels.
fn lines(manifest: Option<&Manifest>, fields: &[Named], locale: &str) -> Vec<(String, koban_domain::guest::Value)> {
    let label = |name: &str| own::word(manifest, name, locale).unwrap_or_else(|| name.to_owned());
    fields.iter().map(|field| (label(&field.name), field.value.clone())).collect()
}

/// Asks one plugin. None: it is no bill of its.
async fn ask(
    app: &App,
    ctx: &Ctx,
    plugin: &Plugin,
    owner: Option<&UserRow>,
    code: &BillCode,
    records: &mut Vec<SealedRecord>,
) -> Result<Option<Bill>, Error> {
    let known = owner.map(|owner| (owner.kind, owner.created_at));
    let facts = begin::facts(&plugin.manifest().facts, ctx, known, app.clock.now());
    let whom = For { scope: "platform", locale: &ctx.locale, about: owner.map(|owner| owner.id) };
    let (answer, record) = guests::call(app, plugin, whom, Input::Recognise(code.clone(), facts)).await;
    let id = || plugin.id().to_owned();
    match answer {
        // Nothing ran: there is nothing to record.
        Err(fault) if fault.class == FaultClass::Busy => return Err(Error::Busy),
        _ => records.push(record),
    }
    match answer {
        Ok(Output::Bill(bill)) => Ok(bill),
        Ok(Output::Failure(failure)) => {
            let text = failure.text.and_then(|key| own::word(Some(plugin.manifest()), &key, &ctx.locale));
            Err(Error::PluginRefused { plugin: id(), code: failure.code, message: failure.message, text })
        }
        Ok(_) => Err(Error::PluginFault { plugin: id(), fault: begin::bad_answer() }),
        Err(fault) => Err(Error::PluginFault { plugin: id(), fault }),
    }
}

/// Begins to pay a bill. A decided beginning never calls the plugin again. What the plugin itself refuses is recorded and decides
/// nothing: the same key may be tried again.
pub async fn pay(app: &App, ctx: &Ctx, input: PayInput) -> Result<Answered<BillView>, Error> {
    let user = ctx.user()?;
    ctx.not_on_trial()?;
    check(&input)?;
    let operation = operations::begin(app, ctx, "POST /v1/bills", &input)?;
    let begun = pay_once(app, ctx, user, &input, &operation).await;
    app.metrics.dealt("bill", operations::result_word(&begun));
    let Answered { value: flow, replayed } = begun?.ok_or(Error::Busy)?;
    Ok(Answered { value: get(app, ctx, flow).await?, replayed })
}

/// None: the plugin was switched each time that it was asked.
async fn pay_once(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    input: &PayInput,
    operation: &Begun,
) -> Result<Option<Answered<FlowId>>, Error> {
    if let Some(decided) = operation.decided(app).await? {
        return decided.expect(begin::opened).map(Some);
    }
    for _ in 0..BEGUN_MAX {
        // Like every 503, a payer that is not there decides nothing.
        let payer = plugins::in_force_for(app, &input.payer, user).await?;
        let Some(plugin) = payer.filter(|plugin| plugin.manifest().kind == Kind::BillPayer) else {
            return Err(Error::refused(Refusal::ChannelNotAvailable));
        };
        let mut work = ctx.work(app.clock.id());
        work.relies_on = vec![Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }];
        match begin::owner(app, user).await? {
            Ok(owner) => {
                let bill = agreed(app, ctx, &plugin, &owner, input, &mut work).await?;
                begin::lay(app, ctx, &plugin, opening(app, ctx, &plugin, &owner, input, bill), &mut work).await?;
            }
            Err(refusal) => work.refused = Some(refusal),
        }
        if let Some(begun) = begin::commit(app, operation, work).await? {
            return Ok(Some(begun));
        }
    }
    Ok(None)
}

/// The bill that the code is now, which must be the one that the user agreed to. Errors: [`Error::Conflict`] if it says something else.
async fn agreed(
    app: &App,
    ctx: &Ctx,
    plugin: &Plugin,
    owner: &UserRow,
    input: &PayInput,
    work: &mut Work,
) -> Result<Bill, Error> {
    let found = ask(app, ctx, plugin, Some(owner), &input.code, &mut work.records).await;
    let bill = match found {
        Ok(Some(bill)) if input.means(&bill) => return Ok(bill),
        Ok(Some(bill)) => Error::Conflict(format!(
            "the bill is {} and {} on top, to {} as {}, not what was agreed to; recognise the code again",
            bill.amount, bill.fee, bill.biller, bill.reference
        )),
        Ok(None) => Error::NotFound("bill"),
        Err(error) => error,
    };
    begin::keep(app, ctx, std::mem::take(&mut work.records)).await?;
    Err(bill)
}

/// The call that begins to pay the bill.
fn opening(app: &App, ctx: &Ctx, plugin: &Plugin, owner: &UserRow, input: &PayInput, bill: Bill) -> Opening {
    let at_most = Money::new(bill.amount.minor.saturating_add(bill.fee.minor), bill.amount.currency);
    let known = Some((owner.kind, owner.created_at));
    let facts = begin::facts(&plugin.manifest().facts, ctx, known, app.clock.now());
    let request = BillRequest {
        wallet: begin::wallet_name(plugin.id(), owner.id),
        code: input.code.clone(),
        bill: bill.clone(),
        at_most,
        link: None,
        facts,
    };
    let (user, beginning) = (owner.id, Beginning::PayBill);
    Opening {
        user,
        beginning,
        at_most,
        fee: bill.fee.minor,
        bill: Some(bill),
        linking: Linking::default(),
        rows: None,
        input: Input::BeginBill(Box::new(request)),
    }
}

fn check(input: &PayInput) -> Result<(), Error> {
    if !is_plugin_id(&input.payer) {
        return Err(Error::invalid("payer", "name the plugin that recognised the code, such as `bill-slip`"));
    }
    check_code(&input.code)?;
    check_amount(input.amount)?;
    for (field, agreed) in [("biller", &input.biller), ("reference", &input.reference)] {
        if agreed.as_ref().is_some_and(|agreed| agreed.is_empty() || agreed.len() > PAYEE_BYTES_MAX) {
            return Err(Error::invalid(field, "send it as the code was recognised, or leave it out"));
        }
    }
    begin::check_fee(input.fee, input.amount.currency)
}

fn check_code(code: &BillCode) -> Result<(), Error> {
    if code.content.is_empty() || code.content.len() > CODE_BYTES_MAX {
        return Err(Error::invalid("code.content", format!("a code has 1 to {CODE_BYTES_MAX} bytes")));
    }
    // The group separator of GS1 ends a field of variable length.
    if code.content.chars().any(|character| character.is_control() && character != '\u{1d}') {
        return Err(Error::invalid("code.content", "leave out control characters"));
    }
    Ok(())
}

/// A bill of the signed-in user.
pub async fn get(app: &App, ctx: &Ctx, id: FlowId) -> Result<BillView, Error> {
    let flow = own::flow(app, ctx, id, Beginning::PayBill).await?;
    view(app, ctx, flow).await
}

/// The signed-in user's bills, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<BillView>, Error> {
    let paged = own::list(app, ctx, Beginning::PayBill, page).await?;
    let mut items = Vec::with_capacity(paged.items.len());
    for flow in paged.items {
        items.push(view(app, ctx, flow).await?);
    }
    Ok(Paged { items, next: paged.next })
}

/// Fills in a form that the bill shows. Waits a moment for the plugin, then says how the bill stands.
pub async fn answer(app: &App, ctx: &Ctx, id: FlowId, key: &str, values: Vec<Named>) -> Result<BillView, Error> {
    own::answer(app, &own::flow(app, ctx, id, Beginning::PayBill).await?, key, values).await?;
    get(app, ctx, id).await
}

/// Asks the plugin not to pay the bill after all. Whether it still can is the plugin's to say.
pub async fn cancel(app: &App, ctx: &Ctx, id: FlowId) -> Result<BillView, Error> {
    own::cancel(app, &own::flow(app, ctx, id, Beginning::PayBill).await?).await?;
    get(app, ctx, id).await
}

/// The bill in the user's language.
async fn view(app: &App, ctx: &Ctx, flow: Flow) -> Result<BillView, Error> {
    let plugin = plugins::of_flow(app, &flow).await.ok();
    let manifest = plugin.as_ref().map(Plugin::manifest);
    let currency = flow.authorisation.at_most.currency;
    let bill = flow.outgoing.bill.clone();
    Ok(BillView {
        id: flow.id,
        payer: flow.plugin.clone(),
        standing: own::standing(&flow),
        shows: own::shows(&flow, manifest, &ctx.locale),
        held: Money::new(flow.outgoing.held(), currency),
        paid: Money::new(flow.outgoing.captured(), currency),
        note: own::note(&flow, manifest, &ctx.locale),
        opened_at: flow.opened_at,
        changed_at: flow.changed_at,
        bill: bill.ok_or_else(|| Error::Internal(format!("the flow {} pays a bill that it does not know", flow.id)))?,
    })
}
