//! The store: a pool of connections, and how it is used.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{RunQueryDsl, sql_query, sql_types};
use parking_lot::Mutex;

use crate::StoreError;
use crate::checkins::LookupCache;
use crate::connection::{AnyConnection, Connected, DatabaseKind, changes, write_on};
use crate::counts::LastCount;
use crate::database_file::{DatabaseFile, FileLook, IdleConnections};
use crate::guard::{self, Bounds};
use crate::manager::Pooled;
use crate::manager::{Manager, NoConnection};
use crate::pooler::Pooling;
use crate::said::Counted;

/// Where the database is, and how many connections may be open to it.
#[derive(Clone)]
pub struct StoreConfig {
    /// `postgres://…`, `postgresql://…` or `sqlite://PATH`.
    pub url: String,
    /// The most connections open at once.
    pub pool_size: u32,
}

/// How many connections of a pool are in use at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections that are in use.
    pub used: u32,
    /// Connections that are open and free.
    pub idle: u32,
    /// The most connections that may be open.
    pub size: u32,
}

/// The store: a pool of connections. Clones share it.
#[derive(Clone)]
pub struct Store {
    pool: Arc<Pool>,
    manager: Manager,
    backend: DatabaseKind,
    /// The cache of lookup keys that all writers of check-ins share.
    pub(crate) lookup_cache: Arc<Mutex<LookupCache>>,
    /// How many jobs there were at a sweep's latest count.
    pub(crate) counted: Arc<Counted>,
    /// How many jobs were down after the latest pass of the sweep.
    pub(crate) last_count: Arc<LastCount>,
    /// The OpenID provider at which users can log in.
    pub(crate) issuer: Option<Arc<str>>,
    /// When waits for a connection end in a process that stops. A store and those made from it
    /// share this.
    last_wait: Arc<OnceLock<LastWait>>,
}

/// The waits for a connection that [`Store::end_waits`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedWaits {
    /// All of them.
    All,
    /// Only those of stores made by [`Store::apart_with_short_waits`].
    Short,
}

/// The time at which waits for a connection end.
#[derive(Debug, Clone, Copy)]
struct LastWait {
    at: Instant,
    waits: EndedWaits,
}

/// How long a caller waits for a connection before the database counts as away.
const POOL_PATIENCE: Duration = Duration::from_secs(3);
/// The shortest wait for a connection, also after [`Store::end_waits`]: long enough to open one.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// The pool itself. An SQLite [`DatabaseFile`] holds a weak reference to it, to close idle
/// connections.
struct Pool(r2d2::Pool<Manager>);

impl IdleConnections for Pool {
    fn close_idle(&self) {
        // Taking a connection makes the pool close those that are not valid any more.
        drop(self.0.try_get());
    }
}

impl Store {
    /// Takes the address and makes the pool. Connections are opened as they are needed, so this does not
    /// fail while the database cannot be reached.
    ///
    /// # Errors
    /// [`StoreError::Url`] when the address cannot be used.
    pub fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        Ok(Self::over(Manager::for_url(&config.url)?, config.pool_size))
    }

    /// Like [`Store::connect`], for a pooler in transaction mode such as PgBouncer: the store
    /// relies on nothing that lasts longer than a transaction.
    ///
    /// # Errors
    /// [`StoreError::Url`] when the address cannot be used.
    pub fn connect_through_pooler(config: &StoreConfig) -> Result<Self, StoreError> {
        let manager = Manager { pooling: Pooling::Transaction, ..Manager::for_url(&config.url)? };
        Ok(Self::over(manager, config.pool_size))
    }

    /// The same store with a pool of its own, for a part that must not wait while others use all
    /// connections.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { last_wait: Arc::clone(&self.last_wait), ..Self::over(self.manager.clone(), 2) }
    }

    /// Like [`Store::apart`], for heartbeats and leases, which must be regular: this store waits
    /// for the database only briefly.
    #[must_use]
    pub fn apart_with_short_waits(&self) -> Self {
        let manager = Manager { bounds: Bounds::HEARTBEAT, ..self.manager.clone() };
        Self { last_wait: Arc::clone(&self.last_wait), ..Self::over(manager, 2) }
    }

    /// Makes waits for a connection end at `at`, also those that begin later. A process that stops
    /// then waits for an unreachable database only once, however many waits follow. The first call
    /// counts.
    pub fn end_waits(&self, at: Instant, waits: EndedWaits) {
        self.last_wait.get_or_init(|| LastWait { at, waits });
    }

    /// How long a caller waits for a connection from now on.
    fn patience(&self) -> Duration {
        let is_short = self.manager.bounds.here == Bounds::HEARTBEAT.here;
        match self.last_wait.get().filter(|last| last.waits == EndedWaits::All || is_short) {
            Some(last) => {
                last.at.saturating_duration_since(Instant::now()).clamp(LEAST_PATIENCE, POOL_PATIENCE)
            }
            None => POOL_PATIENCE,
        }
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
        Self {
            pool,
            manager,
            backend,
            lookup_cache: Arc::default(),
            counted: Arc::default(),
            last_count: Arc::default(),
            issuer: None,
            last_wait: Arc::default(),
        }
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

    /// How many connections of this store's pool are in use now. The connections of stores
    /// [apart](Self::apart) and of writers do not count.
    pub fn pool_use(&self) -> PoolUse {
        let state = self.pool.0.state();
        PoolUse {
            used: state.connections.saturating_sub(state.idle_connections),
            idle: state.idle_connections,
            size: self.pool.0.max_size(),
        }
    }

    /// Asks the database for one row.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn ping(&self) -> Result<(), StoreError> {
        if let Some(file) = self.file() {
            file.check()?;
        }
        self.get()?.batch_execute("SELECT 1").map_err(StoreError::from)
    }

    /// The database's kind and version, such as `("postgres", "15.8")`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
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
        Ok(Pooled(self.pool.0.get_timeout(self.patience())?))
    }

    /// The file, where the database is one.
    pub(crate) fn file(&self) -> Option<&Arc<DatabaseFile>> {
        self.manager.file.as_ref()
    }

    /// Checks whether the SQLite file is still the one that was opened, and tries to recover it
    /// where it is not. On Postgres there is nothing to check. Meant to be called each second from
    /// a thread of its own.
    pub fn look_at_file(&self) -> FileLook {
        self.file().map_or(FileLook::Fine, |file| file.look())
    }

    /// Whether something was committed to the SQLite file since the last call. Heartbeats and
    /// leases do not count.
    pub fn has_written(&self) -> bool {
        self.file().is_some_and(|file| file.was_written())
    }

    /// Copies SQLite's write-ahead log into the database file, as far as no reader needs the older
    /// state. Costs nothing when nothing was written.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.file().map_or(Ok(()), |file| file.checkpoint())
    }

    /// A connection outside of the pool for a writer of batches. Its settings make Postgres find
    /// rows one by one through an index: batches are small, tables are not, and rows stay in the
    /// order of the batch.
    pub(crate) fn connect_for_batches(
        &self,
        lock_patience: Option<Duration>,
    ) -> Result<Connected, StoreError> {
        let mut bounds = Bounds::CHECK_INS;
        bounds.lock = lock_patience.unwrap_or(bounds.lock);
        let manager = Manager { bounds, ..self.manager.clone() };
        let mut connected = r2d2::ManageConnection::connect(&manager).map_err(|error| match error {
            NoConnection::File(error) => error,
            other => StoreError::away(other.to_string()),
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
            // 64 MiB at most. SQLite's default is 2 MB, with which most pages are read from the
            // file again.
            AnyConnection::Sqlite(connection) => connection.batch_execute("PRAGMA cache_size = -65536")?,
        }
        Ok(connected)
    }

    /// Runs `work` in one transaction that may write. On SQLite it takes the write lock at the
    /// beginning, so that it never has to give up half-way because another writer came first.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = &mut *self.get()?;
        // Heartbeats do not call for a checkpoint: each page written wears the memory card of a
        // small machine.
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

#[derive(diesel::QueryableByName)]
struct OneText {
    #[diesel(sql_type = sql_types::Text)]
    text: String,
}

/// Logs the pool's own connection errors at debug level only: callers get the error anyway.
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
    fn short_waits_of_a_process_that_stops_end_together() {
        let url = "postgres://innkeeper@127.0.0.1:1/none".to_owned();
        let store = Store::connect(&StoreConfig { url: url.clone(), pool_size: 2 }).unwrap();
        let (heartbeat, lease) = (store.apart_with_short_waits(), store.apart_with_short_waits());
        assert_eq!(heartbeat.patience(), POOL_PATIENCE);
        store.end_waits(Instant::now(), EndedWaits::Short);
        store.end_waits(Instant::now() + POOL_PATIENCE, EndedWaits::All);
        assert_eq!([&heartbeat, &lease].map(Store::patience), [LEAST_PATIENCE; 2]);
        assert_eq!([&store, &store.apart()].map(Store::patience), [POOL_PATIENCE; 2], "as before");
        assert!(heartbeat.get().is_err_and(|error| error.is_unavailable()));
        let store = Store::connect(&StoreConfig { url, pool_size: 2 }).unwrap();
        let apart = store.apart();
        store.end_waits(Instant::now(), EndedWaits::All);
        assert_eq!([&store, &apart].map(Store::patience), [LEAST_PATIENCE; 2]);
    }
}
