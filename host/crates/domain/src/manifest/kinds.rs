//! The six kinds of plugins: the interfaces of each, what may begin with it, and what each beginning may propose about money.

use serde::{Deserialize, Serialize};

/// A sort of plugin: a word with the interfaces it must export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Brings money into wallets.
    ChargeChannel,
    /// Judges payments.
    FraudRule,
    /// Pays bills.
    BillPayer,
    /// Prices exchanges of currencies.
    Exchange,
    /// Takes statements to household books.
    BudgetLink,
    /// Reacts to what happens, for a merchant or the platform.
    MerchantTool,
}

impl Kind {
    /// All of them, in the order of the manifest's reference.
    pub const ALL: [Kind; 6] =
        [Kind::ChargeChannel, Kind::BillPayer, Kind::Exchange, Kind::BudgetLink, Kind::FraudRule, Kind::MerchantTool];

    /// The interfaces that a component of this kind must export, beside `plugin`.
    pub fn required_interfaces(self) -> &'static [&'static str] {
        match self {
            Kind::ChargeChannel => &["machine", "charge"],
            Kind::FraudRule => &["assess"],
            Kind::BillPayer => &["machine", "pay-bill"],
            Kind::Exchange => &["rates", "quote"],
            Kind::BudgetLink => &["statement"],
            Kind::MerchantTool => &["on-event"],
        }
    }

    /// The interfaces that it may export.
    pub fn optional_interfaces(self) -> &'static [&'static str] {
        match self {
            Kind::ChargeChannel => &["inbound", "files", "settlement", "withdraw", "link-account", "migrate"],
            Kind::FraudRule | Kind::Exchange => &[],
            Kind::BillPayer => &["inbound", "files", "settlement", "link-account", "migrate"],
            Kind::BudgetLink => &["machine", "link-account", "sync", "inbound", "migrate"],
            Kind::MerchantTool => &["machine", "table", "inbound", "migrate"],
        }
    }

    /// What flows of this kind may begin as.
    pub fn beginnings(self) -> &'static [Beginning] {
        match self {
            Kind::ChargeChannel => &[Beginning::Charge, Beginning::Withdraw, Beginning::LinkAccount],
            Kind::FraudRule | Kind::Exchange => &[],
            Kind::BillPayer => &[Beginning::PayBill, Beginning::LinkAccount],
            Kind::BudgetLink => &[Beginning::Sync, Beginning::LinkAccount],
            Kind::MerchantTool => &[Beginning::Event],
        }
    }

    /// Whether plugins of this kind touch money, so that an operator must give them an exposure cap and a loss budget.
    pub fn touches_money(self) -> bool {
        self.beginnings().iter().any(|beginning| !beginning.may_propose().is_empty())
    }

    /// Whether plugins of this kind are asked about dealings with merchants, so that one of them may decide for a merchant alone.
    pub fn looks_at_merchants(self) -> bool {
        matches!(self, Kind::FraudRule | Kind::MerchantTool)
    }

    /// The word in the manifest.
    pub fn word(self) -> &'static str {
        match self {
            Kind::ChargeChannel => "charge-channel",
            Kind::FraudRule => "fraud-rule",
            Kind::BillPayer => "bill-payer",
            Kind::Exchange => "exchange",
            Kind::BudgetLink => "budget-link",
            Kind::MerchantTool => "merchant-tool",
        }
    }

    /// The kind with this word.
    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Interfaces of the contract that this host does not call yet. A component that exports one is refused when it is checked and when it is installed, so
/// that nobody waits for calls that never come.
pub const NOT_DRIVEN: &[&str] = &["migrate", "table"];

/// Interfaces that begin flows, which `machine` then drives.
pub const BEGINS_FLOWS: &[&str] = &["charge", "withdraw", "link-account", "pay-bill", "sync"];

/// What a flow may begin as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beginning {
    /// Money comes into a wallet.
    Charge,
    /// Money goes to its owner.
    Withdraw,
    /// An account at a partner is made known.
    LinkAccount,
    /// A bill is paid.
    PayBill,
    /// New rows go to a live link.
    Sync,
    /// An event asked for it.
    Event,
}

/// A kind of proposal about money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposalKind {
    /// Credit the wallet.
    Credit,
    /// Reserve.
    Hold,
    /// Take what is held.
    Capture,
    /// Let a hold go.
    Release,
    /// Take one of the flow's own credits back.
    Reverse,
    /// Kill the credit side of a reference.
    Tombstone,
}

impl Beginning {
    /// All of them, in the order of the manifest's reference.
    pub const ALL: [Beginning; 6] = [
        Beginning::Charge,
        Beginning::Withdraw,
        Beginning::PayBill,
        Beginning::LinkAccount,
        Beginning::Sync,
        Beginning::Event,
    ];

    /// The closed table of beginnings: what each may propose at most, whatever a manifest says.
    pub fn may_propose(self) -> &'static [ProposalKind] {
        match self {
            Beginning::Charge => &[ProposalKind::Credit, ProposalKind::Reverse, ProposalKind::Tombstone],
            Beginning::Withdraw | Beginning::PayBill => {
                &[ProposalKind::Hold, ProposalKind::Capture, ProposalKind::Release]
            }
            Beginning::LinkAccount | Beginning::Sync | Beginning::Event => &[],
        }
    }

    /// The word in the manifest.
    pub fn word(self) -> &'static str {
        match self {
            Beginning::Charge => "charge",
            Beginning::Withdraw => "withdraw",
            Beginning::LinkAccount => "link-account",
            Beginning::PayBill => "pay-bill",
            Beginning::Sync => "sync",
            Beginning::Event => "event",
        }
    }
}

impl ProposalKind {
    /// All of them, in the order of the contract.
    pub const ALL: [ProposalKind; 6] = [
        ProposalKind::Credit,
        ProposalKind::Hold,
        ProposalKind::Capture,
        ProposalKind::Release,
        ProposalKind::Reverse,
        ProposalKind::Tombstone,
    ];

    /// The word in the manifest.
    pub fn word(self) -> &'static str {
        match self {
            ProposalKind::Credit => "credit",
            ProposalKind::Hold => "hold",
            ProposalKind::Capture => "capture",
            ProposalKind::Release => "release",
            ProposalKind::Reverse => "reverse",
            ProposalKind::Tombstone => "tombstone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_that_is_not_driven_belongs_to_a_kind() {
        for interface in NOT_DRIVEN.iter().chain(BEGINS_FLOWS) {
            let has = |kind: &Kind| {
                kind.required_interfaces().contains(interface) || kind.optional_interfaces().contains(interface)
            };
            assert!(Kind::ALL.iter().any(has), "{interface}");
        }
    }

    #[test]
    fn a_kind_and_its_word_find_each_other() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.word()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.word()));
        }
        for beginning in Beginning::ALL {
            assert_eq!(serde_json::to_string(&beginning).unwrap(), format!("\"{}\"", beginning.word()));
        }
        for proposal in ProposalKind::ALL {
            assert_eq!(serde_json::to_string(&proposal).unwrap(), format!("\"{}\"", proposal.word()));
        }
    }

    #[test]
    fn only_channels_and_bill_payers_touch_money() {
        let touching: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.touches_money()).collect();
        assert_eq!(touching, [Kind::ChargeChannel, Kind::BillPayer]);
    }
}
