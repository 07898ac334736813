//! The sweep. In one transaction it claims, locks and loads the reservations that are due, has a
//! [`Decider`] decide about them, and writes the decisions.
//!
//! `claim.rs` finds and locks what is due. `load.rs` loads what the decisions need (`due.rs`).
//! `decision.rs` defines what can be decided. `write.rs` writes the decisions, the alerts and the
//! messages about them. `aside.rs` lists the reservations that are left out because they cannot be
//! judged. The store itself decides nothing.

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
    /// When the sweep must next look at a reservation. `None` if there is no reservation, or none
    /// that can be judged.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn next_wake_at(&self) -> Result<Option<Time>, StoreError> {
        self.next_wake_from(None)
    }

    /// As [`Self::next_wake_at`], among the reservations that are due at `from` or later.
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

    /// Locks up to `limit` reservations that are due at `now`, has `decider` decide about them, and
    /// writes its decisions in the same transaction.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn sweep(&self, now: Time, limit: i64, decider: &dyn Decider) -> Result<SweepOutcome, StoreError> {
        self.sweep_from(None, now, limit, decider)
    }

    /// As [`Self::sweep`], without the reservations that were due before `from`. Every change of
    /// `wake_at` leaves a dead entry in its index. Until the table is vacuumed, a query that begins
    /// at the start of the index reads all of them. A caller that knows that nothing earlier is due
    /// skips them with `from`.
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

    /// Sweeps the claimed reservations in one transaction.
    pub(crate) fn sweep_claimed(
        &self,
        claim: &Claim<'_>,
        now: Time,
        decider: &dyn Decider,
    ) -> Result<SweepOutcome, StoreError> {
        self.write(|connection| {
            if let Claim::These(_) = claim {
                // There may be rows that cannot be read: no statement may touch other rows than
                // these.
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

/// Locks the claimed reservations and loads them. `None` if nothing is claimed. Rows that cannot be
/// read are put off and listed in `outcome`.
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
