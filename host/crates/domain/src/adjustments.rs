//! Adjustments: a correction of the books that one operator proposes and another decides.

use serde::{Deserialize, Serialize};

use crate::access::{Access, Holder};
use crate::accounts::{AccountKey, Class};
use crate::books::{Books, Postings};
use crate::ids::{AdjustmentId, FlowId, MerchantId, OperatorId, UserId};
use crate::outcomes::Refusal;
use crate::paths::{self, EntryKind};
use crate::time::Timestamp;

/// Most lines of an adjustment.
pub const LINES_MAX: usize = 20;
/// How long a proposal waits for another operator: 7 days.
pub const WAITS_MS: i64 = 7 * 86_400_000;

/// One movement of an adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The account debited.
    pub debit: AccountKey,
    /// The account credited, of the same currency.
    pub credit: AccountKey,
    /// Minor units, more than zero.
    pub amount: i64,
}

/// Where an adjustment stands. The number is its code in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// It waits for another operator.
    Proposed = 1,
    /// It was posted.
    Approved = 2,
    /// Another operator said no.
    Rejected = 3,
}

impl State {
    /// The state with this code.
    pub fn from_code(code: i16) -> Option<State> {
        [State::Proposed, State::Approved, State::Rejected].into_iter().find(|state| state.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            State::Proposed => "proposed",
            State::Approved => "approved",
            State::Rejected => "rejected",
        }
    }
}

/// An adjustment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Its id.
    pub id: AdjustmentId,
    /// What it moves.
    pub lines: Vec<Line>,
    /// Why.
    pub reason: String,
    /// The flow that its posting ends, if it is made for one.
    pub flow: Option<FlowId>,
    /// Who proposed it.
    pub proposer: OperatorId,
    /// Where it stands.
    pub state: State,
    /// Who decided it.
    pub decider: Option<OperatorId>,
    /// When it was proposed.
    pub at: Timestamp,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
}

impl Adjustment {
    /// From when on nobody can decide it any more.
    pub fn expires_at(&self) -> Timestamp {
        self.at.plus_ms(WAITS_MS)
    }
}

/// A proposal, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose {
    /// The adjustment to be.
    pub adjustment: AdjustmentId,
    /// What it shall move.
    pub lines: Vec<Line>,
    /// Why.
    pub reason: String,
    /// The flow that it shall end: then it is posted with that end, and not without.
    pub flow: Option<FlowId>,
    /// Who proposes it.
    pub proposer: OperatorId,
}

/// Keeps a proposal; nothing moves. Errors: [`Refusal::AmountNotPositive`], also without lines; [`Refusal::PathNotAllowed`] for
/// a line off the table; [`Refusal::UserNotFound`], [`Refusal::MerchantNotFound`], [`Refusal::AccountClosed`] and
/// [`Refusal::CurrencyNotAccepted`] for an account that nobody could spend from.
pub fn propose(books: &mut Books, command: &Propose, now: Timestamp) -> Result<Adjustment, Refusal> {
    if command.lines.is_empty() || command.lines.iter().any(|line| line.amount <= 0) {
        return Err(Refusal::AmountNotPositive);
    }
    let allowed = |line: &Line| {
        line.debit.currency == line.credit.currency
            && paths::allowed(EntryKind::Adjustment, line.debit.class, line.credit.class)
    };
    if command.lines.len() > LINES_MAX || !command.lines.iter().all(allowed) {
        return Err(Refusal::PathNotAllowed);
    }
    check_owners(books, &command.lines)?;
    let adjustment = Adjustment {
        id: command.adjustment,
        lines: command.lines.clone(),
        reason: command.reason.clone(),
        flow: command.flow,
        proposer: command.proposer,
        state: State::Proposed,
        decider: None,
        at: now,
        decided_at: None,
    };
    books.adjustments.put(adjustment.id, adjustment.clone());
    Ok(adjustment)
}

/// Another operator's decision, as it enters the commit queue. The lines are the adjustment's own: the store loads by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judge {
    /// Which.
    pub adjustment: AdjustmentId,
    /// Its lines.
    pub lines: Vec<Line>,
    /// The flow that ends with it in the same commit.
    pub flow: Option<FlowId>,
    /// Who decides.
    pub operator: OperatorId,
    /// Posted, or rejected.
    pub approve: bool,
}

/// Posts or rejects a proposal, once, and never by who made it. One that is made for a flow is posted only with that flow's end.
/// Errors: [`Refusal::AdjustmentNotFound`], also for one of another flow,
/// [`Refusal::AdjustmentClosed`], [`Refusal::SecondPersonRequired`], [`Refusal::InsufficientFunds`] under a floor, and those of [`propose`]
/// about owners: an account may have been closed meanwhile.
pub fn judge(books: &mut Books, command: &Judge, now: Timestamp) -> Result<(Postings, Adjustment), Refusal> {
    let known = books.adjustments.get(&command.adjustment).filter(|known| known.lines == command.lines);
    let mut adjustment = known.ok_or(Refusal::AdjustmentNotFound)?.clone();
    if command.approve && adjustment.flow != command.flow {
        return Err(Refusal::AdjustmentNotFound);
    }
    if adjustment.state != State::Proposed || now >= adjustment.expires_at() {
        return Err(Refusal::AdjustmentClosed);
    }
    if adjustment.proposer == command.operator {
        return Err(Refusal::SecondPersonRequired);
    }
    let mut postings = Postings::default();
    if command.approve {
        check_owners(books, &adjustment.lines)?;
        // In their order: what one line brings, the next may take. A refusal takes all of it back.
        for line in &adjustment.lines {
            postings.post(books, EntryKind::Adjustment, line.debit, line.credit, line.amount)?;
            count(books, line);
        }
    }
    adjustment.state = if command.approve { State::Approved } else { State::Rejected };
    adjustment.decider = Some(command.operator);
    adjustment.decided_at = Some(now);
    books.adjustments.put(adjustment.id, adjustment.clone());
    Ok((postings, adjustment))
}

/// Whose account this is, if it is a user's or a merchant's.
pub(crate) fn owner(key: AccountKey) -> Option<Holder> {
    match key.class {
        Class::Prepaid | Class::Funds | Class::Bonus | Class::Receivable => Some(Holder::User(UserId(key.owner))),
        Class::Payable => Some(Holder::Merchant(MerchantId(key.owner))),
        _ => None,
    }
}

/// Money must not go where nobody finds it: every owner exists, and what is credited to a user can be spent.
fn check_owners(books: &Books, lines: &[Line]) -> Result<(), Refusal> {
    for line in lines {
        for (key, credited) in [(line.debit, false), (line.credit, true)] {
            match owner(key) {
                Some(Holder::User(id)) => {
                    let user = books.users.get(&id).ok_or(Refusal::UserNotFound)?;
                    if credited && user.access == Access::Closed {
                        return Err(Refusal::AccountClosed);
                    }
                    if credited && !books.policy.offers(key.currency) {
                        return Err(Refusal::CurrencyNotAccepted);
                    }
                }
                Some(Holder::Merchant(id)) => drop(books.merchants.get(&id).ok_or(Refusal::MerchantNotFound)?),
                None => {}
            }
        }
    }
    Ok(())
}

/// A merchant's next closing tells adjustments from captures and refunds.
fn count(books: &mut Books, line: &Line) {
    for (key, up, down) in [(line.credit, line.amount, 0), (line.debit, 0, line.amount)] {
        if key.class == Class::Payable {
            books.tally(MerchantId(key.owner), key.currency, |tally| {
                tally.adjusted_up = tally.adjusted_up.saturating_add(up);
                tally.adjusted_down = tally.adjusted_down.saturating_add(down);
            });
        }
    }
}
