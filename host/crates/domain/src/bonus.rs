//! Bonus: campaigns with a budget, lots that end, and what becomes of a lot when it is spent, held, let go or given back.
//!
//! Bonus pays merchants and is nothing else: it is never sent, cashed out, exchanged, converted, or used to repay what is owed.
//! The sum of what is left of a wallet's lots is the balance of its bonus account, in every commit.

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class};
use crate::books::{Books, Postings, Share};
use crate::gifts::Bound;
use crate::ids::{CampaignId, LotId, UserId};
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::Source;
use crate::time::Timestamp;

/// Most lots with something left that a wallet may have when another one is granted. What refunds bring back comes on top: it
/// was there before.
pub const LOTS_MAX: usize = 100;
/// How far ahead a lot may end at most: 5 years.
pub const LASTS_MS_MAX: i64 = 1_827 * 86_400_000;

/// A campaign as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// What people know it by.
    pub name: String,
    /// The most that it may ever grant. What ends, is taken back or is refunded does not return to it.
    pub budget: Money,
    /// What it has granted, minor units.
    pub granted: i64,
    /// Whether it grants.
    pub open: bool,
    /// From when on it grants nothing more; none if only an operator closes it.
    pub ends_at: Option<Timestamp>,
    /// Since when it is there.
    pub at: Timestamp,
    /// The most that one user may ever have from it, minor units; none if the budget is the only bound. What ends or is taken back
    /// counts.
    pub per_user: Option<i64>,
    /// The one budget of a plugin that may have it grant; none if operators alone do.
    pub bound: Option<Bound>,
}

/// An operator's wish that a campaign be as said, new or changed, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The campaign; a new one if there is none with this id.
    pub campaign: CampaignId,
    /// What people know it by.
    pub name: String,
    /// The most that it may ever grant. A campaign keeps its currency.
    pub budget: Money,
    /// Whether it grants.
    pub open: bool,
    /// From when on it grants nothing more.
    pub ends_at: Option<Timestamp>,
    /// The most that one user may ever have from it, minor units.
    pub per_user: Option<i64>,
    /// The one budget of a plugin that may have it grant.
    pub bound: Option<Bound>,
}

/// A lot as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Its id.
    pub id: LotId,
    /// Whose.
    pub user: UserId,
    /// Which campaign granted it.
    pub campaign: CampaignId,
    /// How much was granted.
    pub amount: Money,
    /// What is left of it on the wallet's bonus account, held or not, minor units.
    pub left: i64,
    /// What of that is held for merchants or reviews, minor units.
    pub held: i64,
    /// From when on it may be spent.
    pub usable_from: Timestamp,
    /// From when on it may not be spent any more.
    pub expires_at: Timestamp,
    /// When an operator took it back, or the account was closed.
    pub ended_at: Option<Timestamp>,
    /// When it was granted.
    pub at: Timestamp,
}

impl Lot {
    /// Whether its time has run out or it was taken back, whatever a sweeper has done about it.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ended_at.is_some() || now >= self.expires_at
    }

    /// What of it may be spent at this time, minor units.
    pub fn usable(&self, now: Timestamp) -> i64 {
        if now < self.usable_from || self.is_over(now) { 0 } else { self.free() }
    }

    /// What is left and not held, minor units.
    pub fn free(&self) -> i64 {
        self.left - self.held
    }
}

/// Which lot a command is about. The other fields are the lot's own: the store loads by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfLot {
    /// The lot.
    pub lot: LotId,
    /// Whose.
    pub user: UserId,
    /// In which currency.
    pub currency: Currency,
}

impl From<&Lot> for OfLot {
    fn from(lot: &Lot) -> OfLot {
        OfLot { lot: lot.id, user: lot.user, currency: lot.amount.currency }
    }
}

/// A gift of a campaign's, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The lot to be.
    pub lot: LotId,
    /// To whom.
    pub user: UserId,
    /// From which campaign.
    pub campaign: CampaignId,
    /// How much.
    pub amount: Money,
    /// From when on it may be spent; at once if it does not say.
    pub usable_from: Option<Timestamp>,
    /// From when on it may not be spent any more.
    pub expires_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// An operator's decision to take back what is left of a lot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// Which.
    pub of: OfLot,
    /// Why.
    pub reason: String,
}

/// A lot that came to an end, and what was left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The lot.
    pub lot: Lot,
    /// What went back to the platform, minor units.
    pub taken: i64,
}

/// Makes a campaign or changes one. Errors: [`Refusal::BudgetBelowGranted`].
pub fn plan(books: &mut Books, command: &Plan, now: Timestamp) -> Result<Campaign, Refusal> {
    if command.budget.minor <= 0 || command.per_user.is_some_and(|most| most <= 0) {
        return Err(Refusal::AmountNotPositive);
    }
    let known = books.campaigns.get(&command.campaign);
    let (granted, at) = known.map_or((0, now), |known| (known.granted, known.at));
    let same = known.is_none_or(|known| known.budget.currency == command.budget.currency);
    if !same || !books.policy.offers(command.budget.currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if command.budget.minor < granted {
        return Err(Refusal::BudgetBelowGranted);
    }
    let Plan { campaign: id, name, budget, open, ends_at, per_user, bound } = command.clone();
    let campaign = Campaign { id, name, budget, granted, open, ends_at, at, per_user, bound };
    books.campaigns.put(id, campaign.clone());
    Ok(campaign)
}

/// Grants a lot out of a campaign's budget. It counts toward the wallet's balance limit.
pub fn grant(books: &mut Books, command: &Grant, now: Timestamp) -> Result<(Postings, Lot), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.user, currency)?;
    let mut campaign = books.campaigns.get(&command.campaign).ok_or(Refusal::CampaignNotFound)?.clone();
    wallet.user.check_open()?;
    if campaign.budget.currency != currency {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if !campaign.open || campaign.ends_at.is_some_and(|at| now >= at) {
        return Err(Refusal::CampaignClosed);
    }
    let usable_from = command.usable_from.unwrap_or(now).max(now);
    if command.expires_at <= usable_from {
        return Err(Refusal::LotExpired);
    }
    if wallet.lots.iter().filter(|lot| lot.left > 0).count() >= LOTS_MAX {
        return Err(Refusal::LotsFull);
    }
    let granted = campaign.granted.checked_add(amount.minor).ok_or(Refusal::Overflow)?;
    if granted > campaign.budget.minor {
        return Err(Refusal::CampaignBudgetExhausted);
    }
    let share = books.shares.get(&(command.campaign, command.user)).copied().unwrap_or(0);
    let share = share.checked_add(amount.minor).ok_or(Refusal::Overflow)?;
    if campaign.per_user.is_some_and(|most| share > most) {
        return Err(Refusal::CampaignShareExhausted);
    }
    books.check_balance_limit(&wallet, amount, now)?;

    // After this point the grant must succeed.
    let mut postings = Postings::default();
    postings.post(books, EntryKind::BonusGrant, expense(currency), wallet.bonus.key, amount.minor)?;
    let lot = Lot {
        id: command.lot,
        user: command.user,
        campaign: command.campaign,
        amount,
        left: amount.minor,
        held: 0,
        usable_from,
        expires_at: command.expires_at,
        ended_at: None,
        at: now,
    };
    campaign.granted = granted;
    books.shares.put((campaign.id, command.user), share);
    books.campaigns.put(campaign.id, campaign);
    books.put_lot(lot);
    Ok((postings, lot))
}

/// Takes what is left of a lot whose time has run out. Somebody sends this; the time decides. What is held of it stays held.
pub fn lapse(books: &mut Books, of: &OfLot, now: Timestamp) -> Result<(Postings, Ended), Refusal> {
    let lot = known(books, of)?;
    if lot.free() == 0 {
        return Err(Refusal::LotEmpty);
    }
    if !lot.is_over(now) {
        return Err(Refusal::NotExpired);
    }

    // After this point the end must succeed.
    end(books, EntryKind::BonusExpiry, lot)
}

/// Takes back what is left of a lot. What was spent stays spent; what is held may still be captured, and ends if it is let go.
pub fn revoke(books: &mut Books, command: &Revoke, now: Timestamp) -> Result<(Postings, Ended), Refusal> {
    let lot = known(books, &command.of)?;
    if lot.left == 0 || lot.ended_at.is_some() {
        return Err(Refusal::LotEmpty);
    }

    // After this point the end must succeed.
    end(books, EntryKind::BonusRevocation, Lot { ended_at: Some(now), ..lot })
}

/// Takes back at most so much of what is left of a lot and not held. Nothing left is nothing taken.
pub(crate) fn take_back(books: &mut Books, of: &OfLot, amount: i64) -> Result<(Postings, Ended), Refusal> {
    let lot = known(books, of)?;
    let taken = amount.min(lot.free());

    // After this point it must succeed.
    let (currency, bonus) = (of.currency, AccountKey::user(Class::Bonus, of.user, of.currency));
    let mut postings = Postings::default();
    postings.post(books, EntryKind::BonusRevocation, bonus, expense(currency), taken)?;
    let lot = Lot { left: lot.left - taken, ..lot };
    books.put_lot(lot);
    Ok((postings, Ended { lot, taken }))
}

/// Lets a lot be spent before its date. Errors: [`Refusal::LotEmpty`] if it may be already or never again.
pub fn release(books: &mut Books, of: &OfLot, now: Timestamp) -> Result<Lot, Refusal> {
    let lot = known(books, of)?;
    if lot.left == 0 || lot.is_over(now) || now >= lot.usable_from {
        return Err(Refusal::LotEmpty);
    }
    let lot = Lot { usable_from: now, ..lot };
    books.put_lot(lot);
    Ok(lot)
}

fn end(books: &mut Books, kind: EntryKind, lot: Lot) -> Result<(Postings, Ended), Refusal> {
    let (currency, taken) = (lot.amount.currency, lot.free());
    let mut postings = Postings::default();
    postings.post(books, kind, AccountKey::user(Class::Bonus, lot.user, currency), expense(currency), taken)?;
    let lot = Lot { left: lot.held, ..lot };
    books.put_lot(lot);
    Ok((postings, Ended { lot, taken }))
}

/// Takes all that is left of a wallet's lots, because the account is closed. Nothing of it may be held.
pub(crate) fn forfeit(
    books: &mut Books,
    postings: &mut Postings,
    (user, currency): (UserId, Currency),
    now: Timestamp,
) -> Result<(), Refusal> {
    let wallet = books.wallet(user, currency)?;
    postings.post(books, EntryKind::Closure, wallet.bonus.key, expense(currency), wallet.bonus.balance())?;
    for lot in wallet.lots.into_iter().filter(|lot| lot.left > 0) {
        books.put_lot(Lot { left: 0, ended_at: Some(lot.ended_at.unwrap_or(now)), ..lot });
    }
    Ok(())
}

/// As much of an amount as lots give at this time, the earliest end first, then the first granted.
pub(crate) fn take(lots: &[Lot], amount: i64, now: Timestamp) -> Vec<Share> {
    let mut usable: Vec<&Lot> = lots.iter().filter(|lot| lot.usable(now) > 0).collect();
    usable.sort_unstable_by_key(|lot| (lot.expires_at, lot.id));
    let mut missing = amount;
    let mut shares = Vec::new();
    for lot in usable {
        let share = lot.usable(now).min(missing);
        if share > 0 {
            shares.push((Source::Bonus(lot.id), share));
            missing -= share;
        }
    }
    shares
}

/// A share was paid at once: if it is bonus, its lot has less.
pub(crate) fn spent(books: &mut Books, source: Source, share: i64) -> Result<(), Refusal> {
    change(books, source, |lot| lot.left -= share)
}

/// A share was set aside.
pub(crate) fn held(books: &mut Books, source: Source, share: i64) -> Result<(), Refusal> {
    change(books, source, |lot| lot.held += share)
}

/// A share that was set aside was paid, whether the lot's time has run out meanwhile or not.
pub(crate) fn captured(books: &mut Books, source: Source, share: i64) -> Result<(), Refusal> {
    change(books, source, |lot| (lot.held, lot.left) = (lot.held - share, lot.left - share))
}

/// A share is no longer set aside. Answers whether it ends with its lot, which is over: then it is the platform's again.
pub(crate) fn let_go(books: &mut Books, lot: LotId, share: i64, now: Timestamp) -> Result<bool, Refusal> {
    let over = is_over(books, lot, now)?;
    let ends = if over { share } else { 0 };
    change(books, Source::Bonus(lot), |lot| (lot.held, lot.left) = (lot.held - share, lot.left - ends))?;
    Ok(over)
}

/// A share that was paid came back to its lot, which is not over.
pub(crate) fn returned(books: &mut Books, source: Source, share: i64) -> Result<(), Refusal> {
    change(books, source, |lot| lot.left += share)
}

/// Whether a lot takes nothing back at this time.
pub(crate) fn is_over(books: &Books, lot: LotId, now: Timestamp) -> Result<bool, Refusal> {
    books.lots.get(&lot).map(|lot| lot.is_over(now)).ok_or(Refusal::LotNotFound)
}

/// Where granted value comes from and what ended goes back to.
pub(crate) fn expense(currency: Currency) -> AccountKey {
    AccountKey::platform(Class::BonusExpense, currency)
}

fn change(books: &mut Books, source: Source, how: impl FnOnce(&mut Lot)) -> Result<(), Refusal> {
    let Source::Bonus(id) = source else { return Ok(()) };
    let mut lot = *books.lots.get(&id).ok_or(Refusal::LotNotFound)?;
    how(&mut lot);
    books.put_lot(lot);
    Ok(())
}

fn known(books: &Books, of: &OfLot) -> Result<Lot, Refusal> {
    books.lots.get(&of.lot).filter(|lot| OfLot::from(*lot) == *of).copied().ok_or(Refusal::LotNotFound)
}

impl Books {
    /// The lots of a wallet that are at hand.
    pub(crate) fn lots_of(&self, user: UserId, currency: Currency) -> Vec<Lot> {
        let ids = self.purses.get(&(user, currency)).into_iter().flatten();
        ids.filter_map(|id| self.lots.get(id).copied()).collect()
    }

    /// Takes in a lot that the store has.
    pub fn load_lot(&mut self, lot: Lot) {
        if !self.lots.contains(&lot.id) {
            let purse = (lot.user, lot.amount.currency);
            let mut ids = self.purses.get(&purse).cloned().unwrap_or_default();
            ids.push(lot.id);
            self.purses.load(purse, ids);
        }
        self.lots.load(lot.id, lot);
    }

    /// Puts a lot, new or changed.
    pub(crate) fn put_lot(&mut self, lot: Lot) {
        if !self.lots.contains(&lot.id) {
            let purse = (lot.user, lot.amount.currency);
            let mut ids = self.purses.get(&purse).cloned().unwrap_or_default();
            ids.push(lot.id);
            self.purses.put(purse, ids);
        }
        self.lots.put(lot.id, lot);
    }
}
