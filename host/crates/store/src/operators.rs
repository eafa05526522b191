//! Operators of the platform as rows.

use koban_domain::ids::OperatorId;
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;

use crate::database::{Columns, Store, Tx, all, blob, on, on_tx, one};
use crate::error::StoreError;
use crate::ledger::pages::append_audit;
use crate::query::LAST_ID;
use crate::sessions::{self, SessionOwner};

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
    one!(store, SQL, [blob(id.bytes())], read)
}

/// The operator with this address, which is compared as it stands: the caller gives it in lower case.
pub async fn by_email(store: &Store, email: &str) -> Result<Option<OperatorRow>, StoreError> {
    const SQL: &str = "select * from operators where email = $1";
    one!(store, SQL, [email], read)
}

/// Operators, newest first, before this one.
pub async fn list(store: &Store, before: Option<OperatorId>, limit: u16) -> Result<Vec<OperatorRow>, StoreError> {
    const SQL: &str = "select * from operators where id < $1 order by id desc limit $2";
    all!(store, SQL, [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], read)
}

/// What came of removing an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The operator and every session of theirs are gone.
    Gone,
    /// There is no such operator.
    Unknown,
    /// It is the only one: nothing was changed.
    Last,
}

/// Removes an operator and ends their sessions, with who did it in the audit log. Of two who are the last and remove each
/// other at once, one stays.
pub async fn remove(store: &Store, id: OperatorId, audit: &Audit, now: Timestamp) -> Result<Removed, StoreError> {
    let mut tx = store.begin().await?;
    if let Tx::Postgres(transaction) = &mut tx {
        // Counting must see what others remove; on SQLite there is one writer anyway.
        sqlx::query("lock table operators in share row exclusive mode").execute(&mut **transaction).await?;
    }
    let (known, all) = on_tx!(&mut tx, connection => {
        let sql = "select coalesce(sum(case when id = $1 then 1 else 0 end), 0), count(*) from operators";
        let row = sqlx::query(sql).bind(blob(id.bytes())).fetch_one(connection).await?;
        (row.long(0)?, row.long(1)?)
    });
    match (known, all) {
        (0, _) => return Ok(Removed::Unknown),
        (_, 1) => return Ok(Removed::Last),
        _ => {}
    }
    on_tx!(&mut tx, connection => {
        sqlx::query("delete from operators where id = $1").bind(blob(id.bytes())).execute(connection).await?;
    });
    sessions::end(&mut tx, SessionOwner::Operator(id), None).await?;
    append_audit(&mut tx, &[(audit.clone(), now)]).await?;
    tx.commit().await?;
    Ok(Removed::Gone)
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
