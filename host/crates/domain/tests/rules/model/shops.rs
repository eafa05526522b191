//! The model's part of what operators do with the shop: credit, disputes, and closings with their fee and tax.

use std::collections::BTreeMap;

use koban_domain::accounts::Class;
use koban_domain::disputes::{EndDispute, OpenDispute, Outcome};
use koban_domain::outcomes::Refusal;

use super::Model;
use crate::shops::{TODAY, of_shop};
use crate::world::World;

/// The fee, of which ten thousandths so many are kept.
const FEE: i64 = 324;

#[derive(Debug, Clone, Copy)]
struct Contest {
    number: u128,
    yen: i64,
    open: bool,
}

/// What is known of the shop beside what it is owed.
#[derive(Debug, Clone, Default)]
pub(super) struct Shops {
    pub(super) credit: i64,
    contests: BTreeMap<u128, Contest>,
    /// Since the last closing.
    captured: i64,
    pub(super) refunded: i64,
    moved_by_disputes: bool,
    closed_to: i32,
    fees: i64,
    taxes: i64,
    due: i64,
}

impl Shops {
    /// What of a sale is in dispute.
    pub(super) fn contested(&self, number: u128) -> i64 {
        self.contests
            .values()
            .filter(|contest| contest.number == number && contest.open)
            .map(|contest| contest.yen)
            .sum()
    }

    pub(super) fn compare(&self, world: &World) {
        let open: i64 = self.contests.values().filter(|contest| contest.open).map(|contest| contest.yen).sum();
        let found = [world.balance(of_shop(Class::Disputed)), world.balance(of_shop(Class::PayoutDue))];
        assert_eq!(found, [open, self.due]);
        let found = [world.platform(Class::FeeIncome), world.platform(Class::ConsumptionTax)];
        assert_eq!(found, [self.fees, self.taxes]);
    }
}

impl Model {
    /// Gives the shop credit, and agrees on the fee.
    pub(crate) fn arranged(&mut self, world: &mut World, credit: i64) {
        world.arrange(credit, "0.0324");
        self.shops.credit = credit;
    }

    /// Disputes there have been, each with what it is about.
    pub(crate) fn contests(&self) -> Vec<(u128, u128)> {
        self.shops.contests.iter().map(|(name, contest)| (*name, contest.number)).collect()
    }

    pub(super) fn sold(&mut self, yen: i64) {
        self.shop += yen;
        self.shops.captured += yen;
    }

    pub(super) fn contest(&mut self, wish: &OpenDispute) -> Result<(), Refusal> {
        let (number, yen) = (wish.of.payment.0.as_u128() - 0xa000, wish.amount.minor);
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        let Some((_, left)) = self.sale(number) else { return Err(Refusal::PaymentNotFound) };
        if yen > left {
            return Err(Refusal::DisputeExceedsPayment);
        }
        if yen > self.shop + self.shops.credit {
            return Err(Refusal::MerchantBalanceTooLow);
        }
        self.shop -= yen;
        self.shops.moved_by_disputes = true;
        self.shops.contests.insert(wish.dispute.0.as_u128(), Contest { number, yen, open: true });
        Ok(())
    }

    pub(super) fn end_dispute(&mut self, wish: &EndDispute) -> Result<(), Refusal> {
        let name = wish.dispute.0.as_u128();
        let Some(contest) = self.shops.contests.get(&name).copied() else { return Err(Refusal::DisputeNotFound) };
        if !contest.open {
            return Err(Refusal::DisputeClosed);
        }
        match wish.outcome {
            // No history here lasts a month.
            Outcome::RanOut => return Err(Refusal::NotExpired),
            Outcome::Won(_) => {
                self.shop += contest.yen;
                self.shops.moved_by_disputes = true;
            }
            Outcome::Lost(_) => {
                let sale = self.sales[&contest.number].clone();
                self.give_back(contest.yen, contest.number, sale, true)?;
            }
        }
        self.shops.contests.insert(name, Contest { open: false, ..contest });
        Ok(())
    }

    pub(super) fn close(&mut self, until: i32) -> Result<(), Refusal> {
        if until <= self.shops.closed_to {
            return Err(Refusal::PeriodClosed);
        }
        if until > TODAY {
            return Err(Refusal::PeriodNotOver);
        }
        let shops = &mut self.shops;
        shops.closed_to = until;
        if shops.captured == 0 && shops.refunded == 0 && !shops.moved_by_disputes {
            return Ok(());
        }
        let fee = shops.captured * FEE / 10_000;
        // Eight in a hundred, between the springs of 2014 and the autumn of 2019.
        let tax = fee * 8 / 100;
        let due = (self.shop - fee - tax).max(0);
        self.shop -= fee + tax + due;
        (shops.fees, shops.taxes, shops.due) = (shops.fees + fee, shops.taxes + tax, shops.due + due);
        (shops.captured, shops.refunded, shops.moved_by_disputes) = (0, 0, false);
        Ok(())
    }
}
