//! A random but repeatable history of commands: everything that the ledger knows, right and wrong, again and out of turn.

use koban_domain::access::{Freeze, Holder};
use koban_domain::accounts::{AccountKey, Class, PluginKey};
use koban_domain::adjustments::{Judge, Line, Propose};
use koban_domain::bonus::{Grant, OfLot, Plan, Revoke};
use koban_domain::captures::{Collect, Increase, OfPayment};
use koban_domain::charges::{ChargeCredit, ChargeReversal, ReferenceKey, ReferenceState, Tombstone};
use koban_domain::closures::Close;
use koban_domain::flows::{Arrival, Authorisation, CallKey, Flow, QueuedEffect, StepCommit, Stuck};
use koban_domain::gifts::{Bound, Gift, GiftKey, TakeBack};
use koban_domain::guest::{Act, HttpAnswer, SettlementLine, Side, Standing, What};
use koban_domain::ids::{
    AdjustmentId, CampaignId, CaptureId, EventId, FileId, FlowId, LotId, OperatorId, PaymentId, RecordId, RefundId,
    SubmissionId, TransferId,
};
use koban_domain::ledger::{Command, Counted, Expect, SealedRecord, Unexpected, Work};
use koban_domain::manifest::{Beginning, Repeat};
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::payments::{Pay, Terms};
use koban_domain::records::Digest;
use koban_domain::refunds::GiveBack;
use koban_domain::reviews::{Conclude, Reviewed, Ruling};
use koban_domain::settlements::{Settle, WriteOff};
use koban_domain::signals::{SubjectKey, Subjects};
use koban_domain::time::Timestamp;
use koban_domain::transfers::Send;
use koban_domain::verification::{Submission, Unverify, Verify};
use uuid::Uuid;

use crate::world::{MERCHANTS, Memory, PLUGIN, USERS, audit, merchant, plugin, user};

/// A small generator of numbers (SplitMix64): the same seed, the same history.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u128) -> u128 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, bound: u128) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn amount(&mut self, most: u128) -> Money {
        Money::yen(i64::try_from(self.below(most)).unwrap())
    }
}

/// Makes works one after the other.
pub(crate) struct History {
    pub(crate) dice: Dice,
    next: u128,
    claims: Vec<Claim>,
    flows: Vec<Flow>,
}

impl History {
    pub(crate) fn new(seed: u64) -> History {
        History { dice: Dice(seed), next: 1_000_000, claims: Vec::new(), flows: Vec::new() }
    }

    pub(crate) fn id(&mut self) -> Uuid {
        self.next += 16;
        Uuid::from_u128(self.next)
    }

    /// The next batch, made with an eye on the books so that much of it succeeds.
    pub(crate) fn batch(&mut self, memory: &Memory, now: Timestamp) -> Vec<Work> {
        let count = 1 + self.dice.below(24);
        (0..count).map(|_| self.work(memory, now)).collect()
    }

    fn work(&mut self, memory: &Memory, now: Timestamp) -> Work {
        let mut work = Work::new(self.id(), "user:test");
        let commands = if self.dice.one_in(8) { 2 } else { 1 };
        for _ in 0..commands {
            let command = self.command(memory, now);
            if let Command::Pay(pay) = &command {
                let subjects = Subjects {
                    user: SubjectKey::user(pay.payer),
                    merchant: Some(SubjectKey::merchant(pay.merchant)),
                    device: self.dice.one_in(2).then(|| SubjectKey::device("phone")),
                };
                work.counted = Some(Counted { subjects, amount: pay.amount.minor });
            }
            work.commands.push(command);
        }
        match self.dice.below(12) {
            0 if !self.claims.is_empty() => {
                let place = usize::try_from(self.dice.below(self.claims.len() as u128)).unwrap();
                let mut claim = self.claims[place];
                if self.dice.one_in(3) {
                    claim.fingerprint.0[0] ^= 1;
                }
                work.operation = Some(claim);
            }
            1..8 => {
                let claim = Claim::new("user:test", &work.id.to_string(), "/v1/test", b"{}");
                self.claims.push(claim);
                work.operation = Some(claim);
            }
            _ => {}
        }
        if self.dice.one_in(3) {
            let bytes = work.id.as_bytes().repeat(1 + usize::try_from(self.dice.below(20)).unwrap());
            let id = RecordId(work.id);
            work.records.push(SealedRecord { id, digest: Digest::of(&bytes), bytes, held: None });
        }
        if self.dice.one_in(20) {
            work.audit.push(audit(work.id.as_u128(), "test.act"));
        }
        if self.dice.one_in(6) {
            work.step = Some(Box::new(self.step(now)));
        }
        if self.dice.one_in(12) {
            work = self.challenged(memory, work);
        }
        work
    }

    fn command(&mut self, memory: &Memory, now: Timestamp) -> Command {
        let number = self.dice.below(USERS);
        let reference = |dice: &mut Dice| format!("r\"{}\\円", dice.below(60));
        if self.dice.one_in(8) {
            return self.bonus(memory, number, now);
        }
        if self.dice.one_in(8) {
            return if self.dice.one_in(4) { self.links(number) } else { self.outgoing(memory, number) };
        }
        match self.dice.below(24) {
            20..24 => self.with_merchants(memory),
            0..5 => Command::Transfer(Send {
                transfer: TransferId(self.id()),
                sender: user(number),
                receiver: user(self.dice.below(USERS)),
                amount: self.dice.amount(3_000),
                message: self.dice.one_in(2).then(|| "昼ごはん \"thanks\"\u{7}".to_owned()),
                decision: None,
                review: self.dice.one_in(4),
            }),
            5..9 => Command::Pay(Pay {
                payment: PaymentId(self.id()),
                payer: user(number),
                merchant: merchant(self.dice.below(MERCHANTS)),
                amount: self.dice.amount(4_000),
                reference: self.dice.one_in(2).then(|| reference(&mut self.dice)),
                decision: self.dice.one_in(2).then(|| RecordId(Uuid::from_u128(9))),
                terms: self.terms(),
                review: self.dice.one_in(5),
            }),
            11 => self.held(memory, number),
            9..11 => Command::Credit(ChargeCredit {
                plugin: plugin(),
                flow: FlowId(Uuid::from_u128(number)),
                user: user(number),
                amount: self.dice.amount(60_000),
                reference: reference(&mut self.dice),
                arrived: self.dice.one_in(3),
            }),
            12 if self.dice.one_in(3) => self.ruling(memory),
            12 => self.reversal(memory, number),
            13 => self.held(memory, number),
            14 => self.refund(memory, number),
            15 => Command::Tombstone(Tombstone { plugin: plugin(), flow: None, reference: reference(&mut self.dice) }),
            16 if !self.dice.one_in(3) => self.people(memory, number),
            16 => Command::Verify(Verify { user: user(number), operator: OperatorId(Uuid::from_u128(1)) }),
            17 => self.settlement(memory),
            18 if self.dice.one_in(2) => Command::WriteOff(WriteOff {
                plugin: plugin(),
                side: if self.dice.one_in(2) { Side::Credit } else { Side::Reversal },
                reference: reference(&mut self.dice),
                operator: OperatorId(Uuid::from_u128(1)),
                reason: "test".into(),
            }),
            18 => {
                Command::Unexpected(Unexpected { plugin: plugin(), correlation: format!("c{}", self.dice.below(40)) })
            }
            _ => Command::Expect(Expect {
                plugin: plugin(),
                correlation: format!("c{}", self.dice.below(40)),
                flow: FlowId(Uuid::from_u128(number)),
                key: "deposit".into(),
            }),
        }
    }

    /// What operators do with people, and adjustments of what waits in suspense.
    fn people(&mut self, memory: &Memory, number: u128) -> Command {
        let operator = |number: u128| OperatorId(Uuid::from_u128(number));
        let line = |yen| Line {
            debit: AccountKey::platform(Class::Suspense, Currency::JPY),
            credit: AccountKey::user(Class::Prepaid, user(number), Currency::JPY),
            amount: yen,
        };
        let frozen = self.dice.one_in(3);
        match self.dice.below(7) {
            0 => Command::Freeze(Freeze { holder: Holder::User(user(number)), frozen }),
            1 => Command::Freeze(Freeze { holder: Holder::Merchant(merchant(0)), frozen }),
            2 => {
                let (id, sealed) = (SubmissionId(self.id()), vec![0, 255, 7]);
                let key_id = "0123456789abcdef".to_owned();
                Command::Submit(Submission { id, user: user(number), key_id, sealed, at: Timestamp(0) })
            }
            3 => Command::Unverify(Unverify { user: user(number), revoked: frozen }),
            4 => {
                let (adjustment, reason) = (AdjustmentId(self.id()), "proved \"by letter\" 円".to_owned());
                let amount = self.dice.amount(900).minor + 1;
                Command::Propose(Propose {
                    adjustment,
                    lines: vec![line(amount)],
                    reason,
                    flow: None,
                    proposer: operator(1),
                })
            }
            5 => {
                let mut known: Vec<_> = memory.books.adjustments.iter().map(|(_, adjustment)| adjustment).collect();
                known.sort_by_key(|adjustment| adjustment.id);
                let place = usize::try_from(self.dice.below(known.len().max(1) as u128)).unwrap();
                let (adjustment, lines) =
                    known.get(place).map_or((AdjustmentId::default(), vec![]), |it| (it.id, it.lines.clone()));
                Command::Judge(Judge {
                    adjustment,
                    lines,
                    flow: None,
                    operator: operator(1 + self.dice.below(2)),
                    approve: !frozen,
                })
            }
            _ => {
                let (user, reason) = (user(USERS - 1), "asked for".to_owned());
                Command::Close(Close { user, currencies: vec![Currency::JPY], reason })
            }
        }
    }

    /// What campaigns grant, and what becomes of lots: some last for minutes, some for years, some begin later.
    fn bonus(&mut self, memory: &Memory, number: u128, now: Timestamp) -> Command {
        let campaign = CampaignId(Uuid::from_u128(0x0d00 + self.dice.below(3)));
        let mut lots: Vec<_> = memory.books.lots.iter().map(|(_, lot)| lot).collect();
        lots.sort_by_key(|lot| lot.id);
        let place = usize::try_from(self.dice.below(lots.len().max(1) as u128)).unwrap();
        let nobodys = OfLot { lot: LotId::default(), user: user(number), currency: Currency::JPY };
        let of = lots.get(place).map_or(nobodys, |lot| OfLot::from(*lot));
        match self.dice.below(18) {
            0..2 => Command::Plan(Plan {
                campaign,
                name: "春 \"spring\"".into(),
                budget: self.dice.amount(20_000),
                open: !self.dice.one_in(8),
                ends_at: self.dice.one_in(2).then(|| now.plus_ms(30 * 86_400_000)),
                per_user: self.dice.one_in(3).then_some(2_000),
                bound: (!self.dice.one_in(4)).then(|| Bound {
                    plugin: "charge-campaign".into(),
                    budget: campaign.to_string(),
                    lasts_days: 30,
                }),
            }),
            2 => Command::Lapse(of),
            3 => Command::Revoke(Revoke { of, reason: "a mistake".into() }),
            4 => Command::Release(of),
            5..9 => {
                let (lot, user, amount) = (LotId(self.id()), user(number), self.dice.amount(900));
                let (expires_at, reason) = (now.plus_ms(90_000_000_000), "spend_back".to_owned());
                let grant = Grant { lot, user, campaign, amount, usable_from: None, expires_at, reason };
                let mut payments: Vec<_> = memory.books.payments.iter().map(|(id, _)| *id).collect();
                payments.sort();
                let place = usize::try_from(self.dice.below(payments.len().max(1) as u128)).unwrap();
                let key = GiftKey {
                    plugin: PluginKey::of("charge-campaign"),
                    budget: campaign.to_string(),
                    event: EventId(Uuid::from_u128(self.dice.below(40))),
                };
                Command::Gift(Gift {
                    plugin: "charge-campaign".into(),
                    key,
                    payment: payments.get(place).copied(),
                    grant,
                })
            }
            9..11 => {
                let lots = &memory.books.lots;
                let mut gifts: Vec<_> = memory.books.gifts.iter().collect();
                gifts.sort_by_key(|(key, _)| (*key).clone());
                let place = usize::try_from(self.dice.below(gifts.len().max(1) as u128)).unwrap();
                match gifts.get(place) {
                    Some((key, gifted)) => {
                        let of = lots.get(&gifted.lot).map_or(nobodys, OfLot::from);
                        let payment = gifted.payment.unwrap_or_default();
                        Command::TakeBack(TakeBack { key: (*key).clone(), of, payment })
                    }
                    None => Command::Release(of),
                }
            }
            _ => {
                let usable_from = self.dice.one_in(4).then(|| now.plus_ms(40_000_000));
                let expires_at = now.plus_ms(
                    [600_000, 50_000_000, 90_000_000_000]
                        [usize::from(self.dice.one_in(3)) + usize::from(self.dice.one_in(2))],
                );
                let (lot, user, amount, reason) =
                    (LotId(self.id()), user(number), self.dice.amount(900), "円".to_owned());
                Command::Grant(Grant { lot, user, campaign, amount, usable_from, expires_at, reason })
            }
        }
    }

    /// A reversal of some credit that stands, if there is one.
    fn reversal(&mut self, memory: &Memory, number: u128) -> Command {
        let mut credits: Vec<_> = memory
            .books
            .references
            .iter()
            .filter(|(_, value)| matches!(value.state, ReferenceState::Credited | ReferenceState::Suspended))
            .map(|(key, value)| (key.reference.clone(), value.flow, value.user))
            .collect();
        credits.sort();
        let place = usize::try_from(self.dice.below(credits.len().max(1) as u128)).unwrap();
        let (of, flow, wallet) = credits.get(place).cloned().unwrap_or(("none".into(), None, None));
        Command::Reverse(ChargeReversal {
            plugin: plugin(),
            flow: flow.unwrap_or_default(),
            user: wallet.unwrap_or(user(number)),
            of,
            amount: self.dice.amount(60_000),
            reference: format!("back{}", self.dice.below(60)),
        })
    }

    /// Paid at once, held for long, or held for so short a time that it soon runs out.
    fn terms(&mut self) -> Terms {
        match self.dice.below(4) {
            0 => Terms::AtOnce,
            1 => Terms::Held { for_ms: 1_000 },
            _ => Terms::Held { for_ms: 30 * 86_400_000 },
        }
    }

    /// Something that is done with some payment's hold, if there is one; now and then it has run out.
    fn held(&mut self, memory: &Memory, number: u128) -> Command {
        let mut held: Vec<_> = memory.books.payments.iter().filter(|(_, payment)| payment.held() > 0).collect();
        held.sort_by_key(|(id, _)| **id);
        let place = usize::try_from(self.dice.below(held.len().max(1) as u128)).unwrap();
        let Some((_, payment)) = held.get(place) else { return self.refund(memory, number) };
        let of = OfPayment::from(*payment);
        match self.dice.below(8) {
            0 => Command::Void(of),
            1 => Command::Expire(of),
            2 => Command::Increase(Increase { of, amount: self.dice.amount(500) }),
            3 => Command::Collect(Collect { capture: CaptureId(self.id()), of, amount: None, last: false }),
            _ => {
                let amount = Some(self.dice.amount(1_000).minor);
                Command::Collect(Collect { capture: CaptureId(self.id()), of, amount, last: self.dice.one_in(3) })
            }
        }
    }

    /// The end of some review, whether it is open or not.
    fn ruling(&mut self, memory: &Memory) -> Command {
        let mut reviews: Vec<_> = memory.books.reviews.iter().map(|(_, review)| review).collect();
        reviews.sort_by_key(|review| review.id);
        let place = usize::try_from(self.dice.below(reviews.len().max(1) as u128)).unwrap();
        let nothing = Reviewed::Payment(OfPayment {
            payment: PaymentId::default(),
            payer: user(0),
            merchant: merchant(0),
            currency: Currency::JPY,
        });
        let of = reviews.get(place).map_or(nothing, |review| review.of);
        let operator = OperatorId(Uuid::from_u128(1));
        let ruling = match self.dice.below(4) {
            0 => Ruling::Declined(operator),
            1 => Ruling::Expired,
            _ => Ruling::Approved(operator),
        };
        Command::Conclude(Conclude { of, ruling })
    }

    /// A refund of some payment, if there is one.
    fn refund(&mut self, memory: &Memory, number: u128) -> Command {
        let mut payments: Vec<_> = memory.books.payments.iter().map(|(_, payment)| payment).collect();
        payments.sort_by_key(|payment| payment.id);
        let place = usize::try_from(self.dice.below(payments.len().max(1) as u128)).unwrap();
        let (payment, merchant, payer) =
            payments.get(place).map_or((PaymentId::default(), merchant(0), user(number)), |payment| {
                (payment.id, payment.merchant, payment.payer)
            });
        let amount = self.dice.amount(2_000);
        Command::Refund(GiveBack { refund: RefundId(self.id()), payment, merchant, payer, amount })
    }

    /// A file over what the books hold: most lines right, some wrong.
    fn settlement(&mut self, memory: &Memory) -> Command {
        let mut known: Vec<_> = memory
            .books
            .references
            .iter()
            .filter(|(_, value)| value.amount.minor > 0)
            .map(|(key, value)| (key.clone(), value.amount))
            .collect();
        known.sort_by(|one, other| one.0.cmp(&other.0));
        let mut lines = Vec::new();
        for (ReferenceKey { side, reference, .. }, amount) in known {
            if self.dice.one_in(3) {
                let amount = if self.dice.one_in(6) { Money::yen(amount.minor + 1) } else { amount };
                lines.push(SettlementLine { reference, side, amount, at: 0 });
            }
        }
        if self.dice.one_in(2) {
            let reference = format!("fee{}", self.dice.below(9));
            lines.push(SettlementLine { reference, side: Side::Fee, amount: Money::yen(110), at: 0 });
        }
        let file = FileId(self.id());
        Command::Settle(Settle { plugin: plugin(), file, digest: Digest::of(&file.bytes()), lines })
    }

    /// A flow's next step, or sometimes one for a version that it has left behind.
    fn step(&mut self, now: Timestamp) -> StepCommit {
        let place = usize::try_from(self.dice.below(self.flows.len() as u128 + 3)).unwrap();
        let (mut flow, expected) = match self.flows.get(place) {
            Some(flow) if self.dice.one_in(4) => (flow.clone(), Some(flow.version + 7)),
            Some(flow) => (flow.clone(), Some(flow.version)),
            None => {
                let authorisation =
                    Authorisation { user: user(0), at_most: Money::yen(50_000), expires_at: now.plus_ms(600_000) };
                let id = FlowId(self.id());
                (
                    Flow::open(
                        id,
                        PLUGIN,
                        (Digest::of(b"c"), Digest::of(b"s")),
                        Beginning::Charge,
                        authorisation,
                        "ja",
                        now,
                    ),
                    None,
                )
            }
        };
        flow.version = expected.unwrap_or(0) + 1;
        flow.steps += 1;
        flow.state = vec![7; 40];
        flow.changed_at = now;
        if self.dice.one_in(5) {
            flow.standing = Standing::Checking;
            flow.stuck = Some(Stuck { reason: "test".into(), since: now });
        }
        let key = format!("k{}", self.id());
        let effect = QueuedEffect {
            key: key.clone(),
            act: Act::Timer(5),
            due_at: now.plus_ms(1_000),
            repeat: Repeat::Safe,
            deadline: Timestamp(i64::MAX),
        };
        let arrival = Arrival { flow: flow.id, key: key.clone(), what: What::Rang, call: None, at: now };
        let answer = HttpAnswer { status: 200, headers: vec![], body: vec![1, 2] };
        StepCommit {
            expected,
            consumed: vec![],
            queued: vec![effect],
            cancelled: if self.dice.one_in(3) { vec![key] } else { vec!["shown".into()] },
            arrivals: vec![arrival],
            replies: self.dice.one_in(4).then_some((CallKey([3; 16]), answer)).into_iter().collect(),
            flow,
        }
    }

    /// Learns which steps were taken.
    pub(crate) fn learn(&mut self, batch: &[Work], memory: &Memory) {
        for step in batch.iter().filter_map(|work| work.step.as_ref()) {
            let stored = memory.books.flows.get(&step.flow.id).copied();
            if stored != Some(step.flow.version) {
                continue;
            }
            match self.flows.iter_mut().find(|flow| flow.id == step.flow.id) {
                Some(flow) => *flow = step.flow.clone(),
                None => self.flows.push(step.flow.clone()),
            }
        }
    }
}
