//! Judges whether the figures of a success are as expected, by the values before it.

use std::collections::{BTreeSet, HashMap};

use diesel::dsl::max;
use diesel::prelude::*;
use innkeeper_core::baseline::Baseline;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::expect::{Clause, ClauseVerdict, Expect};
use innkeeper_core::reservation::Reservation;

use super::accept::AllExpected;
use super::{FAIL, Row, SUCCESS, UNEXPECTED, figures_at};
use crate::connection::AnyConnection;
use crate::history;
use crate::schema::{recent_values, states};
use crate::{Store, StoreError};

/// How many check-ins of the history are searched for the latest success.
const MOST_READ: i64 = 100;

/// The values of the figures that the clauses name, by reservation. Reservations without `expect`
/// are left out.
pub(crate) fn baselines(
    connection: &mut AnyConnection,
    wanted: &[(i64, &Expect)],
) -> Result<HashMap<i64, Baseline>, StoreError> {
    let wanted = || wanted.iter().filter(|(_, expect)| !expect.is_empty());
    let ids: Vec<i64> = wanted().map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let names: BTreeSet<&str> =
        wanted().flat_map(|(_, expect)| expect.clauses()).map(|clause| clause.name.as_str()).collect();
    let accepted: Vec<(i64, Option<i64>)> = states::table
        .filter(states::reservation_id.eq_any(&ids))
        .select((states::reservation_id, states::accepted_from))
        .load(connection)?;
    let mut baselines: HashMap<i64, Baseline> =
        accepted.into_iter().map(|(id, accepted_from)| (id, Baseline::new(accepted_from))).collect();
    let rows: Vec<(i64, Row)> = recent_values::table
        .filter(recent_values::reservation_id.eq_any(&ids))
        .filter(recent_values::name.eq_any(names))
        .order(recent_values::checkin_id)
        .select((recent_values::reservation_id, Row::as_select()))
        .load(connection)?;
    for (id, Row { name, checkin_id, value, outcome }) in rows {
        baselines.entry(id).or_default().add(name, checkin_id, value, outcome == SUCCESS);
    }
    Ok(baselines)
}

impl Store {
    /// The verdict of each clause on the figures of the latest success. A verdict is `None` if the
    /// success was not judged by the clause, or if its figures are no longer kept.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn verdicts(&self, reservation: &Reservation) -> Result<Vec<Option<ClauseVerdict>>, StoreError> {
        let Reservation { id, spec, conclusions, .. } = reservation;
        let clauses = spec.expect.clauses();
        let connection = &mut *self.get()?;
        let history = match clauses {
            [] => Vec::new(),
            _ => history::latest(connection, *id, MOST_READ)?,
        };
        // The history is in the order of recording, so a late report may not be the latest by its
        // time.
        let latest = history
            .into_iter()
            .filter(|row| row.kind == CheckInKind::Success)
            .max_by_key(|row| (row.at, row.id));
        let kept = |connection: &mut AnyConnection| {
            let latest: Option<i64> = recent_values::table
                .filter(recent_values::reservation_id.eq(*id))
                .filter(recent_values::outcome.ne(FAIL))
                .select(max(recent_values::checkin_id))
                .first(connection)?;
            latest
                .map(|latest| Ok::<_, StoreError>((latest, figures_at(connection, *id, latest)?)))
                .transpose()
        };
        let latest = match latest {
            Some(latest) => Some((latest.id, latest.figures)),
            None if clauses.is_empty() => None,
            None => kept(connection)?,
        };
        let Some((latest, figures)) = latest else { return Ok(vec![None; clauses.len()]) };
        let baseline = baselines(connection, &[(*id, &spec.expect)])?.remove(id).unwrap_or_default();
        let is_judged = conclusions.unexpected.as_ref().is_some_and(|last| last.checkin_id == latest)
            || baseline.is_known_as_bad(latest);
        let verdict = |clause: &Clause| {
            let verdict = clause.judge(&figures, &baseline.past(&clause.name, latest));
            Some(verdict).filter(|verdict| is_judged || !matches!(verdict, ClauseVerdict::Broken(_)))
        };
        Ok(clauses.iter().map(verdict).collect())
    }
}

/// Marks these successes as not as expected, or as too short, so that medians do not count them.
pub(crate) fn note_bad(
    connection: &mut AnyConnection,
    reservation_id: i64,
    unexpected: &[i64],
    too_short: &[i64],
) -> Result<(), StoreError> {
    for (ids, outcome) in [(unexpected, UNEXPECTED), (too_short, FAIL)] {
        if !ids.is_empty() {
            diesel::update(
                recent_values::table
                    .filter(recent_values::reservation_id.eq(reservation_id))
                    .filter(recent_values::checkin_id.eq_any(ids)),
            )
            .set(recent_values::outcome.eq(outcome))
            .execute(connection)?;
        }
    }
    Ok(())
}

/// After a change of `expect`, judges again the latest success that was not as expected.
pub(crate) fn judge_anew(
    connection: &mut AnyConnection,
    reservation_id: i64,
    expect: &Expect,
) -> Result<(), StoreError> {
    let known: Option<Option<i64>> = states::table
        .filter(states::reservation_id.eq(reservation_id))
        .select(states::unexpected_checkin)
        .first(connection)
        .optional()?;
    let Some(checkin_id) = known.flatten() else { return Ok(()) };
    let figures = figures_at(connection, reservation_id, checkin_id)?;
    let mut baseline =
        baselines(connection, &[(reservation_id, expect)])?.remove(&reservation_id).unwrap_or_default();
    let state = states::table.filter(states::reservation_id.eq(reservation_id));
    if let Some(words) = baseline.judge(expect, checkin_id, &figures) {
        diesel::update(state).set(states::unexpected_figures.eq(words)).execute(connection)?;
        return Ok(());
    }
    diesel::update(
        recent_values::table
            .filter(recent_values::reservation_id.eq(reservation_id))
            .filter(recent_values::checkin_id.eq(checkin_id)),
    )
    .set(recent_values::outcome.eq(SUCCESS))
    .execute(connection)?;
    diesel::update(state).set(AllExpected::default()).execute(connection)?;
    Ok(())
}
