//! The common case made cheap: check-ins that bring nothing along, name no run, and are for a reservation that knows no starts.
//!
//! One prepared statement takes all of them: it finds the reservations through their doors, updates the facts, and adds the
//! history. What it does not bring back (an unknown door, a reservation with runs, the same one by another door) was not
//! written by it, and goes the general way.

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel::sqlite::{Sqlite, SqliteConnection};
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use uuid::Uuid;

use super::{Arrival, Definition, HistoryRow, Target};
use crate::rows::ms;
use crate::{StoreError, doors};

/// A check-in that may go the short way.
pub(super) struct Plain<'a> {
    pub door: Uuid,
    pub checkin: &'a CheckIn,
}

/// The door that the target names, where it names one.
pub(super) fn door(target: &Target) -> Option<Uuid> {
    match target {
        Target::Names(app, component) => Some(doors::of_names(app, component)),
        Target::Key(key) => Some(*key),
        Target::Slug { .. } => None,
    }
}

impl<'a> Plain<'a> {
    /// The arrival at `door`, if it may go the short way.
    pub fn of(door: Uuid, arrival: &'a Arrival) -> Option<Self> {
        let checkin = &arrival.checkin;
        let alone = checkin.run_id.is_none() && checkin.kind != CheckInKind::Start;
        (alone && arrival.definition == Definition::None).then_some(Self { door, checkin })
    }

    /// Its instant where it says `kind`.
    fn at(&self, kind: CheckInKind) -> Option<i64> {
        (self.checkin.kind == kind).then(|| ms(self.checkin.at))
    }

    /// Its instant where it ends all runs.
    fn over_at(&self) -> Option<i64> {
        self.checkin.ends_all_runs().then(|| ms(self.checkin.at))
    }
}

/// The columns of the facts as both databases set them, `new` being the check-in. GREATEST and LEAST are spelled out, because
/// SQLite has none that pass over NULL.
const SET: &str = "
    last_checkin_at = CASE WHEN new.success_at > COALESCE(s.last_checkin_at, new.success_at - 1)
                      THEN new.success_at ELSE s.last_checkin_at END,
    last_exit_code = CASE
        WHEN new.fail_at IS NULL OR new.fail_at < s.last_fail_at THEN s.last_exit_code
        WHEN new.fail_at = s.last_fail_at
            THEN CASE WHEN new.exit_code > COALESCE(s.last_exit_code, new.exit_code - 1)
                 THEN new.exit_code ELSE s.last_exit_code END
        ELSE new.exit_code END,
    last_fail_at = CASE WHEN new.fail_at > COALESCE(s.last_fail_at, new.fail_at - 1)
                   THEN new.fail_at ELSE s.last_fail_at END,
    last_source = CASE
        WHEN new.at < s.last_seen_at THEN s.last_source
        WHEN new.at = s.last_seen_at AND s.last_source > new.source";
/// What follows a collation (Postgres compares by its locale unless told).
const SET_REST: &str = " THEN s.last_source
        ELSE new.source END,
    last_seen_at = CASE WHEN new.at < s.last_seen_at THEN s.last_seen_at ELSE new.at END,
    runs_over_at = CASE WHEN new.over_at > COALESCE(s.runs_over_at, new.over_at - 1)
                   THEN new.over_at ELSE s.runs_over_at END,
    checkins = s.checkins + 1,
    fails = s.fails + CASE WHEN new.fail_at IS NULL THEN 0 ELSE 1 END,
    wake_at = CASE
        WHEN (s.eager OR s.status = 'down' OR new.fail_at IS NOT NULL) AND new.at < s.wake_at THEN new.at
        ELSE s.wake_at END";

/// The statement for Postgres: a column of each value, in the order of `new`.
struct PostgresBatch {
    doors: Vec<Uuid>,
    at: Vec<i64>,
    success_at: Vec<Option<i64>>,
    fail_at: Vec<Option<i64>>,
    over_at: Vec<Option<i64>>,
    kind: Vec<&'static str>,
    exit_code: Vec<Option<i32>>,
    source: Vec<String>,
    notes: Vec<String>,
}

impl QueryId for PostgresBatch {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for PostgresBatch {
    type SqlType = (SqlUuid, BigInt, Bool);
}

impl RunQueryDsl<PgConnection> for PostgresBatch {}

impl QueryFragment<Pg> for PostgresBatch {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The rows are updated in the order of their ids, so that two nodes' batches cannot deadlock.
        out.push_sql("WITH new AS MATERIALIZED (SELECT d.reservation_id, n.* FROM unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.doors)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.success_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.fail_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.over_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.kind)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Integer>>, _>(&self.exit_code)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.source)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.notes)?;
        out.push_sql(
            ") AS n (door, at, success_at, fail_at, over_at, kind, exit_code, source, notes)
             JOIN doors d ON d.door = n.door
             ORDER BY d.reservation_id
         ), updated AS (
             UPDATE states s SET ",
        );
        out.push_sql(SET);
        out.push_sql(" COLLATE \"C\"");
        out.push_sql(SET_REST);
        out.push_sql(
            " FROM new
             WHERE s.reservation_id = new.reservation_id AND s.last_start_at IS NULL
             RETURNING new.*, s.wake_at <= new.at AS wake
         ), added AS (
             INSERT INTO checkins (reservation_id, at, kind, exit_code, source, notes)
             SELECT reservation_id, at, kind, exit_code, source, notes FROM updated
         )
         SELECT door, reservation_id, wake FROM updated",
        );
        Ok(())
    }
}

/// Writes what can be written the short way, in one statement that is a transaction of its own. Returns of each that was
/// written the door it was found by, the reservation, and whether a sweeper should look.
pub(super) fn on_postgres(
    connection: &mut PgConnection,
    plain: &[Plain<'_>],
) -> Result<Vec<(Uuid, i64, bool)>, StoreError> {
    let instants = |value: &dyn Fn(&Plain<'_>) -> Option<i64>| plain.iter().map(value).collect();
    let batch = PostgresBatch {
        doors: plain.iter().map(|plain| plain.door).collect(),
        at: plain.iter().map(|plain| ms(plain.checkin.at)).collect(),
        success_at: instants(&|plain| plain.at(CheckInKind::Success)),
        fail_at: instants(&|plain| plain.at(CheckInKind::Fail)),
        over_at: instants(&|plain| plain.over_at()),
        kind: plain.iter().map(|plain| plain.checkin.kind.as_str()).collect(),
        exit_code: plain.iter().map(|plain| plain.checkin.exit_code).collect(),
        source: plain.iter().map(|plain| plain.checkin.source.clone()).collect(),
        notes: plain.iter().map(|plain| plain.checkin.notes.clone()).collect(),
    };
    Ok(batch.load(connection)?)
}

/// The update for SQLite, one check-in at a time.
struct SqliteUpdate<'a> {
    door: &'a [u8],
    at: i64,
    success_at: Option<i64>,
    fail_at: Option<i64>,
    over_at: Option<i64>,
    exit_code: Option<i32>,
    source: &'a str,
}

impl QueryId for SqliteUpdate<'_> {
    type QueryId = SqliteUpdate<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for SqliteUpdate<'_> {
    type SqlType = (BigInt, Bool);
}

impl RunQueryDsl<SqliteConnection> for SqliteUpdate<'_> {}

impl QueryFragment<Sqlite> for SqliteUpdate<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE states AS s SET");
        out.push_sql(SET);
        out.push_sql(SET_REST);
        out.push_sql(" FROM (SELECT ");
        out.push_bind_param::<BigInt, _>(&self.at)?;
        out.push_sql(" AS at, ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.success_at)?;
        out.push_sql(" AS success_at, ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.fail_at)?;
        out.push_sql(" AS fail_at, ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.over_at)?;
        out.push_sql(" AS over_at, ");
        out.push_bind_param::<Nullable<Integer>, _>(&self.exit_code)?;
        out.push_sql(" AS exit_code, ");
        out.push_bind_param::<Text, _>(self.source)?;
        out.push_sql(
            " AS source) AS new WHERE s.reservation_id = (SELECT reservation_id FROM doors WHERE door = ",
        );
        out.push_bind_param::<Binary, _>(self.door)?;
        out.push_sql(") AND s.last_start_at IS NULL RETURNING reservation_id, wake_at <= last_seen_at");
        Ok(())
    }
}

/// Writes what can be written the short way, inside the caller's transaction.
pub(super) fn on_sqlite(
    connection: &mut SqliteConnection,
    plain: &[Plain<'_>],
) -> Result<Vec<(Uuid, i64, bool)>, StoreError> {
    let mut written = Vec::with_capacity(plain.len());
    let mut history = Vec::with_capacity(plain.len());
    for plain in plain {
        let update = SqliteUpdate {
            door: plain.door.as_bytes(),
            at: ms(plain.checkin.at),
            success_at: plain.at(CheckInKind::Success),
            fail_at: plain.at(CheckInKind::Fail),
            over_at: plain.over_at(),
            exit_code: plain.checkin.exit_code,
            source: &plain.checkin.source,
        };
        let row: Option<(i64, bool)> = update.get_result(connection).optional()?;
        if let Some((reservation_id, wake)) = row {
            history.push(HistoryRow { reservation_id, checkin: plain.checkin, duration_ms: None });
            written.push((plain.door, reservation_id, wake));
        }
    }
    super::sqlite::add_history(connection, &history)?;
    Ok(written)
}
