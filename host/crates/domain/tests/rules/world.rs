//! A small platform for tests: two people, a shop, an ATM channel, and short words for what they do.

mod checks;

use koban_domain::access::{Access, Freeze, Holder};
use koban_domain::accounts::{Account, AccountKey, Class, Layer, PluginKey, PostingSide};
use koban_domain::adjustments::{Judge, Line, Propose};
use koban_domain::bonus::{Grant, Lot, OfLot, Plan};
use koban_domain::books::{Merchant, User};
use koban_domain::captures::{Collect, Increase, OfPayment};
use koban_domain::charges::{ChargeCredit, ChargeReversal, Exposure, ReferenceKey, Tombstone};
use koban_domain::exchanges::{Pair, Reference, Trade};
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::ids::{
    AdjustmentId, CampaignId, CaptureId, ExchangeId, FileId, FlowId, LotId, MerchantId, OperatorId, PaymentId,
    RefundId, SubmissionId, TransferId, UserId,
};
use koban_domain::journal::Entry;
use koban_domain::ledger::{Answer, Command, Commit, Decided, Work};
use koban_domain::limits::{self, Limit, Limits, WalletKind};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::payments::{Pay, Payment, Terms};
use koban_domain::policy::Policy;
use koban_domain::records::Digest;
use koban_domain::refunds::GiveBack;
use koban_domain::reviews::{Conclude, Reviewed, Ruling};
use koban_domain::settlements::{Settle, WriteOff};
use koban_domain::time::Timestamp;
use koban_domain::transfers::Send;
use koban_domain::verification::{Submission, Unverify, Verification, Verify};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::shelf::Shelf;

/// Not verified.
pub(crate) const TARO: UserId = UserId(Uuid::from_u128(1));
/// Verified.
pub(crate) const HANAKO: UserId = UserId(Uuid::from_u128(2));
/// Verified.
pub(crate) const KENJI: UserId = UserId(Uuid::from_u128(3));
pub(crate) const NOBODY: UserId = UserId(Uuid::from_u128(9));
pub(crate) const SHOP: MerchantId = MerchantId(Uuid::from_u128(11));
pub(crate) const OPERATOR: OperatorId = OperatorId(Uuid::from_u128(21));
pub(crate) const COLLEAGUE: OperatorId = OperatorId(Uuid::from_u128(22));
/// 2018-09-25T12:00 in Japan.
pub(crate) const NOON: Timestamp = Timestamp(1_537_844_400_000);
pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

pub(crate) const EXPOSURE_CAP: i64 = 1_000_000;
pub(crate) const LOSS_BUDGET: i64 = 50_000;

pub(crate) fn atm() -> PluginKey {
    PluginKey::of("charge-atm")
}

/// What pays convenience-store slips.
pub(crate) fn slips() -> PluginKey {
    PluginKey::of("bill-slip")
}

pub(crate) fn flow(number: u128) -> FlowId {
    FlowId(Uuid::from_u128(0xf000 + number))
}

pub(crate) fn payment(number: u128) -> PaymentId {
    PaymentId(Uuid::from_u128(0xa000 + number))
}

pub(crate) fn lot(number: u128) -> LotId {
    LotId(Uuid::from_u128(0x1_0000 + number))
}

/// The one campaign there is.
pub(crate) const SPRING: CampaignId = CampaignId(Uuid::from_u128(41));

pub(crate) fn usd() -> Currency {
    Currency::new("USD").unwrap()
}

/// A user whose verification goes with the kind of the wallet.
pub(crate) fn user_of(id: UserId, kind: WalletKind) -> User {
    let verification = Verification::of(kind);
    User { id, kind, access: Access::Open, verification, created_at: Timestamp(0) }
}

/// The platform with everything that was committed on it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) shelf: Shelf,
    pub(crate) now: Timestamp,
    /// Commands that were done one by one.
    pub(crate) done: Vec<Command>,
    works: u128,
    files: u128,
}

impl World {
    pub(crate) fn new() -> World {
        World::limited_by(limits::published())
    }

    pub(crate) fn limited_by(limits: Vec<Limit>) -> World {
        let mut shelf = Shelf::new(Policy { limits: Limits(limits), ..Policy::default() });
        for (id, kind) in [(TARO, WalletKind::Prepaid), (HANAKO, WalletKind::Funds), (KENJI, WalletKind::Funds)] {
            shelf.books.users.load(id, user_of(id, kind));
        }
        shelf.books.merchants.load(SHOP, Merchant { id: SHOP, currencies: vec![Currency::JPY], access: Access::Open });
        let exposure = Exposure { cap: EXPOSURE_CAP, used: 0, loss_budget: LOSS_BUDGET, lost: 0 };
        shelf.books.exposures.load((atm(), Currency::JPY), exposure);
        shelf.books.exposures.load((slips(), Currency::JPY), exposure);
        World { shelf, now: NOON, done: Vec::new(), works: 0, files: 0 }
    }

    /// An empty piece of work with an id of its own.
    pub(crate) fn work(&mut self) -> Work {
        self.works += 1;
        Work::new(Uuid::from_u128(self.works << 32), "test")
    }

    pub(crate) fn commit(&mut self, work: Work) -> (Decided, Commit) {
        let (mut decided, commit) = self.shelf.commit(&[work], self.now);
        self.check();
        (decided.remove(0), commit)
    }

    pub(crate) fn does(&mut self, command: Command) -> Result<Answer, Refusal> {
        let work = Work { commands: vec![command.clone()], ..self.work() };
        match self.commit(work).0 {
            Decided::Done(mut answers) => {
                self.done.push(command);
                Ok(answers.remove(0))
            }
            Decided::Refused(_, refusal) => Err(refusal),
            other => panic!("neither done nor refused: {other:?}"),
        }
    }

    pub(crate) fn charge(&mut self, user: UserId, yen: i64, reference: &str) -> Result<Answer, Refusal> {
        self.does(credit(user, yen, reference))
    }

    pub(crate) fn reverse(&mut self, user: UserId, yen: i64, of: &str, reference: &str) -> Result<Answer, Refusal> {
        self.does(reverse(user, yen, of, reference))
    }

    pub(crate) fn pay(&mut self, payer: UserId, yen: i64, number: u128) -> Result<Answer, Refusal> {
        self.does(pay(payer, yen, number))
    }

    /// Has an amount held for an hour.
    pub(crate) fn authorise(&mut self, payer: UserId, yen: i64, number: u128) -> Result<Answer, Refusal> {
        self.does(with_terms(pay(payer, yen, number), Terms::Held { for_ms: HOUR_MS }, false))
    }

    /// Has an amount held because a rule wants somebody to look.
    pub(crate) fn pay_in_review(
        &mut self,
        payer: UserId,
        yen: i64,
        number: u128,
        terms: Terms,
    ) -> Result<Answer, Refusal> {
        self.does(with_terms(pay(payer, yen, number), terms, true))
    }

    pub(crate) fn capture(&mut self, number: u128, amount: Option<i64>, last: bool) -> Result<Answer, Refusal> {
        let capture = CaptureId(Uuid::from_u128(0xd000 + self.works));
        self.does(Command::Collect(Collect { capture, of: self.of(number), amount, last }))
    }

    pub(crate) fn void(&mut self, number: u128) -> Result<Answer, Refusal> {
        self.does(Command::Void(self.of(number)))
    }

    pub(crate) fn expire(&mut self, number: u128) -> Result<Answer, Refusal> {
        self.does(Command::Expire(self.of(number)))
    }

    pub(crate) fn increase(&mut self, number: u128, yen: i64) -> Result<Answer, Refusal> {
        self.does(Command::Increase(Increase { of: self.of(number), amount: Money::yen(yen) }))
    }

    pub(crate) fn conclude(&mut self, number: u128, ruling: Ruling) -> Result<Answer, Refusal> {
        self.does(Command::Conclude(Conclude { of: Reviewed::Payment(self.of(number)), ruling }))
    }

    /// How a command names a payment.
    pub(crate) fn of(&self, number: u128) -> OfPayment {
        OfPayment::from(&self.payment(number))
    }

    pub(crate) fn payment(&self, number: u128) -> Payment {
        self.shelf.books.payments.get(&payment(number)).unwrap().clone()
    }

    /// What a wallet may spend.
    pub(crate) fn available(&self, user: UserId) -> i64 {
        let of = |class| self.shelf.books.account(AccountKey::user(class, user, Currency::JPY)).available();
        let lots = self.shelf.books.lots.iter().filter(|(_, lot)| lot.user == user);
        of(Class::Prepaid) + of(Class::Funds) + lots.map(|(_, lot)| lot.usable(self.now)).sum::<i64>()
    }

    /// Has the campaign grant this much, for so many hours.
    pub(crate) fn grant(&mut self, user: UserId, yen: i64, number: u128, hours: i64) -> Result<Answer, Refusal> {
        if !self.shelf.books.campaigns.contains(&SPRING) {
            self.does(plan(1_000_000)).unwrap();
        }
        self.does(grant(user, yen, number, self.now.plus_ms(hours * HOUR_MS)))
    }

    pub(crate) fn lot(&self, number: u128) -> Lot {
        *self.shelf.books.lots.get(&lot(number)).unwrap()
    }

    /// How a command names a lot.
    pub(crate) fn of_lot(&self, number: u128) -> OfLot {
        OfLot::from(&self.lot(number))
    }

    /// What is left of the lots with these numbers.
    pub(crate) fn left<const N: usize>(&self, numbers: [u128; N]) -> [i64; N] {
        numbers.map(|number| self.lot(number).left)
    }

    pub(crate) fn refund(&mut self, payer: UserId, yen: i64, number: u128) -> Result<Answer, Refusal> {
        let refund = RefundId(Uuid::from_u128(0xb000 + self.works));
        let amount = Money::yen(yen);
        self.does(Command::Refund(GiveBack { refund, payment: payment(number), merchant: SHOP, payer, amount }))
    }

    pub(crate) fn send(&mut self, sender: UserId, receiver: UserId, yen: i64) -> Result<Answer, Refusal> {
        let transfer = TransferId(Uuid::from_u128(0xc000 + self.works));
        self.does(Command::Transfer(Send {
            transfer,
            sender,
            receiver,
            amount: Money::yen(yen),
            message: None,
            decision: None,
            review: false,
        }))
    }

    /// Hanako exchanges at the rate in force.
    pub(crate) fn trade(&mut self, sell: Currency, buy: Currency, amount: Money) -> Result<Answer, Refusal> {
        let exchange = ExchangeId(Uuid::from_u128(0xe000 + self.works));
        self.does(Command::Exchange(Trade { exchange, ..trade(sell, buy, amount) }))
    }

    pub(crate) fn verify(&mut self, user: UserId) -> Result<Answer, Refusal> {
        self.does(Command::Verify(Verify { user, operator: OPERATOR }))
    }

    pub(crate) fn freeze(&mut self, holder: Holder, frozen: bool) {
        self.does(Command::Freeze(Freeze { holder, frozen })).unwrap();
    }

    /// Opens, freezes or closes whatever the wallet holds, which no command does.
    pub(crate) fn access(&mut self, id: UserId, access: Access) {
        let user = *self.shelf.books.users.get(&id).unwrap();
        self.shelf.books.users.load(id, User { access, ..user });
    }

    pub(crate) fn revoke(&mut self, user: UserId) {
        self.does(Command::Unverify(Unverify { user, revoked: true })).unwrap();
    }

    /// Has so much of a wallet's prepaid value held.
    pub(crate) fn hold_of(&mut self, user: UserId, yen: i64) {
        let key = AccountKey::user(Class::Prepaid, user, Currency::JPY);
        let account = Account { debits_pending: yen, ..self.shelf.books.account(key) };
        self.shelf.books.accounts.load(key.id(), account);
    }

    pub(crate) fn tombstone(&mut self, reference: &str) -> Result<Answer, Refusal> {
        self.does(Command::Tombstone(Tombstone { plugin: atm(), flow: None, reference: reference.into() }))
    }

    /// Takes a new file with these lines.
    pub(crate) fn settle(&mut self, lines: &[(Side, &str, i64)]) -> Result<Answer, Refusal> {
        self.files += 1;
        let file = self.files;
        self.settle_as(file, file, lines)
    }

    /// Takes a file with this id and this content.
    pub(crate) fn settle_as(
        &mut self,
        file: u128,
        content: u128,
        lines: &[(Side, &str, i64)],
    ) -> Result<Answer, Refusal> {
        self.does(settle(file, content, lines))
    }

    pub(crate) fn write_off(&mut self, side: Side, reference: &str) -> Result<Answer, Refusal> {
        let (plugin, reason) = (atm(), "agreed with the network".to_owned());
        self.does(Command::WriteOff(WriteOff { plugin, side, reference: reference.into(), operator: OPERATOR, reason }))
    }

    pub(crate) fn budget(&mut self, cap: i64, loss_budget: i64) {
        let exposure = Exposure { cap, loss_budget, ..self.exposure() };
        self.shelf.books.exposures.load((atm(), Currency::JPY), exposure);
    }

    /// Puts prepaid value into a wallet beside its funds, which no command does: it comes from an earlier platform.
    pub(crate) fn hold_prepaid(&mut self, user: UserId, yen: i64) {
        let prepaid = AccountKey::user(Class::Prepaid, user, Currency::JPY);
        let bank = AccountKey::platform(Class::Bank, Currency::JPY);
        for (key, side) in [(bank, PostingSide::Debit), (prepaid, PostingSide::Credit)] {
            let account = self.shelf.books.account(key).posted(side, yen).unwrap();
            self.shelf.books.accounts.load(key.id(), account);
        }
    }

    /// Reserves what the shop is owed, as a hold would.
    pub(crate) fn reserve_payable(&mut self, yen: i64) {
        let key = AccountKey::payable(SHOP, Currency::JPY);
        let mut account = self.shelf.books.account(key);
        account.debits_pending += yen;
        self.shelf.books.accounts.load(key.id(), account);
    }

    /// Makes a user unverified again, which no command does.
    pub(crate) fn unverify(&mut self, id: UserId) {
        self.shelf.books.users.load(id, user_of(id, WalletKind::Prepaid));
    }

    pub(crate) fn exposure(&self) -> Exposure {
        *self.shelf.books.exposures.get(&(atm(), Currency::JPY)).unwrap()
    }

    pub(crate) fn balance(&self, key: AccountKey) -> i64 {
        self.shelf.books.account(key).balance()
    }

    /// What a wallet holds, and what it owes.
    pub(crate) fn wallet(&self, user: UserId) -> (i64, i64) {
        let of = |class| self.balance(AccountKey::user(class, user, Currency::JPY));
        (of(Class::Prepaid) + of(Class::Funds), of(Class::Receivable))
    }

    pub(crate) fn platform(&self, class: Class) -> i64 {
        self.balance(AccountKey::platform(class, Currency::JPY))
    }

    pub(crate) fn clearing(&self) -> i64 {
        self.balance(AccountKey::clearing(atm(), Currency::JPY))
    }

    pub(crate) fn payable(&self) -> i64 {
        self.balance(AccountKey::payable(SHOP, Currency::JPY))
    }

    pub(crate) fn open_differences(&self) -> Vec<ReferenceKey> {
        let rows = self.shelf.books.differences.iter().filter(|(_, difference)| difference.open);
        let mut keys: Vec<_> = rows.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }
}

/// The campaign with this budget.
pub(crate) fn plan(yen: i64) -> Command {
    let budget = Money::yen(yen);
    let name = "spring".into();
    Command::Plan(Plan { campaign: SPRING, name, budget, open: true, ends_at: None, per_user: None, bound: None })
}

pub(crate) fn grant(user: UserId, yen: i64, number: u128, expires_at: Timestamp) -> Command {
    let (campaign, amount, reason) = (SPRING, Money::yen(yen), "a visit".to_owned());
    Command::Grant(Grant { lot: lot(number), user, campaign, amount, usable_from: None, expires_at, reason })
}

pub(crate) fn submission(user: UserId) -> Submission {
    Submission { id: SubmissionId(Uuid::from_u128(1)), user, key_id: "k".into(), sealed: vec![1], at: Timestamp(0) }
}

/// From suspense to Taro's prepaid value.
fn lines(yen: i64) -> Vec<Line> {
    let debit = AccountKey::platform(Class::Suspense, Currency::JPY);
    vec![Line { debit, credit: AccountKey::user(Class::Prepaid, TARO, Currency::JPY), amount: yen }]
}

pub(crate) fn proposal(number: u128, yen: i64) -> Propose {
    let adjustment = AdjustmentId(Uuid::from_u128(number));
    Propose { adjustment, lines: lines(yen), reason: "proved by letter".into(), flow: None, proposer: OPERATOR }
}

pub(crate) fn judgement(number: u128, yen: i64, operator: OperatorId, approve: bool) -> Judge {
    Judge { adjustment: AdjustmentId(Uuid::from_u128(number)), lines: lines(yen), flow: None, operator, approve }
}

pub(crate) fn credit(user: UserId, yen: i64, reference: &str) -> Command {
    Command::Credit(ChargeCredit {
        plugin: atm(),
        flow: flow(1),
        user,
        amount: Money::yen(yen),
        reference: reference.into(),
        arrived: false,
    })
}

pub(crate) fn arrived(user: UserId, yen: i64, reference: &str) -> Command {
    match credit(user, yen, reference) {
        Command::Credit(credit) => Command::Credit(ChargeCredit { arrived: true, ..credit }),
        other => other,
    }
}

pub(crate) fn reverse(user: UserId, yen: i64, of: &str, reference: &str) -> Command {
    Command::Reverse(ChargeReversal {
        plugin: atm(),
        flow: flow(1),
        user,
        of: of.into(),
        amount: Money::yen(yen),
        reference: reference.into(),
    })
}

pub(crate) fn pay(payer: UserId, yen: i64, number: u128) -> Command {
    let amount = Money::yen(yen);
    Command::Pay(Pay {
        payment: payment(number),
        payer,
        merchant: SHOP,
        amount,
        reference: None,
        decision: None,
        terms: Terms::AtOnce,
        review: false,
    })
}

/// The same payment held first, or looked at first.
pub(crate) fn with_terms(command: Command, terms: Terms, review: bool) -> Command {
    match command {
        Command::Pay(pay) => Command::Pay(Pay { terms, review, ..pay }),
        other => other,
    }
}

pub(crate) fn settle(file: u128, content: u128, lines: &[(Side, &str, i64)]) -> Command {
    let line = |(side, reference, yen): &(Side, &str, i64)| SettlementLine {
        reference: (*reference).to_owned(),
        side: *side,
        amount: Money::yen(*yen),
        at: 0,
    };
    Command::Settle(Settle {
        plugin: atm(),
        file: FileId(Uuid::from_u128(file)),
        digest: Digest::of(&content.to_be_bytes()),
        lines: lines.iter().map(line).collect(),
    })
}

/// One dollar is worth 132.78 / 1.1777 yen, the fixing of 2018-09-25, with one in a hundred on either side.
pub(crate) fn dollar_in_yen() -> (Pair, Reference) {
    let mid = Decimal::from_str_exact("112.745181285556").unwrap();
    let reference = Reference { mid, spread: Decimal::new(1, 2), at: NOON };
    (Pair { base: usd(), quote: Currency::JPY }, reference)
}

/// Offers dollars up to this position at the rate of [`dollar_in_yen`].
pub(crate) fn offer_dollars(world: &mut World, most_cents: i64) {
    let mut policy = (*world.shelf.books.policy).clone();
    policy.currencies.insert(usd(), most_cents);
    let (pair, reference) = dollar_in_yen();
    policy.references.insert(pair, reference);
    world.shelf.books.policy = std::sync::Arc::new(policy);
}

/// An exchange of Hanako's at the rate in force.
pub(crate) fn trade(sell: Currency, buy: Currency, amount: Money) -> Trade {
    let (pair, reference) = dollar_in_yen();
    let rate = if sell == pair.base { reference.selling() } else { reference.buying() };
    Trade { exchange: ExchangeId::default(), user: HANAKO, sell, buy, amount, rate: rate.unwrap(), quoted: None }
}

/// A person, a shop or a channel by the name that examples give it.
fn owner(key: &AccountKey) -> &'static str {
    match key.owner {
        owner if owner == TARO.0 => "Taro",
        owner if owner == HANAKO.0 => "Hanako",
        owner if owner == KENJI.0 => "Kenji",
        owner if owner == SHOP.0 => "shop",
        owner if owner == atm().0 => "ATM",
        owner if owner == slips().0 => "slips",
        owner if owner.is_nil() => "platform",
        _ => "somebody",
    }
}

/// An entry as a T-account: one line for each posting, debits on the left.
pub(crate) fn t_account(entry: &Entry) -> String {
    let line = |posting: &koban_domain::journal::Posting| {
        let mut account = format!("{} {}", owner(&posting.account), posting.account.class.word());
        if posting.account.currency != Currency::JPY {
            account = format!("{account} {}", posting.account.currency);
        }
        match posting.side {
            PostingSide::Debit => format!("{account:<20} {:>7}", posting.amount),
            PostingSide::Credit => format!("{:<28} {account:<20} {:>7}", "", posting.amount),
        }
    };
    let mut text = String::new();
    for (layer, word) in [(Layer::Reserved, ", reserved"), (Layer::Released, ", released"), (Layer::Posted, "")] {
        let of_it = |side| {
            let postings = entry.draft.postings.iter();
            postings.filter(move |posting| (posting.layer, posting.side) == (layer, side)).map(line)
        };
        let lines: Vec<String> = of_it(PostingSide::Debit).chain(of_it(PostingSide::Credit)).collect();
        if !lines.is_empty() {
            text.push_str(&format!("{}{word}\n{}\n", entry.draft.kind.word(), lines.join("\n")));
        }
    }
    text
}
