//! A second opinion on what people do: plain numbers and lists, told in the order of docs/reference/outcomes.md, without the host's code.

mod asides;
mod bonus;
mod sales;
mod shops;

use super::steps::{Access, Ruling, Step};
use asides::Taken;
pub(super) use bonus::BUDGET;
use bonus::Lots;
use sales::Sale;
use shops::Shop;
pub(super) use shops::{CREDIT, FEE_RATE};

/// The most that a wallet holds, is charged at once and pays at once; before and after verification.
const HOLDS: [i64; 2] = [100_000, 1_000_000];
const CHARGED: [i64; 2] = [100_000, 500_000];
const PAID: [i64; 2] = [100_000, 1_000_000];
/// The most that is sent in a day.
const SENT: i64 = 100_000;
const DAY_MS: i64 = 86_400_000;
const JAPAN_MS: i64 = 9 * 3_600_000;
/// A review waits a day.
const REVIEW_MS: i64 = DAY_MS;
/// Yen for a thousand cents, and how a rate is written.
const YEN_PER_1000_CENTS: i64 = 1_123;

/// What a plugin's partner may owe, and what may be lost to it.
pub(super) const CAP: i64 = 250_000;
pub(super) const LOSS_BUDGET: i64 = 12_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Papers {
    #[default]
    None,
    Submitted,
    Verified,
    Rejected,
    Revoked,
}

#[derive(Debug, Clone, Default)]
struct Person {
    is_funds: bool,
    papers: Papers,
    access: Access,
    prepaid: i64,
    funds: i64,
    owed: i64,
    cents: i64,
    /// Set aside, of prepaid value and of funds; and announced by others.
    held: [i64; 2],
    coming: i64,
    /// Sent on a day.
    sent: (i64, i64),
    /// Taken out on a day.
    out: (i64, i64),
}

#[derive(Debug, Clone)]
struct Credit {
    who: usize,
    yen: i64,
    suspended: bool,
    taken_back: i64,
    released: bool,
    written_off: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Held(i64),
    /// Until when somebody may look, and for how long it is held then, if it is.
    Asked(i64, Option<i64>),
    RanOut,
    Over,
}

#[derive(Debug, Clone)]
struct Gift {
    from: usize,
    to: usize,
    yen: i64,
    until: Option<i64>,
}

#[derive(Debug, Clone)]
struct Proposal {
    who: usize,
    yen: i64,
    gives: bool,
    open: bool,
}

/// One small town.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    people: [Person; 3],
    shop: Shop,
    lots: Lots,
    credits: Vec<Credit>,
    sales: Vec<Sale>,
    gifts: Vec<Gift>,
    proposals: Vec<Proposal>,
    /// What flows set aside, and what their partners got of it.
    asides: Vec<Sale>,
    taken: Vec<Taken>,
    used: i64,
    lost: i64,
}

type Told = Result<(), &'static str>;

fn refuse(code: &'static str, if_so: bool) -> Told {
    if if_so { Err(code) } else { Ok(()) }
}

/// The day in Japan, since 1970.
fn day(now: i64) -> i64 {
    (now + JAPAN_MS).div_euclid(DAY_MS)
}

impl Person {
    fn kind(&self) -> usize {
        usize::from(self.is_funds)
    }

    fn free(&self) -> [i64; 2] {
        [self.prepaid - self.held[0], self.funds - self.held[1]]
    }

    fn may_deal(&self) -> Told {
        refuse("wallet_frozen", self.access == Access::Frozen)?;
        refuse("account_closed", self.access == Access::Closed)
    }

    fn is_revoked(&self) -> bool {
        self.is_funds && self.papers != Papers::Verified
    }

    /// New money: what is owed first.
    fn gets(&mut self, yen: i64) {
        let repays = yen.min(self.owed);
        self.owed -= repays;
        *(if self.is_funds { &mut self.funds } else { &mut self.prepaid }) += yen - repays;
    }

    fn sent_on(&self, day: i64) -> i64 {
        if self.sent.0 == day { self.sent.1 } else { 0 }
    }
}

impl Model {
    /// One who is not verified, and two who are; the shop is closed with every day from this one on.
    pub(super) fn new(now: i64) -> Model {
        let mut model = Model { shop: Shop::closed_with(now), ..Model::default() };
        for person in &mut model.people[1..] {
            (person.is_funds, person.papers) = (true, Papers::Verified);
        }
        model
    }

    /// What comes of a step: nothing, or the code of the refusal.
    pub(super) fn tell(&mut self, step: &Step, now: i64) -> Told {
        match *step {
            Step::Charge { who, yen, arrived, again } => self.charge(who, yen, (arrived, again), now),
            Step::TakeBack { credit, yen } => self.take_back(credit, yen),
            Step::Pay { who, yen, held_ms, review } => self.pay(who, yen, (held_ms, review), now),
            Step::Increase { sale, yen } => self.increase(sale, yen, now),
            Step::Capture { sale, yen, last } => self.capture(sale, yen, last, now),
            Step::Void { sale } => {
                self.sales[sale].check_held(now)?;
                self.end(sale, Stands::Over, now);
                Ok(())
            }
            Step::Refund { sale, yen } => self.refund(sale, yen, now),
            Step::Send { from, to, yen, review } => self.send((from, to), yen, review, now),
            Step::Rule { sale, ruling } => self.rule(sale, ruling, now),
            Step::RuleGift { gift, ruling } => self.rule_gift(gift, ruling, now),
            Step::BuyDollars { who, cents, right } => self.buy(who, cents, right),
            Step::SellDollars { who, cents } => self.sell(who, cents, now),
            Step::Submit { who } => {
                let person = &mut self.people[who];
                person.may_deal()?;
                refuse("already_verified", person.papers == Papers::Verified)?;
                refuse("verification_state", person.papers == Papers::Submitted)?;
                person.papers = Papers::Submitted;
                Ok(())
            }
            Step::Verify { who } => {
                let person = &mut self.people[who];
                refuse("account_closed", person.access == Access::Closed)?;
                refuse("already_verified", person.papers == Papers::Verified)?;
                let free = person.free()[0];
                (person.prepaid, person.funds) = (person.prepaid - free, person.funds + free);
                (person.is_funds, person.papers) = (true, Papers::Verified);
                Ok(())
            }
            Step::Unverify { who, revoked } => {
                let person = &mut self.people[who];
                let from = if revoked { Papers::Verified } else { Papers::Submitted };
                refuse("verification_state", person.papers != from)?;
                person.papers = if revoked { Papers::Revoked } else { Papers::Rejected };
                Ok(())
            }
            Step::Freeze { who: Some(who), frozen } => {
                let person = &mut self.people[who];
                refuse("account_closed", person.access == Access::Closed)?;
                person.access = if frozen { Access::Frozen } else { Access::Open };
                Ok(())
            }
            Step::Freeze { who: None, frozen } => {
                self.shop.frozen = frozen;
                Ok(())
            }
            Step::Close { who } => {
                let person = &mut self.people[who];
                refuse("account_closed", person.access == Access::Closed)?;
                refuse("repayment_due", person.owed > 0)?;
                refuse("holds_open", person.held != [0, 0] || person.coming > 0 || self.lots.held(who))?;
                (person.prepaid, person.funds, person.cents) = (0, 0, 0);
                self.lots.forfeit(who);
                person.access = Access::Closed;
                Ok(())
            }
            Step::Propose { who, yen, gives } => {
                refuse("account_closed", gives && self.people[who].access == Access::Closed)?;
                self.proposals.push(Proposal { who, yen, gives, open: true });
                Ok(())
            }
            Step::Judge { proposal, approve, same } => self.judge(proposal, approve, same),
            Step::Settle { credit } => {
                self.release(credit);
                Ok(())
            }
            Step::WriteOff { credit } => {
                let yen = self.credits[credit].yen;
                refuse("loss_budget_exhausted", self.lost + yen > LOSS_BUDGET)?;
                self.lost += yen;
                self.release(credit);
                self.credits[credit].written_off = true;
                Ok(())
            }
            Step::Grant { who, yen, from, until } => self.grant(who, yen, (from, until), now),
            Step::Revoke { lot } => self.revoke(lot),
            Step::Release { lot } => self.release_lot(lot, now),
            Step::Dispute { sale, yen } => self.dispute(sale, yen),
            Step::EndDispute { dispute, won } => self.end_dispute(dispute, won, now),
            Step::PayOut { closing } => self.pay_out(closing),
            Step::SetAside { who, yen, withdrawal } => self.set_aside(who, yen, withdrawal, now),
            Step::TakeAside { aside, yen, fee, last } => self.take_aside(aside, yen, fee, last, now),
            Step::LetGo { aside } => self.let_go(aside, now),
            Step::SettleTaken { taken } => {
                self.settle_taken(taken);
                Ok(())
            }
        }
    }

    /// Everything whose time has run out is let go.
    pub(super) fn sweep(&mut self, now: i64) {
        for sale in 0..self.sales.len() {
            match self.sales[sale].stands {
                Stands::Held(until) if until <= now => {
                    let ends = if self.sales[sale].is_untouched() { Stands::RanOut } else { Stands::Over };
                    self.end(sale, ends, now);
                }
                Stands::Asked(until, _) if until <= now => self.end(sale, Stands::RanOut, now),
                _ => {}
            }
        }
        for gift in 0..self.gifts.len() {
            if self.gifts[gift].until.is_some_and(|until| until <= now) {
                self.gift_back(gift);
            }
        }
        self.lots.sweep(now);
        self.shop.sweep(now);
    }

    /// Whether a wallet has room for so much more.
    fn fits(&self, who: usize, more: i64, now: i64) -> bool {
        let person = &self.people[who];
        let has = person.prepaid + person.funds + person.coming + self.lots.lasting(who, now);
        has + more <= HOLDS[person.kind()]
    }

    fn charge(&mut self, who: usize, yen: i64, (arrived, again): (bool, Option<usize>), now: i64) -> Told {
        let person = &self.people[who];
        if !arrived {
            person.may_deal()?;
            refuse("verification_revoked", person.is_revoked())?;
        }
        refuse("reference_used", again.is_some())?;
        let repays = yen.min(person.owed);
        let problem = refuse("account_closed", person.access == Access::Closed)
            .and(refuse("verification_revoked", person.is_revoked()))
            .and(refuse("loss_budget_exhausted", self.lost >= LOSS_BUDGET))
            .and(refuse("exposure_cap_reached", self.used + yen > CAP))
            .and(refuse("amount_limit", yen > CHARGED[person.kind()]))
            .and(refuse("balance_limit", !self.fits(who, yen - repays, now)));
        if !arrived {
            problem?;
        }
        let suspended = problem.is_err();
        if !suspended {
            self.people[who].gets(yen);
            self.used += yen;
        }
        self.credits.push(Credit { who, yen, suspended, taken_back: 0, released: false, written_off: false });
        Ok(())
    }

    fn release(&mut self, credit: usize) {
        let credit = &mut self.credits[credit];
        if !credit.released && !credit.suspended {
            self.used -= credit.yen;
        }
        credit.released = true;
    }

    fn take_back(&mut self, number: usize, yen: i64) -> Told {
        let credit = self.credits[number].clone();
        refuse("credit_not_found", credit.written_off)?;
        refuse("reversal_exceeds_credit", yen > credit.yen - credit.taken_back)?;
        self.credits[number].taken_back += yen;
        if !credit.suspended {
            let person = &mut self.people[credit.who];
            let free = person.free().map(|part| part.max(0));
            let prepaid = yen.min(free[0]);
            let funds = (yen - prepaid).min(free[1]);
            (person.prepaid, person.funds) = (person.prepaid - prepaid, person.funds - funds);
            person.owed += yen - prepaid - funds;
        }
        Ok(())
    }

    fn send(&mut self, (from, to): (usize, usize), yen: i64, review: bool, now: i64) -> Told {
        refuse("same_party", from == to)?;
        let (sender, receiver) = (&self.people[from], &self.people[to]);
        sender.may_deal()?;
        refuse("not_verified", !sender.is_funds)?;
        refuse("receiver_not_verified", !receiver.is_funds)?;
        refuse("receiver_unavailable", receiver.may_deal().is_err() || receiver.is_revoked())?;
        refuse("verification_revoked", sender.is_revoked())?;
        refuse("repayment_due", sender.owed > 0)?;
        let day = day(now);
        refuse("day_limit", sender.sent_on(day) + yen > SENT)?;
        let repays = yen.min(receiver.owed);
        refuse("balance_limit", !self.fits(to, yen - repays, now))?;
        refuse("insufficient_funds", yen > sender.free()[1])?;
        let sent = sender.sent_on(day) + yen;
        self.people[from].sent = (day, sent);
        if review {
            self.people[from].held[1] += yen;
            self.people[to].coming += yen;
        } else {
            self.people[from].funds -= yen;
            self.people[to].gets(yen);
        }
        let until = review.then_some(now + REVIEW_MS);
        self.gifts.push(Gift { from, to, yen, until });
        Ok(())
    }

    fn rule_gift(&mut self, number: usize, ruling: Ruling, now: i64) -> Told {
        let gift = self.gifts[number].clone();
        if ruling == Ruling::Approve {
            self.people[gift.from].may_deal()?;
            let to = &self.people[gift.to];
            refuse("receiver_unavailable", to.may_deal().is_err() || to.is_revoked())?;
        }
        refuse("review_closed", gift.until.is_none_or(|until| now >= until))?;
        if ruling == Ruling::Decline {
            self.gift_back(number);
            return Ok(());
        }
        self.gifts[number].until = None;
        self.people[gift.from].held[1] -= gift.yen;
        self.people[gift.from].funds -= gift.yen;
        self.people[gift.to].coming -= gift.yen;
        // A transfer goes to funds, whatever became of the receiver meanwhile.
        let to = &mut self.people[gift.to];
        let repays = gift.yen.min(to.owed);
        to.owed -= repays;
        to.funds += gift.yen - repays;
        Ok(())
    }

    fn gift_back(&mut self, number: usize) {
        let gift = self.gifts[number].clone();
        self.gifts[number].until = None;
        self.people[gift.to].coming -= gift.yen;
        let from = &mut self.people[gift.from];
        from.held[1] -= gift.yen;
        let repays = gift.yen.min(from.owed);
        (from.owed, from.funds) = (from.owed - repays, from.funds - repays);
    }

    fn may_trade(&self, who: usize) -> Told {
        let person = &self.people[who];
        person.may_deal()?;
        refuse("not_verified", !person.is_funds)?;
        refuse("verification_revoked", person.is_revoked())
    }

    fn buy(&mut self, who: usize, cents: i64, right: bool) -> Told {
        self.may_trade(who)?;
        refuse("rate_changed", !right)?;
        let person = &mut self.people[who];
        let yen = (cents * YEN_PER_1000_CENTS + 999) / 1_000;
        refuse("repayment_due", person.owed > 0)?;
        refuse("insufficient_funds", yen > person.free()[1])?;
        (person.funds, person.cents) = (person.funds - yen, person.cents + cents);
        Ok(())
    }

    fn sell(&mut self, who: usize, cents: i64, now: i64) -> Told {
        self.may_trade(who)?;
        let yen = cents * YEN_PER_1000_CENTS / 1_000;
        refuse("amount_too_small", yen == 0)?;
        let repays = yen.min(self.people[who].owed);
        refuse("balance_limit", !self.fits(who, yen - repays, now))?;
        let person = &mut self.people[who];
        refuse("insufficient_funds", cents > person.cents)?;
        person.cents -= cents;
        person.owed -= repays;
        person.funds += yen - repays;
        Ok(())
    }

    fn judge(&mut self, number: usize, approve: bool, same: bool) -> Told {
        let proposal = self.proposals[number].clone();
        refuse("adjustment_closed", !proposal.open)?;
        refuse("second_person_required", same)?;
        if approve {
            let person = &mut self.people[proposal.who];
            refuse("account_closed", proposal.gives && person.access == Access::Closed)?;
            refuse("insufficient_funds", !proposal.gives && proposal.yen > person.free()[0])?;
            person.prepaid += if proposal.gives { proposal.yen } else { -proposal.yen };
        }
        self.proposals[number].open = false;
        Ok(())
    }

    // ---- what steps are chosen by, and what is compared in the end

    pub(super) fn sales(&self) -> usize {
        self.sales.len()
    }

    pub(super) fn held(&self, sale: usize) -> i64 {
        self.sales.get(sale).map_or(0, Sale::whole)
    }

    /// Sales of which something is held for the shop.
    pub(super) fn held_sales(&self) -> Vec<usize> {
        (0..self.sales.len()).filter(|sale| matches!(self.sales[*sale].stands, Stands::Held(_))).collect()
    }

    /// Sales that somebody shall look at.
    pub(super) fn asked_sales(&self) -> Vec<usize> {
        (0..self.sales.len()).filter(|sale| matches!(self.sales[*sale].stands, Stands::Asked(..))).collect()
    }

    pub(super) fn gifts_asked(&self) -> Vec<usize> {
        (0..self.gifts.len()).filter(|gift| self.gifts[*gift].until.is_some()).collect()
    }

    pub(super) fn proposals(&self) -> usize {
        self.proposals.len()
    }

    pub(super) fn credits(&self) -> usize {
        self.credits.len()
    }

    pub(super) fn credit(&self, credit: usize) -> i64 {
        self.credits[credit].yen
    }

    /// Whether a file may list it, or an operator close it, without more to think of: nothing of it was taken back.
    pub(super) fn is_plain(&self, credit: usize) -> bool {
        let credit = &self.credits[credit];
        credit.taken_back == 0 && !credit.released && !credit.written_off && !credit.suspended
    }

    /// Prepaid value, funds, debt, cents and bonus of each, and what may be spent of all but the cents.
    pub(super) fn wallets(&self, now: i64) -> [[i64; 6]; 3] {
        [0, 1, 2].map(|who| {
            let person = &self.people[who];
            let free = person.free();
            let bonus: i64 = self.lots.give(who, i64::MAX, now).iter().map(|(_, share)| share).sum();
            let spendable = if person.owed > 0 { 0 } else { free[0] + free[1] + bonus };
            [person.prepaid, person.funds, person.owed, person.cents, self.lots.balance(who), spendable]
        })
    }

    /// What the shop is owed, what is due to it and what is in dispute; what the plugin has used of its cap, what was lost to it, and what
    /// its partner took that no file has listed yet.
    pub(super) fn totals(&self) -> [i64; 6] {
        let [owed, due, contested] = self.shop.totals();
        [owed, due, contested, self.used, self.lost, self.in_transit()]
    }
}
