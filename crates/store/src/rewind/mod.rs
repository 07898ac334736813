//! Moves back the times that were recorded while the clock was ahead. This happens after the clock
//! has returned, and before the new time is used.
//!
//! Every time that is later than the new now moves back, apart from a small tolerance
//! ([`Rewind::stays_ms`]). The facts and the history of the reservations come first, in the order
//! of their ids (`reservations.rs`), then the other tables (`tables.rs`). Each batch is a
//! transaction of its own. A second pass over rows that were moved changes nothing. Therefore an
//! interrupted pass can be repeated, and several nodes may do it at once. Rows that cannot be read
//! are left out: their reservation cannot be judged either, and is reported for that reason.

mod reservations;
mod tables;

use diesel::dsl::max;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::rewind::Rewind;

pub(crate) use reservations::bring_back;

use crate::connection::AnyConnection;
use crate::rows::time;
use crate::schema::{checkins, duties, nodes};
use crate::{Seldom, Store, StoreError};

/// How many of the latest check-ins are searched for the newest time. They are recorded nearly in
/// the order of their times.
const LATEST: i64 = 100;

/// The progress of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Rewinding {
    stage: Stage,
    /// The most rows of the next batch. It is lowered after a batch that failed.
    most: i64,
    /// Whether the pass looks for rows that were written during an earlier pass.
    is_for_stragglers: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The reservations after this id.
    Reservations(i64),
    /// The snoozes of duties. The audit log tells which of them move, so they move before the audit
    /// log.
    SnoozedDuties,
    /// The rows of the large table of this index, after this id.
    Rows(usize, i64),
    /// The small table of this index.
    Table(usize),
    /// Heartbeats and leases. They come last: the nodes write heartbeats by the old time until the
    /// pass is complete. By these a process that starts finds that a pass was interrupted.
    Heartbeats,
}

/// The most rows of one transaction, for tables whose rows are independent of each other.
const MOST: i64 = 5000;

impl Default for Rewinding {
    fn default() -> Self {
        Self { stage: Stage::Reservations(0), most: MOST, is_for_stragglers: false }
    }
}

impl Rewinding {
    /// A pass that looks for rows that nodes wrote by the old time after an earlier pass had moved
    /// them. Of the reservations in which nothing moves, it has the sweep look only at those whose
    /// conclusions such a node may have written.
    pub fn for_stragglers() -> Self {
        Self { is_for_stragglers: true, ..Self::default() }
    }
}

impl Stage {
    fn rewind(
        self,
        connection: &mut AnyConnection,
        rewind: &Rewind,
        is_for_stragglers: bool,
        most: i64,
    ) -> Result<Option<Self>, StoreError> {
        Ok(Some(match self {
            Self::Reservations(after) => {
                match reservations::rewind(connection, rewind, is_for_stragglers, after, most)? {
                    Some(last) => Self::Reservations(last),
                    None => Self::SnoozedDuties,
                }
            }
            Self::SnoozedDuties => {
                tables::rewind_snoozed_duties(connection, rewind)?;
                Self::Rows(0, 0)
            }
            Self::Rows(table, after) => match tables::rewind_rows(connection, rewind, table, after, most)? {
                Some(last) => Self::Rows(table, last),
                None if table + 1 < tables::LARGE.len() => Self::Rows(table + 1, 0),
                None => Self::Table(0),
            },
            Self::Table(table) => {
                tables::rewind_table(connection, rewind, table)?;
                if table + 1 < tables::SMALL.len() { Self::Table(table + 1) } else { Self::Heartbeats }
            }
            Self::Heartbeats => {
                tables::rewind_heartbeats(connection, rewind)?;
                return Ok(None);
            }
        }))
    }

    /// The most rows of one batch.
    fn most(self) -> i64 {
        match self {
            Self::Reservations(_) => reservations::MOST,
            _ => MOST,
        }
    }

    /// The table of the next batch, its key column, and the key after which the batch begins.
    fn rows(self) -> Option<(&'static str, &'static str, i64)> {
        match self {
            Self::Reservations(after) => Some(("states", "reservation_id", after)),
            Self::Rows(table, after) => Some((tables::LARGE.get(table)?, "id", after)),
            _ => None,
        }
    }

    /// The same stage, with the next batch after the row `id`.
    fn after(self, id: i64) -> Self {
        match self {
            Self::Reservations(_) => Self::Reservations(id),
            Self::Rows(table, _) => Self::Rows(table, id),
            other => other,
        }
    }
}

impl Store {
    /// Moves the next batch of a pass. Returns whether the pass is complete. A batch that fails is
    /// smaller the next time. A row that fails even alone is logged and skipped, so that it does
    /// not block all others.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn rewind_some(&self, rewind: &Rewind, progress: &mut Rewinding) -> Result<bool, StoreError> {
        let Rewinding { stage, most, is_for_stragglers } = *progress;
        let most = most.min(stage.most());
        match self.write(|connection| stage.rewind(connection, rewind, is_for_stragglers, most)) {
            Ok(Some(next)) => {
                *progress = Rewinding { stage: next, most: (most * 2).min(MOST), is_for_stragglers };
                Ok(false)
            }
            Ok(None) => Ok(true),
            Err(error) => {
                let Some((table, key, after)) = stage.rows() else { return Err(error) };
                progress.most = (most / 2).max(1);
                if error.is_unavailable() {
                    return Err(error);
                }
                if most == 1 {
                    let next = tables::last_of(&mut *self.get()?, table, key, after, 1)?;
                    let Some(id) = next else { return Err(error) };
                    static REFUSED: Seldom = Seldom::new();
                    REFUSED.error(format_args!("the times of {table} {id} stay ahead of the clock: {error}"));
                    progress.stage = stage.after(id);
                }
                Ok(false)
            }
        }
    }

    /// Does a whole pass.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn rewind(&self, rewind: &Rewind) -> Result<(), StoreError> {
        let mut progress = Rewinding::default();
        while !self.rewind_some(rewind, &mut progress)? {}
        Ok(())
    }

    /// The newest time that any node has recorded. `None` in a new database.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn newest_time(&self) -> Result<Option<Time>, StoreError> {
        let connection = &mut *self.get()?;
        let duty: Option<i64> = duties::table.select(max(duties::beat_at)).first(connection)?;
        let beat: Option<i64> = nodes::table.select(max(nodes::beat_at)).first(connection)?;
        let goodbye: Option<i64> = nodes::table.select(max(nodes::goodbye_at)).first(connection)?;
        let latest: Vec<(i64, Option<i64>)> = checkins::table
            .order(checkins::id.desc())
            .limit(LATEST)
            .select((checkins::at, checkins::arrived_at))
            .load(connection)?;
        let latest = latest.into_iter().map(|(at, arrived_at)| arrived_at.unwrap_or(at));
        Ok(latest.max().max(duty).max(beat).max(goodbye).map(time))
    }
}
