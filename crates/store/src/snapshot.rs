//! Reads all rows of something as they are at one time, in order, with little memory.
//!
//! A [`Snapshot`] is one read-only transaction. It first reads the sort key of every row (16 bytes
//! each, or the names) and sorts the keys in this process. Then it reads the rows themselves in
//! pieces, by their keys. So no statement takes long, and neither this process nor the database
//! holds all rows at once, and yet all rows are of the same moment.
//!
//! While a snapshot is open the database keeps all old versions of rows. So its reader must not
//! wait for anybody else: a list for a slow client is written to a file first. A snapshot ends by
//! itself after [`LONGEST`].

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::alert::Cause;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::reservation::Spec;
use innkeeper_core::summary::Incident;

use crate::connection::AnyConnection;
use crate::readable::{self, Read, apart, malformed, named, read_within};
use crate::rows::{AlertRow, CHECKED_OUT, ReservationRow, ms, time};
use crate::schema::{alerts, late_failures, reservations, states};
use crate::{LeftOut, Store, StoreError, Unreadable, reads};

/// The longest time that a snapshot is open. A million reservations should take less than half a
/// minute; the rest is for slow machines.
const LONGEST: Duration = Duration::from_secs(120);
/// The most keys that one statement reads.
const KEYS: i64 = 10_000;
/// The most rows that one statement reads.
const ROWS: usize = 1000;

/// Runs `read` in a transaction that sees everything as it is at one moment.
pub(crate) fn at_one_time<T, E: From<StoreError>>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, E>,
) -> Result<T, E> {
    match connection {
        AnyConnection::Postgres(_) => connection.transaction(|connection| {
            connection.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
            Ok::<_, StoreError>(read(connection))
        })?,
        // On SQLite each reading transaction is a snapshot. It is rolled back, because after a
        // damaged page it could not be committed.
        AnyConnection::Sqlite(_) => {
            connection.batch_execute("BEGIN").map_err(StoreError::from)?;
            let done = read(connection);
            connection.batch_execute("ROLLBACK").map_err(StoreError::from)?;
            done
        }
    }
}

/// A read-only transaction that reads many rows as they are at one moment, in order and with little
/// memory.
pub struct Snapshot<'c> {
    connection: &'c mut AnyConnection,
    now: Time,
    begun: Instant,
}

impl Store {
    /// Runs `read` with a snapshot of everything as it is at `now`.
    ///
    /// # Errors
    /// The error of `read`, [`StoreError::Unavailable`] when reading takes longer than two minutes,
    /// and otherwise a `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn snapshot<T, E: From<StoreError>>(
        &self,
        now: Time,
        read: impl FnOnce(&mut Snapshot<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pooled = self.get()?;
        let connection: &mut AnyConnection = &mut pooled;
        let begun = Instant::now();
        at_one_time(connection, |connection| read(&mut Snapshot { connection, now, begun }))
    }

    /// All reservations, or those of one app, as they are at `now`; latest check-in first. Rows
    /// that cannot be read are logged and left out. Holds all of them in memory, so it is meant for
    /// small numbers.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn list(&self, app: Option<&str>, now: Time) -> Result<Vec<Assessed>, StoreError> {
        let mut listed = Vec::new();
        let apps = app.map(|app| vec![app.to_owned()]);
        self.snapshot(now, |snapshot| {
            snapshot.latest_first(apps.as_deref(), |one| {
                listed.push(one);
                Ok::<_, StoreError>(())
            })
        })?;
        Ok(listed)
    }

    /// The incidents that were open at some time since `since`, those still open first, then latest
    /// first. Holds all of them in memory.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn incidents_since(&self, since: Time) -> Result<Vec<Incident>, StoreError> {
        let mut incidents = Vec::new();
        self.snapshot(since, |snapshot| {
            snapshot.incidents(since, |one| {
                incidents.push(one);
                Ok::<_, StoreError>(())
            })
        })?;
        Ok(incidents)
    }
}

impl Snapshot<'_> {
    /// Calls `visit` with every reservation, or those of these apps; latest check-in first, then by
    /// number. Rows that cannot be read are logged, left out and returned.
    ///
    /// # Errors
    /// The first error of `visit`, and otherwise a `StoreError` when the database cannot be
    /// reached, or refuses the statement.
    pub fn latest_first<E: From<StoreError>>(
        &mut self,
        apps: Option<&[String]>,
        mut visit: impl FnMut(Assessed) -> Result<(), E>,
    ) -> Result<LeftOut, E> {
        let mut keys: Vec<(Reverse<i64>, i64)> = Vec::new();
        let together = self.all_keys(
            |snapshot, after| snapshot.check_in_times(apps, after),
            |(id, last)| {
                keys.push((Reverse(last.unwrap_or(i64::MIN)), id));
                id
            },
        );
        match together {
            Err(StoreError::Damaged(_)) => keys = self.keys_one_by_one(apps)?,
            done => done?,
        }
        keys.sort_unstable();
        let mut left_out = LeftOut::default();
        let read = |snapshot: &mut Self, ids: &[i64]| snapshot.assessed(ids, &mut left_out);
        self.rows_in_order(&keys, read, &mut visit)?;
        left_out.say();
        Ok(left_out)
    }

    /// Calls `visit` with the spec of every reservation, or of those of these apps, by app and
    /// component.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when any row cannot be read, because an incomplete set must not
    /// be taken for the whole. Also the first error of `visit`, and otherwise a `StoreError` when
    /// the database cannot be reached, or refuses the statement.
    pub fn by_name<E: From<StoreError>>(
        &mut self,
        apps: Option<&[String]>,
        mut visit: impl FnMut(Spec) -> Result<(), E>,
    ) -> Result<(), E> {
        // Sorted here, because a database sorts by its own locale. All names are in one text, and
        // each key holds its place there.
        let (mut names, mut keys) = (String::new(), Vec::new());
        let mut keep = |(id, app, component): (i64, String, String)| {
            keys.push((names.len(), id));
            for name in [app, component] {
                names.push_str(&name);
                names.push('\0');
            }
            id
        };
        match self.all_keys(|snapshot, after| snapshot.names(apps, after), &mut keep) {
            Err(StoreError::Damaged(_)) => {
                // The row at fault is found and reported when its spec is read.
                (names, keys) = (String::new(), Vec::new());
                for (id, app, component) in self.indexed_names(apps)? {
                    keys.push((names.len(), id));
                    names.extend([&app, "\0", &component, "\0"]);
                }
            }
            done => done?,
        }
        // No name contains a zero byte.
        let name = |from: usize| {
            let mut parts = names[from..].split('\0');
            (parts.next(), parts.next())
        };
        keys.sort_unstable_by(|(one, _), (other, _)| name(*one).cmp(&name(*other)));
        self.rows_in_order(&keys, Self::spec, &mut visit)
    }

    /// Calls `visit` with the incidents that were open at some time since `since`: those still open
    /// first, then latest first.
    ///
    /// # Errors
    /// The first error of `visit`, and otherwise a `StoreError` when the database cannot be
    /// reached, or refuses the statement.
    pub fn incidents<E: From<StoreError>>(
        &mut self,
        since: Time,
        mut visit: impl FnMut(Incident) -> Result<(), E>,
    ) -> Result<(), E> {
        for open in [true, false] {
            let mut keys: Vec<(Reverse<i64>, i64)> = Vec::new();
            self.all_keys(
                |snapshot, after| snapshot.opening_times(open, since, after),
                |(id, opened)| {
                    keys.push((Reverse(opened), id));
                    id
                },
            )?;
            keys.sort_unstable();
            self.rows_in_order(&keys, Self::incidents_of, &mut visit)?;
        }
        Ok(())
    }

    /// Calls `visit` with the failures noted since `since` that were over when they were reported,
    /// as incidents. At most the latest ten thousand.
    ///
    /// # Errors
    /// The first error of `visit`, and otherwise a `StoreError` when the database cannot be
    /// reached, or refuses the statement.
    pub fn late_failures<E: From<StoreError>>(
        &mut self,
        since: Time,
        visit: impl FnMut(Incident) -> Result<(), E>,
    ) -> Result<(), E> {
        let rows: Vec<(i64, String, String, String, i64)> = late_failures::table
            .inner_join(reservations::table.on(reservations::id.eq(late_failures::reservation_id)))
            .filter(late_failures::noted_at.ge(ms(since)))
            .order((late_failures::at.desc(), late_failures::reservation_id))
            .limit(KEYS)
            .select((
                reservations::id,
                reservations::app,
                reservations::component,
                reservations::owner,
                late_failures::at,
            ))
            .load(self.connection)
            .map_err(StoreError::from)?;
        let incident = |(reservation_id, app, component, owner, at)| Incident {
            reservation_id,
            app,
            component,
            owner,
            cause: Cause::Failed,
            reason: "It failed, and had succeeded again when that was reported.".to_owned(),
            opened_at: time(at),
            closed_at: Some(time(at)),
            reported_late: true,
        };
        rows.into_iter().map(incident).try_for_each(visit)
    }

    /// Calls `keep` with every key; it returns the key's number. `read` returns up to [`KEYS`] keys
    /// after a number, in their order.
    fn all_keys<K>(
        &mut self,
        mut read: impl FnMut(&mut Self, i64) -> Result<Vec<K>, StoreError>,
        mut keep: impl FnMut(K) -> i64,
    ) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            self.check_time()?;
            let keys = read(self, after)?;
            let is_last = (keys.len() as i64) < KEYS;
            for key in keys {
                after = keep(key);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Calls `visit` with the rows of these keys, in their order. `read` returns the rows of some
    /// numbers.
    fn rows_in_order<K, R, E: From<StoreError>>(
        &mut self,
        keys: &[(K, i64)],
        mut read: impl FnMut(&mut Self, &[i64]) -> Result<Vec<R>, StoreError>,
        visit: &mut impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        for keys in keys.chunks(ROWS) {
            self.check_time()?;
            let ids: Vec<i64> = keys.iter().map(|(_, id)| *id).collect();
            read(self, &ids)?.into_iter().try_for_each(&mut *visit)?;
        }
        Ok(())
    }

    fn check_time(&self) -> Result<(), StoreError> {
        if self.begun.elapsed() > LONGEST {
            return Err(StoreError::Unavailable(format!("reading everything takes longer than {LONGEST:?}")));
        }
        Ok(())
    }

    fn check_in_times(
        &mut self,
        apps: Option<&[String]>,
        after: i64,
    ) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
        let states = states::table
            .filter(states::reservation_id.gt(after))
            .order(states::reservation_id)
            .limit(KEYS)
            .select((states::reservation_id, states::last_checkin_at));
        Ok(match apps {
            None => states.load(self.connection)?,
            Some(apps) => states
                .inner_join(reservations::table)
                .filter(reservations::app.eq_any(apps))
                .load(self.connection)?,
        })
    }

    fn names(
        &mut self,
        apps: Option<&[String]>,
        after: i64,
    ) -> Result<Vec<(i64, String, String)>, StoreError> {
        let mut query = reservations::table
            .filter(reservations::id.gt(after))
            .order(reservations::id)
            .limit(KEYS)
            .select((reservations::id, reservations::app, reservations::component))
            .into_boxed();
        if let Some(apps) = apps {
            query = query.filter(reservations::app.eq_any(apps));
        }
        Ok(query.load(self.connection)?)
    }

    fn opening_times(&mut self, open: bool, since: Time, after: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        let query = alerts::table
            .filter(alerts::id.gt(after))
            .order(alerts::id)
            .limit(KEYS)
            .select((alerts::id, alerts::opened_at));
        Ok(match open {
            true => query.filter(alerts::closed_at.is_null()).load(self.connection)?,
            // Withdrawn alerts do not count.
            false => query
                .filter(alerts::closed_at.ge(ms(since)))
                .filter(alerts::ending.is_null().or(alerts::ending.eq(CHECKED_OUT)))
                .load(self.connection)?,
        })
    }

    /// The numbers and names of these apps' reservations, for an SQLite table with damaged rows.
    fn indexed_names(&mut self, apps: Option<&[String]>) -> Result<Vec<(i64, String, String)>, StoreError> {
        let mut names = readable::indexed_names(self.connection, "TRUE")?;
        names.retain(|(_, app, _)| apps.is_none_or(|apps| apps.contains(app)));
        Ok(names)
    }

    /// The keys of [`Snapshot::latest_first`], read one by one where they cannot be read together.
    /// A row whose key cannot be read comes last; it is reported when the row itself is read.
    fn keys_one_by_one(&mut self, apps: Option<&[String]>) -> Result<Vec<(Reverse<i64>, i64)>, StoreError> {
        let mut keys = Vec::new();
        for (id, ..) in self.indexed_names(apps)? {
            let last: Result<Option<Option<i64>>, StoreError> = states::table
                .filter(states::reservation_id.eq(id))
                .select(states::last_checkin_at)
                .first(self.connection)
                .optional()
                .map_err(StoreError::from);
            let last = match last {
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => {
                    log::debug!("when number {id} checked in last: {error}");
                    None
                }
                Ok(last) => last.flatten(),
            };
            keys.push((Reverse(last.unwrap_or(i64::MIN)), id));
            self.check_time()?;
        }
        Ok(keys)
    }

    /// The reservations of these numbers that can be read, in their order.
    fn assessed(&mut self, ids: &[i64], left_out: &mut LeftOut) -> Result<Vec<Assessed>, StoreError> {
        let Read { rows, unreadable } = read_within(self.connection, ids)?;
        left_out.add_all(self.connection, unreadable)?;
        let rows = in_order(ids, rows, |(row, _)| row.id);
        let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id).collect();
        reads::assessed(self.connection, rows, Some(&ids), self.now, left_out)
    }

    /// The specs of these reservations, in their order.
    fn spec(&mut self, ids: &[i64]) -> Result<Vec<Spec>, StoreError> {
        let malformed = match malformed(self.connection, ids) {
            // Here a row cannot be read; it is found below.
            Err(error) if !error.is_unavailable() => Vec::new(),
            malformed => malformed?,
        };
        if let Some(one) = malformed.into_iter().find(|one| one.is_in_terms) {
            return Err(StoreError::Unreadable(named(self.connection, one.id, one.problem())?));
        }
        let together = apart(self.connection, |connection| {
            let rows = reservations::table.filter(reservations::id.eq_any(ids));
            Ok::<Vec<ReservationRow>, StoreError>(rows.select(ReservationRow::as_select()).load(connection)?)
        });
        let rows = match together {
            Err(error) if !error.is_unavailable() => {
                let first = read_within(self.connection, ids)?.unreadable.into_iter().next();
                let Some((id, problem)) = first else { return Err(error) };
                return Err(StoreError::Unreadable(named(self.connection, id, problem)?));
            }
            rows => rows?,
        };
        let spec = |row: ReservationRow| {
            row.spec().map_err(|error| {
                StoreError::Unreadable(Unreadable {
                    reservation_id: row.id,
                    app: row.app.clone(),
                    component: row.component.clone(),
                    problem: error.to_string(),
                })
            })
        };
        in_order(ids, rows, |row| row.id).into_iter().map(spec).collect()
    }

    fn incidents_of(&mut self, ids: &[i64]) -> Result<Vec<Incident>, StoreError> {
        let rows: Vec<AlertRow> = alerts::table
            .filter(alerts::id.eq_any(ids))
            .select(AlertRow::as_select())
            .load(self.connection)?;
        let incident = |row: AlertRow| {
            Ok(Incident {
                cause: row.cause()?,
                reservation_id: row.reservation_id,
                app: row.app,
                component: row.component,
                owner: row.owner,
                reason: row.sentence,
                opened_at: time(row.opened_at),
                closed_at: row.closed_at.map(time),
                reported_late: false,
            })
        };
        Ok(readable::readable(in_order(ids, rows, |row| row.id), incident))
    }
}

/// The rows in the order of these numbers.
fn in_order<R>(ids: &[i64], rows: Vec<R>, id: impl Fn(&R) -> i64) -> Vec<R> {
    let mut by_id: HashMap<i64, R> = rows.into_iter().map(|row| (id(&row), row)).collect();
    ids.iter().filter_map(|id| by_id.remove(id)).collect()
}
