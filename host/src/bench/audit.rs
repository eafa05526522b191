//! The audit after each workload: the chain holds, every entry sums to zero, balances and histories are what entries make them, and
//! every acknowledged request has its entry and no other exists.

use std::collections::HashMap;

use koban_domain::accounts::{AccountId, Layer, PostingSide};
use koban_domain::journal::{self, Entry, Head};
use koban_store::Store;

/// Rows of one page.
const PAGE: u16 = 10_000;

/// What was seen of the books so far: each audit goes on where the last one ended.
#[derive(Debug)]
pub(super) struct Auditor {
    head: Head,
    sums: HashMap<AccountId, Sums>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    debits: i64,
    credits: i64,
    /// The last entry that moved it.
    last: i64,
}

impl Auditor {
    /// Nothing seen yet.
    pub(super) fn new() -> Auditor {
        Auditor { head: Head::EMPTY, sums: HashMap::new() }
    }

    /// Reads the books at this moment. `acknowledged` is how many entries must have come since the last audit, where that is
    /// known. Answers what is wrong, or nothing.
    pub(super) async fn audit(&mut self, store: &Store, acknowledged: Option<u64>) -> anyhow::Result<Option<String>> {
        let mut reader = store.journal().await?;
        let head = reader.head().await?.head;
        let before = self.head.sequence;
        while self.head.sequence < head.sequence {
            let entries = reader.entries_after(self.head.sequence, PAGE).await?;
            if entries.is_empty() {
                return Ok(Some(format!("entries end at {} and the head says {}", self.head.sequence, head.sequence)));
            }
            for entry in &entries {
                if let Some(wrong) = self.take(entry) {
                    return Ok(Some(wrong));
                }
            }
        }
        if self.head.hash != head.hash {
            return Ok(Some(format!("the head's hash is not that of entry {}", head.sequence)));
        }
        if let Some(acknowledged) = acknowledged {
            let came = u64::try_from(head.sequence - before).unwrap_or(0);
            if came != acknowledged {
                return Ok(Some(format!("{acknowledged} requests were acknowledged and {came} entries came")));
            }
        }
        let total = self.sums.values().fold((0_i128, 0_i128), |(debits, credits), sums| {
            (debits + i128::from(sums.debits), credits + i128::from(sums.credits))
        });
        if total.0 != total.1 {
            return Ok(Some(format!("all debits are {} and all credits {}", total.0, total.1)));
        }
        let mut accounts = 0;
        let mut after = None;
        loop {
            let page = reader.accounts_after(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            accounts += page.len();
            for (id, account) in page {
                let balance =
                    Sums { debits: account.debits_posted, credits: account.credits_posted, last: account.last };
                if self.sums.get(&id).copied().unwrap_or_default() != balance {
                    return Ok(Some(format!(
                        "the account {id:?} has another balance or last entry than its entries make"
                    )));
                }
            }
        }
        if accounts < self.sums.len() {
            return Ok(Some(format!("{} accounts have entries and {accounts} exist", self.sums.len())));
        }
        Ok(None)
    }

    /// Takes the next entry, or says what is wrong with it.
    fn take(&mut self, entry: &Entry) -> Option<String> {
        let place = entry.sequence;
        if place != self.head.sequence + 1 {
            return Some(format!("entry {place} follows entry {}", self.head.sequence));
        }
        let hash = journal::chain(self.head.hash, &journal::canonical(place, entry.at, &entry.draft));
        if hash != entry.hash {
            return Some(format!("the hash of entry {place} is not that of its content"));
        }
        let mut sum = 0_i128;
        // What is set aside is looked at by `ledger verify`.
        for posting in entry.draft.postings.iter().filter(|posting| posting.layer == Layer::Posted) {
            let sums = self.sums.entry(posting.id).or_default();
            if sums.last < place && posting.previous != sums.last {
                return Some(format!("entry {place} does not name the entry before on {:?}", posting.id));
            }
            sums.last = place;
            match posting.side {
                PostingSide::Debit => {
                    sum += i128::from(posting.amount);
                    sums.debits = sums.debits.saturating_add(posting.amount);
                }
                PostingSide::Credit => {
                    sum -= i128::from(posting.amount);
                    sums.credits = sums.credits.saturating_add(posting.amount);
                }
            }
        }
        // The bench has one currency.
        if sum != 0 || entry.draft.postings.len() < 2 {
            return Some(format!("entry {place} does not sum to zero"));
        }
        self.head = Head { sequence: place, hash, at: entry.at };
        None
    }
}
