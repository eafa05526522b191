//! The model's part of bonus: lots that end, what is taken of them first, and what goes back to them last.

use super::{HOLDS, Model, Person, Told, refuse};

/// What a town's campaign may grant.
pub(in super::super) const BUDGET: i64 = 40_000;

/// A gift with an end.
#[derive(Debug, Clone)]
pub(super) struct Lot {
    who: usize,
    left: i64,
    held: i64,
    from: i64,
    until: i64,
    taken_back: bool,
}

impl Lot {
    fn over(&self, now: i64) -> bool {
        self.taken_back || self.until <= now
    }
}

/// What a sale has of one lot, in the order in which it was taken.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    lot: usize,
    pub(super) held: i64,
    /// Got and not given back.
    pub(super) got: i64,
}

/// How much of which lot.
pub(super) type Given = Vec<(usize, i64)>;

/// All lots of a town, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Lots {
    all: Vec<Lot>,
    granted: i64,
}

impl Lots {
    fn of(&self, who: usize) -> impl Iterator<Item = (usize, &Lot)> {
        self.all.iter().enumerate().filter(move |(_, lot)| lot.who == who)
    }

    /// What somebody has of bonus.
    pub(super) fn balance(&self, who: usize) -> i64 {
        self.of(who).map(|(_, lot)| lot.left).sum()
    }

    pub(super) fn held(&self, who: usize) -> bool {
        self.of(who).any(|(_, lot)| lot.held > 0)
    }

    /// What the limit on balances sees.
    pub(super) fn lasting(&self, who: usize, now: i64) -> i64 {
        self.of(who).filter(|(_, lot)| !lot.over(now)).map(|(_, lot)| lot.left).sum()
    }

    /// As much as lots give, the one that ends first before the others.
    pub(super) fn give(&self, who: usize, yen: i64, now: i64) -> Given {
        let mut usable: Vec<(i64, usize, i64)> = self
            .of(who)
            .filter(|(_, lot)| lot.left > lot.held && lot.from <= now && !lot.over(now))
            .map(|(number, lot)| (lot.until, number, lot.left - lot.held))
            .collect();
        usable.sort_unstable();
        let mut missing = yen;
        let mut given = Given::new();
        for (_, number, free) in usable {
            let share = free.min(missing);
            missing -= share;
            if share > 0 {
                given.push((number, share));
            }
        }
        given
    }

    /// Sets aside what was given, for a sale.
    pub(super) fn set_aside(&mut self, given: &Given, slices: &mut Vec<Slice>) {
        for (lot, share) in given {
            self.all[*lot].held += share;
            match slices.iter_mut().find(|slice| slice.lot == *lot) {
                Some(slice) => slice.held += share,
                None => slices.push(Slice { lot: *lot, held: *share, got: 0 }),
            }
        }
    }

    /// The shop gets up to so much of what is set aside. The rest of the amount is answered.
    pub(super) fn take(&mut self, slices: &mut [Slice], yen: i64) -> i64 {
        let mut left = yen;
        for slice in slices {
            let share = left.min(slice.held);
            (slice.held, slice.got) = (slice.held - share, slice.got + share);
            let lot = &mut self.all[slice.lot];
            (lot.held, lot.left) = (lot.held - share, lot.left - share);
            left -= share;
        }
        left
    }

    /// What is set aside goes back; a lot that is over keeps nothing.
    pub(super) fn give_up(&mut self, slices: &mut [Slice], now: i64) {
        for slice in slices {
            let share = std::mem::take(&mut slice.held);
            let lot = &mut self.all[slice.lot];
            lot.held -= share;
            if lot.over(now) {
                lot.left -= share;
            }
        }
    }

    /// So much of a sale comes back to its lots, the last one first. Answers what those get that are not over.
    pub(super) fn come_back(&self, slices: &mut [Slice], yen: i64, now: i64) -> Given {
        let mut rest = yen;
        let mut back = Given::new();
        for slice in slices.iter_mut().rev() {
            let share = rest.min(slice.got);
            (slice.got, rest) = (slice.got - share, rest - share);
            if !self.all[slice.lot].over(now) {
                back.push((slice.lot, share));
            }
        }
        back
    }

    pub(super) fn bring(&mut self, back: &Given) {
        for (lot, share) in back {
            self.all[*lot].left += share;
        }
    }

    /// The account is closed, and nothing is held.
    pub(super) fn forfeit(&mut self, who: usize) {
        for lot in self.all.iter_mut().filter(|lot| lot.who == who && lot.left > 0) {
            (lot.left, lot.taken_back) = (0, true);
        }
    }

    /// Everything whose time has run out ends, but for what is held.
    pub(super) fn sweep(&mut self, now: i64) {
        for lot in self.all.iter_mut().filter(|lot| lot.over(now)) {
            lot.left = lot.held;
        }
    }
}

impl Model {
    pub(super) fn grant(&mut self, who: usize, yen: i64, (from, until): (i64, i64), now: i64) -> Told {
        let person: &Person = &self.people[who];
        person.may_deal()?;
        refuse("campaign_budget_exhausted", self.lots.granted + yen > BUDGET)?;
        let will_hold = person.prepaid + person.funds + person.coming + self.lots.lasting(who, now);
        refuse("balance_limit", will_hold + yen > HOLDS[person.kind()])?;
        self.lots.granted += yen;
        self.lots.all.push(Lot { who, left: yen, held: 0, from, until, taken_back: false });
        Ok(())
    }

    pub(super) fn revoke(&mut self, number: usize) -> Told {
        let lot = &mut self.lots.all[number];
        refuse("lot_empty", lot.left == 0 || lot.taken_back)?;
        (lot.left, lot.taken_back) = (lot.held, true);
        Ok(())
    }

    pub(super) fn release_lot(&mut self, number: usize, now: i64) -> Told {
        let lot = &mut self.lots.all[number];
        refuse("lot_empty", lot.left == 0 || lot.over(now) || lot.from <= now)?;
        lot.from = now;
        Ok(())
    }

    /// How many lots there have been.
    pub(in super::super) fn lots(&self) -> usize {
        self.lots.all.len()
    }
}
