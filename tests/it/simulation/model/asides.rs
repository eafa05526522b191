//! The model's part of what is set aside for a partner: a bill or a withdrawal, taken in parts with a fee, or let go.

use super::sales::{Sale, divide};
use super::{CAP, LOSS_BUDGET, Model, PAID, Told, day, refuse};

/// The most that is taken out in a day.
const TAKEN_OUT: i64 = 100_000;

/// What a partner got of something set aside.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    yen: i64,
    settled: bool,
}

impl Model {
    pub(super) fn set_aside(&mut self, who: usize, yen: i64, withdrawal: bool, now: i64) -> Told {
        let person = &self.people[who];
        person.may_deal()?;
        refuse("not_verified", withdrawal && !person.is_funds)?;
        refuse("verification_revoked", person.is_revoked())?;
        refuse("repayment_due", person.owed > 0)?;
        refuse("loss_budget_exhausted", self.lost >= LOSS_BUDGET)?;
        refuse("exposure_cap_reached", self.used + yen > CAP)?;
        let day = day(now);
        let out = if person.out.0 == day { person.out.1 } else { 0 };
        let (given, parts) = if withdrawal {
            refuse("day_limit", out + yen > TAKEN_OUT)?;
            refuse("insufficient_funds", yen > person.free()[1])?;
            (Vec::new(), [0, yen])
        } else {
            refuse("amount_limit", yen > PAID[person.kind()])?;
            divide(person, &self.lots, who, yen, now)?
        };
        let person = &mut self.people[who];
        if withdrawal {
            person.out = (day, out + yen);
        }
        person.held = [person.held[0] + parts[0], person.held[1] + parts[1]];
        let mut aside = Sale::set_aside(who, yen, parts);
        self.lots.set_aside(&given, &mut aside.slices);
        self.asides.push(aside);
        self.used += yen;
        Ok(())
    }

    pub(super) fn take_aside(&mut self, number: usize, yen: i64, fee: i64, last: bool, now: i64) -> Told {
        let aside = &mut self.asides[number];
        let whole = aside.whole();
        refuse("hold_ended", whole == 0)?;
        refuse("capture_exceeds_hold", yen > whole)?;
        aside.take(yen, &mut self.people[aside.who], &mut self.lots);
        self.used -= fee;
        self.taken.push(Taken { yen: yen - fee, settled: false });
        if last {
            self.free(number, now);
        }
        Ok(())
    }

    pub(super) fn let_go(&mut self, number: usize, now: i64) -> Told {
        refuse("hold_ended", self.asides[number].whole() == 0)?;
        self.free(number, now);
        Ok(())
    }

    fn free(&mut self, number: usize, now: i64) {
        let aside = &mut self.asides[number];
        self.used -= aside.whole();
        aside.give_up(&mut self.people[aside.who], &mut self.lots, now);
    }

    /// A file lists what the partner got.
    pub(super) fn settle_taken(&mut self, number: usize) {
        let taken = &mut self.taken[number];
        if !std::mem::replace(&mut taken.settled, true) {
            self.used -= taken.yen;
        }
    }

    /// How many there ever were.
    pub(in super::super) fn all_asides(&self) -> usize {
        self.asides.len()
    }

    /// Those of which something is still set aside.
    pub(in super::super) fn asides(&self) -> Vec<usize> {
        (0..self.asides.len()).filter(|aside| self.asides[*aside].whole() > 0).collect()
    }

    pub(in super::super) fn aside(&self, aside: usize) -> i64 {
        self.asides[aside].whole()
    }

    pub(in super::super) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// What the partner took that no file has listed yet.
    pub(super) fn in_transit(&self) -> i64 {
        self.taken.iter().filter(|taken| !taken.settled).map(|taken| taken.yen).sum()
    }
}
