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

/// Matches line by line. A credit releases its exposure when its row came, a reversed one only when both its rows came; a capture
/// leaves the bank with its row.
pub fn settle(books: &mut Books, command: &Settle, now: Timestamp) -> Result<(Postings, Settled), Refusal> {
    if command.lines.iter().any(|line| line.amount.minor <= 0) {
        return Err(Refusal::AmountNotPositive);
    }
    // Wallets are in yen: a file in another currency has nothing to match.
    if command.lines.iter().any(|line| line.amount.currency != Currency::JPY) {
        return Err(Refusal::CurrencyNotAccepted);
    }
    if !books.exposures.contains(&(command.plugin, Currency::JPY)) {
        return Err(Refusal::ChannelNotAvailable);
    }
    let before = books.files.get(&(command.plugin, command.digest)).cloned();
    if before.as_ref().is_some_and(|known| known.id != command.file) {
        return Err(Refusal::FileUsed);
    }

    // After this point the settlement must succeed.
    let mut matching = Matching { books, command, now, postings: Postings::default(), settled: Settled::default() };
    for line in &command.lines {
        matching.take(line)?;
    }
    let Matching { postings, settled, .. } = matching;
    let (matched, differences) = before.map_or((0, 0), |file| (file.matched, file.differences));
    let file = SettlementFile {
        id: command.file,
        matched: matched.saturating_add(settled.matched),
        differences: differences.saturating_add(settled.differences),
        at: now,
    };
    books.files.put((command.plugin, command.digest), file);
    Ok((postings, settled))
}

fn platform(class: Class, currency: Currency) -> AccountKey {
    AccountKey::platform(class, currency)
}

/// One file being matched.
struct Matching<'a> {
    books: &'a mut Books,
    command: &'a Settle,
    now: Timestamp,
    postings: Postings,
    settled: Settled,
}

impl Matching<'_> {
    fn take(&mut self, line: &SettlementLine) -> Result<(), Refusal> {
        let key = ReferenceKey { plugin: self.command.plugin, side: line.side, reference: line.reference.clone() };
        match (line.side, waiting(self.books, &key)) {
            (_, Some(Waiting::Credit(credit))) if credit.amount == line.amount => self.credit(key, credit),
            (_, Some(Waiting::Reversal(reversal, of, credit))) if reversal.amount == line.amount => {
                self.reversal(key, reversal, of, credit)
            }
            (_, Some(Waiting::Capture(capture))) if capture.amount == line.amount => self.capture(key, capture),
            (Side::Fee, _) if !self.books.differences.contains(&key) && self.bears(&key, line) => self.fee(key, line),
            _ => {
                self.differ(key, line);
                Ok(())
            }
        }
    }

    fn credit(&mut self, key: ReferenceKey, mut credit: PartnerReference) -> Result<(), Refusal> {
        credit.listed = true;
        self.agree(&key, &credit);
        self.release_if_complete(&mut credit)?;
        self.books.references.put(key, credit);
        Ok(())
    }

    fn reversal(
        &mut self,
        key: ReferenceKey,
        mut reversal: PartnerReference,
        of: ReferenceKey,
        mut credit: PartnerReference,
    ) -> Result<(), Refusal> {
        reversal.listed = true;
        self.agree(&key, &reversal);
        credit.reversed_listed += reversal.amount.minor;
        if credit.released {
            // The credit was settled before it was reversed: the partner keeps the money back now.
            let Money { minor, currency } = reversal.amount;
            let (clearing, bank) = (AccountKey::clearing(key.plugin, currency), platform(Class::Bank, currency));
            self.postings.post(self.books, EntryKind::Settlement, clearing, bank, minor)?;
        } else {
            self.release_if_complete(&mut credit)?;
        }
        self.books.references.put(of, credit);
        self.books.references.put(key, reversal);
        Ok(())
    }

    /// The partner lists what it took: it has left the bank.
    fn capture(&mut self, key: ReferenceKey, mut capture: PartnerReference) -> Result<(), Refusal> {
        capture.listed = true;
        self.agree(&key, &capture);
        let Money { minor, currency } = capture.amount;
        let (in_transit, bank) = (AccountKey::in_transit(key.plugin, currency), platform(Class::Bank, currency));
        self.postings.post(self.books, EntryKind::Settlement, in_transit, bank, minor)?;
        self.settled.released += capture.exposed;
        release(self.books, key.plugin, &mut capture);
        self.books.references.put(key, capture);
        Ok(())
    }

    /// Whether the credit or the capture of the same reference is large enough to bear this fee. Any other fee waits for an operator: else a
    /// line of a file could move any amount.
    fn bears(&self, key: &ReferenceKey, line: &SettlementLine) -> bool {
        let of = |side| self.books.references.get(&ReferenceKey { side, ..key.clone() });
        [of(Side::Credit), of(Side::Capture)]
            .into_iter()
            .flatten()
            .any(|known| known.amount.currency == line.amount.currency && line.amount.minor <= known.amount.minor)
    }

    /// A fee is the partner's word alone: posted once for each reference, and noted as a difference that is closed already.
    fn fee(&mut self, key: ReferenceKey, line: &SettlementLine) -> Result<(), Refusal> {
        let Money { minor, currency } = line.amount;
        let (fees, bank) = (platform(Class::Fees, currency), platform(Class::Bank, currency));
        self.postings.post(self.books, EntryKind::Settlement, fees, bank, minor)?;
        self.books.differences.put(key, Difference { open: false, ..self.difference(line, minor) });
        self.settled.matched += 1;
        Ok(())
    }

    /// The line agrees with the books; what an earlier file said otherwise is closed with it.
    fn agree(&mut self, key: &ReferenceKey, known: &PartnerReference) {
        self.settled.matched += 1;
        let theirs = known.amount.minor;
        if let Some(open) = self.books.differences.get(key).cloned() {
            self.books.differences.put(key.clone(), Difference { ours: theirs, theirs, open: false, ..open });
        }
    }

    /// The line is not what the books wait for. A booking and its cancellation of which the books know nothing close each
    /// other; anything else stays open for an operator, with what the partner said last.
    fn differ(&mut self, key: ReferenceKey, line: &SettlementLine) {
        let known = self.books.differences.get(&key);
        // A difference with this amount is open already, or was cancelled out: the line says nothing new.
        if known.is_some_and(|known| known.theirs == line.amount.minor && (known.open || known.ours == 0)) {
            self.settled.repeated += 1;
            return;
        }
        let ours = self.ours(&key);
        let difference = self.difference(line, ours);
        if ours == line.amount.minor {
            // What the books have taken already; should another file have said otherwise since, it is taken back.
            if self.books.differences.get(&key).is_some_and(|known| known.open) {
                self.books.differences.put(key, Difference { open: false, ..difference });
            }
            self.settled.repeated += 1;
            return;
        }
        self.part(&key);
        let Some((other, counterpart)) = self.counterpart(&key, &difference) else {
            self.books.differences.put(key, difference);
            self.settled.differences += 1;
            return;
        };
        if counterpart.file == self.command.file {
            self.settled.differences = self.settled.differences.saturating_sub(1);
        }
        self.books.differences.put(other, Difference { open: false, ..counterpart });
        self.books.differences.put(key, Difference { open: false, ..difference });
        self.settled.matched += 2;
    }

    /// Opens the other half of two lines that cancelled each other out, because the partner says otherwise of this one now.
    fn part(&mut self, key: &ReferenceKey) {
        let is_cancelled = |difference: &&Difference| !difference.open && difference.ours == 0;
        let Some(other) = opposite(key) else { return };
        if self.books.differences.get(key).filter(is_cancelled).is_some()
            && let Some(half) = self.books.differences.get(&other).filter(is_cancelled).cloned()
        {
            self.books.differences.put(other, Difference { open: true, ..half });
            self.settled.differences += 1;
        }
    }

    /// What the books have taken of the partner's line, or will take when it comes as they expect it.
    fn ours(&self, key: &ReferenceKey) -> i64 {
        match self.books.references.get(key) {
            Some(known) if known.is_unlisted() => waiting(self.books, key).map_or(0, |_| known.amount.minor),
            known => match self.books.differences.get(key) {
                Some(difference) => difference.ours,
                None => known.map_or(0, |known| known.amount.minor),
            },
        }
    }

    /// The open line of the other side that cancels this one out.
    fn counterpart(&self, key: &ReferenceKey, difference: &Difference) -> Option<(ReferenceKey, Difference)> {
        let other = opposite(key)?;
        let counterpart = self.books.differences.get(&other).filter(|other| other.open)?;
        let cancels = counterpart.theirs == difference.theirs && difference.ours == 0 && self.ours(&other) == 0;
        cancels.then(|| (other, Difference { ours: 0, ..counterpart.clone() }))
    }

    fn difference(&self, line: &SettlementLine, ours: i64) -> Difference {
        Difference {
            ours,
            theirs: line.amount.minor,
            currency: line.amount.currency,
            file: self.command.file,
            at: self.now,
            open: true,
        }
    }

    fn release_if_complete(&mut self, credit: &mut PartnerReference) -> Result<(), Refusal> {
        let (kind, plugin) = (EntryKind::Settlement, self.command.plugin);
        self.settled.released += release_if_complete(self.books, kind, plugin, credit, &mut self.postings)?;
        Ok(())
    }
}

/// The booking of a cancellation, or the cancellation of a booking.
fn opposite(key: &ReferenceKey) -> Option<ReferenceKey> {
    let side = match key.side {
        Side::Credit => Side::Reversal,
        Side::Reversal => Side::Credit,
        Side::Capture | Side::Fee => return None,
    };
    Some(ReferenceKey { side, ..key.clone() })
}

/// What the partner has yet to list.
enum Waiting {
    Credit(PartnerReference),
    /// A reversal, with the key of the credit that it takes back and that credit.
    Reversal(PartnerReference, ReferenceKey, PartnerReference),
    Capture(PartnerReference),
}

/// The credit, reversal or capture under this key that stands in the books and was not listed yet.
fn waiting(books: &Books, key: &ReferenceKey) -> Option<Waiting> {
    let known = books.references.get(key).filter(|known| known.is_unlisted())?.clone();
    if known.is_live() {
        return Some(Waiting::Credit(known));
    }
    if known.state == ReferenceState::Captured {
        return Some(Waiting::Capture(known));
    }
    if known.state != ReferenceState::Reversed {
        return None;
    }
    let of = ReferenceKey::credit(key.plugin, known.of.as_deref().unwrap_or(&key.reference));
    // A reversal whose credit was written off went with it.
    let credit = books.references.get(&of).filter(|credit| credit.is_live())?.clone();
    Some(Waiting::Reversal(known, of, credit))
}

/// Once its row and the rows of all its reversals came, a credit reaches the bank. Gives the exposure that it releases.
fn release_if_complete(
    books: &mut Books,
    kind: EntryKind,
    plugin: PluginKey,
    credit: &mut PartnerReference,
    postings: &mut Postings,
) -> Result<i64, Refusal> {
    if !credit.listed || credit.released || credit.reversed != credit.reversed_listed {
        return Ok(0);
    }
    let currency = credit.amount.currency;
    let (clearing, bank) = (AccountKey::clearing(plugin, currency), platform(Class::Bank, currency));
    postings.post(books, kind, bank, clearing, credit.amount.minor - credit.reversed)?;
    release(books, plugin, credit);
    Ok(credit.exposed)
}

fn release(books: &mut Books, plugin: PluginKey, credit: &mut PartnerReference) {
    let key = (plugin, credit.amount.currency);
    if let Some(exposure) = books.exposures.get(&key).copied() {
        books.exposures.put(key, Exposure { used: exposure.used - credit.exposed, ..exposure });
    }
    credit.released = true;
}

/// An operator closes a difference, or a credit, reversal or capture that the partner never listed.
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

/// Takes what the partner says as the truth: posts what it really paid or kept, writes what is missing off against the plugin's
/// loss budget, and puts what is too much in suspense.
pub fn write_off(books: &mut Books, command: &WriteOff) -> Result<(Postings, WrittenOff), Refusal> {
    let key = ReferenceKey { plugin: command.plugin, side: command.side, reference: command.reference.clone() };
    let closing = Closing::of(books, key)?;
    let exposure_key = (command.plugin, closing.currency);
    let exposure = *books.exposures.get(&exposure_key).ok_or(Refusal::ChannelNotAvailable)?;
    let Closing { banked, cleared, .. } = closing;
    // What is missing in the bank of what should clear, or what is there beyond it.
    let (lost, extra) = ((cleared - banked).max(0), (banked - cleared).max(0));
    if lost > 0 && exposure.lost.checked_add(lost).is_none_or(|total| total > exposure.loss_budget) {
        return Err(Refusal::LossBudgetExhausted);
    }

    // After this point the write-off must succeed.
    let mut postings = Postings::default();
    closing.post(books, &mut postings)?;
    books.exposures.put(exposure_key, Exposure { lost: exposure.lost + lost, ..exposure });
    let currency = closing.currency;
    closing.close(books, &mut postings)?;
    Ok((postings, WrittenOff { lost: Money::new(lost, currency), to_suspense: Money::new(extra, currency) }))
}

/// What closing a line comes to. All amounts are signed: positive reaches the bank, and leaves clearing.
struct Closing {
    key: ReferenceKey,
    difference: Option<Difference>,
    /// The credit, reversal or capture that is closed with it.
    waiting: Option<Waiting>,
    currency: Currency,
    /// What the partner paid by the bank; less than zero if it kept money back.
    banked: i64,
    /// What leaves the clearing account; less than zero what leaves the one for what is in transit.
    cleared: i64,
}

impl Closing {
    fn of(books: &Books, key: ReferenceKey) -> Result<Closing, Refusal> {
        let difference = books.differences.get(&key).filter(|difference| difference.open).cloned();
        // A listed credit may still wait for the rows of its reversals.
        let incomplete = books.references.get(&key).filter(|known| known.is_live() && known.listed && !known.released);
        let waiting = waiting(books, &key).or(incomplete.cloned().map(Waiting::Credit));
        let theirs = difference.as_ref().map(|difference| difference.theirs);
        let (banked, cleared, currency) = match (&waiting, &difference) {
            (Some(Waiting::Credit(credit)), _) => {
                let listed = if credit.listed { credit.amount.minor } else { 0 };
                let banked = theirs.unwrap_or(listed) - credit.reversed_listed;
                (banked, credit.amount.minor - credit.reversed, credit.amount.currency)
            }
            // A settled credit that was reversed since still has to leave the bank.
            (Some(Waiting::Reversal(reversal, _, credit)), _) if credit.released => {
                (-theirs.unwrap_or(0), -reversal.amount.minor, reversal.amount.currency)
            }
            // Its credit will reach the bank with our view of the reversal taken off: only what differs is posted.
            (Some(Waiting::Reversal(reversal, ..)), _) => {
                (reversal.amount.minor - theirs.unwrap_or(0), 0, reversal.amount.currency)
            }
            // What we owe the partner leaves the bank as far as it says so; the rest nobody wants.
            (Some(Waiting::Capture(capture)), _) => {
                (-theirs.unwrap_or(0), -capture.amount.minor, capture.amount.currency)
            }
            (None, Some(difference)) => {
                let is_taken = books.references.get(&key).is_none_or(|known| !known.is_unlisted());
                let more = difference.theirs - if is_taken { difference.ours } else { 0 };
                (if key.side == Side::Credit { more } else { -more }, 0, difference.currency)
            }
            (None, None) => return Err(Refusal::DifferenceNotFound),
        };
        Ok(Closing { key, difference, waiting, currency, banked, cleared })
    }

    fn post(&self, books: &mut Books, postings: &mut Postings) -> Result<(), Refusal> {
        let kind = EntryKind::WriteOff;
        let clearing = match &self.waiting {
            Some(Waiting::Capture(_)) => AccountKey::in_transit(self.key.plugin, self.currency),
            _ => AccountKey::clearing(self.key.plugin, self.currency),
        };
        let [bank, loss, suspense] =
            [Class::Bank, Class::WriteOff, Class::Suspense].map(|class| platform(class, self.currency));
        // What both sides agree on goes between bank and clearing; the rest is too much or too little on one of them.
        let both = match self.banked.signum() == self.cleared.signum() {
            true => self.banked.signum() * self.banked.abs().min(self.cleared.abs()),
            false => 0,
        };
        let (banked, cleared) = (self.banked - both, self.cleared - both);
        postings.post(books, kind, bank, clearing, both.max(0))?;
        postings.post(books, kind, clearing, bank, (-both).max(0))?;
        postings.post(books, kind, bank, suspense, banked.max(0))?;
        postings.post(books, kind, loss, bank, (-banked).max(0))?;
        postings.post(books, kind, loss, clearing, cleared.max(0))?;
        postings.post(books, kind, clearing, suspense, (-cleared).max(0))
    }

    /// Nothing of it stays open: the difference says what the books have taken, and what waited does not any more.
    fn close(self, books: &mut Books, postings: &mut Postings) -> Result<(), Refusal> {
        let plugin = self.key.plugin;
        let mut known = books.references.get(&self.key).cloned();
        if let Some(difference) = self.difference {
            if let Some(known) = &mut known {
                known.listed = true;
            }
            let closed = Difference { ours: difference.theirs, open: false, ..difference };
            books.differences.put(self.key.clone(), closed);
        }
        let Some(mut known) = known else { return Ok(()) };
        match self.waiting {
            Some(Waiting::Credit(_) | Waiting::Capture(_)) => {
                known.state = ReferenceState::WrittenOff;
                release(books, plugin, &mut known);
            }
            Some(Waiting::Reversal(reversal, of, mut credit)) => {
                known.state = ReferenceState::WrittenOff;
                credit.reversed_listed += reversal.amount.minor;
                release_if_complete(books, EntryKind::WriteOff, plugin, &mut credit, postings)?;
                books.references.put(of, credit);
            }
            None => {}
        }
        books.references.put(self.key, known);
        Ok(())
    }
}
