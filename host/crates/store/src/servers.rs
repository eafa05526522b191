//! The servers of one PostgreSQL: a primary and those that may take its place, and which of them a host writes to.
//!
//! An address may name several servers. The host visits all of them and takes the primary with the highest timeline; each promotion
//! of a standby begins a new one (PostgreSQL manual, "Timelines"). What it has seen it remembers, also in a file if it was given
//! one, so that an old primary that comes back takes no more writes from it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::database::Columns as _;
use crate::error::StoreError;

/// The server frees the locks of a host that stopped inside a transaction after this; below the time others wait for a lock.
const IDLE_IN_TRANSACTION_MS: u64 = 4_000;
const LOCK_MS: u64 = 5_000;
const STATEMENT_MS: u64 = 5_000;
/// Queries outside the ledger may look at more rows.
const QUERY_MS: u64 = 30_000;
/// How long a request waits for a connection before it is told to come back.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(3);
/// More servers than this are a mistake.
const SERVERS_MAX: usize = 8;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Commits.
    Ledger,
    /// What every request reads.
    Reader,
}

/// Which server of which database somebody is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The database's own number, the same on all copies of it.
    pub system: i64,
    /// How often a standby was promoted, and one.
    pub timeline: i64,
    /// Whether it takes writes.
    pub is_primary: bool,
}

#[derive(Debug)]
pub(crate) struct Servers {
    all: Vec<Server>,
    /// Whether only a primary will do. With one server that is not asked: a standby may be read, for a backup, say.
    must_write: bool,
    connections_max: u32,
    chosen: RwLock<Chosen>,
    /// Held while all servers are visited.
    choosing: tokio::sync::Mutex<()>,
    fence: Arc<Fence>,
}

#[derive(Debug, Clone)]
struct Server {
    /// `host:port`, for people.
    name: String,
    options: PgConnectOptions,
}

#[derive(Debug)]
struct Chosen {
    place: usize,
    pool: PgPool,
    /// Grows with every visit to all servers.
    visits: u64,
}

impl Servers {
    /// Finds the server to write to. Errors: [`StoreError::Setup`] for an address that cannot be read, [`StoreError::NoPrimary`] if
    /// none of several will do.
    pub(crate) async fn open(url: &str, connections_max: u32, fence: Option<PathBuf>) -> Result<Servers, StoreError> {
        let (all, must_write) = read(url)?;
        let fence = Arc::new(Fence::open(fence)?);
        let pool = pool(&all[0], connections_max, must_write, &fence);
        let chosen = RwLock::new(Chosen { place: 0, pool, visits: 0 });
        let servers =
            Servers { all, must_write, connections_max, chosen, choosing: tokio::sync::Mutex::new(()), fence };
        servers.choose(0).await?;
        Ok(servers)
    }

    /// Connections for queries, to the server that was chosen last.
    pub(crate) fn pool(&self) -> PgPool {
        self.chosen.read().unwrap_or_else(PoisonError::into_inner).pool.clone()
    }

    /// A connection of one's own.
    pub(crate) async fn connect(&self, role: Role) -> Result<PgConnection, StoreError> {
        let (place, visits) = self.at();
        // Whoever commits comes here after something went wrong: perhaps another server is the primary now.
        if role == Role::Reader || self.all.len() == 1 {
            match self.enter(place, role).await {
                Err(_) if self.all.len() > 1 => {}
                entered => return entered,
            }
        }
        self.choose(visits).await?;
        self.enter(self.at().0, role).await
    }

    /// Visits all servers and goes over to the primary, if it is another one now; unless somebody has done so since `seen`.
    pub(crate) async fn choose(&self, seen: u64) -> Result<(), StoreError> {
        let _one = self.choosing.lock().await;
        if self.at().1 != seen {
            return Ok(());
        }
        let mut visits = JoinSet::new();
        for (place, server) in self.all.iter().enumerate() {
            let (server, asks) = (server.clone(), self.asks());
            visits.spawn(async move { (place, visit(&server, asks).await) });
        }
        let mut seen = Vec::with_capacity(self.all.len());
        for (place, visited) in visits.join_all().await {
            match visited {
                // One server and nothing to compare it with: its own words say best why it cannot be reached.
                Err(error) if self.all.len() == 1 => return Err(unreached(&self.all[place], error)),
                visited => seen.push((place, visited)),
            }
        }
        seen.sort_by_key(|(place, _)| *place);
        let place = self.best(&seen)?;
        let mut chosen = self.chosen.write().unwrap_or_else(PoisonError::into_inner);
        chosen.visits += 1;
        if chosen.place != place {
            tracing::warn!(from = %self.all[chosen.place].name, to = %self.all[place].name, "another server is the primary now; this host goes over to it");
            let new = pool(&self.all[place], self.connections_max, self.must_write, &self.fence);
            let old = std::mem::replace(&mut chosen.pool, new);
            chosen.place = place;
            // Its connections lead to a server that takes no more writes.
            tokio::spawn(async move { old.close().await });
        }
        Ok(())
    }

    /// As [`Servers::choose`], for who was refused by the server that is chosen now.
    pub(crate) async fn choose_again(&self) -> Result<(), StoreError> {
        if self.all.len() == 1 {
            return Ok(());
        }
        self.choose(self.at().1).await
    }

    /// The servers by name, and which of them is chosen.
    pub(crate) fn names(&self) -> (Vec<String>, usize) {
        (self.all.iter().map(|server| server.name.clone()).collect(), self.at().0)
    }

    fn at(&self) -> (usize, u64) {
        let chosen = self.chosen.read().unwrap_or_else(PoisonError::into_inner);
        (chosen.place, chosen.visits)
    }

    /// Whether servers are asked who they are.
    fn asks(&self) -> bool {
        self.must_write || self.fence.path.is_some()
    }

    async fn enter(&self, place: usize, role: Role) -> Result<PgConnection, StoreError> {
        let server = &self.all[place];
        let mut connection = enter(&dressed(&server.options, role)).await?;
        if self.asks()
            && let Some(identity) = identity(&mut connection).await?
        {
            self.fence.admit(&server.name, identity, self.must_write)?;
        }
        Ok(connection)
    }

    /// The primary with the highest timeline of what was seen, which no longer may go back.
    fn best(&self, seen: &[(usize, Result<Option<Identity>, StoreError>)]) -> Result<usize, StoreError> {
        let mut best: Option<(usize, i64)> = None;
        let mut whys = Vec::new();
        let mut system = None;
        for (place, visited) in seen {
            let name = &self.all[*place].name;
            let identity = match visited {
                Ok(Some(identity)) => identity,
                // It does not say who it is: the operator's word is taken for it.
                Ok(None) => {
                    best = best.or(Some((*place, 0)));
                    continue;
                }
                Err(error) => {
                    whys.push(format!("{name}: {}", with_cause(error)));
                    continue;
                }
            };
            let first = *system.get_or_insert(identity.system);
            if first != identity.system {
                let text = format!(
                    "the servers are not copies of one database: {name} is {}, another is {first}",
                    identity.system
                );
                return Err(StoreError::NoPrimary(text));
            }
            match self.fence.admit(name, *identity, self.must_write) {
                Ok(()) if best.is_none_or(|(_, timeline)| identity.timeline > timeline) => {
                    best = Some((*place, identity.timeline));
                }
                Ok(()) => whys.push(format!("{name}: an old primary, at timeline {}", identity.timeline)),
                Err(error) => whys.push(error.to_string()),
            }
        }
        match best {
            Some((place, _)) => Ok(place),
            None => Err(StoreError::NoPrimary(whys.join("; "))),
        }
    }
}

/// What hosts of this folder have seen, so that none goes back to a server that was replaced.
#[derive(Debug)]
struct Fence {
    path: Option<PathBuf>,
    /// The highest timeline of each database.
    known: Mutex<BTreeMap<i64, i64>>,
}

impl Fence {
    fn open(path: Option<PathBuf>) -> Result<Fence, StoreError> {
        let mut known = BTreeMap::new();
        if let Some(path) = &path {
            let text = match std::fs::read_to_string(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                read => {
                    read.map_err(|error| StoreError::Setup(format!("{} cannot be read: {error}", path.display())))?
                }
            };
            for line in text.lines() {
                let pair = line
                    .split_once(' ')
                    .and_then(|(system, timeline)| Some((system.parse().ok()?, timeline.parse().ok()?)));
                let Some((system, timeline)) = pair else {
                    let text = format!(
                        "{} cannot be read at `{line}`: a database's number and a timeline belong there; if it was damaged, take it away once you know which server is the primary",
                        path.display()
                    );
                    return Err(StoreError::Setup(text));
                };
                known.insert(system, timeline);
            }
        }
        Ok(Fence { path, known: Mutex::new(known) })
    }

    /// Whether this server may be used. Errors: [`StoreError::NoPrimary`] for one that was replaced, and for a standby where only a
    /// primary will do.
    fn admit(&self, name: &str, identity: Identity, must_write: bool) -> Result<(), StoreError> {
        let Identity { system, timeline, is_primary } = identity;
        if !is_primary {
            if must_write {
                return Err(StoreError::NoPrimary(format!("{name}: a standby")));
            }
            return Ok(());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = known.get(&system).copied().unwrap_or(0);
        if timeline < highest {
            return Err(StoreError::NoPrimary(format!(
                "{name}: an old primary, at timeline {timeline}, while this host has written to timeline {highest}; it was replaced: \
                 make it a standby of the new primary"
            )));
        }
        if timeline > highest {
            known.insert(system, timeline);
            if let Some(path) = &self.path
                && let Err(error) = keep(path, &known)
            {
                tracing::warn!(%error, path = %path.display(), "which server is the primary cannot be noted; until it is, a restart forgets it");
            }
        }
        Ok(())
    }
}

/// Writes the file whole or not at all.
fn keep(path: &Path, known: &BTreeMap<i64, i64>) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = std::fs::File::create(&draft)?;
    for (system, timeline) in known {
        writeln!(file, "{system} {timeline}")?;
    }
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

/// `postgres://user:password@one:5432,two:5433/name?target_session_attrs=read-write`, as libpq takes it (PostgreSQL manual,
/// "Connection Strings"): one address for each server, and whether only a primary will do.
fn read(url: &str) -> Result<(Vec<Server>, bool), StoreError> {
    let unreadable = |why: String| StoreError::Setup(format!("the database's address cannot be read: {why}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| unreadable("it lacks `://`".to_owned()))?;
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (hosts, name) = place.split_once('/').map_or((place, None), |(hosts, name)| (hosts, Some(name)));
    let (login, hosts) = hosts.rsplit_once('@').map_or((None, hosts), |(login, hosts)| (Some(login), hosts));
    let mut wish = None;
    let mut kept = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("target_session_attrs", value)) => wish = Some(value),
            Some(("host" | "port", value)) if value.contains(',') || value.contains("%2C") => {
                return Err(unreadable(
                    "several servers are named before the `/`, as in `postgres://one,two/koban`".to_owned(),
                ));
            }
            _ => kept.push(pair),
        }
    }
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > SERVERS_MAX || (hosts.len() > 1 && hosts.iter().any(|host| host.is_empty())) {
        return Err(unreadable(format!(
            "it names {} servers; one to {SERVERS_MAX} are taken, none of them empty",
            hosts.len()
        )));
    }
    let must_write = match wish {
        None | Some("any") => hosts.len() > 1,
        Some("read-write" | "primary") => true,
        Some(other) => {
            return Err(unreadable(format!(
                "target_session_attrs={other}: a host writes, so it is `read-write` or left out"
            )));
        }
    };
    let mut all = Vec::with_capacity(hosts.len());
    for host in hosts {
        let mut own = format!("{scheme}://");
        if let Some(login) = login {
            own.push_str(login);
            own.push('@');
        }
        own.push_str(host);
        if let Some(name) = name {
            own.push('/');
            own.push_str(name);
        }
        if !kept.is_empty() {
            own.push('?');
            own.push_str(&kept.join("&"));
        }
        let options = PgConnectOptions::from_str(&own).map_err(|error| unreadable(error.to_string()))?;
        let name = if host.is_empty() { "the server".to_owned() } else { host.to_owned() };
        all.push(Server { name, options: durable(options) });
    }
    Ok((all, must_write))
}

/// A host that is gone or stopped must not keep locks: the server ends its transactions and notices a dead line.
fn durable(given: PgConnectOptions) -> PgConnectOptions {
    given.options([
        ("synchronous_commit", "on".to_owned()),
        ("lock_timeout", LOCK_MS.to_string()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS.to_string()),
        ("tcp_user_timeout", IDLE_IN_TRANSACTION_MS.to_string()),
        ("tcp_keepalives_idle", "2".to_owned()),
        ("tcp_keepalives_interval", "1".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("jit", "off".to_owned()),
    ])
}

/// Plans made while a table is empty would scan it for ever (ledger-notes: three times slower); the ledger's and the readers'
/// statements all go through an index, so the other ways are taken away on their own connections.
fn dressed(options: &PgConnectOptions, role: Role) -> PgConnectOptions {
    let options = options.clone().options([
        ("statement_timeout", STATEMENT_MS.to_string()),
        ("enable_seqscan", "off".to_owned()),
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("plan_cache_mode", "force_generic_plan".to_owned()),
    ]);
    options.application_name(match role {
        Role::Ledger => "koban-ledger",
        Role::Reader => "koban-reader",
    })
}

fn pool(server: &Server, connections_max: u32, must_write: bool, fence: &Arc<Fence>) -> PgPool {
    let options =
        server.options.clone().application_name("koban").options([("statement_timeout", QUERY_MS.to_string())]);
    let (name, fence) = (server.name.clone(), Arc::clone(fence));
    let mut pool = PgPoolOptions::new().max_connections(connections_max.max(1)).acquire_timeout(ACQUIRE);
    if must_write {
        // A primary may have become a standby, or an old one come back, behind the same address.
        pool = pool.after_connect(move |connection, _| {
            let (name, fence) = (name.clone(), Arc::clone(&fence));
            Box::pin(async move {
                let refused = |error: StoreError| sqlx::Error::Configuration(error.to_string().into());
                match identity(connection).await.map_err(refused)? {
                    Some(identity) => fence.admit(&name, identity, true).map_err(refused),
                    None => Ok(()),
                }
            })
        });
    }
    pool.connect_lazy_with(options)
}

/// Why the one server that there is was not reached, with its place and without a password.
fn unreached(server: &Server, error: StoreError) -> StoreError {
    let options = &server.options;
    let place = match options.get_socket() {
        Some(socket) => format!("{} port {}", socket.display(), options.get_port()),
        None => format!("{} port {}", options.get_host(), options.get_port()),
    };
    match error {
        StoreError::Retry(source) if source.as_database_error().is_none() => StoreError::Unreachable { place, source },
        StoreError::Fatal(sqlx::Error::Database(said)) => StoreError::Setup(format!(
            "PostgreSQL at {place} does not let `{}` into `{}`: {}",
            options.get_username(),
            options.get_database().unwrap_or(options.get_username()),
            said.message()
        )),
        error => error,
    }
}

async fn enter(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    within(CONNECT, "the server does not let us in", async { Ok(options.connect().await?) }).await
}

async fn visit(server: &Server, asks: bool) -> Result<Option<Identity>, StoreError> {
    use sqlx::Connection as _;
    let mut connection = enter(&server.options).await?;
    let identity = if asks { identity(&mut connection).await? } else { None };
    let _ = connection.close().await;
    Ok(identity)
}

/// The timeline of a primary is in the name of the file it writes; that of a standby is the last checkpoint's.
const IDENTITY: &str = "select system_identifier, not pg_is_in_recovery(), case when pg_is_in_recovery()
        then (select timeline_id::int8 from pg_control_checkpoint())
        else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8 end
    from pg_control_system()";

/// Who the server is; none if it will not say.
pub(crate) async fn identity(connection: &mut PgConnection) -> Result<Option<Identity>, StoreError> {
    let ask = async { sqlx::query(IDENTITY).persistent(false).fetch_one(connection).await };
    let row = match tokio::time::timeout(CONNECT, ask).await {
        Ok(Ok(row)) => row,
        // insufficient_privilege, undefined_function: a service that hides it from its customers.
        Ok(Err(sqlx::Error::Database(said))) if matches!(said.code().as_deref(), Some("42501" | "42883")) => {
            return Ok(None);
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(late("the server does not say who it is")),
    };
    use sqlx::Row as _;
    Ok(Some(Identity { system: row.long(0)?, is_primary: row.try_get(1)?, timeline: row.long(2)? }))
}

/// What comes of it, or [`StoreError::Retry`] after so long: a server whose machine is gone never says a word.
pub(crate) async fn within<T>(
    longest: Duration,
    otherwise: &'static str,
    what: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(longest, what).await.unwrap_or_else(|_| Err(late(otherwise)))
}

fn late(why: &'static str) -> StoreError {
    StoreError::from(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
}

fn with_cause(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str) -> (Vec<String>, bool) {
        let (servers, must_write) = read(url).unwrap();
        (servers.into_iter().map(|server| server.name).collect(), must_write)
    }

    #[test]
    fn one_server_is_taken_as_it_is_and_several_must_include_a_primary() {
        let one = |name: &str, must_write| (vec![name.to_owned()], must_write);
        assert_eq!(named("postgres://koban:s3:c,r@t@db/koban"), one("db", false));
        assert_eq!(named("postgres:///koban?host=/run/postgresql"), one("the server", false));
        assert_eq!(
            named("postgres://db:5433/koban?target_session_attrs=read-write&sslmode=disable"),
            one("db:5433", true)
        );
        let two = (vec!["one:5432".to_owned(), "[::1]:5433".to_owned()], true);
        assert_eq!(named("postgres://koban:secret@one:5432,[::1]:5433/koban?sslmode=disable"), two);
        let (servers, _) = read("postgres://koban@one,two:6000/books").unwrap();
        let at = |server: &Server| {
            (server.options.get_host().to_owned(), server.options.get_port(), server.options.get_username().to_owned())
        };
        assert_eq!(at(&servers[0]), ("one".to_owned(), 5_432, "koban".to_owned()));
        assert_eq!(at(&servers[1]), ("two".to_owned(), 6_000, "koban".to_owned()));
        assert_eq!(servers[1].options.get_database(), Some("books"));
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused() {
        for (url, word) in [
            ("postgres://one,/koban", "none of them empty"),
            ("postgres://one,two/koban?target_session_attrs=standby", "read-write"),
            ("postgres:///koban?host=one,two", "before the `/`"),
            ("postgres://1,2,3,4,5,6,7,8,9/koban", "one to 8"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
    }

    fn primary(system: i64, timeline: i64) -> Identity {
        Identity { system, timeline, is_primary: true }
    }

    #[test]
    fn a_server_that_was_replaced_is_not_used_again_not_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers");
        let fence = Fence::open(Some(path.clone())).unwrap();
        fence.admit("one", primary(7, 1), true).unwrap();
        fence.admit("two", primary(7, 2), true).unwrap();
        for fence in [fence, Fence::open(Some(path.clone())).unwrap()] {
            let error = fence.admit("one", primary(7, 1), true).unwrap_err();
            assert!(error.to_string().contains("one: an old primary, at timeline 1"), "{error}");
            fence.admit("two", primary(7, 2), true).unwrap();
            fence.admit("elsewhere", primary(8, 1), true).unwrap();
        }
        std::fs::write(&path, "7 two").unwrap();
        assert!(Fence::open(Some(path)).unwrap_err().to_string().contains("`7 two`"));
    }

    #[test]
    fn a_standby_will_do_for_reading_only() {
        let fence = Fence::open(None).unwrap();
        let standby = Identity { is_primary: false, ..primary(7, 1) };
        assert!(fence.admit("two", standby, false).is_ok());
        assert!(fence.admit("two", standby, true).unwrap_err().to_string().contains("two: a standby"));
    }
}
