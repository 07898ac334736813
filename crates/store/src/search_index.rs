//! The index by which Postgres finds a part of a name, made of the name's trigrams.
//!
//! It needs the extension `pg_trgm`, which comes with Postgres. The owner of a database may create it, unless the
//! administrator forbids that. It is tried at each start, so that the index is there once the extension is.

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::{PgConnection, QueryableByName, RunQueryDsl as _, sql_query, sql_types};

use crate::migrate::LONGEST;
use crate::{StoreError, guard};

#[derive(QueryableByName)]
struct IsThere {
    #[diesel(sql_type = sql_types::Bool)]
    is_there: bool,
}

/// Creates the index if it is missing; calls `begins` before. Where that is not possible, the log says what a search costs then.
///
/// # Errors
/// A `StoreError` when the database cannot be reached.
pub(crate) fn ensure(connection: &mut PgConnection, begins: &dyn Fn()) -> Result<(), StoreError> {
    let found: IsThere = sql_query(
        "SELECT to_regclass('reservations_by_part_of_app') IS NOT NULL
             AND to_regclass('reservations_by_part_of_component') IS NOT NULL AS is_there",
    )
    .get_result(connection)?;
    if found.is_there {
        return Ok(());
    }
    // A transaction within the caller's: what is refused here takes nothing of that back.
    let extended = connection.transaction(|connection| {
        connection.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_trgm").map_err(StoreError::from)
    });
    let made = extended.and_then(|()| {
        begins();
        guard::set_bound(connection, LONGEST);
        connection.transaction(|connection| {
            connection
                .batch_execute(
                    "CREATE INDEX IF NOT EXISTS reservations_by_part_of_app
                         ON reservations USING gin (lower(app) gin_trgm_ops);
                     CREATE INDEX IF NOT EXISTS reservations_by_part_of_component
                         ON reservations USING gin (lower(component) gin_trgm_ops)",
                )
                .map_err(StoreError::from)
        })
    });
    match made {
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            log::warn!(
                "a search for a part of a name reads every reservation, because its index cannot be created: {error}. Have a \
                 superuser run CREATE EXTENSION pg_trgm in this database, and restart"
            );
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
