//! The model's part of sales: paid, set aside, captured, looked at, given back.

use super::super::steps::{Access, Ruling};
use super::bonus::{Given, Lots, Slice};
use super::{Model, PAID, Person, REVIEW_MS, Stands, Told, refuse};

/// A payment, from the moment it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Sale {
    pub(super) who: usize,
    held: [i64; 2],
    /// What the shop got and has not given back, by kind.
    got: [i64; 2],
    /// The same of lots.
    pub(super) slices: Vec<Slice>,
    total: i64,
    pub(super) stands: Stands,
    asked: bool,
}

/// What of a sale goes back: to lots, to prepaid value and funds, and to what is owed.
pub(super) struct Back {
    slices: Vec<Slice>,
    lots: Given,
    money: [i64; 2],
    repays: i64,
    kept: bool,
}

impl Back {
    /// The account is closed: what would come back is set aside.
    pub(super) fn keep_nothing(&mut self) {
        self.kept = true;
    }
}

impl Sale {
    /// Nothing is sold: a flow sets it aside, of prepaid value and of funds.
    pub(super) fn set_aside(who: usize, total: i64, held: [i64; 2]) -> Sale {
        Sale { who, held, got: [0, 0], slices: Vec::new(), total, stands: Stands::Over, asked: false }
    }

    pub(super) fn whole(&self) -> i64 {
        self.held[0] + self.held[1] + self.slices.iter().map(|slice| slice.held).sum::<i64>()
    }

    fn got(&self) -> i64 {
        self.got[0] + self.got[1] + self.slices.iter().map(|slice| slice.got).sum::<i64>()
    }

    /// Whether nothing of it was ever captured.
    pub(super) fn is_untouched(&self) -> bool {
        self.got() == 0 && self.whole() == self.total
    }

    /// What is set aside goes back: debts first, and prepaid value of somebody verified since becomes funds.
    pub(super) fn give_up(&mut self, person: &mut Person, lots: &mut Lots, now: i64) {
        lots.give_up(&mut self.slices, now);
        for (kind, part) in std::mem::take(&mut self.held).into_iter().enumerate() {
            person.held[kind] -= part;
            let repays = person.owed.min(part);
            person.owed -= repays;
            let home = if kind == 0 { &mut person.prepaid } else { &mut person.funds };
            *home -= repays;
            if kind == 0 && person.is_funds {
                person.prepaid -= part - repays;
                person.funds += part - repays;
            }
        }
    }

    pub(super) fn take(&mut self, yen: i64, person: &mut Person, lots: &mut Lots) {
        let money = lots.take(&mut self.slices, yen);
        let prepaid = money.min(self.held[0]);
        for (kind, share) in [prepaid, money - prepaid].into_iter().enumerate() {
            self.held[kind] -= share;
            self.got[kind] += share;
            person.held[kind] -= share;
            *(if kind == 0 { &mut person.prepaid } else { &mut person.funds }) -= share;
        }
    }

    pub(super) fn check_held(&self, now: i64) -> Told {
        match self.stands {
            Stands::Held(until) if now < until => Ok(()),
            Stands::Held(_) | Stands::RanOut => Err("hold_expired"),
            Stands::Asked(..) => Err("payment_in_review"),
            Stands::Over => Err("hold_ended"),
        }
    }
}

impl Model {
    pub(super) fn pay(&mut self, who: usize, yen: i64, (held_ms, review): (Option<i64>, bool), now: i64) -> Told {
        let person = &mut self.people[who];
        person.may_deal()?;
        refuse("merchant_frozen", self.shop.frozen)?;
        refuse("repayment_due", person.owed > 0)?;
        refuse("amount_limit", yen > PAID[person.kind()])?;
        let (given, parts) = divide(person, &self.lots, who, yen, now)?;
        let (held, got, slices) = (parts, [0, 0], Vec::new());
        let mut sale = Sale { who, held, got, slices, total: yen, stands: Stands::Over, asked: review };
        person.held = [person.held[0] + parts[0], person.held[1] + parts[1]];
        self.lots.set_aside(&given, &mut sale.slices);
        match (review, held_ms) {
            (true, held_ms) => sale.stands = Stands::Asked(now + REVIEW_MS, held_ms),
            (false, Some(ms)) => sale.stands = Stands::Held(now + ms),
            (false, None) => {
                sale.take(yen, person, &mut self.lots);
                self.shop.sells(yen);
            }
        }
        self.sales.push(sale);
        Ok(())
    }

    pub(super) fn increase(&mut self, number: usize, yen: i64, now: i64) -> Told {
        let sale = &mut self.sales[number];
        let person = &mut self.people[sale.who];
        person.may_deal()?;
        refuse("merchant_frozen", self.shop.frozen)?;
        refuse("repayment_due", person.owed > 0)?;
        sale.check_held(now)?;
        refuse("amount_limit", sale.total + yen > PAID[person.kind()])?;
        let (given, parts) = divide(person, &self.lots, sale.who, yen, now)?;
        self.lots.set_aside(&given, &mut sale.slices);
        for (kind, part) in parts.into_iter().enumerate() {
            person.held[kind] += part;
            sale.held[kind] += part;
        }
        sale.total += yen;
        Ok(())
    }

    pub(super) fn capture(&mut self, number: usize, yen: Option<i64>, last: bool, now: i64) -> Told {
        refuse("merchant_frozen", self.shop.frozen)?;
        self.sales[number].check_held(now)?;
        let whole = self.sales[number].whole();
        let yen = yen.unwrap_or(whole);
        refuse("capture_exceeds_hold", yen > whole)?;
        let sale = &mut self.sales[number];
        sale.take(yen, &mut self.people[sale.who], &mut self.lots);
        self.shop.sells(yen);
        if last || yen == whole {
            self.end(number, Stands::Over, now);
        }
        Ok(())
    }

    pub(super) fn end(&mut self, sale: usize, stands: Stands, now: i64) {
        let sale = &mut self.sales[sale];
        sale.give_up(&mut self.people[sale.who], &mut self.lots, now);
        sale.stands = stands;
    }

    pub(super) fn refund(&mut self, number: usize, yen: i64, now: i64) -> Told {
        let who = self.sales[number].who;
        refuse("account_closed", self.people[who].access == Access::Closed)?;
        refuse("refund_exceeds_payment", yen > self.refundable(number))?;
        let back = self.back(number, yen, now);
        self.check_room(who, &back, now)?;
        self.shop.may_give(yen)?;
        self.shop.gives(yen);
        self.give_back(number, back);
        Ok(())
    }

    /// So much of a sale, divided: funds first, then prepaid value, then lots. What is owed is taken from the money.
    pub(super) fn back(&self, number: usize, yen: i64, now: i64) -> Back {
        let sale = &self.sales[number];
        let funds = yen.min(sale.got[1]);
        let prepaid = (yen - funds).min(sale.got[0]);
        let mut slices = sale.slices.clone();
        let lots = self.lots.come_back(&mut slices, yen - funds - prepaid, now);
        let repays = (funds + prepaid).min(self.people[sale.who].owed);
        Back { slices, lots, money: [prepaid, funds], repays, kept: false }
    }

    pub(super) fn check_room(&self, who: usize, back: &Back, now: i64) -> Told {
        let more = back.money[0] + back.money[1] - back.repays + back.lots.iter().map(|(_, share)| share).sum::<i64>();
        refuse("balance_limit", !self.fits(who, more, now))
    }

    pub(super) fn give_back(&mut self, number: usize, back: Back) {
        let sale = &mut self.sales[number];
        let person = &mut self.people[sale.who];
        sale.slices = back.slices;
        let mut owed = back.repays;
        for (kind, share) in [(1, back.money[1]), (0, back.money[0])] {
            sale.got[kind] -= share;
            if back.kept {
                continue;
            }
            let repays = owed.min(share);
            owed -= repays;
            let to_funds = person.is_funds || kind == 1;
            *(if to_funds { &mut person.funds } else { &mut person.prepaid }) += share - repays;
        }
        if !back.kept {
            person.owed -= back.repays;
            self.lots.bring(&back.lots);
        }
    }

    pub(super) fn rule(&mut self, number: usize, ruling: Ruling, now: i64) -> Told {
        let (who, stands) = (self.sales[number].who, self.sales[number].stands);
        refuse("review_not_found", !self.sales[number].asked)?;
        if ruling == Ruling::Approve {
            self.people[who].may_deal()?;
            refuse("merchant_frozen", self.shop.frozen)?;
        }
        let Stands::Asked(until, held_ms) = stands else { return Err("review_closed") };
        refuse("review_closed", now >= until)?;
        match (ruling, held_ms) {
            (Ruling::Decline, _) => self.end(number, Stands::Over, now),
            (Ruling::Approve, Some(ms)) => self.sales[number].stands = Stands::Held(now + ms),
            (Ruling::Approve, None) => {
                let sale = &mut self.sales[number];
                sale.take(sale.total, &mut self.people[who], &mut self.lots);
                self.shop.sells(sale.total);
                sale.stands = Stands::Over;
            }
        }
        Ok(())
    }

    /// What may be given back of a sale, or contested.
    pub(in super::super) fn refundable(&self, sale: usize) -> i64 {
        self.sales[sale].got() - self.shop.contested(sale)
    }
}

/// What of an amount is taken of lots, of prepaid value and of funds.
pub(super) fn divide(
    person: &Person,
    lots: &Lots,
    who: usize,
    yen: i64,
    now: i64,
) -> Result<(Given, [i64; 2]), &'static str> {
    let given = lots.give(who, yen, now);
    let money = yen - given.iter().map(|(_, share)| share).sum::<i64>();
    let free = person.free().map(|part| part.max(0));
    refuse("insufficient_funds", money > free[0] + free[1])?;
    let prepaid = money.min(free[0]);
    Ok((given, [prepaid, money - prepaid]))
}
