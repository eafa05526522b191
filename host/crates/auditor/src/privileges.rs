//! I12: the chains hold from their beginnings to their heads, and whoever used a privilege left a row.

use std::collections::{BTreeMap, HashSet};

use crate::canonical::digest_of_parts;
use crate::{AuditError, Invariant, Look, Report, records};

/// I12: the journal, the pages of records and the audit log are chains without a hole that end where their heads say; time never runs backwards
/// in the journal; a record's content is the one that it names or was erased by somebody; every entry that an operator caused, and every standing that only an operator can give, has its audit row.
pub(crate) fn i12_chains_hold_and_privileged_acts_are_audited(
    look: &Look<'_>,
    out: &mut Report,
) -> Result<(), AuditError> {
    journal(look, out)?;
    records::chain(look, out)?;
    audit(look, out)?;
    entries_of_operators(look, out)?;
    standings(look, out)
}

fn journal(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let (mut sequence, mut hash, mut at) = (0, [0; 32], 0);
    for entry in &look.books.entries {
        let place = format!("entry {}", entry.sequence);
        if entry.sequence != sequence + 1 {
            out.add(Invariant::I12, &place, format!("follows entry {sequence}"));
        }
        if entry.hash_after(hash) != Some(entry.hash) {
            out.add(Invariant::I12, &place, "has a hash that does not follow from its bytes and the entry before it");
        }
        if entry.at < at {
            out.add(Invariant::I12, &place, "lies before the entry before it");
        }
        (sequence, hash, at) = (entry.sequence, entry.hash, entry.at);
    }
    let Some(head) = look.books.table("lane_heads").first() else {
        out.add(Invariant::I12, "lane_heads", "has no row");
        return Ok(());
    };
    if (head.int("sequence")?, head.hash("hash")?) != (sequence, hash) {
        out.add(Invariant::I12, "lane_heads", format!("says that the journal ends at {}", head.int("sequence")?));
    }
    Ok(())
}

fn audit(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut rows = BTreeMap::new();
    for row in look.books.table("audit") {
        rows.insert(row.int("sequence")?, row);
    }
    let (mut before, mut hash) = (0_i64, [0; 32]);
    for (sequence, row) in rows {
        let made = digest_of_parts(&[
            b"koban audit 1",
            &hash,
            &sequence.to_be_bytes(),
            &row.id("id")?,
            &row.int("at")?.to_be_bytes(),
            row.bytes("actor")?,
            row.bytes("act")?,
            row.bytes("subject")?,
            row.bytes("detail")?,
        ]);
        if sequence != before + 1 || made != row.hash("hash")? {
            out.add(Invariant::I12, format!("audit row {sequence}"), "does not follow from the row before it");
        }
        (before, hash) = (sequence, row.hash("hash")?);
    }
    match look.books.table("audit_head").first() {
        Some(head) if (head.int("sequence")?, head.hash("hash")?) == (before, hash) => {}
        _ => out.add(Invariant::I12, "audit_head", format!("does not end at row {before}")),
    }
    Ok(())
}

/// Whether this actor acts as an operator: signed in, at the command line, or as the check of identities that decides in their name.
pub(crate) fn is_operator(actor: &str) -> bool {
    actor.starts_with("operator:") || actor.starts_with("command-line:") || actor == "identity-check"
}

/// Refunds are a merchant's everyday business also where an operator makes them; everything else that an operator posts is audited in the same
/// commit, so at the same time.
fn entries_of_operators(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut acts: HashSet<(&str, i64)> = HashSet::new();
    for row in look.books.table("audit") {
        acts.insert((row.text("actor")?, row.int("at")?));
    }
    for entry in look.books.entries.iter().filter(|entry| is_operator(&entry.actor)) {
        if !acts.contains(&(entry.actor.as_str(), entry.at)) {
            let what = format!("was caused by {}, and no row of the audit log says so", entry.actor);
            out.add(Invariant::I12, format!("entry {}", entry.sequence), what);
        }
    }
    Ok(())
}

/// What only an operator can bring about: table, prefix of the id, column, value, and the act that must be in the log.
const STANDINGS: [(&str, &str, &str, i64, &str); 11] = [
    ("users", "usr", "access", 1, "user.freeze"),
    ("users", "usr", "access", 2, "user.close"),
    ("users", "usr", "verification", 3, "user.verify"),
    ("users", "usr", "verification", 4, "user.reject"),
    ("users", "usr", "verification", 5, "user.revoke"),
    ("merchants", "mer", "access", 1, "merchant.freeze"),
    ("reviews", "rev", "state", 2, "review.approve"),
    ("reviews", "rev", "state", 3, "review.decline"),
    ("adjustments", "adj", "state", 3, "adjustment.reject"),
    ("disputes", "dsp", "state", 2, "dispute.win"),
    ("closings", "clo", "state", 2, "closing.pay"),
];

fn standings(look: &Look<'_>, out: &mut Report) -> Result<(), AuditError> {
    let mut acts: HashSet<(&str, &str)> = HashSet::new();
    for row in look.books.table("audit") {
        acts.insert((row.text("act")?, row.text("subject")?));
    }
    let mut wanted: Vec<(&str, String)> = Vec::new();
    for (table, prefix, column, value, act) in STANDINGS {
        for row in look.books.table(table) {
            if row.int(column)? == value {
                wanted.push((act, format!("{prefix}_{}", hex::encode(row.id("id")?))));
            }
        }
    }
    for row in look.books.table("frozen") {
        let act = if row.int("kind")? == 1 { "key.freeze" } else { "device.freeze" };
        wanted.push((act, row.text("name")?.to_owned()));
    }
    for row in look.books.table("disputes") {
        let subject = format!("dsp_{}", hex::encode(row.id("id")?));
        wanted.push(("dispute.open", subject.clone()));
        // One that nobody decided in time may have been lost by the clock.
        if row.int("state")? == 3 && row.maybe_id("decider")?.is_some() {
            wanted.push(("dispute.lose", subject));
        }
    }
    for row in look.books.table("adjustments") {
        let subject = format!("adj_{}", hex::encode(row.id("id")?));
        wanted.push(("adjustment.propose", subject.clone()));
        if row.int("state")? == 2 {
            wanted.push(("adjustment.approve", subject.clone()));
        }
        if row.maybe_id("decider")?.is_some_and(|decider| row.id("proposer").is_ok_and(|proposer| proposer == decider))
        {
            out.add(Invariant::I12, subject, "was decided by who proposed it");
        }
    }
    for (act, subject) in wanted {
        if !acts.contains(&(act, subject.as_str())) {
            out.add(
                Invariant::I12,
                subject,
                format!("has a standing that only `{act}` gives, and the audit log has none"),
            );
        }
    }
    Ok(())
}
