//! Accepts unexpected figures at a person's request, so that they count as right from then on.

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::sla::ACCEPTED;

use super::{RUN_TIME, Row, SUCCESS, UNEXPECTED, figures_at};
use crate::connection::AnyConnection;
use crate::reservation_rows::{lock_states, note_changed};
use crate::rows::{ReservationRow, ms};
use crate::schema::{recent_values, reservations, states};
use crate::{ActingStore, StoreError};

/// The result of a request to accept the unexpected figures of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// They were accepted. The text says what was unexpected.
    Done(String),
    /// The latest success did not break a clause.
    Nothing,
    /// The latest success broke a clause that compares with a fixed number, or lacked a figure.
    /// Only a change of `expect` helps. The text says what was unexpected.
    Fixed(String),
    /// There is no such reservation.
    Unknown,
}

impl ActingStore {
    /// Accepts the figures of the latest success, and those of the successes before it, back to one
    /// that was as expected. From then on medians count the accepted values, and no earlier ones.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn accept_figures(&self, reservation_id: i64, now: Time) -> Result<Accepted, StoreError> {
        self.write(|connection| {
            lock_states(connection, &[reservation_id])?;
            let row: Option<ReservationRow> = reservations::table
                .filter(reservations::id.eq(reservation_id))
                .select(ReservationRow::as_select())
                .first(connection)
                .optional()?;
            let Some(row) = row else { return Ok(Accepted::Unknown) };
            let spec = row.spec()?;
            let (at, checkin_id, figures, last): (Option<i64>, Option<i64>, Option<String>, Option<i64>) =
                states::table
                    .filter(states::reservation_id.eq(reservation_id))
                    .select((
                        states::unexpected_at,
                        states::unexpected_checkin,
                        states::unexpected_figures,
                        states::last_checkin_at,
                    ))
                    .first(connection)?;
            let (Some(latest), Some(figures)) = (checkin_id.filter(|_| at == last), figures) else {
                return Ok(Accepted::Nothing);
            };
            let brought = figures_at(connection, reservation_id, latest)?;
            // Without earlier values, clauses with a median pass. Those that still fail do not
            // depend on a median.
            if let Some(fixed) = spec.expect.unexpected(&brought, |_| Vec::new()) {
                return Ok(Accepted::Fixed(fixed));
            }
            let rows = rows(connection, reservation_id)?;
            let good = rows.iter().filter(|row| row.outcome == SUCCESS).map(|row| row.checkin_id).max();
            let is_of_the_row = |row: &&Row| row.outcome == UNEXPECTED && Some(row.checkin_id) > good;
            let from = rows.iter().filter(is_of_the_row).map(|row| row.checkin_id).min().unwrap_or(latest);
            diesel::update(
                recent_values::table
                    .filter(recent_values::reservation_id.eq(reservation_id))
                    .filter(recent_values::checkin_id.ge(from))
                    .filter(recent_values::outcome.eq(UNEXPECTED)),
            )
            .set(recent_values::outcome.eq(SUCCESS))
            .execute(connection)?;
            diesel::update(states::table.filter(states::reservation_id.eq(reservation_id)))
                .set((AllExpected::default(), states::accepted_from.eq(from), states::wake_at.eq(ms(now))))
                .execute(connection)?;
            note_changed(connection, reservation_id, ACCEPTED)?;
            self.note(
                connection,
                "accept figures",
                &format!("{}/{}", spec.app, spec.component),
                &figures,
                now,
            )?;
            Ok(Accepted::Done(figures))
        })
    }
}

/// The kept values of the reservation's figures, in the order in which they were recorded.
fn rows(connection: &mut AnyConnection, reservation_id: i64) -> Result<Vec<Row>, StoreError> {
    Ok(recent_values::table
        .filter(recent_values::reservation_id.eq(reservation_id))
        .filter(recent_values::name.ne(RUN_TIME))
        .order(recent_values::checkin_id)
        .select(Row::as_select())
        .load(connection)?)
}

/// Clears the columns of the state about a success that was not as expected.
#[derive(Default, AsChangeset)]
#[diesel(table_name = states, treat_none_as_null = true)]
pub(super) struct AllExpected {
    unexpected_at: Option<i64>,
    unexpected_figures: Option<String>,
    unexpected_checkin: Option<i64>,
}
