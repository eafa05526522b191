//! What tests do with the shop beside payments: terms, disputes, closings, payouts; and what must hold of them after every commit.

use std::collections::BTreeMap;

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::arrangements::Arrange;
use koban_domain::closings::{Closing, ClosingState, MakeClosing, PayOut};
use koban_domain::disputes::{Dispute, DisputeState, EndDispute, OpenDispute, Outcome};
use koban_domain::ids::{ClosingId, DisputeId, PaymentId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use uuid::Uuid;

use crate::world::{OPERATOR, SHOP, World};

/// The Japanese day of the tests' noon, 2018-09-25, in days since 1970-01-01.
pub(crate) const TODAY: i32 = 17_799;

pub(crate) fn dispute(number: u128) -> DisputeId {
    DisputeId(Uuid::from_u128(0x1_0000 + number))
}

pub(crate) fn closing(until: i32) -> ClosingId {
    ClosingId(Uuid::from_u128(0x2_0000 + u128::try_from(until).unwrap()))
}

/// What the shop's contested amounts, or closings, stand on.
pub(crate) fn of_shop(class: Class) -> AccountKey {
    AccountKey { class, ..AccountKey::payable(SHOP, Currency::JPY) }
}

pub(crate) fn terms(credit_limit: i64, fee_rate: &str) -> Arrange {
    let (merchant, currency, fee_rate) = (SHOP, Currency::JPY, fee_rate.parse().unwrap());
    Arrange { merchant, currency, credit_limit, fee_rate, cut_off: None }
}

pub(crate) fn close(until: i32) -> MakeClosing {
    MakeClosing { closing: closing(until), merchant: SHOP, currency: Currency::JPY, until }
}

pub(crate) fn payout(until: i32, reference: &str) -> PayOut {
    let (merchant, currency, reference) = (SHOP, Currency::JPY, reference.to_owned());
    PayOut { closing: closing(until), merchant, currency, reference, operator: OPERATOR }
}

impl World {
    pub(crate) fn arrange(&mut self, credit_limit: i64, fee_rate: &str) {
        self.does(Command::Arrange(terms(credit_limit, fee_rate))).unwrap();
    }

    /// Contests so much of a payment, under the payment's number.
    pub(crate) fn contest(&mut self, number: u128, yen: i64) -> Result<Dispute, Refusal> {
        self.contest_as(number, number, yen)
    }

    pub(crate) fn contest_as(&mut self, name: u128, number: u128, yen: i64) -> Result<Dispute, Refusal> {
        let command = OpenDispute {
            dispute: dispute(name),
            of: self.of(number),
            amount: Money::yen(yen),
            reason: "the goods never came".into(),
            evidence: Some("case 117".into()),
            operator: OPERATOR,
            days: None,
        };
        self.does(Command::OpenDispute(command)).map(dispute_of)
    }

    pub(crate) fn end_dispute(&mut self, number: u128, outcome: Outcome) -> Result<Dispute, Refusal> {
        let of = self.shelf.books.disputes.get(&dispute(number)).unwrap().of;
        self.does(Command::EndDispute(EndDispute { dispute: dispute(number), of, outcome })).map(dispute_of)
    }

    /// Closes with the shop; none if nothing had moved.
    pub(crate) fn close(&mut self, until: i32) -> Result<Option<Closing>, Refusal> {
        self.does(Command::MakeClosing(close(until))).map(|answer| match answer {
            Answer::Closing(closing) => closing.map(|closing| *closing),
            other => panic!("no closing: {other:?}"),
        })
    }

    pub(crate) fn pay_out(&mut self, until: i32, reference: &str) -> Result<Answer, Refusal> {
        self.does(Command::PayOut(payout(until, reference)))
    }

    /// A merchant is behind by no more than was agreed and fees took beyond it; what is contested and due is what disputes and closings say;
    /// and each closing's figures make what it left.
    pub(crate) fn check_shop(&self) {
        let books = &self.shelf.books;
        let agreed = books.arrangement(SHOP, Currency::JPY);
        let available = books.account(AccountKey::payable(SHOP, Currency::JPY)).available();
        assert!(available >= -agreed.credit_limit - agreed.tally.overdrawn, "{available} and {agreed:?}");
        let mut contested: BTreeMap<PaymentId, i64> = BTreeMap::new();
        for (_, dispute) in books.disputes.iter().filter(|(_, dispute)| dispute.state == DisputeState::Open) {
            *contested.entry(dispute.of.payment).or_default() += dispute.amount.minor;
        }
        assert_eq!(self.balance(of_shop(Class::Disputed)), contested.values().sum::<i64>());
        for (id, payment) in books.payments.iter() {
            assert_eq!(payment.disputed, contested.get(id).copied().unwrap_or_default(), "{payment:?}");
        }
        let mut closings: Vec<&Closing> = books.closings.iter().map(|(_, closing)| closing).collect();
        closings.sort_by_key(|closing| closing.until);
        for pair in closings.windows(2) {
            assert_eq!(pair[0].left, pair[1].carried);
            assert!(pair[0].through <= pair[1].after && pair[1].after <= pair[1].through, "{pair:?}");
        }
        for closing in &closings {
            let Closing { carried, captured, refunded, disputed, returned, adjusted, fee, tax, due, left, .. } =
                **closing;
            assert_eq!(carried + captured - refunded - disputed + returned + adjusted - fee - tax, due + left);
            assert!(due >= 0 && left <= 0 && captured >= 0 && refunded >= 0, "{closing:?}");
        }
        let open = closings.iter().filter(|closing| closing.state == ClosingState::Closed);
        assert_eq!(self.balance(of_shop(Class::PayoutDue)), open.map(|closing| closing.due).sum::<i64>());
    }
}

fn dispute_of(answer: Answer) -> Dispute {
    match answer {
        Answer::Contested(dispute) | Answer::Adjudged(dispute) => *dispute,
        other => panic!("no dispute: {other:?}"),
    }
}
