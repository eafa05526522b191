//! `ledger verify`: everything that the books say, worked out again from the journal, and the first place where they differ.
//!
//! It reads one snapshot, page by page, and trusts nothing but the journal's own chain: balances, statements, records, audit
//! rows, components and exposures must follow from it.

mod bonus;
mod holds;
mod merchants;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use koban_domain::accounts::{Account, AccountId, AccountKey, Class, Layer, PostingSide};
use koban_domain::ids::{LotId, PaymentId, TransferId};
use koban_domain::journal::{Entry, Head, MARK_EVERY, Posting, canonical, chain};
use koban_domain::money::Currency;
use koban_domain::paths::PATHS;
use koban_domain::payments::Source;
use koban_domain::records::Digest;
use koban_domain::transfers::Transfer;
use koban_store::{JournalReader, Store, StoreError, plugins};

/// How often exposures are compared before a difference is believed.
const EXPOSURES_READ_MAX: u64 = 8;
/// Rows read at a time.
const PAGE: u16 = 1_000;

/// What was looked at, and the first difference, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Entries of the journal.
    pub entries: u64,
    /// Postings in them.
    pub postings: u64,
    /// Accounts.
    pub accounts: u64,
    /// Records of guest calls.
    pub records: u64,
    /// Those of them whose content was erased.
    pub erased: u64,
    /// Components whose bytes were read.
    pub components: u64,
    /// Rows of the audit log.
    pub audit: u64,
    /// The end of the journal, as worked out.
    pub head: Head,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// A place where the books are not what they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as `entry 42` or `record dec_…`.
    pub place: String,
    /// What is there and what must be.
    pub what: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.difference {
            None => f.write_str("clean")?,
            Some(difference) => write!(f, "DIFFERENT at {}: {}", difference.place, difference.what)?,
        }
        write!(
            f,
            "\n  {} entries, {} postings, {} accounts, {} records{}, {} components, {} audit rows\n  head {}",
            self.entries,
            self.postings,
            self.accounts,
            self.records,
            if self.erased > 0 { format!(" ({} erased)", self.erased) } else { String::new() },
            self.components,
            self.audit,
            self.head.hash
        )
    }
}

/// What stops a verification.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("the books differ")]
    Differs(Difference),
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Step<T = ()> = Result<T, Stop>;

fn differs<T>(place: impl Into<String>, what: impl Into<String>) -> Step<T> {
    Err(Stop::Differs(Difference { place: place.into(), what: what.into() }))
}

/// Verifies the whole of the books. Errors: only what keeps them from being read at all; what cannot be decoded is a difference.
pub async fn verify(store: &Store) -> Result<Verdict, StoreError> {
    let mut walk = Walk {
        seen: Verdict {
            entries: 0,
            postings: 0,
            accounts: 0,
            records: 0,
            erased: 0,
            components: 0,
            audit: 0,
            head: Head::EMPTY,
            difference: None,
        },
        accounts: BTreeMap::new(),
        marks: BTreeSet::new(),
        named: BTreeSet::new(),
        components: BTreeSet::new(),
        merchants: merchants::Moved::default(),
        gone: records::Gone::default(),
    };
    walk.seen.difference = match walk.all(store).await {
        Ok(()) => None,
        Err(Stop::Differs(difference)) => Some(difference),
        Err(Stop::Store(StoreError::Damaged(what))) => Some(Difference { place: walk.place(), what }),
        Err(Stop::Store(error)) => return Err(error),
    };
    Ok(walk.seen)
}

struct Walk {
    seen: Verdict,
    /// Accounts as the journal makes them.
    accounts: BTreeMap<AccountId, Account>,
    /// Entries that must be marked in the histories of accounts.
    marks: BTreeSet<(AccountId, i64)>,
    /// Records that entries rest on.
    named: BTreeSet<Digest>,
    /// Components that records name.
    components: BTreeSet<Digest>,
    /// What moved on merchants' accounts, for their closings.
    merchants: merchants::Moved,
    /// Contents of records that are not there, until the audit log says why.
    gone: records::Gone,
}

impl Walk {
    async fn all(&mut self, store: &Store) -> Step {
        let mut reader = store.journal().await?;
        self.entries(&mut reader).await?;
        let head = reader.head().await?;
        if head.head != self.seen.head {
            let (said, found) = (head.head, self.seen.head);
            let what = format!(
                "says entry {} with {}, the journal ends at {} with {}",
                said.sequence, said.hash, found.sequence, found.hash
            );
            return differs("the lane's head", what);
        }
        self.balances(&mut reader).await?;
        let lots = self.holds(&mut reader).await?;
        self.bonus(&mut reader, lots).await?;
        self.marks(&mut reader).await?;
        self.merchants.check(&mut reader, &self.accounts).await?;
        self.records(&mut reader, head.record_sequence, head.record_hash).await?;
        self.audit(&mut reader).await?;
        drop(reader);
        self.components(store).await?;
        // Exposures are read beside the snapshot: on a live host a credit may come between two reads, a difference stays.
        for attempt in 1..EXPOSURES_READ_MAX {
            match self.exposures(store).await {
                Err(Stop::Differs(_)) => tokio::time::sleep(Duration::from_millis(20 * attempt)).await,
                other => return other,
            }
        }
        self.exposures(store).await
    }

    /// Where the walk is, for rows that cannot even be decoded.
    fn place(&self) -> String {
        match (self.seen.accounts, self.seen.records) {
            (0, _) => format!("entry {}", self.seen.entries + 1),
            (_, 0) => "the accounts, marks or record pages".to_owned(),
            _ => "the record pages, audit rows or components".to_owned(),
        }
    }

    async fn entries(&mut self, reader: &mut JournalReader) -> Step {
        let mut limit = PAGE;
        loop {
            let page = match reader.entries_after(self.seen.head.sequence, limit).await {
                // One of the page cannot be decoded: one at a time it is found, and named.
                Err(StoreError::Damaged(_)) if limit > 1 => {
                    limit = 1;
                    continue;
                }
                page => page?,
            };
            if page.is_empty() {
                return Ok(());
            }
            for entry in &page {
                self.entry(entry)?;
            }
        }
    }

    fn entry(&mut self, entry: &Entry) -> Step {
        let place = || format!("entry {} ({})", entry.sequence, entry.draft.id);
        let before = self.seen.head;
        if entry.sequence != before.sequence + 1 {
            return differs(format!("entry {}", before.sequence + 1), "is missing");
        }
        let hash = chain(before.hash, &canonical(entry.sequence, entry.at, &entry.draft));
        if hash != entry.hash {
            return differs(
                place(),
                format!("has the hash {}, its content and the entry before it make {hash}", entry.hash),
            );
        }
        if entry.at < before.at {
            return differs(place(), "lies before the entry before it");
        }
        let mut sums: BTreeMap<(Layer, Currency), i128> = BTreeMap::new();
        for posting in &entry.draft.postings {
            if posting.amount <= 0 {
                return differs(place(), "has a posting of zero or less");
            }
            let signed = match posting.side {
                PostingSide::Debit => i128::from(posting.amount),
                PostingSide::Credit => -i128::from(posting.amount),
            };
            *sums.entry((posting.layer, posting.account.currency)).or_default() += signed;
        }
        if let Some(((_, currency), sum)) = sums.iter().find(|(_, sum)| **sum != 0) {
            return differs(place(), format!("does not sum to zero in {currency}: {sum}"));
        }
        self.check_paths(entry, &place)?;
        for posting in &entry.draft.postings {
            let account = self.accounts.entry(posting.id).or_insert_with(|| Account::empty(posting.account));
            // Floors are checked by the balances: within an entry they may be passed in either order.
            let sum = match (posting.layer, posting.side) {
                (Layer::Posted, PostingSide::Debit) => &mut account.debits_posted,
                (Layer::Posted, PostingSide::Credit) => &mut account.credits_posted,
                (_, PostingSide::Debit) => &mut account.debits_pending,
                (_, PostingSide::Credit) => &mut account.credits_pending,
            };
            *sum += if posting.layer == Layer::Released { -posting.amount } else { posting.amount };
        }
        self.check_histories(entry, &place)?;
        for posting in &entry.draft.postings {
            let account = self.accounts[&posting.id];
            if account.balance() != posting.balance {
                let what = format!(
                    "says that {} stood at {} after it, the journal makes {}",
                    shown(&posting.account),
                    posting.balance,
                    account.balance()
                );
                return differs(place(), what);
            }
            if posting.account.class.floor().is_some_and(|floor| account.available() < floor) {
                return differs(place(), format!("takes {} under its floor", shown(&posting.account)));
            }
            if account.debits_pending < 0 || account.credits_pending < 0 {
                return differs(place(), format!("releases more of {} than was set aside", shown(&posting.account)));
            }
        }
        self.merchants.entry(entry);
        self.named.extend(&entry.draft.records);
        self.seen.postings += u64::try_from(entry.draft.postings.len()).unwrap_or(0);
        self.seen.entries += 1;
        self.seen.head = Head { sequence: entry.sequence, hash: entry.hash, at: entry.at };
        Ok(())
    }

    /// Statements walk from entry to entry: each posting must name the entry that moved its account before.
    fn check_histories(&mut self, entry: &Entry, place: &impl Fn() -> String) -> Step {
        let postings = &entry.draft.postings;
        let moves = |id: AccountId| postings.iter().any(|other| other.id == id && other.layer == Layer::Posted);
        for posting in postings {
            let Some(account) = self.accounts.get(&posting.id) else { continue };
            // What only sets aside or frees is no part of the history.
            let before = if moves(posting.id) { account.last } else { 0 };
            if posting.previous != before {
                let what = format!(
                    "names entry {} as the one before on {}, the journal makes it {before}",
                    posting.previous,
                    shown(&posting.account)
                );
                return differs(place(), what);
            }
        }
        for posting in postings.iter().filter(|posting| posting.layer == Layer::Posted) {
            let Some(account) = self.accounts.get_mut(&posting.id) else { continue };
            if account.last < entry.sequence {
                (account.moved, account.last) = (account.moved + 1, entry.sequence);
                if account.moved % MARK_EVERY == 0 {
                    self.marks.insert((posting.id, entry.sequence));
                }
            }
        }
        Ok(())
    }

    /// Every class debited must have a path of the table to a class credited in the same entry, and the other way round.
    fn check_paths(&self, entry: &Entry, place: &impl Fn() -> String) -> Step {
        use PostingSide::{Credit, Debit};
        let classes = |layer, side| {
            let of_it = move |posting: &&Posting| (posting.layer, posting.side) == (layer, side);
            entry.draft.postings.iter().filter(of_it).map(|posting| posting.account.class)
        };
        let paths = |debit, credit| PATHS.contains(&(entry.draft.kind, debit, credit));
        let good = |layer| {
            let (debits, credits) = (|| classes(layer, Debit), || classes(layer, Credit));
            debits().all(|debit| credits().any(|credit| paths(debit, credit)))
                && credits().all(|credit| debits().any(|debit| paths(debit, credit)))
        };
        if Layer::ALL.into_iter().all(good) { Ok(()) } else { differs(place(), "moves money off the table of paths") }
    }

    async fn balances(&mut self, reader: &mut JournalReader) -> Step {
        let mut after = None;
        let mut stored = 0;
        loop {
            let page = reader.accounts_after(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, account) in &page {
                let place = || format!("account {}", shown(&account.key));
                if account.key.id() != *id {
                    return differs(place(), "stands under the id of another account");
                }
                let made = self.accounts.get(id).copied().unwrap_or_else(|| Account::empty(account.key));
                if made != *account {
                    let what = format!("has {}, the journal makes {}", four_sums(account), four_sums(&made));
                    return differs(place(), what);
                }
                stored += 1;
            }
        }
        self.seen.accounts = stored;
        let made = u64::try_from(self.accounts.len()).unwrap_or(u64::MAX);
        if made > stored {
            return differs("the accounts", format!("{stored} are stored, the journal has {made}"));
        }
        Ok(())
    }

    /// What payments, transfers and flows hold is what is pending on the accounts, and nothing else is. Answers what of each lot of
    /// bonus they hold.
    async fn holds(&mut self, reader: &mut JournalReader) -> Step<BTreeMap<LotId, i64>> {
        let mut lots: BTreeMap<LotId, i64> = BTreeMap::new();
        let mut held: BTreeMap<AccountId, i64> = BTreeMap::new();
        let mut hold = |key: AccountKey, amount| *held.entry(key.id()).or_default() += amount;
        let mut after = PaymentId::default();
        loop {
            let page = reader.held_payments_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for payment in &page {
                let currency = payment.amount.currency;
                for part in &payment.parts {
                    hold(AccountKey::user(part.source.class(), payment.payer, currency), part.held);
                    if let Source::Bonus(lot) = part.source
                        && part.held > 0
                    {
                        *lots.entry(lot).or_default() += part.held;
                    }
                }
                hold(AccountKey::payable(payment.merchant, currency), payment.held());
            }
        }
        let mut after = TransferId::default();
        loop {
            let page = reader.held_transfers_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for Transfer { sender, receiver, amount, .. } in &page {
                hold(AccountKey::user(Class::Funds, *sender, amount.currency), amount.minor);
                hold(AccountKey::user(Class::Funds, *receiver, amount.currency), amount.minor);
            }
        }
        self.flow_holds(reader, &mut held, &mut lots).await?;
        for (id, account) in &self.accounts {
            let (pending, held) = (account.debits_pending + account.credits_pending, held.remove(id).unwrap_or(0));
            if pending != held {
                let what = format!("{pending} is set aside, payments, transfers and flows hold {held}");
                return differs(format!("account {}", shown(&account.key)), what);
            }
        }
        match held.iter().find(|(_, held)| **held != 0) {
            Some((id, held)) => {
                differs(format!("account {}", hex::encode(id.0)), format!("{held} is held, and nothing is set aside"))
            }
            None => Ok(lots),
        }
    }

    /// The marks by which statements find their way must be where the journal has them, and nowhere else.
    async fn marks(&mut self, reader: &mut JournalReader) -> Step {
        let shown_mark = |(account, sequence): (AccountId, i64)| {
            let account = self.accounts.get(&account).map_or_else(|| hex::encode(account.0), |it| shown(&it.key));
            format!("the mark of account {account} at entry {sequence}")
        };
        let mut missing = self.marks.clone();
        let mut after = None;
        loop {
            let page = reader.marks_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            if let Some(wrong) = page.iter().find(|mark| !missing.remove(mark)) {
                return differs(shown_mark(*wrong), "is none that the journal makes");
            }
        }
        match missing.first() {
            Some(mark) => differs(shown_mark(*mark), "is missing"),
            None => Ok(()),
        }
    }

    async fn audit(&mut self, reader: &mut JournalReader) -> Step {
        let (mut sequence, mut hash) = (0, Digest::default());
        loop {
            let page = reader.audit_after(sequence, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                if row.sequence != sequence + 1 {
                    return differs(format!("audit row {}", sequence + 1), "is missing");
                }
                if row.hash_after(hash) != row.hash {
                    return differs(
                        format!("audit row {} ({})", row.sequence, row.audit.act),
                        "has been changed: its hash does not follow",
                    );
                }
                (sequence, hash) = (row.sequence, row.hash);
                self.seen.audit += 1;
                self.gone.explain(&row.audit);
            }
        }
        let head = reader.audit_head().await?;
        if head != (sequence, hash) {
            return differs("the audit log", format!("ends at row {sequence}, its head says {}", head.0));
        }
        self.gone.check()
    }

    /// Components that records name, and those that are installed.
    async fn components(&mut self, store: &Store) -> Step {
        let mut after = Digest::default();
        loop {
            let page = plugins::component_digests(store, after, 100).await?;
            let Some(last) = page.last() else { break };
            after = *last;
            for digest in page {
                match plugins::component(store, digest).await {
                    Ok(_) => {}
                    Err(StoreError::Damaged(what)) => return differs(format!("component {digest}"), what),
                    Err(error) => return Err(error.into()),
                }
                self.components.remove(&digest);
                self.seen.components += 1;
            }
        }
        match self.components.iter().next() {
            Some(digest) => differs(format!("component {digest}"), "is named by a record and is not there"),
            None => Ok(()),
        }
    }
}

/// An account's sums in words.
fn four_sums(account: &Account) -> String {
    let Account { debits_posted, credits_posted, debits_pending, credits_pending, moved, last, .. } = account;
    format!(
        "debits {debits_posted} and credits {credits_posted} (pending {debits_pending} and {credits_pending}) after {moved} \
         entries, the last of them {last}"
    )
}

/// An account in words: class, owner, currency.
fn shown(key: &AccountKey) -> String {
    match key.owner.is_nil() {
        true => format!("{} {}", key.class.word(), key.currency),
        false => format!("{} of {} {}", key.class.word(), key.owner.simple(), key.currency),
    }
}
