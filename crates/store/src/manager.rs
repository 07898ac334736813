//! Opens connections: reads the address, and makes the settings of a new connection.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::{Connection as _, SimpleConnection};
use diesel::r2d2::R2D2Connection;

use crate::StoreError;
use crate::connection::{AnyConnection, Connected, DatabaseKind};
use crate::database_file::{DatabaseFile, PRAGMAS, address};
use crate::database_url::{DatabaseUrl, PostgresUrl};
use crate::guard::{self, Bounds};
use crate::pooler::{self, Pooling};

/// How long a connection that was idle may take to show that it still leads to the database.
const STILL_THERE: Duration = Duration::from_secs(3);

/// Opens connections for the pool.
#[derive(Clone)]
pub(crate) struct Manager {
    pub backend: DatabaseKind,
    pub url: String,
    pub bounds: Bounds,
    pub pooling: Pooling,
    pub file: Option<Arc<DatabaseFile>>,
}

impl Manager {
    /// The manager for an address.
    ///
    /// # Errors
    /// [`StoreError::Url`] when the address cannot be used.
    pub fn for_url(url: &str) -> Result<Self, StoreError> {
        const ALLOWED: &str = "allowed: sqlite://PATH, postgres://…, postgresql://…";
        // Parsed here, because SQLite would take any text as the name of a file.
        match DatabaseUrl::parse(url).map_err(|what| StoreError::Url(format!("{what}; {ALLOWED}")))? {
            DatabaseUrl::Postgres(url) => Ok(Self {
                backend: DatabaseKind::Postgres,
                url: with_time_limits(url).to_string(),
                bounds: Bounds::WORK,
                pooling: Pooling::None,
                file: None,
            }),
            DatabaseUrl::Sqlite { path } => Ok(Self {
                backend: DatabaseKind::Sqlite,
                file: Some(DatabaseFile::at(&path)),
                url: path,
                bounds: Bounds::WORK,
                pooling: Pooling::None,
            }),
        }
    }
}

/// Adds parameters that a Postgres address does not set itself: time limits after which an
/// unreachable host is given up, and the application's name.
fn with_time_limits(mut url: PostgresUrl) -> PostgresUrl {
    for (name, value) in [
        ("connect_timeout", "3"),
        ("keepalives_idle", "5"),
        ("keepalives_interval", "2"),
        ("keepalives_count", "3"),
        ("tcp_user_timeout", "10000"),
        ("application_name", "innkeeper"),
    ] {
        if url.parameter(name).is_none() {
            url.add(name, value);
        }
    }
    url
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
        let connection =
            open().map_err(|error| NoConnection::File(file.explain(StoreError::away(error.to_string()))))?;
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
        // A connection whose transaction is still open counts as broken: the next commit on it
        // would have no effect.
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

/// A connection of the pool; goes back to it when dropped.
pub(crate) struct Pooled(pub r2d2::PooledConnection<Manager>);

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
    fn time_limits_are_added_and_never_overridden() {
        let manager =
            Manager::for_url("postgres://a,b/x?target_session_attrs=read-write&connect_timeout=9").unwrap();
        let url = manager.url;
        assert!(
            url.starts_with("postgres://a,b/x?target_session_attrs=read-write&connect_timeout=9&"),
            "{url}"
        );
        assert_eq!(url.matches("connect_timeout").count(), 1);
        assert!(url.contains("tcp_user_timeout=10000"));
    }
}
