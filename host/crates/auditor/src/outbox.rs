//! I10: the outside is told of everything, once by its id, in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::{AuditError, Invariant, Look, Report};

/// Kinds of entries of which somebody outside is told.
const TOLD: [&str; 18] = [
    "charge",
    "charge-reversal",
    "payment",
    "refund",
    "transfer",
    "authorisation",
    "capture",
    "void",
    "hold-expiry",
    "verification",
    "review",
    "exchange",
    "bonus-grant",
    "bonus-expiry",
    "bonus-revocation",
    "dispute",
    "closing",
    "payout",
];

/// I10: pages of the outbox have no hole, each event's id stands once, each entry of which the outside is told has its event at its time, and
/// every endpoint was given what is for it, in the outbox's order and numbered without holes. What receivers heard is what they were given, and a
/// delivered event was heard. Per account the order is that of the journal, because the outbox has the order of the commits.
pub(crate) fn i10_every_event_is_told_in_order(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let books = look.books;
    for pair in books.outbox_pages.windows(2) {
        if pair[1] != pair[0] + 1 {
            out.add(Invariant::I10, format!("outbox page {}", pair[0] + 1), "is missing");
        }
    }
    if let Some(head) = books.table("lane_heads").first() {
        let (said, last) = (head.int("outbox_sequence")?, books.outbox_pages.last().copied().unwrap_or(0));
        // Old pages may have been swept away, the newest never while the head counts them.
        if last > said || (said > 0 && last != 0 && last != said) {
            out.add(Invariant::I10, "outbox", format!("ends at page {last}, the lane's head says {said}"));
        }
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, news) in books.news.iter().enumerate() {
        if places.insert(&news.id, place).is_some() {
            out.add(Invariant::I10, &news.id, "stands in the outbox twice");
        }
    }
    entries_are_told(look, out);
    deliveries_follow_the_outbox(look, &places, out)
}

/// What one endpoint was given: by its number the event, the body and the state.
type Given = BTreeMap<i64, (String, String, i64)>;

fn entries_are_told(look: &Look<'_>, out: &mut Report) {
    let books = look.books;
    let Some(first) = books.news.first() else {
        // Nothing there, or all swept away: then the head counts pages.
        return;
    };
    let whole = books.outbox_pages.first() == Some(&1);
    let mut told: HashMap<i64, Vec<&str>> = HashMap::new();
    for news in &books.news {
        told.entry(news.at).or_default().push(&news.body);
    }
    for entry in &books.entries {
        let kind = look.rules.kind(entry.kind);
        let swept = !whole && entry.at <= first.at;
        if swept || !TOLD.contains(&kind) {
            continue;
        }
        let subject = hex::encode(entry.subject);
        if !told.get(&entry.at).is_some_and(|bodies| bodies.iter().any(|body| body.contains(&subject))) {
            out.add(
                Invariant::I10,
                format!("entry {}", entry.sequence),
                format!("is a {kind}, and nobody is told of it"),
            );
        }
    }
}

fn deliveries_follow_the_outbox(
    look: &Look<'_>,
    places: &HashMap<&str, usize>,
    out: &mut Report,
) -> Result<(), AuditError> {
    let books = look.books;
    let handed_out = match books.table("outbox_cursors").first() {
        Some(cursor) => cursor.int("sequence")?,
        None => 0,
    };
    let mut given: BTreeMap<[u8; 16], Given> = BTreeMap::new();
    for row in books.table("webhook_deliveries") {
        let event = format!("evt_{}", hex::encode(row.id("event")?));
        let delivery = (event, row.text("body")?.to_owned(), row.int("state")?);
        given.entry(row.id("endpoint")?).or_default().insert(row.int("sequence")?, delivery);
    }
    for endpoint in books.table("webhook_endpoints") {
        let id = endpoint.id("id")?;
        let name = format!("whk_{}", hex::encode(id));
        let deliveries = given.remove(&id).unwrap_or_default();
        if deliveries.keys().last().is_some_and(|last| endpoint.int("next_sequence").is_ok_and(|next| *last >= next)) {
            out.add(Invariant::I10, &name, "was given a number that its row does not know of");
        }
        let since = endpoint.int("since_sequence")?;
        let mut last = None;
        let mut have = HashSet::new();
        for (number, (event, body, _)) in &deliveries {
            have.insert(event.as_str());
            let says = serde_json::from_str::<Value>(body).unwrap_or_default();
            if says["id"] != **event || says["sequence"] != *number {
                out.add(Invariant::I10, format!("{name} delivery {number}"), "has a body that says otherwise");
            }
            let Some(place) = places.get(event.as_str()).copied() else { continue };
            // What a replay brought from before the endpoint's time comes later than it happened.
            if books.news[place].page > since {
                if last.is_some_and(|last| place < last) {
                    out.add(
                        Invariant::I10,
                        format!("{name} delivery {number}"),
                        "comes before what happened before it",
                    );
                }
                last = Some(place);
            }
        }
        // An endpoint that was set anew may have been switched off for a while, and old deliveries are swept away.
        let untouched = endpoint.int("changed_at")? == endpoint.int("created_at")? && endpoint.int("enabled")? == 1;
        if untouched && i64::try_from(deliveries.len()).ok() == Some(endpoint.int("next_sequence")? - 1) {
            let merchant = endpoint.maybe_id("merchant")?.map(|id| format!("mer_{}", hex::encode(id)));
            let types: Vec<&str> = endpoint.text("types")?.split(',').filter(|word| !word.is_empty()).collect();
            let due = books.news.iter().filter(|news| news.page > since && news.page <= handed_out);
            let own = due.filter(|news| merchant.is_none() || merchant == news.merchant);
            for news in own.filter(|news| types.is_empty() || types.contains(&news.kind.as_str())) {
                if !have.contains(news.id.as_str()) {
                    out.add(Invariant::I10, format!("{name} {}", news.id), "was never given to it");
                }
            }
        }
        heard(look, &name, &deliveries, out);
    }
    for id in given.keys() {
        out.add(Invariant::I10, format!("whk_{}", hex::encode(id)), "has deliveries and is not there");
    }
    Ok(())
}

fn heard(look: &Look<'_>, name: &str, deliveries: &Given, out: &mut Report) {
    let Some(heard) = look.evidence.heard.get(name) else { return };
    let mut once: BTreeMap<&str, &str> = BTreeMap::new();
    for call in heard {
        if once.insert(&call.id, &call.body).is_some_and(|before| before != call.body) {
            out.add(Invariant::I10, format!("{name} {}", call.id), "was heard twice with two bodies");
        }
    }
    for (event, body, state) in deliveries.values() {
        let said = once.remove(event.as_str());
        if (*state == 2 && said.is_none()) || said.is_some_and(|said| said != body) {
            out.add(Invariant::I10, format!("{name} {event}"), "was not heard as it was given");
        }
    }
    for id in once.keys() {
        out.add(Invariant::I10, format!("{name} {id}"), "was heard and never given");
    }
}
