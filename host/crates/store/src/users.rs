//! Wallet users as rows: who they are and how they sign in. Their kind is changed by the ledger alone.

use koban_domain::access::Access;
use koban_domain::ids::UserId;
use koban_domain::limits::WalletKind;
use koban_domain::time::Timestamp;
use koban_domain::verification::Verification;

use crate::database::{Columns, Store, all, blob, on_write, one};
use crate::error::StoreError;
use crate::ledger::rows::{access, verification, wallet_kind, wallet_kind_code};
use crate::query::LAST_ID;

/// A user with what signing in needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Who.
    pub id: UserId,
    /// Verified or not.
    pub kind: WalletKind,
    /// Open, frozen or closed.
    pub access: Access,
    /// Where the verification stands.
    pub verification: Verification,
    /// When they signed up.
    pub created_at: Timestamp,
    /// What others see.
    pub display_name: String,
    /// Unique; in lower case. A user without one cannot sign in with a password.
    pub email: Option<String>,
    /// The password's argon2 hash in PHC form.
    pub password_hash: Option<String>,
    /// `ja` or `en`.
    pub locale: String,
}

/// Writes a new user. Errors: [`StoreError::Conflict`] with `users_email` if somebody has the address.
pub async fn create(store: &Store, user: &UserRow) -> Result<(), StoreError> {
    const SQL: &str =
        "insert into users (id, kind, created_at, display_name, email, password_hash, locale, access, verification)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    on_write!(store, pool => sqlx::query(SQL)
        .bind(blob(user.id.bytes()))
        .bind(wallet_kind_code(user.kind))
        .bind(user.created_at.0)
        .bind(user.display_name.as_str())
        .bind(user.email.as_deref())
        .bind(user.password_hash.as_deref())
        .bind(user.locale.as_str())
        .bind(user.access.code())
        .bind(user.verification.code())
        .execute(pool)
        .await
        .map(drop))?;
    Ok(())
}

/// The user with this id.
pub async fn by_id(store: &Store, id: UserId) -> Result<Option<UserRow>, StoreError> {
    const SQL: &str = "select id, kind, created_at, access, verification, display_name, email, password_hash, locale from users where id = $1";
    one!(store, SQL, [blob(id.bytes())], read)
}

/// The user with this address, which is compared as it stands: the caller gives it in lower case.
pub async fn by_email(store: &Store, email: &str) -> Result<Option<UserRow>, StoreError> {
    const SQL: &str = "select id, kind, created_at, access, verification, display_name, email, password_hash, locale from users where email = $1";
    one!(store, SQL, [email], read)
}

/// Users, newest first, before this one.
pub async fn list(store: &Store, before: Option<UserId>, limit: u16) -> Result<Vec<UserRow>, StoreError> {
    const SQL: &str =
        "select id, kind, created_at, access, verification, display_name, email, password_hash, locale from users
        where id < $1 order by id desc limit $2";
    all!(store, SQL, [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], read)
}

fn read(row: &impl Columns) -> Result<UserRow, StoreError> {
    Ok(UserRow {
        id: UserId(row.id("id")?),
        kind: wallet_kind(row.small("kind")?)?,
        access: access(row.small("access")?)?,
        verification: verification(row.small("verification")?)?,
        created_at: row.time("created_at")?,
        display_name: row.text("display_name")?,
        email: row.maybe_text("email")?,
        password_hash: row.maybe_text("password_hash")?,
        locale: row.text("locale")?,
    })
}
