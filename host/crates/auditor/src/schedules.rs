//! I3 of schedules: what was to be done later was done once, as it was wished, and nothing else was.

use std::collections::{HashMap, HashSet};

use crate::canonical::{Postcard, digest_of_parts, half, id_of};
use crate::source::Id;
use crate::{AuditError, Invariant, Look, Report};

const WAITING: i64 = 1;
const RUNNING: i64 = 2;
const DONE: i64 = 3;
const REFUSED: i64 = 4;

/// What a schedule is for: the table of what it makes, the prefix of its ids, to whom, how much, and in which currency.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    table: &'static str,
    prefix: &'static str,
    payee: Id,
    amount: i64,
    currency: String,
}

fn wish(bytes: &[u8]) -> Option<Wish> {
    let mut rest = Postcard(bytes);
    let (table, prefix, payee) = match rest.varint()? {
        0 => ("payments", "pay", "mer"),
        1 => ("transfers", "trf", "usr"),
        _ => return None,
    };
    let payee = id_of(rest.text()?, payee)?;
    let (amount, currency) = (rest.signed()?, rest.text()?.to_owned());
    Some(Wish { table, prefix, payee, amount, currency })
}

/// I3: a schedule that is done has exactly one operation, under its own name, and exactly one dealing, which is its user's and what was wished; one
/// that was refused has the operation that refused it, if it came that far; one that waits or was cancelled has neither. And what the journal says
/// that a schedule caused is one that is done, or that a host has just taken up.
pub(crate) fn i3_schedules_are_done_once(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let books = look.books;
    let mut operations: HashMap<&[u8], &[u8]> = HashMap::new();
    for row in books.table("operations") {
        operations.insert(row.bytes("key")?, row.bytes("outcome")?);
    }
    // The dealings that each schedule caused, as actors of the journal say it.
    let mut caused: HashMap<&str, HashSet<Id>> = HashMap::new();
    for entry in &books.entries {
        if let Some(schedule) = entry.actor.strip_prefix("schedule:") {
            caused.entry(schedule).or_default().insert(entry.subject);
        }
    }
    let mut made: HashSet<&str> = HashSet::new();
    for row in books.table("schedules") {
        let name = format!("sch_{}", hex::encode(row.id("id")?));
        let key = half(digest_of_parts(&[b"koban operation 1", format!("schedule:{name}").as_bytes(), b"once"]));
        let operation = operations.get(key.as_slice()).copied();
        let entries = caused.remove(name.as_str()).unwrap_or_default();
        let (state, outcome) = (row.int("state")?, row.maybe_text("outcome")?);
        let Some(wish) = wish(row.bytes("wish")?) else {
            out.add(Invariant::I3, name, "has a wish that cannot be read");
            continue;
        };
        match state {
            DONE => {
                let id = outcome.and_then(|id| id_of(id, wish.prefix));
                let (Some(outcome), Some(id)) = (outcome, id) else {
                    out.add(Invariant::I3, name, format!("was done, and {outcome:?} is no dealing"));
                    continue;
                };
                if !made.insert(outcome) {
                    out.add(Invariant::I3, &name, format!("was done by {outcome}, as another was"));
                }
                if !operation.is_some_and(|operation| contains(operation, outcome.as_bytes())) {
                    out.add(Invariant::I3, &name, format!("was done, and no operation of its own made {outcome}"));
                }
                if entries.iter().any(|entry| *entry != id) {
                    out.add(Invariant::I3, &name, format!("was done by {outcome}, and caused something else, too"));
                }
                let dealing = books.table(wish.table).iter().find(|row| row.id("id").is_ok_and(|found| found == id));
                let Some(dealing) = dealing else {
                    out.add(Invariant::I3, &name, format!("was done by {outcome}, which is not there"));
                    continue;
                };
                let (payer, payee) = match wish.table {
                    "payments" => ("payer", "merchant"),
                    _ => ("sender", "receiver"),
                };
                let as_wished = dealing.id(payer)? == row.id("user_id")?
                    && dealing.id(payee)? == wish.payee
                    && dealing.int("amount")? == wish.amount
                    && dealing.text("currency")? == wish.currency;
                if !as_wished {
                    out.add(Invariant::I3, &name, format!("was done by {outcome}, which is not what was wished"));
                }
            }
            // A host that took it up may have died before it wrote down what came of it.
            RUNNING if entries.len() <= 1 => {}
            REFUSED if entries.is_empty() && !operation.is_some_and(|operation| operation.starts_with(b"\x01a")) => {}
            _ if entries.is_empty() && operation.is_none() && state >= WAITING => {}
            _ => {
                let what = format!("is in state {state}, and caused {} dealings", entries.len());
                out.add(Invariant::I3, name, what);
            }
        }
    }
    for schedule in caused.keys() {
        out.add(Invariant::I3, *schedule, "caused something, and is not there");
    }
    Ok(())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_and_nothing_else_is() {
        let receiver = "usr_0000000000000000000000000000a001";
        let bytes = [&[1, 36][..], receiver.as_bytes(), &[0x80, 0x14, 3], b"JPY", &[0]].concat();
        let payee = id_of(receiver, "usr").unwrap();
        let wanted = Wish { table: "transfers", prefix: "trf", payee, amount: 1_280, currency: "JPY".to_owned() };
        assert_eq!(wish(&bytes), Some(wanted));
        assert_eq!(wish(&[2]), None);
        assert_eq!(wish(&bytes[..10]), None);
        assert!(contains(b"xyz", b"yz") && !contains(b"xyz", b"zy"));
    }
}
