//! I3 and I4: what was asked for is there, once, and nothing else is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::canonical::{Postcard, id_of};
use crate::source::Id;
use crate::{AuditError, Invariant, Look, Report};

/// Dealings by the prefix of their ids: table and column of the amount. A complete log has all of them.
const DEALINGS: [(&str, &str, &str); 5] = [
    ("pay", "payments", "amount"),
    ("ref", "refunds", "amount"),
    ("trf", "transfers", "amount"),
    ("cap", "captures", "amount"),
    ("exc", "exchanges", "sell_amount"),
];

/// What else is acknowledged, with its amount where it has one.
const OTHERS: [(&str, &str, Option<&str>); 7] = [
    ("dsp", "disputes", Some("amount")),
    ("clo", "closings", Some("due")),
    ("cmp", "campaigns", Some("budget")),
    ("lot", "bonus_lots", Some("amount")),
    ("adj", "adjustments", None),
    ("rev", "reviews", None),
    ("sch", "schedules", None),
];

/// Entries that are explained by a row, and rows by an entry: kind of entry, table, whether each row has exactly one such entry.
const EXPLAINED: [(&str, &[&str], bool); 19] = [
    ("payment", &["payments"], false),
    ("authorisation", &["payments"], false),
    ("void", &["payments"], false),
    ("hold-expiry", &["payments"], false),
    ("review", &["payments", "transfers"], false),
    ("refund", &["refunds"], true),
    ("capture", &["captures"], true),
    ("exchange", &["exchanges"], true),
    ("transfer", &["transfers"], false),
    ("verification", &["users"], false),
    ("closure", &["users"], false),
    ("settlement", &["settlement_files"], false),
    ("adjustment", &["adjustments"], false),
    ("bonus-grant", &["bonus_lots"], true),
    ("bonus-expiry", &["bonus_lots"], false),
    ("bonus-revocation", &["bonus_lots"], false),
    ("dispute", &["disputes"], false),
    ("closing", &["closings"], false),
    ("payout", &["closings"], false),
];

/// I3: everything that was acknowledged is there with its amount, and if the log is complete, nothing else is. Beyond the log: each entry has
/// the row that it is about, each dealing has its entry, and what users and merchants did is named by the operation that they asked for.
pub(crate) fn i3_what_was_acknowledged_is_there_and_nothing_else(
    look: &Look<'_>,
    out: &mut Report,
) -> Result<(), AuditError> {
    let mut kept: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let dealings = DEALINGS.map(|(prefix, table, column)| (prefix, table, Some(column)));
    for (prefix, table, column) in dealings.into_iter().chain(OTHERS) {
        for row in look.books.table(table) {
            let amount = column.map(|column| row.int(column)).transpose()?;
            kept.insert(format!("{prefix}_{}", hex::encode(row.id("id")?)), amount);
        }
    }
    for flow in look.books.flows.keys() {
        kept.insert(format!("flw_{}", hex::encode(flow)), None);
    }
    let mut told = BTreeSet::new();
    for acknowledged in &look.evidence.acknowledged {
        told.insert(acknowledged.id.as_str());
        match kept.get(&acknowledged.id) {
            None => out.add(Invariant::I3, &acknowledged.id, "was acknowledged and is lost"),
            Some(kept) => {
                if let (Some(told), Some(kept)) = (acknowledged.amount, kept)
                    && told != *kept
                {
                    let what = format!("was acknowledged with {told}, the books say {kept}");
                    out.add(Invariant::I3, &acknowledged.id, what);
                }
            }
        }
    }
    if look.evidence.is_complete {
        let dealing = |id: &str| DEALINGS.iter().any(|(prefix, ..)| id.split('_').next() == Some(prefix));
        for id in kept.keys().filter(|id| dealing(id) && !told.contains(id.as_str())) {
            out.add(Invariant::I3, id, "is there, and nobody was told");
        }
    }
    entries_and_rows_explain_each_other(look, out)?;
    operations_explain_entries(look, out)
}

fn entries_and_rows_explain_each_other(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut ids: HashMap<&str, HashSet<Id>> = HashMap::new();
    let tables: BTreeSet<&str> = EXPLAINED.iter().flat_map(|(_, tables, _)| tables.iter().copied()).collect();
    for table in tables {
        let rows: Result<_, _> = look.books.table(table).iter().map(|row| row.id("id")).collect();
        ids.insert(table, rows?);
    }
    let mut entries: HashMap<(&str, Id), usize> = HashMap::new();
    for entry in &look.books.entries {
        let kind = look.rules.kind(entry.kind);
        *entries.entry((kind, entry.subject)).or_default() += 1;
        if let Some((_, tables, _)) = EXPLAINED.iter().find(|(known, ..)| *known == kind)
            && !tables.iter().any(|table| ids[table].contains(&entry.subject))
        {
            let what = format!("is a {kind} of {}, which is in none of {tables:?}", hex::encode(entry.subject));
            out.add(Invariant::I3, format!("entry {}", entry.sequence), what);
        }
    }
    for (kind, tables, exactly_one) in EXPLAINED.iter().filter(|(.., exactly_one)| *exactly_one) {
        for id in tables.iter().flat_map(|table| &ids[table]) {
            let count = entries.get(&(*kind, *id)).copied().unwrap_or(0);
            if *exactly_one && count != 1 {
                out.add(Invariant::I3, format!("{kind} {}", hex::encode(id)), format!("has {count} entries"));
            }
        }
    }
    for row in look.books.table("transfers").iter().filter(|row| row.int("state").is_ok_and(|state| state == 1)) {
        let id = row.id("id")?;
        if entries.get(&("transfer", id)) != Some(&1) {
            out.add(Invariant::I3, format!("transfer {}", hex::encode(id)), "was sent and has not one entry");
        }
    }
    for row in look.books.table("adjustments").iter().filter(|row| row.int("state").is_ok_and(|state| state == 2)) {
        let id = row.id("id")?;
        if entries.get(&("adjustment", id)) != Some(&1) {
            out.add(Invariant::I3, format!("adjustment {}", hex::encode(id)), "was approved and has not one entry");
        }
    }
    let touched: HashSet<Id> = look.books.entries.iter().map(crate::books::Entry::about).collect();
    for row in look.books.table("payments") {
        let id = row.id("id")?;
        if !touched.contains(&id) {
            out.add(Invariant::I3, format!("payment {}", hex::encode(id)), "has no entry");
        }
    }
    Ok(())
}

/// Outcomes of operations name what they made: each dealing that a user or a merchant caused stands in one.
fn operations_explain_entries(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut named: HashSet<String> = HashSet::new();
    for row in look.books.table("operations") {
        named.extend(ids_in(row.bytes("outcome")?));
    }
    for entry in &look.books.entries {
        let prefix = match look.rules.kind(entry.kind) {
            "payment" | "authorisation" | "void" => "pay",
            "refund" => "ref",
            "capture" => "cap",
            "transfer" => "trf",
            "exchange" => "exc",
            _ => continue,
        };
        let by_request = ["user:", "merchant:", "schedule:"].iter().any(|kind| entry.actor.starts_with(kind));
        let id = format!("{prefix}_{}", hex::encode(entry.subject));
        if by_request && !named.contains(&id) {
            let what = format!("was caused by {}, and no operation of theirs names {id}", entry.actor);
            out.add(Invariant::I3, format!("entry {}", entry.sequence), what);
        }
    }
    Ok(())
}

/// Every id in readable form that stands in these bytes.
fn ids_in(bytes: &[u8]) -> Vec<String> {
    const LENGTH: usize = 36;
    let mut found = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_') {
        let Some(candidate) = at.checked_sub(3).and_then(|from| bytes.get(from..from + LENGTH)) else { continue };
        if let Ok(text) = std::str::from_utf8(candidate)
            && text.split_once('_').is_some_and(|(prefix, _)| id_of(text, prefix).is_some())
        {
            found.push(text.to_owned());
        }
    }
    found
}

/// Places of the answers that make something, in the list of answers as outcomes number them: paid, refunded, transferred, captured,
/// exchanged. Their first field is the id of what was made.
const MAKING: [u64; 5] = [2, 3, 4, 13, 18];

/// I4: no dealing was made by two operations, no key was acknowledged with two effects, no partner's reference was posted twice on one
/// side, and no merchant's reference stands on two payments.
pub(crate) fn i4_one_effect_per_key_and_reference(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut made: HashMap<String, String> = HashMap::new();
    for row in look.books.table("operations") {
        let Some(answer) = row.bytes("outcome")?.strip_prefix(b"\x01a") else { continue };
        let mut answer = Postcard(answer);
        let Some(id) = answer.varint().filter(|place| MAKING.contains(place)).and_then(|_| answer.text()) else {
            continue;
        };
        let key = hex::encode(row.bytes("key")?);
        if let Some(other) = made.insert(id.to_owned(), key.clone()) {
            out.add(Invariant::I4, id, format!("was made by two operations, {other} and {key}"));
        }
    }
    let (mut of_key, mut key_of) = (HashMap::new(), HashMap::new());
    for acknowledged in &look.evidence.acknowledged {
        let Some(key) = &acknowledged.key else { continue };
        let id = acknowledged.id.as_str();
        if of_key.insert(key, id).is_some_and(|other| other != id) {
            out.add(
                Invariant::I4,
                format!("key {key:?}"),
                format!("was acknowledged with two effects, the second is {id}"),
            );
        }
        if key_of.insert(id, key).is_some_and(|other| other != key) {
            out.add(Invariant::I4, id, "was acknowledged under two keys");
        }
    }
    references_are_posted_once(look, out)?;
    let mut used = HashSet::new();
    for row in look.books.table("payments") {
        if let Some(reference) = row.maybe_text("reference")?
            && !used.insert((row.id("merchant")?, reference))
        {
            out.add(Invariant::I4, format!("merchant reference {reference}"), "stands on two payments");
        }
    }
    Ok(())
}

/// Credits, reversals and captures of flows in the journal, and partners' references in their table, are the same list.
fn references_are_posted_once(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut posted: BTreeMap<(Id, i64, &str), (Id, i128)> = BTreeMap::new();
    for entry in &look.books.entries {
        let side = match look.rules.kind(entry.kind) {
            "charge" => 1,
            "charge-reversal" => 2,
            "bill" | "withdrawal" => 3,
            _ => continue,
        };
        let place = || format!("entry {}", entry.sequence);
        let of_partner = |class| matches!(look.rules.class(class), "clearing" | "in-transit");
        let clearing = entry.postings.iter().find(|posting| posting.layer == 0 && of_partner(posting.class));
        let (Some(clearing), Some(reference)) = (clearing, entry.said("reference")) else {
            out.add(Invariant::I4, place(), "names no partner or no reference");
            continue;
        };
        let amount = i128::from(clearing.amount);
        if posted.insert((clearing.owner, side, reference), (entry.id, amount)).is_some() {
            out.add(Invariant::I4, place(), format!("posts reference {reference} a second time"));
        }
    }
    for row in look.books.table("partner_references") {
        let (plugin, side, reference) = (row.id("plugin")?, row.int("side")?, row.text("reference")?);
        let Some(entry) = row.maybe_id("entry")? else { continue };
        let wanted = Some((entry, i128::from(row.int("amount")?)));
        if posted.remove(&(plugin, side, reference)) != wanted {
            out.add(
                Invariant::I4,
                format!("reference {reference}, side {side}"),
                "is not what the journal posted under it",
            );
        }
    }
    for (_, side, reference) in posted.keys() {
        out.add(Invariant::I4, format!("reference {reference}, side {side}"), "was posted and is not kept as used");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_among_other_bytes() {
        let id = "pay_0000000000000000000000000000a001";
        let bytes = [b"\x01a\x02\x24", id.as_bytes(), b"\x05usr_", b"_"].concat();
        assert_eq!(ids_in(&bytes), [id]);
        assert!(ids_in(b"pay_0000").is_empty());
    }
}
