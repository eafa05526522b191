//! The books in PostgreSQL: arrays in, `unnest` on the server, and one statement for everything that every batch writes.

mod holds;

use std::collections::HashSet;

use koban_domain::books::Books;
use koban_domain::charges::ReferenceKey;
use koban_domain::ids::{FlowId, PaymentId};
use koban_domain::ledger::Commit;
use koban_domain::limits::CounterKey;
use koban_domain::signals::{Ring, SubjectKey};
use koban_domain::touched::Touched;
use sqlx::PgConnection;

use crate::database::Columns as _;
use crate::error::StoreError;
use crate::ledger::cache::Missing;
use crate::ledger::exchanges;
use crate::ledger::marks::Mark;
use crate::ledger::{LaneHead, Pages, Steps, pages, rows};

/// Reads every row that is touched: one statement for each kind, none for a kind that is not touched.
pub(super) async fn load(
    connection: &mut PgConnection,
    touched: &Touched,
    missing: &Missing,
    books: &mut Books,
) -> Result<(), StoreError> {
    if !touched.operations.is_empty() {
        let keys: Vec<_> = touched.operations.iter().map(|key| key.0).collect();
        let sql = "select key, fingerprint, outcome, at from operations where key = any($1)";
        for row in &sqlx::query(sql).bind(keys).fetch_all(&mut *connection).await? {
            let (key, operation) = rows::operation(row)?;
            books.operations.load(key, operation);
        }
    }
    if !missing.accounts.is_empty() {
        let ids: Vec<_> = missing.accounts.iter().map(|id| id.0).collect();
        let sql = "select a.id, a.class, a.owner, a.currency, a.debits_posted, a.credits_posted, a.debits_pending,
            a.credits_pending, a.moved, a.last from accounts a where a.id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(&mut *connection).await? {
            let (id, account) = rows::account(row)?;
            books.accounts.load(id, account);
        }
    }
    if !missing.users.is_empty() {
        let ids: Vec<_> = missing.users.iter().map(|id| id.bytes()).collect();
        let sql = "select id, kind, created_at, access, verification from users where id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(&mut *connection).await? {
            let user = rows::user(row)?;
            books.users.load(user.id, user);
        }
    }
    if !missing.counters.is_empty() {
        load_counters(connection, &missing.counters, books).await?;
    }
    if !touched.signals.is_empty() {
        let subjects: Vec<_> = touched.signals.iter().map(|subject| subject.0.into_bytes()).collect();
        let sql = "select subject, ring from signals where subject = any($1)";
        for row in &sqlx::query(sql).bind(subjects).fetch_all(&mut *connection).await? {
            books.signals.load(SubjectKey(row.id(0)?), Ring::decode(&row.bytes(1)?));
        }
    }
    load_dealings(connection, touched, books).await?;
    holds::load(connection, touched, books).await?;
    load_partners(connection, touched, books).await
}

async fn load_counters(
    connection: &mut PgConnection,
    counters: &[CounterKey],
    books: &mut Books,
) -> Result<(), StoreError> {
    // `limit` keeps the keys in the outer loop: a plan made while few users had counters read all of them for each key.
    let sql = "select k.place, c.total
        from unnest($1::bytea[], $2::int2[], $3::int4[], $4::text[]) with ordinality
            as k (user_id, rule, period, currency, place)
        cross join lateral (select c.total from counters c
            where c.user_id = k.user_id and c.rule = k.rule and c.period = k.period and c.currency = k.currency limit 1) c";
    let found = sqlx::query(sql)
        .bind(counters.iter().map(|key| key.user.bytes()).collect::<Vec<_>>())
        .bind(counters.iter().map(CounterKey::rule).collect::<Vec<_>>())
        .bind(counters.iter().map(|key| key.period).collect::<Vec<_>>())
        .bind(counters.iter().map(|key| key.currency.code()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    for row in &found {
        let place = usize::try_from(row.long(0)? - 1).ok();
        let key = place.and_then(|place| counters.get(place));
        let key = key.ok_or_else(|| StoreError::damaged("a counter was found that nobody asked for"))?;
        books.counters.load(*key, row.long(1)?);
    }
    Ok(())
}

/// Merchants, payments and their references.
async fn load_dealings(connection: &mut PgConnection, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    if !touched.merchants.is_empty() {
        let ids: Vec<_> = touched.merchants.iter().map(|id| id.bytes()).collect();
        let sql = "select id, currencies, access from merchants where id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(&mut *connection).await? {
            let merchant = rows::merchant(row)?;
            books.merchants.load(merchant.id, merchant);
        }
    }
    if !touched.payments.is_empty() {
        let ids: Vec<_> = touched.payments.iter().map(|id| id.bytes()).collect();
        let sql = "select p.id, p.payer, p.merchant, p.amount, p.currency, p.state, p.parts, p.captured, p.refunded,
            p.disputed, p.expires_at, p.reference, p.decision, p.at from payments p where p.id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(&mut *connection).await? {
            let payment = rows::payment(row)?;
            books.payments.load(payment.id, payment);
        }
    }
    if !touched.merchant_references.is_empty() {
        let sql = "select k.merchant, k.reference, p.id
            from unnest($1::bytea[], $2::text[]) as k (merchant, reference)
            join payments p on p.merchant = k.merchant and p.reference = k.reference";
        let found = sqlx::query(sql)
            .bind(touched.merchant_references.iter().map(|key| key.0.bytes()).collect::<Vec<_>>())
            .bind(touched.merchant_references.iter().map(|key| key.1.as_str()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        for row in &found {
            let key = (koban_domain::ids::MerchantId(row.id(0)?), row.text(1)?);
            books.merchant_references.load(key, PaymentId(row.id(2)?));
        }
    }
    Ok(())
}

/// Everything between us and partners, and flows.
async fn load_partners(connection: &mut PgConnection, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    if !touched.references.is_empty() {
        // A reversal brings the credit that it names.
        let sql = "with found as (
                select p.* from unnest($1::bytea[], $2::int2[], $3::text[]) as k (plugin, side, reference)
                join partner_references p on p.plugin = k.plugin and p.side = k.side and p.reference = k.reference)
            select plugin, side, reference, state, amount, currency, flow, user_id, entry, reversed, reversed_listed,
                exposed, listed, released, reverses_reference, at from found
            union all
            select p.plugin, p.side, p.reference, p.state, p.amount, p.currency, p.flow, p.user_id, p.entry, p.reversed,
                p.reversed_listed, p.exposed, p.listed, p.released, p.reverses_reference, p.at
            from found f join partner_references p
                on p.plugin = f.plugin and p.side = 1 and p.reference = f.reverses_reference";
        let keys = ReferenceKeys::of(touched.references.iter());
        let found = sqlx::query(sql).bind(keys.plugins).bind(keys.sides).bind(keys.references);
        for row in &found.fetch_all(&mut *connection).await? {
            let (key, reference) = rows::reference(row)?;
            books.references.load(key, reference);
        }
    }
    if !touched.differences.is_empty() {
        let sql = "select d.plugin, d.side, d.reference, d.ours, d.theirs, d.currency, d.file, d.at, d.open
            from unnest($1::bytea[], $2::int2[], $3::text[]) as k (plugin, side, reference)
            join differences d on d.plugin = k.plugin and d.side = k.side and d.reference = k.reference";
        let keys = ReferenceKeys::of(touched.differences.iter());
        let found = sqlx::query(sql).bind(keys.plugins).bind(keys.sides).bind(keys.references);
        for row in &found.fetch_all(&mut *connection).await? {
            let (key, difference) = rows::difference(row)?;
            books.differences.load(key, difference);
        }
    }
    if !touched.exposures.is_empty() {
        let sql = "select e.plugin, e.currency, e.cap, e.used, e.loss_budget, e.lost
            from unnest($1::bytea[], $2::text[]) as k (plugin, currency)
            join exposures e on e.plugin = k.plugin and e.currency = k.currency";
        let found = sqlx::query(sql)
            .bind(touched.exposures.iter().map(|key| key.0.0.into_bytes()).collect::<Vec<_>>())
            .bind(touched.exposures.iter().map(|key| key.1.code()).collect::<Vec<_>>());
        for row in &found.fetch_all(&mut *connection).await? {
            let (key, exposure) = rows::exposure(row)?;
            books.exposures.load(key, exposure);
        }
    }
    if !touched.files.is_empty() {
        let sql = "select f.plugin, f.digest, f.id, f.matched, f.differences, f.at
            from unnest($1::bytea[], $2::bytea[]) as k (plugin, digest)
            join settlement_files f on f.plugin = k.plugin and f.digest = k.digest";
        let found = sqlx::query(sql)
            .bind(touched.files.iter().map(|key| key.0.0.into_bytes()).collect::<Vec<_>>())
            .bind(touched.files.iter().map(|key| key.1.0).collect::<Vec<_>>());
        for row in &found.fetch_all(&mut *connection).await? {
            let (key, file) = rows::file(row)?;
            books.files.load(key, file);
        }
    }
    if !touched.expectations.is_empty() {
        let sql = "select e.plugin, e.correlation, e.flow, e.key, e.at
            from unnest($1::bytea[], $2::text[]) as k (plugin, correlation)
            join expectations e on e.plugin = k.plugin and e.correlation = k.correlation";
        let found = sqlx::query(sql)
            .bind(touched.expectations.iter().map(|key| key.0.0.into_bytes()).collect::<Vec<_>>())
            .bind(touched.expectations.iter().map(|key| key.1.as_str()).collect::<Vec<_>>());
        for row in &found.fetch_all(&mut *connection).await? {
            let (key, expectation) = rows::expectation(row)?;
            books.expectations.load(key, expectation);
        }
    }
    if !touched.flows.is_empty() {
        let ids: Vec<_> = touched.flows.iter().map(|id| id.bytes()).collect();
        let sql = "select id, version from flows where id = any($1)";
        for row in &sqlx::query(sql).bind(ids).fetch_all(connection).await? {
            books.flows.load(FlowId(row.id(0)?), row.long(1)?);
        }
    }
    Ok(())
}

/// Reference keys as columns.
struct ReferenceKeys<'a> {
    plugins: Vec<[u8; 16]>,
    sides: Vec<i16>,
    references: Vec<&'a str>,
}

impl<'a> ReferenceKeys<'a> {
    fn of(keys: impl Iterator<Item = &'a ReferenceKey> + Clone) -> ReferenceKeys<'a> {
        ReferenceKeys {
            plugins: keys.clone().map(|key| key.plugin.0.into_bytes()).collect(),
            sides: keys.clone().map(|key| rows::side_code(key.side)).collect(),
            references: keys.map(|key| key.reference.as_str()).collect(),
        }
    }
}

/// Writes what every batch has with one statement, then each other kind that changed with one of its own.
pub(super) async fn write(
    connection: &mut PgConnection,
    commit: &Commit,
    steps: &Steps,
    pages: &Pages,
    next: (&LaneHead, Option<Mark>),
) -> Result<(), StoreError> {
    write_core(connection, commit, pages, next).await?;
    write_dealings(connection, commit).await?;
    holds::write(connection, commit).await?;
    write_partners(connection, commit).await?;
    write_steps(connection, steps).await
}

/// Entries, marks, balances, counters, operations, transfers, pages and the lane's head, all in one round trip: each part
/// is a statement of its own to the server, run to its end whether its rows are asked for or not.
const CORE: &str = "with
    new_entries as (
        insert into entries (sequence, id, kind, at, actor, subject, reverses, postings, records, meta, hash,
            previous)
        select * from unnest($1::int8[], $2::bytea[], $3::int2[], $4::int8[], $5::text[], $6::bytea[], $7::bytea[],
            $8::bytea[], $9::bytea[], $10::text[], $11::bytea[], $12::text[])),
    new_marks as (
        insert into account_marks (account, sequence) select * from unnest($13::bytea[], $14::int8[])),
    new_accounts as (
        insert into accounts (id, class, owner, currency, debits_posted, credits_posted, debits_pending, credits_pending,
            moved, last)
        select * from unnest($18::bytea[], $19::int2[], $20::bytea[], $21::text[], $22::int8[], $23::int8[], $24::int8[],
            $25::int8[], $15::int8[], $16::int8[])),
    moved_accounts as (
        update accounts a set debits_posted = u.debits_posted, credits_posted = u.credits_posted,
            debits_pending = u.debits_pending, credits_pending = u.credits_pending, moved = u.moved, last = u.last
        from unnest($26::bytea[], $27::int8[], $28::int8[], $29::int8[], $30::int8[], $17::int8[], $71::int8[])
            as u (id, debits_posted, credits_posted, debits_pending, credits_pending, moved, last)
        where a.id = u.id
        returning 1),
    new_operations as (
        insert into operations (key, fingerprint, outcome, at)
        select * from unnest($31::bytea[], $32::bytea[], $33::bytea[], $34::int8[])),
    counted as (
        insert into counters as c (user_id, rule, period, currency, total)
        select * from unnest($35::bytea[], $36::int2[], $37::int4[], $38::text[], $39::int8[])
        on conflict on constraint counters_pk do update set total = excluded.total),
    new_transfers as (
        insert into transfers (id, sender, receiver, amount, currency, message, decision, at, state)
        select * from unnest($40::bytea[], $41::bytea[], $42::bytea[], $43::int8[], $44::text[], $45::text[], $46::bytea[],
            $47::int8[], $70::int2[])),
    new_record_page as (
        insert into record_pages (sequence, first_id, last_id, count, page, hash, at, span, form, contents)
        select $48::int8, $49::bytea, $50::bytea, $51::int4, $52::bytea, $53::bytea, $54::int8, $66::int2, $72::int2, $73::bytea
        where $48::int8 is not null),
    new_news as (
        insert into outbox (sequence, count, page, at)
        select $55::int8, $56::int4, $57::bytea, $58::int8 where $55::int8 is not null),
    moved_head as (
        update lane_heads set sequence = $59, hash = $60, at = $61, record_sequence = $62, record_hash = $63,
            outbox_sequence = $64, commits = $65 where lane = 0),
    marked as (
        insert into lane_writers (writer, number, at)
        select $67::bytea, $68::int8, $69::int8 where $67::bytea is not null
        on conflict on constraint lane_writers_pk do update set number = excluded.number, at = excluded.at)
    select count(*) from moved_accounts";

async fn write_core(
    connection: &mut PgConnection,
    commit: &Commit,
    pages: &Pages,
    (next, mark): (&LaneHead, Option<Mark>),
) -> Result<(), StoreError> {
    let entries = &commit.entries;
    // Everything goes in by the order of its key: neighbours share pages of the index.
    let mut marks: Vec<_> = commit.marks.iter().collect();
    marks.sort_unstable();
    let mut accounts: Vec<_> = commit.books.accounts.changed().collect();
    accounts.sort_unstable_by_key(|row| row.key);
    let (moved, new): (Vec<_>, Vec<_>) = accounts.into_iter().partition(|row| row.stored);
    let mut operations: Vec<_> = commit.operations().collect();
    operations.sort_unstable_by_key(|(key, _)| *key);
    let mut counters: Vec<_> = commit.books.counters.changed().collect();
    counters.sort_unstable_by_key(|row| row.key);
    let new_transfers = commit.books.transfers.changed().filter(|row| !row.stored);
    let mut transfers: Vec<_> = new_transfers.map(|row| row.value).collect();
    transfers.sort_unstable_by_key(|transfer| transfer.id);
    let (records, news) = (pages.records.as_ref(), pages.news.as_ref());

    let query = sqlx::query(CORE)
        .bind(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.draft.id.bytes()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| i16::from(entry.draft.kind.code())).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.at.0).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.draft.actor.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.draft.subject).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.draft.reverses.map(|id| id.bytes())).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| rows::pack_postings(&entry.draft.postings)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| rows::pack_digests(&entry.draft.records)).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.draft.meta.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.hash.0).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| rows::pack_previous(&entry.draft.postings)).collect::<Vec<_>>())
        .bind(marks.iter().map(|(account, _)| account.0).collect::<Vec<_>>())
        .bind(marks.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.moved).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.last).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.value.moved).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.key.0).collect::<Vec<_>>())
        .bind(new.iter().map(|row| i16::from(row.value.key.class.code())).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.key.owner.into_bytes()).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.key.currency.code()).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.debits_posted).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.credits_posted).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.debits_pending).collect::<Vec<_>>())
        .bind(new.iter().map(|row| row.value.credits_pending).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.key.0).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.value.debits_posted).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.value.credits_posted).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.value.debits_pending).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.value.credits_pending).collect::<Vec<_>>())
        .bind(operations.iter().map(|(key, _)| key.0).collect::<Vec<_>>())
        .bind(operations.iter().map(|(_, operation)| operation.fingerprint.0).collect::<Vec<_>>())
        .bind(operations.iter().map(|(_, operation)| operation.encode_outcome()).collect::<Vec<_>>())
        .bind(operations.iter().map(|(_, operation)| operation.at.0).collect::<Vec<_>>())
        .bind(counters.iter().map(|row| row.key.user.bytes()).collect::<Vec<_>>())
        .bind(counters.iter().map(|row| row.key.rule()).collect::<Vec<_>>())
        .bind(counters.iter().map(|row| row.key.period).collect::<Vec<_>>())
        .bind(counters.iter().map(|row| row.key.currency.code()).collect::<Vec<_>>())
        .bind(counters.iter().map(|row| *row.value).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.id.bytes()).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.sender.bytes()).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.receiver.bytes()).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.amount.minor).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.amount.currency.code()).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.message.as_deref()).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.decision.map(|id| id.bytes())).collect::<Vec<_>>())
        .bind(transfers.iter().map(|transfer| transfer.at.0).collect::<Vec<_>>())
        .bind(records.map(|page| page.sequence))
        .bind(records.map(|page| page.first))
        .bind(records.map(|page| page.last))
        .bind(records.map(|page| page.count))
        .bind(records.map(|page| page.page.as_slice()))
        .bind(records.map(|page| page.hash.0))
        .bind(records.map(|page| page.at.0))
        .bind(news.map(|page| page.sequence))
        .bind(news.map(|page| page.count))
        .bind(news.map(|page| page.page.as_slice()))
        .bind(news.map(|page| page.at.0))
        .bind(next.head.sequence)
        .bind(next.head.hash.0)
        .bind(next.head.at.0)
        .bind(next.record_sequence)
        .bind(next.record_hash.0)
        .bind(next.outbox_sequence)
        .bind(next.commits)
        .bind(records.map(|page| page.span))
        .bind(mark.map(|mark| mark.writer.into_bytes()))
        .bind(mark.map(|mark| mark.number))
        .bind(commit.now.0)
        .bind(transfers.iter().map(|transfer| i16::from(transfer.state.code())).collect::<Vec<_>>())
        .bind(moved.iter().map(|row| row.value.last).collect::<Vec<_>>())
        .bind(records.map(|_| pages::RECORDS_FORM))
        .bind(records.map(|page| page.contents.as_slice()));
    let found = query.fetch_one(connection).await?.long(0)?;
    // Pair of the load: what was read under the head's lock must still be there.
    match usize::try_from(found) == Ok(moved.len()) {
        true => Ok(()),
        false => Err(StoreError::damaged("an account that was loaded is gone")),
    }
}

/// Users that were verified, payments, refunds, payees and signals.
async fn write_dealings(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let users: Vec<_> = books.users.changed().collect();
    if !users.is_empty() {
        let sql = "update users set kind = u.kind, access = u.access, verification = u.verification
            from unnest($1::bytea[], $2::int2[], $3::int2[], $4::int2[]) as u (id, kind, access, verification)
            where users.id = u.id";
        sqlx::query(sql)
            .bind(users.iter().map(|row| row.key.bytes()).collect::<Vec<_>>())
            .bind(users.iter().map(|row| rows::wallet_kind_code(row.value.kind)).collect::<Vec<_>>())
            .bind(users.iter().map(|row| row.value.access.code()).collect::<Vec<_>>())
            .bind(users.iter().map(|row| row.value.verification.code()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !commit.payees.is_empty() {
        let sql = "insert into payees (user_id, payee) select distinct * from unnest($1::bytea[], $2::bytea[])
            on conflict on constraint payees_pk do nothing";
        sqlx::query(sql)
            .bind(commit.payees.iter().map(|(user, _)| user.bytes()).collect::<Vec<_>>())
            .bind(commit.payees.iter().map(|(_, payee)| payee.into_bytes()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    exchanges::write_postgres(connection, commit).await?;
    let mut payments: Vec<_> = books.payments.changed().collect();
    payments.sort_unstable_by_key(|row| row.key);
    let (moved, new): (Vec<_>, Vec<_>) = payments.into_iter().partition(|row| row.stored);
    if !new.is_empty() {
        let sql =
            "insert into payments (id, payer, merchant, amount, currency, state, parts, captured, refunded, disputed,
                expires_at, reference, decision, at)
            select * from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[], $5::text[], $6::int2[], $7::bytea[],
                $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::text[], $13::bytea[], $14::int8[])";
        sqlx::query(sql)
            .bind(new.iter().map(|row| row.value.id.bytes()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.payer.bytes()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.merchant.bytes()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.amount.minor).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.amount.currency.code()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| i16::from(row.value.state.code())).collect::<Vec<_>>())
            .bind(new.iter().map(|row| rows::pack_parts(&row.value.parts)).collect::<Result<Vec<_>, _>>()?)
            .bind(new.iter().map(|row| row.value.captured).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.refunded).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.disputed).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.expires_at.map(|at| at.0)).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.reference.as_deref()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.decision.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.at.0).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !moved.is_empty() {
        let sql = "update payments p set amount = u.amount, state = u.state, parts = u.parts, captured = u.captured,
                refunded = u.refunded, disputed = u.disputed, expires_at = u.expires_at
            from unnest($1::bytea[], $2::int8[], $3::int2[], $4::bytea[], $5::int8[], $6::int8[], $7::int8[], $8::int8[])
                as u (id, amount, state, parts, captured, refunded, disputed, expires_at)
            where p.id = u.id";
        sqlx::query(sql)
            .bind(moved.iter().map(|row| row.value.id.bytes()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.amount.minor).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| i16::from(row.value.state.code())).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| rows::pack_parts(&row.value.parts)).collect::<Result<Vec<_>, _>>()?)
            .bind(moved.iter().map(|row| row.value.captured).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.refunded).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.disputed).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.expires_at.map(|at| at.0)).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let mut refunds: Vec<_> = books.refunds.changed().map(|row| row.value).collect();
    refunds.sort_unstable_by_key(|refund| refund.id);
    if !refunds.is_empty() {
        let sql = "insert into refunds (id, payment, merchant, payer, amount, currency, repaid, at, bonus, lapsed)
            select * from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::int8[], $6::text[], $7::int8[],
                $8::int8[], $9::int8[], $10::int8[])";
        sqlx::query(sql)
            .bind(refunds.iter().map(|refund| refund.id.bytes()).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.payment.bytes()).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.merchant.bytes()).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.payer.bytes()).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.amount.minor).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.amount.currency.code()).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.repaid).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.at.0).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.bonus).collect::<Vec<_>>())
            .bind(refunds.iter().map(|refund| refund.lapsed).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let mut signals: Vec<_> = books.signals.changed().collect();
    signals.sort_unstable_by_key(|row| row.key);
    if !signals.is_empty() {
        let sql = "insert into signals (subject, ring) select * from unnest($1::bytea[], $2::bytea[])
            on conflict on constraint signals_pk do update set ring = excluded.ring";
        sqlx::query(sql)
            .bind(signals.iter().map(|row| row.key.0.into_bytes()).collect::<Vec<_>>())
            .bind(signals.iter().map(|row| row.value.encode()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Partners' references, exposures, differences, settlement files and expectations.
async fn write_partners(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    let books = &commit.books;
    let mut references: Vec<_> = books.references.changed().collect();
    references.sort_unstable_by_key(|row| row.key);
    let (moved, new): (Vec<_>, Vec<_>) = references.into_iter().partition(|row| row.stored);
    if !new.is_empty() {
        let sql =
            "insert into partner_references (plugin, side, reference, state, amount, currency, flow, user_id, entry,
                reversed, reversed_listed, exposed, listed, released, reverses_reference, at)
            select * from unnest($1::bytea[], $2::int2[], $3::text[], $4::int2[], $5::int8[], $6::text[], $7::bytea[],
                $8::bytea[], $9::bytea[], $10::int8[], $11::int8[], $12::int8[], $13::int2[], $14::int2[], $15::text[],
                $16::int8[])";
        let keys = ReferenceKeys::of(new.iter().map(|row| row.key));
        sqlx::query(sql)
            .bind(keys.plugins)
            .bind(keys.sides)
            .bind(keys.references)
            .bind(new.iter().map(|row| row.value.state as i16).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.amount.minor).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.amount.currency.code()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.flow.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.user.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.entry.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.reversed).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.reversed_listed).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.exposed).collect::<Vec<_>>())
            .bind(new.iter().map(|row| i16::from(row.value.listed)).collect::<Vec<_>>())
            .bind(new.iter().map(|row| i16::from(row.value.released)).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.of.as_deref()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.value.at.0).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !moved.is_empty() {
        let sql = "update partner_references p set state = u.state, reversed = u.reversed,
                reversed_listed = u.reversed_listed, listed = u.listed, released = u.released, exposed = u.exposed
            from unnest($1::bytea[], $2::int2[], $3::text[], $4::int2[], $5::int8[], $6::int8[], $7::int2[], $8::int2[],
                $9::int8[]) as u (plugin, side, reference, state, reversed, reversed_listed, listed, released, exposed)
            where p.plugin = u.plugin and p.side = u.side and p.reference = u.reference";
        let keys = ReferenceKeys::of(moved.iter().map(|row| row.key));
        sqlx::query(sql)
            .bind(keys.plugins)
            .bind(keys.sides)
            .bind(keys.references)
            .bind(moved.iter().map(|row| row.value.state as i16).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.reversed).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.reversed_listed).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| i16::from(row.value.listed)).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| i16::from(row.value.released)).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.value.exposed).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let exposures: Vec<_> = books.exposures.changed().collect();
    if !exposures.is_empty() {
        // Caps and budgets are the operator's; a commit moves only what is used and lost.
        let sql = "update exposures e set used = u.used, lost = u.lost
            from unnest($1::bytea[], $2::text[], $3::int8[], $4::int8[]) as u (plugin, currency, used, lost)
            where e.plugin = u.plugin and e.currency = u.currency";
        sqlx::query(sql)
            .bind(exposures.iter().map(|row| row.key.0.0.into_bytes()).collect::<Vec<_>>())
            .bind(exposures.iter().map(|row| row.key.1.code()).collect::<Vec<_>>())
            .bind(exposures.iter().map(|row| row.value.used).collect::<Vec<_>>())
            .bind(exposures.iter().map(|row| row.value.lost).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let mut differences: Vec<_> = books.differences.changed().collect();
    differences.sort_unstable_by_key(|row| row.key);
    if !differences.is_empty() {
        let sql = "insert into differences (plugin, side, reference, ours, theirs, currency, file, at, open)
            select * from unnest($1::bytea[], $2::int2[], $3::text[], $4::int8[], $5::int8[], $6::text[], $7::bytea[],
                $8::int8[], $9::int2[])
            on conflict on constraint differences_pk do update set ours = excluded.ours, theirs = excluded.theirs,
                currency = excluded.currency, file = excluded.file, at = excluded.at, open = excluded.open";
        let keys = ReferenceKeys::of(differences.iter().map(|row| row.key));
        sqlx::query(sql)
            .bind(keys.plugins)
            .bind(keys.sides)
            .bind(keys.references)
            .bind(differences.iter().map(|row| row.value.ours).collect::<Vec<_>>())
            .bind(differences.iter().map(|row| row.value.theirs).collect::<Vec<_>>())
            .bind(differences.iter().map(|row| row.value.currency.code()).collect::<Vec<_>>())
            .bind(differences.iter().map(|row| row.value.file.bytes()).collect::<Vec<_>>())
            .bind(differences.iter().map(|row| row.value.at.0).collect::<Vec<_>>())
            .bind(differences.iter().map(|row| i16::from(row.value.open)).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let files: Vec<_> = books.files.changed().collect();
    if !files.is_empty() {
        let sql = "insert into settlement_files (plugin, digest, id, matched, differences, at)
            select * from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int4[], $5::int4[], $6::int8[])
            on conflict on constraint settlement_files_pk do update set matched = excluded.matched,
                differences = excluded.differences, at = excluded.at";
        let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        sqlx::query(sql)
            .bind(files.iter().map(|row| row.key.0.0.into_bytes()).collect::<Vec<_>>())
            .bind(files.iter().map(|row| row.key.1.0).collect::<Vec<_>>())
            .bind(files.iter().map(|row| row.value.id.bytes()).collect::<Vec<_>>())
            .bind(files.iter().map(|row| count(row.value.matched)).collect::<Vec<_>>())
            .bind(files.iter().map(|row| count(row.value.differences)).collect::<Vec<_>>())
            .bind(files.iter().map(|row| row.value.at.0).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let mut expectations: Vec<_> = books.expectations.changed().collect();
    expectations.sort_unstable_by_key(|row| row.key);
    if !expectations.is_empty() {
        let sql = "insert into expectations (plugin, correlation, flow, key, at)
            select * from unnest($1::bytea[], $2::text[], $3::bytea[], $4::text[], $5::int8[])";
        sqlx::query(sql)
            .bind(expectations.iter().map(|row| row.key.0.0.into_bytes()).collect::<Vec<_>>())
            .bind(expectations.iter().map(|row| row.key.1.as_str()).collect::<Vec<_>>())
            .bind(expectations.iter().map(|row| row.value.flow.map(|id| id.bytes())).collect::<Vec<_>>())
            .bind(expectations.iter().map(|row| row.value.key.as_str()).collect::<Vec<_>>())
            .bind(expectations.iter().map(|row| row.value.at.0).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Flows under their versions, consumed events, effects, new events and replies.
async fn write_steps(connection: &mut PgConnection, steps: &Steps) -> Result<(), StoreError> {
    let (moved, new): (Vec<_>, Vec<_>) = steps.flows.iter().partition(|row| row.expected.is_some());
    if !new.is_empty() {
        let sql =
            "insert into flows (id, plugin, user_id, digest, standing, stuck, version, opened_at, changed_at, final_at,
                body, beginning)
            select * from unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::int2[], $6::int2[], $7::int8[],
                $8::int8[], $9::int8[], $10::int8[], $11::bytea[], $12::int2[])";
        sqlx::query(sql)
            .bind(new.iter().map(|row| row.id.bytes()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.plugin.as_str()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.user).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.digest).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.standing).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.stuck).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.version).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.opened_at).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.changed_at).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.final_at).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.body.as_slice()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.beginning).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !moved.is_empty() {
        let sql = "update flows f set digest = u.digest, standing = u.standing, stuck = u.stuck, version = u.version,
                changed_at = u.changed_at, final_at = u.final_at, body = u.body
            from unnest($1::bytea[], $2::int8[], $3::bytea[], $4::int2[], $5::int2[], $6::int8[], $7::int8[], $8::int8[],
                $9::bytea[]) as u (id, expected, digest, standing, stuck, version, changed_at, final_at, body)
            where f.id = u.id and f.version = u.expected
            returning f.id";
        let updated = sqlx::query(sql)
            .bind(moved.iter().map(|row| row.id.bytes()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.expected).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.digest).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.standing).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.stuck).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.version).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.changed_at).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.final_at).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.body.as_slice()).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        let updated = updated.iter().map(|row| Ok(FlowId(row.id(0)?))).collect::<Result<HashSet<_>, StoreError>>()?;
        steps.check_updated(&updated)?;
    }
    if !steps.consumed.is_empty() {
        let sql = "update flow_inbox i set consumed = 1, number = u.number
            from unnest($1::int8[], $2::bytea[], $3::int4[]) as u (place, flow, number)
            where i.place = u.place and i.flow = u.flow and i.consumed = 0";
        let done = sqlx::query(sql)
            .bind(steps.consumed.iter().map(|(place, ..)| *place).collect::<Vec<_>>())
            .bind(steps.consumed.iter().map(|(_, flow, _)| flow.bytes()).collect::<Vec<_>>())
            .bind(steps.consumed.iter().map(|(.., number)| *number).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        steps.check_consumed(done.rows_affected())?;
    }
    if !steps.effects.is_empty() {
        let sql =
            "insert into flow_effects (flow, key, act, due_at, repeat, deadline, state, attempts, fence, queued_at)
            select u.flow, u.key, u.act, u.due_at, u.repeat, u.deadline, 0, 0, 0, $7
            from unnest($1::bytea[], $2::text[], $3::bytea[], $4::int8[], $5::int2[], $6::int8[])
                as u (flow, key, act, due_at, repeat, deadline)";
        sqlx::query(sql)
            .bind(steps.effects.iter().map(|row| row.flow.bytes()).collect::<Vec<_>>())
            .bind(steps.effects.iter().map(|row| row.key.as_str()).collect::<Vec<_>>())
            .bind(steps.effects.iter().map(|row| row.act.as_slice()).collect::<Vec<_>>())
            .bind(steps.effects.iter().map(|row| row.due_at).collect::<Vec<_>>())
            .bind(steps.effects.iter().map(|row| row.repeat).collect::<Vec<_>>())
            .bind(steps.effects.iter().map(|row| row.deadline).collect::<Vec<_>>())
            .bind(steps.now)
            .execute(&mut *connection)
            .await?;
    }
    if !steps.cancelled.is_empty() {
        // Some of them are shows and expectations, which have no row here.
        let sql = "update flow_effects e set state = 3
            from unnest($1::bytea[], $2::text[]) as u (flow, key)
            where e.flow = u.flow and e.key = u.key and e.state < 2";
        sqlx::query(sql)
            .bind(steps.cancelled.iter().map(|(flow, _)| flow.bytes()).collect::<Vec<_>>())
            .bind(steps.cancelled.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !steps.arrivals.is_empty() {
        let sql = "insert into flow_inbox (flow, key, what, call, at, consumed)
            select u.flow, u.key, u.what, u.call, u.at, 0
            from unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::int8[]) with ordinality
                as u (flow, key, what, call, at, place)
            order by u.place";
        sqlx::query(sql)
            .bind(steps.arrivals.iter().map(|row| row.flow.bytes()).collect::<Vec<_>>())
            .bind(steps.arrivals.iter().map(|row| row.key.as_str()).collect::<Vec<_>>())
            .bind(steps.arrivals.iter().map(|row| row.what.as_slice()).collect::<Vec<_>>())
            .bind(steps.arrivals.iter().map(|row| row.call).collect::<Vec<_>>())
            .bind(steps.arrivals.iter().map(|row| row.at).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !steps.replies.is_empty() {
        let sql = "update inbound_calls c set reply = u.reply from unnest($1::bytea[], $2::bytea[]) as u (key, reply)
            where c.key = u.key";
        sqlx::query(sql)
            .bind(steps.replies.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(steps.replies.iter().map(|(_, reply)| reply.as_slice()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}
