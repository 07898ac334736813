//! Each duty is a reservation too, `innkeeper/ingest` and so on, that the nodes who have it check in to: Innkeeper's own health shows
//! where that of the jobs does, and can be snoozed like theirs. Alerts on them go to the log; people are told by the watch, which needs
//! no sweeper.

use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::Wishes;
use innkeeper_core::schedule::Schedule;
use innkeeper_store::{Arrival, Definition, Store, StoreError, Target};

/// How often a node checks in; the first time when it has run for so long.
pub const EVERY: Duration = Duration::from_secs(60);
/// The app of these reservations.
const APP: &str = "innkeeper";
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// Checks in to the reservations of `duties`, and makes those that are missing.
///
/// # Errors
/// The database's.
pub fn check_in(store: &Store, duties: &[&str], host: &str, now: Time) -> Result<(), StoreError> {
    let every = TimeDelta::from_std(EVERY).unwrap_or_default();
    let batch: Vec<Arrival> = duties
        .iter()
        .filter_map(|duty| {
            let (app, component) = names(duty)?;
            let wishes = Wishes {
                schedule: Some((Schedule::every(every).ok()?, None)),
                grace: Some(GRACE),
                owner: Some("Innkeeper".to_owned()),
                description: Some(format!("Whether a node does the work of {duty}")),
                ..Wishes::default()
            };
            let checkin = CheckIn { source: host.to_owned(), ..CheckIn::new(CheckInKind::Success, now) };
            let definition = Definition::IfMissing(Box::new(wishes));
            Some(Arrival { target: Target::Names(app, component), checkin, definition })
        })
        .collect();
    store.writer().record(&batch).map(drop)
}

/// Whether the reservation of this duty is snoozed at `now`.
///
/// # Errors
/// The database's.
pub fn snoozed(store: &Store, duty: &str, now: Time) -> Result<bool, StoreError> {
    let Some((app, component)) = names(duty) else { return Ok(false) };
    let known = store.reservation(&app, &component)?;
    Ok(known.is_some_and(|(known, _)| known.conclusions.snoozed_until.is_some_and(|until| now < until)))
}

fn names(duty: &str) -> Option<(AppName, ComponentName)> {
    Some((AppName::parse(APP).ok()?, ComponentName::parse(duty).ok()?))
}
