//! Writes changed terms of an existing reservation, and what follows from that for its state.

use diesel::prelude::*;
use innkeeper_core::Invalid;
use innkeeper_core::Time;
use innkeeper_core::reservation::{Patch, Spec};

use crate::connection::AnyConnection;
use crate::reservation_rows::{lock_states, note_changed};
use crate::rows::{ReservationRow, TermsRow, ms, time};
use crate::schema::{reservations, states};
use crate::{StoreError, history, recent, slugs};

/// How many check-ins back the latest run that was too short is looked for in the history.
const MOST_READ: i64 = 100;

/// The outcome of a request for a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It was made.
    Created(i64),
    /// It existed, and something in it changed.
    Changed(i64),
    /// It existed already, exactly as requested.
    Unchanged(i64),
    /// It did not exist, and the request does not say enough to make it; or the result would not be
    /// valid.
    Incomplete(Invalid),
}

impl Reserved {
    /// The number of the reservation; none where there is none.
    pub fn id(&self) -> Option<i64> {
        match self {
            Self::Created(id) | Self::Changed(id) | Self::Unchanged(id) => Some(*id),
            Self::Incomplete(_) => None,
        }
    }
}

/// Writes what `patch` changes, and makes the sweeper judge the reservation anew. None when it is
/// gone.
pub(crate) fn change(
    connection: &mut AnyConnection,
    row: ReservationRow,
    patch: &Patch,
    now: Time,
) -> Result<Option<Reserved>, StoreError> {
    if row.spec().is_ok_and(|known| patch.clone().applied_to(known.clone()) == known) {
        return Ok(Some(Reserved::Unchanged(row.id)));
    }
    lock_states(connection, &[row.id])?;
    // Read again under the lock, since another process may have changed something else in it.
    let row: Option<ReservationRow> = reservations::table
        .filter(reservations::id.eq(row.id))
        .select(ReservationRow::as_select())
        .first(connection)
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    let before = row.terms_with(patch.other_schedule())?;
    let after = patch.clone().applied_to(before.clone());
    write_terms(connection, row.id, &before, &after, now)?;
    Ok(Some(Reserved::Changed(row.id)))
}

/// Writes changed terms of the reservation `id`, whose state is locked, and makes the sweeper judge
/// it anew.
pub(crate) fn write_terms(
    connection: &mut AnyConnection,
    id: i64,
    before: &Spec,
    after: &Spec,
    now: Time,
) -> Result<(), StoreError> {
    if after.slug != before.slug {
        slugs::check_terms(connection, after)?;
    }
    if after.schedule != before.schedule {
        after.schedule.check_ahead(now).map_err(StoreError::Invalid)?;
    }
    diesel::update(reservations::table.filter(reservations::id.eq(id)))
        .set((&TermsRow::from(after), reservations::updated_at.eq(ms(now))))
        .execute(connection)
        .map_err(|error| slugs::not_written(after, error))?;
    diesel::update(states::table.filter(states::reservation_id.eq(id)))
        .set((states::wake_at.eq(ms(now)), states::eager.eq(after.judges_successes())))
        .execute(connection)?;
    if let Some(changed) = before.judged_otherwise(after) {
        note_changed(connection, id, &changed)?;
    }
    if after.min_run != before.min_run || after.expect != before.expect {
        // Runs that ended under the old rule are not judged by the new one. But where only `expect`
        // changes and had clauses before, check-ins that the sweeper has not judged yet are judged
        // by the new clauses, and not passed over.
        if after.min_run != before.min_run || before.expect.is_empty() {
            diesel::update(states::table.filter(states::reservation_id.eq(id)))
                .set(states::checkins_seen.eq(states::checkins))
                .execute(connection)?;
        }
        forget_short_run(connection, id, after)?;
        recent::judge_anew(connection, id, &after.expect)?;
    }
    Ok(())
}

/// Forgets the latest run that was too short, if it is not too short by `spec`.
fn forget_short_run(connection: &mut AnyConnection, id: i64, spec: &Spec) -> Result<(), StoreError> {
    let short_at: Option<Option<i64>> = states::table
        .filter(states::reservation_id.eq(id))
        .select(states::short_at)
        .first(connection)
        .optional()?;
    let Some(short_at) = short_at.flatten() else { return Ok(()) };
    let took = history::latest(connection, id, MOST_READ)?
        .into_iter()
        .find(|checkin| checkin.at == time(short_at) && checkin.duration.is_some())
        .and_then(|checkin| checkin.duration);
    if took.zip(spec.min_run).is_none_or(|(took, least)| took >= least) {
        diesel::update(states::table.filter(states::reservation_id.eq(id)))
            .set(states::short_at.eq(None::<i64>))
            .execute(connection)?;
    }
    Ok(())
}
