//! Pairs the starts of runs with their ends while a batch of check-ins is written.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text};
use diesel::sqlite::SqliteConnection;
use innkeeper_core::Time;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use uuid::Uuid;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::prepared::prepared;
use crate::rows::{RunRow, ms};
use crate::schema::runs;

/// The most ended runs of one reservation that are remembered, for check-ins that arrive late.
const MOST_ENDED: usize = 64;
/// The most runs of one reservation that are under way or whose end was never reported.
const MOST_GOING: usize = 200;

/// The known runs of some reservations, changed in memory and then written back.
pub(crate) struct Runs {
    known: BTreeMap<(i64, String), RunRow>,
    changed: HashSet<(i64, String)>,
}

impl Runs {
    /// Loads the runs of `reservations`. The caller has locked their states, so no other
    /// transaction changes the runs.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn of(connection: &mut AnyConnection, reservations: &[i64]) -> Result<Self, StoreError> {
        let rows: Vec<RunRow> = match reservations {
            [] => Vec::new(),
            ids => runs::table
                .filter(runs::reservation_id.eq_any(ids))
                .select(RunRow::as_select())
                .load(connection)?,
        };
        let known = rows.into_iter().map(|row| ((row.reservation_id, row.run_id.clone()), row)).collect();
        Ok(Self { known, changed: HashSet::new() })
    }

    /// Takes note of the latest end of all runs of a reservation. Its run without an id has ended then at the latest: an
    /// end while no run is going is not written to the runs.
    pub fn over(&mut self, reservation_id: i64, at: Option<i64>) {
        if let Some(run) = self.known.get_mut(&(reservation_id, String::new())) {
            run.ended_at = run.ended_at.max(at);
        }
    }

    /// Whether the check-in is a start whose end may already be in the history, recorded by another
    /// node.
    pub fn is_late_start(&self, reservation_id: i64, checkin: &CheckIn) -> bool {
        if checkin.kind != CheckInKind::Start {
            return false;
        }
        let run_id = checkin.run_id.map(|id| id.to_string()).unwrap_or_default();
        match self.known.get(&(reservation_id, run_id)) {
            Some(run) => run.ended_at >= Some(ms(checkin.at)),
            // The end of a first run without an id is in the history only.
            None => checkin.run_id.is_none(),
        }
    }

    /// Adds one check-in. If it ends a run whose start is known, returns how long that took, in
    /// milliseconds.
    pub fn record(&mut self, reservation_id: i64, checkin: &CheckIn) -> Option<i64> {
        let at = ms(checkin.at);
        let run_id = checkin.run_id.map(|id| id.to_string()).unwrap_or_default();
        match checkin.kind {
            CheckInKind::Log => None,
            CheckInKind::Start => {
                let run = self.run(reservation_id, run_id);
                if checkin.run_id.is_some() && run.ended_at.is_some_and(|ended| ended < at) {
                    // A run with an id ends only once.
                    return None;
                }
                if run.started_at < Some(at) {
                    run.started_at = Some(at);
                    run.start_arrived_at = checkin.reported_late_at().map(ms);
                }
                None
            }
            CheckInKind::Success | CheckInKind::Fail => {
                let run = self.run(reservation_id, run_id);
                let going = run
                    .started_at
                    .filter(|started| *started <= at && run.ended_at.is_none_or(|end| end < *started));
                run.ended_at = run.ended_at.max(Some(at));
                if checkin.ends_all_runs() {
                    self.end_all(reservation_id, at);
                }
                going.map(|started| at - started)
            }
        }
    }

    fn run(&mut self, reservation_id: i64, run_id: String) -> &mut RunRow {
        let key = (reservation_id, run_id);
        self.changed.insert(key.clone());
        let bare = RunRow {
            reservation_id,
            run_id: key.1.clone(),
            started_at: None,
            ended_at: None,
            told_at: None,
            start_arrived_at: None,
        };
        self.known.entry(key).or_insert(bare)
    }

    fn end_all(&mut self, reservation_id: i64, at: i64) {
        for (key, run) in self.known.range_mut((reservation_id, String::new())..) {
            if key.0 != reservation_id {
                break;
            }
            if run
                .started_at
                .is_some_and(|started| started <= at && run.ended_at.is_none_or(|end| end < started))
            {
                run.ended_at = Some(at);
                self.changed.insert(key.clone());
            }
        }
    }

    /// Writes the runs that changed, and removes the oldest runs of a reservation that has very
    /// many.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn write(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let changed: Vec<&RunRow> =
            self.known.iter().filter(|(key, _)| self.changed.contains(*key)).map(|(_, run)| run).collect();
        match connection {
            _ if changed.is_empty() => return Ok(()),
            AnyConnection::Postgres(connection) => write_to_postgres(connection, &changed)?,
            AnyConnection::Sqlite(connection) => write_to_sqlite(connection, &changed)?,
        }
        let reservations: BTreeSet<i64> = self.changed.iter().map(|(id, _)| *id).collect();
        for id in reservations {
            let of_it = || self.known.range((id, String::new())..).map(|(_, run)| run);
            let (ended, going) = of_it()
                .take_while(|run| run.reservation_id == id)
                .partition(|run| run.started_at.is_none() || run.ended_at >= run.started_at);
            forget(connection, id, ended, MOST_ENDED)?;
            forget(connection, id, going, MOST_GOING)?;
        }
        Ok(())
    }
}

fn write_to_postgres(connection: &mut PgConnection, runs: &[&RunRow]) -> Result<(), StoreError> {
    prepared(
        "INSERT INTO runs (reservation_id, run_id, started_at, ended_at, start_arrived_at)
         SELECT * FROM unnest(",
        (
            runs.iter().map(|run| run.reservation_id).collect::<Vec<_>>().into_sql::<Array<BigInt>>(),
            runs.iter().map(|run| run.run_id.as_str()).collect::<Vec<_>>().into_sql::<Array<Text>>(),
            runs.iter().map(|run| run.started_at).collect::<Vec<_>>().into_sql::<Array<Nullable<BigInt>>>(),
            runs.iter().map(|run| run.ended_at).collect::<Vec<_>>().into_sql::<Array<Nullable<BigInt>>>(),
            runs.iter()
                .map(|run| run.start_arrived_at)
                .collect::<Vec<_>>()
                .into_sql::<Array<Nullable<BigInt>>>(),
        ),
        ")
         ON CONFLICT (reservation_id, run_id)
         DO UPDATE SET started_at = excluded.started_at, ended_at = excluded.ended_at,
             start_arrived_at = excluded.start_arrived_at",
    )
    .execute(connection)?;
    Ok(())
}

fn write_to_sqlite(connection: &mut SqliteConnection, runs: &[&RunRow]) -> Result<(), StoreError> {
    for run in runs {
        prepared(
            "INSERT INTO runs (reservation_id, run_id, started_at, ended_at, start_arrived_at) VALUES (",
            (
                run.reservation_id.into_sql::<BigInt>(),
                run.run_id.as_str().into_sql::<Text>(),
                run.started_at.into_sql::<Nullable<BigInt>>(),
                run.ended_at.into_sql::<Nullable<BigInt>>(),
                run.start_arrived_at.into_sql::<Nullable<BigInt>>(),
            ),
            ")
             ON CONFLICT (reservation_id, run_id)
             DO UPDATE SET started_at = excluded.started_at, ended_at = excluded.ended_at,
                 start_arrived_at = excluded.start_arrived_at",
        )
        .execute(connection)?;
    }
    Ok(())
}

/// Removes the oldest of `runs` where there are more than `most`: half of them, so that it is seldom done.
fn forget(
    connection: &mut AnyConnection,
    reservation_id: i64,
    mut runs: Vec<&RunRow>,
    most: usize,
) -> Result<(), StoreError> {
    if runs.len() <= most {
        return Ok(());
    }
    runs.sort_by_key(|run| run.started_at.max(run.ended_at));
    let oldest = runs.iter().take(runs.len() - most / 2).map(|run| run.run_id.as_str());
    diesel::delete(
        runs::table
            .filter(runs::reservation_id.eq(reservation_id))
            .filter(runs::run_id.eq_any(oldest.collect::<Vec<_>>())),
    )
    .execute(connection)?;
    Ok(())
}

/// Notes that the operator is told now that these runs of a reservation are over their time limit.
pub(crate) fn note_told(
    connection: &mut AnyConnection,
    reservation_id: i64,
    ids: &[Option<Uuid>],
    now: Time,
) -> Result<(), StoreError> {
    let ids: Vec<String> = ids.iter().map(|id| id.map(|id| id.to_string()).unwrap_or_default()).collect();
    diesel::update(
        runs::table.filter(runs::reservation_id.eq(reservation_id)).filter(runs::run_id.eq_any(ids)),
    )
    .set(runs::told_at.eq(ms(now)))
    .execute(connection)?;
    Ok(())
}

/// Forgets which runs of a reservation were reported at or after `since`, because their alert was
/// withdrawn.
pub(crate) fn forget_told(
    connection: &mut AnyConnection,
    reservation_id: i64,
    since: Time,
) -> Result<(), StoreError> {
    diesel::update(
        runs::table.filter(runs::reservation_id.eq(reservation_id)).filter(runs::told_at.ge(ms(since))),
    )
    .set(runs::told_at.eq(None::<i64>))
    .execute(connection)?;
    Ok(())
}
