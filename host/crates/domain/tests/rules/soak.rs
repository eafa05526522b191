//! Random histories against the model, batched, repeated and broken: by proptest, and seeded with the seed printed.
//!
//! `KOBAN_SOAK=1` runs it at full scale, `KOBAN_SOAK_SEEDS=50` with so many seeds, `KOBAN_SOAK_SEED=7` with this seed alone.

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::bonus::{Grant, OfLot, Revoke};
use koban_domain::captures::{Collect, Increase, OfPayment};
use koban_domain::disputes::{EndDispute, OpenDispute, Outcome};
use koban_domain::flows::{self, Authorisation, Flow, StepCommit};
use koban_domain::guest::Side;
use koban_domain::ids::{CaptureId, DisputeId, LotId, OperatorId, RefundId, TransferId};
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::manifest::Beginning;
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::payments::Terms;
use koban_domain::records::Digest;
use koban_domain::refunds::GiveBack;
use koban_domain::reviews::{Conclude, Reviewed, Ruling};
use koban_domain::settlements::WriteOff;
use koban_domain::transfers::Send;
use koban_domain::verification::Verify;
use proptest::prelude::*;
use uuid::Uuid;

use crate::model::{CAP, Model};
use crate::shops::close;
use crate::world::{
    HANAKO, KENJI, LOSS_BUDGET, NOON, SHOP, SPRING, TARO, World, arrived, atm, credit, flow, pay, payment, plan,
    reverse, settle, with_terms,
};

/// What the campaign may grant: little enough to be used up by a long history.
const GIFTS: i64 = 200_000;

/// A day behind which consumption tax stays the same for longer than a history has closings.
const BEFORE_TAX_ROSE: i32 = 16_200;

/// One wish, in numbers that shrink well.
pub(crate) type Raw = (u8, u8, u8, u16);

/// A platform and its model, fed with the same history.
struct Trial {
    world: World,
    model: Model,
    /// Work that has been decided under an operation, with its outcome.
    operations: Vec<(Work, Decided)>,
    flows: BTreeMap<u128, Flow>,
    numbers: u128,
    /// References are used up; every so often the partner takes new ones.
    epoch: usize,
    /// Which commands came to which outcomes.
    signs: BTreeSet<String>,
}

impl Trial {
    fn new() -> Trial {
        let mut world = World::new();
        world.budget(CAP, LOSS_BUDGET);
        world.does(plan(GIFTS)).unwrap();
        let mut model = Model::with_budget(GIFTS);
        model.arranged(&mut world, 20_000);
        Trial {
            world,
            model,
            operations: Vec::new(),
            flows: BTreeMap::new(),
            numbers: 0,
            epoch: 0,
            signs: BTreeSet::new(),
        }
    }

    /// Wishes of people and plugins go into one commit; a file or a write-off has one of its own.
    fn run(&mut self, history: &[Raw]) {
        let mut batch: Vec<(Work, Model)> = Vec::new();
        let mut most = 1;
        for (place, raw) in history.iter().enumerate() {
            self.epoch = place / 200;
            if matches!(raw.0 % 16, 10..=12) {
                self.commit(std::mem::take(&mut batch));
                let command = self.office(*raw);
                self.office_does(command);
                continue;
            }
            let ahead = batch.last().map_or_else(|| self.model.clone(), |(_, model)| model.clone());
            let work = self.wish(*raw, &ahead, place);
            // What the model makes of it, so that the next wish of the batch is told on top.
            let mut after = ahead.clone();
            let told = work.commands.iter().try_for_each(|command| after.tell(command));
            batch.push((work, if told.is_ok() { after } else { ahead }));
            if batch.len() >= most {
                most = 1 + usize::from(raw.1) % 6;
                self.commit(std::mem::take(&mut batch));
            }
        }
        self.commit(batch);
        self.repeat_operations();
        self.world.audit();
        self.model.close_everything(&mut self.world);
    }

    fn commit(&mut self, batch: Vec<(Work, Model)>) {
        let works: Vec<Work> = batch.into_iter().map(|(work, _)| work).collect();
        let (decided, commit) = self.world.shelf.commit(&works, self.world.now);
        for (work, decided) in works.iter().zip(&decided) {
            self.signs.insert(sign(work, decided));
            self.compare(work, decided);
        }
        assert_eq!(commit.records.len(), 0);
        self.world.check();
        self.model.compare(&self.world);
        // Holds run out, and the day does not.
        self.world.now = self.world.now.plus_ms(500);
        self.model.now = self.world.now;
    }

    /// The model decides by itself, and must come to the same.
    fn compare(&mut self, work: &Work, decided: &Decided) {
        if let Some(claim) = &work.operation
            && let Some((known, first)) = self
                .operations
                .iter()
                .find(|(known, _)| known.operation.is_some_and(|operation| operation.key == claim.key))
        {
            let same = known.operation.is_some_and(|operation| operation.fingerprint == claim.fingerprint);
            let expected = match (same, first) {
                (false, _) => Decided::KeyReused,
                (true, Decided::Done(answers)) => Decided::Replayed(Ok(answers.last().unwrap().clone())),
                (true, Decided::Refused(_, refusal)) => Decided::Replayed(Err(*refusal)),
                (true, other) => panic!("not an outcome: {other:?}"),
            };
            assert_eq!(*decided, expected);
            return;
        }
        if let Some(step) = &work.step {
            let version = self.flows.get(&step.flow.id.0.as_u128()).map(|flow| flow.version);
            if version != step.expected {
                assert_eq!(*decided, Decided::FlowMoved);
                return;
            }
        }
        let mut model = self.model.clone();
        let told = work
            .commands
            .iter()
            .enumerate()
            .try_for_each(|(place, command)| model.tell(command).map_err(|refusal| (place, refusal)));
        match told {
            Ok(()) => {
                assert!(matches!(decided, Decided::Done(_)), "{work:?}\n{decided:?}");
                self.model = model;
                if let Some(step) = &work.step {
                    self.flows.insert(step.flow.id.0.as_u128(), step.flow.clone());
                }
            }
            Err((place, refusal)) => assert_eq!(*decided, Decided::Refused(place, refusal), "{work:?}"),
        }
        if work.operation.is_some() {
            self.operations.push((work.clone(), decided.clone()));
        }
    }

    /// A wish as work: under an operation, repeated, with a flow step, or of two commands of which the second may fail.
    fn wish(&mut self, raw: Raw, model: &Model, place: usize) -> Work {
        let (kind, a, b, c) = raw;
        if kind % 16 == 15 && !self.operations.is_empty() {
            let (work, _) = self.operations[usize::from(c) % self.operations.len()].clone();
            let Some(claim) = work.operation else { return work };
            // Now and then with another body, which must not be taken for the same request.
            let other = Claim::new("x", "x", "y", &[b]).fingerprint;
            let fingerprint = if a % 4 == 0 { other } else { claim.fingerprint };
            return Work { operation: Some(Claim { fingerprint, ..claim }), ..work };
        }
        let mut commands = vec![self.command(raw, model)];
        if a % 8 == 7 {
            commands.push(self.command((kind.wrapping_add(b), b, a, c / 3), model));
        }
        let key = place.to_string();
        let operation = (b % 2 == 0).then(|| Claim::new("user:test", &key, "POST /v1/test", &[kind, a, b]));
        let step = (a % 8 == 6).then(|| Box::new(self.step(b, c)));
        Work { operation, commands, step, ..self.world.work() }
    }

    /// A step of one of a few flows, one time in three for a version that the flow is not at.
    fn step(&self, b: u8, c: u16) -> StepCommit {
        let number = flow(u128::from(b) % 4).0.as_u128();
        let flow = self.flows.get(&number).cloned().unwrap_or_else(|| {
            let authorisation = Authorisation { user: TARO, at_most: Money::yen(1), expires_at: NOON };
            let id = koban_domain::ids::FlowId(Uuid::from_u128(number));
            Flow::open(
                id,
                "charge-atm",
                (Digest::default(), Digest::default()),
                Beginning::Charge,
                authorisation,
                "ja",
                NOON,
            )
        });
        let mut step = flows::retried(&flow, flow.settings, NOON);
        let wrong = c.is_multiple_of(3);
        step.expected = (flow.version > 0).then_some(flow.version);
        if wrong {
            step.expected = Some(flow.version + 1 - 2 * i64::from(c % 2));
            step.flow.version = step.expected.unwrap_or(0) + 1;
        }
        step
    }

    fn command(&mut self, (kind, a, b, c): Raw, model: &Model) -> Command {
        let user = [TARO, HANAKO, KENJI][usize::from(a) % 3];
        let other = [TARO, HANAKO, KENJI][usize::from(b) % 3];
        let yen = i64::from(c) % 1_500 * 100;
        let name = self.name(b);
        match kind % 16 {
            2 if b % 2 == 1 => self.bonus(user, b, c, model),
            0..=2 if a % 4 == 3 => arrived(user, yen * 2, &name),
            0..=2 | 15 => credit(user, yen, &name),
            3 | 4 => {
                let terms = if b % 3 == 0 { Terms::AtOnce } else { Terms::Held { for_ms: i64::from(b) * 100 } };
                with_terms(pay(user, yen / 4, self.number()), terms, b % 4 == 1)
            }
            8 | 13 => self.held(b, c, yen, model),
            5 => self.give_back(b, c, yen, model),
            6 | 14 => Command::Transfer(Send {
                transfer: TransferId(Uuid::from_u128(self.number())),
                sender: user,
                receiver: other,
                amount: Money::yen(yen / 3),
                message: None,
                decision: None,
                review: b % 5 == 0,
            }),
            7 => {
                let (owner, whole) = model.credit_named(&name).unwrap_or((user, yen));
                let who = if a % 16 == 5 { user } else { owner };
                let part = [whole, whole / 2, yen, whole + 1][usize::from(c) % 4];
                let reversal = if c % 2 == 0 { name.clone() } else { self.other_name(c) };
                reverse(who, part, &name, &reversal)
            }
            9 if a % 4 == 2 => self.bonus(user, b, c, model),
            9 if a % 4 != 0 => self.shop(b, c, yen, model),
            9 => Command::Verify(Verify { user, operator: operator() }),
            _ => Command::Tombstone(koban_domain::charges::Tombstone { plugin: atm(), flow: None, reference: name }),
        }
    }

    /// The partner's reference of a credit, and often of its reversal.
    fn name(&self, number: u8) -> String {
        format!("r{}-{}", self.epoch, number % 24)
    }

    /// A reference that only a reversal has.
    fn other_name(&self, number: u16) -> String {
        format!("v{}-{}", self.epoch, number % 40)
    }

    /// Something that is done with what is held, or with a review.
    fn held(&mut self, b: u8, c: u16, yen: i64, model: &Model) -> Command {
        let (sales, gifts) = model.reviews();
        let ruling = match b % 4 {
            0 => Ruling::Declined(operator()),
            1 => Ruling::Expired,
            _ => Ruling::Approved(operator()),
        };
        if c % 8 == 7 && !gifts.is_empty() {
            let (number, sender, receiver) = gifts[gifts.len() - 1 - usize::from(b / 4) % gifts.len().min(6)];
            let transfer = TransferId(Uuid::from_u128(number));
            let of = Reviewed::Transfer { transfer, sender, receiver, currency: Currency::JPY };
            return Command::Conclude(Conclude { of, ruling });
        }
        // The newest ones: the others are over, for the most part.
        let numbers = if c % 8 >= 5 { sales } else { model.payments() };
        let behind = usize::from(b / 4) % numbers.len().clamp(1, 12);
        let number = numbers.len().checked_sub(behind + 1).map_or(0, |place| numbers[place]);
        let (payer, held) = model.hold(number).unwrap_or((TARO, 0));
        let of = OfPayment { payment: payment(number), payer, merchant: SHOP, currency: Currency::JPY };
        match c % 8 {
            0..=2 => {
                let amount = [None, Some(held / 2), Some(yen), Some(held + 1), Some(held / 3)][usize::from(c / 8) % 5];
                let capture = CaptureId(Uuid::from_u128(self.number()));
                Command::Collect(Collect { capture, of, amount, last: b.is_multiple_of(3) })
            }
            3 if b.is_multiple_of(2) => Command::Void(of),
            3 => Command::Expire(of),
            4 => Command::Increase(Increase { of, amount: Money::yen(yen / 10) }),
            _ => Command::Conclude(Conclude { of: Reviewed::Payment(of), ruling }),
        }
    }

    /// A gift that lasts for seconds or for long, now and then one for later; or the end of one.
    fn bonus(&mut self, user: koban_domain::ids::UserId, b: u8, c: u16, model: &Model) -> Command {
        let lots = model.lots();
        let behind = usize::from(c / 8) % lots.len().clamp(1, 16);
        let place = lots.len().checked_sub(behind + 1);
        let (lot, owner) = place.map_or((LotId::default(), user), |place| lots[place]);
        let of = OfLot { lot, user: if c % 64 == 63 { user } else { owner }, currency: Currency::JPY };
        match c % 8 {
            0 => Command::Lapse(of),
            1 if b.is_multiple_of(3) => Command::Revoke(Revoke { of, reason: "random".to_owned() }),
            1 => Command::Release(of),
            _ => {
                let usable_from = b.is_multiple_of(5).then(|| self.world.now.plus_ms(i64::from(b) * 40));
                let expires_at = self.world.now.plus_ms(i64::from(b) * [20, 200, 4_000][usize::from(c / 8) % 3]);
                let (lot, amount) = (LotId(Uuid::from_u128(self.number())), Money::yen(i64::from(c / 8) % 400 * 10));
                let reason = "random".to_owned();
                Command::Grant(Grant { lot, user, campaign: SPRING, amount, usable_from, expires_at, reason })
            }
        }
    }

    fn give_back(&mut self, b: u8, c: u16, yen: i64, model: &Model) -> Command {
        let numbers = model.payments();
        let number = numbers.get(usize::from(b) % numbers.len().max(1)).copied().unwrap_or(0);
        let (payer, left) = model.sale(number).unwrap_or((TARO, 0));
        let amount = Money::yen([left, left / 2, yen, left + 1][usize::from(c) % 4]);
        let refund = RefundId(Uuid::from_u128(self.number()));
        Command::Refund(GiveBack { refund, payment: payment(number), merchant: SHOP, payer, amount })
    }

    /// A dispute, the end of one, or a closing.
    fn shop(&mut self, b: u8, c: u16, yen: i64, model: &Model) -> Command {
        let contests = model.contests();
        if b.is_multiple_of(8) {
            let number = i32::try_from(self.number() / 8).unwrap_or(i32::MAX);
            return Command::MakeClosing(close(BEFORE_TAX_ROSE.saturating_add(number)));
        }
        if b % 8 < 4 && !contests.is_empty() {
            let (dispute, number) = contests[contests.len() - 1 - usize::from(b / 8) % contests.len().min(6)];
            let outcome = [Outcome::Won(operator()), Outcome::Lost(operator()), Outcome::RanOut][usize::from(c) % 3];
            let of = self.of(number, model);
            return Command::EndDispute(EndDispute { dispute: DisputeId(Uuid::from_u128(dispute)), of, outcome });
        }
        let numbers = model.payments();
        let behind = usize::from(b / 8) % numbers.len().clamp(1, 12);
        let number = numbers.len().checked_sub(behind + 1).map_or(0, |place| numbers[place]);
        let (_, left) = model.sale(number).unwrap_or((TARO, 0));
        let amount = Money::yen([left, left / 2, yen, left + 1][usize::from(c) % 4]);
        let (dispute, of) = (DisputeId(Uuid::from_u128(self.number())), self.of(number, model));
        let (reason, evidence, operator) = ("random".to_owned(), None, operator());
        Command::OpenDispute(OpenDispute { dispute, of, amount, reason, evidence, operator, days: None })
    }

    /// How a command names a payment, whether there is one or not.
    fn of(&self, number: u128, model: &Model) -> OfPayment {
        let (payer, _) = model.hold(number).unwrap_or((TARO, 0));
        OfPayment { payment: payment(number), payer, merchant: SHOP, currency: Currency::JPY }
    }

    /// A number that was not used before.
    fn number(&mut self) -> u128 {
        self.numbers += 1;
        self.numbers
    }

    /// A file of up to four rows, right for the most part, or a write-off.
    fn office(&mut self, (kind, a, b, c): Raw) -> Command {
        let name = |number: u8| self.name(number);
        if kind % 16 == 12 {
            let side = [Side::Credit, Side::Reversal, Side::Fee, Side::Capture][usize::from(a) % 4];
            let reference = if side == Side::Reversal && c % 2 == 1 { self.other_name(c) } else { name(b) };
            let reason = "random".to_owned();
            return Command::WriteOff(WriteOff { plugin: atm(), side, reference, operator: operator(), reason });
        }
        let rows: Vec<(Side, String, i64)> = (0..=a % 4)
            .map(|row| {
                let (b, c) = (b.wrapping_add(row.wrapping_mul(7)), c.rotate_left(u32::from(row) * 3));
                let wrong = i64::from(c) % 700 + 1;
                let right = |yen: Option<i64>| yen.filter(|_| c % 4 != 0).unwrap_or(wrong);
                match (b / 24) % 5 {
                    0 | 1 => (Side::Credit, name(b), right(self.model.credit_named(&name(b)).map(|(_, yen)| yen))),
                    2 => (Side::Reversal, name(b), right(self.model.reversal_named(&name(b)))),
                    3 => {
                        let name = self.other_name(c);
                        let yen = right(self.model.reversal_named(&name));
                        (Side::Reversal, name, yen)
                    }
                    _ if c % 8 == 0 => (Side::Capture, name(b), wrong),
                    _ => (Side::Fee, name(b), wrong % 3 + 1),
                }
            })
            .collect();
        let rows: Vec<(Side, &str, i64)> = rows.iter().map(|(side, name, yen)| (*side, name.as_str(), *yen)).collect();
        let file = self.number();
        settle(file, file, &rows)
    }

    fn office_does(&mut self, command: Command) {
        let head = self.world.shelf.head;
        match self.world.does(command.clone()) {
            Ok(answer) => self.model.follow(&command, &answer, &self.world),
            Err(_) => assert_eq!(self.world.shelf.head, head),
        }
        self.model.compare(&self.world);
    }

    /// Everything that was decided under a key is asked once more, and nothing happens.
    fn repeat_operations(&mut self) {
        let head = self.world.shelf.head;
        for (work, _) in self.operations.clone() {
            let (decided, commit) = self.world.commit(work.clone());
            assert!(commit.is_empty());
            self.compare(&work, &decided);
        }
        assert_eq!(self.world.shelf.head, head);
        self.model.compare(&self.world);
    }
}

fn operator() -> OperatorId {
    OperatorId(Uuid::from_u128(21))
}

/// A sequence of numbers that looks random and depends on the seed alone (SplitMix64, Steele and others 2014).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn raw(&mut self) -> Raw {
        let [kind, a, b, c, d, ..] = self.next().to_be_bytes();
        (kind, a, b, u16::from_be_bytes([c, d]))
    }
}

/// The commands of a piece of work and what became of it, without what they are about.
fn sign(work: &Work, decided: &Decided) -> String {
    let commands: Vec<_> = work.commands.iter().map(std::mem::discriminant).collect();
    let outcome = match decided {
        Decided::Refused(place, refusal) => format!("{place} {}", refusal.code()),
        other => format!("{:?}", std::mem::discriminant(other)),
    };
    format!("{commands:?} {outcome}")
}

/// Any bytes as a history, five a wish: what was seen of it, for the search that looks for more.
pub(crate) fn history_of(bytes: &[u8]) -> Vec<String> {
    let raw = |wish: &[u8; 5]| (wish[0], wish[1], wish[2], u16::from_be_bytes([wish[3], wish[4]]));
    let history: Vec<Raw> = bytes.as_chunks().0.iter().map(raw).collect();
    let mut trial = Trial::new();
    trial.run(&history);
    trial.signs.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_agrees_with_the_model(history in proptest::collection::vec(any::<Raw>(), 1..160)) {
        Trial::new().run(&history);
    }
}

#[test]
fn a_seeded_history_agrees_with_the_model() {
    let full = std::env::var_os("KOBAN_SOAK").is_some();
    let number = |name: &str| -> Option<u64> {
        std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
    };
    let seeds = match number("KOBAN_SOAK_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("KOBAN_SOAK_SEEDS").unwrap_or(if full { 400 } else { 12 }),
    };
    let length = if full { 4_000 } else { 600 };
    let (mut payments, mut captures, mut reviews, mut gifts, mut lapsed) = (0, 0, 0, 0, 0);
    let (mut disputes, mut closings) = (0, 0);
    for seed in seeds {
        eprintln!("seed {seed}, {length} wishes; run it alone with KOBAN_SOAK_SEED={seed}");
        let mut numbers = Numbers(seed);
        let history: Vec<Raw> = (0..length).map(|_| numbers.raw()).collect();
        let mut trial = Trial::new();
        trial.run(&history);
        payments += trial.model.payments().len();
        captures += trial.world.shelf.books.captures.iter().count();
        let parts = trial.world.shelf.books.payments.iter().flat_map(|(_, payment)| &payment.parts);
        gifts += parts.filter(|part| !part.source.is_money() && part.captured > 0).count();
        lapsed += trial.world.shelf.books.refunds.iter().filter(|(_, refund)| refund.lapsed > 0).count();
        disputes += trial.world.shelf.books.disputes.iter().filter(|(_, dispute)| dispute.ended_at.is_some()).count();
        closings += trial.world.shelf.books.closings.iter().count();
        reviews += trial.world.shelf.books.reviews.iter().filter(|(_, review)| review.ended_at.is_some()).count();
    }
    eprintln!(
        "{payments} payments, {captures} captures, {reviews} reviews and {disputes} disputes that ended, {closings} closings, \
         {gifts} parts of bonus, {lapsed} refunds too late"
    );
    let all = [payments, captures, reviews, gifts, lapsed, disputes, closings];
    assert!(all.iter().all(|count| *count > 0), "a history without them proves little");
}

#[test]
fn the_same_history_has_the_same_head() {
    let head = || {
        let mut numbers = Numbers(7);
        let history: Vec<Raw> = (0..300).map(|_| numbers.raw()).collect();
        let mut trial = Trial::new();
        trial.run(&history);
        trial.world.shelf.head
    };
    assert_eq!(head(), head());
}
