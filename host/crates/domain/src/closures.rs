//! Closing an account: nothing may be open on it, what it held is set aside for its owner, and bonus is forfeited.

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::accounts::{AccountKey, Class};
use crate::bonus;
use crate::books::{Books, Postings, User, Wallet};
use crate::ids::UserId;
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time::Timestamp;

/// An operator's decision to close an account, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// Whose.
    pub user: UserId,
    /// In which currencies the user may have something.
    pub currencies: Vec<Currency>,
    /// Why.
    pub reason: String,
}

/// Sets aside what the account holds of money, gives its bonus back to the platform, and closes it. Errors: [`Refusal::RepaymentDue`] while something is owed,
/// [`Refusal::HoldsOpen`] while something is held.
pub fn close(books: &mut Books, command: &Close, now: Timestamp) -> Result<(Postings, Vec<Money>), Refusal> {
    let user = *books.users.get(&command.user).ok_or(Refusal::UserNotFound)?;
    if user.access == Access::Closed {
        return Err(Refusal::AccountClosed);
    }
    let wallets: Vec<_> = command
        .currencies
        .iter()
        .map(|currency| books.wallet(command.user, *currency))
        .collect::<Result<_, Refusal>>()?;
    if wallets.iter().any(|wallet| wallet.receivable.balance() > 0) {
        return Err(Refusal::RepaymentDue);
    }
    if wallets.iter().any(Wallet::has_pending) {
        return Err(Refusal::HoldsOpen);
    }

    // After this point the closure must succeed.
    let mut postings = Postings::default();
    let mut set_aside = Vec::new();
    for wallet in wallets {
        let currency = wallet.prepaid.key.currency;
        let kept = AccountKey::platform(Class::ClosedBalances, currency);
        for account in [wallet.prepaid, wallet.funds] {
            postings.post(books, EntryKind::Closure, account.key, kept, account.available())?;
        }
        let money = wallet.prepaid.available() + wallet.funds.available();
        if money > 0 {
            set_aside.push(Money::new(money, currency));
        }
        bonus::forfeit(books, &mut postings, (command.user, currency), now)?;
    }
    books.users.put(user.id, User { access: Access::Closed, ..user });
    Ok((postings, set_aside))
}
