//! Bonus worked out again: a wallet's lots are its bonus account, payments hold what lots say, and campaigns granted their lots.

use std::collections::BTreeMap;

use koban_domain::accounts::{AccountId, AccountKey, Class};
use koban_domain::ids::{CampaignId, LotId};
use koban_domain::money::Currency;
use koban_store::JournalReader;

use super::{PAGE, Step, Walk, differs, shown};

impl Walk {
    /// Lots and campaigns against the journal's accounts. `held` is what payments hold of each lot.
    pub(super) async fn bonus(&mut self, reader: &mut JournalReader, mut held: BTreeMap<LotId, i64>) -> Step {
        let mut wallets: BTreeMap<AccountId, (i64, i64)> = BTreeMap::new();
        let mut granted: BTreeMap<CampaignId, i64> = BTreeMap::new();
        let mut spent: BTreeMap<Currency, i64> = BTreeMap::new();
        let mut after = LotId::default();
        loop {
            let page = reader.lots_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for lot in &page {
                let sound = (0..=lot.left).contains(&lot.held) && lot.left <= lot.amount.minor;
                let of_payments = held.remove(&lot.id).unwrap_or(0);
                if !sound || of_payments != lot.held {
                    let (left, held, of) = (lot.left, lot.held, lot.amount.minor);
                    let what = format!("has {left} of {of} left and {held} held, payments hold {of_payments}");
                    return differs(lot.id.to_string(), what);
                }
                let key = AccountKey::user(Class::Bonus, lot.user, lot.amount.currency);
                let wallet = wallets.entry(key.id()).or_default();
                *wallet = (wallet.0 + lot.left, wallet.1 + lot.held);
                *granted.entry(lot.campaign).or_default() += lot.amount.minor;
                *spent.entry(lot.amount.currency).or_default() += lot.amount.minor;
            }
        }
        if let Some((lot, held)) = held.first_key_value() {
            return differs(lot.to_string(), format!("is missing, payments hold {held} of it"));
        }
        for (id, account) in self.accounts.iter().filter(|(_, account)| account.key.class == Class::Bonus) {
            let found = wallets.remove(id).unwrap_or_default();
            if found != (account.balance(), account.debits_pending) {
                let (left, held) = found;
                let (balance, pending) = (account.balance(), account.debits_pending);
                let what =
                    format!("stands at {balance} with {pending} set aside, its lots have {left} left and {held} held");
                return differs(format!("account {}", shown(&account.key)), what);
            }
        }
        if wallets.values().any(|sum| *sum != (0, 0)) {
            return differs("the lots", "something is left of a lot whose wallet has no bonus account");
        }
        let expense = self.accounts.values().filter(|account| account.key.class == Class::BonusExpense);
        for account in expense {
            let granted = spent.get(&account.key.currency).copied().unwrap_or(0);
            if account.debits_posted != granted {
                let what = format!("was debited {}, all lots together were granted {granted}", account.debits_posted);
                return differs(format!("account {}", shown(&account.key)), what);
            }
        }
        self.campaigns(reader, &granted).await
    }

    async fn campaigns(&self, reader: &mut JournalReader, granted: &BTreeMap<CampaignId, i64>) -> Step {
        let (mut after, mut known) = (CampaignId::default(), 0);
        loop {
            let page = reader.campaigns_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for campaign in &page {
                let lots = granted.get(&campaign.id).copied();
                known += usize::from(lots.is_some());
                let lots = lots.unwrap_or(0);
                if campaign.granted != lots || lots > campaign.budget.minor {
                    let (says, budget) = (campaign.granted, campaign.budget.minor);
                    let what = format!("says that it granted {says} of {budget}, its lots make {lots}");
                    return differs(campaign.id.to_string(), what);
                }
            }
        }
        match known == granted.len() {
            true => Ok(()),
            false => differs("the campaigns", "a lot was granted by a campaign that is missing"),
        }
    }
}
