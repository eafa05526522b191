//! Settlement files: stored by digest and answered at once, then given to the plugin and matched with the books in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use koban_domain::accounts::PluginKey;
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::ids::{AuditId, FileId};
use koban_domain::ledger::{Answer, Audit, Command, Decided, SealedRecord, Work};
use koban_domain::money::Currency;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::{FaultClass, Input, Output};
use koban_domain::settlements::{LINES_MAX, Settle, Settled};
use koban_runtime::Plugin;
use koban_store::files::{self, FileRow, FileStatus};
use tokio::sync::watch;

use crate::app::App;
use crate::error::Error;
use crate::guests::{self, For};
use crate::plugins;

/// How many lines of text are looked at, on average, for each line of a file.
const LOOKS_PER_LINE: usize = 50;
/// How often the store is asked for files that wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most files that are taken in one go.
const FILES_AT_ONCE: u16 = 16;
/// Most lines of one file.
const FILE_LINES_MAX: usize = 100_000;
/// How often a file is read again because the plugin was switched meanwhile.
const READ_MAX: u32 = 3;

/// Stores a partner's file, once however often it comes. Answers its id.
pub(crate) async fn store(app: &App, plugin: &str, content: &[u8]) -> Result<FileId, Error> {
    let new = FileId(app.clock.id());
    let (file, is_new) = files::put(&app.store, PluginKey::of(plugin), new, content, app.clock.now()).await?;
    // Sent again, it may be readable by now: the plugin or its settings may have changed.
    if !is_new && file.status == FileStatus::Unreadable {
        files::set_status(&app.store, file.id, FileStatus::Waiting, None).await?;
    }
    tracing::info!(plugin, file = %file.id, digest = %file.digest, is_new, bytes = content.len(), "a settlement file has come");
    app.bell.files();
    Ok(file.id)
}

/// Takes files as they come, until told to stop.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let mut after = None;
    while !*stop.borrow() {
        match files::waiting(&app.store, after, FILES_AT_ONCE).await {
            Ok(waiting) => {
                // Round and round: files whose plugin is not in force wait without keeping others from their turn.
                after = waiting.last().map(|file| file.id);
                for file in waiting {
                    if *stop.borrow() {
                        return;
                    }
                    let id = file.id;
                    if let Err(error) = take(&app, file).await {
                        let error = crate::ledger::chain(&error);
                        tracing::warn!(file = %id, error, "a settlement file could not be taken; it is tried again");
                    }
                }
            }
            Err(error) => {
                let error = crate::ledger::chain(&error);
                tracing::warn!(error, "waiting settlement files could not be read; it is tried again");
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = app.bell.files_rung() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// One file: read by its plugin, matched in one commit, marked. A crash anywhere is "the file still waits"; a file that was matched
/// before it was marked is matched again without effect, line by line.
async fn take(app: &App, file: FileRow) -> Result<(), Error> {
    let Some(row) = koban_store::plugins::by_key(&app.store, file.plugin).await? else { return Ok(()) };
    let id = row.manifest.id;
    let missing = || Error::Internal(format!("the content of file {} is not there", file.id));
    let content = files::content(&app.store, file.id).await?.ok_or_else(missing)?;
    for _ in 0..READ_MAX {
        let Some(plugin) = plugins::in_force(app, &id).await? else { return Ok(()) };
        let (answer, record) = guests::call(app, &plugin, For::PLATFORM, Input::ParseSettlement(content.clone())).await;
        let lines = match answer {
            Ok(Output::Lines(lines)) => lines,
            Ok(Output::Failure(failure)) => {
                let why = format!("{}: {}", failure.code, failure.message);
                return unreadable(app, &plugin, &file, record, why).await;
            }
            Ok(_) => return unreadable(app, &plugin, &file, record, "the plugin gave another answer".to_owned()).await,
            // Nothing ran; the file waits for the next look.
            Err(fault) if fault.class == FaultClass::Busy => return Ok(()),
            Err(fault) => return unreadable(app, &plugin, &file, record, format!("the plugin faulted: {fault}")).await,
        };
        if lines.len() > FILE_LINES_MAX {
            let why = format!("it has {} lines, at most {FILE_LINES_MAX} are taken", lines.len());
            return unreadable(app, &plugin, &file, record, why).await;
        }
        if let Some(invented) = invented(&content, &lines) {
            let why = format!("the line about `{}` is not in the file that the partner signed", invented.reference);
            return unreadable(app, &plugin, &file, record, why).await;
        }
        let commands = commands(&file, lines);
        let mut work = Work::new(app.clock.id(), "system");
        work.relies_on = vec![Reliance { plugin: id.clone(), digest: plugin.digest(), in_force: true }];
        work.audit = vec![audit(app, &file, "settlement.take", &record, None)];
        work.records = vec![record];
        work.commands = commands;
        match app.ledger.commit(work).await? {
            Decided::Done(answers) => {
                let settled = total(&answers);
                tracing::info!(
                    plugin = id, file = %file.id, matched = settled.matched, repeated = settled.repeated,
                    differences = settled.differences, released = settled.released, "a settlement file was matched"
                );
                return mark(app, &file, FileStatus::Taken, None).await;
            }
            Decided::Refused(_, refusal) => {
                return mark(app, &file, FileStatus::Unreadable, Some(refused(refusal))).await;
            }
            Decided::PluginChanged => {}
            Decided::FlowMoved
            | Decided::KeyReused
            | Decided::SignedOut
            | Decided::Replayed(_)
            | Decided::Foreseen(_) => {
                return Err(Error::Internal("a settlement file's commit was decided as something else".to_owned()));
            }
        }
    }
    Ok(())
}

/// The first line that the partner's bytes do not have. It stands in a line of text with its reference and, as a number of its own beside that, its
/// amount; each number stands for one booking, and all amounts of a side stand at the same place of their lines. A plugin that reads a file cannot add
/// to it, nor take a date or a till's number for an amount in one line and the amount in another: exposure is released by the partner's word, never by the
/// plugin's. Lines are looked for from where the one before was found, round the file; a plugin that mixes them so much that this gets long is not
/// believed either.
fn invented<'a>(content: &[u8], lines: &'a [SettlementLine]) -> Option<&'a SettlementLine> {
    let texts: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
    let mut looks_left = LOOKS_PER_LINE * (texts.len() + lines.len());
    let mut place = 0;
    let mut taken = BTreeSet::new();
    let mut columns: BTreeMap<u8, BTreeSet<usize>> = BTreeMap::new();
    lines.iter().find(|line| {
        let side = line.side as u8;
        for step in 0..texts.len() {
            looks_left = looks_left.saturating_sub(1);
            let at = (place + step) % texts.len();
            if line.amount.minor == 0 {
                // A fee of nothing is no booking.
                return !texts.iter().any(|text| beside(text, line).is_some());
            }
            let mut found = amounts(texts[at], line);
            if let Some(known) = columns.get(&side) {
                found.retain(|column| known.contains(column));
            }
            if let Some(column) = found.iter().copied().find(|column| !taken.contains(&(at, *column))) {
                taken.insert((at, column));
                columns.insert(side, found);
                place = at;
                return false;
            }
            if looks_left == 0 {
                return true;
            }
        }
        true
    })
}

/// The places of a line of text at which this amount stands, if its reference stands there, too: numbers counted from the line's beginning, those of
/// the reference left out. A date, a time or a name with digits is no number.
fn amounts(text: &[u8], line: &SettlementLine) -> BTreeSet<usize> {
    let Some(beside) = beside(text, line) else { return BTreeSet::new() };
    let words = beside.iter().flat_map(|part| part.split(|byte| !is_of_word(*byte))).filter(|word| !word.is_empty());
    let standing = words.enumerate().filter(|(_, word)| number(word) == Some(line.amount.minor));
    standing.map(|(place, _)| place).collect()
}

/// A line of text without the reference, if it stands there.
fn beside<'a>(text: &'a [u8], line: &SettlementLine) -> Option<[&'a [u8]; 2]> {
    let reference = line.reference.as_bytes();
    let begins = text.windows(reference.len().max(1)).position(|window| window == reference)?;
    Some([&text[..begins], &text[begins + reference.len()..]])
}

/// What a date, a time, a decimal number or a name is made of.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'.' | b':' | b'_') || byte >= 0x80
}

/// Digits alone, zeros before them or not. A colon before them is a name's (`\"amount\":100`).
fn number(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b":").unwrap_or(word);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// The file's lines as commands: in the order given, one currency and at most a thousand lines each. A fee of nothing is no fee.
fn commands(file: &FileRow, lines: Vec<SettlementLine>) -> Vec<Command> {
    let settle = |lines| Command::Settle(Settle { plugin: file.plugin, file: file.id, digest: file.digest, lines });
    let mut by_currency: Vec<(Currency, Vec<SettlementLine>)> = Vec::new();
    for line in lines.into_iter().filter(|line| line.side != Side::Fee || line.amount.minor != 0) {
        let currency = line.amount.currency;
        match by_currency.iter_mut().find(|(known, _)| *known == currency) {
            Some((_, lines)) => lines.push(line),
            None => by_currency.push((currency, vec![line])),
        }
    }
    let mut commands = Vec::new();
    for (_, lines) in by_currency {
        commands.extend(lines.chunks(LINES_MAX).map(|chunk| settle(chunk.to_vec())));
    }
    if commands.is_empty() {
        // A day without business is taken, too.
        commands.push(settle(Vec::new()));
    }
    commands
}

fn total(answers: &[Answer]) -> Settled {
    let mut total = Settled::default();
    for answer in answers {
        if let Answer::Settled(settled) = answer {
            total.matched += settled.matched;
            total.repeated += settled.repeated;
            total.differences += settled.differences;
            total.released = total.released.saturating_add(settled.released);
        }
    }
    total
}

fn refused(refusal: Refusal) -> String {
    format!("the books refused it ({}): {refusal}", refusal.code())
}

/// Half a file is never settled: nothing of it is, and an operator sees why. The record of the attempt is kept.
async fn unreadable(
    app: &App,
    plugin: &Plugin,
    file: &FileRow,
    record: SealedRecord,
    why: String,
) -> Result<(), Error> {
    tracing::warn!(plugin = plugin.id(), file = %file.id, decision = %record.id, why, "a settlement file cannot be read");
    let mut work = Work::new(app.clock.id(), "system");
    work.audit = vec![audit(app, file, "settlement.unreadable", &record, Some(&why))];
    work.records = vec![record];
    app.ledger.commit(work).await?;
    mark(app, file, FileStatus::Unreadable, Some(why)).await
}

async fn mark(app: &App, file: &FileRow, status: FileStatus, note: Option<String>) -> Result<(), Error> {
    let note = note.map(|note| note.chars().take(500).collect::<String>());
    files::set_status(&app.store, file.id, status, note.as_deref()).await?;
    Ok(())
}

fn audit(app: &App, file: &FileRow, act: &str, record: &SealedRecord, why: Option<&str>) -> Audit {
    let detail = serde_json::json!({ "decision": record.id, "digest": file.digest, "why": why });
    Audit {
        id: AuditId(app.clock.id()),
        actor: "system".to_owned(),
        act: act.to_owned(),
        subject: file.id.to_string(),
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use koban_domain::money::Money;

    const FILE: &[u8] = b"seq,kind,reference,amount,fee,day\n8284,CHARGE,A-2026-1,1000,110,2026-04-01\n8284,CHARGE,A-2026-2,3000,0,2026-04-01\n";

    fn line(side: Side, reference: &str, yen: i64) -> SettlementLine {
        SettlementLine { side, reference: reference.into(), amount: Money::yen(yen), at: 0 }
    }

    fn is_believed(lines: &[SettlementLine]) -> bool {
        invented(FILE, lines).is_none()
    }

    #[test]
    fn what_stands_in_the_file_is_believed() {
        let (first, second) = (line(Side::Credit, "A-2026-1", 1_000), line(Side::Credit, "A-2026-2", 3_000));
        let fees = [line(Side::Fee, "A-2026-1", 110), line(Side::Fee, "A-2026-2", 0)];
        assert!(is_believed(&[first.clone(), fees[0].clone(), second.clone(), fees[1].clone()]));
        assert!(is_believed(&[second, first]), "in any order");
        assert!(invented(b"{\"ref\":\"A-1\",\"amount\":1000}", &[line(Side::Credit, "A-1", 1_000)]).is_none());
        assert!(invented(b"A-1      0000001000", &[line(Side::Credit, "A-1", 1_000)]).is_none());
    }

    #[test]
    fn what_only_looks_as_if_it_stood_there_is_not() {
        for lie in [2_026, 1, 10, 4, 100] {
            assert!(
                !is_believed(&[line(Side::Credit, "A-2026-1", lie)]),
                "{lie}: part of a date, a reference or a number"
            );
        }
        assert!(!is_believed(&[line(Side::Credit, "A-2026-3", 1_000)]), "no such reference");
        let once = line(Side::Credit, "A-2026-1", 1_000);
        assert!(!is_believed(&[once.clone(), once.clone()]), "a number stands for one booking");
        assert!(!is_believed(&[once, line(Side::Fee, "A-2026-1", 1_000)]), "also of another side");
        // The till's number in one line, the amount in another.
        assert!(!is_believed(&[line(Side::Credit, "A-2026-1", 8_284), line(Side::Credit, "A-2026-2", 3_000)]));
    }
}
