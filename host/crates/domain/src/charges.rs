//! Money that a charge channel's partner brings or takes back, and how much each plugin may cost at most.

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::accounts::{AccountKey, Class, PluginKey};
use crate::books::{Books, Postings};
use crate::guest::Side;
use crate::ids::{EntryId, FlowId, UserId};
use crate::limits::Action;
use crate::money::{Currency, Money};
use crate::outcomes::Refusal;
use crate::paths::EntryKind;
use crate::time::Timestamp;

/// A partner's reference on one side, unique for ever per plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReferenceKey {
    /// Whose partner.
    pub plugin: PluginKey,
    /// Credit, reversal or capture.
    pub side: Side,
    /// The partner's own id, at most 200 characters.
    pub reference: String,
}

impl ReferenceKey {
    /// The credit side of a reference.
    pub fn credit(plugin: PluginKey, reference: &str) -> ReferenceKey {
        ReferenceKey { plugin, side: Side::Credit, reference: reference.to_owned() }
    }

    /// The reversal side of a reference.
    pub fn reversal(plugin: PluginKey, reference: &str) -> ReferenceKey {
        ReferenceKey { plugin, side: Side::Reversal, reference: reference.to_owned() }
    }
}

/// What became of a partner's reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ReferenceState {
    /// Credited to a wallet.
    Credited = 1,
    /// Credited to suspense: no wallet could take it.
    Suspended = 2,
    /// Killed by a reversal that came first; never to be credited.
    Tombstoned = 3,
    /// A reversal that was posted.
    Reversed = 4,
    /// A credit, reversal or capture that an operator closed, because the partner never listed it or listed another amount.
    WrittenOff = 5,
    /// A partner took what a flow had set aside for it.
    Captured = 6,
}

/// A partner's reference as the books know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerReference {
    /// What became of it.
    pub state: ReferenceState,
    /// How much; zero for a tombstone.
    pub amount: Money,
    /// The flow that brought it; none for a tombstone that no flow expected.
    pub flow: Option<FlowId>,
    /// The wallet.
    pub user: Option<UserId>,
    /// The entry that posted it.
    pub entry: Option<EntryId>,
    /// For a credit: what was reversed of it, minor units.
    pub reversed: i64,
    /// For a credit: what of that the partner has listed in settlement files.
    pub reversed_listed: i64,
    /// For a credit or a capture: what of it counts against the exposure cap until it is released.
    pub exposed: i64,
    /// Whether the partner's line for it is in the books: matched, or closed by an operator.
    pub listed: bool,
    /// For a credit or a capture: whether its exposure was released by settlement or write-off.
    pub released: bool,
    /// For a reversal: the reference of the credit it takes back.
    pub of: Option<String>,
    /// When it was posted.
    pub at: Timestamp,
}

impl PartnerReference {
    /// Whether it is a credit that stands in the books: the partner still owes it, settled it, or may take it back.
    pub fn is_live(&self) -> bool {
        matches!(self.state, ReferenceState::Credited | ReferenceState::Suspended)
    }

    /// Whether it was posted and the partner's line for it is not in the books. A tombstone was never posted.
    pub fn is_unlisted(&self) -> bool {
        !self.listed && self.state != ReferenceState::Tombstoned
    }
}

/// What a plugin may still cost in one currency: the two numbers of the first promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The most unsettled credits, and payouts that are not settled, minor units.
    pub cap: i64,
    /// Unsettled credits, captures that no settlement has listed and what flows have set aside, all gross.
    pub used: i64,
    /// The most that may be written off to the plugin. When it is used up, nothing more is credited.
    pub loss_budget: i64,
    /// What was written off.
    pub lost: i64,
}

impl Exposure {
    /// Whether nothing more may be lost. A budget of nothing is not used up by losing nothing.
    pub fn budget_is_used_up(&self) -> bool {
        self.lost > 0 && self.lost >= self.loss_budget
    }
}

/// A partner brings money for a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeCredit {
    /// Whose partner.
    pub plugin: PluginKey,
    /// For which flow.
    pub flow: FlowId,
    /// For which wallet.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// The partner's own id of it.
    pub reference: String,
    /// The partner holds the money and cannot give it back: what the wallet cannot take goes to suspense.
    pub arrived: bool,
}

/// What a credit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credited {
    /// What repaid an amount due, minor units.
    pub repaid: i64,
    /// Why it went to suspense, if it did.
    pub suspended: Option<Refusal>,
}

/// Credits the wallet: first what it owes, then its home account; or suspense, where the money has arrived and does not fit.
pub fn credit(
    books: &mut Books,
    command: &ChargeCredit,
    entry: EntryId,
    now: Timestamp,
) -> Result<(Postings, Credited), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.user, currency)?;
    if !command.arrived {
        wallet.user.check_open()?;
    }
    if currency != Currency::JPY {
        return Err(Refusal::CurrencyNotAccepted);
    }
    let exposure = *books.exposures.get(&(command.plugin, currency)).ok_or(Refusal::ChannelNotAvailable)?;
    if !command.arrived {
        wallet.user.check_not_revoked()?;
    }
    let key = ReferenceKey::credit(command.plugin, &command.reference);
    match books.references.get(&key).map(|known| known.state) {
        Some(ReferenceState::Tombstoned) => return Err(Refusal::ReferenceTombstoned),
        Some(_) => return Err(Refusal::ReferenceUsed),
        None if is_closed(books, &key) => return Err(Refusal::ReferenceUsed),
        None => {}
    }
    let repaid = wallet.repayment(amount.minor);
    let fits = credit_fits(books, &exposure, &wallet, amount, repaid, now);
    let suspended = match fits {
        Err(refusal) if command.arrived => Some(refusal),
        Err(refusal) => return Err(refusal),
        Ok(()) => None,
    };

    // After this point the credit must succeed.
    let clearing = AccountKey::clearing(command.plugin, currency);
    let mut postings = Postings::default();
    let exposed = if suspended.is_some() {
        let suspense = AccountKey::platform(Class::Suspense, currency);
        postings.post(books, EntryKind::ChargeCredit, clearing, suspense, amount.minor)?;
        0
    } else {
        books.count_limits(&wallet.user, Action::Charge, amount, now);
        postings.post(books, EntryKind::ChargeCredit, clearing, wallet.receivable.key, repaid)?;
        postings.post(books, EntryKind::ChargeCredit, clearing, wallet.home(), amount.minor - repaid)?;
        amount.minor
    };
    books.exposures.put((command.plugin, currency), Exposure { used: exposure.used + exposed, ..exposure });
    books.references.put(
        key,
        PartnerReference {
            state: if suspended.is_some() { ReferenceState::Suspended } else { ReferenceState::Credited },
            amount,
            flow: Some(command.flow),
            user: Some(command.user),
            entry: Some(entry),
            reversed: 0,
            reversed_listed: 0,
            exposed,
            listed: false,
            released: false,
            of: None,
            at: now,
        },
    );
    Ok((postings, Credited { repaid: if suspended.is_some() { 0 } else { repaid }, suspended }))
}

/// Whether a line of the partner's under this unused reference was closed before: the books have taken it, and must not take it
/// twice. It may be open again, if the partner said another amount since.
pub(crate) fn is_closed(books: &Books, key: &ReferenceKey) -> bool {
    books.differences.get(key).is_some_and(|difference| !difference.open || difference.ours > 0)
}

fn credit_fits(
    books: &Books,
    exposure: &Exposure,
    wallet: &crate::books::Wallet,
    amount: Money,
    repaid: i64,
    now: Timestamp,
) -> Result<(), Refusal> {
    // What a frozen user is brought is theirs; what a closed or revoked account is brought waits in suspense.
    if wallet.user.access == Access::Closed {
        return Err(Refusal::AccountClosed);
    }
    wallet.user.check_not_revoked()?;
    if exposure.budget_is_used_up() {
        return Err(Refusal::LossBudgetExhausted);
    }
    if exposure.used.checked_add(amount.minor).is_none_or(|used| used > exposure.cap) {
        return Err(Refusal::ExposureCapReached);
    }
    books.check_limits(&wallet.user, Action::Charge, amount, now)?;
    books.check_balance_limit(wallet, Money::new(amount.minor - repaid, amount.currency), now)
}

/// A partner takes a credit back, in part or whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeReversal {
    /// Whose partner.
    pub plugin: PluginKey,
    /// The flow that brought the credit.
    pub flow: FlowId,
    /// The wallet that was credited.
    pub user: UserId,
    /// The reference of the credit.
    pub of: String,
    /// How much of it.
    pub amount: Money,
    /// The partner's own id of the reversal.
    pub reference: String,
}

/// Takes the money from where it went; what was spent already becomes receivable. Never refused for lack of balance.
pub fn reverse(
    books: &mut Books,
    command: &ChargeReversal,
    entry: EntryId,
    now: Timestamp,
) -> Result<(Postings, i64), Refusal> {
    let (amount, currency) = (command.amount, command.amount.currency);
    if amount.minor <= 0 {
        return Err(Refusal::AmountNotPositive);
    }
    let wallet = books.wallet(command.user, currency)?;
    let key = ReferenceKey::reversal(command.plugin, &command.reference);
    if books.references.contains(&key) || is_closed(books, &key) {
        return Err(Refusal::ReferenceUsed);
    }
    let of = ReferenceKey::credit(command.plugin, &command.of);
    let mut credit = books
        .references
        .get(&of)
        .filter(|credit| credit.is_live())
        .filter(|credit| credit.flow == Some(command.flow) && credit.user == Some(command.user))
        .ok_or(Refusal::CreditNotFound)?
        .clone();
    if credit.amount.currency != currency || amount.minor > credit.amount.minor - credit.reversed {
        return Err(Refusal::ReversalExceedsCredit);
    }

    // After this point the reversal must succeed.
    let clearing = AccountKey::clearing(command.plugin, currency);
    let mut postings = Postings::default();
    let mut rest = amount.minor;
    if credit.state == ReferenceState::Suspended {
        let suspense = AccountKey::platform(Class::Suspense, currency);
        // Operators may have adjusted it to its owner meanwhile: then it is the owner's to give back.
        let waits = books.account(suspense).available().clamp(0, rest);
        postings.post(books, EntryKind::ChargeReversal, suspense, clearing, waits)?;
        rest -= waits;
    }
    let (shares, owed) = wallet.take_money(rest);
    for (source, share) in shares {
        postings.post(books, EntryKind::ChargeReversal, wallet.account(source), clearing, share)?;
    }
    postings.post(books, EntryKind::ChargeReversal, wallet.receivable.key, clearing, owed)?;
    credit.reversed += amount.minor;
    books.references.put(of, credit);
    books.references.put(
        key,
        PartnerReference {
            state: ReferenceState::Reversed,
            amount,
            flow: Some(command.flow),
            user: Some(command.user),
            entry: Some(entry),
            reversed: 0,
            reversed_listed: 0,
            exposed: 0,
            listed: false,
            released: false,
            of: Some(command.of.clone()),
            at: now,
        },
    );
    Ok((postings, owed))
}

/// Kills the credit side of a reference for ever: a reversal came before its deposit. Killing it twice is the same as once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Whose partner.
    pub plugin: PluginKey,
    /// The flow that was told, if one was.
    pub flow: Option<FlowId>,
    /// The partner's reference.
    pub reference: String,
}

/// Writes the tombstone. Errors: [`Refusal::ReferenceCredited`] if the money is already in the books.
pub fn tombstone(books: &mut Books, command: &Tombstone, now: Timestamp) -> Result<(), Refusal> {
    let key = ReferenceKey::credit(command.plugin, &command.reference);
    match books.references.get(&key).map(|known| known.state) {
        Some(ReferenceState::Tombstoned) => return Ok(()),
        Some(_) => return Err(Refusal::ReferenceCredited),
        None => {}
    }
    books.references.put(
        key,
        PartnerReference {
            state: ReferenceState::Tombstoned,
            amount: Money::yen(0),
            flow: command.flow,
            user: None,
            entry: None,
            reversed: 0,
            reversed_listed: 0,
            exposed: 0,
            listed: false,
            released: false,
            of: None,
            at: now,
        },
    );
    Ok(())
}
