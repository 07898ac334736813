//! How many jobs are down, for messages that say so. While many are down, they are counted once a
//! second. In between, the sweep adds the alerts that it opens and subtracts those that it closes,
//! so that a flood of alerts does not cost a full count for each batch.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::said::{Counted, Down};

/// Below this number, jobs that are down are counted each time.
const MANY: i64 = 200;
/// How long a count of many jobs is carried on before they are counted anew.
const CARRIED: Duration = Duration::from_secs(1);

/// How many jobs there are, and how many of them are down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    at: Instant,
    /// Jobs.
    pub jobs: i64,
    down: i64,
}

impl Count {
    /// How many other jobs are down, seen from one that is down itself or not.
    pub fn beside(&self, is_down: bool) -> i64 {
        (self.down - i64::from(is_down)).max(0)
    }
}

/// The count after the latest pass.
#[derive(Default)]
pub(crate) struct LastCount(Mutex<Option<Count>>);

impl LastCount {
    /// The count in this transaction, which has opened and closed this many alerts. It is kept for
    /// the next passes.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn now(
        &self,
        connection: &mut AnyConnection,
        counted: &Counted,
        (opened, closed): (i64, i64),
    ) -> Result<Count, StoreError> {
        let known = *self.lock();
        let count = match known.filter(|known| known.down >= MANY && known.at.elapsed() < CARRIED) {
            Some(known) => Count { down: known.down + opened - closed, ..known },
            None => {
                let down = Down::now(connection, counted)?;
                Count { at: Instant::now(), jobs: down.jobs, down: down.beside(false) }
            }
        };
        Ok(*self.lock().insert(count))
    }

    /// Makes the next pass count anew, because the transaction of this one may not have been
    /// committed.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Count>> {
        self.0.lock()
    }
}
