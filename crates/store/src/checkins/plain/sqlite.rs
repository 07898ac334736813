//! The fast path on SQLite: small statements, each prepared once.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{Plain, SET, Update};
use crate::StoreError;
use crate::checkins::HistoryRow;
use crate::checkins::sqlite::{add_history, latest_id};
use crate::rows::ms;

/// The statement that updates one state.
struct Write<'a> {
    id: i64,
    at: i64,
    source: &'a str,
    reservation_id: i64,
    lookup_key: &'a [u8],
}

impl QueryId for Write<'_> {
    type QueryId = Write<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Write<'_> {
    type SqlType = (BigInt, Nullable<BigInt>, Bool);
}

impl RunQueryDsl<SqliteConnection> for Write<'_> {}

impl QueryFragment<Sqlite> for Write<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE states AS s SET ");
        out.push_sql(SET[0]);
        out.push_sql(SET[1]);
        out.push_sql(" FROM (SELECT ");
        out.push_bind_param::<BigInt, _>(&self.id)?;
        out.push_sql(" AS id, ");
        out.push_bind_param::<BigInt, _>(&self.at)?;
        out.push_sql(" AS at, ");
        out.push_bind_param::<Text, _>(self.source)?;
        out.push_sql(" AS source) AS new WHERE s.reservation_id = ");
        out.push_bind_param::<BigInt, _>(&self.reservation_id)?;
        out.push_sql(" AND ");
        out.push_bind_param::<Binary, _>(self.lookup_key)?;
        out.push_sql(
            " IN (s.names_key, s.ping_key) AND s.last_start_at IS NULL
             RETURNING checkins, previous_checkin_id, wake_at <= last_seen_at",
        );
        Ok(())
    }
}

/// Writes the check-ins in the caller's transaction.
pub(super) fn write(
    connection: &mut SqliteConnection,
    plain: &[Plain<'_>],
) -> Result<Vec<Update>, StoreError> {
    let next_id = latest_id(connection)? + 1;
    let mut written = Vec::with_capacity(plain.len());
    let mut history = Vec::with_capacity(plain.len());
    for (id, plain) in (next_id..).zip(plain) {
        let write = Write {
            id,
            at: ms(plain.checkin.at),
            source: &plain.checkin.source,
            reservation_id: plain.id,
            lookup_key: plain.lookup_key.as_bytes(),
        };
        let row: Option<(i64, Option<i64>, bool)> = write.get_result(connection).optional()?;
        if let Some((number, previous_id, wake)) = row {
            written.push(Update { id: plain.id, wake });
            history.push(HistoryRow {
                id,
                reservation_id: plain.id,
                checkin: plain.checkin,
                duration_ms: None,
                number,
                previous_id,
            });
        }
    }
    add_history(connection, &history)?;
    Ok(written)
}

/// The query for the reservation of a lookup key.
struct Find<'a>(&'a [u8]);

impl QueryId for Find<'_> {
    type QueryId = Find<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Find<'_> {
    type SqlType = BigInt;
}

impl RunQueryDsl<SqliteConnection> for Find<'_> {}

impl QueryFragment<Sqlite> for Find<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT reservation_id FROM lookup_keys WHERE lookup_key = ");
        out.push_bind_param::<Binary, _>(self.0)
    }
}

pub(super) fn find(
    connection: &mut SqliteConnection,
    lookup_keys: &[Uuid],
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let mut found = Vec::with_capacity(lookup_keys.len());
    for lookup_key in lookup_keys {
        let id: Option<i64> = Find(lookup_key.as_bytes()).get_result(connection).optional()?;
        found.extend(id.map(|id| (*lookup_key, id)));
    }
    Ok(found)
}
