//! Numbered migrations: what a database has, what this program needs, and the way from the one to the other.

mod ninth;
mod second;

use std::fmt;

use sqlx::migrate::{Migrate as _, MigrateError, Migration, MigrationType};
use sqlx::{Connection as _, SqlSafeStr as _};

use crate::database::{Backend, Columns as _, Store, Tx, on, on_tx};
use crate::error::StoreError;

/// One migration in both dialects. A shipped one never changes; the next one follows it.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! step {
    ($version:literal, $name:literal, $file:literal) => {
        Step {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../migrations/postgres/", $file)),
        }
    };
}

const STEPS: &[Step] = &[
    step!(1, "start", "0001_start.sql"),
    step!(2, "dealings", "0002_dealings.sql"),
    step!(3, "bonus", "0003_bonus.sql"),
    step!(4, "disputes", "0004_disputes.sql"),
    step!(5, "operating", "0005_operating.sql"),
    step!(9, "histories", "0009_histories.sql"),
    step!(10, "operations", "0010_operations.sql"),
    step!(11, "quotes", "0011_quotes.sql"),
    step!(12, "subscriptions", "0012_subscriptions.sql"),
    step!(13, "outgoing", "0013_outgoing.sql"),
    step!(16, "releases", "0016_releases.sql"),
    step!(17, "records", "0017_records.sql"),
    step!(18, "effects", "0018_effects.sql"),
    step!(19, "links", "0019_links.sql"),
    step!(20, "files", "0020_files.sql"),
    step!(21, "withdraw_limit", "0021_withdraw_limit.sql"),
];

/// The table in which migrations that ran are noted.
const NOTED: &str = "_sqlx_migrations";

/// How a database's tables stand to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// There are no tables of Koban.
    Empty,
    /// They are of this program's version.
    Current(i64),
    /// They were made by an older program.
    Older {
        /// Their version.
        found: i64,
        /// This program's.
        needed: i64,
    },
    /// They were made by a newer program.
    Newer {
        /// Their version.
        found: i64,
        /// This program's.
        known: i64,
    },
    /// A migration of this number ran with another text: the database belongs to another line of versions.
    Foreign {
        /// The migration's number.
        version: i64,
    },
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schema::Empty => f.write_str("the database has no tables of Koban yet; `koban migrate` makes them"),
            Schema::Current(version) => write!(f, "the database's tables have version {version}, as this koban needs"),
            Schema::Older { found, needed } => write!(
                f,
                "the database's tables have version {found}, this koban needs {needed}; make a backup with the koban that \
                 you used until now, then run `koban migrate`"
            ),
            Schema::Newer { found, known } => write!(
                f,
                "the database's tables have version {found}, this koban knows only {known}; use the newer koban that made \
                 them, or restore a backup from before"
            ),
            Schema::Foreign { version } => write!(
                f,
                "migration {version} ran on this database with another text than this koban has; the database belongs to \
                 another line of versions, use the koban that made it"
            ),
        }
    }
}

/// The version of the tables that this program makes and needs.
pub fn schema_version() -> i64 {
    STEPS.last().map_or(0, |step| step.version)
}

impl Store {
    /// How the tables stand to this program. Changes nothing.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        let is_there = self.either(
            "select count(*) from sqlite_master where type = 'table' and name = '_sqlx_migrations'",
            "select count(to_regclass('_sqlx_migrations'))",
        );
        let is_there = on!(self, pool => sqlx::query(is_there).fetch_one(pool).await?.long(0)?) > 0;
        if !is_there {
            return Ok(Schema::Empty);
        }
        let sql = "select version, checksum from _sqlx_migrations order by version";
        let applied = on!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?;
            rows.iter().map(|row| Ok((row.long(0)?, row.bytes(1)?))).collect::<Result<Vec<_>, StoreError>>()?
        });
        let known: Vec<(i64, Vec<u8>)> =
            self.steps().iter().map(|step| (step.version, step.checksum.to_vec())).collect();
        Ok(standing(&applied, &known))
    }

    /// Errors: [`StoreError::Setup`] with what to do unless the tables are those that this program needs.
    pub async fn require_current(&self) -> Result<(), StoreError> {
        match self.schema().await? {
            Schema::Current(_) => Ok(()),
            other => Err(StoreError::Setup(other.to_string())),
        }
    }

    /// Makes the tables of an empty database; leaves any other as it is. Errors: [`StoreError::Setup`] with what to do if its
    /// tables are not those that this program needs.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        if self.schema().await? == Schema::Empty {
            self.migrate().await?;
        }
        self.require_current().await
    }

    /// Brings the tables up to this version of Koban; does nothing if they are. Each migration is one transaction: one that is
    /// interrupted leaves nothing behind. Errors: [`StoreError::Setup`] if the tables are newer or of another line.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if let other @ (Schema::Newer { .. } | Schema::Foreign { .. }) = self.schema().await? {
            return Err(StoreError::Setup(other.to_string()));
        }
        match &*self.backend {
            Backend::Sqlite(backend) => {
                let mut connection = backend.writer.acquire().await?;
                connection.ensure_migrations_table(NOTED).await.map_err(refused)?;
                for (step, noted) in STEPS.iter().zip(self.steps()) {
                    run(step, &noted, Tx::Sqlite(connection.begin_with("begin immediate").await?)).await?;
                }
            }
            Backend::Postgres(backend) => {
                let mut connection = backend.pool().acquire().await?;
                // The lock keeps other hosts from migrating meanwhile; it goes with the connection, whatever happens.
                connection.close_on_drop();
                connection.lock().await.map_err(refused)?;
                connection.ensure_migrations_table(NOTED).await.map_err(refused)?;
                for (step, noted) in STEPS.iter().zip(self.steps()) {
                    let mut transaction = connection.begin().await?;
                    // Old tables may be large.
                    let unhurried =
                        "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0";
                    sqlx::raw_sql(unhurried).execute(&mut *transaction).await?;
                    run(step, &noted, Tx::Postgres(transaction)).await?;
                }
            }
        }
        Ok(())
    }

    fn steps(&self) -> Vec<Migration> {
        let step = |step: &Step| {
            let sql = self.either(step.sqlite, step.postgres).into_sql_str();
            Migration::new(step.version, step.name.into(), MigrationType::Simple, sql, false)
        };
        STEPS.iter().map(step).collect()
    }
}

/// Runs a migration unless it ran before: its SQL, what SQL cannot say, and the note that it ran, in one transaction.
async fn run(step: &Step, noted: &Migration, mut tx: Tx<'_>) -> Result<(), StoreError> {
    const RAN: &str = "select count(*) from _sqlx_migrations where version = $1";
    let ran = on_tx!(&mut tx, connection => {
        sqlx::query(RAN).bind(step.version).fetch_one(connection).await?.long(0)?
    });
    if ran > 0 {
        return Ok(());
    }
    let sql = tx.either(step.sqlite, step.postgres);
    on_tx!(&mut tx, connection => sqlx::raw_sql(sql).execute(connection).await.map(drop))?;
    match step.version {
        2 => second::fill(&mut tx).await?,
        9 => ninth::fill(&mut tx).await?,
        _ => {}
    }
    on_tx!(&mut tx, connection => connection.skip(NOTED, noted).await).map_err(refused)?;
    tx.commit().await
}

fn refused(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        other => StoreError::Setup(format!("the database's tables do not fit this version of Koban: {other}")),
    }
}

/// Compares what ran with what is known, both in order of version with their checksums.
fn standing(applied: &[(i64, Vec<u8>)], known: &[(i64, Vec<u8>)]) -> Schema {
    let Some((found, _)) = applied.last() else { return Schema::Empty };
    let needed = known.last().map_or(0, |(version, _)| *version);
    if *found > needed {
        return Schema::Newer { found: *found, known: needed };
    }
    for (version, checksum) in applied {
        if !known.iter().any(|(known, text)| known == version && text == checksum) {
            return Schema::Foreign { version: *version };
        }
    }
    if applied.len() < known.len() { Schema::Older { found: *found, needed } } else { Schema::Current(needed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(texts: &[(i64, &str)]) -> Vec<(i64, Vec<u8>)> {
        texts.iter().map(|(version, text)| (*version, text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_database_is_empty_older_current_newer_or_of_another_line() {
        let known = steps(&[(1, "a"), (2, "b")]);
        for (applied, expected) in [
            (steps(&[]), Schema::Empty),
            (steps(&[(1, "a")]), Schema::Older { found: 1, needed: 2 }),
            (known.clone(), Schema::Current(2)),
            (steps(&[(1, "a"), (2, "b"), (3, "c")]), Schema::Newer { found: 3, known: 2 }),
            (steps(&[(1, "other")]), Schema::Foreign { version: 1 }),
            (steps(&[(1, "a"), (2, "other")]), Schema::Foreign { version: 2 }),
        ] {
            assert_eq!(standing(&applied, &known), expected);
        }
    }

    #[test]
    fn migrations_are_numbered_upwards() {
        assert_eq!(STEPS[0].version, 1);
        assert!(STEPS.is_sorted_by(|one, next| one.version < next.version));
    }

    #[test]
    fn what_a_database_is_says_what_to_do() {
        for (schema, next) in [
            (Schema::Empty, "koban migrate"),
            (Schema::Older { found: 1, needed: 2 }, "koban migrate"),
            (Schema::Newer { found: 3, known: 2 }, "restore a backup"),
            (Schema::Foreign { version: 1 }, "the koban that made it"),
        ] {
            assert!(schema.to_string().contains(next), "{schema}");
        }
    }
}
