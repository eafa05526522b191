//! A second opinion: the ledger told once more with plain maps of people and numbers, and random histories that both must agree on.

mod bonus;
mod holds;
mod shops;

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::guest::Side;
use koban_domain::ids::{LotId, UserId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Currency;
use koban_domain::outcomes::Refusal;
use koban_domain::payments::{Pay, Terms};
use koban_domain::reviews::Reviewed;
use koban_domain::time::Timestamp;
use koban_domain::transfers::Send;

use crate::world::{HANAKO, KENJI, LOSS_BUDGET, NOON, SPRING, TARO, World, atm, slips};

/// Small enough to be reached.
pub(crate) const CAP: i64 = 400_000;

#[derive(Debug, Clone, Default)]
struct Person {
    verified: bool,
    prepaid: i64,
    funds: i64,
    owed: i64,
    sent_today: i64,
    /// Of the prepaid value and of the funds, what is set aside.
    held: (i64, i64),
    /// Funds that others have set aside for this person.
    coming: i64,
    lots: BTreeMap<LotId, bonus::Lot>,
}

#[derive(Debug, Clone)]
struct Credit {
    who: UserId,
    yen: i64,
    in_suspense: bool,
    /// The right row was listed.
    seen: bool,
    released: bool,
    written_off: bool,
}

#[derive(Debug, Clone)]
struct Reversal {
    of: String,
    yen: i64,
    seen: bool,
}

#[derive(Debug, Clone)]
struct Sale {
    who: UserId,
    /// Got and not given back, of prepaid value and of funds.
    prepaid: i64,
    funds: i64,
    /// Set aside.
    held: (i64, i64),
    /// Of lots, in the order in which they were taken.
    slices: Vec<bonus::Slice>,
    /// What was asked for in total.
    total: i64,
    standing: Standing,
    /// For how long it is held once it is approved; none if it is paid at once.
    for_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Held until then.
    Held(Timestamp),
    Asked,
    RanOut,
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Gift {
    from: UserId,
    to: UserId,
    yen: i64,
    open: bool,
}

/// What the books should say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    people: BTreeMap<UserId, Person>,
    shop: i64,
    /// What the campaign may grant, and what it has.
    budget: i64,
    granted: i64,
    suspense: i64,
    lost: i64,
    credits: BTreeMap<String, Credit>,
    reversals: BTreeMap<String, Reversal>,
    dead: BTreeSet<String>,
    sales: BTreeMap<u128, Sale>,
    /// Transfers that somebody shall look at.
    gifts: BTreeMap<u128, Gift>,
    /// Payments that somebody shall look at, or has.
    asked: BTreeSet<u128>,
    pub(crate) now: Timestamp,
    /// The shop's credit, disputes and closings.
    shops: shops::Shops,
    /// What the partner said last of each row.
    said: BTreeMap<(Side, String), i64>,
    /// Rows that were closed, as the books show them: the one thing that the model does not work out by itself.
    closed: BTreeSet<(Side, String)>,
}

impl Model {
    /// Nobody has anything, and a campaign may grant so much.
    pub(crate) fn with_budget(budget: i64) -> Model {
        let person = |verified| Person { verified, ..Person::default() };
        let people = BTreeMap::from([(TARO, person(false)), (HANAKO, person(true)), (KENJI, person(true))]);
        Model { people, now: NOON, budget, ..Model::default() }
    }

    pub(crate) fn payments(&self) -> Vec<u128> {
        self.sales.keys().copied().collect()
    }

    pub(crate) fn credit_named(&self, name: &str) -> Option<(UserId, i64)> {
        self.credits.get(name).map(|credit| (credit.who, credit.yen))
    }

    pub(crate) fn reversal_named(&self, name: &str) -> Option<i64> {
        self.reversals.get(name).map(|reversal| reversal.yen)
    }

    /// Who paid, and what is left to give back.
    pub(crate) fn sale(&self, number: u128) -> Option<(UserId, i64)> {
        self.sales.get(&number).map(|sale| (sale.who, sale.got() - self.shops.contested(number)))
    }

    /// What should come of a command of a person or a plugin. Files and write-offs are followed, not foretold: see `follow`.
    pub(crate) fn tell(&mut self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Credit(c) => self.credit(c.user, c.amount.minor, &c.reference, c.arrived),
            Command::Reverse(c) => self.reverse(c.user, c.amount.minor, &c.of, &c.reference),
            Command::Tombstone(c) => self.kill(&c.reference),
            Command::Pay(c) => self.pay(c),
            Command::Collect(c) => self.collect(c.of.payment.0.as_u128() - 0xa000, c.amount, c.last),
            Command::Void(of) => self.let_go(of.payment.0.as_u128() - 0xa000, false),
            Command::Expire(of) => self.let_go(of.payment.0.as_u128() - 0xa000, true),
            Command::Increase(c) => self.increase(c.of.payment.0.as_u128() - 0xa000, c.amount.minor),
            Command::Conclude(c) => match c.of {
                Reviewed::Payment(of) => self.rule_on_sale(of.payment.0.as_u128() - 0xa000, c.ruling),
                Reviewed::Transfer { transfer, .. } => self.rule_on_gift(transfer.0.as_u128(), c.ruling),
            },
            Command::Refund(c) => self.refund(c.amount.minor, c.payment.0.as_u128() - 0xa000),
            Command::Transfer(c) => self.send(c),
            Command::Verify(c) => self.verify(c.user),
            Command::Grant(c) => self.grant(c),
            Command::Lapse(of) => self.lapse(of),
            Command::Revoke(c) => self.take_back(c),
            Command::Release(of) => self.release(of),
            Command::OpenDispute(c) => self.contest(c),
            Command::EndDispute(c) => self.end_dispute(c),
            Command::MakeClosing(c) => self.close(c.until),
            other => panic!("not foretold: {other:?}"),
        }
    }

    fn person(&mut self, who: UserId) -> &mut Person {
        self.people.get_mut(&who).unwrap()
    }

    fn exposed(&self) -> i64 {
        self.credits.values().filter(|credit| !credit.in_suspense && !credit.released).map(|credit| credit.yen).sum()
    }

    fn credit(&mut self, who: UserId, yen: i64, name: &str, arrived: bool) -> Result<(), Refusal> {
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        if self.dead.contains(name) {
            return Err(Refusal::ReferenceTombstoned);
        }
        if self.credits.contains_key(name) || self.closed.contains(&(Side::Credit, name.into())) {
            return Err(Refusal::ReferenceUsed);
        }
        let (lost, exposed, now) = (self.lost, self.exposed(), self.now);
        let person = self.person(who);
        let repays = yen.min(person.owed);
        let (at_once, at_most) = if person.verified { (500_000, 1_000_000) } else { (100_000, 100_000) };
        let problem = if lost >= LOSS_BUDGET {
            Some(Refusal::LossBudgetExhausted)
        } else if exposed + yen > CAP {
            Some(Refusal::ExposureCapReached)
        } else if yen > at_once {
            Some(Refusal::AmountLimit)
        } else if person.will_hold(now) + yen - repays > at_most {
            Some(Refusal::BalanceLimit)
        } else {
            None
        };
        match problem {
            Some(refusal) if !arrived => return Err(refusal),
            Some(_) => self.suspense += yen,
            None => {
                person.owed -= repays;
                *(if person.verified { &mut person.funds } else { &mut person.prepaid }) += yen - repays;
            }
        }
        let in_suspense = problem.is_some();
        let credit = Credit { who, yen, in_suspense, seen: false, released: false, written_off: false };
        self.credits.insert(name.into(), credit);
        Ok(())
    }

    fn taken_back(&self, of: &str) -> i64 {
        self.reversals.values().filter(|reversal| reversal.of == of).map(|reversal| reversal.yen).sum()
    }

    fn reverse(&mut self, who: UserId, yen: i64, of: &str, name: &str) -> Result<(), Refusal> {
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        if self.reversals.contains_key(name) || self.closed.contains(&(Side::Reversal, name.into())) {
            return Err(Refusal::ReferenceUsed);
        }
        let credit = self.credits.get(of).filter(|credit| credit.who == who && !credit.written_off);
        let credit = credit.ok_or(Refusal::CreditNotFound)?.clone();
        if yen > credit.yen - self.taken_back(of) {
            return Err(Refusal::ReversalExceedsCredit);
        }
        if credit.in_suspense {
            self.suspense -= yen;
        } else {
            let person = self.person(who);
            let free = person.free();
            let prepaid = yen.min(free.0);
            let funds = (yen - prepaid).min(free.1);
            person.prepaid -= prepaid;
            person.funds -= funds;
            person.owed += yen - prepaid - funds;
        }
        self.reversals.insert(name.into(), Reversal { of: of.into(), yen, seen: false });
        Ok(())
    }

    fn kill(&mut self, name: &str) -> Result<(), Refusal> {
        if self.credits.contains_key(name) {
            return Err(Refusal::ReferenceCredited);
        }
        self.dead.insert(name.into());
        Ok(())
    }

    fn pay(&mut self, wish: &Pay) -> Result<(), Refusal> {
        let (who, yen, now) = (wish.payer, wish.amount.minor, self.now);
        let person = self.person(who);
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        let (given, prepaid, funds) = person.divide(yen, yen, now)?;
        let for_ms = match wish.terms {
            Terms::AtOnce => None,
            Terms::Held { for_ms } => Some(for_ms),
        };
        let mut sale = Sale {
            who,
            prepaid: 0,
            funds: 0,
            held: (0, 0),
            slices: Vec::new(),
            total: yen,
            standing: Standing::Over,
            for_ms,
        };
        let sale = if wish.review || for_ms.is_some() {
            (person.held.0, person.held.1) = (person.held.0 + prepaid, person.held.1 + funds);
            person.set_aside(&given);
            bonus::add(&mut sale.slices, &given, true);
            let ends = Standing::Held(now.plus_ms(for_ms.unwrap_or(0)));
            Sale { held: (prepaid, funds), standing: if wish.review { Standing::Asked } else { ends }, ..sale }
        } else {
            person.prepaid -= prepaid;
            person.funds -= funds;
            person.spend(&given);
            bonus::add(&mut sale.slices, &given, false);
            self.sold(yen);
            Sale { prepaid, funds, ..sale }
        };
        let number = wish.payment.0.as_u128() - 0xa000;
        if wish.review {
            self.asked.insert(number);
        }
        self.sales.insert(number, sale);
        Ok(())
    }

    fn refund(&mut self, yen: i64, number: u128) -> Result<(), Refusal> {
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        let Some(sale) = self.sales.get(&number).cloned() else { return Err(Refusal::PaymentNotFound) };
        if yen > sale.got() - self.shops.contested(number) {
            return Err(Refusal::RefundExceedsPayment);
        }
        let can = yen <= self.shop + self.shops.credit;
        self.give_back(yen, number, sale, can)?;
        self.shop -= yen;
        self.shops.refunded += yen;
        Ok(())
    }

    /// The payer gets so much of a sale, after what they owe, if the wallet has room and whoever gives it can.
    fn give_back(&mut self, yen: i64, number: u128, mut sale: Sale, can: bool) -> Result<(), Refusal> {
        let now = self.now;
        let person = self.person(sale.who);
        let funds = yen.min(sale.funds);
        let prepaid = (yen - funds).min(sale.prepaid);
        let repays = (funds + prepaid).min(person.owed);
        // The rest came from lots, the last one first; some of them are over.
        let mut rest = yen - funds - prepaid;
        let mut back = Vec::new();
        for slice in sale.slices.iter_mut().rev() {
            let share = rest.min(slice.got);
            slice.got -= share;
            rest -= share;
            if !person.is_over(slice.lot, now) {
                back.push((slice.lot, share));
            }
        }
        let gifts: i64 = back.iter().map(|(_, share)| share).sum();
        let more = funds + prepaid - repays + gifts;
        if person.will_hold(now) + more > if person.verified { 1_000_000 } else { 100_000 } {
            return Err(Refusal::BalanceLimit);
        }
        if !can {
            return Err(Refusal::MerchantBalanceTooLow);
        }
        person.owed -= repays;
        // Nobody here has funds and is unverified, so all money goes to the one kind that the person has.
        *(if person.verified { &mut person.funds } else { &mut person.prepaid }) += funds + prepaid - repays;
        for (lot, share) in back {
            person.bring_back(lot, share);
        }
        sale.funds -= funds;
        sale.prepaid -= prepaid;
        self.sales.insert(number, sale);
        Ok(())
    }

    fn send(&mut self, wish: &Send) -> Result<(), Refusal> {
        let (from, to, yen) = (wish.sender, wish.receiver, wish.amount.minor);
        if yen <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        if from == to {
            return Err(Refusal::SameParty);
        }
        let (sender, receiver) = (self.people[&from].clone(), self.people[&to].clone());
        if !sender.verified {
            return Err(Refusal::NotVerified);
        }
        if !receiver.verified {
            return Err(Refusal::ReceiverNotVerified);
        }
        if sender.owed > 0 {
            return Err(Refusal::RepaymentDue);
        }
        if sender.sent_today + yen > 100_000 {
            return Err(Refusal::DayLimit);
        }
        let repays = yen.min(receiver.owed);
        if receiver.will_hold(self.now) + yen - repays > 1_000_000 {
            return Err(Refusal::BalanceLimit);
        }
        if yen > sender.free().1 {
            return Err(Refusal::InsufficientFunds);
        }
        self.person(from).sent_today += yen;
        if wish.review {
            self.person(from).held.1 += yen;
            self.person(to).coming += yen;
            self.gifts.insert(wish.transfer.0.as_u128(), Gift { from, to, yen, open: true });
            return Ok(());
        }
        self.person(from).funds -= yen;
        let receiver = self.person(to);
        receiver.owed -= repays;
        receiver.funds += yen - repays;
        Ok(())
    }

    fn verify(&mut self, who: UserId) -> Result<(), Refusal> {
        let person = self.person(who);
        if person.verified {
            return Err(Refusal::AlreadyVerified);
        }
        person.verified = true;
        let free = person.free().0;
        person.prepaid -= free;
        person.funds += free;
        Ok(())
    }

    /// Takes in what came of a file or a write-off.
    pub(crate) fn follow(&mut self, command: &Command, answer: &Answer, world: &World) {
        match (command, answer) {
            (Command::Settle(file), _) => {
                for line in &file.lines {
                    let key = (line.side, line.reference.clone());
                    if !self.closed.contains(&key) {
                        self.see(&key, line.amount.minor);
                    }
                    self.said.insert(key, line.amount.minor);
                }
            }
            (Command::WriteOff(off), Answer::WrittenOff(written_off)) => {
                self.lost += written_off.lost.minor;
                self.suspense += written_off.to_suspense.minor;
                match off.side {
                    Side::Credit => {
                        if let Some(credit) = self.credits.get_mut(&off.reference).filter(|credit| !credit.released) {
                            (credit.written_off, credit.released) = (true, true);
                        }
                    }
                    Side::Reversal => {
                        if let Some(yen) = self.reversal_named(&off.reference) {
                            self.see(&(Side::Reversal, off.reference.clone()), yen);
                        }
                    }
                    Side::Capture | Side::Fee => {}
                }
            }
            other => panic!("not followed: {other:?}"),
        }
        for name in self.credits.keys().cloned().collect::<Vec<_>>() {
            let all_seen = self.reversals.values().filter(|reversal| reversal.of == name).all(|reversal| reversal.seen);
            let credit = self.credits.get_mut(&name).unwrap();
            credit.released |= credit.seen && all_seen;
        }
        let rows = world.shelf.books.differences.iter();
        let taken = rows.filter(|(key, difference)| {
            let ours = self.credits.contains_key(&key.reference) && key.side == Side::Credit
                || self.reversals.contains_key(&key.reference) && key.side == Side::Reversal;
            !difference.open || difference.ours > 0 && !ours
        });
        self.closed = taken.map(|(key, _)| (key.side, key.reference.clone())).collect();
    }

    fn see(&mut self, (side, name): &(Side, String), yen: i64) {
        match side {
            Side::Credit => {
                if let Some(credit) = self.credits.get_mut(name) {
                    credit.seen |= credit.yen == yen;
                }
            }
            Side::Reversal => {
                if let Some(reversal) = self.reversals.get_mut(name) {
                    reversal.seen |= reversal.yen == yen && !self.credits[&reversal.of].written_off;
                }
            }
            Side::Capture | Side::Fee => {}
        }
    }

    /// What partners owe: nothing for a settled credit, but less than nothing where they have yet to keep a reversal.
    fn clearing(&self) -> i64 {
        let standing = self.credits.iter().filter(|(_, credit)| !credit.written_off);
        let owed = standing.map(|(name, credit)| {
            let of_it = || self.reversals.values().filter(|reversal| reversal.of == *name);
            match credit.released {
                true => -of_it().filter(|reversal| !reversal.seen).map(|reversal| reversal.yen).sum::<i64>(),
                false => credit.yen - of_it().map(|reversal| reversal.yen).sum::<i64>(),
            }
        });
        owed.sum()
    }

    pub(crate) fn compare(&self, world: &World) {
        for (who, person) in &self.people {
            let of = |class| world.balance(AccountKey::user(class, *who, Currency::JPY));
            let found = (of(Class::Prepaid), of(Class::Funds), of(Class::Receivable));
            assert_eq!(found, (person.prepaid, person.funds, person.owed), "{who}");
            let key = AccountKey::user(Class::Bonus, *who, Currency::JPY);
            let found = (world.balance(key), world.shelf.books.account(key).debits_pending);
            assert_eq!(found, person.bonus(), "{who}");
            let given: i64 = person.give(i64::MAX, world.now).iter().map(|(_, share)| share).sum();
            let free = person.free();
            assert_eq!(world.available(*who), free.0 + free.1 + given, "{who}");
        }
        assert_eq!(world.payable(), self.shop);
        let campaign = world.shelf.books.campaigns.get(&SPRING).unwrap();
        assert_eq!((campaign.granted, campaign.budget.minor), (self.granted, self.budget));
        self.shops.compare(world);
        assert_eq!(world.platform(Class::Suspense), self.suspense);
        assert_eq!(world.platform(Class::WriteOff), self.lost);
        assert_eq!(world.clearing(), self.clearing());
        let exposure = world.exposure();
        assert_eq!((exposure.used, exposure.lost), (self.exposed(), self.lost));
        assert!(exposure.used <= CAP && exposure.lost <= LOSS_BUDGET);
    }

    /// Operators close everything: then the bank holds exactly what the partner said, and nobody owes the platform but users.
    pub(crate) fn close_everything(&mut self, world: &mut World) {
        world.budget(CAP, i64::MAX);
        for key in world.open_differences() {
            world.write_off(key.side, &key.reference).unwrap();
        }
        let mut keys: Vec<_> = world.shelf.books.references.iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        for key in keys {
            let _ = world.write_off(key.side, &key.reference);
        }
        assert_eq!(world.open_differences(), []);
        assert_eq!((world.clearing(), world.exposure().used), (0, 0));
        let signed = self.said.iter().map(|((side, _), yen)| if *side == Side::Credit { *yen } else { -*yen });
        assert_eq!(world.platform(Class::Bank), signed.sum::<i64>(), "the bank holds what the partner said");
        assert_eq!(world.exposure().lost, world.platform(Class::WriteOff));
        assert_eq!(world.exposure().cap, CAP);
        assert!(world.shelf.books.exposures.iter().all(|(key, _)| [atm(), slips()].contains(&key.0)));
        world.audit();
    }
}
