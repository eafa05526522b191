//! The model's part of sales: paid, set aside, captured, looked at, given back.

use super::super::steps::{Access, Ruling};
use super::{Model, PAID, Person, REVIEW_MS, Sale, Stands, Told, refuse};

impl Sale {
    pub(super) fn whole(&self) -> i64 {
        self.held[0] + self.held[1]
    }

    /// What is set aside goes back: debts first, and prepaid value of somebody verified since becomes funds.
    pub(super) fn give_up(&mut self, person: &mut Person) {
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

    pub(super) fn take(&mut self, yen: i64, person: &mut Person) {
        let prepaid = yen.min(self.held[0]);
        for (kind, share) in [prepaid, yen - prepaid].into_iter().enumerate() {
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
        refuse("merchant_frozen", self.shop_frozen)?;
        refuse("repayment_due", person.owed > 0)?;
        refuse("amount_limit", yen > PAID[person.kind()])?;
        let parts = person.divide(yen)?;
        let mut sale = Sale { who, held: parts, got: [0, 0], total: yen, stands: Stands::Over, asked: review };
        person.held = [person.held[0] + parts[0], person.held[1] + parts[1]];
        match (review, held_ms) {
            (true, held_ms) => sale.stands = Stands::Asked(now + REVIEW_MS, held_ms),
            (false, Some(ms)) => sale.stands = Stands::Held(now + ms),
            (false, None) => {
                sale.take(yen, person);
                self.shop += yen;
            }
        }
        self.sales.push(sale);
        Ok(())
    }

    pub(super) fn increase(&mut self, number: usize, yen: i64, now: i64) -> Told {
        let sale = &mut self.sales[number];
        let person = &mut self.people[sale.who];
        person.may_deal()?;
        refuse("merchant_frozen", self.shop_frozen)?;
        refuse("repayment_due", person.owed > 0)?;
        sale.check_held(now)?;
        refuse("amount_limit", sale.total + yen > PAID[person.kind()])?;
        let parts = person.divide(yen)?;
        for (kind, part) in parts.into_iter().enumerate() {
            person.held[kind] += part;
            sale.held[kind] += part;
        }
        sale.total += yen;
        Ok(())
    }

    pub(super) fn capture(&mut self, number: usize, yen: Option<i64>, last: bool, now: i64) -> Told {
        refuse("merchant_frozen", self.shop_frozen)?;
        self.sales[number].check_held(now)?;
        let whole = self.sales[number].whole();
        let yen = yen.unwrap_or(whole);
        refuse("capture_exceeds_hold", yen > whole)?;
        let sale = &mut self.sales[number];
        sale.take(yen, &mut self.people[sale.who]);
        self.shop += yen;
        if last || yen == whole {
            self.end(number, Stands::Over);
        }
        Ok(())
    }

    pub(super) fn end(&mut self, sale: usize, stands: Stands) {
        let sale = &mut self.sales[sale];
        sale.give_up(&mut self.people[sale.who]);
        sale.stands = stands;
    }

    pub(super) fn refund(&mut self, number: usize, yen: i64) -> Told {
        let sale = &mut self.sales[number];
        let person = &mut self.people[sale.who];
        refuse("account_closed", person.access == Access::Closed)?;
        refuse("refund_exceeds_payment", yen > sale.got[0] + sale.got[1])?;
        let repays = yen.min(person.owed);
        refuse("balance_limit", !person.fits(yen - repays))?;
        refuse("merchant_balance_too_low", yen > self.shop)?;
        self.shop -= yen;
        // Funds first; what is owed is taken from the first that comes back.
        let mut owed = repays;
        let funds = yen.min(sale.got[1]);
        for (kind, share) in [(1, funds), (0, yen - funds)] {
            sale.got[kind] -= share;
            let kept = owed.min(share);
            owed -= kept;
            let to_funds = person.is_funds || kind == 1;
            *(if to_funds { &mut person.funds } else { &mut person.prepaid }) += share - kept;
        }
        person.owed -= repays;
        Ok(())
    }

    pub(super) fn rule(&mut self, number: usize, ruling: Ruling, now: i64) -> Told {
        let (who, stands) = (self.sales[number].who, self.sales[number].stands);
        refuse("review_not_found", !self.sales[number].asked)?;
        if ruling == Ruling::Approve {
            self.people[who].may_deal()?;
            refuse("merchant_frozen", self.shop_frozen)?;
        }
        let Stands::Asked(until, held_ms) = stands else { return Err("review_closed") };
        refuse("review_closed", now >= until)?;
        match (ruling, held_ms) {
            (Ruling::Decline, _) => self.end(number, Stands::Over),
            (Ruling::Approve, Some(ms)) => self.sales[number].stands = Stands::Held(now + ms),
            (Ruling::Approve, None) => {
                let sale = &mut self.sales[number];
                sale.take(sale.total, &mut self.people[who]);
                self.shop += sale.total;
                sale.stands = Stands::Over;
            }
        }
        Ok(())
    }
}
