//! What the last commit of this writer left behind, good for the next one as long as nobody else has committed since.
//!
//! Reading balances, users and counters again was a third of the server's work for each transfer. The head row counts commits
//! and policy changes, and it is locked before this is asked: equal counts prove that the rows are as we left them. Accounts
//! and counters are written by commits alone, so their absence is remembered too; users are made elsewhere, so theirs is not.

use std::collections::HashMap;

use koban_domain::accounts::{Account, AccountId};
use koban_domain::books::{Books, User};
use koban_domain::ids::UserId;
use koban_domain::ledger::Commit;
use koban_domain::limits::CounterKey;
use koban_domain::touched::Touched;

use crate::ledger::LaneHead;

/// Most rows remembered of each kind, some tens of megabytes in all. Beyond it, everything of the kind is forgotten.
const ROWS_MAX: usize = 524_288;

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Commits and generation that the rows belong to; none while a commit is being written.
    stamp: Option<(i64, i64)>,
    accounts: HashMap<AccountId, Option<Account>>,
    users: HashMap<UserId, User>,
    counters: HashMap<CounterKey, Option<i64>>,
}

/// What has to be read.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) accounts: Vec<AccountId>,
    pub(super) users: Vec<UserId>,
    pub(super) counters: Vec<CounterKey>,
}

fn stamp(head: &LaneHead) -> Option<(i64, i64)> {
    Some((head.commits, head.generation))
}

impl Cache {
    /// Forgets everything unless it belongs to this head, which is locked.
    pub(super) fn settle(&mut self, head: &LaneHead) {
        if self.stamp != stamp(head) {
            *self = Cache { stamp: stamp(head), ..Cache::default() };
        }
    }

    /// Gives the books what is remembered and names the rest.
    pub(super) fn serve(&self, touched: &Touched, counters: &[CounterKey], books: &mut Books) -> Missing {
        let mut missing = Missing::default();
        for id in &touched.accounts {
            match self.accounts.get(id) {
                Some(Some(account)) => books.accounts.load(*id, *account),
                Some(None) => {}
                None => missing.accounts.push(*id),
            }
        }
        for id in &touched.users {
            match self.users.get(id) {
                Some(user) => books.users.load(*id, *user),
                None => missing.users.push(*id),
            }
        }
        for key in counters {
            match self.counters.get(key) {
                Some(Some(total)) => books.counters.load(*key, *total),
                Some(None) => {}
                None => missing.counters.push(*key),
            }
        }
        missing
    }

    /// Remembers what was read: rows and, of accounts and counters, that there are none.
    pub(super) fn learn(&mut self, read: &Missing, books: &Books) {
        for id in &read.accounts {
            self.accounts.insert(*id, books.accounts.get(id).copied());
        }
        for id in &read.users {
            if let Some(user) = books.users.get(id) {
                self.users.insert(*id, *user);
            }
        }
        for key in &read.counters {
            self.counters.insert(*key, books.counters.get(key).copied());
        }
    }

    /// Takes over what a commit writes. Nothing is trusted until the commit has succeeded.
    pub(super) fn write(&mut self, commit: &Commit) {
        self.stamp = None;
        for row in commit.books.accounts.changed() {
            self.accounts.insert(*row.key, Some(*row.value));
        }
        for row in commit.books.users.changed() {
            self.users.insert(*row.key, *row.value);
        }
        for row in commit.books.counters.changed() {
            self.counters.insert(*row.key, Some(*row.value));
        }
    }

    /// The commit has succeeded and left this head.
    pub(super) fn committed(&mut self, head: &LaneHead) {
        self.stamp = stamp(head);
        if self.accounts.len() > ROWS_MAX {
            self.accounts.clear();
        }
        if self.users.len() > ROWS_MAX {
            self.users.clear();
        }
        if self.counters.len() > ROWS_MAX {
            self.counters.clear();
        }
    }
}
