//! What can go wrong between the house and its database, sorted by what the caller can do about it.

/// A failure of the store. `Display` says this layer only; the driver's words are the source.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was committed: a lock was not to be had in time, the server chose another transaction, or the connection was
    /// lost before the commit. Doing the same again can help.
    #[error("the database could not do it just now; nothing was committed, try again")]
    Retry(#[source] sqlx::Error),
    /// No server answers where the address says. Nothing was done.
    #[error("no PostgreSQL answers at {place}")]
    Unreachable {
        /// Host or socket, and port; never a password.
        place: String,
        /// The driver's words.
        #[source]
        source: sqlx::Error,
    },
    /// The connection was lost during the commit. Only reading again tells whether it happened.
    #[error("the connection was lost during a commit; read again to learn whether it happened")]
    Unknown(#[source] sqlx::Error),
    /// No server takes writes; the text says why each of them does not. One may be promoted meanwhile.
    #[error("no server takes writes: {0}")]
    NoPrimary(String),
    /// A row would break this constraint; nothing was committed.
    #[error("a row would break the constraint `{constraint}`")]
    Conflict {
        /// Its name in the migrations.
        constraint: String,
        /// The driver's words.
        #[source]
        source: sqlx::Error,
    },
    /// A row does not say what this version of Koban can read. Nothing was changed; `koban ledger verify` looks further.
    #[error("the database holds something that cannot be read: {0}")]
    Damaged(String),
    /// A step was made for a version of a flow that is no longer the stored one; nothing was committed.
    #[error("the flow {0} has moved on")]
    FlowMoved(koban_domain::ids::FlowId),
    /// The store's address or a migration is wrong; the text says what to do.
    #[error("{0}")]
    Setup(String),
    /// The disk of the database is full; nothing was committed. Reading goes on, and writing as soon as there is room.
    #[error("the disk of the database is full; nothing was committed, make room")]
    Full(#[source] sqlx::Error),
    /// The disk of the database takes no writes: it is mounted read-only, or it fails. Nothing was committed.
    #[error(
        "the disk of the database takes no writes; nothing was committed, look at the disk and at how it is mounted"
    )]
    Unwritable(#[source] sqlx::Error),
    /// The disk did not say that what was written is kept. Nobody knows what it holds: whoever writes must end, and read again
    /// from the start.
    #[error("the disk of the database failed to sync; what it holds is known only after a restart")]
    SyncFailed(#[source] sqlx::Error),
    /// Anything else that trying again will not heal.
    #[error("the database refused a statement")]
    Fatal(#[source] sqlx::Error),
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Do it again.
    Retry,
    /// Read again before anything else.
    Unknown,
    /// A row stands in the way.
    Conflict,
    /// Stop and look.
    Damaged,
    /// Say so, and do it again once there is room.
    Full,
    /// Say so, and do it again once the disk can be written.
    Unwritable,
    /// End, and start anew.
    SyncFailed,
    /// Give up.
    Fatal,
}

impl StoreError {
    /// What a caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            StoreError::Retry(_) | StoreError::NoPrimary(_) | StoreError::Unreachable { .. } => StoreErrorKind::Retry,
            StoreError::Unknown(_) => StoreErrorKind::Unknown,
            StoreError::Conflict { .. } | StoreError::FlowMoved(_) => StoreErrorKind::Conflict,
            StoreError::Damaged(_) => StoreErrorKind::Damaged,
            StoreError::Full(_) => StoreErrorKind::Full,
            StoreError::Unwritable(_) => StoreErrorKind::Unwritable,
            StoreError::SyncFailed(_) => StoreErrorKind::SyncFailed,
            StoreError::Setup(_) | StoreError::Fatal(_) => StoreErrorKind::Fatal,
        }
    }

    /// The constraint that a row would have broken, if it was that.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            StoreError::Conflict { constraint, .. } => Some(constraint),
            _ => None,
        }
    }

    /// An error of the commit statement itself: unless the database itself said that it did not commit, nobody knows.
    pub(crate) fn at_commit(error: sqlx::Error) -> StoreError {
        match &error {
            sqlx::Error::Database(said) => {
                // Class 57 are shutdowns; they may interrupt a server that has written the commit and not yet told us.
                if said.code().is_some_and(|code| code.starts_with("57")) {
                    return StoreError::Unknown(error);
                }
                StoreError::from(error)
            }
            _ => StoreError::Unknown(error),
        }
    }

    /// Nobody said in time whether a commit is kept.
    pub(crate) fn unheard_at_commit() -> StoreError {
        let why = "the database server did not say in time whether it has committed; is its standby there?";
        StoreError::Unknown(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
    }

    /// A value in a row that cannot be what it should.
    pub(crate) fn damaged(what: impl Into<String>) -> StoreError {
        StoreError::Damaged(what.into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match &error {
            sqlx::Error::Database(said) => match Said::of(said.as_ref()) {
                Said::Retry => StoreError::Retry(error),
                Said::Conflict(constraint) => StoreError::Conflict { constraint, source: error },
                Said::Damaged => StoreError::Damaged(error.to_string()),
                Said::Full => StoreError::Full(error),
                Said::Unwritable => StoreError::Unwritable(error),
                Said::SyncFailed => StoreError::SyncFailed(error),
                Said::Other => StoreError::Fatal(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => StoreError::Retry(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged(error.to_string()),
            _ => StoreError::Fatal(error),
        }
    }
}

/// What a database's own error means.
enum Said {
    Retry,
    Conflict(String),
    Damaged,
    Full,
    Unwritable,
    SyncFailed,
    Other,
}

impl Said {
    fn of(error: &dyn sqlx::error::DatabaseError) -> Said {
        let code = error.code().unwrap_or_default();
        // Five characters are an SQLSTATE (PostgreSQL, appendix A of its manual), digits alone an SQLite result code.
        if code.len() == 5 {
            // A table's file on a disk that is mounted read-only: the server has the code of a missing right for it, but says it from
            // where it writes pages.
            let place = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.file());
            if code == "42501" && place == Some("md.c") {
                return Said::Unwritable;
            }
            return Said::of_sqlstate(&code, || error.constraint().unwrap_or("not named").to_owned());
        }
        code.parse().map_or(Said::Other, |code| Said::of_sqlite(code, error.message()))
    }

    fn of_sqlstate(code: &str, constraint: impl FnOnce() -> String) -> Said {
        match code {
            // serialization_failure, deadlock_detected, lock_not_available, query_canceled (our own timeouts),
            // idle_in_transaction_session_timeout, too_many_connections, shutdowns; a server that became a standby meanwhile.
            "40001" | "40P01" | "55P03" | "57014" | "25P03" | "53300" | "57P01" | "57P02" | "57P03" | "25006" => {
                Said::Retry
            }
            "53100" => Said::Full,
            // io_error
            "58030" => Said::Unwritable,
            code if code.starts_with("08") => Said::Retry,
            code if code.starts_with("23") => Said::Conflict(constraint()),
            code if code.starts_with("XX") => Said::Damaged,
            _ => Said::Other,
        }
    }

    /// The low byte of an SQLite code is its class (<https://sqlite.org/rescode.html>).
    fn of_sqlite(code: u32, message: &str) -> Said {
        match (code, code & 0xff) {
            // SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC
            (1_034 | 1_290, _) => Said::SyncFailed,
            // busy, locked
            (_, 5 | 6) => Said::Retry,
            (_, 13) => Said::Full,
            // read-only, I/O error, cannot open
            (_, 8 | 10 | 14) => Said::Unwritable,
            // corrupt, not a database
            (_, 11 | 26) => Said::Damaged,
            (_, 19) => Said::Conflict(constraint_named(message)),
            _ => Said::Other,
        }
    }
}

/// SQLite names a broken constraint by its columns; the house names it as the migrations do.
fn constraint_named(message: &str) -> String {
    let columns = message.rsplit("constraint failed: ").next().unwrap_or(message);
    let table = columns.split('.').next().unwrap_or(columns);
    match columns {
        "users.email" => "users_email".to_owned(),
        "operators.email" => "operators_email".to_owned(),
        "payments.merchant, payments.reference" => "payments_merchant_reference".to_owned(),
        "file_contents.id" => "file_contents_id".to_owned(),
        "sessions.id" => "sessions_id".to_owned(),
        "api_keys.id" => "api_keys_id".to_owned(),
        "audit.id" => "audit_id".to_owned(),
        "plugins.key" => "plugins_key".to_owned(),
        // Every other unique constraint of the migrations is a primary key.
        _ => format!("{table}_pk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(said: Said) -> &'static str {
        match said {
            Said::Retry => "retry",
            Said::Conflict(_) => "conflict",
            Said::Damaged => "damaged",
            Said::Full => "full",
            Said::Unwritable => "unwritable",
            Said::SyncFailed => "sync failed",
            Said::Other => "other",
        }
    }

    #[test]
    fn what_the_databases_say_of_their_disks_is_told_apart() {
        for (code, expected) in [
            (13, "full"),
            (8, "unwritable"),
            (1_032, "unwritable"),
            (778, "unwritable"),
            (14, "unwritable"),
            (1_034, "sync failed"),
            (1_290, "sync failed"),
            (5, "retry"),
            (261, "retry"),
            (11, "damaged"),
            (1_555, "conflict"),
            (1, "other"),
        ] {
            assert_eq!(word(Said::of_sqlite(code, "")), expected, "SQLite {code}");
        }
        for (code, expected) in [
            ("53100", "full"),
            ("58030", "unwritable"),
            ("25006", "retry"),
            ("57P01", "retry"),
            ("08006", "retry"),
            ("23505", "conflict"),
            ("XX001", "damaged"),
            ("42601", "other"),
        ] {
            assert_eq!(word(Said::of_sqlstate(code, String::new)), expected, "PostgreSQL {code}");
        }
    }
}
