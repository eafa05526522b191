//! Who copies the database server that a host writes to, for `koban doctor` and its readers.

use crate::database::{Backend, Columns as _, Store};
use crate::error::StoreError;
pub use crate::servers::Identity;
use crate::servers::{Role, identity};

/// The servers of a PostgreSQL as they stand.
#[derive(Debug, Clone)]
pub struct Replication {
    /// The servers that the address names, `host:port`.
    pub servers: Vec<String>,
    /// The one that is written to.
    pub chosen: String,
    /// Who it is; none if it will not say.
    pub identity: Option<Identity>,
    /// The setting `synchronous_standby_names`: whom commits wait for. Empty: for nobody.
    pub waits_for: String,
    /// Who follows.
    pub standbys: Vec<Standby>,
}

/// Somebody who follows the server's log.
#[derive(Debug, Clone)]
pub struct Standby {
    /// The name by which it asked.
    pub name: String,
    /// `streaming` when it is up to date; empty if our role may not see it (it needs `pg_monitor`).
    pub state: String,
    /// `sync` or `quorum` if commits wait for it.
    pub sync: String,
}

impl Replication {
    /// How many of those that commits wait for are there.
    pub fn awaited(&self) -> usize {
        self.standbys.iter().filter(|standby| matches!(standby.sync.as_str(), "sync" | "quorum")).count()
    }
}

/// How the server is copied; none for SQLite.
pub async fn look(store: &Store) -> Result<Option<Replication>, StoreError> {
    const FOLLOWERS: &str = "select coalesce(application_name, ''), coalesce(state, ''), coalesce(sync_state, '')
        from pg_stat_replication where pid is not null order by application_name limit 100";
    let Backend::Postgres(backend) = &*store.backend else { return Ok(None) };
    let mut connection = backend.servers.connect(Role::Reader).await?;
    let (servers, place) = backend.servers.names();
    let waits_for =
        sqlx::query("select current_setting('synchronous_standby_names')").fetch_one(&mut connection).await?;
    let mut standbys = Vec::new();
    for row in &sqlx::query(FOLLOWERS).fetch_all(&mut connection).await? {
        standbys.push(Standby { name: row.text(0)?, state: row.text(1)?, sync: row.text(2)? });
    }
    Ok(Some(Replication {
        chosen: servers[place].clone(),
        servers,
        identity: identity(&mut connection).await?,
        waits_for: waits_for.text(0)?,
        standbys,
    }))
}
