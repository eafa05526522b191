//! One seed's small town on the real hosts: three people, a shop, a partner, two operators; and what they do, one thing at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use koban_domain::access::{Access, Holder};
use koban_domain::accounts::{AccountKey, Class, PluginKey};
use koban_domain::adjustments::Line;
use koban_domain::arrangements::CutOff;
use koban_domain::charges::{ChargeCredit, ChargeReversal};
use koban_domain::exchanges::Rate;
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::holds::{LetGo, OfHold, Purpose, SetAside, Take};
use koban_domain::ids::{
    AdjustmentId, CampaignId, DisputeId, FileId, FlowId, KeyId, LotId, MerchantId, OperatorId, PaymentId, ReviewId,
    SubmissionId, TransferId, UserId,
};
use koban_domain::ledger::{Answer, Audit, Command, Decided, Work};
use koban_domain::limits::WalletKind;
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::payments::{Pay, Terms};
use koban_domain::records::Digest;
use koban_domain::settlements::Settle;
use koban_domain::time::Timestamp;
use koban_domain::transfers::Send;
use koban_domain::verification::{Submission, Verification, Verify};
use koban_service::bonus::{self, CampaignInput, GrantInput};
use koban_service::captures::{self, CaptureInput, IncrementInput};
use koban_service::closings::{self, ArrangementInput, PayoutInput};
use koban_service::differences::{self, WriteOffInput};
use koban_service::disputes::{self, DisputeInput, RulingInput};
use koban_service::exchanges::{self, ExchangeInput};
use koban_service::operations::Answered;
use koban_service::page::Page;
use koban_service::payments::{self, PayInput};
use koban_service::refunds::{self, RefundInput};
use koban_service::reviews::{self, ReviewInput};
use koban_service::transfers::{self, SendInput};
use koban_service::{Actor, App, Ctx, Error, adjustments, closures, freezes, users, verification, wallets};
use koban_store::plugins::Allowance;
use koban_store::users::UserRow;
use uuid::Uuid;

use super::hosts::Hosts;
use super::model::{BUDGET, CAP, CREDIT, FEE_RATE, LOSS_BUDGET, Model};
use super::steps::{Ruling, Step};
use crate::load::Dice;

/// Everything by which a town is known to the hosts.
#[derive(Debug, Clone)]
struct Names {
    seed: u64,
    people: [UserId; 3],
    shop: MerchantId,
    till: String,
    operators: [OperatorId; 2],
    sales: Vec<PaymentId>,
    gifts: Vec<TransferId>,
    /// Whose, how much, and the partner's reference.
    credits: Vec<(usize, i64, String)>,
    asides: Vec<OfHold>,
    /// The partner's references of what it took.
    taken: Vec<(String, i64)>,
    proposals: Vec<AdjustmentId>,
    campaign: CampaignId,
    lots: Vec<LotId>,
    disputes: Vec<DisputeId>,
}

/// A town, its model and what happened so far.
pub(super) struct Town {
    pub(super) seed: u64,
    dice: Dice,
    model: Model,
    names: Names,
    steps: u32,
    log: Vec<String>,
}

/// What a step made.
enum Made {
    Payment(PaymentId),
    Transfer(TransferId),
    Adjustment(AdjustmentId),
    Lot(LotId),
    Dispute(DisputeId),
    Nothing,
}

fn usd() -> Currency {
    Currency::new("USD").expect("a currency")
}

/// An id that depends on the seed alone.
fn id(seed: u64, number: u64) -> Uuid {
    Uuid::from_u128(u128::from(seed) << 64 | u128::from(number))
}

/// The name under which a seed's partner brings money.
pub(super) fn till(seed: u64) -> String {
    format!("till-{seed}")
}

impl Town {
    /// Founds a town: its people, its shop and what its partner may owe.
    pub(super) async fn found(seed: u64, hosts: &Hosts, now: Timestamp) -> Town {
        let mut names = Names {
            seed,
            people: [1, 2, 3].map(|number| UserId(id(seed, number))),
            shop: MerchantId(id(seed, 4)),
            till: till(seed),
            operators: [5, 6].map(|number| OperatorId(id(seed, number))),
            sales: Vec::new(),
            gifts: Vec::new(),
            credits: Vec::new(),
            asides: Vec::new(),
            taken: Vec::new(),
            proposals: Vec::new(),
            campaign: CampaignId::default(),
            lots: Vec::new(),
            disputes: Vec::new(),
        };
        let asked = names.clone();
        let founded = hosts.ask(0, move |app| found(app, asked.clone())).await;
        names.campaign = founded.expect("a town is founded");
        Town { seed, dice: Dice::new(seed), model: Model::new(now.0), names, steps: 0, log: Vec::new() }
    }

    /// The next step on both sides; they must agree. Answers its word and what came of it.
    pub(super) async fn step(&mut self, hosts: &Hosts, now: Timestamp) -> (&'static str, &'static str) {
        let step = Step::draw(&mut self.dice, &self.model, now.0);
        let place = usize::try_from(self.dice.below(2)).unwrap_or(0);
        self.steps += 1;
        let mut model = self.model.clone();
        let told = model.tell(&step, now.0);
        self.log.push(format!("{:2} at {now} host {place}: {step:?} -> {told:?}", self.steps));
        let (names, key) = (Arc::new(self.names.clone()), format!("step-{}", self.steps));
        let asked = step.clone();
        let request = |app| {
            let (names, step, key) = (Arc::clone(&names), asked.clone(), key.clone());
            async move { perform(&app, &names, &step, &key).await }
        };
        // One in six asks, hears nothing, and asks again.
        if self.dice.below(6) == 0 {
            let after = std::time::Duration::from_micros(self.dice.below(6_000));
            hosts.ask_and_hang_up(place, after, request).await;
        }
        let said = hosts.ask(place, request).await;
        let (made, came) = match said {
            Ok((made, replayed)) => {
                hosts.replays.fetch_add(u32::from(replayed), Ordering::Relaxed);
                (Some(made), Ok(()))
            }
            Err(Error::Refused { refusal, .. }) => (None, Err(refusal.code())),
            Err(Error::NotFound("review")) => (None, Err("review_not_found")),
            Err(other) => panic!("{}{other:?}", self.story()),
        };
        assert!(came == told, "{}the hosts say {came:?}, the model says {told:?}", self.story());
        if told.is_ok() {
            self.model = model;
            match (made, &step) {
                (Some(Made::Payment(payment)), Step::Pay { .. }) => self.names.sales.push(payment),
                (Some(Made::Transfer(transfer)), _) => self.names.gifts.push(transfer),
                (Some(Made::Adjustment(adjustment)), Step::Propose { .. }) => self.names.proposals.push(adjustment),
                (Some(Made::Lot(lot)), Step::Grant { .. }) => self.names.lots.push(lot),
                (Some(Made::Dispute(dispute)), Step::Dispute { .. }) => self.names.disputes.push(dispute),
                (_, Step::Charge { who, yen, .. }) => self.names.credits.push((*who, *yen, key)),
                (_, Step::SetAside { who, withdrawal, .. }) => {
                    let of = of_hold(&self.names, *who, *withdrawal, &key);
                    self.names.asides.push(of);
                }
                (_, Step::TakeAside { yen, fee, .. }) => self.names.taken.push((key, yen - fee)),
                _ => {}
            }
        }
        (step.word(), told.err().unwrap_or("done"))
    }

    /// Everything whose time had run out was let go.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.log.push(format!("   at {now}: sweep"));
        self.model.sweep(now.0);
    }

    /// What everybody has in the end is what the model says.
    pub(super) async fn compare(&self, hosts: &Hosts, now: Timestamp) {
        let names = Arc::new(self.names.clone());
        let found = hosts
            .ask(1, |app| {
                let names = Arc::clone(&names);
                async move { read(&app, &names).await }
            })
            .await
            .expect("it is read");
        let wanted = (self.model.wallets(now.0), self.model.totals());
        assert!(found == wanted, "{}the hosts have {found:?}, the model {wanted:?}", self.story());
    }

    fn story(&self) -> String {
        let seed = self.seed;
        format!("seed {seed}; run it alone with KOBAN_SIMULATION_SEED={seed}\n{}\n", self.log.join("\n"))
    }
}

async fn found(app: App, names: Names) -> Result<CampaignId, Error> {
    for (number, user) in names.people.iter().enumerate() {
        if koban_store::users::by_id(&app.store, *user).await?.is_none() {
            let row = UserRow {
                id: *user,
                kind: WalletKind::Prepaid,
                access: Access::Open,
                verification: Verification::Unverified,
                created_at: app.clock.now(),
                display_name: "Hana".into(),
                email: None,
                password_hash: None,
                locale: "en".into(),
            };
            koban_store::users::create(&app.store, &row).await?;
        }
        if number > 0 {
            let command = Command::Verify(Verify { user: *user, operator: names.operators[0] });
            let audit = audit(&app, names.operators[0], "user.verify", user.to_string());
            asked(&app, Actor::Operator(names.operators[0]), &format!("verify-{number}"), command, Some(audit)).await?;
        }
    }
    let merchant = koban_store::merchants::MerchantRow {
        id: names.shop,
        name: "Corner shop".into(),
        category: "5812".into(),
        currencies: vec![Currency::JPY],
        access: Access::Open,
        created_at: app.clock.now(),
    };
    let row = audit(&app, names.operators[0], "merchant.create", names.shop.to_string());
    koban_store::merchants::create(&app.store, &merchant, &row).await?;
    // Each day, whatever day of the month it is: so every seed meets the same closings.
    let terms = ArrangementInput {
        merchant: names.shop,
        currency: Currency::JPY,
        credit_limit: CREDIT,
        fee_rate: FEE_RATE.parse().expect("a share"),
        cut_off: Some(CutOff::Daily),
        reason: "simulated".into(),
    };
    closings::arrange(&app, &Ctx::new(Actor::Operator(names.operators[0]), "arrange"), terms).await?;
    let row = audit(&app, names.operators[0], "plugin.limits", names.till.clone());
    let most = [Allowance { currency: Currency::JPY, cap: CAP, loss_budget: LOSS_BUDGET }];
    let till = PluginKey::of(&names.till);
    koban_store::plugins::set_allowances(&app.store, till, &most, &row, app.clock.now()).await?;
    let campaign = CampaignInput {
        name: "Spring".into(),
        budget: Money::yen(BUDGET),
        open: true,
        ends_at: None,
        per_user: None,
        bound: None,
        reason: "simulated".into(),
    };
    let planned = bonus::begin(&app, &Ctx::new(Actor::Operator(names.operators[0]), "campaign"), campaign).await?;
    Ok(planned.value.id)
}

fn audit(app: &App, operator: OperatorId, act: &str, subject: String) -> Audit {
    let id = koban_domain::ids::AuditId(app.clock.id());
    let actor = Actor::Operator(operator).to_string();
    Audit { id, actor, act: act.to_owned(), subject, detail: "{}".to_owned() }
}

/// One command under a key, whatever has become of an earlier request.
async fn asked(
    app: &App,
    actor: Actor,
    key: &str,
    command: Command,
    audit: Option<Audit>,
) -> Result<Answered<Answer>, Error> {
    let mut work = Work::new(app.clock.id(), actor.to_string());
    work.operation = Some(Claim::new(&actor.to_string(), key, "POST /v1/simulated", b"{}"));
    work.commands = vec![command];
    work.audit.extend(audit);
    match app.ledger.commit(work).await? {
        Decided::Done(mut answers) => Ok(Answered { value: answers.pop().unwrap_or(Answer::Noted), replayed: false }),
        Decided::Refused(_, refusal) | Decided::Replayed(Err(refusal)) => Err(Error::refused(refusal)),
        Decided::Replayed(Ok(value)) => Ok(Answered { value, replayed: true }),
        _ => Err(Error::Busy),
    }
}

async fn perform(app: &App, names: &Names, step: &Step, key: &str) -> Result<(Made, bool), Error> {
    let user = |who: usize| Ctx::new(Actor::User(names.people[who]), key);
    let shop = || Ctx::new(Actor::Merchant(names.shop, KeyId::default()), key);
    let operator = |which: usize| Ctx::new(Actor::Operator(names.operators[which]), key);
    let yen = Money::yen;
    fn nothing<T>(answered: Answered<T>) -> (Made, bool) {
        (Made::Nothing, answered.replayed)
    }
    Ok(match *step {
        Step::Charge { .. }
        | Step::TakeBack { .. }
        | Step::Settle { .. }
        | Step::SetAside { .. }
        | Step::TakeAside { .. }
        | Step::LetGo { .. }
        | Step::SettleTaken { .. } => nothing(
            asked(app, Actor::System, &format!("{key} {}", names.seed), partner(app, names, step, key), None).await?,
        ),
        Step::Pay { who, yen: amount, held_ms, review: true } => {
            let payment = PaymentId(app.clock.id());
            let terms = held_ms.map_or(Terms::AtOnce, |for_ms| Terms::Held { for_ms });
            let (merchant, amount, payer) = (names.shop, yen(amount), names.people[who]);
            let pay = Pay { payment, payer, merchant, amount, reference: None, decision: None, terms, review: true };
            let answered = asked(app, Actor::User(payer), key, Command::Pay(pay), None).await?;
            match answered.value {
                Answer::Paid(payment) => (Made::Payment(payment.id), answered.replayed),
                other => panic!("{other:?}"),
            }
        }
        Step::Pay { who, yen: amount, held_ms, review: false } => {
            let (merchant, amount, hold_s) = (names.shop, yen(amount), held_ms.map(|ms| ms / 1_000));
            let paid = payments::pay(app, &user(who), PayInput { merchant, amount, reference: None, hold_s }).await?;
            (Made::Payment(paid.value.id), paid.replayed)
        }
        Step::Increase { sale, yen: amount } => {
            let payment = names.sales[sale];
            let payer = payments::get(app, &operator(0), payment).await?.payer;
            let ctx = Ctx::new(Actor::User(payer), key);
            nothing(captures::increase(app, &ctx, IncrementInput { payment, amount: yen(amount) }).await?)
        }
        Step::Capture { sale, yen: amount, last } => {
            let payment = names.sales[sale];
            nothing(captures::capture(app, &shop(), CaptureInput { payment, amount, last }).await?)
        }
        Step::Void { sale } => nothing(captures::void(app, &shop(), names.sales[sale]).await?),
        Step::Refund { sale, yen: amount } => {
            let (payment, amount) = (names.sales[sale], yen(amount));
            nothing(refunds::refund(app, &shop(), RefundInput { payment, amount }).await?)
        }
        Step::Send { from, to, yen: amount, review: false } => {
            let (receiver, amount) = (names.people[to], yen(amount));
            let sent = transfers::send(app, &user(from), SendInput { receiver, amount, message: None }).await?;
            (Made::Transfer(sent.value.id), sent.replayed)
        }
        Step::Send { from, to, yen: amount, review: true } => {
            let (sender, receiver, amount) = (names.people[from], names.people[to], yen(amount));
            let transfer = TransferId(app.clock.id());
            let send = Send { transfer, sender, receiver, amount, message: None, decision: None, review: true };
            let answered = asked(app, Actor::User(sender), key, Command::Transfer(send), None).await?;
            match answered.value {
                Answer::Transferred(transfer) => (Made::Transfer(transfer.id), answered.replayed),
                other => panic!("{other:?}"),
            }
        }
        Step::Rule { sale, ruling } => nothing(rule(app, &operator(0), ReviewId(names.sales[sale].0), ruling).await?),
        Step::RuleGift { gift, ruling } => {
            nothing(rule(app, &operator(0), ReviewId(names.gifts[gift].0), ruling).await?)
        }
        Step::BuyDollars { who, cents, right } => {
            let (sell, buy, amount) = (Currency::JPY, usd(), Money::new(cents, usd()));
            let rate: Rate = if right { "112.3" } else { "112.4" }.parse().expect("a rate");
            nothing(exchanges::exchange(app, &user(who), ExchangeInput { sell, buy, amount, rate }).await?)
        }
        Step::SellDollars { who, cents } => {
            let (sell, buy, amount) = (usd(), Currency::JPY, Money::new(cents, usd()));
            let rate: Rate = "112.3".parse().expect("a rate");
            nothing(exchanges::exchange(app, &user(who), ExchangeInput { sell, buy, amount, rate }).await?)
        }
        Step::Submit { who } => {
            let id = SubmissionId(app.clock.id());
            let (user, key_id) = (names.people[who], "simulated".to_owned());
            let submission = Submission { id, user, key_id, sealed: vec![1], at: app.clock.now() };
            nothing(asked(app, Actor::User(user), key, Command::Submit(submission), None).await?)
        }
        Step::Verify { who } => nothing(users::verify(app, &operator(0), names.people[who]).await?),
        Step::Unverify { who, revoked: true } => {
            nothing(verification::revoke(app, &operator(0), names.people[who], "simulated").await?)
        }
        Step::Unverify { who, revoked: false } => {
            nothing(verification::reject(app, &operator(0), names.people[who], "simulated").await?)
        }
        Step::Freeze { who, frozen } => {
            let holder = who.map_or(Holder::Merchant(names.shop), |who| Holder::User(names.people[who]));
            nothing(freezes::set(app, &operator(0), holder, frozen, "simulated").await?)
        }
        Step::Close { who } => nothing(closures::close(app, &operator(0), names.people[who], "simulated").await?),
        Step::Propose { who, yen: amount, gives } => {
            let prepaid = AccountKey::user(Class::Prepaid, names.people[who], Currency::JPY);
            let of = |class| AccountKey::platform(class, Currency::JPY);
            let line = match gives {
                true => Line { debit: of(Class::WriteOff), credit: prepaid, amount },
                false => Line { debit: prepaid, credit: of(Class::Suspense), amount },
            };
            let proposed = adjustments::propose(app, &operator(0), vec![line], None, "simulated").await?;
            (Made::Adjustment(proposed.value.id), proposed.replayed)
        }
        Step::Judge { proposal, approve, same } => {
            let ctx = operator(usize::from(!same));
            nothing(adjustments::judge(app, &ctx, names.proposals[proposal], approve, "simulated").await?)
        }
        Step::WriteOff { credit } => {
            let (plugin, reference) = (names.till.clone(), names.credits[credit].2.clone());
            let input = WriteOffInput { plugin, side: Side::Credit, reference, reason: "simulated".into() };
            nothing(differences::write_off(app, &operator(0), input).await?)
        }
        Step::Grant { who, yen: amount, from, until } => {
            let (campaign, user, amount, reason) = (names.campaign, names.people[who], yen(amount), "simulated".into());
            let (usable_from, expires_at) = (Some(Timestamp(from)), Timestamp(until));
            let input = GrantInput { campaign, user, amount, usable_from, expires_at, reason };
            let granted = bonus::grant(app, &operator(0), input).await?;
            (Made::Lot(granted.value.id), granted.replayed)
        }
        Step::Revoke { lot } => nothing(bonus::revoke(app, &operator(0), names.lots[lot], "simulated").await?),
        Step::Release { lot } => nothing(bonus::release(app, &operator(0), names.lots[lot], "simulated").await?),
        Step::Dispute { sale, yen: amount } => {
            let (payment, amount, reason) = (names.sales[sale], yen(amount), "simulated".into());
            let input = DisputeInput { payment, amount, reason, evidence: None, days: None };
            let opened = disputes::open(app, &operator(0), input).await?;
            (Made::Dispute(opened.value.id), opened.replayed)
        }
        Step::EndDispute { dispute, won } => {
            let input = RulingInput { dispute: names.disputes[dispute], won, reason: "simulated".into() };
            nothing(disputes::decide(app, &operator(0), input).await?)
        }
        Step::PayOut { closing } => {
            // Newest first; the numbers count from the first one.
            let page = closings::list(app, Some(names.shop), &Page { after: None, limit: 100 }).await?;
            let place = page.items.len() - 1 - closing;
            let reference = format!("bank-{}-{key}", names.seed);
            let input = PayoutInput { closing: page.items[place].id, reference };
            nothing(closings::pay_out(app, &operator(0), input).await?)
        }
    })
}

async fn rule(
    app: &App,
    ctx: &Ctx,
    review: ReviewId,
    ruling: Ruling,
) -> Result<Answered<koban_domain::reviews::Review>, Error> {
    let input = ReviewInput { review, approve: ruling == Ruling::Approve, reason: "simulated".into() };
    reviews::decide(app, ctx, input).await
}

/// What the partner brings, takes back or lists.
fn partner(app: &App, names: &Names, step: &Step, key: &str) -> Command {
    let plugin = PluginKey::of(&names.till);
    // A credit's flow is a name that its reversal gives again.
    let flow = FlowId(id(names.seed, 7));
    match *step {
        Step::Charge { who, yen, arrived, again } => {
            let reference = again.map_or_else(|| key.to_owned(), |again| names.credits[again].2.clone());
            let (user, amount) = (names.people[who], Money::yen(yen));
            Command::Credit(ChargeCredit { plugin, flow, user, amount, reference, arrived })
        }
        Step::TakeBack { credit, yen } => {
            let (who, _, of) = names.credits[credit].clone();
            let (user, amount, reference) = (names.people[who], Money::yen(yen), format!("{key}-back"));
            Command::Reverse(ChargeReversal { plugin, flow, user, of, amount, reference })
        }
        Step::Settle { credit } => {
            let (_, yen, reference) = names.credits[credit].clone();
            let amount = Money::yen(yen);
            let lines = vec![SettlementLine { side: Side::Credit, reference, amount, at: 0 }];
            let digest = Digest::of(format!("{} {key}", names.seed).as_bytes());
            Command::Settle(Settle { plugin, file: FileId(app.clock.id()), digest, lines })
        }
        Step::SetAside { who, yen, withdrawal } => {
            Command::SetAside(SetAside { of: of_hold(names, who, withdrawal, key), amount: yen })
        }
        Step::TakeAside { aside, yen, fee, last } => {
            let (of, amount, reference) = (names.asides[aside].clone(), Money::yen(yen), key.to_owned());
            Command::Take(Take { of, amount, fee, reference, last })
        }
        Step::LetGo { aside } => Command::LetGo(LetGo { of: names.asides[aside].clone() }),
        Step::SettleTaken { taken } => {
            let (reference, yen) = names.taken[taken].clone();
            let lines = vec![SettlementLine { side: Side::Capture, reference, amount: Money::yen(yen), at: 0 }];
            let digest = Digest::of(format!("{} {key}", names.seed).as_bytes());
            Command::Settle(Settle { plugin, file: FileId(app.clock.id()), digest, lines })
        }
        ref other => panic!("{other:?}"),
    }
}

/// What a step sets aside, under its own name.
fn of_hold(names: &Names, who: usize, withdrawal: bool, key: &str) -> OfHold {
    let purpose = if withdrawal { Purpose::Withdrawal } else { Purpose::Bill };
    let (flow, plugin) = (FlowId(id(names.seed, 7)), PluginKey::of(&names.till));
    OfHold { flow, key: key.to_owned(), plugin, user: names.people[who], currency: Currency::JPY, purpose }
}

async fn read(app: &App, names: &Names) -> Result<([[i64; 6]; 3], [i64; 6]), Error> {
    let mut people = [[0; 6]; 3];
    for (place, user) in names.people.iter().enumerate() {
        let (yen, dollars) = (wallets::balances(app, *user).await?, wallets::balances_in(app, *user, usd()).await?);
        // What is over and not swept yet is on the account and in no view.
        let [bonus] = balances(app, [AccountKey::user(Class::Bonus, *user, Currency::JPY)]).await?;
        let (prepaid, funds, owed) = (yen.prepaid.minor, yen.funds.minor, yen.receivable.minor);
        people[place] = [prepaid, funds, owed, dollars.funds.minor, bonus, yen.available.minor];
    }
    let of_shop = |class| AccountKey { class, ..AccountKey::payable(names.shop, Currency::JPY) };
    let [owed, due, contested] =
        balances(app, [Class::Payable, Class::PayoutDue, Class::Disputed].map(of_shop)).await?;
    let exposures = koban_store::plugins::exposures(&app.store, PluginKey::of(&names.till)).await?;
    let exposure = exposures.first().map(|(_, exposure)| (exposure.used, exposure.lost)).unwrap_or_default();
    let [in_transit] = balances(app, [AccountKey::in_transit(PluginKey::of(&names.till), Currency::JPY)]).await?;
    Ok((people, [owed, due, contested, exposure.0, exposure.1, in_transit]))
}

async fn balances<const N: usize>(app: &App, keys: [AccountKey; N]) -> Result<[i64; N], Error> {
    let found = koban_store::statements::balances(&app.store, &keys.map(|key| key.id())).await?;
    Ok(keys.map(|key| found.get(&key.id()).map_or(0, |account| account.balance())))
}
