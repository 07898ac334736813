//! All of something, as it is at one time, in one order, in little memory.
//!
//! A [`Snapshot`] is one read-only transaction. It reads what the order needs of every row, 16 bytes each, sorts that here, and
//! then reads the rows themselves some at a time, each piece by its keys. So no statement is long, neither this process nor the
//! database ever holds all rows, and yet all of them are of the same moment.
//!
//! While it is open the database keeps what has been replaced since, so whoever reads it must not wait for anybody else: a list for
//! a slow reader is written somewhere first. It ends by itself after [`LONGEST`].

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::reservation::Terms;
use innkeeper_core::summary::Incident;

use crate::connection::AnyConnection;
use crate::rows::{AlertRow, ReservationRow, StateRow, ms, time};
use crate::schema::{alerts, reservations, states};
use crate::{Listed, Store, StoreError, reads};

/// The longest that a snapshot is open. A million reservations are to take less than half a minute; a slow machine needs longer for
/// as many, and is better served late than never.
const LONGEST: Duration = Duration::from_secs(120);
/// Keys that one statement reads.
const KEYS: i64 = 10_000;
/// Rows that one statement reads.
const ROWS: usize = 1000;

/// See the module.
pub struct Snapshot<'c> {
    connection: &'c mut AnyConnection,
    now: Time,
    begun: Instant,
}

impl Store {
    /// Has `read` look at everything as it is at `now`.
    ///
    /// # Errors
    /// The database's, that of `read`, and [`StoreError::Unavailable`] where it takes longer than two minutes.
    pub fn snapshot<T, E: From<StoreError>>(
        &self,
        now: Time,
        read: impl FnOnce(&mut Snapshot<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pooled = self.get()?;
        let connection: &mut AnyConnection = &mut pooled;
        let done = connection.transaction(|connection| {
            if let AnyConnection::Postgres(connection) = connection {
                // In SQLite each transaction that reads is a snapshot.
                connection.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
            }
            Ok::<_, StoreError>(read(&mut Snapshot { connection, now, begun: Instant::now() }))
        });
        done?
    }

    /// All reservations, or those of one app, as they are at `now`; latest check-in first. Rows that cannot be read are logged
    /// and left out. All of them at once: for where there are few.
    pub fn list(&self, app: Option<&str>, now: Time) -> Result<Vec<Listed>, StoreError> {
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

    /// The incidents that were open at some time since `since`, those still open first, then latest first. All of them at once.
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
    /// Every reservation, or those of these apps; latest check-in first, then by number. Rows that cannot be read are logged and left
    /// out.
    ///
    /// # Errors
    /// The database's, and those of `visit`, which end it.
    pub fn latest_first<E: From<StoreError>>(
        &mut self,
        apps: Option<&[String]>,
        mut visit: impl FnMut(Listed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut keys: Vec<(Reverse<i64>, i64)> = Vec::new();
        self.all_keys(
            |snapshot, after| snapshot.check_in_times(apps, after),
            |(id, last)| {
                keys.push((Reverse(last.unwrap_or(i64::MIN)), id));
                id
            },
        )?;
        keys.sort_unstable();
        self.rows_in_order(&keys, Self::listed, &mut visit)
    }

    /// The terms of every reservation, or of those of these apps, by app and component.
    ///
    /// # Errors
    /// As above, and a row that cannot be read: a set that lacks something must not be taken for the whole.
    pub fn by_name<E: From<StoreError>>(
        &mut self,
        apps: Option<&[String]>,
        mut visit: impl FnMut(Terms) -> Result<(), E>,
    ) -> Result<(), E> {
        // Sorted here, because a database sorts by its own locale. All names stand in one text, each key has its place in it.
        let (mut names, mut keys) = (String::new(), Vec::new());
        self.all_keys(
            |snapshot, after| snapshot.names(apps, after),
            |(id, app, component)| {
                keys.push((names.len(), id));
                for name in [app, component] {
                    names.push_str(&name);
                    names.push('\0');
                }
                id
            },
        )?;
        // No name has a zero byte.
        let name = |from: usize| {
            let mut parts = names[from..].split('\0');
            (parts.next(), parts.next())
        };
        keys.sort_unstable_by(|(one, _), (other, _)| name(*one).cmp(&name(*other)));
        self.rows_in_order(&keys, Self::terms, &mut visit)
    }

    /// The incidents that were open at some time since `since`: those still open first, then latest first.
    ///
    /// # Errors
    /// The database's, and those of `visit`, which end it.
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

    /// Hands every key to `keep`, which returns its number. `read` has those after a number, in their order, [`KEYS`] at most.
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

    /// Has `visit` see the rows of these keys, in their order; `read` has those of some numbers.
    fn rows_in_order<K, R, E: From<StoreError>>(
        &mut self,
        keys: &[(K, i64)],
        read: impl Fn(&mut Self, &[i64]) -> Result<Vec<R>, StoreError>,
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
            false => query.filter(alerts::closed_at.ge(ms(since))).load(self.connection)?,
        })
    }

    /// The reservations of these numbers, in their order.
    fn listed(&mut self, ids: &[i64]) -> Result<Vec<Listed>, StoreError> {
        let rows: Vec<(ReservationRow, StateRow)> = reservations::table
            .inner_join(states::table)
            .filter(reservations::id.eq_any(ids))
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .load(self.connection)?;
        let rows = in_order(ids, rows, |(row, _)| row.id);
        reads::listed(self.connection, rows, Some(ids), self.now)
    }

    fn terms(&mut self, ids: &[i64]) -> Result<Vec<Terms>, StoreError> {
        let rows: Vec<ReservationRow> = reservations::table
            .filter(reservations::id.eq_any(ids))
            .select(ReservationRow::as_select())
            .load(self.connection)?;
        in_order(ids, rows, |row| row.id).iter().map(ReservationRow::terms).collect()
    }

    fn incidents_of(&mut self, ids: &[i64]) -> Result<Vec<Incident>, StoreError> {
        let rows: Vec<AlertRow> = alerts::table
            .filter(alerts::id.eq_any(ids))
            .select(AlertRow::as_select())
            .load(self.connection)?;
        let incident = |row: AlertRow| Incident {
            app: row.app,
            component: row.component,
            owner: row.owner,
            cause: row.cause,
            reason: row.sentence,
            opened_at: time(row.opened_at),
            closed_at: row.closed_at.map(time),
        };
        Ok(in_order(ids, rows, |row| row.id).into_iter().map(incident).collect())
    }
}

/// The rows in the order of these numbers.
fn in_order<R>(ids: &[i64], rows: Vec<R>, id: impl Fn(&R) -> i64) -> Vec<R> {
    let mut by_id: HashMap<i64, R> = rows.into_iter().map(|row| (id(&row), row)).collect();
    ids.iter().filter_map(|id| by_id.remove(id)).collect()
}
