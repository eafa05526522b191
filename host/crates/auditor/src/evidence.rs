//! What people outside know: what clients were told, what the partner's book says, what receivers of webhooks heard. And I9.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{AuditError, Invariant, Look, Report};

/// Something that a client was told was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its id, such as `pay_…`, `ref_…`, `trf_…`, `cap_…`, `exc_…`, `dsp_…`, `clo_…`, `cmp_…`, `lot_…`, `adj_…`, `rev_…`, `sch_…` or `flw_…`.
    pub id: String,
    /// How much, minor units, where it has an amount and whoever was told knows it; of an exchange what was given, of a closing what is due.
    pub amount: Option<i64>,
    /// Under which idempotency key, and whose.
    pub key: Option<(String, String)>,
}

/// One webhook that a receiver took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The event's id.
    pub id: String,
    /// The body's bytes.
    pub body: String,
}

/// Everything from outside that is compared with the database. What is left out is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// What clients were told.
    pub acknowledged: Vec<Acknowledged>,
    /// Whether that is everything that anybody was ever told: then nothing else may be there.
    pub is_complete: bool,
    /// The partner's book, as the outside world's controls give it, once it is at rest.
    pub book: Option<Value>,
    /// Which plugin the book is compared with.
    pub book_of: String,
    /// What each endpoint's receiver heard, by the endpoint's id; complete once everything is delivered.
    pub heard: BTreeMap<String, Vec<Heard>>,
    /// Plugins that are only a name in the books: money simply comes through them, without a flow.
    pub tills: Vec<String>,
}

/// A line of a log that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {0} is no acknowledgement: write {{\"id\": \"pay_…\", \"amount\": 1280, \"actor\": \"usr_…\", \"key\": \"…\"}}"
)]
pub struct NotEvidence(usize);

impl Evidence {
    /// Takes in a clients' log: one JSON object a line, with `id` and, where they are known, `amount`, `actor` and `key`.
    pub fn read_acknowledged(&mut self, log: &str) -> Result<(), NotEvidence> {
        for (number, line) in (1..).zip(log.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = || NotEvidence(number);
            let value: Value = serde_json::from_str(line).map_err(|_| wrong())?;
            let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            let amount = value.get("amount").and_then(Value::as_i64);
            let key = text("key").map(|key| (text("actor").unwrap_or_default(), key));
            self.acknowledged.push(Acknowledged { id: text("id").ok_or_else(wrong)?, amount, key });
        }
        Ok(())
    }
}

/// I9: a deposit that the partner has booked is credited with the same amount, one that it reversed is not or is reversed as well, and
/// nothing is credited that it knows nothing of.
pub(crate) fn i9_the_partners_book_is_ours(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let Some(book) = &look.evidence.book else { return Ok(()) };
    let plugin = crate::canonical::plugin_key(&look.evidence.book_of);
    // Credits that stand: amount, and what was reversed of it.
    let mut ours: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in look.books.table("partner_references") {
        if row.id("plugin")? == plugin && row.int("side")? == 1 && matches!(row.int("state")?, 1 | 2) {
            ours.insert(row.text("reference")?.to_owned(), (row.int("amount")?, row.int("reversed")?));
        }
    }
    for deposit in book.get("deposits").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| deposit.get(name).and_then(Value::as_str).unwrap_or_default();
        let amount = deposit.get("amount").and_then(Value::as_i64).unwrap_or_default();
        let found = ours.remove(text("reference"));
        let agrees = match (text("standing"), found) {
            ("booked", Some((credited, 0))) => credited == amount,
            ("reversed", Some((credited, reversed))) => credited == amount && reversed == amount,
            ("reversed" | "refused" | "prepared", None) => true,
            _ => false,
        };
        if !agrees {
            out.add(Invariant::I9, format!("deposit {deposit}"), format!("stands in our books as {found:?}"));
        }
    }
    for (reference, (amount, _)) in ours {
        out.add(Invariant::I9, format!("credit {reference}"), format!("of {amount} is unknown to the partner"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_line_by_line_and_a_bad_line_is_named() {
        let mut evidence = Evidence::default();
        let log =
            "{\"id\":\"pay_1\",\"amount\":5,\"actor\":\"usr_1\",\"key\":\"k\"}\n\n{\"id\":\"trf_1\",\"amount\":7}\n";
        evidence.read_acknowledged(log).unwrap();
        let key = Some(("usr_1".to_owned(), "k".to_owned()));
        assert_eq!(evidence.acknowledged[0], Acknowledged { id: "pay_1".into(), amount: Some(5), key });
        assert_eq!(evidence.acknowledged[1].key, None);
        assert_eq!(evidence.read_acknowledged("{\"id\":\"x\"}\nnonsense"), Err(NotEvidence(2)));
        assert_eq!(evidence.acknowledged[2].amount, None);
    }
}
