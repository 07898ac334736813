//! How a connection comes about: what an address means, and what a new connection is told.

use std::sync::Arc;
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::{Connection as _, SimpleConnection};
use diesel::r2d2::R2D2Connection;

use crate::StoreError;
use crate::connection::{AnyConnection, Connected, DatabaseKind};
use crate::database_file::{DatabaseFile, PRAGMAS, address};
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
    /// That of an address.
    pub fn for_url(url: &str) -> Result<Self, StoreError> {
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
