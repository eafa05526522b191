//! I13 and I14: rows stay with those they belong to, and plugins move money only through what the host checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::canonical::plugin_key;
use crate::source::Id;
use crate::{AuditError, Invariant, Look, Report};

/// I13: captures and refunds belong to the payer and merchant of their payment, keys, payments and endpoints to a merchant that is there, and
/// what a merchant is told of is about that merchant alone. This is the half that the database can show; that no route answers
/// with another's row is for the tests of the API.
pub(crate) fn i13_rows_stay_with_their_tenant(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let books = look.books;
    let mut payments: HashMap<Id, (Id, Id)> = HashMap::new();
    for row in books.table("payments") {
        payments.insert(row.id("id")?, (row.id("payer")?, row.id("merchant")?));
    }
    for (table, has_payer) in [("captures", false), ("refunds", true), ("disputes", true)] {
        for row in books.table(table) {
            let place = format!("{table} {}", hex::encode(row.id("id")?));
            let Some((payer, merchant)) = payments.get(&row.id("payment")?) else {
                out.add(Invariant::I13, place, "is of a payment that is not there");
                continue;
            };
            if row.id("merchant")? != *merchant || (has_payer && row.id("payer")? != *payer) {
                out.add(Invariant::I13, place, "belongs to somebody else than its payment");
            }
        }
    }
    let ids = |table: &str| books.table(table).iter().map(|row| row.id("id")).collect::<Result<HashSet<Id>, _>>();
    let (users, merchants) = (ids("users")?, ids("merchants")?);
    for row in books.table("payments") {
        if !users.contains(&row.id("payer")?) || !merchants.contains(&row.id("merchant")?) {
            out.add(
                Invariant::I13,
                format!("payments {}", hex::encode(row.id("id")?)),
                "is between people who are not there",
            );
        }
    }
    for row in books.table("transfers") {
        if !users.contains(&row.id("sender")?) || !users.contains(&row.id("receiver")?) {
            out.add(
                Invariant::I13,
                format!("transfers {}", hex::encode(row.id("id")?)),
                "is between people who are not there",
            );
        }
    }
    for row in books.table("api_keys") {
        if !merchants.contains(&row.id("merchant")?) {
            out.add(Invariant::I13, format!("key {}", hex::encode(row.id("id")?)), "opens the door of nobody");
        }
    }
    postings_are_between_the_parties(look, &payments, out);
    merchants_hear_of_themselves(look, &payments, out)
}

/// A payment, capture, void, expiry or refund touches the accounts of its payer, its merchant and the platform, and of nobody else.
fn postings_are_between_the_parties(look: &Look<'_>, payments: &HashMap<Id, (Id, Id)>, out: &mut Report) {
    for entry in &look.books.entries {
        let Some((payer, merchant)) = payments.get(&entry.about()) else { continue };
        let owners = entry.postings.iter().map(|posting| posting.owner);
        if let Some(other) = owners.into_iter().find(|owner| ![*payer, *merchant, [0; 16]].contains(owner)) {
            let what = format!("moves money of {}, who has no part in it", hex::encode(other));
            out.add(Invariant::I13, format!("entry {}", entry.sequence), what);
        }
    }
}

fn merchants_hear_of_themselves(
    look: &Look<'_>,
    payments: &HashMap<Id, (Id, Id)>,
    out: &mut Report,
) -> Result<(), AuditError> {
    let books = look.books;
    let mut audience: HashMap<&str, Option<&str>> = HashMap::new();
    for news in &books.news {
        audience.insert(&news.id, news.merchant.as_deref());
        let body: Value = serde_json::from_str(&news.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let payment = text("payment").or(text("id")).and_then(|id| crate::canonical::id_of(id, "pay"));
        let of = payment
            .and_then(|payment| payments.get(&payment))
            .map(|(_, merchant)| format!("mer_{}", hex::encode(merchant)));
        let said = text("merchant").map(str::to_owned);
        if news.merchant.is_some() && (said.is_some() && said != news.merchant || of.is_some() && of != news.merchant) {
            out.add(Invariant::I13, &news.id, "is told to another merchant than the one it is about");
        }
    }
    let mut owners: BTreeMap<Id, Option<String>> = BTreeMap::new();
    for row in books.table("webhook_endpoints") {
        owners.insert(row.id("id")?, row.maybe_id("merchant")?.map(|id| format!("mer_{}", hex::encode(id))));
    }
    for row in books.table("webhook_deliveries") {
        let event = format!("evt_{}", hex::encode(row.id("event")?));
        let Some(Some(owner)) = owners.get(&row.id("endpoint")?) else { continue };
        if let Some(audience) = audience.get(event.as_str())
            && *audience != Some(owner.as_str())
        {
            out.add(Invariant::I13, event, format!("was given to {owner}, whom it does not concern"));
        }
    }
    Ok(())
}

/// I14: every entry goes along the table of paths; every credit, reversal, hold, capture and release of a plugin belongs to a flow of that plugin and
/// of the user whose wallet it touches, and rests on a record of that plugin's call. Plugins that are only a name (a till) have no flows.
pub(crate) fn i14_plugins_moved_money_by_checked_proposals_alone(
    look: &Look<'_>,
    out: &mut Report,
) -> Result<(), AuditError> {
    paths(look, out);
    let books = look.books;
    let tills: HashSet<Id> = look.evidence.tills.iter().map(|till| plugin_key(till)).collect();
    let records: HashMap<[u8; 32], &str> =
        books.records.iter().map(|record| (record.digest, record.plugin.as_str())).collect();
    let mut flow_of: HashMap<Id, (Option<Id>, Option<Id>)> = HashMap::new();
    for row in books.table("partner_references") {
        if let Some(entry) = row.maybe_id("entry")? {
            flow_of.insert(entry, (row.maybe_id("flow")?, row.maybe_id("user_id")?));
        }
    }
    for entry in &books.entries {
        for digest in &entry.records {
            if !records.contains_key(digest) {
                out.add(Invariant::I14, format!("entry {}", entry.sequence), "rests on a record that is not there");
            }
        }
        let kind = look.rules.kind(entry.kind);
        let goes_out = kind.starts_with("bill") || kind.starts_with("withdrawal");
        if !goes_out && !matches!(kind, "charge" | "charge-reversal") {
            continue;
        }
        let place = || format!("entry {}", entry.sequence);
        let of_partner = |class| matches!(look.rules.class(class), "clearing" | "in-transit");
        let clearing = entry.postings.iter().find(|posting| of_partner(posting.class));
        let Some(owner) = clearing.map(|posting| posting.owner).filter(|owner| !tills.contains(owner)) else {
            continue;
        };
        // What is set aside or let go has no reference of the partner's: its flow is the subject, and its user the flow's.
        let of_subject = || (Some(entry.subject), books.flows.get(&entry.subject).map(|(_, user)| *user));
        let known = flow_of.get(&entry.id).copied();
        let (flow, user) = if known.is_none() && goes_out { of_subject() } else { known.unwrap_or_default() };
        let Some((plugin, whose)) = flow.and_then(|flow| books.flows.get(&flow)) else {
            out.add(Invariant::I14, place(), "moves a plugin's money outside of any flow");
            continue;
        };
        if plugin_key(plugin) != owner || user != Some(*whose) || flow != Some(entry.subject) {
            out.add(
                Invariant::I14,
                place(),
                format!("moves money of another plugin or user than its flow of {plugin}"),
            );
        }
        let wallets = entry
            .postings
            .iter()
            .filter(|posting| matches!(look.rules.class(posting.class), "prepaid" | "funds" | "bonus"));
        if wallets.into_iter().any(|posting| posting.owner != *whose) {
            out.add(Invariant::I14, place(), "touches another wallet than its flow's");
        }
        // What a flow sets aside in its beginning is asked for by its user.
        let by_user = goes_out && kind.ends_with("-hold") && entry.actor == format!("user:usr_{}", hex::encode(whose));
        let by_plugin = by_user || entry.actor == format!("plugin:{plugin}");
        let recorded = entry.records.iter().any(|digest| records.get(digest).is_some_and(|by| by == plugin));
        if by_plugin != recorded {
            out.add(Invariant::I14, place(), "is not both a plugin's act and resting on a record of its call");
        }
        if !by_plugin && !crate::privileges::is_operator(&entry.actor) && entry.actor != "system" {
            out.add(Invariant::I14, place(), format!("was caused by {}", entry.actor));
        }
    }
    Ok(())
}

/// Every class debited has a path to a class credited in the same entry and layer, and the other way round.
fn paths(look: &Look<'_>, out: &mut Report) {
    for entry in &look.books.entries {
        for layer in 0..3 {
            let classes = |is_credit: bool| {
                let postings = entry.postings.iter();
                postings
                    .filter(move |posting| posting.layer == layer && posting.is_credit == is_credit)
                    .map(|posting| posting.class)
            };
            let allows = |debit, credit| look.rules.allows(entry.kind, debit, credit);
            let good = classes(false).all(|debit| classes(true).any(|credit| allows(debit, credit)))
                && classes(true).all(|credit| classes(false).any(|debit| allows(debit, credit)));
            if !good {
                let what = format!("is a {} off the table of paths", look.rules.kind(entry.kind));
                out.add(Invariant::I14, format!("entry {}", entry.sequence), what);
            }
        }
    }
}
