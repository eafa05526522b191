//! I2 and I8 of merchants: nobody is further behind than its credit, and each closing is what the journal has between it and the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::books::Entry;
use crate::journal::replay;
use crate::source::{Id, Row};
use crate::{AuditError, Invariant, Look, Report};

/// A merchant's account in one currency.
type Whose = (Id, [u8; 3]);

/// Terms that were agreed with a merchant: since when, how much credit, and the share it pays in millionths.
struct Terms {
    at: i64,
    credit_limit: i128,
    fee_rate: i64,
}

/// All terms that operators set, in the order in which the audit log has them.
fn agreed(look: &Look<'_>, out: &mut Report) -> Result<BTreeMap<Whose, Vec<Terms>>, AuditError> {
    let mut agreed: BTreeMap<Whose, Vec<Terms>> = BTreeMap::new();
    let mut rows: Vec<&Row> = look.books.table("audit").iter().collect();
    rows.sort_by_key(|row| row.int("sequence").unwrap_or_default());
    for row in rows.into_iter().filter(|row| row.text("act").is_ok_and(|act| act == "merchant.arrange")) {
        let detail: Value = serde_json::from_str(row.text("detail")?).unwrap_or_default();
        let merchant = crate::canonical::id_of(row.text("subject")?, "mer");
        let currency = detail["currency"].as_str().and_then(|code| code.as_bytes().try_into().ok());
        let (limit, rate) = (detail["credit_limit"].as_i64(), detail["fee_rate"].as_str().and_then(millionths));
        let (Some(merchant), Some(currency), Some(limit), Some(fee_rate)) = (merchant, currency, limit, rate) else {
            out.add(
                Invariant::I12,
                format!("audit row {}", row.int("sequence")?),
                "agrees on terms that cannot be read",
            );
            continue;
        };
        let terms = Terms { at: row.int("at")?, credit_limit: limit.into(), fee_rate };
        agreed.entry((merchant, currency)).or_default().push(terms);
    }
    Ok(agreed)
}

/// A share such as `0.0324` in millionths.
fn millionths(share: &str) -> Option<i64> {
    let (whole, part) = share.split_once('.').unwrap_or((share, ""));
    let part = format!("{part:0<6}");
    if part.len() > 6 {
        return None;
    }
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part.parse().ok()?)
}

/// I2: what a merchant is owed never falls below nought by more than the credit that an operator gave it, after any entry that takes from it
/// but a closing, whose fees are taken from merchants that have less, too; and the row has the credit of the audit log.
pub(crate) fn i2_no_merchant_is_beyond_its_credit(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let agreed = agreed(look, out)?;
    // Of terms that were set in the same millisecond as an entry, whichever is wider may have been the one in force.
    let limit_at = |whose: &Whose, at: i64| {
        let terms = agreed.get(whose).map_or(&[][..], Vec::as_slice);
        let before = terms.iter().rfind(|terms| terms.at < at).map_or(0, |terms| terms.credit_limit);
        terms.iter().filter(|terms| terms.at == at).map(|terms| terms.credit_limit).fold(before, i128::max)
    };
    let rules = look.rules;
    replay(look, |entry, accounts| {
        if rules.kind(entry.kind) == "closing" {
            return;
        }
        let owed = entry.postings.iter().filter(|posting| rules.class(posting.class) == "payable");
        for posting in owed.filter(|posting| !posting.is_credit && posting.layer < 2) {
            let available = accounts[&posting.account].available(true);
            let limit = limit_at(&(posting.owner, posting.currency), entry.at);
            if available < -limit {
                let what =
                    format!("leaves {available} on payable of {}, whose credit is {limit}", hex::encode(posting.owner));
                out.add(Invariant::I2, format!("entry {}", entry.sequence), what);
            }
        }
    });
    for row in look.books.table("arrangements") {
        let whose = (row.id("merchant")?, row.bytes("currency")?.try_into().unwrap_or_default());
        let terms = agreed.get(&whose).and_then(|terms| terms.last());
        let last = terms.map_or((0, 0), |terms| (terms.credit_limit, terms.fee_rate));
        let kept = (i128::from(row.int("credit_limit")?), row.int("fee_rate")?);
        if kept != last {
            let what = format!("has credit and fee {kept:?}, the audit log agreed on {last:?}");
            out.add(Invariant::I2, format!("arrangement of {}", hex::encode(whose.0)), what);
        }
    }
    Ok(())
}

/// What moved on a merchant's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Moved {
    captured: i128,
    refunded: i128,
    disputed: i128,
    returned: i128,
    raised: i128,
    lowered: i128,
}

impl Moved {
    fn take(&mut self, kind: &str, is_credit: bool, amount: i64) {
        let sum = match (kind, is_credit) {
            ("dispute", false) => &mut self.disputed,
            ("dispute", true) => &mut self.returned,
            ("adjustment", false) => &mut self.lowered,
            ("adjustment", true) => &mut self.raised,
            (_, false) => &mut self.refunded,
            (_, true) => &mut self.captured,
        };
        *sum += i128::from(amount);
    }

    fn balance(&self) -> i128 {
        self.captured - self.refunded - self.disputed + self.returned + self.raised - self.lowered
    }
}

/// One merchant's account as the journal has it: what moved in each entry, and the entries of closings.
#[derive(Debug, Default)]
struct Account<'a> {
    moved: Vec<(i64, &'a str, bool, i64)>,
}

impl Account<'_> {
    /// What moved behind the one entry up to the other, both by sequence.
    fn between(&self, after: i64, through: i64) -> Moved {
        let mut moved = Moved::default();
        for (_, kind, is_credit, amount) in self.moved.iter().filter(|(at, ..)| (after + 1..=through).contains(at)) {
            moved.take(kind, *is_credit, *amount);
        }
        moved
    }
}

/// Japan's consumption tax in millionths for a period that ends with the beginning of this day, days since 1970-01-01: 5 % from 1997-04-01,
/// 8 % from 2014-04-01, 10 % from 2019-10-01; what counts is the period's last day.
fn consumption_tax(until: i64) -> i64 {
    match until - 1 {
        18_170.. => 100_000,
        16_161.. => 80_000,
        9_952.. => 50_000,
        _ => 0,
    }
}

/// I8 of closings: carried and all that the journal moved on the merchant's account since the closing before, less fee and tax, is what is due and
/// what is left. Fee and tax are worked out again; the closing's own entry takes them and sets aside what is due; it is paid out once or not yet; and no
/// entry lies in two closings or, before the last one, in none. What is kept for the next closing follows from the journal, too.
pub(crate) fn i8_closings_are_what_the_journal_moved(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let rules = look.rules;
    let agreed = agreed(look, &mut Report::default())?;
    let mut accounts: BTreeMap<Whose, Account<'_>> = BTreeMap::new();
    let mut own: HashMap<Id, &Entry> = HashMap::new();
    let mut payouts: HashMap<Id, Vec<i128>> = HashMap::new();
    for entry in &look.books.entries {
        let kind = rules.kind(entry.kind);
        match kind {
            "closing" if own.insert(entry.subject, entry).is_some() => {
                out.add(Invariant::I8, format!("entry {}", entry.sequence), "is a closing's second entry");
            }
            "payout" => {
                let paid = -entry.moved(|class| rules.class(class) == "bank");
                payouts.entry(entry.subject).or_default().push(paid);
            }
            _ => {}
        }
        if kind != "closing" {
            let owed = entry.postings.iter().filter(|posting| posting.layer == 0);
            for posting in owed.filter(|posting| rules.class(posting.class) == "payable") {
                let account = accounts.entry((posting.owner, posting.currency)).or_default();
                account.moved.push((entry.sequence, kind, posting.is_credit, posting.amount));
            }
        }
    }
    let mut closings: BTreeMap<Whose, BTreeMap<i64, &Row>> = BTreeMap::new();
    for row in look.books.table("closings") {
        let whose = (row.id("merchant")?, row.bytes("currency")?.try_into().unwrap_or_default());
        if closings.entry(whose).or_default().insert(row.int("until")?, row).is_some() {
            out.add(Invariant::I8, format!("closing {}", hex::encode(row.id("id")?)), "closes a period again");
        }
    }
    let mut ends: BTreeMap<Whose, (i64, i128)> = BTreeMap::new();
    for (whose, periods) in &closings {
        let (mut after, mut carried) = (0, 0);
        for (until, row) in periods {
            let id = row.id("id")?;
            let place = || format!("closing {}", hex::encode(id));
            let number = |name: &str| row.int(name).map(i128::from);
            let through = row.int("through_entry")?;
            if row.int("after_entry")? != after || number("carried")? != carried {
                let what = format!(
                    "begins behind entry {} with {}, the one before ends at {after} with {carried}",
                    row.int("after_entry")?,
                    row.int("carried")?
                );
                out.add(Invariant::I8, place(), what);
            }
            let moved = accounts.get(whose).map(|account| account.between(after, through)).unwrap_or_default();
            let (rate, at) = (row.int("fee_rate")?, row.int("at")?);
            let terms = agreed.get(whose).map_or(&[][..], Vec::as_slice);
            let before = terms.iter().rfind(|terms| terms.at < at).map_or(0, |terms| terms.fee_rate);
            let in_force = rate == before || terms.iter().any(|terms| (terms.at, terms.fee_rate) == (at, rate));
            if !in_force || row.int("tax_rate")? != consumption_tax(*until) {
                out.add(Invariant::I8, place(), "is at a rate of fee or tax that was not in force");
            }
            let fee = moved.captured * i128::from(rate) / 1_000_000;
            let tax = fee * i128::from(consumption_tax(*until)) / 1_000_000;
            let rest = carried + moved.balance() - fee - tax;
            let (due, left) = (rest.max(0), rest.min(0));
            let made = [
                ("captured", moved.captured),
                ("refunded", moved.refunded),
                ("disputed", moved.disputed),
                ("returned", moved.returned),
                ("adjusted", moved.raised - moved.lowered),
                ("fee", fee),
                ("tax", tax),
                ("due", due),
                ("left_over", left),
            ];
            for (name, made) in made {
                if number(name)? != made {
                    out.add(Invariant::I8, place(), format!("says {name} {}, the journal makes {made}", number(name)?));
                }
            }
            let takes = |entry: &Entry, class: &str| -entry.moved(|code| rules.class(code) == class);
            let posted = own.remove(&id);
            let posts = posted.map_or([0; 3], |entry| {
                ["fee-income", "consumption-tax", "payout-due"].map(|class| takes(entry, class))
            });
            if posts != [fee, tax, due] {
                out.add(
                    Invariant::I8,
                    place(),
                    format!("posts {posts:?} of fee, tax and due, not {:?}", [fee, tax, due]),
                );
            }
            if posted.is_some_and(|entry| entry.sequence != through + 1) {
                out.add(Invariant::I8, place(), format!("is not posted right behind entry {through}"));
            }
            let paid = payouts.remove(&id).unwrap_or_default();
            let wanted = if row.int("state")? == 2 { vec![due] } else { Vec::new() };
            if paid != wanted {
                out.add(Invariant::I8, place(), format!("was paid out as {paid:?}, not {wanted:?}"));
            }
            (after, carried) = (posted.map_or(through, |entry| entry.sequence), left);
        }
        ends.insert(*whose, (after, carried));
    }
    for (id, entry) in own {
        out.add(
            Invariant::I8,
            format!("entry {}", entry.sequence),
            format!("closes {}, which is not there", hex::encode(id)),
        );
    }
    for id in payouts.keys() {
        out.add(Invariant::I8, format!("payout of {}", hex::encode(id)), "is of a closing that is not there");
    }
    tallies(look, &accounts, &ends, out)
}

/// What an arrangement keeps for the next closing: where and with what the last one ended, and what moved since.
fn tallies(
    look: &Look<'_>,
    accounts: &BTreeMap<Whose, Account<'_>>,
    ends: &BTreeMap<Whose, (i64, i128)>,
    out: &mut Report,
) -> Result<(), AuditError> {
    let mut kept = BTreeSet::new();
    for row in look.books.table("arrangements") {
        let whose = (row.id("merchant")?, row.bytes("currency")?.try_into().unwrap_or_default());
        kept.insert(whose);
        let (after, left) = ends.get(&whose).copied().unwrap_or_default();
        let since = accounts.get(&whose).map(|account| account.between(after, i64::MAX - 1)).unwrap_or_default();
        let numbers = ["through", "left_over", "disputed", "returned", "adjusted_up", "adjusted_down"];
        let made = [after.into(), left, since.disputed, since.returned, since.raised, since.lowered];
        for (name, made) in numbers.into_iter().zip(made) {
            if i128::from(row.int(name)?) != made {
                let what = format!("keeps {name} {} for the next closing, the journal makes {made}", row.int(name)?);
                out.add(Invariant::I8, format!("arrangement of {}", hex::encode(whose.0)), what);
            }
        }
    }
    for whose in ends.keys().filter(|whose| !kept.contains(*whose)) {
        out.add(Invariant::I8, format!("arrangement of {}", hex::encode(whose.0)), "is not there, and closings are");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_tax_are_read_as_the_reference_says() {
        let shares = ["0.0324", "0", "0.1", "0.000001", "0.5"].map(millionths);
        assert_eq!(shares, [Some(32_400), Some(0), Some(100_000), Some(1), Some(500_000)]);
        assert_eq!([millionths("0.0000001"), millionths("one"), millionths("")], [None, None, None]);
        // 2019-10-01 is day 18,170: a period that ends with its beginning has 2019-09-30 as its last day.
        assert_eq!([18_170, 18_171, 16_161, 16_162, 9_952].map(consumption_tax), [80_000, 100_000, 50_000, 80_000, 0]);
    }

    #[test]
    fn each_kind_counts_on_its_own_side() {
        let moved = [
            (1, "capture", true, 100),
            (2, "refund", false, 7),
            (3, "dispute", false, 20),
            (4, "dispute", true, 20),
            (5, "adjustment", true, 3),
            (6, "adjustment", false, 1),
        ];
        let account = Account { moved: moved.to_vec() };
        let all = account.between(0, 6);
        assert_eq!((all.captured, all.refunded, all.disputed, all.returned), (100, 7, 20, 20));
        assert_eq!((all.raised, all.lowered, all.balance()), (3, 1, 95));
        assert_eq!(account.between(1, 2), Moved { refunded: 7, ..Moved::default() });
    }
}
