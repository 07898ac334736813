//! The pool and its connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::r2d2::R2D2Connection;
use diesel::{PgConnection, RunQueryDsl, SqliteConnection, sql_query, sql_types};

use crate::checkins::KnownDoors;
use crate::guard::{self, Bounds};
use crate::{Actor, StoreError};

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    /// Postgres.
    Postgres(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// Postgres.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl DatabaseKind {
    /// The word for it: `postgres` or `sqlite`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Where the database is, and how many connections may be open to it.
#[derive(Clone)]
pub struct StoreConfig {
    /// `postgres://…`, `postgresql://…` or `sqlite://PATH`.
    pub url: String,
    /// The most connections open at once.
    pub pool_size: u32,
}

/// How the connections of a pool are used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Somebody works with them.
    pub used: u32,
    /// Open, and free.
    pub idle: u32,
    /// The most that may be open.
    pub size: u32,
}

/// The store: a pool of connections. Clones share it.
#[derive(Clone)]
pub struct Store {
    pool: r2d2::Pool<Manager>,
    manager: Manager,
    backend: DatabaseKind,
    /// For all writers of check-ins.
    pub(crate) known_doors: Arc<Mutex<KnownDoors>>,
    /// On whose behalf it changes something.
    pub(crate) actor: Option<Arc<Actor>>,
}

/// How long a caller waits for a connection before the database counts as away.
const POOL_PATIENCE: Duration = Duration::from_secs(3);

/// How long a connection that was idle may take to show that it still leads to the database.
const STILL_THERE: Duration = Duration::from_secs(3);

pub(crate) type Pooled = r2d2::PooledConnection<Manager>;

impl Store {
    /// Takes the address and makes the pool. Connections are opened as they are needed, so this does not
    /// fail when the database is away; a wrong address fails.
    pub fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        Ok(Self::over(Manager::for_url(&config.url)?, config.pool_size))
    }

    /// The same store over a pool of its own: for a part that must not wait while others use all connections.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::over(self.manager.clone(), 2)
    }

    /// The same for a part that others judge by how regularly it works (heartbeats, leases): it waits for the database only briefly.
    #[must_use]
    pub fn apart_with_short_waits(&self) -> Self {
        Self::over(Manager { bounds: Bounds::HEARTBEAT, ..self.manager.clone() }, 2)
    }

    fn over(manager: Manager, pool_size: u32) -> Self {
        let backend = manager.backend;
        let pool = r2d2::Pool::builder()
            .max_size(pool_size.max(2))
            .min_idle(Some(0))
            .connection_timeout(POOL_PATIENCE)
            .error_handler(Box::new(QuietErrors))
            .build_unchecked(manager.clone());
        Self { pool, manager, backend, known_doors: Arc::default(), actor: None }
    }

    /// How long a statement on a connection of the pool may take.
    pub(crate) fn bound(&self) -> Duration {
        self.manager.bounds.here
    }

    /// Which database this is.
    pub fn backend(&self) -> DatabaseKind {
        self.backend
    }

    /// How the connections of this store's pool are used now; those of stores [apart](Self::apart) and of writers are not among them.
    pub fn pool_use(&self) -> PoolUse {
        let state = self.pool.state();
        PoolUse {
            used: state.connections.saturating_sub(state.idle_connections),
            idle: state.idle_connections,
            size: self.pool.max_size(),
        }
    }

    /// Asks the database for one row.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.get()?.batch_execute("SELECT 1").map_err(StoreError::from)
    }

    /// The database's kind and version: `("postgres", "15.8")`.
    pub fn database_version(&self) -> Result<(String, String), StoreError> {
        let sql = match self.backend {
            DatabaseKind::Postgres => "SELECT current_setting('server_version') AS text",
            DatabaseKind::Sqlite => "SELECT sqlite_version() AS text",
        };
        let row: OneText = sql_query(sql).get_result(&mut *self.get()?)?;
        Ok((self.backend.as_str().to_owned(), row.text))
    }

    /// A connection of the pool.
    pub(crate) fn get(&self) -> Result<Pooled, StoreError> {
        Ok(self.pool.get()?)
    }

    /// A connection outside of the pool for a writer of batches. Its planner is told that batches are small and tables are not:
    /// rows are to be found one by one through an index, which also keeps them in the order of the batch.
    pub(crate) fn connect_for_batches(
        &self,
        lock_patience: Option<Duration>,
    ) -> Result<AnyConnection, StoreError> {
        let mut bounds = Bounds::CHECK_INS;
        bounds.lock = lock_patience.unwrap_or(bounds.lock);
        let manager = Manager { bounds, ..self.manager.clone() };
        let mut connection = r2d2::ManageConnection::connect(&manager)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        match &mut connection {
            AnyConnection::Postgres(connection) => connection.batch_execute(
                "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;
                 SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off",
            )?,
            // 64 MiB at most; by itself it keeps 2 MB, and reads most pages from the file again.
            AnyConnection::Sqlite(connection) => connection.batch_execute("PRAGMA cache_size = -65536")?,
        }
        Ok(connection)
    }

    /// Runs `work` in one transaction that may write. On SQLite it takes the write lock at once, so that it
    /// never has to give up half-way because another writer came first.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        write_on(&mut *self.get()?, work)
    }
}

/// See [`Store::write`].
pub(crate) fn write_on<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if let AnyConnection::Postgres(_) = connection {
        return connection.transaction(work);
    }
    connection.batch_execute("BEGIN IMMEDIATE")?;
    let done = work(connection).and_then(|value| {
        connection.batch_execute("COMMIT")?;
        Ok(value)
    });
    if done.is_err() {
        // An error may have ended the transaction already; what matters is that none stays open.
        if let Err(error) = connection.batch_execute("ROLLBACK") {
            log::debug!("rollback: {error}");
        }
    }
    done
}

#[derive(diesel::QueryableByName)]
struct OneText {
    #[diesel(sql_type = sql_types::Text)]
    text: String,
}

/// Opens connections for the pool.
#[derive(Clone)]
pub(crate) struct Manager {
    backend: DatabaseKind,
    url: String,
    bounds: Bounds,
}

impl Manager {
    fn for_url(url: &str) -> Result<Self, StoreError> {
        // Checked here because SQLite would take any text for the name of a file.
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let url = with_time_limits(url)?;
            return Ok(Self { backend: DatabaseKind::Postgres, url, bounds: Bounds::WORK });
        }
        match url.strip_prefix("sqlite://") {
            Some("") => {
                Err(StoreError::Url("sqlite:// needs a path, as in sqlite://innkeeper.db".to_owned()))
            }
            Some(path) => {
                Ok(Self { backend: DatabaseKind::Sqlite, url: path.to_owned(), bounds: Bounds::WORK })
            }
            None => {
                let scheme = url.split(':').next().unwrap_or_default();
                Err(StoreError::Url(format!(
                    "unknown scheme {scheme:?}; allowed: sqlite://, postgres://, postgresql://"
                )))
            }
        }
    }
}

/// Adds to a Postgres address what it does not say itself: how soon a host that is gone is given up.
fn with_time_limits(url: &str) -> Result<String, StoreError> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut query = query.to_owned();
    for (name, value) in [
        ("connect_timeout", "3"),
        ("keepalives_idle", "5"),
        ("keepalives_interval", "2"),
        ("keepalives_count", "3"),
        ("tcp_user_timeout", "10000"),
        ("application_name", "innkeeper"),
    ] {
        if !url::form_urlencoded::parse(query.as_bytes()).any(|(known, _)| known == name) {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(&format!("{name}={value}"));
        }
    }
    Ok(format!("{place}?{query}"))
}

impl r2d2::ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = NoConnection;

    fn connect(&self) -> Result<AnyConnection, NoConnection> {
        match self.backend {
            DatabaseKind::Postgres => {
                let mut connection = guard::connect(&self.url, self.bounds.here)?;
                self.bounds.tell(&mut connection)?;
                Ok(AnyConnection::Postgres(connection))
            }
            DatabaseKind::Sqlite => {
                make_private(&self.url);
                let mut connection = SqliteConnection::establish(&self.url)?;
                connection.batch_execute(
                    "PRAGMA busy_timeout = 5000;
                     PRAGMA journal_mode = WAL;
                     PRAGMA synchronous = FULL;
                     -- Pages, 32 MB: a page that many commits change is written back once for all of them.
                     PRAGMA wal_autocheckpoint = 8000;
                     PRAGMA foreign_keys = ON;",
                )?;
                Ok(AnyConnection::Sqlite(connection))
            }
        }
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), NoConnection> {
        match connection {
            AnyConnection::Postgres(connection) => {
                guard::set_bound(connection, STILL_THERE);
                connection.batch_execute("SELECT 1")?;
                guard::set_bound(connection, self.bounds.here);
            }
            AnyConnection::Sqlite(connection) => connection.batch_execute("SELECT 1")?,
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        // One whose transaction is still open would swallow the next one's commit.
        std::thread::panicking() || R2D2Connection::is_broken(connection)
    }
}

/// Makes the file where it is missing, readable by its owner alone; SQLite gives its other files the same mode. What cannot
/// be made here SQLite complains of better. A file that is there is not opened: closing it would drop the locks that this process has on it
/// (POSIX), and another process would then take itself for the last and remove the log that this one writes to.
fn make_private(path: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => log::debug!("{path}: {error}"),
        _ => {}
    }
}

/// Why the pool has no connection, in the database's own words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    #[error(transparent)]
    Refused(#[from] diesel::ConnectionError),
    #[error(transparent)]
    Broken(#[from] diesel::result::Error),
}

/// Callers get the error themselves; the pool's own retries are not worth a line each.
#[derive(Debug)]
struct QuietErrors;

impl r2d2::HandleError<NoConnection> for QuietErrors {
    fn handle_error(&self, error: NoConnection) {
        log::debug!("connecting: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_and_an_unknown_one_is_refused() {
        for url in ["mysql://x/y", "innkeeper.db", "sqlite:innkeeper.db", "sqlite://", "", "Postgres:x"] {
            assert!(matches!(Manager::for_url(url), Err(StoreError::Url(_))), "{url}");
        }
    }

    #[test]
    fn a_connection_is_in_use_until_it_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("innkeeper.db").display());
        let store = Store::connect(&StoreConfig { url, pool_size: 3 }).unwrap();
        assert_eq!(store.pool_use(), PoolUse { used: 0, idle: 0, size: 3 });
        let (first, second) = (store.get().unwrap(), store.get().unwrap());
        assert_eq!(store.pool_use().used, 2);
        drop(first);
        assert_eq!(store.pool_use().used, 1);
        drop(second);
        assert_eq!(store.pool_use().used, 0);
        assert!(store.pool_use().idle >= 2, "{:?}", store.pool_use());
    }

    #[test]
    fn time_limits_are_added_and_never_overridden() {
        let url =
            with_time_limits("postgres://a,b/x?target_session_attrs=read-write&connect_timeout=9").unwrap();
        assert!(
            url.starts_with("postgres://a,b/x?target_session_attrs=read-write&connect_timeout=9&"),
            "{url}"
        );
        assert_eq!(url.matches("connect_timeout").count(), 1);
        assert!(url.contains("tcp_user_timeout=10000"));
    }
}
