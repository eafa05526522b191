//! The closed table of paths: between which classes each command may move money. What is not here cannot be posted.

use serde::{Deserialize, Serialize};

use crate::accounts::Class;

/// What an entry was made for. The number is its code in rows and canonical encodings and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum EntryKind {
    /// A charge channel credited a wallet.
    ChargeCredit = 1,
    /// A partner took a credit back.
    ChargeReversal = 2,
    /// A user paid a merchant.
    Payment = 3,
    /// A merchant gave money back.
    Refund = 4,
    /// A user sent money to a user.
    Transfer = 5,
    /// A partner's settlement was matched.
    Settlement = 6,
    /// An operator closed a difference.
    WriteOff = 7,
    /// A user was verified: prepaid value became funds.
    Verification = 8,
    /// A user exchanged one currency for another.
    Exchange = 19,
}

impl EntryKind {
    /// Every kind, in order of code.
    pub const ALL: [EntryKind; 9] = [
        EntryKind::ChargeCredit,
        EntryKind::ChargeReversal,
        EntryKind::Payment,
        EntryKind::Refund,
        EntryKind::Transfer,
        EntryKind::Settlement,
        EntryKind::WriteOff,
        EntryKind::Verification,
        EntryKind::Exchange,
    ];

    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<EntryKind> {
        EntryKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Its code in rows and canonical encodings.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word in statements and documents.
    pub const fn word(self) -> &'static str {
        match self {
            EntryKind::ChargeCredit => "charge",
            EntryKind::ChargeReversal => "charge-reversal",
            EntryKind::Payment => "payment",
            EntryKind::Refund => "refund",
            EntryKind::Transfer => "transfer",
            EntryKind::Settlement => "settlement",
            EntryKind::WriteOff => "write-off",
            EntryKind::Verification => "verification",
            EntryKind::Exchange => "exchange",
        }
    }
}

/// Every path that exists: the command, the class debited, the class credited.
pub const PATHS: &[(EntryKind, Class, Class)] = &[
    (EntryKind::ChargeCredit, Class::Clearing, Class::Prepaid),
    (EntryKind::ChargeCredit, Class::Clearing, Class::Funds),
    (EntryKind::ChargeCredit, Class::Clearing, Class::Receivable),
    (EntryKind::ChargeCredit, Class::Clearing, Class::Suspense),
    (EntryKind::ChargeReversal, Class::Prepaid, Class::Clearing),
    (EntryKind::ChargeReversal, Class::Funds, Class::Clearing),
    (EntryKind::ChargeReversal, Class::Receivable, Class::Clearing),
    (EntryKind::ChargeReversal, Class::Suspense, Class::Clearing),
    (EntryKind::Payment, Class::Prepaid, Class::Payable),
    (EntryKind::Payment, Class::Funds, Class::Payable),
    (EntryKind::Refund, Class::Payable, Class::Prepaid),
    (EntryKind::Refund, Class::Payable, Class::Funds),
    (EntryKind::Refund, Class::Payable, Class::Receivable),
    (EntryKind::Transfer, Class::Funds, Class::Funds),
    (EntryKind::Transfer, Class::Funds, Class::Receivable),
    (EntryKind::Settlement, Class::Bank, Class::Clearing),
    (EntryKind::Settlement, Class::Clearing, Class::Bank),
    (EntryKind::Settlement, Class::Fees, Class::Bank),
    (EntryKind::WriteOff, Class::Bank, Class::Clearing),
    (EntryKind::WriteOff, Class::Clearing, Class::Bank),
    (EntryKind::WriteOff, Class::WriteOff, Class::Clearing),
    (EntryKind::WriteOff, Class::WriteOff, Class::Bank),
    (EntryKind::WriteOff, Class::Clearing, Class::Suspense),
    (EntryKind::WriteOff, Class::Bank, Class::Suspense),
    (EntryKind::Verification, Class::Prepaid, Class::Funds),
    (EntryKind::Exchange, Class::Funds, Class::FxPosition),
    (EntryKind::Exchange, Class::Funds, Class::Rounding),
    (EntryKind::Exchange, Class::FxPosition, Class::Funds),
    (EntryKind::Exchange, Class::FxPosition, Class::Receivable),
    (EntryKind::Exchange, Class::FxPosition, Class::Rounding),
];

/// Whether this command may debit the one class and credit the other.
pub fn allowed(kind: EntryKind, debit: Class, credit: Class) -> bool {
    PATHS.contains(&(kind, debit, credit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepaid_becomes_funds_only_by_verification() {
        for kind in EntryKind::ALL {
            assert_eq!(allowed(kind, Class::Prepaid, Class::Funds), kind == EntryKind::Verification, "{kind:?}");
        }
    }

    #[test]
    fn no_command_takes_money_from_a_wallet_to_the_bank() {
        for kind in EntryKind::ALL {
            for wallet in [Class::Prepaid, Class::Funds] {
                assert!(!allowed(kind, wallet, Class::Bank), "{kind:?}");
                assert!(!allowed(kind, wallet, Class::Prepaid), "{kind:?}");
            }
        }
    }

    #[test]
    fn only_charges_refunds_transfers_exchanges_and_verification_reach_a_wallet() {
        for (kind, _, credit) in PATHS {
            if matches!(credit, Class::Prepaid | Class::Funds) {
                assert!(matches!(
                    kind,
                    EntryKind::ChargeCredit
                        | EntryKind::Refund
                        | EntryKind::Transfer
                        | EntryKind::Exchange
                        | EntryKind::Verification
                ));
            }
        }
    }

    #[test]
    fn the_table_has_no_doubles() {
        let distinct: std::collections::BTreeSet<_> = PATHS.iter().collect();
        assert_eq!(distinct.len(), PATHS.len());
    }
}
