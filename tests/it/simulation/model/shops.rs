//! The model's part of what operators do with the shop: disputes, and closings with their fee, tax and payout.

use super::super::steps::Access;
use super::{Model, Told, day, refuse};

/// The fee of which ten thousandths the platform keeps, and the shop's credit.
const FEE: i64 = 324;
pub(in super::super) const FEE_RATE: &str = "0.0324";
pub(in super::super) const CREDIT: i64 = 5_000;
/// Consumption tax on the fee, in the year in which towns live.
const TAX_PERCENT: i64 = 8;

#[derive(Debug, Clone, Copy)]
struct Contest {
    sale: usize,
    yen: i64,
    open: bool,
}

/// The shop, beside what it is owed.
#[derive(Debug, Clone, Default)]
pub(super) struct Shop {
    /// What it is owed; below nought what it owes.
    pub(super) owed: i64,
    pub(super) frozen: bool,
    contests: Vec<Contest>,
    /// Since the last closing.
    captured: i64,
    moved: bool,
    /// The Japanese day up to which it was closed with.
    closed_to: i64,
    /// What closings said is due, and whether it was paid.
    closings: Vec<(i64, bool)>,
}

impl Shop {
    pub(super) fn closed_with(now: i64) -> Shop {
        Shop { closed_to: day(now), ..Shop::default() }
    }

    pub(super) fn sells(&mut self, yen: i64) {
        (self.owed, self.captured, self.moved) = (self.owed + yen, self.captured + yen, true);
    }

    /// What is given back is taken from what it is owed, or from its credit.
    pub(super) fn may_give(&self, yen: i64) -> Told {
        refuse("merchant_balance_too_low", yen > self.owed + CREDIT)
    }

    pub(super) fn gives(&mut self, yen: i64) {
        (self.owed, self.moved) = (self.owed - yen, true);
    }

    /// What of a sale is in dispute.
    pub(super) fn contested(&self, sale: usize) -> i64 {
        self.contests.iter().filter(|contest| contest.open && contest.sale == sale).map(|contest| contest.yen).sum()
    }

    /// Each day is closed with, when somebody comes for it.
    pub(super) fn sweep(&mut self, now: i64) {
        if day(now) <= self.closed_to {
            return;
        }
        self.closed_to = day(now);
        if !std::mem::take(&mut self.moved) {
            return;
        }
        let fee = std::mem::take(&mut self.captured) * FEE / 10_000;
        let tax = fee * TAX_PERCENT / 100;
        let due = (self.owed - fee - tax).max(0);
        self.owed -= fee + tax + due;
        self.closings.push((due, false));
    }

    /// What it is owed, what is due to it, and what is in dispute.
    pub(super) fn totals(&self) -> [i64; 3] {
        let due = self.closings.iter().filter(|(_, paid)| !paid).map(|(due, _)| due).sum();
        let contested = self.contests.iter().filter(|contest| contest.open).map(|contest| contest.yen).sum();
        [self.owed, due, contested]
    }
}

impl Model {
    pub(super) fn dispute(&mut self, sale: usize, yen: i64) -> Told {
        refuse("dispute_exceeds_payment", yen > self.refundable(sale))?;
        self.shop.may_give(yen)?;
        self.shop.gives(yen);
        self.shop.contests.push(Contest { sale, yen, open: true });
        Ok(())
    }

    pub(super) fn end_dispute(&mut self, number: usize, won: bool, now: i64) -> Told {
        let contest = self.shop.contests[number];
        refuse("dispute_closed", !contest.open)?;
        if won {
            // What comes back is no sale: no fee is taken of it once more.
            (self.shop.owed, self.shop.moved) = (self.shop.owed + contest.yen, true);
        } else {
            let who = self.sales[contest.sale].who;
            let mut back = self.back(contest.sale, contest.yen, now);
            if self.people[who].access == Access::Closed {
                back.keep_nothing();
            } else {
                self.check_room(who, &back, now)?;
            }
            self.give_back(contest.sale, back);
        }
        self.shop.contests[number].open = false;
        Ok(())
    }

    pub(super) fn pay_out(&mut self, closing: usize) -> Told {
        let (due, paid) = &mut self.shop.closings[closing];
        refuse("closing_paid", *paid || *due == 0)?;
        *paid = true;
        Ok(())
    }

    pub(in super::super) fn contests(&self) -> usize {
        self.shop.contests.len()
    }

    pub(in super::super) fn closings(&self) -> usize {
        self.shop.closings.len()
    }
}
