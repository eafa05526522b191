//! What users submitted to be verified, as sealed rows. They are written by commits alone.

use koban_domain::ids::{SubmissionId, UserId};
use koban_domain::verification::Submission;

use crate::database::{Columns as _, Store, blob, on};
use crate::error::StoreError;

/// The newest submission of a user.
pub async fn newest(store: &Store, user: UserId) -> Result<Option<Submission>, StoreError> {
    const SQL: &str =
        "select id, user_id, key_id, sealed, at from submissions where user_id = $1 order by id desc limit 1";
    on!(store, pool => sqlx::query(SQL).bind(blob(user.bytes())).fetch_optional(pool).await?.map(|row| {
        Ok(Submission {
            id: SubmissionId(row.id(0)?),
            user: UserId(row.id(1)?),
            key_id: row.text(2)?,
            sealed: row.bytes(3)?,
            at: row.time(4)?,
        })
    }).transpose())
}
