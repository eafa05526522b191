//! Verifying a user: the one way in which prepaid value becomes funds.

use serde::{Deserialize, Serialize};

use crate::books::{Books, Postings, User};
use crate::ids::{OperatorId, UserId};
use crate::limits::WalletKind;
use crate::money::Currency;
use crate::outcomes::Refusal;
use crate::paths::EntryKind;

/// An operator's decision that a user is who they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Who was verified.
    pub user: UserId,
    /// Who decided.
    pub operator: OperatorId,
}

/// Makes the wallet a funds-transfer account and converts its prepaid value, all at once; what is held stays what it is. Wallets are in yen.
pub fn verify(books: &mut Books, command: &Verify) -> Result<(Postings, i64), Refusal> {
    let wallet = books.wallet(command.user, Currency::JPY)?;
    if wallet.user.kind == WalletKind::Funds {
        return Err(Refusal::AlreadyVerified);
    }

    // After this point the verification must succeed.
    let converted = wallet.prepaid.available();
    let mut postings = Postings::default();
    postings.post(books, EntryKind::Verification, wallet.prepaid.key, wallet.funds.key, converted)?;
    books.users.put(wallet.user.id, User { kind: WalletKind::Funds, ..wallet.user });
    Ok((postings, converted))
}
