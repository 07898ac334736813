//! Drawing up the summary: what is missed now, and what went wrong and recovered in the last days.

use std::io;

use innkeeper_core::Time;
use innkeeper_core::sla::evaluate;
use innkeeper_core::summary::{Cut, Incident, MOST_ROWS, Missed, SPAN, Summary};
use innkeeper_store::{Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::records::{Records, Writing};

/// A summary, however long its lists are: serialized it is whole.
#[derive(Serialize)]
pub struct Drawn {
    instance: String,
    at: Time,
    since: Time,
    reservations: i64,
    missed: Records<Missed>,
    open: Records<Incident>,
    recovered: Records<Incident>,
    /// As in [`Summary`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

/// Draws up the summary of `instance` at `now`, from one snapshot of the database.
///
/// # Errors
/// The database's; also where there is no room for what is found.
pub fn draw_up(store: &Store, instance: &str, now: Time) -> Result<Drawn, StoreError> {
    let since = now - SPAN;
    let (mut missed, mut open, mut recovered) = (Writing::new(), Writing::new(), Writing::new());
    let mut reservations = 0;
    let left_out = store.snapshot(now, |snapshot| {
        let left_out = snapshot.latest_first(None, |listed| {
            reservations += 1;
            let evaluation = evaluate(&listed.view(), now);
            if !evaluation.overdue {
                return Ok(());
            }
            let terms = &listed.reservation.terms;
            let one = Missed {
                app: terms.app.to_string(),
                component: terms.component.to_string(),
                owner: terms.owner.clone(),
                state: evaluation.state.as_str().to_owned(),
                last_checkin_at: listed.reservation.facts.last_checkin_at,
                deadline: evaluation.deadline,
            };
            missed.push(evaluation.deadline.timestamp_micros(), &one).map_err(no_room)
        })?;
        snapshot.incidents(since, |incident| {
            let list = if incident.closed_at.is_none() { &mut open } else { &mut recovered };
            list.push(0, &incident).map_err(no_room)
        })?;
        Ok::<_, StoreError>(left_out)
    })?;
    let mut unreadable: Vec<String> = left_out.named.iter().map(ToString::to_string).collect();
    if left_out.count > unreadable.len() {
        unreadable.push(format!("and {} more", left_out.count - unreadable.len()));
    }
    Ok(Drawn {
        instance: instance.to_owned(),
        at: now,
        since,
        reservations,
        missed: missed.finish().map_err(no_room)?,
        open: open.finish().map_err(no_room)?,
        recovered: recovered.finish().map_err(no_room)?,
        unreadable,
    })
}

impl Drawn {
    /// The beginning of each list, and how many are left out: what is shown as text.
    ///
    /// # Errors
    /// What was found cannot be read again.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        let left = |length: usize| length.saturating_sub(MOST_ROWS);
        Ok(Summary {
            instance: self.instance.clone(),
            at: self.at,
            since: self.since,
            reservations: self.reservations,
            missed: first(&self.missed)?,
            open: first(&self.open)?,
            recovered: first(&self.recovered)?,
            unreadable: self.unreadable.clone(),
            cut: Cut {
                missed: left(self.missed.len()),
                open: left(self.open.len()),
                recovered: left(self.recovered.len()),
            },
        })
    }
}

fn first<T: DeserializeOwned>(records: &Records<T>) -> Result<Vec<T>, StoreError> {
    records.iter().take(MOST_ROWS).collect::<io::Result<_>>().map_err(no_room)
}

fn no_room(error: io::Error) -> StoreError {
    let place = std::env::temp_dir();
    StoreError::Unavailable(format!("the summary cannot be kept in {}: {error}", place.display()))
}
