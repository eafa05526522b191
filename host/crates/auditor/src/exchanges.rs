//! I7 and I8: exchanges have two legs at their rate, and every dealing is split without rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::Entry;
use crate::source::{Id, Row};
use crate::{AuditError, Invariant, Look, Report};

/// Currencies of ISO 4217 whose minor unit is not a hundredth.
const WITHOUT_MINOR: [&str; 16] =
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XPF"];
const THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

fn exponent(currency: &str) -> u32 {
    match currency {
        _ if WITHOUT_MINOR.contains(&currency) => 0,
        _ if THOUSANDTHS.contains(&currency) => 3,
        _ => 2,
    }
}

/// I7: an exchange moves the user's money and the platform's position in both currencies, in the amounts of its row and at its rate; what
/// rounding leaves is at most one minor unit and goes to the account for it.
pub(crate) fn i7_exchanges_have_both_legs(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut rows: BTreeMap<Id, &Row> = BTreeMap::new();
    for row in look.books.table("exchanges") {
        rows.insert(row.id("id")?, row);
    }
    for entry in look.books.entries.iter().filter(|entry| look.rules.kind(entry.kind) == "exchange") {
        let place = format!("entry {}", entry.sequence);
        let Some(row) = rows.remove(&entry.subject) else {
            out.add(Invariant::I7, place, "is an exchange without a row");
            continue;
        };
        let of = |class: &str, currency: &str| legs(look, entry, class, currency);
        let (sell, buy) = (row.text("sell_currency")?, row.text("buy_currency")?);
        let (sold, bought) = (i128::from(row.int("sell_amount")?), i128::from(row.int("buy_amount")?));
        let got = of("funds", buy) + of("receivable", buy);
        if of("funds", sell) != sold || got != -bought {
            let what =
                format!("moves {} {sell} for {} {buy}, its row says {sold} for {bought}", of("funds", sell), -got);
            out.add(Invariant::I7, &place, what);
        }
        if of("fx-position", sell) >= 0 || of("fx-position", buy) <= 0 {
            out.add(Invariant::I7, &place, "does not move the platform's position in both currencies");
        }
        let left = (of("rounding", sell) + of("rounding", buy)).abs();
        let currencies: BTreeSet<[u8; 3]> = entry.postings.iter().map(|posting| posting.currency).collect();
        if left > 1 || currencies.len() != 2 {
            let what = format!("leaves {left} to rounding and is in {} currencies", currencies.len());
            out.add(Invariant::I7, &place, what);
        }
        let rate = i128::from(row.int("rate")?);
        let sells_base = row.text("base")? == sell;
        let (base, quote) = if sells_base { (sell, buy) } else { (buy, sell) };
        // One minor unit of the base is worth `above / below` minor units of the quote.
        let above = rate * 10_i128.pow(exponent(quote));
        let below = 10_000 * 10_i128.pow(exponent(base));
        let (above, below) = if sells_base { (above, below) } else { (below, above) };
        let (worth, cost) = (sold * above, bought * below);
        // Either the bought amount was rounded down, or the sold one up: by less than one minor unit, and never for the customer.
        let fair = worth >= cost && (worth < cost + below || (sold - 1) * above < cost);
        if !fair || (left == 1) != (worth != cost) {
            out.add(Invariant::I7, &place, format!("gives {bought} {buy} for {sold} {sell}, which its rate does not"));
        }
    }
    for id in rows.keys() {
        out.add(Invariant::I7, format!("exchanges {}", hex::encode(id)), "has no entry");
    }
    Ok(())
}

fn legs(look: &Look<'_>, entry: &Entry, class: &str, currency: &str) -> i128 {
    let legs = entry.postings.iter().filter(|posting| posting.layer == 0 && posting.currency == currency.as_bytes());
    legs.filter(|posting| look.rules.class(posting.class) == class).map(crate::canonical::Posting::signed).sum()
}

/// I8: of each payment, capture and refund the amount of its row is what the merchant gets or gives; of each
/// settlement the gross of the credits, less that of flows' captures, is what comes to the bank and the fee. A merchant's own fees are taken by closings,
/// never from a payment: `merchants.rs` works those out.
pub(crate) fn i8_what_is_paid_is_what_is_got_and_kept(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut gross: BTreeMap<Id, i128> = BTreeMap::new();
    for table in ["payments", "captures", "refunds"] {
        for row in look.books.table(table) {
            gross.insert(row.id("id")?, i128::from(row.int("amount")?));
        }
    }
    let is = |word: &'static str| move |class| look.rules.class(class) == word;
    for entry in &look.books.entries {
        let place = || format!("entry {}", entry.sequence);
        match look.rules.kind(entry.kind) {
            kind @ ("payment" | "capture" | "refund") => {
                let sum = entry.moved(is("payable"));
                let wanted = gross.get(&entry.subject).copied().unwrap_or(0);
                if (if kind == "refund" { sum } else { -sum }) != wanted {
                    out.add(Invariant::I8, place(), format!("is of {wanted}, the payee's part makes {sum}"));
                }
            }
            "settlement" => {
                let (bank, fees) = (entry.moved(is("bank")), entry.moved(is("fees")));
                let settled = entry.moved(|class| matches!(look.rules.class(class), "clearing" | "in-transit"));
                if bank + fees != -settled || fees < 0 {
                    let what = format!("brings {bank} and {fees} of fees for {} of credits less captures", -settled);
                    out.add(Invariant::I8, place(), what);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
