//! Drawing up the summary: what is missed now, and what went wrong and recovered in the last days.

use innkeeper_core::Time;
use innkeeper_core::sla::evaluate;
use innkeeper_core::summary::{Missed, SPAN, Summary};
use innkeeper_store::{Store, StoreError};

/// Draws up the summary of `instance` at `now`.
///
/// # Errors
/// The database's.
pub fn draw_up(store: &Store, instance: &str, now: Time) -> Result<Summary, StoreError> {
    let listed = store.list(None, now)?;
    let mut missed: Vec<Missed> = listed
        .iter()
        .filter_map(|listed| {
            let evaluation = evaluate(&listed.view(), now);
            let terms = &listed.reservation.terms;
            evaluation.overdue.then(|| Missed {
                app: terms.app.to_string(),
                component: terms.component.to_string(),
                owner: terms.owner.clone(),
                state: evaluation.state.as_str().to_owned(),
                last_checkin_at: listed.reservation.facts.last_checkin_at,
                deadline: evaluation.deadline,
            })
        })
        .collect();
    missed.sort_by_key(|missed| missed.deadline);
    let since = now - SPAN;
    let (open, recovered) =
        store.incidents_since(since)?.into_iter().partition(|incident| incident.closed_at.is_none());
    let reservations = listed.len() as i64;
    Ok(Summary { instance: instance.to_owned(), at: now, since, reservations, missed, open, recovered })
}
