//! Which rows a batch of work touches, so that the store can load them with one statement for each kind.

use std::collections::BTreeSet;

use crate::access::{Holder, Warrant};
use crate::accounts::{AccountId, AccountKey, Class, PluginKey};
use crate::adjustments::{self, Line};
use crate::bills::BillKey;
use crate::bonus::{Grant, OfLot};
use crate::captures::OfPayment;
use crate::charges::ReferenceKey;
use crate::gifts::GiftKey;
use crate::guest::Side;
use crate::holds::OfHold;
use crate::ids::{
    AdjustmentId, CampaignId, ClosingId, DisputeId, FlowId, LotId, MerchantId, PaymentId, ReviewId, StepUpId,
    TransferId, UserId,
};
use crate::ledger::{Command, Work};
use crate::limits::{self, Action, CounterKey};
use crate::links::{LinkKey, OfLink};
use crate::money::Currency;
use crate::operations::OperationKey;
use crate::records::Digest;
use crate::reviews::Reviewed;
use crate::signals::SubjectKey;
use crate::time::Timestamp;

/// Keys of the rows that a batch touches, each kind sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Accounts; those that are not stored yet are empty.
    pub accounts: BTreeSet<AccountId>,
    /// Users.
    pub users: BTreeSet<UserId>,
    /// Merchants.
    pub merchants: BTreeSet<MerchantId>,
    /// Payments.
    pub payments: BTreeSet<PaymentId>,
    /// Transfers whose review ends.
    pub transfers: BTreeSet<TransferId>,
    /// Reviews.
    pub reviews: BTreeSet<ReviewId>,
    /// What is agreed with merchants.
    pub arrangements: BTreeSet<(MerchantId, Currency)>,
    /// Disputes.
    pub disputes: BTreeSet<DisputeId>,
    /// Closings that are paid out.
    pub closings: BTreeSet<ClosingId>,
    /// References under which closings are paid out.
    pub payout_references: BTreeSet<String>,
    /// Challenges that are used.
    pub step_ups: BTreeSet<StepUpId>,
    /// Merchants' references.
    pub merchant_references: BTreeSet<(MerchantId, String)>,
    /// Partners' references.
    pub references: BTreeSet<ReferenceKey>,
    /// What flows have set aside, by flow and name.
    pub held: BTreeSet<(FlowId, String)>,
    /// Bills.
    pub bills: BTreeSet<BillKey>,
    /// Links.
    pub links: BTreeSet<LinkKey>,
    /// Users who may have one link more with a plugin: their live ones with it.
    pub linkers: BTreeSet<(PluginKey, UserId)>,
    /// Exposures.
    pub exposures: BTreeSet<(PluginKey, Currency)>,
    /// Limit counters.
    pub counters: BTreeSet<CounterKey>,
    /// Differences.
    pub differences: BTreeSet<ReferenceKey>,
    /// Settlement files.
    pub files: BTreeSet<(PluginKey, Digest)>,
    /// Expectations.
    pub expectations: BTreeSet<(PluginKey, String)>,
    /// Signal subjects.
    pub signals: BTreeSet<SubjectKey>,
    /// Adjustments.
    pub adjustments: BTreeSet<AdjustmentId>,
    /// Campaigns.
    pub campaigns: BTreeSet<CampaignId>,
    /// Who has had how much of which campaign.
    pub shares: BTreeSet<(CampaignId, UserId)>,
    /// What plugins had granted.
    pub gifts: BTreeSet<GiftKey>,
    /// What plugins hear.
    pub subscriptions: BTreeSet<PluginKey>,
    /// Wallets of which every lot with something left is read, if there is something on their bonus account.
    pub purses: BTreeSet<(UserId, Currency)>,
    /// Lots that are named. Those that payments were paid from are loaded by the store with the payments.
    pub lots: BTreeSet<LotId>,
    /// Flows.
    pub flows: BTreeSet<FlowId>,
    /// Operations.
    pub operations: BTreeSet<OperationKey>,
    /// What requests' authority rests on; those are loaded that are over.
    pub warrants: BTreeSet<Warrant>,
}

impl Touched {
    /// Everything that this batch touches if it is decided at this time.
    pub fn by<'a>(batch: impl IntoIterator<Item = &'a Work>, now: Timestamp) -> Touched {
        let mut touched = Touched::default();
        for work in batch {
            touched.work(work, now);
        }
        touched
    }

    /// Whose accounts an adjustment moves.
    fn owners(&mut self, lines: &[Line]) {
        for key in lines.iter().flat_map(|line| [line.debit, line.credit]) {
            match adjustments::owner(key) {
                Some(Holder::User(user)) => drop(self.users.insert(user)),
                Some(Holder::Merchant(merchant)) => drop(self.merchants.insert(merchant)),
                None => {}
            }
        }
    }

    fn work(&mut self, work: &Work, now: Timestamp) {
        self.operations.extend(work.operation.map(|claim| claim.key));
        self.warrants.extend(work.warrant);
        self.flows.extend(work.step.as_ref().map(|step| step.flow.id));
        // Whether the user of a new flow may deal is decided with it.
        let opened = work.step.as_ref().filter(|step| step.expected.is_none());
        self.users.extend(opened.map(|step| step.flow.authorisation.user));
        self.step_ups.extend(work.challenge.and_then(|challenge| challenge.proof));
        self.subscriptions.extend(work.heard.as_ref().map(|heard| PluginKey::of(&heard.subscription.plugin)));
        if let Some(counted) = &work.counted {
            self.signals.extend(counted.subjects.iter());
        }
        for command in &work.commands {
            self.command(command, now);
        }
        for part in &work.parts {
            self.work(part, now);
        }
    }

    fn command(&mut self, command: &Command, now: Timestamp) {
        match command {
            Command::Credit(command) => {
                let currency = command.amount.currency;
                self.wallet(command.user, currency);
                self.counters.extend(limits::counters(command.user, Action::Charge, currency, now));
                self.plugin(command.plugin, currency);
                self.account(AccountKey::platform(Class::Suspense, currency));
                let key = ReferenceKey::credit(command.plugin, &command.reference);
                self.differences.insert(key.clone());
                self.references.insert(key);
            }
            Command::Reverse(command) => {
                let currency = command.amount.currency;
                self.wallet(command.user, currency);
                self.plugin(command.plugin, currency);
                self.account(AccountKey::platform(Class::Suspense, currency));
                self.references.insert(ReferenceKey::credit(command.plugin, &command.of));
                let key = ReferenceKey::reversal(command.plugin, &command.reference);
                self.differences.insert(key.clone());
                self.references.insert(key);
            }
            Command::Tombstone(command) => {
                self.references.insert(ReferenceKey::credit(command.plugin, &command.reference));
            }
            Command::Pay(command) => {
                let currency = command.amount.currency;
                self.wallet(command.payer, currency);
                self.counters.extend(limits::counters(command.payer, Action::Pay, currency, now));
                self.merchants.insert(command.merchant);
                self.account(AccountKey::payable(command.merchant, currency));
                let reference = command.reference.clone().map(|reference| (command.merchant, reference));
                self.merchant_references.extend(reference);
            }
            Command::Refund(command) => {
                let currency = command.amount.currency;
                self.wallet(command.payer, currency);
                self.merchants.insert(command.merchant);
                self.payments.insert(command.payment);
                self.payable(command.merchant, currency);
                self.account(AccountKey::platform(Class::BonusExpense, currency));
            }
            Command::Transfer(command) => {
                let currency = command.amount.currency;
                self.wallet(command.sender, currency);
                self.wallet(command.receiver, currency);
                self.counters.extend(limits::counters(command.sender, Action::Send, currency, now));
            }
            Command::Exchange(command) => {
                for currency in [command.sell, command.buy] {
                    self.wallet(command.user, currency);
                    self.account(AccountKey::platform(Class::FxPosition, currency));
                    self.account(AccountKey::platform(Class::Rounding, currency));
                }
            }
            Command::Verify(command) => self.wallet(command.user, Currency::JPY),
            Command::Submit(submission) => drop(self.users.insert(submission.user)),
            Command::Unverify(command) => drop(self.users.insert(command.user)),
            Command::Freeze(command) => match command.holder {
                Holder::User(user) => drop(self.users.insert(user)),
                Holder::Merchant(merchant) => drop(self.merchants.insert(merchant)),
            },
            Command::Close(command) => {
                for currency in &command.currencies {
                    self.wallet(command.user, *currency);
                    self.account(AccountKey::platform(Class::ClosedBalances, *currency));
                    self.account(AccountKey::platform(Class::BonusExpense, *currency));
                }
            }
            Command::Plan(command) => drop(self.campaigns.insert(command.campaign)),
            Command::Grant(command) => self.grant(command),
            Command::Gift(command) => {
                self.gifts.insert(command.key.clone());
                self.grant(&command.grant);
            }
            Command::TakeBack(command) => {
                self.gifts.insert(command.key.clone());
                self.payments.insert(command.payment);
                self.lot(&command.of);
            }
            Command::Lapse(of) | Command::Release(of) => self.lot(of),
            Command::Revoke(command) => self.lot(&command.of),
            Command::Propose(command) => self.owners(&command.lines),
            Command::Judge(command) => {
                self.adjustments.insert(command.adjustment);
                self.owners(&command.lines);
                for key in command.lines.iter().flat_map(|line| [line.debit, line.credit]) {
                    self.account(key);
                    if key.class == Class::Payable {
                        self.arrangements.insert((MerchantId(key.owner), key.currency));
                    }
                }
            }
            Command::Settle(command) => {
                self.files.insert((command.plugin, command.digest));
                let currency = command.lines.first().map_or(Currency::JPY, |line| line.amount.currency);
                self.plugin(command.plugin, currency);
                self.account(AccountKey::platform(Class::Bank, currency));
                self.account(AccountKey::platform(Class::Fees, currency));
                self.account(AccountKey::in_transit(command.plugin, currency));
                for line in &command.lines {
                    self.reference(command.plugin, line.side, &line.reference);
                }
            }
            Command::WriteOff(command) => {
                self.plugin(command.plugin, Currency::JPY);
                self.account(AccountKey::in_transit(command.plugin, Currency::JPY));
                for class in [Class::Bank, Class::WriteOff, Class::Suspense] {
                    self.account(AccountKey::platform(class, Currency::JPY));
                }
                self.reference(command.plugin, command.side, &command.reference);
            }
            Command::Collect(command) => self.payment(&command.of),
            Command::Void(of) | Command::Expire(of) => self.payment(of),
            Command::Increase(command) => {
                self.payment(&command.of);
                self.counters.extend(limits::counters(command.of.payer, Action::Pay, command.of.currency, now));
            }
            Command::Conclude(command) => {
                self.reviews.insert(command.of.review());
                match command.of {
                    Reviewed::Payment(of) => self.payment(&of),
                    Reviewed::Transfer { transfer, sender, receiver, currency } => {
                        self.transfers.insert(transfer);
                        self.wallet(sender, currency);
                        self.wallet(receiver, currency);
                    }
                }
            }
            Command::Arrange(command) => {
                self.merchants.insert(command.merchant);
                self.payable(command.merchant, command.currency);
            }
            Command::OpenDispute(command) => self.dispute(&command.of),
            Command::EndDispute(command) => {
                self.disputes.insert(command.dispute);
                self.dispute(&command.of);
                self.account(AccountKey::platform(Class::ClosedBalances, command.of.currency));
                self.account(AccountKey::platform(Class::BonusExpense, command.of.currency));
            }
            Command::MakeClosing(command) => {
                let currency = command.currency;
                self.merchants.insert(command.merchant);
                self.payable(command.merchant, currency);
                self.account(payout_due(command.merchant, currency));
                self.account(AccountKey::platform(Class::FeeIncome, currency));
                self.account(AccountKey::platform(Class::ConsumptionTax, currency));
            }
            Command::PayOut(command) => {
                self.closings.insert(command.closing);
                self.payout_references.insert(command.reference.clone());
                self.account(payout_due(command.merchant, command.currency));
                self.account(AccountKey::platform(Class::Bank, command.currency));
            }
            Command::SetAside(command) => {
                let of = &command.of;
                self.hold(of);
                self.counters.extend(limits::counters(of.user, of.purpose.action(), of.currency, now));
            }
            Command::Take(command) => {
                self.hold(&command.of);
                self.account(AccountKey::platform(Class::FeeIncome, command.of.currency));
                self.account(AccountKey::platform(Class::ConsumptionTax, command.of.currency));
                let (plugin, reference) = (command.of.plugin, command.reference.clone());
                let key = ReferenceKey { plugin, side: Side::Capture, reference };
                self.differences.insert(key.clone());
                self.references.insert(key);
            }
            Command::LetGo(command) => self.hold(&command.of),
            Command::ClaimBill(command) => drop(self.bills.insert(command.bill.clone())),
            Command::FreeBill(command) => drop(self.bills.insert(command.bill.clone())),
            Command::Link(command) => {
                self.links.insert(command.key());
                if let OfLink::Save(save) = &**command {
                    self.linkers.insert((command.key().plugin, save.user));
                }
            }
            Command::Expect(command) => {
                self.expectations.insert((command.plugin, command.correlation.clone()));
            }
            Command::Unexpected(command) => {
                self.expectations.insert((command.plugin, command.correlation.clone()));
            }
        }
    }

    fn wallet(&mut self, user: UserId, currency: Currency) {
        self.users.insert(user);
        for class in [Class::Prepaid, Class::Funds, Class::Receivable, Class::Bonus] {
            self.account(AccountKey::user(class, user, currency));
        }
        self.purses.insert((user, currency));
    }

    fn grant(&mut self, grant: &Grant) {
        self.campaigns.insert(grant.campaign);
        self.shares.insert((grant.campaign, grant.user));
        self.wallet(grant.user, grant.amount.currency);
        self.account(AccountKey::platform(Class::BonusExpense, grant.amount.currency));
    }

    fn lot(&mut self, of: &OfLot) {
        self.lots.insert(of.lot);
        self.account(AccountKey::user(Class::Bonus, of.user, of.currency));
        self.account(AccountKey::platform(Class::BonusExpense, of.currency));
    }

    fn payment(&mut self, of: &OfPayment) {
        self.wallet(of.payer, of.currency);
        self.payments.insert(of.payment);
        self.merchants.insert(of.merchant);
        self.account(AccountKey::payable(of.merchant, of.currency));
        self.account(AccountKey::platform(Class::BonusExpense, of.currency));
    }

    /// What a merchant is owed, and how far it may fall.
    fn payable(&mut self, merchant: MerchantId, currency: Currency) {
        self.account(AccountKey::payable(merchant, currency));
        self.arrangements.insert((merchant, currency));
    }

    fn dispute(&mut self, of: &OfPayment) {
        self.payment(of);
        self.arrangements.insert((of.merchant, of.currency));
        self.account(AccountKey { class: Class::Disputed, ..AccountKey::payable(of.merchant, of.currency) });
    }

    fn hold(&mut self, of: &OfHold) {
        self.wallet(of.user, of.currency);
        self.held.insert(of.row());
        self.exposures.insert((of.plugin, of.currency));
        self.account(of.in_transit());
        self.account(AccountKey::platform(Class::BonusExpense, of.currency));
    }

    fn plugin(&mut self, plugin: PluginKey, currency: Currency) {
        self.exposures.insert((plugin, currency));
        self.account(AccountKey::clearing(plugin, currency));
    }

    /// A reference of a settlement: its other sides and its differences belong to the decision, too. The credit that a
    /// reversal names is loaded by the store with the reversal.
    fn reference(&mut self, plugin: PluginKey, side: Side, reference: &str) {
        for side in [Side::Credit, Side::Reversal, Side::Capture, side] {
            let key = ReferenceKey { plugin, side, reference: reference.to_owned() };
            self.differences.insert(key.clone());
            self.references.insert(key);
        }
    }

    fn account(&mut self, key: AccountKey) {
        self.accounts.insert(key.id());
    }
}

/// What closings say that a merchant is to be paid.
fn payout_due(merchant: MerchantId, currency: Currency) -> AccountKey {
    AccountKey { class: Class::PayoutDue, ..AccountKey::payable(merchant, currency) }
}
