//! The sweep: in one transaction, what is due is claimed, locked and loaded, a [`Decider`] decides about it,
//! and what it decides is written.
//!
//! `claim.rs` finds and locks what is due, `load.rs` loads what the decisions need (`due.rs`), `decision.rs`
//! says what can be decided, and `write.rs` writes it, with the alerts and the messages about them.
//! `aside.rs` knows what is left out because it cannot be judged. Nothing is decided here.

mod aside;
mod claim;
mod decision;
mod due;
mod load;
mod outcome;
mod write;

use diesel::prelude::*;
use innkeeper_core::Time;

use crate::blind::Blindness;
use crate::connection::AnyConnection;
use crate::schema::states;
use crate::walk::row_by_row;
use crate::{Store, StoreError};

pub use aside::Unjudged;
pub(crate) use aside::{AGAIN, aside, judged};
pub(crate) use claim::{Claim, begin, due_ids};
pub use decision::{AlertChange, Decider, Decision, Ending};
pub use due::{DueBatch, DueReservation, HistoryRow, KnownAlert, NewCheckins, PastAlerts};
pub(crate) use load::load_due;
pub use outcome::SweepOutcome;

impl Store {
    /// When the next reservation is due to be looked at; none without reservations.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn next_wake_at(&self) -> Result<Option<Time>, StoreError> {
        self.next_wake_from(None)
    }

    /// The same, of those that are due at `from` or later.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn next_wake_from(&self, from: Option<Time>) -> Result<Option<Time>, StoreError> {
        let connection = &mut *self.get()?;
        let aside: Vec<i64> = aside(connection)?.into_iter().map(|(id, _)| id).collect();
        let mut query =
            states::table.filter(states::wake_at.ge(begin(from))).order(states::wake_at).into_boxed();
        if !aside.is_empty() {
            query = query.filter(states::reservation_id.ne_all(aside));
        }
        let next: Option<i64> = query.select(states::wake_at).first(connection).optional()?;
        Ok(next.map(crate::rows::time))
    }

    /// Has `decider` look at up to `limit` reservations that are due at `now`, as they are on their locked
    /// rows, and writes what it decides in the same transaction.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn sweep(&self, now: Time, limit: i64, decider: &dyn Decider) -> Result<SweepOutcome, StoreError> {
        self.sweep_from(None, now, limit, decider)
    }

    /// The same, leaving out what was due before `from`. Every conclusion leaves an entry in the index of
    /// `wake_at` that is dead and yet passed over one by one until the table is vacuumed: who knows that
    /// nothing earlier is due need not begin with them.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn sweep_from(
        &self,
        from: Option<Time>,
        now: Time,
        limit: i64,
        decider: &dyn Decider,
    ) -> Result<SweepOutcome, StoreError> {
        self.sweep_claimed(&Claim::Due(from, limit), now, decider)
    }

    /// Looks at what is claimed, in one transaction.
    pub(crate) fn sweep_claimed(
        &self,
        claim: &Claim<'_>,
        now: Time,
        decider: &dyn Decider,
    ) -> Result<SweepOutcome, StoreError> {
        self.write(|connection| {
            if let Claim::These(_) = claim {
                // Beside a row that cannot be read.
                row_by_row(connection)?;
            }
            let mut outcome = SweepOutcome::default();
            let Some(batch) = claim_and_load(connection, claim, now, &mut outcome)? else {
                return Ok(outcome);
            };
            let decisions = decider.decide(&batch);
            write::conclusions(connection, &decisions, now)?;
            let changes = write::alerts(connection, &decisions, now)?;
            let counts = (&*self.counted, &*self.last_count);
            write::messages(connection, &changes, counts, now, decider, &mut outcome)?;
            Ok(outcome)
        })
        .inspect_err(|_| self.last_count.forget())
    }
}

/// Locks what is claimed and loads it; none where there is nothing. What cannot be read is put off, and
/// stands in the outcome.
fn claim_and_load(
    connection: &mut AnyConnection,
    claim: &Claim<'_>,
    now: Time,
    outcome: &mut SweepOutcome,
) -> Result<Option<DueBatch>, StoreError> {
    let aside = aside(connection)?;
    let ids = claim::claim(connection, claim, &aside, now)?;
    if ids.is_empty() {
        return Ok(None);
    }
    let blindness = Blindness::at(connection, now)?;
    let (batch, corrupt) = load_due(connection, &ids, blindness, now)?;
    claim::put_off(connection, &corrupt, now)?;
    let is_aside = |id: &&i64| aside.iter().any(|(known, _)| known == *id);
    let was_aside: Vec<i64> = ids
        .iter()
        .filter(is_aside)
        .filter(|id| !corrupt.iter().any(|(known, _)| known == *id))
        .copied()
        .collect();
    outcome.looked = ids.len();
    outcome.judged_again = judged(connection, &was_aside)?;
    outcome.unjudged = corrupt;
    Ok(Some(batch))
}
