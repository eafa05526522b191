//! The history of each account: a chain of the entries that moved it, along which statements walk back.

use crate::accounts::{Account, AccountId, Layer};
use crate::books::Books;
use crate::journal::{Entry, MARK_EVERY, Posting};

impl Books {
    /// Hangs an entry onto the histories of the accounts that it moves, and names those whose entry is one to be marked.
    pub fn enter(&mut self, entry: &mut Entry) -> Vec<AccountId> {
        let (sequence, postings) = (entry.sequence, &mut entry.draft.postings);
        let mut marked = Vec::new();
        for place in 0..postings.len() {
            let Posting { id, layer, .. } = postings[place];
            let Some(account) = self.accounts.get(&id).copied() else { continue };
            if layer != Layer::Posted || account.last == sequence {
                continue;
            }
            for posting in postings.iter_mut().filter(|posting| posting.id == id) {
                posting.previous = account.last;
            }
            let moved = account.moved + 1;
            if moved % MARK_EVERY == 0 {
                marked.push(id);
            }
            self.accounts.put(id, Account { moved, last: sequence, ..account });
        }
        marked
    }
}
