//! The books as one commit sees them: what was loaded, what has changed since, and a way back to the last savepoint.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::access::{Access, Warrant};
use crate::accounts::{Account, AccountId, AccountKey, Class, Layer, PluginKey, PostingSide};
use crate::adjustments::Adjustment;
use crate::arrangements::Arrangement;
use crate::bills::{BillKey, ClaimedBill};
use crate::bonus::{self, Campaign, Lot};
use crate::captures::Capture;
use crate::charges::{Exposure, PartnerReference, ReferenceKey};
use crate::closings::Closing;
use crate::disputes::Dispute;
use crate::exchanges::Exchange;
use crate::flows::Expectation;
use crate::gifts::{GiftKey, Gifted};
use crate::holds::Held;
use crate::ids::{
    AdjustmentId, CampaignId, CaptureId, ClosingId, DisputeId, ExchangeId, FlowId, LotId, MerchantId, PaymentId,
    RefundId, ReviewId, StepUpId, SubmissionId, TransferId, UserId,
};
use crate::journal::Posting;
use crate::limits::{CounterKey, WalletKind};
use crate::links::{Link, LinkKey};
use crate::money::{Currency, Money};
use crate::operations::{Operation, OperationKey};
use crate::outcomes::Refusal;
use crate::paths::{self, EntryKind};
use crate::payments::{Payment, Source};
use crate::policy::Policy;
use crate::records::Digest;
use crate::refunds::Refund;
use crate::reviews::Review;
use crate::settlements::{Difference, SettlementFile};
use crate::signals::{Ring, SubjectKey};
use crate::step_ups::StepUp;
use crate::time::Timestamp;
use crate::transfers::Transfer;
use crate::verification::{Submission, Verification};

/// A wallet user as the books need one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Which account the wallet is.
    pub kind: WalletKind,
    /// Open, frozen or closed.
    pub access: Access,
    /// Where the verification stands.
    pub verification: Verification,
    /// When they signed up.
    pub created_at: Timestamp,
}

/// A merchant as the books need one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// Who.
    pub id: MerchantId,
    /// In which currencies it is paid.
    pub currencies: Vec<Currency>,
    /// Open or frozen.
    pub access: Access,
}

/// Rows of one kind: loaded ones, changed ones, and how they were at the last savepoint.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    rows: HashMap<K, Slot<V>>,
    undo: Vec<(K, Option<Slot<V>>)>,
}

#[derive(Debug, Clone)]
struct Slot<V> {
    value: V,
    stored: bool,
    changed: bool,
}

/// A row to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed<'a, K, V> {
    /// Its key.
    pub key: &'a K,
    /// What it shall be.
    pub value: &'a V,
    /// Whether the store has it already.
    pub stored: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table { rows: HashMap::new(), undo: Vec::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    /// Takes in a row that the store has.
    pub fn load(&mut self, key: K, value: V) {
        self.rows.insert(key, Slot { value, stored: true, changed: false });
    }

    /// The row under this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|slot| &slot.value)
    }

    /// Whether there is a row under this key.
    pub fn contains(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// Puts a row, new or changed.
    pub fn put(&mut self, key: K, value: V) {
        let before = self.rows.get(&key).cloned();
        let stored = before.as_ref().is_some_and(|slot| slot.stored);
        self.undo.push((key.clone(), before));
        self.rows.insert(key, Slot { value, stored, changed: true });
    }

    /// Every row that was put since loading and not taken back.
    pub fn changed(&self) -> impl Iterator<Item = Changed<'_, K, V>> {
        self.rows.iter().filter(|(_, slot)| slot.changed).map(|(key, slot)| Changed {
            key,
            value: &slot.value,
            stored: slot.stored,
        })
    }

    /// Every row, loaded or put.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, slot)| (key, &slot.value))
    }

    /// The rows that were put since a mark, as they are now, each once and in the order in which they were first put.
    pub fn since(&self, mark: usize) -> Vec<(K, V)> {
        let mut rows: Vec<(K, V)> = Vec::new();
        for (key, _) in self.undo.iter().skip(mark) {
            if let Some(value) = self.get(key)
                && !rows.iter().any(|(known, _)| known == key)
            {
                rows.push((key.clone(), value.clone()));
            }
        }
        rows
    }

    fn savepoint(&mut self) {
        self.undo.clear();
    }

    fn mark(&self) -> usize {
        self.undo.len()
    }

    fn rollback_to(&mut self, mark: usize) {
        while self.undo.len() > mark
            && let Some((key, before)) = self.undo.pop()
        {
            match before {
                Some(slot) => self.rows.insert(key, slot),
                None => self.rows.remove(&key),
            };
        }
    }
}

macro_rules! books {
    ($($(#[$doc:meta])* $table:ident: $key:ty => $row:ty,)*) => {
        /// Everything that the commands of one commit touch. A key that is not here was looked for and is not in the store.
        #[derive(Debug, Clone, Default)]
        pub struct Books {
            /// Limits, plugins and policies in force.
            pub policy: Arc<Policy>,
            $($(#[$doc])* pub $table: Table<$key, $row>,)*
        }

        impl Books {
            /// From here on, changes can be taken back.
            pub fn savepoint(&mut self) {
                $(self.$table.savepoint();)*
            }

            /// Takes back every change since the savepoint.
            pub fn rollback(&mut self) {
                self.rollback_to(&Mark::default());
            }

            /// A place between the savepoint and now.
            pub fn mark(&self) -> Mark {
                Mark { $($table: self.$table.mark(),)* }
            }

            /// Takes back every change since the mark; those between savepoint and mark stay.
            pub fn rollback_to(&mut self, mark: &Mark) {
                $(self.$table.rollback_to(mark.$table);)*
            }
        }

        /// A place behind the last savepoint: for each table, how many changes stand before it.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Mark {
            $(
                #[doc = concat!("Changes of `", stringify!($table), "`.")]
                pub $table: usize,
            )*
        }
    };
}

books! {
    /// Accounts by id.
    accounts: AccountId => Account,
    /// Users.
    users: UserId => User,
    /// Merchants.
    merchants: MerchantId => Merchant,
    /// Payments.
    payments: PaymentId => Payment,
    /// Which payment a merchant's reference belongs to.
    merchant_references: (MerchantId, String) => PaymentId,
    /// Captures, new ones only.
    captures: CaptureId => Capture,
    /// Refunds, new ones only.
    refunds: RefundId => Refund,
    /// What is agreed with merchants.
    arrangements: (MerchantId, Currency) => Arrangement,
    /// Disputes.
    disputes: DisputeId => Dispute,
    /// Closings: new ones, and those that are paid out.
    closings: ClosingId => Closing,
    /// Which closing was paid under a reference of the bank.
    payout_references: String => ClosingId,
    /// Challenges: new ones, and those that are used.
    step_ups: StepUpId => StepUp,
    /// Reviews.
    reviews: ReviewId => Review,
    /// Transfers: new ones, and those whose review ends.
    transfers: TransferId => Transfer,
    /// Campaigns.
    campaigns: CampaignId => Campaign,
    /// What each user has had from a campaign, minor units. It follows from the lots: the store sums them up and writes nothing.
    shares: (CampaignId, UserId) => i64,
    /// What plugins had granted.
    gifts: GiftKey => Gifted,
    /// Versions of what plugins hear.
    subscriptions: PluginKey => uuid::Uuid,
    /// Lots of bonus: those with something left, and those that payments at hand were paid from.
    lots: LotId => Lot,
    /// Which of these lots each wallet has; nothing of its own, the store does not write it.
    purses: (UserId, Currency) => Vec<LotId>,
    /// Exchanges, new ones only.
    exchanges: ExchangeId => Exchange,
    /// Partners' references.
    references: ReferenceKey => PartnerReference,
    /// What flows have set aside, by flow and the plugin's name for it.
    held: (FlowId, String) => Held,
    /// Bills that flows have paid or are paying.
    bills: BillKey => ClaimedBill,
    /// Users' links.
    links: LinkKey => Link,
    /// What each plugin may still cost, by currency.
    exposures: (PluginKey, Currency) => Exposure,
    /// Limit counters, minor units.
    counters: CounterKey => i64,
    /// Differences between partners' books and ours.
    differences: ReferenceKey => Difference,
    /// Settlement files by plugin and content.
    files: (PluginKey, Digest) => SettlementFile,
    /// Who expects which correlation.
    expectations: (PluginKey, String) => Expectation,
    /// Signal counters by subject.
    signals: SubjectKey => Ring,
    /// Sessions that were signed out and keys that were revoked while requests of theirs were under way.
    ended: Warrant => (),
    /// What users submitted to be verified, new ones only.
    submissions: SubmissionId => Submission,
    /// Adjustments.
    adjustments: AdjustmentId => Adjustment,
    /// Versions of flows.
    flows: FlowId => i64,
    /// Decided operations.
    operations: OperationKey => Operation,
}

/// The postings of one entry while it is being decided.
#[derive(Debug, Default)]
pub struct Postings(Vec<Posting>);

impl Postings {
    /// Moves an amount from one account to another along a path of the table. Errors: [`Refusal::PathNotAllowed`],
    /// [`Refusal::InsufficientFunds`] under a floor, [`Refusal::Overflow`].
    pub fn post(
        &mut self,
        books: &mut Books,
        kind: EntryKind,
        debit: AccountKey,
        credit: AccountKey,
        amount: i64,
    ) -> Result<(), Refusal> {
        self.put(books, kind, Layer::Posted, debit, credit, amount)
    }

    /// Sets an amount aside that shall move later, along the same table. Errors: as for [`Postings::post`].
    pub fn reserve(
        &mut self,
        books: &mut Books,
        kind: EntryKind,
        debit: AccountKey,
        credit: AccountKey,
        amount: i64,
    ) -> Result<(), Refusal> {
        self.put(books, kind, Layer::Reserved, debit, credit, amount)
    }

    /// Frees an amount that was set aside between these accounts. Errors: [`Refusal::PathNotAllowed`], also if less was set aside.
    pub fn release(
        &mut self,
        books: &mut Books,
        kind: EntryKind,
        debit: AccountKey,
        credit: AccountKey,
        amount: i64,
    ) -> Result<(), Refusal> {
        self.put(books, kind, Layer::Released, debit, credit, amount)
    }

    fn put(
        &mut self,
        books: &mut Books,
        kind: EntryKind,
        layer: Layer,
        debit: AccountKey,
        credit: AccountKey,
        amount: i64,
    ) -> Result<(), Refusal> {
        if amount == 0 {
            return Ok(());
        }
        if amount < 0 || debit.currency != credit.currency || !paths::allowed(kind, debit.class, credit.class) {
            return Err(Refusal::PathNotAllowed);
        }
        self.side(books, (kind, debit), (layer, PostingSide::Debit), amount)?;
        self.side(books, (kind, credit), (layer, PostingSide::Credit), amount)
    }

    fn side(
        &mut self,
        books: &mut Books,
        (kind, key): (EntryKind, AccountKey),
        (layer, side): (Layer, PostingSide),
        amount: i64,
    ) -> Result<(), Refusal> {
        let id = key.id();
        let account = books.accounts.get(&id).copied().unwrap_or_else(|| Account::empty(key));
        let floor = if side == key.class.normal() { None } else { books.floor(kind, key) };
        let after = account.after(layer, side, amount, floor).ok_or_else(|| {
            if layer == Layer::Released {
                Refusal::PathNotAllowed
            } else if floor.is_some_and(|floor| account.available().saturating_sub(amount) < floor) {
                Refusal::InsufficientFunds
            } else {
                Refusal::Overflow
            }
        })?;
        books.accounts.put(id, after);
        match self.0.iter_mut().find(|posting| (posting.id, posting.layer, posting.side) == (id, layer, side)) {
            Some(posting) => posting.amount = posting.amount.checked_add(amount).ok_or(Refusal::Overflow)?,
            None => self.0.push(Posting { account: key, id, layer, side, amount, balance: 0, previous: 0 }),
        }
        for posting in self.0.iter_mut().filter(|posting| posting.id == id) {
            posting.balance = after.balance();
        }
        Ok(())
    }

    /// The postings made so far.
    pub fn into_vec(self) -> Vec<Posting> {
        self.0
    }

    /// Whether nothing was posted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A user's accounts in one currency.
#[derive(Debug, Clone)]
pub struct Wallet {
    /// Whose.
    pub user: User,
    /// Prepaid value.
    pub prepaid: Account,
    /// Funds.
    pub funds: Account,
    /// What is owed.
    pub receivable: Account,
    /// Bonus, in lots.
    pub bonus: Account,
    /// Its lots.
    pub lots: Vec<Lot>,
}

/// A part of an amount, by what it is taken from.
pub type Share = (Source, i64);

impl Wallet {
    /// The account that this part of an amount stands on.
    pub fn account(&self, source: Source) -> AccountKey {
        match source {
            Source::Prepaid => self.prepaid.key,
            Source::Funds => self.funds.key,
            Source::Bonus(_) => self.bonus.key,
        }
    }

    /// Where new money of this user goes.
    pub fn home(&self) -> AccountKey {
        match self.user.kind {
            WalletKind::Prepaid => self.prepaid.key,
            WalletKind::Funds => self.funds.key,
        }
    }

    /// Whether something of it is held or announced.
    pub fn has_pending(&self) -> bool {
        let accounts = [self.prepaid, self.funds, self.bonus];
        accounts.iter().any(|account| account.debits_pending > 0 || account.credits_pending > 0)
    }

    /// What the wallet holds or will hold, for balance limits. Bonus counts while its time lasts, whatever a sweeper has done.
    pub fn expected(&self, now: Timestamp) -> i64 {
        let bonus: i64 = self.lots.iter().filter(|lot| !lot.is_over(now)).map(|lot| lot.left).sum();
        self.prepaid.expected() + self.funds.expected() + bonus
    }

    /// As much of the amount as there is of money, in spend order: prepaid, then funds. The second value is what is missing.
    pub fn take_money(&self, amount: i64) -> (Vec<Share>, i64) {
        let mut missing = amount;
        let mut shares = Vec::with_capacity(2);
        for (source, account) in [(Source::Prepaid, &self.prepaid), (Source::Funds, &self.funds)] {
            let share = account.available().clamp(0, missing);
            if share > 0 {
                shares.push((source, share));
                missing -= share;
            }
        }
        (shares, missing)
    }

    /// The amount in spend order, bonus by its earliest end, then money; or [`Refusal::InsufficientFunds`].
    pub fn spend(&self, amount: i64, now: Timestamp) -> Result<Vec<Share>, Refusal> {
        let mut shares = bonus::take(&self.lots, amount, now);
        let given: i64 = shares.iter().map(|(_, share)| share).sum();
        match self.take_money(amount - given) {
            (money, 0) => {
                shares.extend(money);
                Ok(shares)
            }
            _ => Err(Refusal::InsufficientFunds),
        }
    }

    /// How much of a credit repays what is owed; the rest is the user's.
    pub fn repayment(&self, credit: i64) -> i64 {
        self.receivable.balance().clamp(0, credit)
    }
}

impl Books {
    /// A user's wallet in one currency. Errors: [`Refusal::UserNotFound`].
    pub fn wallet(&self, user: UserId, currency: Currency) -> Result<Wallet, Refusal> {
        let account = |class| self.account(AccountKey::user(class, user, currency));
        Ok(Wallet {
            user: *self.users.get(&user).ok_or(Refusal::UserNotFound)?,
            prepaid: account(Class::Prepaid),
            funds: account(Class::Funds),
            receivable: account(Class::Receivable),
            bonus: account(Class::Bonus),
            lots: self.lots_of(user, currency),
        })
    }

    /// An account as it stands; one that nothing was posted to is empty.
    pub fn account(&self, key: AccountKey) -> Account {
        self.accounts.get(&key.id()).copied().unwrap_or_else(|| Account::empty(key))
    }

    /// Checks a dealing against the limits of a wallet.
    pub fn check_limits(
        &self,
        user: &User,
        action: crate::limits::Action,
        amount: Money,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let used = |key: CounterKey| self.counters.get(&key).copied().unwrap_or(0);
        self.policy.limits.check(user.kind, action, amount, now, used, user.id)
    }

    /// Checks the whole of a dealing that grew against the limit for one time.
    pub fn check_once(
        &self,
        user: &User,
        action: crate::limits::Action,
        whole: Money,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let most = self.policy.limits.most(user.kind, action, crate::limits::Window::Once, whole.currency, now);
        if most.is_some_and(|most| whole.minor > most) { Err(Refusal::AmountLimit) } else { Ok(()) }
    }

    /// Counts a dealing where a limit asks for it.
    pub fn count_limits(&mut self, user: &User, action: crate::limits::Action, amount: Money, now: Timestamp) {
        for key in crate::limits::counters(user.id, action, amount.currency, now) {
            if self.policy.limits.most(user.kind, action, key.window, amount.currency, now).is_some() {
                let used = self.counters.get(&key).copied().unwrap_or(0);
                self.counters.put(key, used.saturating_add(amount.minor));
            }
        }
    }

    /// Whether a wallet may come to hold this much more.
    pub fn check_balance_limit(&self, wallet: &Wallet, more: Money, now: Timestamp) -> Result<(), Refusal> {
        let most = self.policy.limits.most(
            wallet.user.kind,
            crate::limits::Action::Hold,
            crate::limits::Window::Once,
            more.currency,
            now,
        );
        match most {
            Some(most) if wallet.expected(now).saturating_add(more.minor) > most => Err(Refusal::BalanceLimit),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_restores_what_the_savepoint_saw() {
        let mut table: Table<u8, &str> = Table::default();
        table.load(1, "stored");
        table.put(2, "kept");
        table.savepoint();
        table.put(1, "changed");
        table.put(1, "changed twice");
        table.put(3, "new");
        table.rollback_to(0);
        assert_eq!((table.get(&1), table.get(&2), table.get(&3)), (Some(&"stored"), Some(&"kept"), None));
        assert_eq!(table.changed().map(|row| (*row.key, row.stored)).collect::<Vec<_>>(), [(2, false)]);
    }

    #[test]
    fn a_mark_takes_back_what_came_after_it_and_no_more() {
        let mut table: Table<u8, &str> = Table::default();
        table.savepoint();
        table.put(1, "before");
        let mark = table.mark();
        table.put(1, "after");
        table.put(2, "after");
        assert_eq!(table.since(mark), [(1, "after"), (2, "after")]);
        table.rollback_to(mark);
        assert_eq!((table.get(&1), table.get(&2), table.since(mark)), (Some(&"before"), None, vec![]));
    }

    #[test]
    fn a_posting_off_the_table_of_paths_is_refused_and_changes_nothing() {
        let mut books = Books::default();
        let bank = AccountKey::platform(Class::Bank, Currency::JPY);
        let wallet = AccountKey::user(Class::Funds, UserId::default(), Currency::JPY);
        for kind in EntryKind::ALL {
            for debit in Class::ALL {
                for credit in Class::ALL {
                    let (from, to) = (AccountKey { class: debit, ..bank }, AccountKey { class: credit, ..wallet });
                    let result = Postings::default().post(&mut books, kind, from, to, 1);
                    let refused = result == Err(Refusal::PathNotAllowed);
                    assert_eq!(refused, !paths::allowed(kind, debit, credit), "{kind:?} {debit:?} {credit:?}");
                }
            }
        }
    }
}
