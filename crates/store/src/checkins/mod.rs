//! Writes check-ins. This is the hot path.
//!
//! A batch is one transaction. It resolves the targets, updates the facts of each reservation once
//! (in id order, so that two nodes' batches cannot deadlock), and adds the history. The sweeper
//! decides what a check-in means. Here `wake_at` is only moved forward if a conclusion may change.

mod keys;
mod merge;
mod plain;
mod postgres;
mod probe;
mod refusals;
mod resolve;
mod sqlite;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use diesel::r2d2::R2D2Connection;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::{Invalid, Time};
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::connection::{AnyConnection, Connected, write_on};
use crate::database_file::IdleConnections;
use crate::runs::Runs;
use crate::{Store, StoreError, history, recent};

use merge::Merged;
pub(crate) use plain::LookupCache;
pub(crate) use refusals::Refusals;
use resolve::Resolved;

/// The reservation that a check-in names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The reservation with these names.
    Names(AppName, ComponentName),
    /// The reservation with this ping key.
    Key(Uuid),
    /// The reservation with this slug in the app of this ping key.
    Slug {
        /// The app's ping key.
        ping_key: String,
        /// The component's slug.
        slug: String,
    },
}

/// Whether a check-in carries a definition of its reservation.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// It carries none. If its target is unknown, it is not recorded.
    None,
    /// It creates the reservation if that is missing.
    IfMissing(Box<Patch>),
    /// It creates the reservation if that is missing. Otherwise it changes the fields that differ
    /// from the definition in the check-in before.
    Always(Box<Patch>),
}

/// A check-in with its target and definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The reservation that it names.
    pub target: Target,
    /// The check-in itself.
    pub checkin: CheckIn,
    /// The definition that it carries.
    pub definition: Definition,
}

/// The result of one check-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It was recorded. It is durable once the call that writes the batch has returned.
    Done {
        /// Its reservation.
        reservation_id: i64,
        /// Whether this check-in created the reservation.
        created: bool,
        /// The reservation's `alerters`, if the check-in carried a definition.
        alerters: Vec<AlerterName>,
    },
    /// A check-in with the same key was recorded before. Nothing was written.
    Known,
    /// There is no such reservation. Nothing was written.
    Unknown,
    /// It carried a definition that cannot create a reservation. Nothing was written.
    Refused(Invalid),
}

/// The result of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOutcome {
    /// The result of each arrival, in their order.
    pub recorded: Vec<Recorded>,
    /// Whether a conclusion may have changed, so that a sweep should follow now.
    pub wake: bool,
}

/// The result of the arrivals of a batch that could take the fast path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastPath {
    /// The result of each arrival, in their order. `None` for an arrival that was not written and
    /// has to take the general path.
    pub recorded: Vec<Option<Recorded>>,
    /// Whether a conclusion may have changed, so that a sweep should follow now.
    pub wake: bool,
}

/// Writes batches over a connection of its own, which it keeps as long as it works.
pub struct CheckInWriter {
    store: Store,
    slot: Arc<Slot>,
    lock_patience: Option<Duration>,
}

/// Holds a writer's connection while nothing is written.
#[derive(Default)]
struct Slot(Mutex<Option<Connected>>);

impl Slot {
    fn connection(&self) -> MutexGuard<'_, Option<Connected>> {
        self.0.lock()
    }
}

impl IdleConnections for Slot {
    fn close_idle(&self) {
        let mut connection = self.connection();
        if connection.as_ref().is_some_and(Connected::is_void) {
            *connection = None;
        }
    }
}

impl Store {
    /// A writer of check-ins.
    pub fn writer(&self) -> CheckInWriter {
        let slot = Arc::<Slot>::default();
        if let Some(file) = self.file() {
            let keeper: Weak<Slot> = Arc::downgrade(&slot);
            file.register(keeper);
        }
        CheckInWriter { store: self.clone(), slot, lock_patience: None }
    }
}

impl CheckInWriter {
    /// Limits the time for which a batch waits for a row that another transaction has locked. After
    /// that the batch fails. This applies to Postgres only.
    #[must_use]
    pub fn that_waits_for_locks_at_most(self, patience: Duration) -> Self {
        Self { lock_patience: Some(patience), ..self }
    }

    /// Writes the batch in one transaction. After an error, nothing of it was written.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn record(&mut self, batch: &[Arrival]) -> Result<BatchOutcome, StoreError> {
        let file = self.store.file().cloned();
        self.on_connection(|connection| {
            write_on(file.as_ref(), connection, |connection| record(connection, batch))
        })
        .inspect(|_| self.note_written())
    }

    /// Writes the arrivals of the batch that can take the fast path, in one transaction, by
    /// statements that are prepared once. The other arrivals have no result in
    /// [`FastPath::recorded`] and were not written; [`Self::record`] writes them. After an error,
    /// nothing was written.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn record_plain(&mut self, batch: &[Arrival]) -> Result<FastPath, StoreError> {
        let known = Arc::clone(&self.store.lookup_cache);
        let file = self.store.file().cloned();
        self.on_connection(|connection| plain::record(file.as_ref(), connection, &known, batch))
            .inspect(|_| self.note_written())
    }

    /// Notes for the SQLite file that check-ins were written, so that a checkpoint is worthwhile. A
    /// probe does not count, because it is rolled back.
    fn note_written(&self) {
        if let Some(file) = self.store.file() {
            file.note_written();
        }
    }

    /// Takes the connection out of its slot, runs `work` on it, and puts it back. After a panic or
    /// most errors it is not put back, so that no connection with an open transaction is used
    /// again. On Postgres it is put back after a refused statement or a lock timeout, because it
    /// has the prepared statements.
    fn on_connection<T>(
        &mut self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let taken = self.slot.connection().take().filter(|connected| !connected.is_void());
        let mut connected = match taken {
            Some(connected) => connected,
            None => self.store.connect_for_batches(self.lock_patience)?,
        };
        let done = work(&mut connected);
        let refused = matches!(done, Err(StoreError::Refused(_) | StoreError::Locked(_)));
        let usable = match &mut *connected {
            AnyConnection::Postgres(connection) => refused && !R2D2Connection::is_broken(connection),
            AnyConnection::Sqlite(_) => false,
        };
        if done.is_ok() || usable {
            *self.slot.connection() = Some(connected);
        }
        done
    }
}

/// The result of the update of the facts of one reservation.
pub(crate) struct Updated {
    /// The reservation.
    pub id: i64,
    /// Whether a start was ever recorded, so that runs have to be paired.
    pub has_starts: bool,
    /// Whether it is due for a sweep now.
    pub wake: bool,
    /// How many check-ins it has had, including this batch.
    pub checkins: i64,
    /// The id of its latest check-in before this batch.
    pub previous_id: Option<i64>,
}

/// One row of the history.
pub(crate) struct HistoryRow<'a> {
    pub id: i64,
    pub reservation_id: i64,
    pub checkin: &'a CheckIn,
    pub duration_ms: Option<i64>,
    /// Its number among the check-ins of its reservation, counted from 1.
    pub number: i64,
    /// The id of the check-in before it of the same reservation.
    pub previous_id: Option<i64>,
}

impl HistoryRow<'_> {
    fn signal(&self) -> Option<&str> {
        self.checkin.report.as_ref()?.signal.as_deref()
    }

    fn figures(&self) -> Option<String> {
        recent::figures_text(&self.checkin.figures)
    }

    fn peak_memory_bytes(&self) -> Option<i64> {
        self.checkin.report.as_ref()?.peak_memory_bytes
    }
}

fn record(connection: &mut AnyConnection, batch: &[Arrival]) -> Result<BatchOutcome, StoreError> {
    // This must be first. While the transaction holds no other lock, it can wait for another batch
    // with the same keys without a deadlock.
    let known = keys::take(connection, batch)?;
    let mut resolved = resolve::resolve(connection, batch, &known)?;
    let mut arrivals: Vec<(i64, &CheckIn)> = batch
        .iter()
        .zip(&resolved)
        .filter_map(|(arrival, resolved)| match resolved {
            Resolved::Known { id, .. } => Some((*id, &arrival.checkin)),
            _ => None,
        })
        .collect();
    arrivals.sort_by_key(|(id, checkin)| (*id, checkin.at));
    let ids = new_ids(connection, arrivals.len())?;
    let merged = Merged::by_reservation(arrivals.iter().copied());
    let updated = match connection {
        AnyConnection::Postgres(connection) => postgres::update_facts(connection, &merged, &ids)?,
        AnyConnection::Sqlite(connection) => sqlite::update_facts(connection, &merged, &ids)?,
    };
    let wake = updated.iter().any(|updated| updated.wake);
    let mut with_runs: Vec<i64> =
        updated.iter().filter(|updated| updated.has_starts).map(|updated| updated.id).collect();
    let present: HashMap<i64, Updated> = updated.into_iter().map(|updated| (updated.id, updated)).collect();
    // A reservation that was checked out after its target was resolved counts as unknown.
    for resolved in &mut resolved {
        if matches!(resolved, Resolved::Known { id, .. } if !present.contains_key(id)) {
            *resolved = Resolved::Unknown;
        }
    }
    keys::give_back(connection, batch, &mut resolved)?;

    let named =
        arrivals.iter().filter(|(_, checkin)| checkin.run_id.is_some() && checkin.kind != CheckInKind::Log);
    with_runs.extend(named.map(|(id, _)| *id).filter(|id| present.contains_key(id)));
    with_runs.sort_unstable();
    with_runs.dedup();
    let mut runs = Runs::of(connection, &with_runs)?;
    let mut late_starts: Vec<(i64, &CheckIn)> = Vec::new();
    let mut history: Vec<HistoryRow<'_>> = Vec::with_capacity(arrivals.len());
    for of_one in arrivals.iter().zip(&ids).collect::<Vec<_>>().chunk_by(|a, b| a.0.0 == b.0.0) {
        let Some(updated) = of_one.first().and_then(|((id, _), _)| present.get(id)) else { continue };
        let mut previous_id = updated.previous_id;
        let first = updated.checkins - of_one.len() as i64 + 1;
        for (number, ((reservation_id, checkin), id)) in (first..).zip(of_one) {
            let paired = with_runs.binary_search(reservation_id).is_ok();
            if paired && runs.is_late_start(*reservation_id, checkin) {
                late_starts.push((*reservation_id, checkin));
            }
            let between = if paired { runs.record(*reservation_id, checkin) } else { None };
            let duration_ms = took_ms(checkin).or(between);
            let (id, reservation_id) = (**id, *reservation_id);
            history.push(HistoryRow { id, reservation_id, checkin, duration_ms, number, previous_id });
            previous_id = Some(id);
        }
    }
    runs.write(connection)?;
    match connection {
        AnyConnection::Postgres(connection) => postgres::add_history(connection, &history)?,
        AnyConnection::Sqlite(connection) => sqlite::add_history(connection, &history)?,
    }
    recent::add(connection, &history)?;
    for (reservation_id, start) in late_starts {
        history::pair_late(connection, reservation_id, start)?;
    }
    let recorded = resolved.into_iter().map(Recorded::from).collect();
    Ok(BatchOutcome { recorded, wake })
}

/// The run time of the run that this check-in ends, as its agent reports it, in milliseconds.
fn took_ms(checkin: &CheckIn) -> Option<i64> {
    let is_end = matches!(checkin.kind, CheckInKind::Success | CheckInKind::Fail);
    checkin.report.as_ref().filter(|_| is_end)?.took.map(|took| took.num_milliseconds())
}

/// `count` new ids for rows of the history, in ascending order.
fn new_ids(connection: &mut AnyConnection, count: usize) -> Result<Vec<i64>, StoreError> {
    match connection {
        _ if count == 0 => Ok(Vec::new()),
        AnyConnection::Postgres(connection) => postgres::next_ids(connection, count),
        AnyConnection::Sqlite(connection) => {
            let latest = sqlite::latest_id(connection)?;
            Ok((latest + 1..).take(count).collect())
        }
    }
}

impl From<Resolved> for Recorded {
    fn from(resolved: Resolved) -> Self {
        match resolved {
            Resolved::Known { id, created, alerters } => Self::Done { reservation_id: id, created, alerters },
            Resolved::Recorded => Self::Known,
            Resolved::Unknown => Self::Unknown,
            Resolved::Refused(problem) => Self::Refused(problem),
        }
    }
}

/// The time of a batch, which is that of its latest arrival. `None` for an empty batch.
pub(crate) fn batch_time(batch: &[Arrival]) -> Option<Time> {
    batch.iter().map(|arrival| arrival.checkin.arrived_at()).max()
}
