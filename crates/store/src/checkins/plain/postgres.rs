//! The fast path on Postgres: one statement with arrays as arguments.

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Plain, SET, Update};
use crate::StoreError;
use crate::rows::ms;

/// The statement that writes. Each field holds one column of all check-ins.
struct Write<'a> {
    id: Vec<i64>,
    lookup_key: Vec<Uuid>,
    at: Vec<i64>,
    source: Vec<&'a str>,
    notes: Vec<&'a str>,
}

impl QueryId for Write<'_> {
    type QueryId = Write<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Write<'_> {
    type SqlType = (BigInt, Bool);
}

impl RunQueryDsl<PgConnection> for Write<'_> {}

impl QueryFragment<Pg> for Write<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "WITH new AS MATERIALIZED (
                 SELECT nextval('checkins_id_seq') AS id, n.*
                 FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.lookup_key)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.source)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.notes)?;
        out.push_sql(
            ") AS n (reservation_id, lookup_key, at, source, notes)
             ), updated AS (
                 UPDATE states s
                 SET ",
        );
        out.push_sql(SET[0]);
        out.push_sql(" COLLATE \"C\"");
        out.push_sql(SET[1]);
        out.push_sql(
            " FROM new
                 WHERE s.reservation_id = new.reservation_id AND new.lookup_key IN (s.names_key, s.ping_key)
                     AND s.last_start_at IS NULL
                 RETURNING new.*, s.checkins AS number, s.previous_checkin_id AS previous_id, s.wake_at <= new.at AS wake
             ), added AS (
                 INSERT INTO checkins (id, reservation_id, at, kind, source, notes, number, previous_id)
                 OVERRIDING SYSTEM VALUE
                 SELECT id, reservation_id, at, 'success', source, notes, number, previous_id FROM updated
             )
             SELECT reservation_id, wake FROM updated",
        );
        Ok(())
    }
}

pub(super) fn write(connection: &mut PgConnection, plain: &[Plain<'_>]) -> Result<Vec<Update>, StoreError> {
    let write = Write {
        id: plain.iter().map(|plain| plain.id).collect(),
        lookup_key: plain.iter().map(|plain| plain.lookup_key).collect(),
        at: plain.iter().map(|plain| ms(plain.checkin.at)).collect(),
        source: plain.iter().map(|plain| plain.checkin.source.as_str()).collect(),
        notes: plain.iter().map(|plain| plain.checkin.notes.as_str()).collect(),
    };
    let rows: Vec<(i64, bool)> = write.load(connection)?;
    Ok(rows.into_iter().map(|(id, wake)| Update { id, wake }).collect())
}

/// The query for the reservations of these lookup keys.
struct Find<'a>(&'a [Uuid]);

impl QueryId for Find<'_> {
    type QueryId = Find<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Find<'_> {
    type SqlType = (SqlUuid, BigInt);
}

impl RunQueryDsl<PgConnection> for Find<'_> {}

impl QueryFragment<Pg> for Find<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT lookup_key, reservation_id FROM lookup_keys WHERE lookup_key = ANY (");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.0)?;
        out.push_sql(")");
        Ok(())
    }
}

pub(super) fn find(
    connection: &mut PgConnection,
    lookup_keys: &[Uuid],
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    Ok(Find(lookup_keys).load(connection)?)
}
