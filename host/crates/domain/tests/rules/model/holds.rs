//! The model's part of what is held: payments that are captured later, and what somebody shall look at.

use koban_domain::ids::UserId;
use koban_domain::outcomes::Refusal;
use koban_domain::reviews::Ruling;
use koban_domain::time::Timestamp;

use super::bonus::{self, Given};
use super::{Gift, Model, Person, Sale, Standing};

impl Person {
    pub(super) fn free(&self) -> (i64, i64) {
        (self.prepaid - self.held.0, self.funds - self.held.1)
    }

    pub(super) fn will_hold(&self, now: Timestamp) -> i64 {
        self.prepaid + self.funds + self.coming + self.lasting(now)
    }
}

impl Person {
    /// What of an amount is taken from lots, from prepaid value and from funds. `whole` is what it makes with what was asked before.
    pub(super) fn divide(&self, yen: i64, whole: i64, now: Timestamp) -> Result<(Given, i64, i64), Refusal> {
        if self.owed > 0 {
            return Err(Refusal::RepaymentDue);
        }
        if whole > if self.verified { 1_000_000 } else { 100_000 } {
            return Err(Refusal::AmountLimit);
        }
        let (free, given) = (self.free(), self.give(yen, now));
        let money = yen - given.iter().map(|(_, share)| share).sum::<i64>();
        if money > free.0 + free.1 {
            return Err(Refusal::InsufficientFunds);
        }
        let prepaid = money.min(free.0);
        Ok((given, prepaid, money - prepaid))
    }
}

impl Sale {
    /// What can be given back.
    pub(super) fn got(&self) -> i64 {
        self.prepaid + self.funds + self.slices.iter().map(|slice| slice.got).sum::<i64>()
    }

    /// What is set aside.
    pub(super) fn set_aside(&self) -> i64 {
        self.held.0 + self.held.1 + self.slices.iter().map(|slice| slice.held).sum::<i64>()
    }

    /// The shop gets so much of what is set aside.
    pub(super) fn take(&mut self, yen: i64, person: &mut Person) {
        let money = bonus::take(&mut self.slices, yen, person);
        let prepaid = money.min(self.held.0);
        let funds = money - prepaid;
        self.held = (self.held.0 - prepaid, self.held.1 - funds);
        person.held = (person.held.0 - prepaid, person.held.1 - funds);
        (person.prepaid, person.funds) = (person.prepaid - prepaid, person.funds - funds);
        (self.prepaid, self.funds) = (self.prepaid + prepaid, self.funds + funds);
    }

    /// What is set aside is the person's again, after what they owe; of somebody verified all of it is funds.
    pub(super) fn give_up(&mut self, person: &mut Person, now: Timestamp) {
        bonus::give_up(&mut self.slices, person, now);
        let (mut prepaid, mut funds) = std::mem::take(&mut self.held);
        person.held = (person.held.0 - prepaid, person.held.1 - funds);
        (person.prepaid, person.funds) = (person.prepaid - prepaid, person.funds - funds);
        for part in [&mut prepaid, &mut funds] {
            let repays = person.owed.min(*part);
            person.owed -= repays;
            *part -= repays;
        }
        if person.verified {
            person.funds += prepaid + funds;
        } else {
            (person.prepaid, person.funds) = (person.prepaid + prepaid, person.funds + funds);
        }
    }
}

impl Model {
    /// A sale that is held now.
    pub(super) fn held(&self, number: u128) -> Result<Sale, Refusal> {
        let sale = self.sales.get(&number).ok_or(Refusal::PaymentNotFound)?;
        match sale.standing {
            Standing::Held(until) if self.now < until => Ok(sale.clone()),
            Standing::Held(_) | Standing::RanOut => Err(Refusal::HoldExpired),
            Standing::Asked => Err(Refusal::PaymentInReview),
            Standing::Over => Err(Refusal::HoldEnded),
        }
    }

    pub(super) fn collect(&mut self, number: u128, yen: Option<i64>, last: bool) -> Result<(), Refusal> {
        if yen.is_some_and(|yen| yen <= 0) {
            return Err(Refusal::AmountNotPositive);
        }
        let mut sale = self.held(number)?;
        let (whole, now) = (sale.set_aside(), self.now);
        let yen = yen.unwrap_or(whole);
        if yen > whole {
            return Err(Refusal::CaptureExceedsHold);
        }
        sale.take(yen, self.people.get_mut(&sale.who).unwrap());
        self.sold(yen);
        if last || yen == whole {
            sale.give_up(self.people.get_mut(&sale.who).unwrap(), now);
            sale.standing = Standing::Over;
        }
        self.sales.insert(number, sale);
        Ok(())
    }

    pub(super) fn let_go(&mut self, number: u128, ran_out: bool) -> Result<(), Refusal> {
        let mut sale = if ran_out {
            let sale = self.sales.get(&number).ok_or(Refusal::PaymentNotFound)?.clone();
            match sale.standing {
                Standing::Held(until) if self.now < until => return Err(Refusal::NotExpired),
                Standing::Held(_) => sale,
                Standing::Asked => return Err(Refusal::PaymentInReview),
                Standing::RanOut | Standing::Over => return Err(Refusal::HoldEnded),
            }
        } else {
            self.held(number)?
        };
        let (nothing_got, now) = (sale.set_aside() == sale.total, self.now);
        sale.give_up(self.people.get_mut(&sale.who).unwrap(), now);
        sale.standing = if ran_out && nothing_got { Standing::RanOut } else { Standing::Over };
        self.sales.insert(number, sale);
        Ok(())
    }

    pub(super) fn increase(&mut self, number: u128, yen: i64) -> Result<(), Refusal> {
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        let sale = self.sales.get(&number).ok_or(Refusal::PaymentNotFound)?.clone();
        if self.people[&sale.who].owed > 0 {
            return Err(Refusal::RepaymentDue);
        }
        let mut sale = self.held(number)?;
        let now = self.now;
        let person = self.person(sale.who);
        let (given, prepaid, funds) = person.divide(yen, sale.total + yen, now)?;
        person.set_aside(&given);
        bonus::add(&mut sale.slices, &given, true);
        person.held = (person.held.0 + prepaid, person.held.1 + funds);
        sale.held = (sale.held.0 + prepaid, sale.held.1 + funds);
        sale.total += yen;
        self.sales.insert(number, sale);
        Ok(())
    }

    pub(super) fn rule_on_sale(&mut self, number: u128, ruling: Ruling) -> Result<(), Refusal> {
        // Only payments that were asked about have a review.
        let Some(sale) = self.sales.get(&number).filter(|_| self.asked.contains(&number)).cloned() else {
            return Err(Refusal::ReviewNotFound);
        };
        if sale.standing != Standing::Asked {
            return Err(Refusal::ReviewClosed);
        }
        let (mut sale, now) = (sale, self.now);
        let person = self.people.get_mut(&sale.who).unwrap();
        match (ruling, sale.for_ms) {
            // No history here is a day long.
            (Ruling::Expired, _) => return Err(Refusal::NotExpired),
            (Ruling::Approved(_), Some(for_ms)) => sale.standing = Standing::Held(self.now.plus_ms(for_ms)),
            (Ruling::Approved(_), None) => {
                sale.take(sale.total, person);
                let total = sale.total;
                self.sold(total);
                sale.standing = Standing::Over;
            }
            (Ruling::Declined(_), _) => {
                sale.give_up(person, now);
                sale.standing = Standing::Over;
            }
        }
        self.sales.insert(number, sale);
        Ok(())
    }

    pub(super) fn rule_on_gift(&mut self, number: u128, ruling: Ruling) -> Result<(), Refusal> {
        let gift = *self.gifts.get(&number).ok_or(Refusal::ReviewNotFound)?;
        if !gift.open {
            return Err(Refusal::ReviewClosed);
        }
        if ruling == Ruling::Expired {
            return Err(Refusal::NotExpired);
        }
        self.person(gift.from).held.1 -= gift.yen;
        self.person(gift.to).coming -= gift.yen;
        if let Ruling::Approved(_) = ruling {
            self.person(gift.from).funds -= gift.yen;
            let receiver = self.person(gift.to);
            let repays = gift.yen.min(receiver.owed);
            receiver.owed -= repays;
            receiver.funds += gift.yen - repays;
        } else {
            let sender = self.person(gift.from);
            let repays = gift.yen.min(sender.owed);
            sender.owed -= repays;
            sender.funds -= repays;
        }
        self.gifts.insert(number, Gift { open: false, ..gift });
        Ok(())
    }

    /// Reviews there have been: of payments, and of transfers with sender and receiver.
    pub(crate) fn reviews(&self) -> (Vec<u128>, Vec<(u128, UserId, UserId)>) {
        let gifts = self.gifts.iter().map(|(number, gift)| (*number, gift.from, gift.to));
        (self.asked.iter().copied().collect(), gifts.collect())
    }

    /// Who pays for a payment, and what is held for it.
    pub(crate) fn hold(&self, number: u128) -> Option<(UserId, i64)> {
        self.sales.get(&number).map(|sale| (sale.who, sale.set_aside()))
    }
}
