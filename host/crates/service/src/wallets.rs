//! Wallets: what a user has and owes, and how it came to be.

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::ids::{EntryId, UserId};
use koban_domain::limits::WalletKind;
use koban_domain::money::{Currency, Money};
use koban_domain::paths::EntryKind;
use koban_domain::time::Timestamp;
use koban_store::statements::{self, LinePlace};

use crate::app::App;
use crate::bonus::{self, BonusView};
use crate::error::Error;
use crate::page::{Page, Paged};
use crate::users;

/// A wallet in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletView {
    /// Whose.
    pub user: UserId,
    /// Verified or not.
    pub kind: WalletKind,
    /// Prepaid value.
    pub prepaid: Money,
    /// Funds.
    pub funds: Money,
    /// What is owed; the next charge repays it first.
    pub receivable: Money,
    /// Bonus, and what of it ends next.
    pub bonus: BonusView,
    /// What may be spent now.
    pub available: Money,
}

/// One line of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// The entry.
    pub entry: EntryId,
    /// Its place in the journal.
    pub sequence: i64,
    /// Its place among the entry's postings.
    pub ordinal: i16,
    /// When it was posted.
    pub at: Timestamp,
    /// What for.
    pub kind: EntryKind,
    /// The id of the payment, refund, transfer or flow.
    pub subject: String,
    /// The bits of that id.
    pub about: uuid::Uuid,
    /// The merchant's or partner's own reference, if there is one.
    pub reference: Option<String>,
    /// Which account.
    pub class: Class,
    /// How the account changed: positive grew, negative shrank.
    pub change: Money,
    /// The account's balance after it.
    pub balance: Money,
}

/// What a user has and owes in yen.
pub async fn balances(app: &App, user: UserId) -> Result<WalletView, Error> {
    balances_in(app, user, Currency::JPY).await
}

/// What a user has and owes in every currency of the platform, yen first.
pub async fn all(app: &App, user: UserId) -> Result<Vec<WalletView>, Error> {
    let policy = app.ledger.policy();
    let mut wallets = vec![balances(app, user).await?];
    for currency in policy.currencies.keys() {
        wallets.push(balances_in(app, user, *currency).await?);
    }
    Ok(wallets)
}

/// What a user has and owes in this currency. Errors: the platform does not offer it.
pub async fn balances_in(app: &App, user: UserId, currency: Currency) -> Result<WalletView, Error> {
    check_offered(app, currency)?;
    let view = users::get(app, user).await?;
    let keys = keys_of(user, currency);
    let accounts = statements::balances(&app.store, &keys.map(|key| key.id())).await?;
    let balance =
        |class| accounts.values().find(|account| account.key.class == class).map_or(0, |account| account.balance());
    let available =
        |class| accounts.values().find(|account| account.key.class == class).map_or(0, |account| account.available());
    let receivable = balance(Class::Receivable);
    // Most wallets have none: then there are no lots to read.
    let now = app.clock.now();
    let bonus = match balance(Class::Bonus) {
        0 => BonusView { left: Money::new(0, currency), usable: Money::new(0, currency), next: None },
        _ => bonus::view(app, user, currency, now).await?,
    };
    let money = available(Class::Prepaid) + available(Class::Funds);
    let spendable = if receivable > 0 { 0 } else { money + bonus.usable.minor };
    Ok(WalletView {
        user,
        kind: view.kind,
        prepaid: Money::new(balance(Class::Prepaid), currency),
        funds: Money::new(balance(Class::Funds), currency),
        receivable: Money::new(receivable, currency),
        bonus,
        available: Money::new(spendable, currency),
    })
}

/// What happened in a wallet of one currency, newest first. Errors: the platform does not offer the currency.
pub async fn statement(
    app: &App,
    user: UserId,
    (currency, page): (Currency, &Page),
) -> Result<Paged<StatementLine>, Error> {
    check_offered(app, currency)?;
    statement_of(app, &keys_of(user, currency), page).await
}

/// Wallets hold the platform's currencies and no others.
pub(crate) fn check_offered(app: &App, currency: Currency) -> Result<(), Error> {
    if app.ledger.policy().offers(currency) {
        return Ok(());
    }
    Err(Error::invalid(
        "currency",
        format!("the platform does not offer {currency}; GET /v1/wallets shows what it does"),
    ))
}

fn keys_of(user: UserId, currency: Currency) -> [AccountKey; 4] {
    [Class::Prepaid, Class::Funds, Class::Receivable, Class::Bonus].map(|class| AccountKey::user(class, user, currency))
}

pub(crate) async fn statement_of(app: &App, keys: &[AccountKey], page: &Page) -> Result<Paged<StatementLine>, Error> {
    let limit = page.limit()?;
    let place = page.place::<10>()?.map(|place| {
        let (sequence, ordinal) = place.split_at(8);
        LinePlace {
            sequence: i64::from_be_bytes(sequence.try_into().unwrap_or_default()),
            ordinal: i16::from_be_bytes(ordinal.try_into().unwrap_or_default()),
        }
    });
    let lines = lines_before(app, keys, place, limit + 1).await?;
    Ok(Paged::of(lines, limit, |line| {
        let mut place = line.sequence.to_be_bytes().to_vec();
        place.extend_from_slice(&line.ordinal.to_be_bytes());
        place
    }))
}

async fn lines_before(
    app: &App,
    keys: &[AccountKey],
    place: Option<LinePlace>,
    limit: u16,
) -> Result<Vec<StatementLine>, Error> {
    let ids: Vec<_> = keys.iter().map(AccountKey::id).collect();
    let rows = statements::lines(&app.store, &ids, place, limit).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let key = keys.iter().find(|key| key.id() == row.account)?;
            let grew = row.side == key.class.normal();
            Some(StatementLine {
                entry: row.entry,
                sequence: row.place.sequence,
                ordinal: row.place.ordinal,
                at: row.at,
                kind: row.kind,
                subject: subject(row.kind, row.subject.into_bytes()),
                about: row.subject,
                reference: reference_of(&row.meta),
                class: key.class,
                change: Money::new(if grew { row.amount } else { -row.amount }, key.currency),
                balance: Money::new(row.balance, key.currency),
            })
        })
        .collect())
}

fn reference_of(meta: &str) -> Option<String> {
    let meta: serde_json::Value = serde_json::from_str(meta).ok()?;
    Some(meta.get("reference")?.as_str()?.to_owned())
}

/// What a user had and owed at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastBalances {
    /// When.
    pub at: Timestamp,
    /// Prepaid value.
    pub prepaid: Money,
    /// Funds.
    pub funds: Money,
    /// What was owed.
    pub receivable: Money,
    /// Bonus, with what had ended and nobody had swept yet.
    pub bonus: Money,
}

/// What a user had and owed after everything that was posted by this time. Errors: a time to come, a currency not offered.
pub async fn balances_at(
    app: &App,
    user: UserId,
    (currency, at): (Currency, Timestamp),
) -> Result<PastBalances, Error> {
    check_offered(app, currency)?;
    if at > app.clock.now() {
        return Err(Error::invalid("at_ms", "name a time that has been"));
    }
    let next =
        LinePlace { sequence: statements::sequence_at(&app.store, at).await?.saturating_add(1), ordinal: i16::MIN };
    let mut balances = [0; 4];
    for (balance, key) in balances.iter_mut().zip(keys_of(user, currency)) {
        let line = statements::lines(&app.store, &[key.id()], Some(next), 1).await?;
        *balance = line.first().map_or(0, |line| line.balance);
    }
    let [prepaid, funds, receivable, bonus] = balances.map(|minor| Money::new(minor, currency));
    Ok(PastBalances { at, prepaid, funds, receivable, bonus })
}

/// Most lines of a statement that is given whole.
pub const WHOLE_MAX: usize = 10_000;

/// What happened in a wallet of one currency from one time up to before another, newest first, whole. Errors: more than
/// [`WHOLE_MAX`] lines.
pub async fn whole_statement(
    app: &App,
    user: UserId,
    currency: Currency,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<StatementLine>, Error> {
    check_offered(app, currency)?;
    let keys = keys_of(user, currency);
    let first = first_from(app, from).await?;
    let last = statements::sequence_at(&app.store, to.plus_ms(-1)).await?;
    let mut place = LinePlace { sequence: last.saturating_add(1), ordinal: i16::MIN };
    let mut lines = Vec::new();
    loop {
        let found = lines_before(app, &keys, Some(place), 1_000).await?;
        let more = found.len() == 1_000;
        lines.extend(found.into_iter().take_while(|line| line.sequence >= first));
        if lines.len() > WHOLE_MAX {
            return Err(Error::invalid(
                "from_ms",
                format!("ask for a shorter time: a file has at most {WHOLE_MAX} lines"),
            ));
        }
        match lines.last() {
            Some(last) if more && last.sequence >= first => {
                place = LinePlace { sequence: last.sequence, ordinal: last.ordinal };
            }
            _ => return Ok(lines),
        }
    }
}

/// Lines that are looked through at a time for what is new.
const BEHIND_MAX: u16 = 2_000;

/// What happened in a wallet of one currency behind this entry, oldest first: all of it if there is little, and the oldest of it otherwise.
pub(crate) async fn lines_behind(
    app: &App,
    user: UserId,
    currency: Currency,
    after: i64,
) -> Result<Vec<StatementLine>, Error> {
    let keys = keys_of(user, currency);
    let accounts = statements::balances(&app.store, &keys.map(|key| key.id())).await?;
    let mut until = accounts.values().map(|account| account.last).max().unwrap_or(0);
    // A statement is read backwards: half of the way again and again, until what lies between fits.
    while until > after {
        let place = LinePlace { sequence: until.saturating_add(1), ordinal: i16::MIN };
        let found = lines_before(app, &keys, Some(place), BEHIND_MAX + 1).await?;
        let mut lines: Vec<_> = found.into_iter().take_while(|line| line.sequence > after).collect();
        if lines.len() <= usize::from(BEHIND_MAX) {
            lines.reverse();
            return Ok(lines);
        }
        until = after + (until - after) / 2;
    }
    Ok(Vec::new())
}

/// What a user had less what was owed, bonus included, after this entry; minor units.
pub(crate) async fn net_at(app: &App, user: UserId, currency: Currency, entry: i64) -> Result<i64, Error> {
    net_from(app, user, currency, entry.saturating_add(1)).await
}

/// The place in the journal from which on entries were posted at this time or later.
async fn first_from(app: &App, from: Timestamp) -> Result<i64, Error> {
    Ok(statements::sequence_at(&app.store, from.plus_ms(-1)).await?.saturating_add(1))
}

/// What a user had less what was owed, bonus included, before everything that was posted from this time on; minor units.
pub(crate) async fn net_before(app: &App, user: UserId, currency: Currency, from: Timestamp) -> Result<i64, Error> {
    let first = first_from(app, from).await?;
    net_from(app, user, currency, first).await
}

/// The same before this place of the journal.
async fn net_from(app: &App, user: UserId, currency: Currency, first: i64) -> Result<i64, Error> {
    let place = LinePlace { sequence: first, ordinal: i16::MIN };
    let mut net = 0;
    for key in keys_of(user, currency) {
        let line = statements::lines(&app.store, &[key.id()], Some(place), 1).await?;
        net += net_of(key.class, line.first().map_or(0, |line| line.balance));
    }
    Ok(net)
}

/// How much better off a user is for so much on an account of this class.
pub(crate) fn net_of(class: Class, minor: i64) -> i64 {
    if class == Class::Receivable { -minor } else { minor }
}

/// The id of what an entry is about, as the API writes it.
pub fn subject(kind: EntryKind, bytes: [u8; 16]) -> String {
    use koban_domain::ids::{
        AdjustmentId, CaptureId, ClosingId, DisputeId, ExchangeId, FileId, FlowId, LotId, PaymentId, RefundId,
        ReviewId, TransferId,
    };
    let id = uuid::Uuid::from_bytes(bytes);
    match kind {
        EntryKind::ChargeCredit
        | EntryKind::ChargeReversal
        | EntryKind::BillHold
        | EntryKind::Bill
        | EntryKind::BillRelease
        | EntryKind::WithdrawalHold
        | EntryKind::Withdrawal
        | EntryKind::WithdrawalRelease => FlowId(id).to_string(),
        EntryKind::Payment | EntryKind::Authorisation | EntryKind::Void | EntryKind::HoldExpiry => {
            PaymentId(id).to_string()
        }
        EntryKind::Capture => CaptureId(id).to_string(),
        EntryKind::Review => ReviewId(id).to_string(),
        EntryKind::Refund => RefundId(id).to_string(),
        EntryKind::Transfer => TransferId(id).to_string(),
        EntryKind::Settlement => FileId(id).to_string(),
        EntryKind::WriteOff => id.simple().to_string(),
        EntryKind::Verification | EntryKind::Closure => UserId(id).to_string(),
        EntryKind::Adjustment => AdjustmentId(id).to_string(),
        EntryKind::Exchange => ExchangeId(id).to_string(),
        EntryKind::BonusGrant | EntryKind::BonusExpiry | EntryKind::BonusRevocation => LotId(id).to_string(),
        EntryKind::Dispute => DisputeId(id).to_string(),
        EntryKind::Closing | EntryKind::Payout => ClosingId(id).to_string(),
    }
}
