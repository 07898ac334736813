//! Moving back what was recorded by a clock that was ahead, before the time that it returned to is used.
//!
//! Everything later than the new now moves: facts and history of the reservations (`reservations.rs`, whose order is kept), then the rest
//! (`tables.rs`). It goes in batches, each a transaction of its own, and a second pass over what was moved changes nothing: so one that was
//! cut off is made again, and several nodes may do it at once.

mod reservations;
mod tables;

use diesel::dsl::max;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::rewind::Rewind;

pub(crate) use reservations::bring_back;

use crate::rows::time;
use crate::schema::{checkins, duties, nodes};
use crate::{Store, StoreError};

/// Among so many of the latest check-ins is the newest: they are recorded nearly in the order of their times.
const LATEST: i64 = 100;

/// How far a pass has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rewinding(Stage);

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Those after this id.
    Reservations(i64),
    /// Those after this id.
    Deliveries(i64),
    /// What is small, heartbeats among it: last, because the nodes beat on by the old time until the pass is through.
    Rest,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Reservations(0)
    }
}

impl Store {
    /// Does the next batch of a pass. Returns whether the pass is through.
    pub fn rewind_some(&self, rewind: &Rewind, progress: &mut Rewinding) -> Result<bool, StoreError> {
        let stage = self.write(|connection| {
            Ok(match progress.0 {
                Stage::Reservations(after) => match reservations::rewind(connection, rewind, after)? {
                    Some(last) => Some(Stage::Reservations(last)),
                    None => Some(Stage::Deliveries(0)),
                },
                Stage::Deliveries(after) => match tables::rewind_deliveries(connection, rewind, after)? {
                    Some(last) => Some(Stage::Deliveries(last)),
                    None => Some(Stage::Rest),
                },
                Stage::Rest => {
                    tables::rewind_rest(connection, rewind)?;
                    None
                }
            })
        })?;
        match stage {
            Some(stage) => {
                progress.0 = stage;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// A whole pass.
    pub fn rewind(&self, rewind: &Rewind) -> Result<(), StoreError> {
        let mut progress = Rewinding::default();
        while !self.rewind_some(rewind, &mut progress)? {}
        Ok(())
    }

    /// The newest time that any node has recorded; none in a new database.
    pub fn newest_time(&self) -> Result<Option<Time>, StoreError> {
        let connection = &mut *self.get()?;
        let duty: Option<i64> = duties::table.select(max(duties::beat_at)).first(connection)?;
        let beat: Option<i64> = nodes::table.select(max(nodes::beat_at)).first(connection)?;
        let goodbye: Option<i64> = nodes::table.select(max(nodes::goodbye_at)).first(connection)?;
        let latest: Vec<i64> =
            checkins::table.order(checkins::id.desc()).limit(LATEST).select(checkins::at).load(connection)?;
        Ok(latest.into_iter().max().max(duty).max(beat).max(goodbye).map(time))
    }
}
