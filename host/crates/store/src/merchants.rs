//! Merchants as rows.

use koban_domain::access::Access;
use koban_domain::ids::MerchantId;
use koban_domain::ledger::Audit;
use koban_domain::money::Currency;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, all, blob, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;
use crate::ledger::rows::{access, currencies};
use crate::query::LAST_ID;

/// A merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantRow {
    /// Who.
    pub id: MerchantId,
    /// What payers see.
    pub name: String,
    /// ISO 18245 category code.
    pub category: String,
    /// In which currencies it is paid.
    pub currencies: Vec<Currency>,
    /// Open or frozen; the ledger alone changes it.
    pub access: Access,
    /// Since when.
    pub created_at: Timestamp,
}

/// Writes a new merchant, with who made it in the audit log.
pub async fn create(store: &Store, merchant: &MerchantRow, audit: &Audit) -> Result<(), StoreError> {
    const SQL: &str = "insert into merchants (id, name, category, currencies, created_at) values ($1, $2, $3, $4, $5)";
    let currencies: Vec<&str> = merchant.currencies.iter().map(Currency::code).collect();
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(blob(merchant.id.bytes()))
            .bind(merchant.name.as_str())
            .bind(merchant.category.as_str())
            .bind(currencies.join(","))
            .bind(merchant.created_at.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &[(audit.clone(), merchant.created_at)]).await?;
    tx.commit().await
}

/// The merchant with this id.
pub async fn by_id(store: &Store, id: MerchantId) -> Result<Option<MerchantRow>, StoreError> {
    const SQL: &str = "select id, name, category, currencies, created_at, access from merchants where id = $1";
    one!(store, SQL, [blob(id.bytes())], read)
}

/// Merchants, newest first, before this one.
pub async fn list(store: &Store, before: Option<MerchantId>, limit: u16) -> Result<Vec<MerchantRow>, StoreError> {
    const SQL: &str = "select id, name, category, currencies, created_at, access from merchants
        where id < $1 order by id desc limit $2";
    all!(store, SQL, [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<MerchantRow, StoreError> {
    Ok(MerchantRow {
        id: MerchantId(row.id("id")?),
        name: row.text("name")?,
        category: row.text("category")?,
        currencies: currencies(&row.text("currencies")?)?,
        access: access(row.small("access")?)?,
        created_at: row.time("created_at")?,
    })
}
