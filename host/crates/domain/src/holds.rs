//! Money of a user that a flow sets aside for somebody outside, and what becomes of it: taken by the partner, or let go.

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class, PluginKey};
use crate::bonus;
use crate::books::{Books, Postings, Share, Wallet};
use crate::charges::{self, Exposure, PartnerReference, ReferenceKey, ReferenceState};
use crate::closings::tax_rate;
use crate::guest::Side;
use crate::ids::{EntryId, FlowId, UserId};
use crate::limits::{Action, WalletKind};
use crate::manifest::Beginning;
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::{Part, Source};
use crate::time::Timestamp;

/// What money leaves the platform for. It says which paths of the table it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Purpose {
    /// A bill: bonus, prepaid value and funds pay it, in this order.
    Bill = 1,
    /// Its owner takes it out, which only funds can be.
    Withdrawal = 2,
}

impl Purpose {
    /// What a flow's money leaves the platform for; none if its beginning lets none leave.
    pub const fn of(beginning: Beginning) -> Option<Purpose> {
        match beginning {
            Beginning::PayBill => Some(Purpose::Bill),
            Beginning::Withdraw => Some(Purpose::Withdrawal),
            Beginning::Charge | Beginning::LinkAccount | Beginning::Sync | Beginning::Event => None,
        }
    }

    /// The purpose with this code.
    pub fn from_code(code: u8) -> Option<Purpose> {
        [Purpose::Bill, Purpose::Withdrawal].into_iter().find(|purpose| purpose.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The entries of its three commands: set aside, taken, let go.
    pub const fn kinds(self) -> (EntryKind, EntryKind, EntryKind) {
        match self {
            Purpose::Bill => (EntryKind::BillHold, EntryKind::Bill, EntryKind::BillRelease),
            Purpose::Withdrawal => (EntryKind::WithdrawalHold, EntryKind::Withdrawal, EntryKind::WithdrawalRelease),
        }
    }

    /// Which limits it counts against.
    pub const fn action(self) -> Action {
        match self {
            Purpose::Bill => Action::Pay,
            Purpose::Withdrawal => Action::Withdraw,
        }
    }
}

/// Which hold a command is about. The fields behind the key are the flow's own: the store loads by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfHold {
    /// Which flow's.
    pub flow: FlowId,
    /// The plugin's name for it, unique in the flow.
    pub key: String,
    /// Whose partner it is for.
    pub plugin: PluginKey,
    /// Whose money it is.
    pub user: UserId,
    /// In which currency.
    pub currency: Currency,
    /// What for.
    pub purpose: Purpose,
}

impl OfHold {
    /// The key of its row.
    pub fn row(&self) -> (FlowId, String) {
        (self.flow, self.key.clone())
    }

    /// What is owed to the partner.
    pub fn in_transit(&self) -> AccountKey {
        AccountKey::in_transit(self.plugin, self.currency)
    }
}

/// A hold as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which one.
    pub of: OfHold,
    /// How much was set aside, minor units.
    pub amount: i64,
    /// What it is taken from, in spend order, each source once.
    pub parts: Vec<Part>,
    /// When it was set aside.
    pub at: Timestamp,
}

impl Held {
    /// What is still set aside, minor units.
    pub fn held(&self) -> i64 {
        self.parts.iter().map(|part| part.held).sum()
    }

    /// What the partner has taken, minor units.
    pub fn captured(&self) -> i64 {
        self.parts.iter().map(|part| part.captured).sum()
    }
}

/// A flow sets money aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Under which name, for whom and of whom.
    pub of: OfHold,
    /// How much, minor units.
    pub amount: i64,
}

/// The partner has taken what was set aside, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// Of which hold.
    pub of: OfHold,
    /// How much leaves the hold, fee included.
    pub amount: Money,
    /// What of it the platform keeps for its service, with the tax in it, minor units.
    pub fee: i64,
    /// The partner's own id of it.
    pub reference: String,
    /// Whether the rest is let go.
    pub last: bool,
}

/// What is still set aside is the user's again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetGo {
    /// Of which hold.
    pub of: OfHold,
}

/// What a partner took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// What the partner got.
    pub amount: Money,
    /// What the platform kept for its service, minor units.
    pub fee: i64,
    /// What was let go with it, minor units.
    pub let_go: i64,
}

/// Sets the amount aside in spend order. From now on it counts against the plugin's exposure cap, for nobody asks the books before the
/// partner takes it. Answers what was set aside, minor units.
pub fn set_aside(books: &mut Books, command: &SetAside, now: Timestamp) -> Result<(Postings, i64), Refusal> {
    let SetAside { of, amount } = command;
    let (wallet, exposure, shares) = check(books, of, *amount, now)?;
    let (kind, ..) = of.purpose.kinds();

    // After this point the hold must succeed.
    books.count_limits(&wallet.user, of.purpose.action(), Money::new(*amount, of.currency), now);
    let mut postings = Postings::default();
    let mut parts: Vec<Part> = Vec::with_capacity(shares.len());
    for (source, share) in shares {
        postings.reserve(books, kind, wallet.account(source), of.in_transit(), share)?;
        bonus::held(books, source, share)?;
        parts.push(Part { source, held: share, captured: 0, refunded: 0 });
    }
    books.exposures.put((of.plugin, of.currency), Exposure { used: exposure.used + amount, ..exposure });
    books.held.put(of.row(), Held { of: of.clone(), amount: *amount, parts, at: now });
    Ok((postings, *amount))
}

fn check(books: &Books, of: &OfHold, amount: i64, now: Timestamp) -> Result<(Wallet, Exposure, Vec<Share>), Refusal> {
    if amount <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(of.user, of.currency)?;
    wallet.user.check_open()?;
    if of.currency != Currency::JPY {
        return Err(Refusal::CurrencyNotAccepted);
    }
    let exposure = *books.exposures.get(&(of.plugin, of.currency)).ok_or(Refusal::ChannelNotAvailable)?;
    if of.purpose == Purpose::Withdrawal && wallet.user.kind != WalletKind::Funds {
        return Err(Refusal::NotVerified);
    }
    wallet.user.check_not_revoked()?;
    if wallet.receivable.balance() > 0 {
        return Err(Refusal::RepaymentDue);
    }
    // A name is used once in its flow; the flow sees to it before.
    if books.held.contains(&of.row()) {
        return Err(Refusal::ReferenceUsed);
    }
    if exposure.budget_is_used_up() {
        return Err(Refusal::LossBudgetExhausted);
    }
    if exposure.used.checked_add(amount).is_none_or(|used| used > exposure.cap) {
        return Err(Refusal::ExposureCapReached);
    }
    books.check_limits(&wallet.user, of.purpose.action(), Money::new(amount, of.currency), now)?;
    let shares = match of.purpose {
        Purpose::Bill => wallet.spend(amount, now)?,
        Purpose::Withdrawal if wallet.funds.available() < amount => return Err(Refusal::InsufficientFunds),
        Purpose::Withdrawal => vec![(Source::Funds, amount)],
    };
    Ok((wallet, exposure, shares))
}

/// Owes the partner what it has taken of the hold, in the order in which it was set aside, and keeps the fee. What is owed stays exposed
/// until a settlement lists it.
pub fn take(books: &mut Books, command: &Take, entry: EntryId, now: Timestamp) -> Result<(Postings, Taken), Refusal> {
    let Take { of, amount, fee, .. } = command;
    if amount.minor <= 0 || *fee < 0 || *fee >= amount.minor {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(of.user, of.currency)?;
    if amount.currency != of.currency {
        return Err(Refusal::CurrencyNotAccepted);
    }
    let mut held = known(books, of)?;
    let key = ReferenceKey { plugin: of.plugin, side: Side::Capture, reference: command.reference.clone() };
    if books.references.contains(&key) || charges::is_closed(books, &key) {
        return Err(Refusal::ReferenceUsed);
    }
    if amount.minor > held.held() {
        return Err(Refusal::CaptureExceedsHold);
    }

    // After this point the capture must succeed. What was set aside is taken also from a frozen user: the partner has it.
    let (_, kind, _) = of.purpose.kinds();
    let mut postings = Postings::default();
    let tax = tax_rate(now.jst_day() + 1).within(*fee);
    let owed = Money::new(amount.minor - fee, of.currency);
    let platform = |class| AccountKey::platform(class, of.currency);
    let shares = [
        (of.in_transit(), owed.minor),
        (platform(Class::FeeIncome), fee - tax),
        (platform(Class::ConsumptionTax), tax),
    ];
    for (to, share) in shares {
        move_parts(books, &mut postings, kind, (&wallet, of.in_transit(), to), &mut held.parts, share)?;
    }
    no_longer_exposed(books, of, *fee);
    let let_go = if command.last { held.held() } else { 0 };
    if command.last {
        free_parts(books, &mut postings, kind, (of.user, of.in_transit()), &mut held.parts, now)?;
        no_longer_exposed(books, of, let_go);
    }
    books.held.put(of.row(), held);
    books.references.put(
        key,
        PartnerReference {
            state: ReferenceState::Captured,
            amount: owed,
            flow: Some(of.flow),
            user: Some(of.user),
            entry: Some(entry),
            reversed: 0,
            reversed_listed: 0,
            exposed: owed.minor,
            listed: false,
            released: false,
            of: None,
            at: now,
        },
    );
    Ok((postings, Taken { amount: owed, fee: *fee, let_go }))
}

/// Gives back what is still set aside. Answers how much, minor units.
pub fn let_go(books: &mut Books, command: &LetGo, now: Timestamp) -> Result<(Postings, i64), Refusal> {
    let of = &command.of;
    books.wallet(of.user, of.currency)?;
    let mut held = known(books, of)?;
    let rest = held.held();

    // After this point the release must succeed.
    let (.., kind) = of.purpose.kinds();
    let mut postings = Postings::default();
    free_parts(books, &mut postings, kind, (of.user, of.in_transit()), &mut held.parts, now)?;
    no_longer_exposed(books, of, rest);
    books.held.put(of.row(), held);
    Ok((postings, rest))
}

/// The hold, if something of it is still set aside.
fn known(books: &Books, of: &OfHold) -> Result<Held, Refusal> {
    let held = books.held.get(&of.row()).filter(|held| held.of == *of && held.held() > 0);
    held.cloned().ok_or(Refusal::HoldEnded)
}

fn no_longer_exposed(books: &mut Books, of: &OfHold, amount: i64) {
    let key = (of.plugin, of.currency);
    if let Some(exposure) = books.exposures.get(&key).copied() {
        books.exposures.put(key, Exposure { used: exposure.used - amount, ..exposure });
    }
}

/// Moves so much of what is held for the one account, in its order, to the other.
pub(crate) fn move_parts(
    books: &mut Books,
    postings: &mut Postings,
    kind: EntryKind,
    (wallet, held_for, to): (&Wallet, AccountKey, AccountKey),
    parts: &mut [Part],
    amount: i64,
) -> Result<(), Refusal> {
    let mut left = amount;
    for part in parts {
        let share = left.min(part.held);
        let from = wallet.account(part.source);
        postings.release(books, kind, from, held_for, share)?;
        postings.post(books, kind, from, to, share)?;
        bonus::captured(books, part.source, share)?;
        (part.held, part.captured, left) = (part.held - share, part.captured + share, left - share);
    }
    Ok(())
}

/// Frees what is still held. What the owner owes is repaid first, of money only; prepaid value of an owner verified since becomes
/// funds; bonus whose lot is over is the platform's again.
pub(crate) fn free_parts(
    books: &mut Books,
    postings: &mut Postings,
    kind: EntryKind,
    (owner, to): (UserId, AccountKey),
    parts: &mut [Part],
    now: Timestamp,
) -> Result<(), Refusal> {
    let wallet = books.wallet(owner, to.currency)?;
    let money = parts.iter().filter(|part| part.source.is_money()).map(|part| part.held).sum();
    let mut owed = wallet.repayment(money);
    for part in parts {
        let (from, share) = (wallet.account(part.source), std::mem::take(&mut part.held));
        postings.release(books, kind, from, to, share)?;
        if let Source::Bonus(lot) = part.source {
            if bonus::let_go(books, lot, share, now)? {
                postings.post(books, kind, from, bonus::expense(to.currency), share)?;
            }
            continue;
        }
        let repaid = owed.min(share);
        owed -= repaid;
        postings.post(books, kind, from, wallet.receivable.key, repaid)?;
        if part.source == Source::Prepaid && wallet.user.kind == WalletKind::Funds {
            postings.post(books, kind, from, wallet.funds.key, share - repaid)?;
        }
    }
    Ok(())
}
