//! Rows of the books as domain values: the same columns in the same order on both databases.

use koban_domain::access::Access;
use koban_domain::accounts::{Account, AccountId, AccountKey, Class, Layer, PluginKey};
use koban_domain::books::{Merchant, User};
use koban_domain::captures::OfPayment;
use koban_domain::charges::{Exposure, PartnerReference, ReferenceKey, ReferenceState};
use koban_domain::flows::Expectation;
use koban_domain::guest::{Side, Standing};
use koban_domain::ids::{
    EntryId, FileId, FlowId, MerchantId, OperatorId, PaymentId, RecordId, ReviewId, TransferId, UserId,
};
use koban_domain::journal::{Draft, Entry, Posting};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::Beginning;
use koban_domain::money::{Currency, Money};
use koban_domain::operations::{Fingerprint, Operation, OperationKey};
use koban_domain::paths::EntryKind;
use koban_domain::payments::{Part, Payment, PaymentState, Terms};
use koban_domain::records::Digest;
use koban_domain::reviews::{Review, ReviewState, Reviewed};
use koban_domain::settlements::{Difference, SettlementFile};
use koban_domain::time::Timestamp;
use koban_domain::transfers::{Transfer, TransferState};
use koban_domain::verification::Verification;

use crate::database::Columns;
use crate::error::StoreError;

/// id, class, owner, currency, debits_posted, credits_posted, debits_pending, credits_pending, moved, last.
pub(crate) fn account(row: &impl Columns) -> Result<(AccountId, Account), StoreError> {
    let key = AccountKey { class: class(row.small(1)?)?, owner: row.id(2)?, currency: row.currency(3)? };
    let account = Account {
        key,
        debits_posted: row.long(4)?,
        credits_posted: row.long(5)?,
        debits_pending: row.long(6)?,
        credits_pending: row.long(7)?,
        moved: row.long(8)?,
        last: row.long(9)?,
    };
    Ok((AccountId(row.fixed(0)?), account))
}

/// id, kind, created_at, access, verification.
pub(crate) fn user(row: &impl Columns) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(row.id(0)?),
        kind: wallet_kind(row.small(1)?)?,
        created_at: row.time(2)?,
        access: access(row.small(3)?)?,
        verification: verification(row.small(4)?)?,
    })
}

/// id, currencies, access.
pub(crate) fn merchant(row: &impl Columns) -> Result<Merchant, StoreError> {
    Ok(Merchant { id: MerchantId(row.id(0)?), currencies: currencies(&row.text(1)?)?, access: access(row.small(2)?)? })
}

/// Whether somebody may deal, by its code.
pub(crate) fn access(code: i16) -> Result<Access, StoreError> {
    Access::from_code(code).ok_or_else(|| StoreError::damaged(format!("somebody has the access {code}")))
}

/// Where a verification stands, by its code.
pub(crate) fn verification(code: i16) -> Result<Verification, StoreError> {
    Verification::from_code(code).ok_or_else(|| StoreError::damaged(format!("a user has the verification {code}")))
}

/// A list of currency codes with commas.
pub(crate) fn currencies(list: &str) -> Result<Vec<Currency>, StoreError> {
    let codes = list.split(',').filter(|code| !code.is_empty());
    codes.map(|code| Currency::new(code).map_err(|error| StoreError::damaged(error.to_string()))).collect()
}

/// id, payer, merchant, amount, currency, state, parts, captured, refunded, disputed, expires_at, reference, decision, at.
pub(crate) fn payment(row: &impl Columns) -> Result<Payment, StoreError> {
    let id = PaymentId(row.id(0)?);
    let damaged = |what: &str| StoreError::damaged(format!("payment {id}: {what}"));
    let state = u8::try_from(row.small(5)?).ok().and_then(PaymentState::from_code);
    Ok(Payment {
        id,
        payer: UserId(row.id(1)?),
        merchant: MerchantId(row.id(2)?),
        amount: Money::new(row.long(3)?, row.currency(4)?),
        state: state.ok_or_else(|| damaged("unknown state"))?,
        parts: postcard::from_bytes(&row.bytes(6)?).map_err(|_| damaged("its parts cannot be read"))?,
        captured: row.long(7)?,
        refunded: row.long(8)?,
        disputed: row.long(9)?,
        expires_at: row.maybe_long(10)?.map(Timestamp),
        reference: row.maybe_text(11)?,
        decision: row.maybe_id(12)?.map(RecordId),
        at: row.time(13)?,
    })
}

/// plugin, side, reference, state, amount, currency, flow, user_id, entry, reversed, reversed_listed, exposed, listed, released,
/// reverses_reference, at.
pub(crate) fn reference(row: &impl Columns) -> Result<(ReferenceKey, PartnerReference), StoreError> {
    let key = reference_key(row)?;
    let state = match row.small(3)? {
        1 => ReferenceState::Credited,
        2 => ReferenceState::Suspended,
        3 => ReferenceState::Tombstoned,
        4 => ReferenceState::Reversed,
        5 => ReferenceState::WrittenOff,
        6 => ReferenceState::Captured,
        other => return Err(StoreError::damaged(format!("a partner reference has the state {other}"))),
    };
    let reference = PartnerReference {
        state,
        amount: Money::new(row.long(4)?, row.currency(5)?),
        flow: row.maybe_id(6)?.map(FlowId),
        user: row.maybe_id(7)?.map(UserId),
        entry: row.maybe_id(8)?.map(EntryId),
        reversed: row.long(9)?,
        reversed_listed: row.long(10)?,
        exposed: row.long(11)?,
        listed: row.flag(12)?,
        released: row.flag(13)?,
        of: row.maybe_text(14)?,
        at: row.time(15)?,
    };
    Ok((key, reference))
}

/// plugin, side, reference.
fn reference_key(row: &impl Columns) -> Result<ReferenceKey, StoreError> {
    Ok(ReferenceKey { plugin: PluginKey(row.id(0)?), side: side(row.small(1)?)?, reference: row.text(2)? })
}

/// plugin, currency, cap, used, loss_budget, lost.
pub(crate) fn exposure(row: &impl Columns) -> Result<((PluginKey, Currency), Exposure), StoreError> {
    let key = (PluginKey(row.id(0)?), row.currency(1)?);
    Ok((key, Exposure { cap: row.long(2)?, used: row.long(3)?, loss_budget: row.long(4)?, lost: row.long(5)? }))
}

/// plugin, side, reference, ours, theirs, currency, file, at, open.
pub(crate) fn difference(row: &impl Columns) -> Result<(ReferenceKey, Difference), StoreError> {
    let difference = Difference {
        ours: row.long(3)?,
        theirs: row.long(4)?,
        currency: row.currency(5)?,
        file: FileId(row.id(6)?),
        at: row.time(7)?,
        open: row.flag(8)?,
    };
    Ok((reference_key(row)?, difference))
}

/// plugin, digest, id, matched, differences, at.
pub(crate) fn file(row: &impl Columns) -> Result<((PluginKey, Digest), SettlementFile), StoreError> {
    let count =
        |count: i32| u32::try_from(count).map_err(|_| StoreError::damaged("a settlement file counts below zero"));
    let file = SettlementFile {
        id: FileId(row.id(2)?),
        matched: count(row.int(3)?)?,
        differences: count(row.int(4)?)?,
        at: row.time(5)?,
    };
    Ok(((PluginKey(row.id(0)?), row.digest(1)?), file))
}

/// plugin, correlation, flow, key, at.
pub(crate) fn expectation(row: &impl Columns) -> Result<((PluginKey, String), Expectation), StoreError> {
    let expectation = Expectation { flow: row.maybe_id(2)?.map(FlowId), key: row.text(3)?, at: row.time(4)? };
    Ok(((PluginKey(row.id(0)?), row.text(1)?), expectation))
}

/// key, fingerprint, outcome, at.
pub(crate) fn operation(row: &impl Columns) -> Result<(OperationKey, Operation), StoreError> {
    let outcome = Operation::decode_outcome(&row.bytes(2)?)
        .ok_or_else(|| StoreError::damaged("the outcome of an operation cannot be read"))?;
    let operation = Operation { fingerprint: Fingerprint(row.fixed(1)?), outcome, at: row.time(3)? };
    Ok((OperationKey(row.fixed(0)?), operation))
}

/// sequence, id, kind, at, actor, subject, reverses, postings, records, meta, hash, previous.
pub(crate) fn entry(row: &impl Columns) -> Result<Entry, StoreError> {
    let sequence = row.long(0)?;
    let damaged = |what: &str| StoreError::damaged(format!("entry {sequence}: {what}"));
    let kind =
        u8::try_from(row.small(2)?).ok().and_then(EntryKind::from_code).ok_or_else(|| damaged("unknown kind"))?;
    let records = row.bytes(8)?;
    let (records, rest) = records.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(damaged("its list of records is cut off"));
    }
    let mut postings = unpack_postings(&row.bytes(7)?).ok_or_else(|| damaged("its postings cannot be read"))?;
    unpack_previous(&row.text(11)?, &mut postings)
        .ok_or_else(|| damaged("its list of the entries before it cannot be read"))?;
    let draft = Draft {
        id: EntryId(row.id(1)?),
        kind,
        actor: row.text(4)?,
        subject: row.fixed(5)?,
        reverses: row.maybe_id(6)?.map(EntryId),
        postings,
        records: records.iter().copied().map(Digest).collect(),
        meta: row.text(9)?,
    };
    Ok(Entry { sequence, at: row.time(3)?, draft, hash: row.digest(10)? })
}

/// id, kind, payer, payee, amount, currency, hold_ms, decision, state, at, expires_at, operator, ended_at.
pub(crate) fn review(row: &impl Columns) -> Result<Review, StoreError> {
    let id = ReviewId(row.id(0)?);
    let damaged = |what: &str| StoreError::damaged(format!("review {id}: {what}"));
    let (payer, payee, currency) = (UserId(row.id(2)?), row.id(3)?, row.currency(5)?);
    let of = match row.small(1)? {
        1 => Reviewed::Payment(OfPayment { payment: PaymentId(id.0), payer, merchant: MerchantId(payee), currency }),
        2 => Reviewed::Transfer { transfer: TransferId(id.0), sender: payer, receiver: UserId(payee), currency },
        _ => return Err(damaged("unknown kind")),
    };
    let state = u8::try_from(row.small(8)?).ok().and_then(ReviewState::from_code);
    Ok(Review {
        id,
        of,
        amount: Money::new(row.long(4)?, currency),
        terms: row.maybe_long(6)?.map_or(Terms::AtOnce, |for_ms| Terms::Held { for_ms }),
        decision: row.maybe_id(7)?.map(RecordId),
        state: state.ok_or_else(|| damaged("unknown state"))?,
        at: row.time(9)?,
        expires_at: row.time(10)?,
        operator: row.maybe_id(11)?.map(OperatorId),
        ended_at: row.maybe_long(12)?.map(Timestamp),
    })
}

/// The kind and the payee of what a review is about, as its row keeps them.
pub(crate) fn reviewed_parts(of: &Reviewed) -> (i16, [u8; 16]) {
    match of {
        Reviewed::Payment(of) => (1, of.merchant.bytes()),
        Reviewed::Transfer { receiver, .. } => (2, receiver.bytes()),
    }
}

/// For how long an approved payment is held, as a review's row keeps it.
pub(crate) fn hold_ms(terms: Terms) -> Option<i64> {
    match terms {
        Terms::AtOnce => None,
        Terms::Held { for_ms } => Some(for_ms),
    }
}

/// id, sender, receiver, amount, currency, message, state, decision, at.
pub(crate) fn transfer(row: &impl Columns) -> Result<Transfer, StoreError> {
    let id = TransferId(row.id("id")?);
    let state = u8::try_from(row.small("state")?).ok().and_then(TransferState::from_code);
    Ok(Transfer {
        id,
        sender: UserId(row.id("sender")?),
        receiver: UserId(row.id("receiver")?),
        amount: Money::new(row.long("amount")?, row.currency("currency")?),
        message: row.maybe_text("message")?,
        decision: row.maybe_id("decision")?.map(RecordId),
        state: state.ok_or_else(|| StoreError::damaged(format!("transfer {id}: unknown state")))?,
        at: row.time("at")?,
    })
}

/// The parts of a payment as its row keeps them.
pub(crate) fn pack_parts(parts: &[Part]) -> Result<Vec<u8>, StoreError> {
    crate::query::to_postcard(&parts)
}

/// Bytes of one posting in an entry's row.
pub(crate) const POSTING_BYTES: usize = 37;

/// An entry's postings as its row keeps them: class, owner, currency, layer and side, amount and balance of each, big-endian.
pub(crate) fn pack_postings(postings: &[Posting]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(postings.len() * POSTING_BYTES);
    for posting in postings {
        bytes.push(posting.account.class.code());
        bytes.extend_from_slice(posting.account.owner.as_bytes());
        bytes.extend_from_slice(&posting.account.currency.bytes());
        bytes.push(posting.layer.code(posting.side));
        bytes.extend_from_slice(&posting.amount.to_be_bytes());
        bytes.extend_from_slice(&posting.balance.to_be_bytes());
    }
    bytes
}

/// The postings again, with the ids of their accounts; `None` if the bytes are damaged.
pub(crate) fn unpack_postings(bytes: &[u8]) -> Option<Vec<Posting>> {
    let (rows, rest) = bytes.as_chunks::<POSTING_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    rows.iter()
        .map(|row| {
            let account = AccountKey {
                class: Class::from_code(row[0])?,
                owner: uuid::Uuid::from_slice(&row[1..17]).ok()?,
                currency: Currency::new(std::str::from_utf8(&row[17..20]).ok()?).ok()?,
            };
            let (layer, side) = Layer::from_code(row[20])?;
            let amount = i64::from_be_bytes(row[21..29].try_into().ok()?);
            let balance = i64::from_be_bytes(row[29..37].try_into().ok()?);
            Some(Posting { account, id: account.id(), layer, side, amount, balance, previous: 0 })
        })
        .collect()
}

/// The first bytes of each posting of an account: class, owner, currency. No other bytes of an entry's postings can be taken for them.
pub(crate) fn posting_key(account: &AccountKey) -> Vec<u8> {
    [&[account.class.code()], account.owner.as_bytes().as_slice(), &account.currency.bytes()].concat()
}

/// For each posting the entry before, as a list in JSON: what both databases can look into.
pub(crate) fn pack_previous(postings: &[Posting]) -> String {
    let mut text = String::with_capacity(2 + postings.len() * 8);
    for (place, posting) in postings.iter().enumerate() {
        text.push(if place == 0 { '[' } else { ',' });
        text.push_str(&posting.previous.to_string());
    }
    text.push(']');
    text
}

/// Gives each posting the entry before; `None` if the text is damaged or has another number of them.
pub(crate) fn unpack_previous(text: &str, postings: &mut [Posting]) -> Option<()> {
    let mut entries = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
    for posting in postings {
        posting.previous = entries.next()?.parse().ok()?;
    }
    entries.next().is_none().then_some(())
}

/// Digests behind each other.
pub(crate) fn pack_digests(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|digest| digest.0).collect()
}

/// A class by its code.
pub(crate) fn class(code: i16) -> Result<Class, StoreError> {
    let class = u8::try_from(code).ok().and_then(Class::from_code);
    class.ok_or_else(|| StoreError::damaged(format!("an account has the class {code}")))
}

/// The code of a partner reference's side.
pub(crate) const fn side_code(side: Side) -> i16 {
    match side {
        Side::Credit => 1,
        Side::Reversal => 2,
        Side::Capture => 3,
        Side::Fee => 4,
    }
}

/// A side by its code.
pub(crate) fn side(code: i16) -> Result<Side, StoreError> {
    match code {
        1 => Ok(Side::Credit),
        2 => Ok(Side::Reversal),
        3 => Ok(Side::Capture),
        4 => Ok(Side::Fee),
        other => Err(StoreError::damaged(format!("a partner reference has the side {other}"))),
    }
}

/// The code of a wallet's kind.
pub(crate) const fn wallet_kind_code(kind: WalletKind) -> i16 {
    match kind {
        WalletKind::Prepaid => 1,
        WalletKind::Funds => 2,
    }
}

/// A wallet's kind by its code.
pub(crate) fn wallet_kind(code: i16) -> Result<WalletKind, StoreError> {
    match code {
        1 => Ok(WalletKind::Prepaid),
        2 => Ok(WalletKind::Funds),
        other => Err(StoreError::damaged(format!("a user has the kind {other}"))),
    }
}

/// The code of what a flow began as.
pub(crate) const fn beginning_code(beginning: Beginning) -> i16 {
    match beginning {
        Beginning::Charge => 1,
        Beginning::Withdraw => 2,
        Beginning::LinkAccount => 3,
        Beginning::PayBill => 4,
        Beginning::Sync => 5,
        Beginning::Event => 6,
    }
}

/// The code of a flow's standing.
pub(crate) const fn standing_code(standing: Standing) -> i16 {
    match standing {
        Standing::WaitingForUser => 1,
        Standing::WaitingForPartner => 2,
        Standing::Checking => 3,
        Standing::Done => 4,
        Standing::Failed => 5,
        Standing::Cancelled => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use koban_domain::accounts::PostingSide;

    #[test]
    fn postings_read_back_from_their_bytes_and_damaged_ones_do_not() {
        let account = AccountKey::platform(Class::Bank, Currency::JPY);
        let (layer, side) = (Layer::Released, PostingSide::Credit);
        let posting = Posting { account, id: account.id(), layer, side, amount: 5, balance: -5, previous: 0 };
        let bytes = pack_postings(&[posting, Posting { side: PostingSide::Debit, ..posting }]);
        assert_eq!(bytes.len(), 2 * POSTING_BYTES);
        assert_eq!(unpack_postings(&bytes).unwrap()[0], posting);
        assert_eq!(unpack_postings(&bytes[..40]), None);
        for (place, wrong) in [(0, 99), (17, b'?'), (20, 6)] {
            let mut damaged = bytes.clone();
            damaged[place] = wrong;
            assert_eq!(unpack_postings(&damaged), None, "{place}");
        }
        assert!(bytes.starts_with(&posting_key(&account)));
        let mut both = [Posting { previous: 7, ..posting }, Posting { previous: 0, ..posting }];
        let text = pack_previous(&both);
        assert_eq!(text, "[7,0]");
        both[0].previous = 0;
        assert_eq!((unpack_previous(&text, &mut both), both[0].previous), (Some(()), 7));
        for damaged in ["", "[]", "[7]", "[7,0,0]", "[7,x]", "7,0"] {
            assert_eq!(unpack_previous(damaged, &mut both), None, "{damaged}");
        }
    }
}
