//! Operators of the platform as rows.

use koban_domain::ids::OperatorId;
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, blob, on, on_tx};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;

/// An operator with what signing in needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRow {
    /// Who.
    pub id: OperatorId,
    /// What colleagues see.
    pub name: String,
    /// Unique; in lower case.
    pub email: String,
    /// The password's argon2 hash in PHC form.
    pub password_hash: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// Writes a new operator, with who made it in the audit log. Errors: [`StoreError::Conflict`] with `operators_email` if somebody
/// has the address.
pub async fn create(store: &Store, operator: &OperatorRow, audit: &Audit) -> Result<(), StoreError> {
    const SQL: &str = "insert into operators (id, name, email, password_hash, created_at) values ($1, $2, $3, $4, $5)";
    let mut tx = store.begin().await?;
    on_tx!(&mut tx, connection => {
        sqlx::query(SQL)
            .bind(blob(operator.id.bytes()))
            .bind(operator.name.as_str())
            .bind(operator.email.as_str())
            .bind(operator.password_hash.as_str())
            .bind(operator.created_at.0)
            .execute(connection)
            .await?;
    });
    append_audit(&mut tx, &[(audit.clone(), operator.created_at)]).await?;
    tx.commit().await
}

/// The operator with this id.
pub async fn by_id(store: &Store, id: OperatorId) -> Result<Option<OperatorRow>, StoreError> {
    const SQL: &str = "select * from operators where id = $1";
    on!(store, pool => sqlx::query(SQL)
        .bind(blob(id.bytes()))
        .fetch_optional(pool)
        .await?
        .map(|row| read(&row))
        .transpose())
}

/// The operator with this address, which is compared as it stands: the caller gives it in lower case.
pub async fn by_email(store: &Store, email: &str) -> Result<Option<OperatorRow>, StoreError> {
    const SQL: &str = "select * from operators where email = $1";
    on!(store, pool => sqlx::query(SQL).bind(email).fetch_optional(pool).await?.map(|row| read(&row)).transpose())
}

/// How many operators there are.
pub async fn count(store: &Store) -> Result<i64, StoreError> {
    on!(store, pool => sqlx::query("select count(*) from operators").fetch_one(pool).await?.long(0))
}

fn read(row: &impl Columns) -> Result<OperatorRow, StoreError> {
    Ok(OperatorRow {
        id: OperatorId(row.id("id")?),
        name: row.text("name")?,
        email: row.text("email")?,
        password_hash: row.text("password_hash")?,
        created_at: row.time("created_at")?,
    })
}
