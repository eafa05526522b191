//! I11: balances, statements, lots, exposures and counters are what the journal makes.

use std::collections::{BTreeMap, HashMap};

use crate::canonical::account_id;
use crate::journal::{Sums, replay};
use crate::source::Id;
use crate::{AuditError, Invariant, Look, Report};

/// I11: the four sums of each account, the balance beside each posting, the table of statements where there is one, what is left and held of lots of
/// bonus and granted by campaigns, what each plugin has used of
/// its cap and lost of its budget, and the day's counters of what users sent are worked out again and are the same.
pub(crate) fn i11_balances_follow_from_the_journal(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let rules = look.rules;
    let mut accounts = replay(look, |entry, accounts| {
        for posting in &entry.postings {
            let balance = accounts[&posting.account].balance(rules.grows_by_credit(posting.class));
            if balance != i128::from(posting.balance) {
                let what = format!("says that an account stood at {}, the journal makes {balance}", posting.balance);
                out.add(Invariant::I11, format!("entry {}", entry.sequence), what);
            }
        }
    });
    for row in look.books.table("accounts") {
        let id = row.id("id")?;
        let class = u8::try_from(row.int("class")?).unwrap_or(0);
        let place = || format!("{} of {}", rules.class(class), row.id("owner").map(hex::encode).unwrap_or_default());
        let currency: [u8; 3] = row.bytes("currency")?.try_into().unwrap_or_default();
        if account_id(class, row.id("owner")?, currency) != id {
            out.add(Invariant::I11, place(), "stands under another account's id");
        }
        let number = |name| row.int(name).map(i128::from);
        let stored = Sums {
            posted: [number("debits_posted")?, number("credits_posted")?],
            pending: [number("debits_pending")?, number("credits_pending")?],
        };
        let made = accounts.remove(&id).unwrap_or_default();
        if made != stored {
            out.add(Invariant::I11, place(), format!("is {stored:?}, the journal makes {made:?}"));
        }
    }
    for (id, sums) in accounts.iter().filter(|(_, sums)| **sums != Sums::default()) {
        out.add(
            Invariant::I11,
            format!("account {}", hex::encode(id)),
            format!("is not there, the journal makes {sums:?}"),
        );
    }
    statements(look, out)?;
    lots(look, out)?;
    exposures(look, out)?;
    counters(look, out)
}

/// A line of a statement: account, entry and place in it; side, amount, balance.
type Line = ((Id, i64, i64), (i64, i64, i64));

/// A wallet's lots are its bonus account, as the rows of accounts say it; a campaign has granted its lots and no more than its budget.
fn lots(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut wallets: BTreeMap<(Id, Vec<u8>), (i64, i64)> = BTreeMap::new();
    let mut granted: BTreeMap<Id, i64> = BTreeMap::new();
    for row in look.books.table("bonus_lots") {
        let (left, held, amount) = (row.int("remaining")?, row.int("held")?, row.int("amount")?);
        if !(0..=left).contains(&held) || left > amount {
            let place = format!("lot {}", hex::encode(row.id("id")?));
            out.add(Invariant::I11, place, format!("has {left} of {amount} left and {held} held"));
        }
        let wallet = wallets.entry((row.id("user_id")?, row.text("currency")?.as_bytes().to_vec())).or_default();
        *wallet = (wallet.0 + left, wallet.1 + held);
        *granted.entry(row.id("campaign")?).or_default() += amount;
    }
    for row in look.books.table("accounts") {
        let class = u8::try_from(row.int("class")?).unwrap_or(0);
        if look.rules.class(class) != "bonus" {
            continue;
        }
        let found = wallets.remove(&(row.id("owner")?, row.bytes("currency")?.to_vec())).unwrap_or_default();
        let account = (row.int("credits_posted")? - row.int("debits_posted")?, row.int("debits_pending")?);
        if found != account {
            let place = format!("bonus of {}", hex::encode(row.id("owner")?));
            out.add(Invariant::I11, place, format!("stands at {account:?} with what is held, its lots make {found:?}"));
        }
    }
    if wallets.values().any(|sums| *sums != (0, 0)) {
        out.add(Invariant::I11, "lots".to_owned(), "have something left, and there is no account for it");
    }
    for row in look.books.table("campaigns") {
        let lots = granted.remove(&row.id("id")?).unwrap_or(0);
        if row.int("granted")? != lots || lots > row.int("budget")? {
            let place = format!("campaign {}", hex::encode(row.id("id")?));
            let what = format!("says {} of {}, its lots make {lots}", row.int("granted")?, row.int("budget")?);
            out.add(Invariant::I11, place, what);
        }
    }
    for (campaign, lots) in granted {
        out.add(
            Invariant::I11,
            format!("campaign {}", hex::encode(campaign)),
            format!("is not there, and granted {lots}"),
        );
    }
    Ok(())
}

/// The table of statements holds the journal's moving postings, where the database has such a table.
fn statements(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    if !look.books.has_table("postings") {
        return Ok(());
    }
    let mut lines: BTreeMap<_, _> = BTreeMap::new();
    for entry in &look.books.entries {
        for (ordinal, posting) in (0_i64..).zip(&entry.postings).filter(|(_, posting)| posting.layer == 0) {
            let key = (posting.account, entry.sequence, ordinal);
            lines.insert(key, (i64::from(posting.is_credit), posting.amount, posting.balance));
        }
    }
    for row in look.books.table("postings") {
        let key = (row.id("account")?, row.int("sequence")?, row.int("ordinal")?);
        let line: Line = (key, (row.int("side")?, row.int("amount")?, row.int("balance")?));
        if lines.remove(&line.0) != Some(line.1) {
            out.add(
                Invariant::I11,
                format!("statement line {} of entry {}", key.2, key.1),
                "is not the journal's posting",
            );
        }
    }
    for ((_, sequence, ordinal), _) in lines {
        out.add(Invariant::I11, format!("statement line {ordinal} of entry {sequence}"), "is missing");
    }
    Ok(())
}

/// Used is the sum of credits and captures that are not released and of what flows hold; lost is what was written off to the plugin.
fn exposures(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut used: HashMap<(Id, String), i64> = HashMap::new();
    for row in look.books.table("partner_references") {
        let (side, state) = (row.int("side")?, row.int("state")?);
        if row.int("released")? == 0 && (side == 1 && state < 3 || side == 3 && state == 6) {
            let key = (row.id("plugin")?, row.text("currency")?.to_owned());
            *used.entry(key).or_default() += row.int("exposed")?;
        }
    }
    for row in look.books.table("flow_holds") {
        *used.entry((row.id("plugin")?, row.text("currency")?.to_owned())).or_default() += row.int("held")?;
    }
    let mut lost: HashMap<(Id, Vec<u8>), i128> = HashMap::new();
    for entry in look.books.entries.iter().filter(|entry| look.rules.kind(entry.kind) == "write-off") {
        for posting in entry.postings.iter().filter(|posting| look.rules.class(posting.class) == "write-off") {
            *lost.entry((entry.subject, posting.currency.to_vec())).or_default() += posting.signed();
        }
    }
    for row in look.books.table("exposures") {
        let (plugin, currency) = (row.id("plugin")?, row.text("currency")?.to_owned());
        let place = || format!("exposure of {} in {currency}", hex::encode(plugin));
        let made = used.remove(&(plugin, currency.clone())).unwrap_or(0);
        if made != row.int("used")? {
            out.add(
                Invariant::I11,
                place(),
                format!("counts {}, its open credits, captures and holds make {made}", row.int("used")?),
            );
        }
        if row.int("used")? > 0 && row.int("cap")? < 0 {
            out.add(Invariant::I11, place(), "has a cap below zero");
        }
        let made = lost.get(&(plugin, currency.clone().into_bytes())).copied().unwrap_or(0);
        if i128::from(row.int("lost")?) != made {
            out.add(
                Invariant::I11,
                place(),
                format!("says that {} was lost, the journal makes {made}", row.int("lost")?),
            );
        }
    }
    for ((plugin, currency), sum) in used.iter().filter(|(_, sum)| **sum != 0) {
        out.add(Invariant::I11, format!("exposure of {} in {currency}", hex::encode(plugin)), format!("misses {sum}"));
    }
    Ok(())
}

/// The rule of what a user sends in a day: ten times the action and the window.
const SENT_IN_A_DAY: i64 = 32;
const DAY_MS: i64 = 86_400_000;
/// Japan is nine hours ahead all year.
const JAPAN_MS: i64 = 9 * 3_600_000;

/// What users sent in a day equals the transfers of that day, where the limit has been there from the beginning. The other counters depend on
/// limits that came and went, and must only not be more than was dealt.
fn counters(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut sent: HashMap<(Id, i64, String), i64> = HashMap::new();
    for row in look.books.table("transfers") {
        let day = (row.int("at")? + JAPAN_MS).div_euclid(DAY_MS);
        let key = (row.id("sender")?, day, row.text("currency")?.to_owned());
        *sent.entry(key).or_default() += row.int("amount")?;
    }
    for row in look.books.table("counters") {
        let (user, total) = (row.id("user_id")?, row.int("total")?);
        let place = format!("counter {} of {}", row.int("rule")?, hex::encode(user));
        if total < 0 {
            out.add(Invariant::I11, &place, format!("is {total}"));
        }
        if row.int("rule")? == SENT_IN_A_DAY {
            let made = sent.remove(&(user, row.int("period")?, row.text("currency")?.to_owned())).unwrap_or(0);
            if made != total {
                out.add(Invariant::I11, place, format!("is {total}, the transfers of the day make {made}"));
            }
        }
    }
    let mut standing = look.books.table("limits").iter();
    let always = standing.any(|row| {
        let is = |name: &str, wanted| row.int(name).is_ok_and(|found| found == wanted);
        is("wallet", 2) && is("action", 3) && is("win", 2) && is("valid_from", 0)
    });
    for ((user, _, currency), sum) in sent.iter().filter(|((.., currency), _)| always && currency == "JPY") {
        out.add(
            Invariant::I11,
            format!("counter of {}", hex::encode(user)),
            format!("misses {sum} {currency} of transfers"),
        );
    }
    Ok(())
}
