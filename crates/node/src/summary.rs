//! Drawing up the summary: the jobs missed now, and those that failed and recovered in the last days.

use std::io;

use chrono_tz::Tz;
use innkeeper_core::Time;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::summary::{Drafting, Incident, Missed, SPAN, Summary};
use innkeeper_store::{Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::records::{Records, Writing};

/// A summary of any length: its serialized form contains every incident.
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
/// A database error, or no room for the results.
pub fn draw_up(store: &Store, instance: &str, now: Time) -> Result<Drawn, StoreError> {
    let since = now - SPAN;
    let (mut missed, mut open, mut recovered) = (Writing::new(), Writing::new(), Writing::new());
    let mut reservations = 0;
    let left_out = store.snapshot(now, |snapshot| {
        let left_out = snapshot.latest_first(None, |Assessed { reservation, evaluation, .. }| {
            reservations += 1;
            if !evaluation.overdue {
                return Ok(());
            }
            let spec = &reservation.spec;
            let one = Missed {
                reservation_id: reservation.id,
                app: spec.app.to_string(),
                component: spec.component.to_string(),
                owner: spec.owner.clone(),
                state: evaluation.state.as_str().to_owned(),
                last_checkin_at: reservation.facts.last_checkin_at,
                deadline: evaluation.deadline,
            };
            missed.push(evaluation.deadline.timestamp_micros(), &one).map_err(no_room)
        })?;
        snapshot.incidents(since, |incident| match incident.closed_at {
            None => open.push(0, &incident).map_err(no_room),
            Some(_) => recovered.push(latest_first(&incident), &incident).map_err(no_room),
        })?;
        snapshot.late_failures(since, |incident| {
            recovered.push(latest_first(&incident), &incident).map_err(no_room)
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

/// The sort rank of an incident that is over.
fn latest_first(incident: &Incident) -> i64 {
    incident.opened_at.timestamp_micros().saturating_neg()
}

impl Drawn {
    /// The summary for people: each job once, long lists cut short, times in `zone`.
    ///
    /// # Errors
    /// The results cannot be read back.
    pub fn summary(&self, public_url: &str, zone: Tz) -> Result<Summary, StoreError> {
        let mut drafting = Drafting::default();
        each(&self.missed, |one| drafting.missed(one))?;
        each(&self.open, |one| drafting.open(one))?;
        each(&self.recovered, |one| drafting.recovered(one))?;
        let (down, more_down, recovered, more_recovered) = drafting.lists();
        Ok(Summary {
            instance: self.instance.clone(),
            public_url: public_url.to_owned(),
            zone: zone.to_string(),
            at: self.at,
            reservations: self.reservations,
            down,
            more_down,
            recovered,
            more_recovered,
            unreadable: self.unreadable.clone(),
        })
    }
}

fn each<T: DeserializeOwned>(records: &Records<T>, mut visit: impl FnMut(T)) -> Result<(), StoreError> {
    for record in records.iter() {
        visit(record.map_err(no_room)?);
    }
    Ok(())
}

fn no_room(error: io::Error) -> StoreError {
    let place = std::env::temp_dir();
    StoreError::Unavailable(format!("the summary cannot be kept in {}: {error}", place.display()))
}
