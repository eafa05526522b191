//! The one place where work becomes entries: loaded books and a command in, postings or a refusal out.

mod parts;
mod trial;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{self, Freeze, Warrant};
use crate::accounts::{AccountId, PluginKey};
use crate::adjustments::{self, Adjustment, Judge, Propose};
use crate::arrangements::{self, Arrange, Arrangement};
use crate::bills::{self, ClaimBill, FreeBill};
use crate::bonus::{self, Campaign, Ended, Grant, Lot, OfLot, Plan, Revoke};
use crate::books::{Books, Postings};
use crate::captures::{self, Capture, Collect, Increase, OfPayment};
use crate::charges::{self, ChargeCredit, ChargeReversal, Credited, Tombstone};
use crate::closings::{self, Closing, MakeClosing, PayOut};
use crate::closures::{self, Close};
use crate::disputes::{self, Dispute, EndDispute, OpenDispute};
use crate::events;
use crate::exchanges::{self, Exchange, Trade};
use crate::flows::{self, Arrival, StepCommit};
use crate::gifts::{self, Gift, TakeBack};
use crate::holds::{self, LetGo, SetAside, Take, Taken};
use crate::ids::{AuditId, EntryId, EventId, FlowId, KeyId, MerchantId, RecordId, UserId};
use crate::journal::{Draft, Entry, Head};
use crate::links::{self, OfLink};
use crate::money::Money;
use crate::operations::{Claim, Operation, OperationKey};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::payments::{self, Pay, Payment};
use crate::policy::Reliance;
use crate::records::{Digest, Held, Record};
use crate::refunds::{self, GiveBack, Refund};
use crate::reviews::{self, Conclude, Concluded, Review};
use crate::settlements::{self, Settle, Settled, WriteOff, WrittenOff};
use crate::signals::{Ring, Subjects};
use crate::step_ups::{self, Challenge};
use crate::subscriptions::Heard;
use crate::time::{Timestamp, date_of_day};
use crate::transfers::{self, Send, Transfer};
use crate::verification::{self, Submission, Unverify, Verify};

pub use trial::{Foreseen, LimitUse, Trial};

/// What a use case asks of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A partner brings money.
    Credit(ChargeCredit),
    /// A partner takes a credit back.
    Reverse(ChargeReversal),
    /// A reference is killed.
    Tombstone(Tombstone),
    /// A user pays a merchant.
    Pay(Pay),
    /// A merchant gives money back.
    Refund(GiveBack),
    /// A user sends money.
    Transfer(Send),
    /// A user is verified.
    Verify(Verify),
    /// A user submits what shall verify them.
    Submit(Submission),
    /// A verification is rejected or revoked.
    Unverify(Unverify),
    /// Somebody is frozen, or no longer.
    Freeze(Freeze),
    /// An account is closed.
    Close(Close),
    /// An operator proposes an adjustment.
    Propose(Propose),
    /// Another operator decides it.
    Judge(Judge),
    /// A settlement file is matched.
    Settle(Settle),
    /// A difference is closed.
    WriteOff(WriteOff),
    /// A flow expects calls with a correlation. Never refused: if another flow has it, the effect ends as lost.
    Expect(Expect),
    /// A call came that no flow expects. Errors: [`Refusal::CorrelationTaken`] if one does.
    Unexpected(Unexpected),
    /// A merchant takes from what is held for it.
    Collect(Collect),
    /// A merchant lets go of what is held for it.
    Void(OfPayment),
    /// The time of a hold has run out.
    Expire(OfPayment),
    /// A payer has more held.
    Increase(Increase),
    /// A review ends.
    Conclude(Conclude),
    /// A user exchanges one currency for another.
    Exchange(Trade),
    /// A campaign is made or changed.
    Plan(Plan),
    /// A campaign grants a lot of bonus.
    Grant(Grant),
    /// The time of a lot has run out.
    Lapse(OfLot),
    /// An operator takes back what is left of a lot.
    Revoke(Revoke),
    /// An operator lets a lot be spent before its date.
    Release(OfLot),
    /// An operator sets the terms for a merchant.
    Arrange(Arrange),
    /// A contested amount is set aside.
    OpenDispute(OpenDispute),
    /// A dispute ends.
    EndDispute(EndDispute),
    /// A merchant is closed with.
    MakeClosing(MakeClosing),
    /// What a closing says was paid.
    PayOut(PayOut),
    /// A plugin has a campaign grant a lot of bonus.
    Gift(Gift),
    /// A plugin takes back what it gave.
    TakeBack(TakeBack),
    /// A flow sets money aside.
    SetAside(SetAside),
    /// A partner took what was set aside.
    Take(Take),
    /// What was set aside is let go.
    LetGo(LetGo),
    /// A flow begins to pay a bill.
    ClaimBill(ClaimBill),
    /// A flow ended without paying its bill.
    FreeBill(FreeBill),
    /// Something happens to a user's link.
    Link(Box<OfLink>),
}

/// A flow's wish to get the calls with a correlation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// Whose partner calls.
    pub plugin: PluginKey,
    /// The correlation.
    pub correlation: String,
    /// The flow.
    pub flow: FlowId,
    /// Its name for the expectation.
    pub key: String,
}

/// A correlation that no flow has ever expected, and none shall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unexpected {
    /// Whose partner called.
    pub plugin: PluginKey,
    /// The correlation.
    pub correlation: String,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A wallet was credited.
    Credited(Credited),
    /// A credit was reversed; what became receivable, minor units.
    Reversed(i64),
    /// A payment: paid at once, authorised or in review.
    Paid(Payment),
    /// A refund.
    Refunded(Refund),
    /// A transfer: sent or in review.
    Transferred(Transfer),
    /// A user was verified; how much prepaid value became funds, minor units.
    Verified(UserId, i64),
    /// A settlement.
    Settled(Settled),
    /// A difference was closed.
    WrittenOff(WrittenOff),
    /// A flow was opened.
    Opened(FlowId),
    /// Done, with nothing more to say.
    Noted,
    /// An account was closed; what it held, in each currency.
    Closed(UserId, Vec<Money>),
    /// An adjustment was proposed.
    Proposed(Adjustment),
    /// An adjustment was decided.
    Judged(Adjustment),
    /// A capture.
    Captured(Capture),
    /// A payment whose merchant let go of what was held.
    Voided(Payment),
    /// A payment whose hold ran out.
    Lapsed(Payment),
    /// A payment of which more is held.
    Increased(Payment),
    /// A review that ended, and what it was about.
    Reviewed(Box<(Review, Concluded)>),
    /// An exchange.
    Exchanged(Exchange),
    /// What each part of a bulk did, in order.
    Bulk(Vec<Answer>),
    /// A bulk of which nothing was done: the place of the part that was refused first, and the code of its refusal.
    Halted(u32, String),
    /// A campaign.
    Planned(Campaign),
    /// A lot of bonus: granted, or released before its date.
    Granted(Lot),
    /// A lot that came to an end, and what was left of it.
    Ended(Ended),
    /// The terms for a merchant.
    Arranged(Arrangement),
    /// A dispute that was opened.
    Contested(Box<Dispute>),
    /// A dispute that ended.
    Adjudged(Box<Dispute>),
    /// A closing; none if nothing had moved since the last one.
    Closing(Option<Box<Closing>>),
    /// A closing that was paid out.
    PaidOut(Box<Closing>),
    /// A gift that was left out of a plugin's answer: the code of the refusal.
    LeftOut(String),
    /// Money was set aside by a flow, minor units.
    SetAside(i64),
    /// A partner took what was set aside.
    Taken(Taken),
    /// What was set aside was let go, minor units.
    LetGo(i64),
}

/// A record, encoded once by whoever made the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// Its id.
    pub id: RecordId,
    /// Its digest, by which entries name it.
    pub digest: Digest,
    /// The canonical bytes of its head.
    pub bytes: Vec<u8>,
    /// Its content, which is kept apart.
    pub held: Option<Held>,
}

impl From<&Record> for SealedRecord {
    fn from(record: &Record) -> SealedRecord {
        let (bytes, held) = record.seal();
        SealedRecord { id: record.id, digest: Digest::of(&bytes), bytes, held: Some(held) }
    }
}

/// A privileged act, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Its id.
    pub id: AuditId,
    /// Who.
    pub actor: String,
    /// What, such as `user.verify`.
    pub act: String,
    /// To whom or what.
    pub subject: String,
    /// Particulars and reason, as compact JSON.
    pub detail: String,
}

/// News for the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Its id.
    pub id: EventId,
    /// What happened, such as `payment.captured`.
    pub kind: String,
    /// The merchant that is told, beside the platform.
    pub merchant: Option<MerchantId>,
    /// The event's public `data`, as compact JSON; [`crate::events`] says what each holds.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

/// A payment to be counted by signals if it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Whose counters.
    pub subjects: Subjects,
    /// Minor units.
    pub amount: i64,
}

/// One unit of work: all of it is committed, or none.
#[derive(Debug, Clone)]
pub struct Work {
    /// Time-ordered; entries and news take their ids from it.
    pub id: Uuid,
    /// Who caused it, such as `user:usr_…`.
    pub actor: String,
    /// The operation it decides, for money requests.
    pub operation: Option<Claim>,
    /// A refusal that was decided before the books, such as a fraud verdict: recorded, nothing is posted.
    pub refused: Option<Refusal>,
    /// What is asked, in order, all or none.
    pub commands: Vec<Command>,
    /// The generation of the policy that it was judged under: under another one it must be judged again. None where nothing
    /// was judged.
    pub judged_under: Option<i64>,
    /// Components whose answers it rests on.
    pub relies_on: Vec<Reliance>,
    /// Records of those answers; kept whatever comes of the work.
    pub records: Vec<SealedRecord>,
    /// The flow step that is taken if nothing is refused.
    pub step: Option<Box<StepCommit>>,
    /// What a plugin has heard if nothing is refused.
    pub heard: Option<Box<Heard>>,
    /// What signals count if nothing is refused.
    pub counted: Option<Counted>,
    /// A payee, by id alone, that this user has not paid before: remembered if nothing is refused.
    pub payee: Option<(UserId, Uuid)>,
    /// Audit rows that are written if nothing is refused.
    pub audit: Vec<Audit>,
    /// What the authority of whoever asks for it rests on: once that is over, nothing is done.
    pub warrant: Option<Warrant>,
    /// The API key that it came by.
    pub key: Option<KeyId>,
    /// The device that it came from.
    pub device: Option<String>,
    /// Work that is taken with it, in order, all or none; it then has no commands of its own. Each part has its own id, records,
    /// counters and payee; operation, key and device are those of the whole.
    pub parts: Vec<Work>,
    /// Whether it is only tried: decided like any other, and then taken back.
    pub trial: Option<Trial>,
    /// What a challenge is bound to, for dealings whose payer can be asked to prove who they are.
    pub challenge: Option<Challenge>,
}

impl Work {
    /// Work of this actor that does nothing yet.
    pub fn new(id: Uuid, actor: impl Into<String>) -> Work {
        Work {
            id,
            actor: actor.into(),
            operation: None,
            refused: None,
            commands: Vec::new(),
            judged_under: None,
            relies_on: Vec::new(),
            records: Vec::new(),
            step: None,
            heard: None,
            counted: None,
            payee: None,
            audit: Vec::new(),
            warrant: None,
            key: None,
            device: None,
            parts: Vec::new(),
            trial: None,
            challenge: None,
        }
    }

    /// How much of a queue it takes: one, or one for each part.
    pub fn units(&self) -> usize {
        self.parts.len().max(1)
    }
}

/// What came of a unit of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Everything was done; of work with parts, one answer for each.
    Done(Vec<Answer>),
    /// The command, or the part, with this place was refused, and nothing was done.
    Refused(usize, Refusal),
    /// The operation was decided before; this was its outcome.
    Replayed(Result<Answer, Refusal>),
    /// The key was used for another request.
    KeyReused,
    /// The session was signed out, or the key revoked, while the request was under way; nothing was done and nothing is kept of it.
    SignedOut,
    /// The flow has moved on since the step was made, or the plugin has heard more; nothing is kept of it.
    FlowMoved,
    /// The policy that it was judged under, or a component that it rests on, is no longer in force; decide again.
    PluginChanged,
    /// What would have come of it, and of each part: it was only tried.
    Foreseen(Vec<Foreseen>),
}

/// One commit of a lane while it is being decided, and then everything that the store writes.
#[derive(Debug)]
pub struct Commit {
    /// The lane's head, moved on by each entry.
    pub head: Head,
    /// The books.
    pub books: Books,
    /// Entries, in order.
    pub entries: Vec<Entry>,
    /// Entries to be marked in the histories of these accounts, by sequence.
    pub marks: Vec<(AccountId, i64)>,
    /// Records, in order.
    pub records: Vec<SealedRecord>,
    /// News, in order.
    pub news: Vec<News>,
    /// Payees that their payers had not paid before, in order.
    pub payees: Vec<(UserId, Uuid)>,
    /// Audit rows, in order.
    pub audit: Vec<(Audit, Timestamp)>,
    /// Flow steps, in order.
    pub steps: Vec<StepCommit>,
    /// What plugins have heard, in order.
    pub heard: Vec<Heard>,
    /// Events that arise in the commit itself, such as an expectation that another flow has.
    pub arrivals: Vec<Arrival>,
    /// The time of the commit: never before the last entry's.
    pub now: Timestamp,
}

impl Commit {
    /// A commit on top of this head with these books.
    pub fn new(head: Head, books: Books, now: Timestamp) -> Commit {
        Commit {
            head,
            books,
            entries: Vec::new(),
            marks: Vec::new(),
            records: Vec::new(),
            news: Vec::new(),
            payees: Vec::new(),
            audit: Vec::new(),
            steps: Vec::new(),
            heard: Vec::new(),
            arrivals: Vec::new(),
            now: now.max(head.at),
        }
    }

    /// Whether there is anything to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.records.is_empty()
            && self.steps.is_empty()
            && self.heard.is_empty()
            && self.audit.is_empty()
            && self.books.operations.changed().next().is_none()
            && self.books.expectations.changed().next().is_none()
            && self.books.bills.changed().next().is_none()
            && self.books.links.changed().next().is_none()
            && self.books.references.changed().next().is_none()
            && self.books.differences.changed().next().is_none()
            && self.books.files.changed().next().is_none()
            && self.books.users.changed().next().is_none()
            && self.books.merchants.changed().next().is_none()
            && self.books.adjustments.changed().next().is_none()
            && self.books.campaigns.changed().next().is_none()
            && self.books.lots.changed().next().is_none()
            && self.books.arrangements.changed().next().is_none()
    }

    /// Decides one unit of work against the books as the work before it left them.
    pub fn decide(&mut self, work: &Work) -> Decided {
        if work.warrant.is_some_and(|warrant| self.books.ended.get(&warrant).is_some()) {
            return Decided::SignedOut;
        }
        if let Some(trial) = work.trial {
            return Decided::Foreseen(self.foresee(work, trial));
        }
        if let Some(claim) = &work.operation
            && let Some(known) = self.books.operations.get(&claim.key)
        {
            return match known.fingerprint == claim.fingerprint {
                true => Decided::Replayed(known.outcome.clone()),
                false => Decided::KeyReused,
            };
        }
        if std::iter::once(work).chain(&work.parts).any(|unit| self.judged_before_a_change(unit)) {
            return Decided::PluginChanged;
        }
        if let Some(step) = &work.step
            && self.books.flows.get(&step.flow.id).copied() != step.expected
        {
            return Decided::FlowMoved;
        }
        if let Some(heard) = &work.heard
            && self.books.subscriptions.get(&heard.key()).copied() != Some(heard.expected)
        {
            return Decided::FlowMoved;
        }
        self.books.savepoint();
        let taken = if work.parts.is_empty() { self.take(work) } else { self.take_parts(work) };
        let decided = match taken {
            Ok(answers) => Decided::Done(answers),
            Err((place, refusal)) => {
                self.books.rollback();
                Decided::Refused(place, refusal)
            }
        };
        if let Some(claim) = work.operation {
            self.note_operation(claim, work, &decided);
            if let (Decided::Refused(_, Refusal::StepUpRequired), Some(challenge)) = (&decided, &work.challenge) {
                step_ups::open(&mut self.books, challenge, (claim.key, claim.fingerprint), self.now);
            }
        }
        self.records.extend(std::iter::once(work).chain(&work.parts).flat_map(|unit| unit.records.iter().cloned()));
        decided
    }

    fn judged_before_a_change(&self, work: &Work) -> bool {
        let policy = &self.books.policy;
        work.judged_under.is_some_and(|generation| generation != policy.generation)
            || !work.relies_on.iter().all(|reliance| policy.honours(reliance))
    }

    fn take(&mut self, work: &Work) -> Result<Vec<Answer>, (usize, Refusal)> {
        let (answers, applied) = self.apply(work)?;
        self.keep(work, &answers, applied);
        Ok(answers)
    }

    /// Applies the commands in order. Nothing leaves the books' savepoint before all of them are accepted.
    fn apply(&mut self, work: &Work) -> Result<(Vec<Answer>, Applied), (usize, Refusal)> {
        access::check(&self.books, work).map_err(|refusal| (0, refusal))?;
        if let Some(refusal) = work.refused {
            return Err((0, refusal));
        }
        if let (Some(challenge), Some(claim)) = (&work.challenge, &work.operation) {
            step_ups::spend(&mut self.books, challenge, claim.fingerprint, self.now).map_err(|refusal| (0, refusal))?;
        }
        let mut answers = Vec::with_capacity(work.commands.len());
        let mut applied = Applied::default();
        for (place, command) in work.commands.iter().enumerate() {
            let answer = self.apply_one(work, command, &mut applied).map_err(|refusal| (place, refusal))?;
            answers.push(answer);
        }
        if let Some(step) = &work.step
            && step.expected.is_none()
        {
            answers.push(Answer::Opened(step.flow.id));
        }
        if answers.is_empty() {
            answers.push(Answer::Noted);
        }
        Ok((answers, applied))
    }

    fn apply_one(&mut self, work: &Work, command: &Command, applied: &mut Applied) -> Result<Answer, Refusal> {
        let (books, now) = (&mut self.books, self.now);
        let entry = EntryId(offset(work.id, applied.drafts.len()));
        let posted = self.head.sequence + i64::try_from(applied.drafts.len()).unwrap_or(i64::MAX);
        let draft = |kind, subject: Uuid, reverses, meta: String, postings: Postings| Draft {
            id: entry,
            kind,
            actor: bounded(&work.actor),
            subject: subject.into_bytes(),
            reverses,
            postings: postings.into_vec(),
            records: work.records.iter().map(|record| record.digest).collect(),
            meta,
        };
        let (draft, answer) = match command {
            Command::Credit(command) => {
                let (postings, credited) = charges::credit(books, command, entry, now)?;
                let meta = meta(&[
                    ("reference", Some(&command.reference)),
                    ("suspended", credited.suspended.map(Refusal::code)),
                ]);
                (draft(EntryKind::ChargeCredit, command.flow.0, None, meta, postings), Answer::Credited(credited))
            }
            Command::Reverse(command) => {
                let (postings, owed) = charges::reverse(books, command, entry, now)?;
                let credit = charges::ReferenceKey::credit(command.plugin, &command.of);
                let reverses = books.references.get(&credit).and_then(|credit| credit.entry);
                let meta = meta(&[("reference", Some(&command.reference)), ("of", Some(&command.of))]);
                (draft(EntryKind::ChargeReversal, command.flow.0, reverses, meta, postings), Answer::Reversed(owed))
            }
            Command::Pay(command) => {
                let (kind, postings, payment) = payments::pay(books, command, now)?;
                let meta = meta(&[("reference", command.reference.as_deref())]);
                (draft(kind, command.payment.0, None, meta, postings), Answer::Paid(payment))
            }
            Command::Refund(command) => {
                let (postings, refund) = refunds::refund(books, command, now)?;
                let meta = meta(&[("payment", Some(&command.payment.to_string()))]);
                (draft(EntryKind::Refund, command.refund.0, None, meta, postings), Answer::Refunded(refund))
            }
            Command::Transfer(command) => {
                let (kind, postings, transfer) = transfers::transfer(books, command, now)?;
                (draft(kind, command.transfer.0, None, meta(&[]), postings), Answer::Transferred(transfer))
            }
            Command::Exchange(command) => {
                let (postings, exchange) = exchanges::exchange(books, command, now)?;
                let quote = command.quoted.map(|quoted| quoted.quote.to_string());
                let meta = meta(&[("rate", Some(&command.rate.to_string())), ("quote", quote.as_deref())]);
                let subject = command.exchange.0;
                (draft(EntryKind::Exchange, subject, None, meta, postings), Answer::Exchanged(exchange))
            }
            Command::Verify(command) => {
                let (postings, converted) = verification::verify(books, command)?;
                let answer = Answer::Verified(command.user, converted);
                (draft(EntryKind::Verification, command.user.0, None, meta(&[]), postings), answer)
            }
            Command::Settle(command) => {
                let (postings, settled) = settlements::settle(books, command, now)?;
                let meta = meta(&[("file", Some(&command.digest.to_string()))]);
                (draft(EntryKind::Settlement, command.file.0, None, meta, postings), Answer::Settled(settled))
            }
            Command::WriteOff(command) => {
                let (postings, written_off) = settlements::write_off(books, command)?;
                let meta = meta(&[("reference", Some(&command.reference)), ("reason", Some(&command.reason))]);
                let subject = command.plugin.0;
                (draft(EntryKind::WriteOff, subject, None, meta, postings), Answer::WrittenOff(written_off))
            }
            Command::Submit(submission) => {
                verification::submit(books, submission, now)?;
                return Ok(Answer::Noted);
            }
            Command::Unverify(command) => {
                verification::unverify(books, command)?;
                return Ok(Answer::Noted);
            }
            Command::Freeze(command) => {
                access::freeze(books, command)?;
                return Ok(Answer::Noted);
            }
            Command::Close(command) => {
                let (postings, set_aside) = closures::close(books, command, now)?;
                let meta = meta(&[("reason", Some(&command.reason))]);
                let answer = Answer::Closed(command.user, set_aside);
                (draft(EntryKind::Closure, command.user.0, None, meta, postings), answer)
            }
            Command::Propose(command) => return adjustments::propose(books, command, now).map(Answer::Proposed),
            Command::Judge(command) => {
                let (postings, adjustment) = adjustments::judge(books, command, now)?;
                let meta = meta(&[("reason", Some(&adjustment.reason))]);
                (draft(EntryKind::Adjustment, adjustment.id.0, None, meta, postings), Answer::Judged(adjustment))
            }
            Command::Collect(command) => {
                let (postings, capture) = captures::collect(books, command, now)?;
                // The capture rests on the decision that authorised the payment, not on one of its own.
                let decision = capture.decision.map(|decision| decision.to_string());
                let payment = capture.payment.to_string();
                let meta = meta(&[("payment", Some(&payment)), ("decision", decision.as_deref())]);
                (draft(EntryKind::Capture, command.capture.0, None, meta, postings), Answer::Captured(capture))
            }
            Command::Void(of) => {
                let (postings, payment) = captures::void(books, of, now)?;
                (draft(EntryKind::Void, of.payment.0, None, meta(&[]), postings), Answer::Voided(payment))
            }
            Command::Expire(of) => {
                let (postings, payment) = captures::expire(books, of, now)?;
                (draft(EntryKind::HoldExpiry, of.payment.0, None, meta(&[]), postings), Answer::Lapsed(payment))
            }
            Command::Increase(command) => {
                let (postings, payment) = captures::increase(books, command, now)?;
                let subject = command.of.payment.0;
                let draft = draft(EntryKind::Authorisation, subject, None, meta(&[]), postings);
                (draft, Answer::Increased(payment))
            }
            Command::Conclude(command) => {
                let ((kind, postings, concluded), review) = reviews::conclude(books, command, now)?;
                let meta = meta(&[("review", Some(review.state.word()))]);
                (draft(kind, review.id.0, None, meta, postings), Answer::Reviewed(Box::new((review, concluded))))
            }
            Command::Plan(command) => return bonus::plan(books, command, now).map(Answer::Planned),
            Command::Grant(command) => {
                let (postings, lot) = bonus::grant(books, command, now)?;
                let campaign = command.campaign.to_string();
                let meta = meta(&[("campaign", Some(&campaign)), ("reason", Some(&command.reason))]);
                (draft(EntryKind::BonusGrant, command.lot.0, None, meta, postings), Answer::Granted(lot))
            }
            Command::Gift(command) => {
                let (postings, lot) = match gifts::give(books, command, now) {
                    Ok(Some(given)) => given,
                    // Granted before is granted: the plugin has its wish.
                    Ok(None) => return Ok(Answer::Noted),
                    Err(refusal) => return Ok(Answer::LeftOut(refusal.code().to_owned())),
                };
                let (campaign, event) = (lot.campaign.to_string(), command.key.event.to_string());
                let reason = Some(command.grant.reason.as_str());
                let meta = meta(&[("campaign", Some(&campaign)), ("event", Some(&event)), ("reason", reason)]);
                (draft(EntryKind::BonusGrant, lot.id.0, None, meta, postings), Answer::Granted(lot))
            }
            Command::TakeBack(command) => {
                let (postings, ended) = gifts::take_back(books, command)?;
                if ended.taken == 0 {
                    return Ok(Answer::Noted);
                }
                let meta = meta(&[("payment", Some(&command.payment.to_string()))]);
                (draft(EntryKind::BonusRevocation, command.of.lot.0, None, meta, postings), Answer::Ended(ended))
            }
            Command::Lapse(of) => {
                let (postings, ended) = bonus::lapse(books, of, now)?;
                (draft(EntryKind::BonusExpiry, of.lot.0, None, meta(&[]), postings), Answer::Ended(ended))
            }
            Command::Revoke(command) => {
                let (postings, ended) = bonus::revoke(books, command, now)?;
                let meta = meta(&[("reason", Some(&command.reason))]);
                (draft(EntryKind::BonusRevocation, command.of.lot.0, None, meta, postings), Answer::Ended(ended))
            }
            Command::Release(of) => return bonus::release(books, of, now).map(Answer::Granted),
            Command::Arrange(command) => return arrangements::arrange(books, command).map(Answer::Arranged),
            Command::OpenDispute(command) => {
                let (postings, dispute) = disputes::open(books, command, now)?;
                let payment = dispute.of.payment.to_string();
                let meta = meta(&[("payment", Some(&payment)), ("reason", Some(&dispute.reason))]);
                (draft(EntryKind::Dispute, dispute.id.0, None, meta, postings), Answer::Contested(Box::new(dispute)))
            }
            Command::EndDispute(command) => {
                let (postings, dispute) = disputes::end(books, command, now)?;
                let payment = dispute.of.payment.to_string();
                let meta = meta(&[("payment", Some(&payment)), ("dispute", Some(dispute.state.word()))]);
                (draft(EntryKind::Dispute, dispute.id.0, None, meta, postings), Answer::Adjudged(Box::new(dispute)))
            }
            Command::MakeClosing(command) => {
                let (postings, closing) = closings::make(books, command, posted, now)?;
                let meta = meta(&[("until", Some(&date_of_day(command.until)))]);
                let answer = Answer::Closing(closing.map(Box::new));
                (draft(EntryKind::Closing, command.closing.0, None, meta, postings), answer)
            }
            Command::PayOut(command) => {
                let (postings, closing) = closings::pay_out(books, command, now)?;
                let meta = meta(&[("reference", Some(&command.reference))]);
                (draft(EntryKind::Payout, closing.id.0, None, meta, postings), Answer::PaidOut(Box::new(closing)))
            }
            Command::SetAside(command) => {
                let (postings, amount) = holds::set_aside(books, command, now)?;
                let ((kind, ..), meta) = (command.of.purpose.kinds(), meta(&[("hold", Some(&command.of.key))]));
                (draft(kind, command.of.flow.0, None, meta, postings), Answer::SetAside(amount))
            }
            Command::Take(command) => {
                let (postings, taken) = holds::take(books, command, entry, now)?;
                let meta = meta(&[("hold", Some(&command.of.key)), ("reference", Some(&command.reference))]);
                let (_, kind, _) = command.of.purpose.kinds();
                (draft(kind, command.of.flow.0, None, meta, postings), Answer::Taken(taken))
            }
            Command::LetGo(command) => {
                let (postings, amount) = holds::let_go(books, command, now)?;
                let ((.., kind), meta) = (command.of.purpose.kinds(), meta(&[("hold", Some(&command.of.key))]));
                (draft(kind, command.of.flow.0, None, meta, postings), Answer::LetGo(amount))
            }
            Command::ClaimBill(command) => {
                bills::claim(books, command, now)?;
                return Ok(Answer::Noted);
            }
            Command::FreeBill(command) => {
                bills::free(books, command);
                return Ok(Answer::Noted);
            }
            Command::Link(command) => {
                applied.arrivals.extend(links::decide(books, command, posted, now)?);
                return Ok(Answer::Noted);
            }
            Command::Tombstone(command) => {
                charges::tombstone(books, command, now)?;
                return Ok(Answer::Noted);
            }
            Command::Expect(command) => {
                applied.arrivals.extend(flows::expect(books, command, now));
                return Ok(Answer::Noted);
            }
            Command::Unexpected(command) => {
                flows::unexpected(books, command, now)?;
                return Ok(Answer::Noted);
            }
        };
        // An entry without postings would say nothing: a verification of an empty wallet, a settlement of repeated lines.
        if !draft.postings.is_empty() {
            applied.drafts.push(draft);
        }
        Ok(answer)
    }

    fn keep(&mut self, work: &Work, answers: &[Answer], applied: Applied) {
        for draft in applied.drafts {
            let mut entry = self.head.append(draft, self.now);
            let marked = self.books.enter(&mut entry);
            self.marks.extend(marked.into_iter().map(|account| (account, entry.sequence)));
            self.entries.push(entry);
        }
        self.arrivals.extend(applied.arrivals);
        self.payees.extend(work.payee);
        self.audit.extend(work.audit.iter().map(|audit| (audit.clone(), self.now)));
        if let Some(counted) = &work.counted {
            for subject in counted.subjects.iter() {
                let mut ring: Ring = self.books.signals.get(&subject).cloned().unwrap_or_default();
                ring.count(counted.amount, self.now);
                self.books.signals.put(subject, ring);
            }
        }
        if let Some(step) = &work.step {
            self.books.flows.put(step.flow.id, step.flow.version);
            self.steps.push((**step).clone());
        }
        if let Some(heard) = &work.heard {
            let mut heard = (**heard).clone();
            heard.subscription.version = work.id;
            self.books.subscriptions.put(heard.key(), work.id);
            self.heard.push(heard);
        }
        let told = answers.iter().enumerate().filter_map(|(place, answer)| {
            events::of(EventId(offset(work.id, place)), work.commands.get(place), answer, self.now)
        });
        self.news.extend(told);
    }

    fn note_operation(&mut self, claim: Claim, work: &Work, decided: &Decided) {
        let outcome = match decided {
            // What is not there now may be in a moment: the same key may ask again.
            Decided::Refused(_, refusal) if refusal.status() == 503 => return,
            Decided::Done(answers) if !work.parts.is_empty() => Ok(Answer::Bulk(answers.clone())),
            Decided::Done(answers) => answers.last().cloned().map_or(Ok(Answer::Noted), Ok),
            Decided::Refused(place, refusal) if !work.parts.is_empty() => Ok(parts::halted(*place, *refusal)),
            Decided::Refused(_, refusal) => Err(*refusal),
            Decided::Replayed(_)
            | Decided::KeyReused
            | Decided::SignedOut
            | Decided::FlowMoved
            | Decided::PluginChanged
            | Decided::Foreseen(_) => return,
        };
        let operation = Operation { fingerprint: claim.fingerprint, outcome, at: self.now };
        self.books.operations.put(claim.key, operation);
    }

    /// The operations that this commit decided.
    pub fn operations(&self) -> impl Iterator<Item = (&OperationKey, &Operation)> {
        self.books.operations.changed().map(|row| (row.key, row.value))
    }
}

#[derive(Debug, Default)]
struct Applied {
    drafts: Vec<Draft>,
    arrivals: Vec<Arrival>,
}

/// The id that stands so many places behind a time-ordered one.
fn offset(id: Uuid, places: usize) -> Uuid {
    Uuid::from_u128(id.as_u128().wrapping_add(u128::try_from(places).unwrap_or_default()))
}

/// At most 500 characters: an entry has no room for more.
fn bounded(text: &str) -> String {
    text.chars().take(500).collect()
}

/// Compact JSON of the pairs that have a value, in the order given.
fn meta(pairs: &[(&str, Option<&str>)]) -> String {
    let mut json = String::from("{");
    for (name, value) in pairs.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&format!("{}:{}", serde_json::Value::from(*name), serde_json::Value::from(bounded(value))));
    }
    json.push('}');
    json
}
