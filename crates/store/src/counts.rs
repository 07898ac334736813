//! How many jobs are down, for the messages that say so. While many are, they are counted once a second; in
//! between the sweep adds what it opens and takes off what it closes: a storm does not count itself with each
//! of its batches.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::said::{Counted, Down};

/// Fewer than this are counted each time.
const MANY: i64 = 200;
/// How long a count of many is carried on.
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
    /// How many are down beside one, which is down itself or not.
    pub fn beside(&self, is_down: bool) -> i64 {
        (self.down - i64::from(is_down)).max(0)
    }
}

/// The count after the latest pass.
#[derive(Default)]
pub(crate) struct LastCount(Mutex<Option<Count>>);

impl LastCount {
    /// As it is in this transaction, which has opened and closed so many alerts; kept for the passes that
    /// follow.
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

    /// Has the next pass count anew: what this one kept may not have been written.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Count>> {
        self.0.lock()
    }
}
