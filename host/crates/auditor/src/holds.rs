//! I5 and I6: what is set aside ends once, and what goes back was captured before.

use std::collections::BTreeMap;

use crate::source::Id;
use crate::{AuditError, Invariant, Look, Report};

/// What the journal says of one payment or transfer.
#[derive(Debug, Default)]
struct Hold {
    reserved: i128,
    released: i128,
    /// What the payee got while or after something was held, or at once.
    got: i128,
    /// After which entry nothing was held any more.
    ended: Option<i64>,
    /// By refunds and lost disputes.
    refunded: i128,
    /// Contested and not decided.
    disputed: i128,
}

/// Payments and transfers by id, as the journal tells of them.
fn holds(look: &Look<'_>, mut twice: impl FnMut(Id, i64)) -> BTreeMap<Id, Hold> {
    let mut holds: BTreeMap<Id, Hold> = BTreeMap::new();
    for entry in look.books.entries.iter().filter(|entry| !is_of_flow(look, entry.kind)) {
        let layer = |layer| {
            let postings = entry.postings.iter().filter(move |posting| posting.layer == layer && !posting.is_credit);
            postings.map(|posting| i128::from(posting.amount)).sum::<i128>()
        };
        let (reserved, released) = (layer(1), layer(2));
        let hold = holds.entry(entry.about()).or_default();
        if reserved + released > 0 && hold.ended.is_some() {
            twice(entry.about(), entry.sequence);
        }
        hold.reserved += reserved;
        hold.released += released;
        if reserved + released > 0 && hold.reserved == hold.released {
            hold.ended = Some(entry.sequence);
        }
        match look.rules.kind(entry.kind) {
            "payment" | "capture" => hold.got -= entry.moved(|class| look.rules.class(class) == "payable"),
            "refund" => hold.refunded += entry.moved(|class| look.rules.class(class) == "payable"),
            // Between what is contested and what is owed the sum is nought; what leaves both has gone to the payer.
            "dispute" => {
                hold.refunded += entry.moved(|class| matches!(look.rules.class(class), "payable" | "disputed"));
                hold.disputed -= entry.moved(|class| look.rules.class(class) == "disputed");
            }
            _ => {}
        }
    }
    holds
}

/// I5: everything that is set aside for a payment or transfer is let go or captured, once; captured is at most what was authorised; and the
/// rows say the same as the journal.
pub(crate) fn i5_every_hold_ends_once(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let holds = holds(look, |id, sequence| {
        let what = "sets aside or lets go of something whose hold had ended";
        out.add(Invariant::I5, format!("entry {sequence} about {}", hex::encode(id)), what);
    });
    holds_of_flows(look, out)?;
    let nothing = Hold::default();
    for (table, open) in [("payments", [1, 2].as_slice()), ("transfers", &[2])] {
        for row in look.books.table(table) {
            let (id, state, amount) = (row.id("id")?, row.int("state")?, i128::from(row.int("amount")?));
            let hold = holds.get(&id).unwrap_or(&nothing);
            let place = || format!("{table} {}", hex::encode(id));
            let held = hold.reserved - hold.released;
            if open.contains(&state) != (held > 0) || held < 0 {
                out.add(Invariant::I5, place(), format!("is in state {state}, and {held} is held"));
            }
            if hold.reserved > 0 && hold.reserved != amount {
                out.add(Invariant::I5, place(), format!("is of {amount}, and {} was set aside", hold.reserved));
            }
            if table == "payments" {
                let captured = i128::from(row.int("captured")?);
                if hold.got > amount || captured != hold.got {
                    let what = format!("of {amount} says that {captured} was captured, the journal makes {}", hold.got);
                    out.add(Invariant::I5, place(), what);
                }
            }
        }
    }
    Ok(())
}

/// Whether entries of this kind are about what a flow has set aside.
fn is_of_flow(look: &Look<'_>, kind: u8) -> bool {
    matches!(
        look.rules.kind(kind),
        "bill-hold" | "bill" | "bill-release" | "withdrawal-hold" | "withdrawal" | "withdrawal-release"
    )
}

/// Holds of flows: each is set aside once and ends once, what was taken and let go is what was set aside, its row says what the journal makes, and
/// nothing of it is left once its flow is final.
fn holds_of_flows(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut made: BTreeMap<(Id, &str), Hold> = BTreeMap::new();
    for entry in look.books.entries.iter().filter(|entry| is_of_flow(look, entry.kind)) {
        let layer = |layer| {
            let postings = entry.postings.iter().filter(move |posting| posting.layer == layer && !posting.is_credit);
            postings.map(|posting| i128::from(posting.amount)).sum::<i128>()
        };
        let Some(key) = entry.said("hold") else {
            out.add(Invariant::I5, format!("entry {}", entry.sequence), "does not say of which hold it is");
            continue;
        };
        let hold = made.entry((entry.subject, key)).or_default();
        let sets_aside = look.rules.kind(entry.kind).ends_with("-hold");
        if hold.ended.is_some() || sets_aside != (hold.reserved == 0) {
            let what = format!("is about the hold `{key}`, which is not there or has ended");
            out.add(Invariant::I5, format!("entry {}", entry.sequence), what);
        }
        hold.reserved += layer(1);
        hold.released += layer(2);
        hold.got -=
            entry.moved(|class| matches!(look.rules.class(class), "in-transit" | "fee-income" | "consumption-tax"));
        if hold.reserved == hold.released {
            hold.ended = Some(entry.sequence);
        }
    }
    for row in look.books.table("flow_holds") {
        let (flow, key) = (row.id("flow")?, row.text("key")?);
        let stored = (row.int("amount")?, row.int("held")?, row.int("captured")?);
        let hold = made.remove(&(flow, key)).unwrap_or_default();
        let journal = (hold.reserved, hold.reserved - hold.released, hold.got);
        let place = || format!("hold `{key}` of flow {}", hex::encode(flow));
        if journal != (i128::from(stored.0), i128::from(stored.1), i128::from(stored.2)) {
            let what = format!("says {stored:?} of set aside, held and taken, the journal makes {journal:?}");
            out.add(Invariant::I5, place(), what);
        }
        if stored.1 > 0 && look.books.final_flows.contains(&flow) {
            out.add(Invariant::I5, place(), format!("still holds {}, and its flow is final", stored.1));
        }
    }
    for (flow, key) in made.keys() {
        out.add(Invariant::I5, format!("hold `{key}` of flow {}", hex::encode(flow)), "has no row");
    }
    Ok(())
}

/// I6: refunds and disputes together are at most what was captured; the sums in a payment's row are those of its refunds and disputes, and of
/// the journal.
pub(crate) fn i6_no_more_goes_back_than_was_captured(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let holds = holds(look, |_, _| {});
    let mut listed: BTreeMap<Id, i128> = BTreeMap::new();
    for row in look.books.table("refunds") {
        *listed.entry(row.id("payment")?).or_default() += i128::from(row.int("amount")?);
    }
    let mut contested: BTreeMap<Id, i128> = BTreeMap::new();
    for row in look.books.table("disputes") {
        let (payment, amount) = (row.id("payment")?, i128::from(row.int("amount")?));
        match row.int("state")? {
            1 => *contested.entry(payment).or_default() += amount,
            3 => *listed.entry(payment).or_default() += amount,
            _ => {}
        }
    }
    for row in look.books.table("payments") {
        let id = row.id("id")?;
        let [captured, refunded, disputed] = ["captured", "refunded", "disputed"].map(|name| row.int(name));
        let (captured, refunded, disputed) = (captured?, refunded?, disputed?);
        let place = || format!("payments {}", hex::encode(id));
        if refunded < 0 || disputed < 0 || i128::from(refunded) + i128::from(disputed) > i128::from(captured) {
            let what = format!("gave back {refunded} and disputes {disputed} of {captured}");
            out.add(Invariant::I6, place(), what);
        }
        let hold = holds.get(&id);
        let (made, open) = hold.map_or((0, 0), |hold| (hold.refunded, hold.disputed));
        let waiting = contested.remove(&id).unwrap_or(0);
        if (waiting, open) != (i128::from(disputed), i128::from(disputed)) {
            let what = format!("says {disputed} is disputed, its disputes make {waiting}, the journal {open}");
            out.add(Invariant::I6, place(), what);
        }
        let sums = (listed.remove(&id).unwrap_or(0), made);
        if sums != (i128::from(refunded), i128::from(refunded)) {
            let what = format!(
                "says {refunded} was refunded, its refunds and lost disputes make {}, the journal {}",
                sums.0, sums.1
            );
            out.add(Invariant::I6, place(), what);
        }
    }
    for (id, sum) in listed {
        out.add(
            Invariant::I6,
            format!("payments {}", hex::encode(id)),
            format!("is not there, and {sum} was refunded"),
        );
    }
    Ok(())
}
