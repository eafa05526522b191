//! Campaigns and lots of bonus of one commit, on either database. Most commits touch none.

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::bonus::{Campaign, Lot};
use koban_domain::books::Books;
use koban_domain::gifts::Bound;
use koban_domain::ids::{CampaignId, LotId, UserId};
use koban_domain::ledger::Commit;
use koban_domain::money::Money;
use koban_domain::payments::Source;
use koban_domain::time::Timestamp;
use koban_domain::touched::Touched;
use sqlx::{PgConnection, SqliteConnection};

use crate::database::{Columns, Tx, blob, on_tx};
use crate::error::StoreError;
use crate::ledger::json::JsonRows;
use crate::query::key_list;

/// Reads the campaigns that are touched, what is left in the wallets that are touched, and the lots that are named or that the
/// payments and the flows' holds at hand were taken from. A wallet whose bonus account is empty has nothing left: nothing is asked for it.
pub(super) async fn load(tx: &mut Tx<'_>, touched: &Touched, books: &mut Books) -> Result<(), StoreError> {
    if let Some(keys) = key_list(touched.campaigns.iter().map(CampaignId::bytes)) {
        let sql = tx.either(
            "select * from campaigns where id in (select unhex(value ->> 0) from json_each($1))",
            "select * from campaigns
                where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
        );
        on_tx!(tx, connection => {
            for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
                let campaign = campaign(row)?;
                books.campaigns.load(campaign.id, campaign);
            }
        });
    }
    let mut wallets = JsonRows::with_capacity(64);
    for (user, currency) in &touched.purses {
        if books.account(AccountKey::user(Class::Bonus, *user, *currency)).balance() > 0 {
            wallets.row().bytes(&user.bytes()).text(currency.code());
        }
    }
    if let Some(keys) = wallets.finish() {
        // The keys stay in the outer loop, whatever a plan believes of a table that was empty when it was made.
        let sql = tx.either(
            "select l.* from json_each($1) k cross join bonus_lots l
                on l.user_id = unhex(k.value ->> 0) and l.currency = k.value ->> 1 and l.remaining > 0",
            "select l.* from json_array_elements($1::json) k cross join lateral (select * from bonus_lots l
                where l.user_id = decode(k.value ->> 0, 'hex') and l.currency = k.value ->> 1 and l.remaining > 0
                offset 0) l",
        );
        load_lots(tx, (sql, keys), books).await?;
    }
    let parts = books.payments.iter().flat_map(|(_, payment)| &payment.parts);
    let parts = parts.chain(books.held.iter().flat_map(|(_, held)| &held.parts));
    let paid = parts.filter_map(|part| match part.source {
        Source::Bonus(lot) => Some(lot),
        Source::Prepaid | Source::Funds => None,
    });
    let named: Vec<LotId> = paid.chain(touched.lots.iter().copied()).filter(|lot| !books.lots.contains(lot)).collect();
    if let Some(keys) = key_list(named.iter().map(LotId::bytes)) {
        let sql = tx.either(
            "select * from bonus_lots where id in (select unhex(value ->> 0) from json_each($1))",
            "select * from bonus_lots
                where id = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
        );
        load_lots(tx, (sql, keys), books).await?;
    }
    Ok(())
}

async fn load_lots(tx: &mut Tx<'_>, (sql, keys): (&'static str, String), books: &mut Books) -> Result<(), StoreError> {
    on_tx!(tx, connection => {
        for row in &sqlx::query(sql).bind(keys).fetch_all(connection).await? {
            books.load_lot(lot(row)?);
        }
    });
    Ok(())
}

/// A campaign's row.
pub(crate) fn campaign(row: &impl Columns) -> Result<Campaign, StoreError> {
    Ok(Campaign {
        id: CampaignId(row.id("id")?),
        name: row.text("name")?,
        budget: Money::new(row.long("budget")?, row.currency("currency")?),
        granted: row.long("granted")?,
        open: row.flag("open")?,
        ends_at: row.maybe_long("ends_at")?.map(Timestamp),
        at: row.time("at")?,
        per_user: row.maybe_long("per_user")?,
        bound: match (row.maybe_text("bound_plugin")?, row.maybe_text("bound_budget")?, row.maybe_long("bound_days")?) {
            (Some(plugin), Some(budget), Some(days)) => {
                Some(Bound { plugin, budget, lasts_days: u16::try_from(days).unwrap_or(u16::MAX) })
            }
            _ => None,
        },
    })
}

/// A lot's row.
pub(crate) fn lot(row: &impl Columns) -> Result<Lot, StoreError> {
    Ok(Lot {
        id: LotId(row.id("id")?),
        user: UserId(row.id("user_id")?),
        campaign: CampaignId(row.id("campaign")?),
        amount: Money::new(row.long("amount")?, row.currency("currency")?),
        left: row.long("remaining")?,
        held: row.long("held")?,
        usable_from: row.time("usable_from")?,
        expires_at: row.time("expires_at")?,
        ended_at: row.maybe_long("ended_at")?.map(Timestamp),
        at: row.time("at")?,
    })
}

/// Writes what changed: each campaign by itself, all lots together.
pub(super) async fn write(tx: &mut Tx<'_>, commit: &Commit) -> Result<(), StoreError> {
    const CAMPAIGN: &str = "insert into campaigns (id, name, budget, currency, granted, open, ends_at, at, per_user, bound_plugin,
            bound_budget, bound_days)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        on conflict (id) do update set name = excluded.name, budget = excluded.budget, granted = excluded.granted,
            open = excluded.open, ends_at = excluded.ends_at, per_user = excluded.per_user,
            bound_plugin = excluded.bound_plugin, bound_budget = excluded.bound_budget, bound_days = excluded.bound_days";
    let mut campaigns: Vec<&Campaign> = commit.books.campaigns.changed().map(|row| row.value).collect();
    campaigns.sort_unstable_by_key(|campaign| campaign.id);
    for campaign in campaigns {
        on_tx!(tx, connection => {
            sqlx::query(CAMPAIGN)
                .bind(blob(campaign.id.bytes()))
                .bind(campaign.name.as_str())
                .bind(campaign.budget.minor)
                .bind(campaign.budget.currency.code())
                .bind(campaign.granted)
                .bind(i16::from(campaign.open))
                .bind(campaign.ends_at.map(|at| at.0))
                .bind(campaign.at.0)
                .bind(campaign.per_user)
                .bind(campaign.bound.as_ref().map(|bound| bound.plugin.as_str()))
                .bind(campaign.bound.as_ref().map(|bound| bound.budget.as_str()))
                .bind(campaign.bound.as_ref().map(|bound| i64::from(bound.lasts_days)))
                .execute(connection)
                .await?;
        });
    }
    let mut lots: Vec<&Lot> = commit.books.lots.changed().map(|row| row.value).collect();
    if lots.is_empty() {
        return Ok(());
    }
    lots.sort_unstable_by_key(|lot| lot.id);
    match tx {
        Tx::Sqlite(transaction) => write_sqlite(transaction, &lots).await,
        Tx::Postgres(transaction) => write_postgres(transaction, &lots).await,
    }
}

async fn write_sqlite(connection: &mut SqliteConnection, lots: &[&Lot]) -> Result<(), StoreError> {
    const SQL: &str = "insert into bonus_lots
            (id, user_id, campaign, amount, currency, remaining, held, usable_from, expires_at, ended_at, at)
        select unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10 from json_each($1) where true
        on conflict (id) do update set remaining = excluded.remaining, held = excluded.held,
            usable_from = excluded.usable_from, ended_at = excluded.ended_at";
    let mut json = JsonRows::with_capacity(lots.len() * 220);
    for lot in lots {
        json.row().bytes(&lot.id.bytes()).bytes(&lot.user.bytes()).bytes(&lot.campaign.bytes());
        json.int(lot.amount.minor).text(lot.amount.currency.code()).int(lot.left).int(lot.held);
        json.int(lot.usable_from.0).int(lot.expires_at.0).maybe_int(lot.ended_at.map(|at| at.0)).int(lot.at.0);
    }
    crate::ledger::sqlite::run(connection, SQL, json).await.map(drop)
}

async fn write_postgres(connection: &mut PgConnection, lots: &[&Lot]) -> Result<(), StoreError> {
    const SQL: &str = "insert into bonus_lots
            (id, user_id, campaign, amount, currency, remaining, held, usable_from, expires_at, ended_at, at)
        select * from unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[], $5::text[], $6::int8[], $7::int8[], $8::int8[],
            $9::int8[], $10::int8[], $11::int8[])
        on conflict (id) do update set remaining = excluded.remaining, held = excluded.held,
            usable_from = excluded.usable_from, ended_at = excluded.ended_at";
    sqlx::query(SQL)
        .bind(lots.iter().map(|lot| lot.id.bytes()).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.user.bytes()).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.campaign.bytes()).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.amount.minor).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.amount.currency.code()).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.left).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.held).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.usable_from.0).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.expires_at.0).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.ended_at.map(|at| at.0)).collect::<Vec<_>>())
        .bind(lots.iter().map(|lot| lot.at.0).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
