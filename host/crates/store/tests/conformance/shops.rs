//! The history's part of what operators do with merchants, and of payers who are asked to prove who they are.

use koban_domain::arrangements::{Arrange, CutOff, Share};
use koban_domain::captures::OfPayment;
use koban_domain::closings::{MakeClosing, PayOut};
use koban_domain::disputes::{Dispute, EndDispute, OpenDispute, Outcome};
use koban_domain::ids::{ClosingId, DisputeId, OperatorId, PaymentId, StepUpId};
use koban_domain::ledger::{Command, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::step_ups::Challenge;
use uuid::Uuid;

use crate::history::History;
use crate::world::{MERCHANTS, Memory, merchant, user};

/// The first day of a history's time, in days since 1970-01-01.
const FIRST_DAY: i32 = 17_799;

impl History {
    /// Terms, disputes, closings and payouts, right and wrong.
    pub(crate) fn with_merchants(&mut self, memory: &Memory) -> Command {
        let operator = OperatorId(Uuid::from_u128(1));
        let (shop, currency) = (merchant(self.dice.below(MERCHANTS)), Currency::JPY);
        match self.dice.below(10) {
            0 => {
                let fee_rate = i32::try_from(self.dice.below(100_000)).unwrap();
                Command::Arrange(Arrange {
                    merchant: shop,
                    currency,
                    credit_limit: self.dice.amount(3_000).minor,
                    fee_rate: Share::of_millionths(fee_rate).unwrap(),
                    cut_off: [None, Some(CutOff::Daily), Some(CutOff::TwiceMonthly)][self.place(3)],
                })
            }
            1..4 => {
                let mut payments: Vec<_> = memory.books.payments.iter().map(|(_, payment)| payment).collect();
                payments.sort_by_key(|payment| payment.id);
                let place = self.place(payments.len());
                let nothing = OfPayment { payment: PaymentId::default(), payer: user(0), merchant: shop, currency };
                Command::OpenDispute(OpenDispute {
                    dispute: DisputeId(self.id()),
                    of: payments.get(place).map_or(nothing, |payment| OfPayment::from(*payment)),
                    amount: self.dice.amount(900),
                    reason: "never came \"円\\".into(),
                    evidence: self.dice.one_in(2).then(|| "case \u{7} 117".to_owned()),
                    operator,
                    days: self.dice.one_in(2).then_some(3),
                })
            }
            4..6 => {
                let mut disputes: Vec<&Dispute> = memory.books.disputes.iter().map(|(_, dispute)| dispute).collect();
                disputes.sort_by_key(|dispute| dispute.id);
                let place = self.place(disputes.len());
                let nothing = OfPayment { payment: PaymentId::default(), payer: user(0), merchant: shop, currency };
                let (dispute, of) =
                    disputes.get(place).map_or((DisputeId::default(), nothing), |dispute| (dispute.id, dispute.of));
                let outcome = [Outcome::Won(operator), Outcome::Lost(operator), Outcome::RanOut][self.place(3)];
                Command::EndDispute(EndDispute { dispute, of, outcome })
            }
            6..8 => {
                let until = FIRST_DAY + i32::try_from(self.dice.below(5)).unwrap();
                Command::MakeClosing(MakeClosing { closing: ClosingId(self.id()), merchant: shop, currency, until })
            }
            _ => {
                let mut closings: Vec<_> = memory.books.closings.iter().map(|(id, _)| *id).collect();
                closings.sort();
                let place = self.place(closings.len());
                let known = closings.get(place).and_then(|id| memory.books.closings.get(id));
                let closing = known.map_or_else(ClosingId::default, |closing| closing.id);
                let reference = format!("bank \"{}\\ 円", self.dice.below(4));
                let merchant = known.map_or(shop, |closing| closing.merchant);
                Command::PayOut(PayOut { closing, merchant, currency, reference, operator })
            }
        }
    }

    /// Work of a payer whom a rule asks to prove who they are: a challenge opens, or one is named that nobody has confirmed.
    pub(crate) fn challenged(&mut self, memory: &Memory, work: Work) -> Work {
        let mut known: Vec<StepUpId> = memory.books.step_ups.iter().map(|(id, _)| *id).collect();
        known.sort();
        let place = self.place(known.len());
        let proof = known.get(place).copied().filter(|_| self.dice.one_in(3));
        let challenge = Challenge { user: user(0), payee: user(1).0, amount: Money::yen(7), proof };
        let refused = proof.is_none().then_some(Refusal::StepUpRequired);
        Work { challenge: Some(challenge), refused, ..work }
    }

    fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.dice.below(length.max(1) as u128)).unwrap()
    }
}
