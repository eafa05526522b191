//! Matching a partner's end-of-day file with the books, row by row, and closing what does not match.

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountKey, Class, PluginKey};
use crate::books::{Books, Postings};
use crate::charges::{Exposure, PartnerReference, ReferenceKey, ReferenceState};
use crate::guest::{SettlementLine, Side};
use crate::ids::{FileId, OperatorId};
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::records::Digest;
use crate::time::Timestamp;

/// Most lines of one settlement command; a longer file is taken as several commands of one commit.
pub const LINES_MAX: usize = 1_000;

/// Lines of one settlement file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// Whose partner.
    pub plugin: PluginKey,
    /// The file.
    pub file: FileId,
    /// Digest of its content: the same file twice changes nothing.
    pub digest: Digest,
    /// Its lines, at most [`LINES_MAX`], in one currency.
    pub lines: Vec<SettlementLine>,
}

/// A settlement file that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementFile {
    /// Its id.
    pub id: FileId,
    /// Lines that matched.
    pub matched: u32,
    /// Differences it opened.
    pub differences: u32,
    /// When it was taken.
    pub at: Timestamp,
}

/// A line that does not match the books; open until an operator closes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What our books say, minor units; zero if we know nothing of it.
    pub ours: i64,
    /// What the partner says.
    pub theirs: i64,
    /// In which currency.
    pub currency: Currency,
    /// In which file.
    pub file: FileId,
    /// When it was found.
    pub at: Timestamp,
    /// Whether it still needs an operator.
    pub open: bool,
}

/// What a settlement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settled {
    /// Lines that matched.
    pub matched: u32,
    /// Lines that were listed before and change nothing.
    pub repeated: u32,
    /// Differences opened.
    pub differences: u32,
    /// Exposure released, minor units.
    pub released: i64,
}

/// Matches line by line. A credit releases its exposure when its row came; a reversed one only when both its rows came.
pub fn settle(books: &mut Books, command: &Settle, now: Timestamp) -> Result<(Postings, Settled), Refusal> {
    let currency = command.lines.first().map_or(Currency::JPY, |line| line.amount.currency);
    if command.lines.iter().any(|line| line.amount.currency != currency) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if command.lines.iter().any(|line| line.amount.minor <= 0) {
        return Err(Refusal::AmountNotPositive);
    }
    if !books.exposures.contains(&(command.plugin, currency)) {
        return Err(Refusal::ChannelNotAvailable);
    }
    if books.files.get(&(command.plugin, command.digest)).is_some_and(|known| known.id != command.file) {
        return Err(Refusal::FileUsed);
    }

    // After this point the settlement must succeed.
    let mut postings = Postings::default();
    let mut settled = Settled::default();
    for line in &command.lines {
        match line.side {
            Side::Credit => settle_credit(books, command, line, &mut postings, &mut settled, now)?,
            Side::Reversal => settle_reversal(books, command, line, &mut postings, &mut settled, now)?,
            Side::Fee => {
                let (fees, bank) = (platform(Class::Fees, currency), platform(Class::Bank, currency));
                postings.post(books, EntryKind::Settlement, fees, bank, line.amount.minor)?;
                settled.matched += 1;
            }
            Side::Capture => open(books, command, line, 0, &mut settled, now),
        }
    }
    let before = books.files.get(&(command.plugin, command.digest)).cloned();
    let file = SettlementFile {
        id: command.file,
        matched: before.as_ref().map_or(0, |file| file.matched) + settled.matched,
        differences: before.as_ref().map_or(0, |file| file.differences) + settled.differences,
        at: now,
    };
    books.files.put((command.plugin, command.digest), file);
    Ok((postings, settled))
}

fn platform(class: Class, currency: Currency) -> AccountKey {
    AccountKey::platform(class, currency)
}

fn open(books: &mut Books, command: &Settle, line: &SettlementLine, ours: i64, settled: &mut Settled, now: Timestamp) {
    let key = ReferenceKey { plugin: command.plugin, side: line.side, reference: line.reference.clone() };
    if books.differences.contains(&key) {
        settled.repeated += 1;
        return;
    }
    let difference = Difference {
        ours,
        theirs: line.amount.minor,
        currency: line.amount.currency,
        file: command.file,
        at: now,
        open: true,
    };
    books.differences.put(key, difference);
    settled.differences += 1;
}

fn settle_credit(
    books: &mut Books,
    command: &Settle,
    line: &SettlementLine,
    postings: &mut Postings,
    settled: &mut Settled,
    now: Timestamp,
) -> Result<(), Refusal> {
    let key = ReferenceKey::credit(command.plugin, &line.reference);
    let Some(mut credit) = books.references.get(&key).cloned() else {
        open(books, command, line, 0, settled, now);
        return Ok(());
    };
    match credit.state {
        ReferenceState::Credited | ReferenceState::Suspended => {}
        // Booked and taken back by the partner before we ever credited it: closed when its cancellation is listed, too.
        ReferenceState::Tombstoned | ReferenceState::WrittenOff | ReferenceState::Reversed => {
            open(books, command, line, 0, settled, now);
            return Ok(());
        }
    }
    if credit.listed {
        settled.repeated += 1;
        return Ok(());
    }
    if credit.amount.minor != line.amount.minor {
        let ours = credit.amount.minor;
        open(books, command, line, ours, settled, now);
        return Ok(());
    }
    credit.listed = true;
    settled.matched += 1;
    release_if_complete(books, command.plugin, &mut credit, postings, settled)?;
    books.references.put(key, credit);
    Ok(())
}

fn settle_reversal(
    books: &mut Books,
    command: &Settle,
    line: &SettlementLine,
    postings: &mut Postings,
    settled: &mut Settled,
    now: Timestamp,
) -> Result<(), Refusal> {
    let key = ReferenceKey::reversal(command.plugin, &line.reference);
    let Some(mut reversal) = books.references.get(&key).cloned() else {
        return settle_cancelled(books, command, line, settled, now);
    };
    if reversal.listed {
        settled.repeated += 1;
        return Ok(());
    }
    if reversal.amount.minor != line.amount.minor {
        let ours = reversal.amount.minor;
        open(books, command, line, ours, settled, now);
        return Ok(());
    }
    let of = ReferenceKey::credit(command.plugin, reversal.of.as_deref().unwrap_or(&line.reference));
    let credit = books.references.get(&of).cloned();
    if credit.as_ref().is_some_and(|credit| credit.state == ReferenceState::WrittenOff) {
        open(books, command, line, 0, settled, now);
        return Ok(());
    }
    reversal.listed = true;
    settled.matched += 1;
    if let Some(mut credit) = credit {
        credit.reversed_listed += reversal.amount.minor;
        if credit.released {
            // The credit was settled before it was reversed: the partner keeps the money back now.
            let currency = line.amount.currency;
            let (clearing, bank) =
                (AccountKey::clearing(command.plugin, currency), platform(Class::Bank, currency));
            postings.post(books, EntryKind::Settlement, clearing, bank, reversal.amount.minor)?;
        } else {
            release_if_complete(books, command.plugin, &mut credit, postings, settled)?;
        }
        books.references.put(of, credit);
    }
    books.references.put(key, reversal);
    Ok(())
}

/// A cancellation of something that we never credited: with the listed booking of the same amount it closes itself.
fn settle_cancelled(
    books: &mut Books,
    command: &Settle,
    line: &SettlementLine,
    settled: &mut Settled,
    now: Timestamp,
) -> Result<(), Refusal> {
    let booking = ReferenceKey::credit(command.plugin, &line.reference);
    let closing = books
        .differences
        .get(&booking)
        .filter(|difference| difference.open && difference.ours == 0 && difference.theirs == line.amount.minor)
        .cloned();
    let Some(difference) = closing else {
        open(books, command, line, 0, settled, now);
        return Ok(());
    };
    books.differences.put(booking, Difference { open: false, ..difference });
    let cancelled = Difference {
        ours: 0,
        theirs: line.amount.minor,
        currency: line.amount.currency,
        file: command.file,
        at: now,
        open: false,
    };
    books.differences.put(ReferenceKey::reversal(command.plugin, &line.reference), cancelled);
    settled.differences = settled.differences.saturating_sub(u32::from(difference.file == command.file));
    settled.matched += 2;
    Ok(())
}

fn release_if_complete(
    books: &mut Books,
    plugin: PluginKey,
    credit: &mut PartnerReference,
    postings: &mut Postings,
    settled: &mut Settled,
) -> Result<(), Refusal> {
    if !credit.listed || credit.released || credit.reversed != credit.reversed_listed {
        return Ok(());
    }
    let currency = credit.amount.currency;
    let (clearing, bank) = (AccountKey::clearing(plugin, currency), platform(Class::Bank, currency));
    postings.post(books, EntryKind::Settlement, bank, clearing, credit.amount.minor - credit.reversed)?;
    settled.released += credit.exposed;
    release(books, plugin, credit);
    Ok(())
}

fn release(books: &mut Books, plugin: PluginKey, credit: &mut PartnerReference) {
    let key = (plugin, credit.amount.currency);
    if let Some(exposure) = books.exposures.get(&key).copied() {
        books.exposures.put(key, Exposure { used: exposure.used - credit.exposed, ..exposure });
    }
    credit.released = true;
}

/// An operator closes a difference, or a credit that the partner never settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOff {
    /// Whose partner.
    pub plugin: PluginKey,
    /// Which side of the reference.
    pub side: Side,
    /// The partner's reference.
    pub reference: String,
    /// Who closes it.
    pub operator: OperatorId,
    /// Why, for the audit.
    pub reason: String,
}

/// What closing a difference did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenOff {
    /// Lost, against the plugin's loss budget.
    pub lost: Money,
    /// What the partner paid too much, now in suspense.
    pub to_suspense: Money,
}

/// Posts what the partner really paid and writes the rest off against the plugin's loss budget.
pub fn write_off(books: &mut Books, command: &WriteOff) -> Result<(Postings, WrittenOff), Refusal> {
    let key =
        ReferenceKey { plugin: command.plugin, side: command.side, reference: command.reference.clone() };
    let difference = books.differences.get(&key).filter(|difference| difference.open).cloned();
    let known = books.references.get(&key).cloned();
    let unsettled = known.clone().filter(|known| {
        matches!(known.state, ReferenceState::Credited | ReferenceState::Suspended) && !known.released
    });
    let currency = match (&difference, &unsettled) {
        (Some(difference), _) => difference.currency,
        (None, Some(credit)) => credit.amount.currency,
        (None, None) => return Err(Refusal::DifferenceNotFound),
    };
    let exposure_key = (command.plugin, currency);
    let exposure = *books.exposures.get(&exposure_key).ok_or(Refusal::ChannelNotAvailable)?;
    let theirs = difference.as_ref().map_or(0, |difference| difference.theirs);
    // What reached or left the bank, what cleared, what was lost and what was too much; positive reaches the bank.
    let (banked, cleared, lost, extra) = match (command.side, &unsettled) {
        (Side::Credit, Some(credit)) => {
            let owed = credit.amount.minor - credit.reversed;
            let paid = if difference.is_some() { theirs - credit.reversed } else { 0 };
            (paid, paid.min(owed), (owed - paid).max(0), (paid - owed).max(0))
        }
        (Side::Credit, None) => (theirs, 0, 0, theirs),
        (Side::Reversal, _) => {
            let ours = difference.as_ref().map_or(0, |difference| difference.ours);
            (-theirs, -ours.min(theirs), (theirs - ours).max(0), (ours - theirs).max(0))
        }
        (Side::Capture | Side::Fee, _) => (0, 0, 0, 0),
    };
    if exposure.lost.checked_add(lost).is_none_or(|total| total > exposure.loss_budget) {
        return Err(Refusal::LossBudgetExhausted);
    }

    // After this point the write-off must succeed.
    let kind = EntryKind::WriteOff;
    let clearing = AccountKey::clearing(command.plugin, currency);
    let [bank, loss, suspense] =
        [Class::Bank, Class::WriteOff, Class::Suspense].map(|class| platform(class, currency));
    let mut postings = Postings::default();
    match command.side {
        Side::Credit => {
            if banked >= 0 {
                postings.post(books, kind, bank, clearing, cleared)?;
                postings.post(books, kind, bank, suspense, extra)?;
            } else {
                postings.post(books, kind, clearing, bank, -banked)?;
            }
            postings.post(books, kind, loss, clearing, lost)?;
        }
        Side::Reversal => {
            postings.post(books, kind, clearing, bank, -cleared)?;
            postings.post(books, kind, loss, bank, lost)?;
            postings.post(books, kind, clearing, suspense, extra)?;
        }
        Side::Capture | Side::Fee => {}
    }
    books.exposures.put(exposure_key, Exposure { lost: exposure.lost + lost, ..exposure });
    if let Some(difference) = difference {
        books.differences.put(key.clone(), Difference { open: false, ..difference });
    }
    match (command.side, unsettled, known) {
        (Side::Credit, Some(mut credit), _) => {
            release(books, command.plugin, &mut credit);
            credit.listed = true;
            credit.reversed_listed = credit.reversed;
            credit.state = ReferenceState::WrittenOff;
            books.references.put(key, credit);
        }
        (Side::Reversal, _, Some(mut reversal)) => {
            let of = ReferenceKey::credit(command.plugin, reversal.of.as_deref().unwrap_or(&command.reference));
            if let Some(mut credit) = books.references.get(&of).cloned() {
                credit.reversed_listed = credit.reversed.min(credit.reversed_listed + reversal.amount.minor);
                books.references.put(of, credit);
            }
            reversal.listed = true;
            books.references.put(key, reversal);
        }
        _ => {}
    }
    Ok((postings, WrittenOff { lost: Money::new(lost, currency), to_suspense: Money::new(extra, currency) }))
}
