//! The model's part of bonus: lots that end, what is taken from them first, and what goes back to them last.

use koban_domain::bonus::{Grant, OfLot, Revoke};
use koban_domain::ids::{LotId, UserId};
use koban_domain::outcomes::Refusal;
use koban_domain::time::Timestamp;

use super::{Model, Person};

/// A gift with an end.
#[derive(Debug, Clone)]
pub(super) struct Lot {
    left: i64,
    held: i64,
    from: Timestamp,
    until: Timestamp,
    taken_back: bool,
}

impl Lot {
    fn over(&self, now: Timestamp) -> bool {
        self.taken_back || self.until <= now
    }
}

/// What a sale has of one lot, in the order in which it was taken.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) lot: LotId,
    pub(super) held: i64,
    /// Got and not given back.
    pub(super) got: i64,
}

/// How much of which lot.
pub(super) type Given = Vec<(LotId, i64)>;

impl Person {
    /// What is on the bonus account, and what of it is set aside.
    pub(crate) fn bonus(&self) -> (i64, i64) {
        (self.lots.values().map(|lot| lot.left).sum(), self.lots.values().map(|lot| lot.held).sum())
    }

    /// What the limit on balances sees.
    pub(super) fn lasting(&self, now: Timestamp) -> i64 {
        self.lots.values().filter(|lot| !lot.over(now)).map(|lot| lot.left).sum()
    }

    /// As much as lots give: again and again from the one that ends first.
    pub(super) fn give(&self, yen: i64, now: Timestamp) -> Given {
        let mut given: Given = Vec::new();
        loop {
            let missing = yen - given.iter().map(|(_, share)| share).sum::<i64>();
            let usable = self.lots.iter().filter(|(id, lot)| {
                let unused = given.iter().all(|(known, _)| known != *id);
                unused && lot.left > lot.held && lot.from <= now && !lot.over(now)
            });
            let Some((id, lot)) = usable.min_by_key(|(id, lot)| (lot.until, **id)) else { return given };
            if missing == 0 {
                return given;
            }
            given.push((*id, missing.min(lot.left - lot.held)));
        }
    }

    pub(super) fn spend(&mut self, given: &Given) {
        for (id, share) in given {
            self.lots.get_mut(id).unwrap().left -= share;
        }
    }

    pub(super) fn set_aside(&mut self, given: &Given) {
        for (id, share) in given {
            self.lots.get_mut(id).unwrap().held += share;
        }
    }

    pub(super) fn is_over(&self, lot: LotId, now: Timestamp) -> bool {
        self.lots[&lot].over(now)
    }

    pub(super) fn bring_back(&mut self, lot: LotId, share: i64) {
        self.lots.get_mut(&lot).unwrap().left += share;
    }
}

/// Adds what was taken from lots to a sale: set aside, or got.
pub(super) fn add(slices: &mut Vec<Slice>, given: &Given, held: bool) {
    for (lot, share) in given {
        let (set_aside, got) = if held { (*share, 0) } else { (0, *share) };
        match slices.iter_mut().find(|slice| slice.lot == *lot) {
            Some(slice) => (slice.held, slice.got) = (slice.held + set_aside, slice.got + got),
            None => slices.push(Slice { lot: *lot, held: set_aside, got }),
        }
    }
}

/// The shop gets up to so much of what is set aside of lots. The rest of the amount is answered.
pub(super) fn take(slices: &mut [Slice], yen: i64, person: &mut Person) -> i64 {
    let mut left = yen;
    for slice in slices {
        let share = left.min(slice.held);
        (slice.held, slice.got) = (slice.held - share, slice.got + share);
        let lot = person.lots.get_mut(&slice.lot).unwrap();
        (lot.held, lot.left) = (lot.held - share, lot.left - share);
        left -= share;
    }
    left
}

/// What is set aside goes back to its lots; a lot that is over keeps nothing.
pub(super) fn give_up(slices: &mut [Slice], person: &mut Person, now: Timestamp) {
    for slice in slices {
        let share = std::mem::take(&mut slice.held);
        let lot = person.lots.get_mut(&slice.lot).unwrap();
        lot.held -= share;
        if lot.over(now) {
            lot.left -= share;
        }
    }
}

impl Model {
    pub(super) fn grant(&mut self, wish: &Grant) -> Result<(), Refusal> {
        let (who, yen, now) = (wish.user, wish.amount.minor, self.now);
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        let from = wish.usable_from.map_or(now, |from| from.max(now));
        if wish.expires_at <= from {
            return Err(Refusal::LotExpired);
        }
        let person = self.person(who);
        if person.lots.values().filter(|lot| lot.left > 0).count() >= 100 {
            return Err(Refusal::LotsFull);
        }
        let at_most = if person.verified { 1_000_000 } else { 100_000 };
        let will_hold = person.will_hold(now);
        if self.granted + yen > self.budget {
            return Err(Refusal::CampaignBudgetExhausted);
        }
        if will_hold + yen > at_most {
            return Err(Refusal::BalanceLimit);
        }
        self.granted += yen;
        let lot = Lot { left: yen, held: 0, from, until: wish.expires_at, taken_back: false };
        self.person(who).lots.insert(wish.lot, lot);
        Ok(())
    }

    fn lot(&mut self, of: &OfLot) -> Result<&mut Lot, Refusal> {
        let person = self.people.get_mut(&of.user).unwrap();
        person.lots.get_mut(&of.lot).ok_or(Refusal::LotNotFound)
    }

    pub(super) fn lapse(&mut self, of: &OfLot) -> Result<(), Refusal> {
        let now = self.now;
        let lot = self.lot(of)?;
        if lot.left == lot.held {
            return Err(Refusal::LotEmpty);
        }
        if !lot.over(now) {
            return Err(Refusal::NotExpired);
        }
        lot.left = lot.held;
        Ok(())
    }

    pub(super) fn take_back(&mut self, wish: &Revoke) -> Result<(), Refusal> {
        let lot = self.lot(&wish.of)?;
        if lot.left == 0 || lot.taken_back {
            return Err(Refusal::LotEmpty);
        }
        (lot.left, lot.taken_back) = (lot.held, true);
        Ok(())
    }

    pub(super) fn release(&mut self, of: &OfLot) -> Result<(), Refusal> {
        let now = self.now;
        let lot = self.lot(of)?;
        if lot.left == 0 || lot.over(now) || lot.from <= now {
            return Err(Refusal::LotEmpty);
        }
        lot.from = now;
        Ok(())
    }

    /// Every lot that was ever granted, with its owner.
    pub(crate) fn lots(&self) -> Vec<(LotId, UserId)> {
        let all = self.people.iter().flat_map(|(who, person)| person.lots.keys().map(|lot| (*lot, *who)));
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    }
}
