//! Arrangements with merchants: how far they may be behind, what they pay for the platform's work, and when they are closed with.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class};
use crate::books::Books;
use crate::ids::MerchantId;
use crate::money::Currency;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time;

/// A share of an amount from nought to a half, in millionths: 0.0324 is 32,400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(i32);

/// The text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a share; write a number from 0 to 0.5 with at most six decimals, such as 0.0324 for 3.24 in a hundred"
)]
pub struct ShareError(String);

const MILLION: i64 = 1_000_000;

impl Share {
    /// The share of so many millionths, if it can be one.
    pub fn of_millionths(millionths: i32) -> Option<Share> {
        (0..=500_000).contains(&millionths).then_some(Share(millionths))
    }

    /// Millionths.
    pub const fn millionths(self) -> i32 {
        self.0
    }

    /// This share of an amount that is nought or more, minor units: truncated, so that who pays it never pays more than the share.
    pub fn of(self, minor: i64) -> i64 {
        use rust_decimal::prelude::ToPrimitive as _;
        let share = Decimal::new(i64::from(self.0), 6);
        // At most half of 64 bits with six decimals: far within what a decimal holds exactly.
        let exact = Decimal::from(minor.max(0)) * share;
        exact.round_dp_with_strategy(0, RoundingStrategy::ToZero).to_i64().unwrap_or_default()
    }

    /// What of an amount that is nought or more is this share of the rest, minor units, truncated: of 110 with a tenth on top it is 10.
    pub fn within(self, minor: i64) -> i64 {
        let (minor, share) = (i128::from(minor.max(0)), i128::from(self.0));
        i64::try_from(minor * share / (i128::from(MILLION) + share)).unwrap_or_default()
    }
}

impl fmt::Display for Share {
    /// With as many decimals as it needs: `0.0324`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Decimal::new(i64::from(self.0), 6).normalize())
    }
}

impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Share, ShareError> {
        use rust_decimal::prelude::ToPrimitive as _;
        let wrong = || ShareError(text.chars().take(24).collect());
        let plain = text.len() <= 24 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let share = Decimal::from_str_exact(text).ok().filter(|_| plain).ok_or_else(wrong)?;
        let millionths = share.checked_mul(Decimal::from(MILLION)).filter(|found| found.fract().is_zero());
        millionths.and_then(|found| found.to_i32()).and_then(Share::of_millionths).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Share {
    type Error = ShareError;
    fn try_from(text: String) -> Result<Share, ShareError> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

/// When a merchant is closed with: at the beginning of which days in Japan. The number is its code in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum CutOff {
    /// Each day.
    Daily = 1,
    /// The 1st and the 16th.
    TwiceMonthly = 2,
    /// The 1st.
    #[default]
    Monthly = 3,
}

impl CutOff {
    /// Every cut-off, in order of code.
    pub const ALL: [CutOff; 3] = [CutOff::Daily, CutOff::TwiceMonthly, CutOff::Monthly];

    /// The cut-off with this code.
    pub fn from_code(code: i16) -> Option<CutOff> {
        CutOff::ALL.into_iter().find(|cut_off| cut_off.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The word in settings and answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            CutOff::Daily => "daily",
            CutOff::TwiceMonthly => "twice-monthly",
            CutOff::Monthly => "monthly",
        }
    }

    /// The last cut-off on or before a Japanese day, both in days since 1970-01-01.
    pub fn latest(self, day: i32) -> i32 {
        let of_month = time::day_of_month(day);
        match self {
            CutOff::Daily => day,
            CutOff::TwiceMonthly if of_month >= 16 => day - (of_month - 16),
            CutOff::TwiceMonthly | CutOff::Monthly => day - (of_month - 1),
        }
    }
}

/// What is agreed with a merchant in one currency, and what its next closing will need to know. Without a row everything is nought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Arrangement {
    /// How far below nought refunds and disputes may take what the merchant is owed, minor units.
    pub credit_limit: i64,
    /// What the platform keeps of what the merchant captures.
    pub fee_rate: Share,
    /// When it is closed with; the platform's own cut-off if it does not say.
    pub cut_off: Option<CutOff>,
    /// Kept by commits alone.
    pub tally: Tally,
}

/// How a merchant's account stood after its last closing, and what has moved on it since that is neither a capture nor a refund.
/// These two follow from the account's own sums, so that the commonest commands need not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// The Japanese day up to whose beginning the merchant was closed with, in days since 1970-01-01.
    pub closed_to: i32,
    /// The last entry of the journal that a closing has taken in, its own entry included.
    pub through: i64,
    /// What was left on the account after the last closing, minor units; below nought what was carried forward.
    pub left: i64,
    /// The account's posted credits after the last closing, minor units.
    pub credits: i64,
    /// Its posted debits, minor units.
    pub debits: i64,
    /// What disputes have taken since, minor units.
    pub disputed: i64,
    /// What disputes that were won have brought back since, minor units.
    pub returned: i64,
    /// What adjustments have brought since, minor units.
    pub adjusted_up: i64,
    /// What adjustments have taken since, minor units.
    pub adjusted_down: i64,
    /// How far fees took the account below its credit limit at the last closing, minor units.
    pub overdrawn: i64,
}

/// An operator's terms for a merchant, as they enter the commit queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrange {
    /// With whom.
    pub merchant: MerchantId,
    /// In which currency.
    pub currency: Currency,
    /// How far below nought refunds and disputes may take what it is owed, minor units, nought or more.
    pub credit_limit: i64,
    /// What the platform keeps of what it captures from now on closed.
    pub fee_rate: Share,
    /// When it is closed with; the platform's own cut-off if it does not say.
    pub cut_off: Option<CutOff>,
}

/// Sets the terms. Errors: [`Refusal::CreditInUse`] if the merchant is further behind than the new limit lets it be.
pub fn arrange(books: &mut Books, command: &Arrange) -> Result<Arrangement, Refusal> {
    let Arrange { merchant, currency, credit_limit, fee_rate, cut_off } = *command;
    let known = books.merchants.get(&merchant).ok_or(Refusal::MerchantNotFound)?;
    if !known.currencies.contains(&currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    let before = books.arrangement(merchant, currency);
    let available = books.account(AccountKey::payable(merchant, currency)).available();
    if available < -credit_limit && credit_limit < before.credit_limit {
        return Err(Refusal::CreditInUse);
    }
    let arrangement = Arrangement { credit_limit, fee_rate, cut_off, tally: before.tally };
    books.arrangements.put((merchant, currency), arrangement);
    Ok(arrangement)
}

impl Books {
    /// What is agreed with a merchant in this currency.
    pub fn arrangement(&self, merchant: MerchantId, currency: Currency) -> Arrangement {
        self.arrangements.get(&(merchant, currency)).copied().unwrap_or_default()
    }

    /// The least that an entry of this kind may leave on an account, after what is pending. What a merchant is owed may fall as far
    /// below nought as its credit; a closing takes fees also from a merchant that has less.
    pub fn floor(&self, kind: EntryKind, key: AccountKey) -> Option<i64> {
        match (key.class, kind) {
            (Class::Payable, EntryKind::Closing) => None,
            (Class::Payable, _) => Some(-self.arrangement(MerchantId(key.owner), key.currency).credit_limit),
            (class, _) => class.floor(),
        }
    }

    /// How much refunds and disputes may take from a merchant: what it is owed, and its credit.
    pub(crate) fn can_give(&self, merchant: MerchantId, currency: Currency) -> i64 {
        let payable = self.account(AccountKey::payable(merchant, currency));
        payable.available().saturating_add(self.arrangement(merchant, currency).credit_limit)
    }

    /// Counts on the tally of a merchant.
    pub(crate) fn tally(&mut self, merchant: MerchantId, currency: Currency, count: impl FnOnce(&mut Tally)) {
        let mut arrangement = self.arrangement(merchant, currency);
        count(&mut arrangement.tally);
        self.arrangements.put((merchant, currency), arrangement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_truncated_and_reads_back_as_it_was_written() {
        let share: Share = "0.0324".parse().unwrap();
        assert_eq!((share.millionths(), share.to_string()), (32_400, "0.0324".to_owned()));
        assert_eq!((share.of(1_000), share.of(999), share.of(30), share.of(0)), (32, 32, 0, 0));
        assert_eq!(share.of(i64::MAX / 4), 74_709_313_498_523_684);
        assert_eq!("0.5".parse::<Share>().unwrap().of(3), 1);
        assert_eq!(
            ("0".parse::<Share>().unwrap(), "0.100000".parse::<Share>().unwrap().to_string()),
            (Share(0), "0.1".into())
        );
        for wrong in ["", "-0.1", "0.6", "1", "0.0000001", "3.24 %", "1e-2", ".", "0,1"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn cut_offs_fall_on_the_days_that_their_names_say() {
        // 2018-09-25 and the end of a leap February.
        let (day, leap) = (17_799, 18_321);
        assert_eq!(time::date_of_day(day), "2018-09-25");
        assert_eq!(time::date_of_day(leap), "2020-02-29");
        let dates = |day: i32| CutOff::ALL.map(|cut_off| time::date_of_day(cut_off.latest(day)));
        assert_eq!(dates(day), ["2018-09-25", "2018-09-16", "2018-09-01"]);
        assert_eq!(dates(leap), ["2020-02-29", "2020-02-16", "2020-02-01"]);
        assert_eq!(dates(leap + 1), ["2020-03-01"; 3]);
        assert_eq!(dates(leap + 15), ["2020-03-15", "2020-03-01", "2020-03-01"]);
        for cut_off in CutOff::ALL {
            assert_eq!(CutOff::from_code(cut_off.code()), Some(cut_off));
        }
    }
}
