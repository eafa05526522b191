//! A second pair of eyes: the fourteen invariants of the books, checked by a program that shares no code with the host.
//!
//! It reads the database (either dialect, one snapshot), the clients' log of what they were told, the partner's own book and what
//! receivers of webhooks heard; nothing else. Bytes are decoded here, by docs/reference/encoding.md. Classes, floors, entry kinds and the table of
//! paths are read from the reference pages themselves, so a page that lags behind the code is a finding, too.
//!
//! `koban ledger verify` names the first difference and streams; this names every one it finds and holds all rows in memory: it is for
//! the databases of tests and soaks.

mod books;
mod canonical;
mod evidence;
mod exchanges;
mod holds;
mod journal;
mod merchants;
mod outbox;
mod privileges;
mod projections;
mod records;
mod requests;
mod rules;
mod schedules;
mod source;
mod tenants;

use std::fmt;

pub use evidence::{Acknowledged, Evidence, Heard, NotEvidence};
pub use source::Source;

use books::Books;
use rules::Rules;

/// One of the fourteen invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Postings sum to zero per entry, layer and currency.
    I1 = 1,
    /// No available balance lies below its floor, after any entry.
    I2,
    /// Every acknowledged write is present, and nothing is present that no request explains.
    I3,
    /// One effect per idempotency key and per external reference.
    I4,
    /// Every hold ends once, and no more is captured than is held.
    I5,
    /// Refunds and disputes stay within what was captured.
    I6,
    /// Both legs of an exchange are there, and rounding leaves at most one minor unit.
    I7,
    /// What is paid is what the payee gets; what merchants are closed with is that, less fee and tax.
    I8,
    /// The partner's book equals ours.
    I9,
    /// Every event is told, once by its id, in order.
    I10,
    /// Balances, statements and counters equal what the journal makes.
    I11,
    /// The chains hold, and every privileged act has its audit row.
    I12,
    /// No row belongs to another tenant than what it is about.
    I13,
    /// No plugin moved money but by a proposal that the host checked.
    I14,
}

impl Invariant {
    /// Every one, in order.
    pub const ALL: [Invariant; 14] = [
        Invariant::I1,
        Invariant::I2,
        Invariant::I3,
        Invariant::I4,
        Invariant::I5,
        Invariant::I6,
        Invariant::I7,
        Invariant::I8,
        Invariant::I9,
        Invariant::I10,
        Invariant::I11,
        Invariant::I12,
        Invariant::I13,
        Invariant::I14,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{}", *self as u8)
    }
}

/// A place where an invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which one.
    pub invariant: Invariant,
    /// Where, such as `entry 42`.
    pub place: String,
    /// What is there and what must be.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.invariant, self.place, self.what)
    }
}

/// Most findings that are kept; more are counted.
const FINDINGS_MAX: usize = 200;

/// What was looked at and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Entries of the journal.
    pub entries: usize,
    /// Dealings: payments, captures, refunds, transfers and exchanges.
    pub dealings: usize,
    /// Events of the outbox.
    pub events: usize,
    /// Acknowledgements that were compared.
    pub acknowledged: usize,
    /// What does not hold.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub more: usize,
}

impl Report {
    /// Whether everything holds.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether this invariant was found broken.
    pub fn names(&self, invariant: Invariant) -> bool {
        self.findings.iter().any(|finding| finding.invariant == invariant)
    }

    fn add(&mut self, invariant: Invariant, place: impl Into<String>, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { invariant, place: place.into(), what: what.into() });
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        let Report { entries, dealings, events, acknowledged, .. } = self;
        let verdict = if self.is_clean() { "clean" } else { "BROKEN" };
        write!(
            f,
            "{verdict}: {entries} entries, {dealings} dealings, {events} events, {acknowledged} acknowledgements compared"
        )
    }
}

/// What keeps the auditor from looking at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database does not answer.
    #[error("the database cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    /// A row is not what its table promises.
    #[error("{0}")]
    Unreadable(String),
}

/// Looks at everything in one snapshot of the database. Errors: only what keeps it from looking at all.
pub async fn audit(source: &mut Source, evidence: &Evidence) -> Result<Report, AuditError> {
    source.begin().await?;
    let report = audit_within(source, evidence).await;
    source.end().await?;
    report
}

/// The same inside a transaction of the caller, who may have changed something to see it found.
pub async fn audit_within(source: &mut Source, evidence: &Evidence) -> Result<Report, AuditError> {
    let rules = Rules::from_pages()?;
    let books = Books::read(source).await?;
    let mut report = Report {
        entries: books.entries.len(),
        dealings: ["payments", "captures", "refunds", "transfers", "exchanges"]
            .map(|table| books.table(table).len())
            .iter()
            .sum(),
        events: books.news.len(),
        acknowledged: evidence.acknowledged.len(),
        ..Report::default()
    };
    for damaged in &books.damaged {
        report.add(Invariant::I12, damaged.clone(), "cannot be decoded");
    }
    let look = Look { rules: &rules, books: &books, evidence };
    let out = &mut report;
    journal::i1_postings_sum_to_zero(&look, out);
    journal::i2_no_balance_lies_below_its_floor(&look, out);
    merchants::i2_no_merchant_is_beyond_its_credit(&look, out)?;
    requests::i3_what_was_acknowledged_is_there_and_nothing_else(&look, out)?;
    schedules::i3_schedules_are_done_once(&look, out)?;
    requests::i4_one_effect_per_key_and_reference(&look, out)?;
    holds::i5_every_hold_ends_once(&look, out)?;
    holds::i6_no_more_goes_back_than_was_captured(&look, out)?;
    exchanges::i7_exchanges_have_both_legs(&look, out)?;
    exchanges::i8_what_is_paid_is_what_is_got_and_kept(&look, out)?;
    merchants::i8_closings_are_what_the_journal_moved(&look, out)?;
    evidence::i9_the_partners_book_is_ours(&look, out)?;
    outbox::i10_every_event_is_told_in_order(&look, out)?;
    projections::i11_balances_follow_from_the_journal(&look, out)?;
    privileges::i12_chains_hold_and_privileged_acts_are_audited(&look, out)?;
    tenants::i13_rows_stay_with_their_tenant(&look, out)?;
    tenants::i14_plugins_moved_money_by_checked_proposals_alone(&look, out)?;
    report.findings.sort_by_key(|finding| finding.invariant);
    Ok(report)
}

/// Everything there is to look at.
struct Look<'a> {
    rules: &'a Rules,
    books: &'a Books,
    evidence: &'a Evidence,
}
