//! Accounts: what each mirrors in the real world, its normal side, and how low or high it may go.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{MerchantId, UserId};
use crate::money::Currency;
use crate::records::Digest;

/// What an account is for. The number is its code in rows and canonical encodings and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Class {
    /// A user's prepaid value: pays, but is never sent or cashed out.
    Prepaid = 1,
    /// A verified user's funds.
    Funds = 2,
    /// What a user owes after a partner took back money that was already spent.
    Receivable = 3,
    /// What is owed to a merchant.
    Payable = 4,
    /// What a plugin's partner owes the platform for credits not yet settled.
    Clearing = 5,
    /// The platform's real bank account.
    Bank = 6,
    /// Money that arrived and that no wallet could take.
    Suspense = 7,
    /// Losses that an operator wrote off.
    WriteOff = 8,
    /// What partners keep for their work.
    Fees = 9,
    /// Value that campaigns gave a user: pays, ends, and is never anything else. Kept in lots.
    Bonus = 10,
    /// What campaigns cost the platform: granted, less what came back.
    BonusExpense = 11,
    /// What a plugin's partner has taken of users' money, until its settlement says that it left the bank.
    InTransit = 12,
    /// What closed accounts still held; owed to their owners.
    ClosedBalances = 13,
    /// What the platform holds, or lacks, of a currency by exchanges.
    FxPosition = 14,
    /// What rounding of exchanges left.
    Rounding = 15,
    /// What merchants paid for the platform's work.
    FeeIncome = 16,
    /// Consumption tax on those fees, owed to the state.
    ConsumptionTax = 17,
    /// What is contested of a merchant's payments, until it is decided whose it is.
    Disputed = 18,
    /// What closings say that a merchant is to be paid.
    PayoutDue = 19,
}

/// A side of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum PostingSide {
    /// The left side: assets and expenses grow.
    Debit = 0,
    /// The right side: liabilities grow.
    Credit = 1,
}

/// What a posting does to its account: it moves money, or reserves and releases what is to move later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Layer {
    /// Money has moved.
    Posted = 0,
    /// An amount is set aside: it adds to what is pending.
    Reserved = 1,
    /// An amount is no longer set aside: it is taken from what is pending.
    Released = 2,
}

impl Layer {
    /// Every layer, in order of code.
    pub const ALL: [Layer; 3] = [Layer::Posted, Layer::Reserved, Layer::Released];

    /// The code of a side in this layer, in rows and canonical encodings: the side and two for each layer before this one.
    pub const fn code(self, side: PostingSide) -> u8 {
        side as u8 + 2 * self as u8
    }

    /// The layer and the side that have this code.
    pub fn from_code(code: u8) -> Option<(Layer, PostingSide)> {
        let all = Layer::ALL.into_iter().flat_map(|layer| [(layer, PostingSide::Debit), (layer, PostingSide::Credit)]);
        all.into_iter().find(|(layer, side)| layer.code(*side) == code)
    }
}

impl Class {
    /// Every class, in order of code.
    pub const ALL: [Class; 19] = [
        Class::Prepaid,
        Class::Funds,
        Class::Receivable,
        Class::Payable,
        Class::Clearing,
        Class::Bank,
        Class::Suspense,
        Class::WriteOff,
        Class::Fees,
        Class::Bonus,
        Class::BonusExpense,
        Class::InTransit,
        Class::ClosedBalances,
        Class::FxPosition,
        Class::Rounding,
        Class::FeeIncome,
        Class::ConsumptionTax,
        Class::Disputed,
        Class::PayoutDue,
    ];

    /// The class with this code.
    pub fn from_code(code: u8) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.code() == code)
    }

    /// Its code in rows and canonical encodings.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word in statements and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Class::Prepaid => "prepaid",
            Class::Funds => "funds",
            Class::Receivable => "receivable",
            Class::Payable => "payable",
            Class::Clearing => "clearing",
            Class::Bank => "bank",
            Class::Suspense => "suspense",
            Class::WriteOff => "write-off",
            Class::Fees => "fees",
            Class::Bonus => "bonus",
            Class::BonusExpense => "bonus-expense",
            Class::InTransit => "in-transit",
            Class::ClosedBalances => "closed-balances",
            Class::FxPosition => "fx-position",
            Class::Rounding => "rounding",
            Class::FeeIncome => "fee-income",
            Class::ConsumptionTax => "consumption-tax",
            Class::Disputed => "disputed",
            Class::PayoutDue => "payout-due",
        }
    }

    /// The side on which the account grows.
    pub const fn normal(self) -> PostingSide {
        match self {
            Class::Prepaid
            | Class::Funds
            | Class::Payable
            | Class::Suspense
            | Class::Bonus
            | Class::InTransit
            | Class::ClosedBalances
            | Class::FxPosition
            | Class::Rounding
            | Class::FeeIncome
            | Class::ConsumptionTax
            | Class::Disputed
            | Class::PayoutDue => PostingSide::Credit,
            Class::Receivable | Class::Clearing | Class::Bank | Class::WriteOff | Class::Fees | Class::BonusExpense => {
                PostingSide::Debit
            }
        }
    }

    /// The least balance, counted on the normal side and after pending entries; `None` where a partner's or a bank's own acts
    /// may turn it over, or another row says how far it may fall, as for a merchant ([`crate::books::Books::floor`]).
    pub const fn floor(self) -> Option<i64> {
        match self {
            Class::Prepaid
            | Class::Funds
            | Class::Receivable
            | Class::Suspense
            | Class::Bonus
            | Class::BonusExpense
            | Class::InTransit
            | Class::ClosedBalances
            | Class::Rounding
            | Class::Disputed
            | Class::PayoutDue => Some(0),
            Class::Payable
            | Class::FeeIncome
            | Class::ConsumptionTax
            | Class::Clearing
            | Class::Bank
            | Class::WriteOff
            | Class::Fees
            | Class::FxPosition => None,
        }
    }
}

/// Which account: its class, whose it is and in which currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountKey {
    /// What it is for.
    pub class: Class,
    /// The user, the merchant or the plugin; nil for the platform.
    pub owner: Uuid,
    /// Its currency.
    pub currency: Currency,
}

/// An account's id, derived from its key: the first 16 bytes of SHA-256 over `koban account 1`, class code, owner and currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct AccountId(pub [u8; 16]);

impl AccountKey {
    /// A user's account.
    pub fn user(class: Class, user: UserId, currency: Currency) -> AccountKey {
        AccountKey { class, owner: user.0, currency }
    }

    /// What is owed to a merchant.
    pub fn payable(merchant: MerchantId, currency: Currency) -> AccountKey {
        AccountKey { class: Class::Payable, owner: merchant.0, currency }
    }

    /// What a plugin's partner owes.
    pub fn clearing(plugin: PluginKey, currency: Currency) -> AccountKey {
        AccountKey { class: Class::Clearing, owner: plugin.0, currency }
    }

    /// What a plugin's partner has taken of users' money and the bank has not paid.
    pub fn in_transit(plugin: PluginKey, currency: Currency) -> AccountKey {
        AccountKey { class: Class::InTransit, owner: plugin.0, currency }
    }

    /// One of the platform's own accounts.
    pub fn platform(class: Class, currency: Currency) -> AccountKey {
        AccountKey { class, owner: Uuid::nil(), currency }
    }

    /// The account's id.
    pub fn id(&self) -> AccountId {
        let mut bytes = [0; 35];
        bytes[..15].copy_from_slice(b"koban account 1");
        bytes[15] = self.class.code();
        bytes[16..32].copy_from_slice(self.owner.as_bytes());
        bytes[32..].copy_from_slice(&self.currency.bytes());
        AccountId(Digest::of(&bytes).half())
    }
}

/// A plugin as rows and accounts name it: the first 16 bytes of SHA-256 over `koban plugin 1` and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct PluginKey(pub Uuid);

impl PluginKey {
    /// The key of the plugin with this id.
    pub fn of(plugin: &str) -> PluginKey {
        PluginKey(Uuid::from_bytes(Digest::of_parts(&[b"koban plugin 1", plugin.as_bytes()]).half()))
    }
}

/// An account's four sums, each growing only, and the end of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Which account.
    pub key: AccountKey,
    /// Posted debits, minor units.
    pub debits_posted: i64,
    /// Posted credits, minor units.
    pub credits_posted: i64,
    /// Debits reserved by holds, minor units.
    pub debits_pending: i64,
    /// Credits announced, minor units.
    pub credits_pending: i64,
    /// How many entries have moved it: reservations do not.
    pub moved: i64,
    /// The last of them, by its sequence; 0 before the first.
    pub last: i64,
}

impl Account {
    /// An account that nothing was posted to.
    pub fn empty(key: AccountKey) -> Account {
        Account { key, debits_posted: 0, credits_posted: 0, debits_pending: 0, credits_pending: 0, moved: 0, last: 0 }
    }

    /// The posted balance on the account's normal side.
    pub fn balance(&self) -> i64 {
        match self.key.class.normal() {
            PostingSide::Credit => self.credits_posted - self.debits_posted,
            PostingSide::Debit => self.debits_posted - self.credits_posted,
        }
    }

    /// What may still leave: the balance less what is reserved to leave.
    pub fn available(&self) -> i64 {
        self.balance()
            - match self.key.class.normal() {
                PostingSide::Credit => self.debits_pending,
                PostingSide::Debit => self.credits_pending,
            }
    }

    /// What may come to stand: the balance and what is announced to come.
    pub fn expected(&self) -> i64 {
        self.balance()
            + match self.key.class.normal() {
                PostingSide::Credit => self.credits_pending,
                PostingSide::Debit => self.debits_pending,
            }
    }

    /// The account after one posting in this layer; `None` if a sum would no longer fit, what is left would fall under this floor,
    /// or more would be released than is reserved.
    #[must_use]
    pub fn after(self, layer: Layer, side: PostingSide, amount: i64, floor: Option<i64>) -> Option<Account> {
        match layer {
            Layer::Posted => self.grown(side, amount)?.above(floor, side),
            Layer::Reserved => self.set_aside(side, amount)?.above(floor, side),
            Layer::Released => self.released(side, amount),
        }
    }

    /// The account with this much set aside; `None` as for [`Account::posted`].
    #[must_use]
    pub fn reserved(self, side: PostingSide, amount: i64) -> Option<Account> {
        self.set_aside(side, amount)?.above(self.key.class.floor(), side)
    }

    fn set_aside(mut self, side: PostingSide, amount: i64) -> Option<Account> {
        let pending = self.pending(side);
        *pending = pending.checked_add(amount).filter(|sum| *sum <= i64::MAX / 4)?;
        Some(self)
    }

    /// The account with this much no longer set aside; `None` if less is.
    #[must_use]
    pub fn released(mut self, side: PostingSide, amount: i64) -> Option<Account> {
        let pending = self.pending(side);
        *pending = pending.checked_sub(amount).filter(|sum| *sum >= 0)?;
        Some(self)
    }

    fn pending(&mut self, side: PostingSide) -> &mut i64 {
        match side {
            PostingSide::Debit => &mut self.debits_pending,
            PostingSide::Credit => &mut self.credits_pending,
        }
    }

    /// The account after one posting; `None` if a sum would no longer fit or the balance would fall under the floor of its class.
    #[must_use]
    pub fn posted(self, side: PostingSide, amount: i64) -> Option<Account> {
        self.grown(side, amount)?.above(self.key.class.floor(), side)
    }

    fn grown(mut self, side: PostingSide, amount: i64) -> Option<Account> {
        let sum = match side {
            PostingSide::Debit => &mut self.debits_posted,
            PostingSide::Credit => &mut self.credits_posted,
        };
        // Sums stay below half the range, so that differences and sums of two always fit.
        *sum = sum.checked_add(amount).filter(|sum| *sum <= i64::MAX / 4)?;
        Some(self)
    }

    /// Itself, unless something left it on this side and there is now less than this floor.
    fn above(self, floor: Option<i64>, side: PostingSide) -> Option<Account> {
        let leaves = side != self.key.class.normal();
        match floor {
            Some(floor) if leaves && self.available() < floor => None,
            _ => Some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_counts_what_is_reserved() {
        let key = AccountKey::platform(Class::Suspense, Currency::JPY);
        let mut account = Account::empty(key).posted(PostingSide::Credit, 1_000).unwrap();
        account.debits_pending = 400;
        assert_eq!((account.balance(), account.available()), (1_000, 600));
        assert!(account.posted(PostingSide::Debit, 601).is_none());
        assert_eq!(account.posted(PostingSide::Debit, 600).unwrap().available(), 0);
    }

    #[test]
    fn what_is_reserved_is_released_at_most_once() {
        let key = AccountKey::platform(Class::Suspense, Currency::JPY);
        let account = Account::empty(key).posted(PostingSide::Credit, 1_000).unwrap();
        assert!(account.reserved(PostingSide::Debit, 1_001).is_none(), "more than there is");
        let held = account.reserved(PostingSide::Debit, 1_000).unwrap();
        assert_eq!((held.balance(), held.available()), (1_000, 0));
        assert!(held.released(PostingSide::Debit, 1_001).is_none());
        assert_eq!(held.released(PostingSide::Debit, 1_000), Some(account));
        let announced = account.reserved(PostingSide::Credit, 500).unwrap();
        assert_eq!((announced.available(), announced.expected()), (1_000, 1_500));
        assert!(announced.reserved(PostingSide::Credit, i64::MAX).is_none());
    }

    #[test]
    fn each_layer_and_side_has_a_code_of_its_own_and_the_posted_ones_are_as_they_were() {
        let codes: Vec<_> = (0..6).map(|code| Layer::from_code(code).unwrap()).collect();
        assert_eq!(codes[0], (Layer::Posted, PostingSide::Debit));
        assert_eq!(codes[1], (Layer::Posted, PostingSide::Credit));
        assert_eq!(codes[5], (Layer::Released, PostingSide::Credit));
        assert_eq!(Layer::from_code(6), None);
    }

    #[test]
    fn a_sum_that_would_not_fit_is_refused() {
        let account = Account::empty(AccountKey::platform(Class::Bank, Currency::JPY));
        assert!(account.posted(PostingSide::Debit, i64::MAX).is_none());
    }

    #[test]
    fn an_account_id_follows_from_its_key_alone() {
        let key = AccountKey::platform(Class::Bank, Currency::JPY);
        assert_eq!(hex::encode(key.id().0), hex::encode(key.id().0));
        assert_ne!(key.id(), AccountKey::platform(Class::Fees, Currency::JPY).id());
        assert_eq!(Class::from_code(Class::WriteOff.code()), Some(Class::WriteOff));
        assert_eq!(Class::from_code(0), None);
    }
}
