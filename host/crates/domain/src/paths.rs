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
    /// An account was closed: what it held is set aside.
    Closure = 17,
    /// Two operators corrected the books.
    Adjustment = 18,
    /// An amount is held for a merchant.
    Authorisation = 9,
    /// A merchant took from what is held for it.
    Capture = 10,
    /// A merchant let go of what was held for it.
    Void = 11,
    /// A hold ran out.
    HoldExpiry = 12,
    /// An amount is held for a review, or let go after it.
    Review = 20,
    /// A user exchanged one currency for another.
    Exchange = 19,
    /// A campaign granted bonus.
    BonusGrant = 13,
    /// What was left of a lot of bonus ended with its time.
    BonusExpiry = 14,
    /// An operator took back what was left of a lot of bonus.
    BonusRevocation = 15,
    /// A contested amount was set aside, or given to one of the two.
    Dispute = 21,
    /// A merchant was closed with.
    Closing = 22,
    /// A merchant was paid what was due.
    Payout = 23,
    /// A flow set an amount aside for a bill.
    BillHold = 24,
    /// A biller took what was set aside for it.
    Bill = 25,
    /// What was set aside for a bill was let go.
    BillRelease = 26,
    /// A flow set an amount aside for its owner to take out.
    WithdrawalHold = 27,
    /// A partner has given what was set aside to its owner.
    Withdrawal = 28,
    /// What was set aside to be taken out was let go.
    WithdrawalRelease = 29,
}

impl EntryKind {
    /// Every kind, in order of code.
    pub const ALL: [EntryKind; 28] = [
        EntryKind::ChargeCredit,
        EntryKind::ChargeReversal,
        EntryKind::Payment,
        EntryKind::Refund,
        EntryKind::Transfer,
        EntryKind::Settlement,
        EntryKind::WriteOff,
        EntryKind::Verification,
        EntryKind::Closure,
        EntryKind::Adjustment,
        EntryKind::Authorisation,
        EntryKind::Capture,
        EntryKind::Void,
        EntryKind::HoldExpiry,
        EntryKind::Review,
        EntryKind::Exchange,
        EntryKind::BonusGrant,
        EntryKind::BonusExpiry,
        EntryKind::BonusRevocation,
        EntryKind::Dispute,
        EntryKind::Closing,
        EntryKind::Payout,
        EntryKind::BillHold,
        EntryKind::Bill,
        EntryKind::BillRelease,
        EntryKind::WithdrawalHold,
        EntryKind::Withdrawal,
        EntryKind::WithdrawalRelease,
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
            EntryKind::Closure => "closure",
            EntryKind::Adjustment => "adjustment",
            EntryKind::Authorisation => "authorisation",
            EntryKind::Capture => "capture",
            EntryKind::Void => "void",
            EntryKind::HoldExpiry => "hold-expiry",
            EntryKind::Review => "review",
            EntryKind::Exchange => "exchange",
            EntryKind::BonusGrant => "bonus-grant",
            EntryKind::BonusExpiry => "bonus-expiry",
            EntryKind::BonusRevocation => "bonus-revocation",
            EntryKind::Dispute => "dispute",
            EntryKind::Closing => "closing",
            EntryKind::Payout => "payout",
            EntryKind::BillHold => "bill-hold",
            EntryKind::Bill => "bill",
            EntryKind::BillRelease => "bill-release",
            EntryKind::WithdrawalHold => "withdrawal-hold",
            EntryKind::Withdrawal => "withdrawal",
            EntryKind::WithdrawalRelease => "withdrawal-release",
        }
    }
}

/// Every path that exists: the command, the class debited, the class credited. A row holds for every layer: what may be posted may
/// be set aside before.
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
    (EntryKind::Payment, Class::Bonus, Class::Payable),
    (EntryKind::Refund, Class::Payable, Class::Prepaid),
    (EntryKind::Refund, Class::Payable, Class::Funds),
    (EntryKind::Refund, Class::Payable, Class::Receivable),
    (EntryKind::Refund, Class::Payable, Class::Bonus),
    (EntryKind::Refund, Class::Payable, Class::BonusExpense),
    (EntryKind::Transfer, Class::Funds, Class::Funds),
    (EntryKind::Transfer, Class::Funds, Class::Receivable),
    (EntryKind::Settlement, Class::Bank, Class::Clearing),
    (EntryKind::Settlement, Class::Clearing, Class::Bank),
    (EntryKind::Settlement, Class::Fees, Class::Bank),
    (EntryKind::Settlement, Class::InTransit, Class::Bank),
    (EntryKind::WriteOff, Class::Bank, Class::Clearing),
    (EntryKind::WriteOff, Class::Clearing, Class::Bank),
    (EntryKind::WriteOff, Class::WriteOff, Class::Clearing),
    (EntryKind::WriteOff, Class::WriteOff, Class::Bank),
    (EntryKind::WriteOff, Class::Clearing, Class::Suspense),
    (EntryKind::WriteOff, Class::Bank, Class::Suspense),
    (EntryKind::WriteOff, Class::InTransit, Class::Bank),
    (EntryKind::WriteOff, Class::InTransit, Class::Suspense),
    (EntryKind::Verification, Class::Prepaid, Class::Funds),
    (EntryKind::Closure, Class::Prepaid, Class::ClosedBalances),
    (EntryKind::Closure, Class::Funds, Class::ClosedBalances),
    (EntryKind::Closure, Class::Bonus, Class::BonusExpense),
    (EntryKind::Adjustment, Class::Suspense, Class::Prepaid),
    (EntryKind::Adjustment, Class::Suspense, Class::Funds),
    (EntryKind::Adjustment, Class::Suspense, Class::Receivable),
    (EntryKind::Adjustment, Class::Suspense, Class::Payable),
    (EntryKind::Adjustment, Class::Suspense, Class::Clearing),
    (EntryKind::Adjustment, Class::Suspense, Class::Bank),
    (EntryKind::Adjustment, Class::Suspense, Class::WriteOff),
    (EntryKind::Adjustment, Class::WriteOff, Class::Prepaid),
    (EntryKind::Adjustment, Class::WriteOff, Class::Funds),
    (EntryKind::Adjustment, Class::WriteOff, Class::Receivable),
    (EntryKind::Adjustment, Class::WriteOff, Class::Payable),
    (EntryKind::Adjustment, Class::WriteOff, Class::Clearing),
    (EntryKind::Adjustment, Class::WriteOff, Class::Suspense),
    (EntryKind::Adjustment, Class::Prepaid, Class::Suspense),
    (EntryKind::Adjustment, Class::Funds, Class::Suspense),
    (EntryKind::Adjustment, Class::Payable, Class::Suspense),
    (EntryKind::Adjustment, Class::Clearing, Class::Suspense),
    (EntryKind::Adjustment, Class::Bank, Class::Suspense),
    (EntryKind::Adjustment, Class::ClosedBalances, Class::Suspense),
    (EntryKind::Adjustment, Class::ClosedBalances, Class::WriteOff),
    (EntryKind::Authorisation, Class::Prepaid, Class::Payable),
    (EntryKind::Authorisation, Class::Funds, Class::Payable),
    (EntryKind::Authorisation, Class::Bonus, Class::Payable),
    (EntryKind::Capture, Class::Prepaid, Class::Payable),
    (EntryKind::Capture, Class::Funds, Class::Payable),
    (EntryKind::Capture, Class::Prepaid, Class::Receivable),
    (EntryKind::Capture, Class::Funds, Class::Receivable),
    (EntryKind::Capture, Class::Prepaid, Class::Funds),
    (EntryKind::Capture, Class::Bonus, Class::Payable),
    (EntryKind::Capture, Class::Bonus, Class::BonusExpense),
    (EntryKind::Void, Class::Prepaid, Class::Payable),
    (EntryKind::Void, Class::Funds, Class::Payable),
    (EntryKind::Void, Class::Prepaid, Class::Receivable),
    (EntryKind::Void, Class::Funds, Class::Receivable),
    (EntryKind::Void, Class::Prepaid, Class::Funds),
    (EntryKind::Void, Class::Bonus, Class::Payable),
    (EntryKind::Void, Class::Bonus, Class::BonusExpense),
    (EntryKind::HoldExpiry, Class::Prepaid, Class::Payable),
    (EntryKind::HoldExpiry, Class::Funds, Class::Payable),
    (EntryKind::HoldExpiry, Class::Prepaid, Class::Receivable),
    (EntryKind::HoldExpiry, Class::Funds, Class::Receivable),
    (EntryKind::HoldExpiry, Class::Prepaid, Class::Funds),
    (EntryKind::HoldExpiry, Class::Bonus, Class::Payable),
    (EntryKind::HoldExpiry, Class::Bonus, Class::BonusExpense),
    (EntryKind::Review, Class::Prepaid, Class::Payable),
    (EntryKind::Review, Class::Funds, Class::Payable),
    (EntryKind::Review, Class::Prepaid, Class::Receivable),
    (EntryKind::Review, Class::Funds, Class::Receivable),
    (EntryKind::Review, Class::Prepaid, Class::Funds),
    (EntryKind::Review, Class::Funds, Class::Funds),
    (EntryKind::Review, Class::Bonus, Class::Payable),
    (EntryKind::Review, Class::Bonus, Class::BonusExpense),
    (EntryKind::Exchange, Class::Funds, Class::FxPosition),
    (EntryKind::Exchange, Class::Funds, Class::Rounding),
    (EntryKind::Exchange, Class::FxPosition, Class::Funds),
    (EntryKind::Exchange, Class::FxPosition, Class::Receivable),
    (EntryKind::Exchange, Class::FxPosition, Class::Rounding),
    (EntryKind::BonusGrant, Class::BonusExpense, Class::Bonus),
    (EntryKind::BonusExpiry, Class::Bonus, Class::BonusExpense),
    (EntryKind::BonusRevocation, Class::Bonus, Class::BonusExpense),
    (EntryKind::Dispute, Class::Payable, Class::Disputed),
    (EntryKind::Dispute, Class::Disputed, Class::Payable),
    (EntryKind::Dispute, Class::Disputed, Class::Prepaid),
    (EntryKind::Dispute, Class::Disputed, Class::Funds),
    (EntryKind::Dispute, Class::Disputed, Class::Receivable),
    (EntryKind::Dispute, Class::Disputed, Class::ClosedBalances),
    (EntryKind::Dispute, Class::Disputed, Class::Bonus),
    (EntryKind::Dispute, Class::Disputed, Class::BonusExpense),
    (EntryKind::Closing, Class::Payable, Class::FeeIncome),
    (EntryKind::Closing, Class::Payable, Class::ConsumptionTax),
    (EntryKind::Closing, Class::Payable, Class::PayoutDue),
    (EntryKind::Payout, Class::PayoutDue, Class::Bank),
    (EntryKind::BillHold, Class::Prepaid, Class::InTransit),
    (EntryKind::BillHold, Class::Funds, Class::InTransit),
    (EntryKind::BillHold, Class::Bonus, Class::InTransit),
    (EntryKind::Bill, Class::Prepaid, Class::InTransit),
    (EntryKind::Bill, Class::Funds, Class::InTransit),
    (EntryKind::Bill, Class::Bonus, Class::InTransit),
    (EntryKind::Bill, Class::Prepaid, Class::Receivable),
    (EntryKind::Bill, Class::Funds, Class::Receivable),
    (EntryKind::Bill, Class::Prepaid, Class::Funds),
    (EntryKind::Bill, Class::Bonus, Class::BonusExpense),
    (EntryKind::Bill, Class::Prepaid, Class::FeeIncome),
    (EntryKind::Bill, Class::Funds, Class::FeeIncome),
    (EntryKind::Bill, Class::Bonus, Class::FeeIncome),
    (EntryKind::Bill, Class::Prepaid, Class::ConsumptionTax),
    (EntryKind::Bill, Class::Funds, Class::ConsumptionTax),
    (EntryKind::Bill, Class::Bonus, Class::ConsumptionTax),
    (EntryKind::BillRelease, Class::Prepaid, Class::InTransit),
    (EntryKind::BillRelease, Class::Funds, Class::InTransit),
    (EntryKind::BillRelease, Class::Bonus, Class::InTransit),
    (EntryKind::BillRelease, Class::Prepaid, Class::Receivable),
    (EntryKind::BillRelease, Class::Funds, Class::Receivable),
    (EntryKind::BillRelease, Class::Prepaid, Class::Funds),
    (EntryKind::BillRelease, Class::Bonus, Class::BonusExpense),
    (EntryKind::WithdrawalHold, Class::Funds, Class::InTransit),
    (EntryKind::Withdrawal, Class::Funds, Class::InTransit),
    (EntryKind::Withdrawal, Class::Funds, Class::Receivable),
    (EntryKind::Withdrawal, Class::Funds, Class::FeeIncome),
    (EntryKind::Withdrawal, Class::Funds, Class::ConsumptionTax),
    (EntryKind::WithdrawalRelease, Class::Funds, Class::InTransit),
    (EntryKind::WithdrawalRelease, Class::Funds, Class::Receivable),
];

/// Whether this command may debit the one class and credit the other.
pub fn allowed(kind: EntryKind, debit: Class, credit: Class) -> bool {
    PATHS.contains(&(kind, debit, credit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds that free what was held.
    const LETTING_GO: [EntryKind; 6] = [
        EntryKind::Capture,
        EntryKind::Void,
        EntryKind::HoldExpiry,
        EntryKind::Review,
        EntryKind::Bill,
        EntryKind::BillRelease,
    ];

    #[test]
    fn prepaid_becomes_funds_only_by_verification_at_once_or_when_it_is_let_go_afterwards() {
        for kind in EntryKind::ALL {
            let verified = kind == EntryKind::Verification || LETTING_GO.contains(&kind);
            assert_eq!(allowed(kind, Class::Prepaid, Class::Funds), verified, "{kind:?}");
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
    fn only_charges_refunds_disputes_transfers_exchanges_verification_and_adjustments_reach_a_wallet() {
        for (kind, debit, credit) in PATHS {
            // What is let go was in a wallet all the time.
            let own = LETTING_GO.contains(kind) && matches!(debit, Class::Prepaid | Class::Funds);
            if matches!(credit, Class::Prepaid | Class::Funds) && !own {
                assert!(matches!(
                    kind,
                    EntryKind::ChargeCredit
                        | EntryKind::Refund
                        | EntryKind::Transfer
                        | EntryKind::Verification
                        | EntryKind::Adjustment
                        | EntryKind::Exchange
                        | EntryKind::Dispute
                ));
            }
        }
    }

    #[test]
    fn bonus_pays_merchants_and_bills_or_ends_and_comes_from_campaigns_refunds_and_lost_disputes_alone() {
        for (kind, debit, credit) in PATHS {
            if *debit == Class::Bonus {
                assert!(
                    matches!(
                        credit,
                        Class::Payable
                            | Class::InTransit
                            | Class::FeeIncome
                            | Class::ConsumptionTax
                            | Class::BonusExpense
                    ),
                    "{kind:?} {credit:?}"
                );
            }
            if *credit == Class::Bonus {
                let (grant, refund) =
                    ((EntryKind::BonusGrant, Class::BonusExpense), (EntryKind::Refund, Class::Payable));
                let lost = (EntryKind::Dispute, Class::Disputed);
                assert!([grant, refund, lost].contains(&(*kind, *debit)), "{kind:?} {debit:?}");
            }
        }
    }

    #[test]
    fn only_funds_are_taken_out_by_their_owner() {
        let of_withdrawals = [EntryKind::WithdrawalHold, EntryKind::Withdrawal, EntryKind::WithdrawalRelease];
        for (kind, debit, _) in PATHS.iter().filter(|(kind, ..)| of_withdrawals.contains(kind)) {
            assert_eq!(*debit, Class::Funds, "{kind:?}");
        }
    }

    #[test]
    fn the_table_has_no_doubles() {
        let distinct: std::collections::BTreeSet<_> = PATHS.iter().collect();
        assert_eq!(distinct.len(), PATHS.len());
    }
}
