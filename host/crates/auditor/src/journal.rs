//! I1 and I2: the journal adds up, and nothing in it goes below its floor.

use std::collections::BTreeMap;

use crate::books::Entry;
use crate::source::Id;
use crate::{Invariant, Look, Report};

/// I1: in each entry debits equal credits, layer by layer and currency by currency; amounts are more than zero and go along the table of
/// paths.
pub(crate) fn i1_postings_sum_to_zero(look: &Look<'_>, out: &mut Report) {
    for entry in &look.books.entries {
        let place = || format!("entry {}", entry.sequence);
        let mut sums: BTreeMap<(u8, [u8; 3]), i128> = BTreeMap::new();
        for posting in &entry.postings {
            if posting.amount <= 0 {
                out.add(Invariant::I1, place(), format!("posts {}", posting.amount));
            }
            *sums.entry((posting.layer, posting.currency)).or_default() += posting.signed();
        }
        for ((_, currency), sum) in sums.iter().filter(|(_, sum)| **sum != 0) {
            out.add(Invariant::I1, place(), format!("is off by {sum} in {}", String::from_utf8_lossy(currency)));
        }
        if entry.postings.len() < 2 {
            out.add(Invariant::I1, place(), "has fewer than two postings");
        }
    }
}

/// The four sums of an account as the journal makes them: debits and credits posted, debits and credits pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) posted: [i128; 2],
    pub(crate) pending: [i128; 2],
}

impl Sums {
    fn take(&mut self, posting: &crate::canonical::Posting) {
        let (side, amount) = (usize::from(posting.is_credit), i128::from(posting.amount));
        match posting.layer {
            0 => self.posted[side] += amount,
            1 => self.pending[side] += amount,
            _ => self.pending[side] -= amount,
        }
    }

    /// The balance on this side.
    pub(crate) fn balance(&self, grows_by_credit: bool) -> i128 {
        let credit_balance = self.posted[1] - self.posted[0];
        if grows_by_credit { credit_balance } else { -credit_balance }
    }

    /// What of it is not set aside to leave.
    pub(crate) fn available(&self, grows_by_credit: bool) -> i128 {
        self.balance(grows_by_credit) - self.pending[usize::from(!grows_by_credit)]
    }
}

/// Every account as the journal makes it, entry by entry; `after` sees the sums behind each entry.
pub(crate) fn replay(look: &Look<'_>, mut after: impl FnMut(&Entry, &BTreeMap<Id, Sums>)) -> BTreeMap<Id, Sums> {
    let mut accounts: BTreeMap<Id, Sums> = BTreeMap::new();
    for entry in &look.books.entries {
        for posting in &entry.postings {
            accounts.entry(posting.account).or_default().take(posting);
        }
        after(entry, &accounts);
    }
    accounts
}

/// I2: what may still leave an account with a floor is never below zero, and no more is let go than was set aside.
pub(crate) fn i2_no_balance_lies_below_its_floor(look: &Look<'_>, out: &mut Report) {
    let rules = look.rules;
    replay(look, |entry, accounts| {
        for posting in &entry.postings {
            let sums = accounts[&posting.account];
            let available = sums.available(rules.grows_by_credit(posting.class));
            let place = || format!("entry {}", entry.sequence);
            let account = || format!("{} of {}", rules.class(posting.class), hex::encode(posting.owner));
            if rules.has_floor(posting.class) && available < 0 {
                out.add(Invariant::I2, place(), format!("leaves {available} on {}", account()));
            }
            if sums.pending.iter().any(|pending| *pending < 0) {
                out.add(Invariant::I2, place(), format!("lets go of more than was set aside on {}", account()));
            }
            if !rules.classes.contains_key(&posting.class) {
                let what = format!("posts to class {}, which accounts.md does not know", posting.class);
                out.add(Invariant::I2, place(), what);
            }
        }
    });
}
