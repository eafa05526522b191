//! Closings: what a merchant captured, gave back and pays since the last one, in one final sum; and how that sum is paid out.
//!
//! A closing takes in every entry on the merchant's account that the journal has before it and that no closing before took in. The
//! lane orders all commits, so each capture is in exactly one.

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class};
use crate::arrangements::{Share, Tally};
use crate::books::{Books, Postings};
use crate::ids::{ClosingId, MerchantId, OperatorId};
use crate::money::Currency;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time::Timestamp;

/// Japan's consumption tax on fees: from which Japanese day, in days since 1970-01-01, which share. Source: Consumption Tax Act,
/// article 29, and its amendments in force from 1997-04-01, 2014-04-01 and 2019-10-01, local consumption tax included.
const CONSUMPTION_TAX: [(i32, i32); 3] = [(9_952, 50_000), (16_161, 80_000), (18_170, 100_000)];

/// The tax on fees of a period that ends with the beginning of this Japanese day.
pub fn tax_rate(until: i32) -> Share {
    let last = CONSUMPTION_TAX.iter().rev().find(|(from, _)| *from < until);
    last.and_then(|(_, millionths)| Share::of_millionths(*millionths)).unwrap_or_default()
}

/// How a closing stands. The number is its code in rows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ClosingState {
    /// It was made; what is due has not been paid out.
    Closed = 1,
    /// What was due was paid out.
    Paid = 2,
}

impl ClosingState {
    /// The state with this code.
    pub fn from_code(code: i16) -> Option<ClosingState> {
        [ClosingState::Closed, ClosingState::Paid].into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            ClosingState::Closed => "closed",
            ClosingState::Paid => "paid",
        }
    }
}

/// A closing. All amounts are minor units of its currency, and
/// `carried + captured - refunded - disputed + returned + adjusted - fee - tax = due + left`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Its id.
    pub id: ClosingId,
    /// With whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// The Japanese day with whose beginning the period ends, in days since 1970-01-01. One closing for each.
    pub until: i32,
    /// The last entry that the closing before took in.
    pub after: i64,
    /// The last entry that this one takes in.
    pub through: i64,
    /// What was left by the closing before; below nought what it carried forward.
    pub carried: i64,
    /// What was captured or paid at once.
    pub captured: i64,
    /// What was refunded.
    pub refunded: i64,
    /// What disputes set aside.
    pub disputed: i64,
    /// What disputes that were won brought back.
    pub returned: i64,
    /// What adjustments brought, less what they took.
    pub adjusted: i64,
    /// The fee on what was captured, truncated.
    pub fee: i64,
    /// The consumption tax on the fee, truncated.
    pub tax: i64,
    /// At which rate the fee was worked out.
    pub fee_rate: Share,
    /// At which rate the tax was.
    pub tax_rate: Share,
    /// What the merchant is to be paid.
    pub due: i64,
    /// What stays on its account: nought, or below nought what the next closing begins with.
    pub left: i64,
    /// How it stands.
    pub state: ClosingState,
    /// When it was made.
    pub at: Timestamp,
    /// Under which reference of the bank it was paid.
    pub reference: Option<String>,
    /// Who said so.
    pub operator: Option<OperatorId>,
    /// When.
    pub paid_at: Option<Timestamp>,
}

/// A wish to close a period with a merchant, as it enters the commit queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeClosing {
    /// The closing to be.
    pub closing: ClosingId,
    /// With whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// The Japanese day with whose beginning the period ends, in days since 1970-01-01.
    pub until: i32,
}

/// Closes a period: what is owed since the last closing, less fee and tax, is due to the merchant, or carried forward if it is below
/// nought. `posted` is the last entry of the journal. A period in which nothing moved is closed without leaving a closing.
pub fn make(
    books: &mut Books,
    command: &MakeClosing,
    posted: i64,
    now: Timestamp,
) -> Result<(Postings, Option<Closing>), Refusal> {
    let MakeClosing { merchant, currency, until, .. } = *command;
    if !books.merchants.contains(&merchant) {
        return Err(Refusal::MerchantNotFound);
    }
    let arrangement = books.arrangement(merchant, currency);
    let tally = arrangement.tally;
    if until <= tally.closed_to {
        return Err(Refusal::PeriodClosed);
    }
    if now.jst_day() < until {
        return Err(Refusal::PeriodNotOver);
    }
    let key = AccountKey::payable(merchant, currency);
    let payable = books.account(key);
    let nothing = payable.credits_posted == tally.credits && payable.debits_posted == tally.debits;
    if nothing {
        books.tally(merchant, currency, |tally| tally.closed_to = until);
        return Ok((Postings::default(), None));
    }

    // After this point the closing must be made.
    let captured = payable.credits_posted - tally.credits - tally.returned - tally.adjusted_up;
    let refunded = payable.debits_posted - tally.debits - tally.disputed - tally.adjusted_down;
    let (fee_rate, tax_rate) = (arrangement.fee_rate, tax_rate(until));
    let fee = fee_rate.of(captured);
    let tax = tax_rate.of(fee);
    let due = (payable.available() - fee - tax).max(0);
    let mut postings = Postings::default();
    let kind = EntryKind::Closing;
    postings.post(books, kind, key, AccountKey::platform(Class::FeeIncome, currency), fee)?;
    postings.post(books, kind, key, AccountKey::platform(Class::ConsumptionTax, currency), tax)?;
    postings.post(books, kind, key, AccountKey { class: Class::PayoutDue, ..key }, due)?;
    let after = books.account(key);
    let closing = Closing {
        id: command.closing,
        merchant,
        currency,
        until,
        after: tally.through,
        through: posted,
        carried: tally.left,
        captured,
        refunded,
        disputed: tally.disputed,
        returned: tally.returned,
        adjusted: tally.adjusted_up - tally.adjusted_down,
        fee,
        tax,
        fee_rate,
        tax_rate,
        due,
        left: after.balance(),
        state: ClosingState::Closed,
        at: now,
        reference: None,
        operator: None,
        paid_at: None,
    };
    books.tally(merchant, currency, |tally| {
        *tally = Tally {
            closed_to: until,
            through: if postings.is_empty() { posted } else { posted + 1 },
            left: after.balance(),
            credits: after.credits_posted,
            debits: after.debits_posted,
            overdrawn: (-arrangement.credit_limit - after.available()).max(0),
            ..Tally::default()
        };
    });
    books.closings.put(closing.id, closing.clone());
    Ok((postings, Some(closing)))
}

/// What an operator saw on the bank's statement, as it enters the commit queue. Merchant and currency are the closing's own: the
/// store loads by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayOut {
    /// Which closing was paid.
    pub closing: ClosingId,
    /// To whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// The bank's reference of the transfer, unique for ever.
    pub reference: String,
    /// Who says so.
    pub operator: OperatorId,
}

/// Takes the whole of what was due from the bank, once for each closing and each reference.
pub fn pay_out(books: &mut Books, command: &PayOut, now: Timestamp) -> Result<(Postings, Closing), Refusal> {
    let known = books.closings.get(&command.closing);
    let known = known.filter(|known| (known.merchant, known.currency) == (command.merchant, command.currency));
    let mut closing = known.ok_or(Refusal::ClosingNotFound)?.clone();
    if closing.state == ClosingState::Paid || closing.due == 0 {
        return Err(Refusal::ClosingPaid);
    }
    if books.payout_references.contains(&command.reference) {
        return Err(Refusal::PayoutReferenceUsed);
    }

    // After this point the payout must succeed.
    let due = AccountKey { class: Class::PayoutDue, ..AccountKey::payable(closing.merchant, closing.currency) };
    let bank = AccountKey::platform(Class::Bank, closing.currency);
    let mut postings = Postings::default();
    postings.post(books, EntryKind::Payout, due, bank, closing.due)?;
    closing.state = ClosingState::Paid;
    closing.reference = Some(command.reference.clone());
    (closing.operator, closing.paid_at) = (Some(command.operator), Some(now));
    books.payout_references.put(command.reference.clone(), closing.id);
    books.closings.put(closing.id, closing.clone());
    Ok((postings, closing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn the_tax_of_a_period_is_that_of_its_last_day() {
        let rate = |date: &str| tax_rate(time::day_of_date(date).unwrap()).to_string();
        assert_eq!([rate("2014-04-01"), rate("2014-04-02"), rate("2018-10-01")], ["0.05", "0.08", "0.08"]);
        assert_eq!([rate("2019-10-01"), rate("2019-10-02"), rate("2026-12-01")], ["0.08", "0.1", "0.1"]);
        assert_eq!(rate("1990-01-01"), "0");
    }
}
