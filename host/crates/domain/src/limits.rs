//! Limits as data with effective dates, and the counters that are loaded and written in the commit they guard.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::time::Timestamp;

/// Which account a wallet is: before or after identity verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum WalletKind {
    /// Not verified: a prepaid payment instrument.
    Prepaid = 1,
    /// Verified: a funds-transfer account.
    Funds = 2,
}

impl WalletKind {
    /// The word in facts, statements and rows.
    pub const fn word(self) -> &'static str {
        match self {
            WalletKind::Prepaid => "prepaid",
            WalletKind::Funds => "funds",
        }
    }
}

/// What a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Action {
    /// Money coming into the wallet from outside.
    Charge = 1,
    /// Paying merchants.
    Pay = 2,
    /// Sending to other users.
    Send = 3,
    /// What the wallet holds.
    Hold = 4,
    /// Money that its owner takes out.
    Withdraw = 5,
}

/// Over what a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Window {
    /// One dealing, or for `hold` the balance after it.
    Once = 1,
    /// A calendar day in Japan.
    Day = 2,
    /// A calendar month in Japan.
    Month = 3,
}

/// One dated limit. Of several rows for the same thing, the latest that has begun applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// For which wallets.
    pub wallet: WalletKind,
    /// About what.
    pub action: Action,
    /// Over what.
    pub window: Window,
    /// The most allowed.
    pub amount: Money,
    /// From when on.
    pub from: Timestamp,
}

/// The limits that the service of 2019-2020 published (domain notes, section 5.1); operators add later rows.
pub fn published() -> Vec<Limit> {
    let row =
        |wallet, action, window, yen| Limit { wallet, action, window, amount: Money::yen(yen), from: Timestamp(0) };
    vec![
        row(WalletKind::Prepaid, Action::Hold, Window::Once, 100_000),
        row(WalletKind::Prepaid, Action::Charge, Window::Once, 100_000),
        row(WalletKind::Prepaid, Action::Pay, Window::Once, 100_000),
        row(WalletKind::Funds, Action::Hold, Window::Once, 1_000_000),
        row(WalletKind::Funds, Action::Charge, Window::Once, 500_000),
        row(WalletKind::Funds, Action::Pay, Window::Once, 1_000_000),
        row(WalletKind::Funds, Action::Send, Window::Day, 100_000),
        row(WalletKind::Funds, Action::Withdraw, Window::Day, 100_000),
    ]
}

/// A counter: whose, about what, over which day or month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CounterKey {
    /// Whose.
    pub user: UserId,
    /// About what.
    pub action: Action,
    /// Day or month.
    pub window: Window,
    /// The day since 1970 or the month since year 0, in Japan.
    pub period: i32,
    /// In which currency.
    pub currency: Currency,
}

impl CounterKey {
    /// The rule's code in rows: ten times the action and the window.
    pub fn rule(&self) -> i16 {
        i16::from(self.action as u8) * 10 + i16::from(self.window as u8)
    }
}

/// The counters that a dealing of this kind may need at this time.
pub fn counters(user: UserId, action: Action, currency: Currency, now: Timestamp) -> [CounterKey; 2] {
    [(Window::Day, now.jst_day()), (Window::Month, now.jst_month())].map(|(window, period)| CounterKey {
        user,
        action,
        window,
        period,
        currency,
    })
}

/// The limits in force, answered by wallet, action and window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits(pub Vec<Limit>);

impl Limits {
    /// The most allowed at this time, in minor units; `None` if nothing limits it.
    pub fn most(
        &self,
        wallet: WalletKind,
        action: Action,
        window: Window,
        currency: Currency,
        now: Timestamp,
    ) -> Option<i64> {
        self.0
            .iter()
            .filter(|limit| {
                limit.wallet == wallet
                    && limit.action == action
                    && limit.window == window
                    && limit.amount.currency == currency
                    && limit.from <= now
            })
            .max_by_key(|limit| limit.from)
            .map(|limit| limit.amount.minor)
    }

    /// Whether a dealing fits; `used` gives what day and month have seen already.
    pub fn check(
        &self,
        wallet: WalletKind,
        action: Action,
        amount: Money,
        now: Timestamp,
        used: impl Fn(CounterKey) -> i64,
        user: UserId,
    ) -> Result<(), Refusal> {
        let most = |window| self.most(wallet, action, window, amount.currency, now);
        if most(Window::Once).is_some_and(|most| amount.minor > most) {
            return Err(Refusal::AmountLimit);
        }
        for (key, refusal) in
            counters(user, action, amount.currency, now).into_iter().zip([Refusal::DayLimit, Refusal::MonthLimit])
        {
            if most(key.window).is_some_and(|most| used(key).saturating_add(amount.minor) > most) {
                return Err(refusal);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_row_that_has_begun_applies() {
        let mut limits = Limits(published());
        let raise = Timestamp(1_577_804_400_000); // 2020-01-01 in Japan
        limits.0.push(Limit {
            wallet: WalletKind::Funds,
            action: Action::Send,
            window: Window::Day,
            amount: Money::yen(1_000_000),
            from: raise,
        });
        let most = |now| limits.most(WalletKind::Funds, Action::Send, Window::Day, Currency::JPY, now);
        assert_eq!(most(raise.plus_ms(-1)), Some(100_000));
        assert_eq!(most(raise), Some(1_000_000));
    }

    #[test]
    fn day_comes_before_month_and_exactly_the_limit_still_fits() {
        let user = UserId::default();
        let row = |window, yen| Limit {
            wallet: WalletKind::Funds,
            action: Action::Send,
            window,
            amount: Money::yen(yen),
            from: Timestamp(0),
        };
        let limits = Limits(vec![row(Window::Day, 100), row(Window::Month, 150)]);
        let check = |amount, day, month| {
            let used = move |key: CounterKey| if key.window == Window::Day { day } else { month };
            limits.check(WalletKind::Funds, Action::Send, Money::yen(amount), Timestamp(0), used, user)
        };
        assert_eq!(check(100, 0, 0), Ok(()));
        assert_eq!(check(51, 50, 100), Err(Refusal::DayLimit));
        assert_eq!(check(51, 49, 100), Err(Refusal::MonthLimit));
        assert_eq!(check(50, 0, 100), Ok(()));
    }
}
