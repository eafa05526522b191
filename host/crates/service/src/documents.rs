//! Documents: a user's statement as a file for household books and accounting programs, written by a plugin.

use std::collections::{BTreeMap, HashMap};

use koban_domain::guest::{Document, StatementAccount, StatementRow};
use koban_domain::ids::{RecordId, UserId};
use koban_domain::ledger::{Audit, Decided};
use koban_domain::links::ROWS_MAX;
use koban_domain::manifest::{Kind, Words};
use koban_domain::money::{Currency, Money};
use koban_domain::paths::EntryKind;
use koban_domain::policy::Reliance;
use koban_domain::records::{Fault, FaultClass, Input, Output};
use koban_domain::releases::Scope;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::documents::{self as rows, Behind, Dealings};
use uuid::Uuid;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::begin::wallet_name;
use crate::flows::own;
use crate::guests::{self, For};
use crate::plugins;
use crate::users;
use crate::wallets::{self, StatementLine};

/// Most bytes of a counterpart's name and of a memo, as the contract has them.
const NAME_BYTES_MAX: usize = 80;
const MEMO_BYTES_MAX: usize = 200;
/// How often a file is written again because the plugin was switched meanwhile.
const ROUNDS_MAX: u32 = 3;

/// A format that somebody offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatView {
    /// The plugin's id.
    pub plugin: String,
    /// What the plugin is called.
    pub plugin_name: Words,
    /// The format's name.
    pub format: String,
    /// What the file is sent as.
    pub media_type: String,
    /// What it is good for.
    pub about: Words,
}

/// What a user asks for.
#[derive(Debug, Clone)]
pub struct DocumentInput {
    /// Which plugin.
    pub plugin: String,
    /// Which of its formats.
    pub format: String,
    /// Which wallet.
    pub currency: Currency,
    /// From this time on.
    pub from: Timestamp,
    /// Up to before this time.
    pub to: Timestamp,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name and content.
    pub document: Document,
    /// What it is sent as.
    pub media_type: String,
    /// The record of the call that wrote it.
    pub decision: RecordId,
}

/// Every format of every plugin in force for a user, in the order of the plugins' ids.
pub async fn formats(app: &App, user: UserId) -> Result<Vec<FormatView>, Error> {
    let mut formats = Vec::new();
    for plugin in plugins::all_in_force_for(app, Kind::BudgetLink, &[Scope::Platform], &user.bytes()).await? {
        formats.extend(plugin.manifest().formats.iter().map(|format| FormatView {
            plugin: plugin.id().to_owned(),
            plugin_name: plugin.manifest().name.clone(),
            format: format.name.clone(),
            media_type: format.media_type.clone(),
            about: format.about.clone(),
        }));
    }
    Ok(formats)
}

/// Has a plugin write the statement of the signed-in user's wallet. The file is given out once the record of the call is kept. Errors: no such
/// plugin or format, more than [`wallets::WHOLE_MAX`] lines, what the plugin refuses, its fault.
pub async fn write(app: &App, ctx: &Ctx, input: &DocumentInput) -> Result<Written, Error> {
    write_of(app, ctx, (ctx.user()?, None), input).await
}

/// The same for a user who asked an operator; that it was handed out goes into the audit log.
pub async fn write_for(app: &App, ctx: &Ctx, user: UserId, input: &DocumentInput) -> Result<Written, Error> {
    ctx.operator()?;
    let user = users::get(app, user).await?.id;
    let detail = serde_json::json!({ "plugin": input.plugin, "format": input.format }).to_string();
    let row = users::audit(app, ctx, "document.write", user.to_string(), &detail);
    write_of(app, ctx, (user, Some(row)), input).await
}

async fn write_of(
    app: &App,
    ctx: &Ctx,
    (user, audit): (UserId, Option<Audit>),
    input: &DocumentInput,
) -> Result<Written, Error> {
    if input.from >= input.to {
        return Err(Error::invalid("to_ms", "name a time after from_ms"));
    }
    for _ in 0..ROUNDS_MAX {
        let plugin = plugins::in_force_for(app, &input.plugin, user).await?;
        let plugin =
            plugin.filter(|plugin| plugin.manifest().kind == Kind::BudgetLink).ok_or(Error::NotFound("format"))?;
        let format = plugin.manifest().formats.iter().find(|format| format.name == input.format).cloned();
        let format = format.ok_or(Error::NotFound("format"))?;
        let account = account(app, user, &plugin, (ctx, input)).await?;
        let whom = For { scope: "platform", locale: &ctx.locale, about: Some(user) };
        let call = Input::ComposeStatement(format.name, account);
        let (answer, record) = guests::call(app, &plugin, whom, call).await;
        if answer.as_ref().is_err_and(|fault| fault.class == FaultClass::Busy) {
            return Err(Error::Busy);
        }
        let decision = record.id;
        let mut work = ctx.work(app.clock.id());
        work.relies_on = vec![Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }];
        work.records = vec![record];
        work.audit.extend(audit.clone());
        match app.ledger.commit(work).await? {
            Decided::PluginChanged => continue,
            Decided::SignedOut => return Err(Error::NotSignedIn),
            _ => {}
        }
        let id = input.plugin.clone();
        return match answer {
            Ok(Output::Document(document)) => Ok(Written { document, media_type: format.media_type, decision }),
            Ok(Output::Failure(failure)) => {
                let text = failure.text.and_then(|key| own::word(Some(plugin.manifest()), &key, &ctx.locale));
                Err(Error::PluginRefused { plugin: id, code: failure.code, message: failure.message, text })
            }
            Ok(_) => {
                let detail = "the answer belongs to another function".to_owned();
                Err(Error::PluginFault { plugin: id, fault: Fault { class: FaultClass::BadAnswer, detail } })
            }
            Err(fault) => Err(Error::PluginFault { plugin: id, fault }),
        };
    }
    Err(Error::Busy)
}

/// The rows of a wallet over a period: each entry is one, however many of the wallet's accounts it moved; what left all of them together
/// unchanged is none.
async fn account(
    app: &App,
    user: UserId,
    plugin: &Plugin,
    (ctx, input): (&Ctx, &DocumentInput),
) -> Result<StatementAccount, Error> {
    let DocumentInput { currency, from, to, .. } = input;
    let mut lines = wallets::whole_statement(app, user, *currency, (*from, *to)).await?;
    lines.reverse();
    let opening = wallets::net_before(app, user, *currency, *from).await?;
    let rows = rows_of(app, user, (*currency, &ctx.locale), (&lines, opening)).await?;
    let closing = rows.last().map_or(opening, |(_, row)| row.balance);
    Ok(StatementAccount {
        name: account_name(plugin.id(), *currency, user),
        currency: *currency,
        since: moment(*from),
        until: moment(*to),
        opening,
        closing,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

fn moment(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

/// Another name for each currency: a household book takes them for accounts of their own.
fn account_name(plugin: &str, currency: Currency, user: UserId) -> String {
    wallet_name(&format!("{plugin} {currency}"), user)
}

/// Rows that somebody has not been told of.
pub(crate) struct Fresh {
    /// The oldest of them, at most [`ROWS_MAX`].
    pub(crate) account: StatementAccount,
    /// The last entry among them.
    pub(crate) until: i64,
}

/// The rows of a wallet behind this entry, for a plugin; none if there are none.
pub(crate) async fn fresh(
    app: &App,
    user: UserId,
    (plugin, locale): (&str, &str),
    currency: Currency,
    after: i64,
) -> Result<Option<Fresh>, Error> {
    let lines = wallets::lines_behind(app, user, currency, after).await?;
    if lines.is_empty() {
        return Ok(None);
    }
    let opening = wallets::net_at(app, user, currency, after).await?;
    let mut rows = rows_of(app, user, (currency, locale), (&lines, opening)).await?;
    rows.truncate(ROWS_MAX);
    let Some((until, closing)) = rows.last().map(|(sequence, row)| (*sequence, row.balance)) else { return Ok(None) };
    let rows: Vec<StatementRow> = rows.into_iter().map(|(_, row)| row).collect();
    let account = StatementAccount {
        name: account_name(plugin, currency, user),
        currency,
        since: rows.first().map_or(0, |row| row.at),
        until: rows.last().map_or(0, |row| row.at.saturating_add(1)),
        opening,
        closing,
        rows,
    };
    Ok(Some(Fresh { account, until }))
}

/// Lines, oldest first, as rows with their places in the journal. A row names what it gives back if that is among them.
async fn rows_of(
    app: &App,
    user: UserId,
    (currency, locale): (Currency, &str),
    (lines, opening): (&[StatementLine], i64),
) -> Result<Vec<(i64, StatementRow)>, Error> {
    let people = People::of(app, user, lines, locale).await?;
    let mut rows: Vec<(i64, StatementRow)> = Vec::with_capacity(lines.len());
    // Which row a payment is, so that what gives it back can name it.
    let mut row_of: HashMap<Uuid, String> = HashMap::new();
    let mut balance = opening;
    for entry in lines.chunk_by(|one, other| one.entry == other.entry) {
        let change: i64 = entry.iter().map(|line| wallets::net_of(line.class, line.change.minor)).sum();
        let Some(line) = entry.first().filter(|_| change != 0) else { continue };
        balance += change;
        let behind = people.behind(line);
        let payment = behind.and_then(|behind| behind.payment);
        let gives_back = matches!(line.kind, EntryKind::Refund | EntryKind::Dispute);
        let refers_to = payment.filter(|_| gives_back).and_then(|payment| row_of.get(&payment).cloned());
        let id = line.entry.to_string();
        if let Some(payment) = payment.filter(|_| !gives_back) {
            row_of.entry(payment).or_insert_with(|| id.clone());
        }
        let text = |text: Option<&str>, most| cut(text.unwrap_or_default(), most);
        let row = StatementRow {
            id,
            at: moment(line.at),
            kind: word(line.kind, people.is_transfer(line)).to_owned(),
            amount: Money::new(change, currency),
            balance,
            counterpart: text(behind.map(|behind| behind.name.as_str()), NAME_BYTES_MAX),
            memo: text(behind.and_then(|behind| behind.message.as_deref()), MEMO_BYTES_MAX),
            refers_to,
        };
        rows.push((line.sequence, row));
    }
    Ok(rows)
}

/// What an entry was, in the words of the contract.
fn word(kind: EntryKind, is_transfer: bool) -> &'static str {
    match kind {
        EntryKind::ChargeCredit | EntryKind::ChargeReversal => "charge",
        EntryKind::Review if is_transfer => "transfer",
        EntryKind::Payment | EntryKind::Capture | EntryKind::Review => "payment",
        EntryKind::Refund | EntryKind::Dispute => "refund",
        EntryKind::Transfer => "transfer",
        EntryKind::Exchange => "exchange",
        EntryKind::BonusGrant | EntryKind::BonusExpiry | EntryKind::BonusRevocation => "bonus",
        EntryKind::Bill | EntryKind::BillRelease => "bill",
        EntryKind::Withdrawal | EntryKind::WithdrawalRelease => "withdrawal",
        EntryKind::Adjustment | EntryKind::WriteOff => "adjustment",
        _ => "other",
    }
}

/// Who stands behind the lines of a statement.
struct People {
    of: BTreeMap<Dealings, HashMap<Uuid, Behind>>,
    user: Uuid,
}

impl People {
    async fn of(app: &App, user: UserId, lines: &[StatementLine], locale: &str) -> Result<People, Error> {
        let user = user.0;
        let mut asked: BTreeMap<Dealings, Vec<Uuid>> = BTreeMap::new();
        for line in lines {
            for dealings in dealings(line.kind, user) {
                asked.entry(dealings).or_default().push(line.about);
            }
        }
        let mut of = BTreeMap::new();
        for (dealings, mut ids) in asked {
            ids.sort_unstable();
            ids.dedup();
            of.insert(dealings, rows::behind(&app.store, dealings, &ids).await?);
        }
        // A channel is called what its plugin is called.
        let mut names: HashMap<String, String> = HashMap::new();
        for behind in of.get_mut(&Dealings::Flows).into_iter().flat_map(|flows| flows.values_mut()) {
            if !names.contains_key(&behind.name) {
                let row = koban_store::plugins::by_id(&app.store, &behind.name).await?;
                let words = row.map(|row| row.manifest.name);
                let name = words.map(|words| if locale.starts_with("ja") { words.ja } else { words.en });
                names.insert(behind.name.clone(), name.unwrap_or_else(|| behind.name.clone()));
            }
            behind.name = names[&behind.name].clone();
        }
        Ok(People { of, user })
    }

    fn behind(&self, line: &StatementLine) -> Option<&Behind> {
        dealings(line.kind, self.user).iter().find_map(|dealings| self.of.get(dealings)?.get(&line.about))
    }

    fn is_transfer(&self, line: &StatementLine) -> bool {
        self.of.get(&Dealings::Transfers(self.user)).is_some_and(|transfers| transfers.contains_key(&line.about))
    }
}

/// Where the subject of an entry is looked up.
fn dealings(kind: EntryKind, user: Uuid) -> Vec<Dealings> {
    match kind {
        EntryKind::ChargeCredit
        | EntryKind::ChargeReversal
        | EntryKind::Bill
        | EntryKind::BillRelease
        | EntryKind::Withdrawal
        | EntryKind::WithdrawalRelease => vec![Dealings::Flows],
        EntryKind::Payment => vec![Dealings::Payments],
        EntryKind::Capture => vec![Dealings::Captures],
        EntryKind::Refund => vec![Dealings::Refunds],
        EntryKind::Dispute => vec![Dealings::Disputes],
        EntryKind::Transfer => vec![Dealings::Transfers(user)],
        // A review has the id of what it is about.
        EntryKind::Review => vec![Dealings::Payments, Dealings::Transfers(user)],
        _ => Vec::new(),
    }
}

/// At most so many bytes of a text, whole characters.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
