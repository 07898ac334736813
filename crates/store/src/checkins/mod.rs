//! Writes check-ins. This is the hot path.
//!
//! A batch is one transaction with one statement for each table, whatever is in it: resolve the targets, update the facts
//! of each reservation once (in id order, so that two nodes' batches cannot deadlock), pair starts with their ends, add the
//! history and the figures. What a check-in means is decided by the sweeper; here `wake_at` is only pulled forward where a
//! conclusion may change.
//!
//! A batch is written in two passes. The first ([`CheckInWriter::record_known`]) resolves targets by hints and takes no lock before
//! the update. What it leaves over (nobody knows the target, or the check-in makes or changes a reservation) is written by the
//! second ([`CheckInWriter::record`]), which knows for sure.

mod keys;
mod known;
mod lookup_cache;
mod merge;
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
use crate::reservation_rows::lock_states;
use crate::runs::Runs;
use crate::{Store, StoreError, history, recent};

use known::Hint;
pub(crate) use lookup_cache::LookupCache;
use merge::Merged;
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

/// What became of the arrivals of a batch in its first pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastPath {
    /// One for each arrival, in their order; none for an arrival that was not written and is left to the second pass.
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
        self.write(|connection| {
            // First: while this transaction holds no other lock, waiting for another batch with the same keys cannot deadlock.
            let recorded = keys::take(connection, batch)?;
            let resolved = resolve::resolve(connection, batch, &recorded)?;
            let ids: Vec<i64> = resolved.iter().filter_map(Resolved::id).collect();
            lock_states(connection, &ids)?;
            let mut hints: Vec<Hint> = resolved
                .into_iter()
                .map(|resolved| Hint { resolved: Some(resolved), lookup_key: None })
                .collect();
            let wake = write(connection, batch, &mut hints)?;
            // What was checked out since its target was resolved is unknown after all.
            let resolved = hints.into_iter().map(|hint| hint.resolved.unwrap_or(Resolved::Unknown));
            let mut resolved: Vec<Option<Resolved>> = resolved.map(Some).collect();
            keys::give_back(connection, batch, &mut resolved, Some(Resolved::Unknown))?;
            Ok(BatchOutcome { recorded: resolved.into_iter().flatten().map(Recorded::from).collect(), wake })
        })
    }

    /// Writes the check-ins of known reservations among the batch, in one transaction that takes no lock before it updates the states.
    /// Arrivals that the result does not name as recorded were not written; [`Self::record`] writes them. An error means that
    /// nothing was written.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn record_known(&mut self, batch: &[Arrival]) -> Result<FastPath, StoreError> {
        let cache = Arc::clone(&self.store.lookup_cache);
        self.write(|connection| {
            let recorded = keys::take(connection, batch)?;
            let mut hints = known::hints(connection, &cache, batch, &recorded)?;
            let settled: Vec<bool> = hints.iter().map(|hint| hint.resolved.is_some()).collect();
            let wake = write(connection, batch, &mut hints)?;
            let mut cache = cache.lock();
            for (hint, was_settled) in hints.iter().zip(settled) {
                if let Some(stale) = hint.lookup_key.filter(|_| was_settled && hint.resolved.is_none()) {
                    cache.forget(stale);
                }
            }
            drop(cache);
            let mut resolved: Vec<Option<Resolved>> = hints.into_iter().map(|hint| hint.resolved).collect();
            keys::give_back(connection, batch, &mut resolved, None)?;
            let recorded = resolved.into_iter().map(|resolved| resolved.map(Recorded::from)).collect();
            Ok(FastPath { recorded, wake })
        })
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let file = self.store.file().cloned();
        self.on_connection(|connection| write_on(file.as_ref(), connection, write))
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
    /// The latest start, including those of this batch.
    pub last_start_at: Option<i64>,
    /// The latest end of all runs before this batch.
    pub runs_over_before: Option<i64>,
    /// Whether it is due for a sweep now.
    pub wake: bool,
    /// How many check-ins it has had, including this batch.
    pub checkins: i64,
    /// The id of its latest check-in before this batch.
    pub previous_id: Option<i64>,
}

impl Updated {
    /// Whether runs have to be looked at for this check-in. An end that names no run ends all of them; where none has
    /// started since the last such end, there is none to end.
    fn concerns_runs(&self, checkin: &CheckIn) -> bool {
        match checkin.kind {
            CheckInKind::Log => false,
            CheckInKind::Start => true,
            CheckInKind::Success | CheckInKind::Fail => {
                checkin.run_id.is_some() || self.last_start_at > self.runs_over_before
            }
        }
    }
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

/// Writes the check-ins of the arrivals that resolve to a reservation. Where the reservation is gone, or no longer has the lookup key,
/// the arrival is not written and no longer resolved. Returns whether a sweeper should look now.
fn write(connection: &mut AnyConnection, batch: &[Arrival], hints: &mut [Hint]) -> Result<bool, StoreError> {
    let mut arrivals: Vec<(i64, &CheckIn)> = Vec::with_capacity(batch.len());
    let mut lookup_keys: HashMap<i64, Uuid> = HashMap::with_capacity(batch.len());
    for (arrival, hint) in batch.iter().zip(hints.iter()) {
        if let Some(Resolved::Known { id, .. }) = hint.resolved {
            arrivals.push((id, &arrival.checkin));
            lookup_keys.extend(hint.lookup_key.map(|key| (id, key)));
        }
    }
    if arrivals.is_empty() {
        return Ok(false);
    }
    arrivals.sort_by_key(|(id, checkin)| (*id, checkin.at));
    let ids = new_ids(connection, arrivals.len())?;
    let merged = Merged::by_reservation(arrivals.iter().copied(), &ids, &lookup_keys);
    let updated = match connection {
        AnyConnection::Postgres(connection) => postgres::update_facts(connection, &merged)?,
        AnyConnection::Sqlite(connection) => sqlite::update_facts(connection, &merged)?,
    };
    let wake = updated.iter().any(|updated| updated.wake);
    let present: HashMap<i64, Updated> = updated.into_iter().map(|updated| (updated.id, updated)).collect();
    for hint in hints {
        hint.resolved
            .take_if(|resolved| matches!(resolved, Resolved::Known { id, .. } if !present.contains_key(id)));
    }
    let mut with_runs: Vec<i64> = arrivals
        .iter()
        .filter(|(id, checkin)| present.get(id).is_some_and(|updated| updated.concerns_runs(checkin)))
        .map(|(id, _)| *id)
        .collect();
    with_runs.dedup();
    let mut runs = Runs::of(connection, &with_runs)?;
    for id in &with_runs {
        runs.over(*id, present.get(id).and_then(|updated| updated.runs_over_before));
    }
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
    Ok(wake)
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
