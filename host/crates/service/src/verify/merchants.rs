//! What merchants are owed, by the journal: each closing took in exactly what lies between it and the one before, what is contested and
//! due is what disputes and closings say, and nobody is further behind than was agreed.

use std::collections::{BTreeMap, HashMap};

use koban_domain::accounts::{Account, AccountId, AccountKey, Class, Layer, PostingSide};
use koban_domain::closings::{Closing, ClosingState};
use koban_domain::ids::{ClosingId, DisputeId, MerchantId};
use koban_domain::journal::Entry;
use koban_domain::money::Currency;
use koban_domain::paths::EntryKind;
use koban_store::JournalReader;

use super::{PAGE, Step, differs, shown};

/// What has moved on a merchant's account since the beginning, by what for. Minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    captured: i64,
    refunded: i64,
    disputed: i64,
    returned: i64,
    adjusted: i64,
    closed: i64,
}

impl Totals {
    fn add(&mut self, closing: &Closing) {
        self.captured += closing.captured;
        self.refunded += closing.refunded;
        self.disputed += closing.disputed;
        self.returned += closing.returned;
        self.adjusted += closing.adjusted;
        self.closed += closing.fee + closing.tax + closing.due;
    }

    /// What is left on the account.
    fn left(&self) -> i64 {
        self.captured - self.refunded - self.disputed + self.returned + self.adjusted - self.closed
    }
}

/// What the walk through the journal has seen of merchants' accounts.
#[derive(Debug, Default)]
pub(super) struct Moved {
    totals: HashMap<AccountId, Totals>,
    /// At the entry of each closing, that entry included.
    at: HashMap<ClosingId, (i64, Totals)>,
}

impl Moved {
    /// Takes an entry in.
    pub(super) fn entry(&mut self, entry: &Entry) {
        let mut closed = None;
        for posting in entry.draft.postings.iter().filter(|posting| posting.layer == Layer::Posted) {
            if posting.account.class != Class::Payable {
                continue;
            }
            let (amount, totals) = (posting.amount, self.totals.entry(posting.id).or_default());
            let signed = if posting.side == PostingSide::Credit { amount } else { -amount };
            match (entry.draft.kind, posting.side) {
                (EntryKind::Closing, _) => totals.closed -= signed,
                (EntryKind::Adjustment, _) => totals.adjusted += signed,
                (EntryKind::Dispute, PostingSide::Debit) => totals.disputed += amount,
                (EntryKind::Dispute, PostingSide::Credit) => totals.returned += amount,
                (_, PostingSide::Credit) => totals.captured += amount,
                (_, PostingSide::Debit) => totals.refunded += amount,
            }
            closed = Some(*totals);
        }
        if let Some(totals) = closed.filter(|_| entry.draft.kind == EntryKind::Closing) {
            let id = ClosingId(uuid::Uuid::from_bytes(entry.draft.subject));
            self.at.insert(id, (entry.sequence, totals));
        }
    }

    /// Compares what was seen with the rows.
    pub(super) async fn check(&self, reader: &mut JournalReader, accounts: &BTreeMap<AccountId, Account>) -> Step {
        let mut waiting: BTreeMap<AccountId, i64> = BTreeMap::new();
        self.closings(reader, &mut waiting).await?;
        disputes(reader, &mut waiting).await?;
        for (id, account) in accounts {
            let contested_or_due = matches!(account.key.class, Class::Disputed | Class::PayoutDue);
            let waits = waiting.remove(id).unwrap_or_default();
            if contested_or_due && account.balance() != waits {
                let what = format!("holds {}, disputes and closings say {waits}", account.balance());
                return differs(format!("account {}", shown(&account.key)), what);
            }
        }
        if let Some((id, waits)) = waiting.iter().find(|(_, waits)| **waits != 0) {
            return differs(
                format!("account {}", hex::encode(id.0)),
                format!("is not there, and {waits} should wait on it"),
            );
        }
        self.credit(reader, accounts).await
    }

    async fn closings(&self, reader: &mut JournalReader, waiting: &mut BTreeMap<AccountId, i64>) -> Step {
        let mut last: Option<Closing> = None;
        let (mut sums, mut entries) = (Totals::default(), 0_usize);
        loop {
            let after = last.as_ref().map_or((MerchantId::default(), String::new(), i32::MIN), |last| {
                (last.merchant, last.currency.code().to_owned(), last.until)
            });
            let page = reader.closings_after((after.0, &after.1, after.2), PAGE).await?;
            if page.is_empty() {
                break;
            }
            for closing in page {
                let place = || format!("closing {}", closing.id);
                let of = |closing: &Closing| (closing.merchant, closing.currency);
                let before = last.as_ref().filter(|last| of(last) == of(&closing));
                if before.is_none() {
                    sums = Totals::default();
                }
                let carried = sums.left();
                sums.add(&closing);
                let seen = self.at.get(&closing.id);
                entries += usize::from(seen.is_some());
                if (carried, sums.left()) != (closing.carried, closing.left) {
                    return differs(place(), "does not follow from its own figures and those of the one before");
                }
                // One that moved nothing has no entry; the next one's totals include it.
                if seen.is_some_and(|(_, totals)| *totals != sums) {
                    return differs(place(), "is not what the journal has between it and the one before");
                }
                let own = before.and_then(|before| self.at.get(&before.id));
                let taken = before.map_or(0, |before| own.map_or(before.through, |(sequence, _)| *sequence));
                if closing.after != taken || seen.is_some_and(|(sequence, _)| *sequence <= closing.through) {
                    return differs(
                        place(),
                        format!("begins behind entry {}, the one before ends at {taken}", closing.after),
                    );
                }
                if closing.state == ClosingState::Closed {
                    *waiting.entry(account(Class::PayoutDue, closing.merchant, closing.currency)).or_default() +=
                        closing.due;
                }
                last = Some(closing);
            }
        }
        if entries != self.at.len() {
            return differs(
                "the closings",
                format!("the journal has {} that moved something, {entries} are stored", self.at.len()),
            );
        }
        Ok(())
    }

    /// Nobody is further behind than the credit agreed and what fees took beyond it.
    async fn credit(&self, reader: &mut JournalReader, accounts: &BTreeMap<AccountId, Account>) -> Step {
        let mut floors: HashMap<AccountId, i64> = HashMap::new();
        let mut after = (MerchantId::default(), String::new());
        loop {
            let page = reader.arrangements_after((after.0, &after.1), PAGE).await?;
            let Some(((merchant, currency), _)) = page.last() else { break };
            after = (*merchant, currency.code().to_owned());
            for ((merchant, currency), agreed) in page {
                let id = account(Class::Payable, merchant, currency);
                floors.insert(id, -agreed.credit_limit - agreed.tally.overdrawn);
                let (tally, payable) = (agreed.tally, accounts.get(&id));
                let moved = payable
                    .map_or(0, |payable| payable.credits_posted - tally.credits - payable.debits_posted + tally.debits);
                if payable.map_or(0, Account::balance) != tally.left + moved {
                    return differs(
                        format!("the arrangement with {merchant}"),
                        "does not follow from what the merchant is owed",
                    );
                }
            }
        }
        let behind = accounts.iter().find(|(id, account)| {
            account.key.class == Class::Payable && account.available() < floors.get(id).copied().unwrap_or_default()
        });
        match behind {
            Some((_, account)) => differs(
                format!("account {}", shown(&account.key)),
                format!("has {} and may not be that far behind", account.available()),
            ),
            None => Ok(()),
        }
    }
}

async fn disputes(reader: &mut JournalReader, waiting: &mut BTreeMap<AccountId, i64>) -> Step {
    let mut after = DisputeId::default();
    loop {
        let page = reader.open_disputes_after(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for dispute in &page {
            let of = dispute.of;
            *waiting.entry(account(Class::Disputed, of.merchant, of.currency)).or_default() += dispute.amount.minor;
        }
    }
}

fn account(class: Class, merchant: MerchantId, currency: Currency) -> AccountId {
    AccountKey { class, ..AccountKey::payable(merchant, currency) }.id()
}
