//! The books in SQLite: rows go in as one JSON parameter for each kind, never one by one.
//!
//! `cross join` keeps the parameter's rows in the outer loop, so that each looks up its row by the primary key.

mod holds;

use std::collections::HashSet;

use koban_domain::books::Books;
use koban_domain::charges::ReferenceKey;
use koban_domain::ids::{FlowId, MerchantId, PaymentId};
use koban_domain::ledger::Commit;
use koban_domain::limits::CounterKey;
use koban_domain::signals::{Ring, SubjectKey};
use koban_domain::touched::Touched;
use sqlx::SqliteConnection;

use crate::database::Columns as _;
use crate::error::StoreError;
use crate::ledger::cache::Missing;
use crate::ledger::exchanges;
use crate::ledger::json::JsonRows;
use crate::ledger::{LaneHead, Pages, Steps, pages, rows};

/// Reads every row that is touched: one statement for each kind, none for a kind that is not touched.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    touched: &Touched,
    missing: &Missing,
    books: &mut Books,
) -> Result<(), StoreError> {
    if let Some(keys) = keys(touched.operations.iter().map(|key| key.0)) {
        let sql = "select o.key, o.fingerprint, o.outcome, o.at
            from json_each($1) k cross join operations o on o.key = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, operation) = rows::operation(row)?;
            books.operations.load(key, operation);
        }
    }
    if let Some(keys) = keys(missing.accounts.iter().map(|id| id.0)) {
        let sql = "select a.id, a.class, a.owner, a.currency, a.debits_posted, a.credits_posted, a.debits_pending,
            a.credits_pending, a.moved, a.last from json_each($1) k cross join accounts a on a.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (id, account) = rows::account(row)?;
            books.accounts.load(id, account);
        }
    }
    if let Some(keys) = keys(missing.users.iter().map(|id| id.bytes())) {
        let sql = "select u.id, u.kind, u.created_at, u.access, u.verification
            from json_each($1) k cross join users u on u.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let user = rows::user(row)?;
            books.users.load(user.id, user);
        }
    }
    load_counters(connection, &missing.counters, books).await?;
    if let Some(keys) = keys(touched.signals.iter().map(|subject| subject.0.into_bytes())) {
        let sql =
            "select s.subject, s.ring from json_each($1) k cross join signals s on s.subject = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            books.signals.load(SubjectKey(row.id(0)?), Ring::decode(&row.bytes(1)?));
        }
    }
    load_dealings(connection, touched, books).await?;
    holds::load(connection, touched, books).await?;
    load_partners(connection, touched, books).await
}

async fn load_counters(
    connection: &mut SqliteConnection,
    counters: &[CounterKey],
    books: &mut Books,
) -> Result<(), StoreError> {
    let mut json = JsonRows::with_capacity(counters.len() * 64);
    for key in counters {
        json.row().bytes(&key.user.bytes()).int(key.rule()).int(key.period).text(key.currency.code());
    }
    let Some(keys) = json.finish() else { return Ok(()) };
    let sql = "select cast(k.key as integer), c.total from json_each($1) k cross join counters c
        on c.user_id = unhex(k.value ->> 0) and c.rule = k.value ->> 1 and c.period = k.value ->> 2
            and c.currency = k.value ->> 3";
    for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
        let key = usize::try_from(row.long(0)?).ok().and_then(|place| counters.get(place));
        let key = key.ok_or_else(|| StoreError::damaged("a counter was found that nobody asked for"))?;
        books.counters.load(*key, row.long(1)?);
    }
    Ok(())
}

/// Merchants, payments and their references.
async fn load_dealings(
    connection: &mut SqliteConnection,
    touched: &Touched,
    books: &mut Books,
) -> Result<(), StoreError> {
    if let Some(keys) = keys(touched.merchants.iter().map(|id| id.bytes())) {
        let sql = "select m.id, m.currencies, m.access from json_each($1) k cross join merchants m on m.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let merchant = rows::merchant(row)?;
            books.merchants.load(merchant.id, merchant);
        }
    }
    if let Some(keys) = keys(touched.payments.iter().map(|id| id.bytes())) {
        let sql = "select p.id, p.payer, p.merchant, p.amount, p.currency, p.state, p.parts, p.captured, p.refunded,
            p.disputed, p.expires_at, p.reference, p.decision, p.at
            from json_each($1) k cross join payments p on p.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let payment = rows::payment(row)?;
            books.payments.load(payment.id, payment);
        }
    }
    let mut json = JsonRows::with_capacity(touched.merchant_references.len() * 80);
    for (merchant, reference) in &touched.merchant_references {
        json.row().bytes(&merchant.bytes()).text(reference);
    }
    if let Some(keys) = json.finish() {
        let sql = "select p.merchant, p.reference, p.id from json_each($1) k cross join payments p
            on p.merchant = unhex(k.value ->> 0) and p.reference = k.value ->> 1";
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            books.merchant_references.load((MerchantId(row.id(0)?), row.text(1)?), PaymentId(row.id(2)?));
        }
    }
    Ok(())
}

/// Everything between us and partners, and flows.
async fn load_partners(
    connection: &mut SqliteConnection,
    touched: &Touched,
    books: &mut Books,
) -> Result<(), StoreError> {
    if let Some(keys) = reference_keys(touched.references.iter()) {
        // A reversal brings the credit that it names.
        let sql = "with found as materialized (
                select p.* from json_each($1) k cross join partner_references p
                    on p.plugin = unhex(k.value ->> 0) and p.side = k.value ->> 1 and p.reference = k.value ->> 2)
            select plugin, side, reference, state, amount, currency, flow, user_id, entry, reversed, reversed_listed,
                exposed, listed, released, reverses_reference, at from found
            union all
            select p.plugin, p.side, p.reference, p.state, p.amount, p.currency, p.flow, p.user_id, p.entry, p.reversed,
                p.reversed_listed, p.exposed, p.listed, p.released, p.reverses_reference, p.at
            from found f cross join partner_references p
                on p.plugin = f.plugin and p.side = 1 and p.reference = f.reverses_reference";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, reference) = rows::reference(row)?;
            books.references.load(key, reference);
        }
    }
    if let Some(keys) = reference_keys(touched.differences.iter()) {
        let sql = "select d.plugin, d.side, d.reference, d.ours, d.theirs, d.currency, d.file, d.at, d.open
            from json_each($1) k cross join differences d
                on d.plugin = unhex(k.value ->> 0) and d.side = k.value ->> 1 and d.reference = k.value ->> 2";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, difference) = rows::difference(row)?;
            books.differences.load(key, difference);
        }
    }
    let mut json = JsonRows::with_capacity(touched.exposures.len() * 48);
    for (plugin, currency) in &touched.exposures {
        json.row().bytes(plugin.0.as_bytes()).text(currency.code());
    }
    if let Some(keys) = json.finish() {
        let sql = "select e.plugin, e.currency, e.cap, e.used, e.loss_budget, e.lost
            from json_each($1) k cross join exposures e
                on e.plugin = unhex(k.value ->> 0) and e.currency = k.value ->> 1";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, exposure) = rows::exposure(row)?;
            books.exposures.load(key, exposure);
        }
    }
    let mut json = JsonRows::with_capacity(touched.files.len() * 110);
    for (plugin, digest) in &touched.files {
        json.row().bytes(plugin.0.as_bytes()).bytes(&digest.0);
    }
    if let Some(keys) = json.finish() {
        let sql = "select f.plugin, f.digest, f.id, f.matched, f.differences, f.at
            from json_each($1) k cross join settlement_files f
                on f.plugin = unhex(k.value ->> 0) and f.digest = unhex(k.value ->> 1)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, file) = rows::file(row)?;
            books.files.load(key, file);
        }
    }
    let mut json = JsonRows::with_capacity(touched.expectations.len() * 80);
    for (plugin, correlation) in &touched.expectations {
        json.row().bytes(plugin.0.as_bytes()).text(correlation);
    }
    if let Some(keys) = json.finish() {
        let sql = "select e.plugin, e.correlation, e.flow, e.key, e.at
            from json_each($1) k cross join expectations e
                on e.plugin = unhex(k.value ->> 0) and e.correlation = k.value ->> 1";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, expectation) = rows::expectation(row)?;
            books.expectations.load(key, expectation);
        }
    }
    if let Some(keys) = keys(touched.flows.iter().map(|id| id.bytes())) {
        let sql = "select f.id, f.version from json_each($1) k cross join flows f on f.id = unhex(k.value ->> 0)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            books.flows.load(FlowId(row.id(0)?), row.long(1)?);
        }
    }
    Ok(())
}

fn keys(keys: impl ExactSizeIterator<Item = [u8; 16]>) -> Option<String> {
    let mut json = JsonRows::with_capacity(keys.len() * 38);
    keys.for_each(|key| {
        json.row().bytes(&key);
    });
    json.finish()
}

fn reference_keys<'a>(keys: impl ExactSizeIterator<Item = &'a ReferenceKey>) -> Option<String> {
    let mut json = JsonRows::with_capacity(keys.len() * 80);
    for key in keys {
        json.row().bytes(key.plugin.0.as_bytes()).int(rows::side_code(key.side)).text(&key.reference);
    }
    json.finish()
}

/// Runs a statement over rows, if there are any. Answers how many rows it changed.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    sql: &'static str,
    json: JsonRows,
) -> Result<u64, StoreError> {
    match json.finish() {
        Some(json) => Ok(sqlx::query(sql).bind(json).execute(connection).await?.rows_affected()),
        None => Ok(0),
    }
}

/// Writes each kind that changed with one statement.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    commit: &Commit,
    steps: &Steps,
    pages: &Pages,
    next: &LaneHead,
) -> Result<(), StoreError> {
    write_entries(connection, commit).await?;
    write_accounts(connection, commit).await?;
    write_operations(connection, commit).await?;
    write_pages(connection, pages).await?;
    write_dealings(connection, commit).await?;
    holds::write(connection, commit).await?;
    write_partners(connection, commit).await?;
    write_steps(connection, steps).await?;
    write_head(connection, next).await
}

async fn write_entries(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let mut entries = JsonRows::with_capacity(commit.entries.len() * 560);
    for entry in &commit.entries {
        let draft = &entry.draft;
        entries.row().int(entry.sequence).bytes(&draft.id.bytes()).int(draft.kind.code()).int(entry.at.0);
        entries.text(&draft.actor).bytes(&draft.subject);
        entries.maybe_bytes(draft.reverses.map(|id| id.bytes()).as_ref().map(<[u8; 16]>::as_slice));
        entries.bytes(&rows::pack_postings(&draft.postings)).bytes(&rows::pack_digests(&draft.records));
        entries.text(&draft.meta).bytes(&entry.hash.0).text(&rows::pack_previous(&draft.postings));
    }
    let sql = "insert into entries (sequence, id, kind, at, actor, subject, reverses, postings, records, meta, hash,
            previous)
        select value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, unhex(value ->> 5),
            unhex(value ->> 6), unhex(value ->> 7), unhex(value ->> 8), value ->> 9, unhex(value ->> 10),
            value ->> 11
        from json_each($1)";
    run(connection, sql, entries).await?;
    // In the order of their key: neighbours share pages.
    let mut marks: Vec<_> = commit.marks.iter().collect();
    marks.sort_unstable();
    let mut json = JsonRows::with_capacity(marks.len() * 50);
    for (account, sequence) in marks {
        json.row().bytes(&account.0).int(*sequence);
    }
    let sql = "insert into account_marks (account, sequence) select unhex(value ->> 0), value ->> 1 from json_each($1)";
    run(connection, sql, json).await?;
    Ok(())
}

async fn write_accounts(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let mut accounts: Vec<_> = commit.books.accounts.changed().collect();
    accounts.sort_unstable_by_key(|row| row.key);
    let (moved, new): (Vec<_>, Vec<_>) = accounts.into_iter().partition(|row| row.stored);
    let mut json = JsonRows::with_capacity(new.len() * 120);
    for row in new {
        let key = &row.value.key;
        json.row().bytes(&row.key.0).int(key.class.code()).bytes(key.owner.as_bytes()).text(key.currency.code());
        json.int(row.value.debits_posted).int(row.value.credits_posted);
        json.int(row.value.debits_pending).int(row.value.credits_pending).int(row.value.moved).int(row.value.last);
    }
    let sql = "insert into accounts
            (id, class, owner, currency, debits_posted, credits_posted, debits_pending, credits_pending, moved, last)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9 from json_each($1)";
    run(connection, sql, json).await?;
    let expected = u64::try_from(moved.len()).unwrap_or(u64::MAX);
    let mut json = JsonRows::with_capacity(moved.len() * 80);
    for row in moved {
        json.row().bytes(&row.key.0).int(row.value.debits_posted).int(row.value.credits_posted);
        json.int(row.value.debits_pending).int(row.value.credits_pending).int(row.value.moved).int(row.value.last);
    }
    let sql = "update accounts set debits_posted = u.debits_posted, credits_posted = u.credits_posted,
            debits_pending = u.debits_pending, credits_pending = u.credits_pending, moved = u.moved, last = u.last
        from (select unhex(value ->> 0) as id, value ->> 1 as debits_posted, value ->> 2 as credits_posted,
            value ->> 3 as debits_pending, value ->> 4 as credits_pending, value ->> 5 as moved, value ->> 6 as last
            from json_each($1)) u
        where accounts.id = u.id";
    // Pair of the load: what was read under the lock must still be there.
    match run(connection, sql, json).await? == expected {
        true => Ok(()),
        false => Err(StoreError::damaged("an account that was loaded is gone")),
    }
}

async fn write_operations(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let mut operations: Vec<_> = commit.operations().collect();
    operations.sort_unstable_by_key(|(key, _)| *key);
    let mut json = JsonRows::with_capacity(operations.len() * 400);
    for (key, operation) in operations {
        json.row().bytes(&key.0).bytes(&operation.fingerprint.0).bytes(&operation.encode_outcome()).int(operation.at.0);
    }
    let sql = "insert into operations (key, fingerprint, outcome, at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3 from json_each($1)";
    run(connection, sql, json).await?;
    let mut counters: Vec<_> = commit.books.counters.changed().collect();
    counters.sort_unstable_by_key(|row| row.key);
    let mut json = JsonRows::with_capacity(counters.len() * 80);
    for row in counters {
        json.row().bytes(&row.key.user.bytes()).int(row.key.rule()).int(row.key.period);
        json.text(row.key.currency.code()).int(*row.value);
    }
    // `where true` tells the parser that `on conflict` is not the join's.
    let sql = "insert into counters (user_id, rule, period, currency, total)
        select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4 from json_each($1) where true
        on conflict (user_id, rule, period, currency) do update set total = excluded.total";
    run(connection, sql, json).await?;
    Ok(())
}

async fn write_pages(connection: &mut SqliteConnection, pages: &Pages) -> Result<(), StoreError> {
    if let Some(page) = &pages.records {
        let sql = "insert into record_pages (sequence, first_id, last_id, span, count, page, hash, at, form, contents)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        sqlx::query(sql)
            .bind(page.sequence)
            .bind(page.first.to_vec())
            .bind(page.last.to_vec())
            .bind(page.span)
            .bind(page.count)
            .bind(page.page.clone())
            .bind(page.hash.0.to_vec())
            .bind(page.at.0)
            .bind(pages::RECORDS_FORM)
            .bind(page.contents.clone())
            .execute(&mut *connection)
            .await?;
    }
    if let Some(page) = &pages.news {
        let sql = "insert into outbox (sequence, count, page, at) values ($1, $2, $3, $4)";
        sqlx::query(sql)
            .bind(page.sequence)
            .bind(page.count)
            .bind(page.page.clone())
            .bind(page.at.0)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Moves the ends of the lane's chains on.
async fn write_head(connection: &mut SqliteConnection, next: &LaneHead) -> Result<(), StoreError> {
    let sql = "update lane_heads set sequence = $1, hash = $2, at = $3, record_sequence = $4, record_hash = $5,
        outbox_sequence = $6, commits = $7 where lane = 0";
    sqlx::query(sql)
        .bind(next.head.sequence)
        .bind(next.head.hash.0.to_vec())
        .bind(next.head.at.0)
        .bind(next.record_sequence)
        .bind(next.record_hash.0.to_vec())
        .bind(next.outbox_sequence)
        .bind(next.commits)
        .execute(connection)
        .await?;
    Ok(())
}

/// Transfers, users that were verified, payments, refunds, payees and signals.
async fn write_dealings(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let new = books.transfers.changed().filter(|row| !row.stored);
    let mut transfers: Vec<_> = new.map(|row| row.value).collect();
    transfers.sort_unstable_by_key(|transfer| transfer.id);
    let mut json = JsonRows::with_capacity(transfers.len() * 180);
    for transfer in transfers {
        json.row().bytes(&transfer.id.bytes()).bytes(&transfer.sender.bytes()).bytes(&transfer.receiver.bytes());
        json.int(transfer.amount.minor).text(transfer.amount.currency.code()).maybe_text(transfer.message.as_deref());
        json.int(transfer.state.code());
        json.maybe_bytes(transfer.decision.as_ref().map(|id| id.0.as_bytes().as_slice())).int(transfer.at.0);
    }
    let sql = "insert into transfers (id, sender, receiver, amount, currency, message, state, decision, at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, unhex(value ->> 7), value ->> 8 from json_each($1)";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(64);
    for row in books.users.changed() {
        json.row().bytes(&row.key.bytes()).int(rows::wallet_kind_code(row.value.kind));
        json.int(row.value.access.code()).int(row.value.verification.code());
    }
    let sql = "update users set kind = u.kind, access = u.access, verification = u.verification
        from (select unhex(value ->> 0) as id, value ->> 1 as kind, value ->> 2 as access, value ->> 3 as verification
            from json_each($1)) u
        where users.id = u.id";
    run(connection, sql, json).await?;

    exchanges::write_sqlite(connection, commit).await?;
    write_payments(connection, commit).await?;

    let mut signals: Vec<_> = books.signals.changed().collect();
    signals.sort_unstable_by_key(|row| row.key);
    let mut json = JsonRows::with_capacity(signals.len() * 400);
    for row in signals {
        json.row().bytes(row.key.0.as_bytes()).bytes(&row.value.encode());
    }
    let sql = "insert into signals (subject, ring)
        select unhex(value ->> 0), unhex(value ->> 1) from json_each($1) where true
        on conflict (subject) do update set ring = excluded.ring";
    run(connection, sql, json).await?;
    Ok(())
}

async fn write_payments(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let mut payments: Vec<_> = commit.books.payments.changed().collect();
    payments.sort_unstable_by_key(|row| row.key);
    let (moved, new): (Vec<_>, Vec<_>) = payments.into_iter().partition(|row| row.stored);
    let mut json = JsonRows::with_capacity(new.len() * 280);
    for row in new {
        let payment = row.value;
        json.row().bytes(&payment.id.bytes()).bytes(&payment.payer.bytes()).bytes(&payment.merchant.bytes());
        json.int(payment.amount.minor).text(payment.amount.currency.code());
        json.int(payment.state.code()).bytes(&rows::pack_parts(&payment.parts)?);
        json.int(payment.captured).int(payment.refunded).int(payment.disputed);
        json.maybe_int(payment.expires_at.map(|at| at.0)).maybe_text(payment.reference.as_deref());
        json.maybe_bytes(payment.decision.as_ref().map(|id| id.0.as_bytes().as_slice())).int(payment.at.0);
    }
    let sql = "insert into payments (id, payer, merchant, amount, currency, state, parts, captured, refunded, disputed,
            expires_at, reference, decision, at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5,
            unhex(value ->> 6), value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, unhex(value ->> 12),
            value ->> 13 from json_each($1)";
    run(connection, sql, json).await?;
    let mut payees = commit.payees.clone();
    payees.sort_unstable();
    payees.dedup();
    let mut json = JsonRows::with_capacity(payees.len() * 75);
    for (user, payee) in payees {
        json.row().bytes(&user.bytes()).bytes(payee.as_bytes());
    }
    let sql = "insert into payees (user_id, payee)
        select unhex(value ->> 0), unhex(value ->> 1) from json_each($1) where true
        on conflict (user_id, payee) do nothing";
    run(connection, sql, json).await?;
    let mut json = JsonRows::with_capacity(moved.len() * 160);
    for row in moved {
        let payment = row.value;
        json.row().bytes(&payment.id.bytes()).int(payment.amount.minor).int(payment.state.code());
        json.bytes(&rows::pack_parts(&payment.parts)?)
            .int(payment.captured)
            .int(payment.refunded)
            .int(payment.disputed);
        json.maybe_int(payment.expires_at.map(|at| at.0));
    }
    let sql = "update payments set amount = u.amount, state = u.state, parts = u.parts, captured = u.captured,
            refunded = u.refunded, disputed = u.disputed, expires_at = u.expires_at
        from (select unhex(value ->> 0) as id, value ->> 1 as amount, value ->> 2 as state, unhex(value ->> 3) as parts,
            value ->> 4 as captured, value ->> 5 as refunded, value ->> 6 as disputed, value ->> 7 as expires_at
            from json_each($1)) u
        where payments.id = u.id";
    run(connection, sql, json).await?;

    let mut refunds: Vec<_> = commit.books.refunds.changed().map(|row| row.value).collect();
    refunds.sort_unstable_by_key(|refund| refund.id);
    let mut json = JsonRows::with_capacity(refunds.len() * 220);
    for refund in refunds {
        json.row().bytes(&refund.id.bytes()).bytes(&refund.payment.bytes()).bytes(&refund.merchant.bytes());
        json.bytes(&refund.payer.bytes()).int(refund.amount.minor).text(refund.amount.currency.code());
        json.int(refund.repaid).int(refund.at.0).int(refund.bonus).int(refund.lapsed);
    }
    let sql = "insert into refunds (id, payment, merchant, payer, amount, currency, repaid, at, bonus, lapsed)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, value ->> 9 from json_each($1)";
    run(connection, sql, json).await?;
    Ok(())
}

/// Partners' references, exposures, differences, settlement files and expectations.
async fn write_partners(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    write_references(connection, commit).await?;

    let mut json = JsonRows::with_capacity(128);
    for row in books.exposures.changed() {
        json.row().bytes(row.key.0.0.as_bytes()).text(row.key.1.code()).int(row.value.used).int(row.value.lost);
    }
    // Caps and budgets are the operator's; a commit moves only what is used and lost.
    let sql = "update exposures set used = u.used, lost = u.lost
        from (select unhex(value ->> 0) as plugin, value ->> 1 as currency, value ->> 2 as used, value ->> 3 as lost
            from json_each($1)) u
        where exposures.plugin = u.plugin and exposures.currency = u.currency";
    run(connection, sql, json).await?;

    let mut differences: Vec<_> = books.differences.changed().collect();
    differences.sort_unstable_by_key(|row| row.key);
    let mut json = JsonRows::with_capacity(differences.len() * 180);
    for row in differences {
        json.row().bytes(row.key.plugin.0.as_bytes()).int(rows::side_code(row.key.side)).text(&row.key.reference);
        json.int(row.value.ours).int(row.value.theirs).text(row.value.currency.code()).bytes(&row.value.file.bytes());
        json.int(row.value.at.0).int(row.value.open);
    }
    let sql = "insert into differences (plugin, side, reference, ours, theirs, currency, file, at, open)
        select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, unhex(value ->> 6),
            value ->> 7, value ->> 8 from json_each($1) where true
        on conflict (plugin, side, reference) do update set ours = excluded.ours, theirs = excluded.theirs,
            currency = excluded.currency, file = excluded.file, at = excluded.at, open = excluded.open";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(200);
    for row in books.files.changed() {
        json.row().bytes(row.key.0.0.as_bytes()).bytes(&row.key.1.0).bytes(&row.value.id.bytes());
        json.int(row.value.matched).int(row.value.differences).int(row.value.at.0);
    }
    let sql = "insert into settlement_files (plugin, digest, id, matched, differences, at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5
        from json_each($1) where true
        on conflict (plugin, digest) do update set matched = excluded.matched, differences = excluded.differences,
            at = excluded.at";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(200);
    for row in books.expectations.changed() {
        json.row().bytes(row.key.0.0.as_bytes()).text(&row.key.1);
        json.maybe_bytes(row.value.flow.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.text(&row.value.key).int(row.value.at.0);
    }
    let sql = "insert into expectations (plugin, correlation, flow, key, at)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4 from json_each($1)";
    run(connection, sql, json).await?;
    Ok(())
}

async fn write_references(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    let mut references: Vec<_> = commit.books.references.changed().collect();
    references.sort_unstable_by_key(|row| row.key);
    let (moved, new): (Vec<_>, Vec<_>) = references.into_iter().partition(|row| row.stored);
    let mut json = JsonRows::with_capacity(new.len() * 320);
    for row in new {
        let (key, value) = (row.key, row.value);
        json.row().bytes(key.plugin.0.as_bytes()).int(rows::side_code(key.side)).text(&key.reference);
        json.int(value.state as u8).int(value.amount.minor).text(value.amount.currency.code());
        json.maybe_bytes(value.flow.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.maybe_bytes(value.user.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.maybe_bytes(value.entry.as_ref().map(|id| id.0.as_bytes().as_slice()));
        json.int(value.reversed).int(value.reversed_listed).int(value.exposed);
        json.int(value.listed).int(value.released).maybe_text(value.of.as_deref()).int(value.at.0);
    }
    let sql = "insert into partner_references (plugin, side, reference, state, amount, currency, flow, user_id, entry,
            reversed, reversed_listed, exposed, listed, released, reverses_reference, at)
        select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, unhex(value ->> 6),
            unhex(value ->> 7), unhex(value ->> 8), value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13,
            value ->> 14, value ->> 15 from json_each($1)";
    run(connection, sql, json).await?;
    let mut json = JsonRows::with_capacity(moved.len() * 120);
    for row in moved {
        let (key, value) = (row.key, row.value);
        json.row().bytes(key.plugin.0.as_bytes()).int(rows::side_code(key.side)).text(&key.reference);
        json.int(value.state as u8)
            .int(value.reversed)
            .int(value.reversed_listed)
            .int(value.listed)
            .int(value.released);
        json.int(value.exposed);
    }
    let sql =
        "update partner_references set state = u.state, reversed = u.reversed, reversed_listed = u.reversed_listed,
            listed = u.listed, released = u.released, exposed = u.exposed
        from (select unhex(value ->> 0) as plugin, value ->> 1 as side, value ->> 2 as reference, value ->> 3 as state,
            value ->> 4 as reversed, value ->> 5 as reversed_listed, value ->> 6 as listed, value ->> 7 as released,
            value ->> 8 as exposed from json_each($1)) u
        where partner_references.plugin = u.plugin and partner_references.side = u.side
            and partner_references.reference = u.reference";
    run(connection, sql, json).await?;
    Ok(())
}

/// Flows under their versions, consumed events, effects, new events and replies.
async fn write_steps(connection: &mut SqliteConnection, steps: &Steps) -> Result<(), StoreError> {
    write_flows(connection, steps).await?;

    let mut json = JsonRows::with_capacity(steps.consumed.len() * 60);
    for (place, flow, number) in &steps.consumed {
        json.row().int(*place).bytes(&flow.bytes()).int(*number);
    }
    let sql = "update flow_inbox set consumed = 1, number = u.number
        from (select value ->> 0 as place, unhex(value ->> 1) as flow, value ->> 2 as number from json_each($1)) u
        where flow_inbox.place = u.place and flow_inbox.flow = u.flow and flow_inbox.consumed = 0";
    let consumed = run(connection, sql, json).await?;
    steps.check_consumed(consumed)?;

    let mut json = JsonRows::with_capacity(steps.effects.len() * 300);
    for row in &steps.effects {
        json.row().bytes(&row.flow.bytes()).text(&row.key).bytes(&row.act).int(row.due_at).int(row.repeat);
        json.int(row.deadline).int(steps.now);
    }
    let sql = "insert into flow_effects (flow, key, act, due_at, repeat, deadline, state, attempts, fence, queued_at)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, 0, 0, 0,
            value ->> 6 from json_each($1)";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(steps.cancelled.len() * 80);
    for (flow, key) in &steps.cancelled {
        json.row().bytes(&flow.bytes()).text(key);
    }
    // Some of them are shows and expectations, which have no row here.
    let sql = "update flow_effects set state = 3
        from (select unhex(value ->> 0) as flow, value ->> 1 as key from json_each($1)) u
        where flow_effects.flow = u.flow and flow_effects.key = u.key and flow_effects.state < 2";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(steps.arrivals.len() * 300);
    for row in &steps.arrivals {
        json.row().bytes(&row.flow.bytes()).text(&row.key).bytes(&row.what);
        json.maybe_bytes(row.call.as_ref().map(<[u8; 16]>::as_slice)).int(row.at);
    }
    let sql = "insert into flow_inbox (flow, key, what, call, at, consumed)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, 0
        from json_each($1) as u order by u.key";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(steps.replies.len() * 200);
    for (key, reply) in &steps.replies {
        json.row().bytes(key).bytes(reply);
    }
    let sql = "update inbound_calls set reply = u.reply
        from (select unhex(value ->> 0) as key, unhex(value ->> 1) as reply from json_each($1)) u
        where inbound_calls.key = u.key";
    run(connection, sql, json).await?;
    Ok(())
}

async fn write_flows(connection: &mut SqliteConnection, steps: &Steps) -> Result<(), StoreError> {
    let (moved, new): (Vec<_>, Vec<_>) = steps.flows.iter().partition(|row| row.expected.is_some());
    let mut json = JsonRows::with_capacity(new.iter().map(|row| 300 + 2 * row.body.len()).sum());
    for row in new {
        json.row().bytes(&row.id.bytes()).text(&row.plugin).bytes(&row.user).bytes(&row.digest);
        json.int(row.standing).int(row.stuck).int(row.version).int(row.opened_at).int(row.changed_at);
        json.maybe_int(row.final_at).bytes(&row.body).int(row.beginning);
    }
    let sql = "insert into flows (id, plugin, user_id, digest, standing, stuck, version, opened_at, changed_at, final_at, body,
            beginning)
        select unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, value ->> 9, unhex(value ->> 10), value ->> 11 from json_each($1)";
    run(connection, sql, json).await?;

    let mut json = JsonRows::with_capacity(moved.iter().map(|row| 300 + 2 * row.body.len()).sum());
    for row in moved {
        json.row().bytes(&row.id.bytes()).maybe_int(row.expected).bytes(&row.digest);
        json.int(row.standing).int(row.stuck).int(row.version).int(row.changed_at);
        json.maybe_int(row.final_at).bytes(&row.body);
    }
    let Some(json) = json.finish() else { return Ok(()) };
    let sql = "update flows set digest = u.digest, standing = u.standing, stuck = u.stuck, version = u.version,
            changed_at = u.changed_at, final_at = u.final_at, body = u.body
        from (select unhex(value ->> 0) as id, value ->> 1 as expected, unhex(value ->> 2) as digest,
            value ->> 3 as standing, value ->> 4 as stuck, value ->> 5 as version, value ->> 6 as changed_at,
            value ->> 7 as final_at, unhex(value ->> 8) as body from json_each($1)) u
        where flows.id = u.id and flows.version = u.expected
        returning id";
    let updated = sqlx::query(sql).bind(json).fetch_all(connection).await?;
    let updated = updated.iter().map(|row| Ok(FlowId(row.id(0)?))).collect::<Result<HashSet<_>, StoreError>>()?;
    steps.check_updated(&updated)
}
