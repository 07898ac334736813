//! The pool and its connections.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::r2d2::R2D2Connection;
use diesel::{PgConnection, RunQueryDsl, SqliteConnection, sql_query, sql_types};

use crate::checkins::KnownDoors;
use crate::database_file::{DatabaseFile, FileLook, Keeper, Lease, PRAGMAS, address};
use crate::guard::{self, Bounds};
use crate::pooler::{self, Pooling};
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
    pool: Arc<Pool>,
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

/// The pool itself, as the file of an SQLite database knows it.
struct Pool(r2d2::Pool<Manager>);

impl Keeper for Pool {
    fn close_idle(&self) {
        // Looking for a connection that is still good closes those that are not.
        drop(self.0.try_get());
    }
}

/// A connection, and the right to it where it leads to a file.
pub(crate) struct Connected {
    connection: AnyConnection,
    /// Given back after the connection is closed: fields are dropped in their order.
    lease: Option<Lease>,
}

impl Connected {
    /// Whether it leads to a file that is lost.
    pub fn is_void(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_void)
    }
}

impl Deref for Connected {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Connected {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// A connection of the pool; goes back to it when dropped.
pub(crate) struct Pooled(r2d2::PooledConnection<Manager>);

impl Deref for Pooled {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.0.connection
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.0.connection
    }
}

impl Store {
    /// Takes the address and makes the pool. Connections are opened as they are needed, so this does not
    /// fail when the database is away; a wrong address fails.
    pub fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        Ok(Self::over(Manager::for_url(&config.url)?, config.pool_size))
    }

    /// The same by way of a pooler in transaction mode, as PgBouncer's: nothing is relied on that lasts longer than a transaction.
    pub fn connect_through_pooler(config: &StoreConfig) -> Result<Self, StoreError> {
        let manager = Manager { pooling: Pooling::Transaction, ..Manager::for_url(&config.url)? };
        Ok(Self::over(manager, config.pool_size))
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
        let pool = Arc::new(Pool(pool));
        if let Some(file) = &manager.file {
            let keeper: Weak<Pool> = Arc::downgrade(&pool);
            file.register(keeper);
        }
        Self { pool, manager, backend, known_doors: Arc::default(), actor: None }
    }

    /// How long a statement on a connection of the pool may take.
    pub(crate) fn bound(&self) -> Duration {
        self.manager.bounds.here
    }

    pub(crate) fn pooling(&self) -> Pooling {
        self.manager.pooling
    }

    /// The address, for a connection that is not of the pool.
    pub(crate) fn url(&self) -> &str {
        &self.manager.url
    }

    /// Which database this is.
    pub fn backend(&self) -> DatabaseKind {
        self.backend
    }

    /// How the connections of this store's pool are used now; those of stores [apart](Self::apart) and of writers are not among them.
    pub fn pool_use(&self) -> PoolUse {
        let state = self.pool.0.state();
        PoolUse {
            used: state.connections.saturating_sub(state.idle_connections),
            idle: state.idle_connections,
            size: self.pool.0.max_size(),
        }
    }

    /// Asks the database for one row.
    pub fn ping(&self) -> Result<(), StoreError> {
        if let Some(file) = self.file() {
            file.check()?;
        }
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
        if let Some(file) = self.file()
            && file.is_lost()
        {
            file.check()?;
        }
        Ok(Pooled(self.pool.0.get()?))
    }

    /// The file, where the database is one.
    pub(crate) fn file(&self) -> Option<&Arc<DatabaseFile>> {
        self.manager.file.as_ref()
    }

    /// Looks whether the SQLite file is still the one that was opened, and tries to have it back where it is not. Over Postgres there is
    /// nothing to look at. For a thread of its own, each second.
    pub fn look_at_file(&self) -> FileLook {
        self.file().map_or(FileLook::Fine, |file| file.look())
    }

    /// Whether something was committed to the SQLite file since this was asked last, heartbeats and leases apart.
    pub fn has_written(&self) -> bool {
        self.file().is_some_and(|file| file.was_written())
    }

    /// Brings SQLite's log into its file, as far as nobody reads what was before. Costs nothing when nothing was written.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.file().map_or(Ok(()), |file| file.checkpoint())
    }

    /// A connection outside of the pool for a writer of batches. Its planner is told that batches are small and tables are not:
    /// rows are to be found one by one through an index, which also keeps them in the order of the batch.
    pub(crate) fn connect_for_batches(
        &self,
        lock_patience: Option<Duration>,
    ) -> Result<Connected, StoreError> {
        let mut bounds = Bounds::CHECK_INS;
        bounds.lock = lock_patience.unwrap_or(bounds.lock);
        let manager = Manager { bounds, ..self.manager.clone() };
        let mut connected = r2d2::ManageConnection::connect(&manager).map_err(|error| match error {
            NoConnection::File(error) => error,
            other => StoreError::Unavailable(other.to_string()),
        })?;
        match &mut connected.connection {
            AnyConnection::Postgres(connection) => {
                let set = match self.pooling() {
                    Pooling::None => "SET",
                    Pooling::Transaction => "SET LOCAL",
                };
                let names = ["hashjoin", "mergejoin", "seqscan", "bitmapscan"];
                let mut settings = names.map(|name| format!("{set} enable_{name} = off; ")).concat();
                settings.push_str(&format!("{set} plan_cache_mode = force_generic_plan; {set} jit = off"));
                match guard::begins_with(connection) {
                    Some(known) => guard::begin_with(connection, format!("{known}; {settings}")),
                    None => connection.batch_execute(&settings)?,
                }
            }
            // 64 MiB at most; by itself it keeps 2 MB, and reads most pages from the file again.
            AnyConnection::Sqlite(connection) => connection.batch_execute("PRAGMA cache_size = -65536")?,
        }
        Ok(connected)
    }

    /// Runs `work` in one transaction that may write. On SQLite it takes the write lock at once, so that it
    /// never has to give up half-way because another writer came first.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = &mut *self.get()?;
        // That a process is alive need not be in the file soon: on a small machine's card each page counts.
        let Some(file) = self.file().filter(|_| self.manager.bounds.here != Bounds::HEARTBEAT.here) else {
            return write_on(self.file(), connection, work);
        };
        let before = changes(connection)?;
        let done = write_on(Some(file), connection, work)?;
        match changes(connection) {
            Ok(after) if after == before => {}
            _ => file.note_written(),
        }
        Ok(done)
    }
}

/// How many rows this connection to SQLite has changed.
fn changes(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    Ok(sql_query("SELECT total_changes() AS number").get_result::<OneNumber>(connection)?.number)
}

#[derive(diesel::QueryableByName)]
struct OneNumber {
    #[diesel(sql_type = sql_types::BigInt)]
    number: i64,
}

/// See [`Store::write`]. `file` is what `connection` leads to, where that is a file: what was committed into one that has been
/// deleted or replaced is an error, and nobody is told that it was kept.
pub(crate) fn write_on<T>(
    file: Option<&Arc<DatabaseFile>>,
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let Some(file) = file else {
        let begin = match connection {
            AnyConnection::Postgres(connection) => guard::begins_with(connection),
            AnyConnection::Sqlite(_) => None,
        };
        return connection.transaction(|connection| {
            if let Some(begin) = begin {
                connection.batch_execute(&begin)?;
            }
            work(connection)
        });
    };
    let done = commit_into(file, connection, work).map_err(|error| file.explain(error));
    if done.is_err() {
        // An error may have ended the transaction already; what matters is that none stays open.
        if let Err(error) = connection.batch_execute("ROLLBACK") {
            log::debug!("rollback: {error}");
        }
    }
    done
}

fn commit_into<T>(
    file: &DatabaseFile,
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.batch_execute("BEGIN IMMEDIATE")?;
    let value = work(connection)?;
    // Before, so that as little as possible is written twice when the file comes back; after, because only that is certain.
    file.check()?;
    connection.batch_execute("COMMIT")?;
    file.check()?;
    Ok(value)
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
    pooling: Pooling,
    file: Option<Arc<DatabaseFile>>,
}

impl Manager {
    fn for_url(url: &str) -> Result<Self, StoreError> {
        // Checked here because SQLite would take any text for the name of a file.
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let url = with_time_limits(url)?;
            return Ok(Self {
                backend: DatabaseKind::Postgres,
                url,
                bounds: Bounds::WORK,
                pooling: Pooling::None,
                file: None,
            });
        }
        match url.strip_prefix("sqlite://") {
            Some("") => {
                Err(StoreError::Url("sqlite:// needs a path, as in sqlite://innkeeper.db".to_owned()))
            }
            Some(path) => Ok(Self {
                backend: DatabaseKind::Sqlite,
                url: path.to_owned(),
                bounds: Bounds::WORK,
                pooling: Pooling::None,
                file: Some(DatabaseFile::at(path)),
            }),
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
    type Connection = Connected;
    type Error = NoConnection;

    fn connect(&self) -> Result<Connected, NoConnection> {
        let Some(file) = &self.file else {
            let connection = match self.pooling {
                Pooling::None => {
                    let mut connection = guard::connect(&self.url, self.bounds.here)?;
                    self.bounds.tell(&mut connection)?;
                    connection
                }
                Pooling::Transaction => pooler::connect(&self.url, self.bounds)?,
            };
            return Ok(Connected { connection: AnyConnection::Postgres(connection), lease: None });
        };
        let lease = file.lease().map_err(NoConnection::File)?;
        let open = || -> Result<AnyConnection, NoConnection> {
            let mut connection = SqliteConnection::establish(&address(file.path(), "rw"))?;
            connection.batch_execute(PRAGMAS)?;
            Ok(AnyConnection::Sqlite(connection))
        };
        let connection = open()
            .map_err(|error| NoConnection::File(file.explain(StoreError::Unavailable(error.to_string()))))?;
        Ok(Connected { connection, lease: Some(lease) })
    }

    fn is_valid(&self, connected: &mut Connected) -> Result<(), NoConnection> {
        if let Some(file) = self.file.as_ref().filter(|_| connected.is_void()) {
            file.check().map_err(NoConnection::File)?;
        }
        match &mut connected.connection {
            AnyConnection::Postgres(connection) => {
                guard::set_bound(connection, STILL_THERE);
                connection.batch_execute("SELECT 1")?;
                guard::set_bound(connection, self.bounds.here);
            }
            AnyConnection::Sqlite(connection) => connection.batch_execute("SELECT 1")?,
        }
        Ok(())
    }

    fn has_broken(&self, connected: &mut Connected) -> bool {
        // One whose transaction is still open would swallow the next one's commit.
        std::thread::panicking()
            || connected.is_void()
            || R2D2Connection::is_broken(&mut connected.connection)
    }
}

/// Why the pool has no connection, in the database's own words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    #[error(transparent)]
    Refused(#[from] diesel::ConnectionError),
    #[error(transparent)]
    Broken(#[from] diesel::result::Error),
    #[error(transparent)]
    File(StoreError),
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
