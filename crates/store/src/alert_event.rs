//! What happened to an alert, with everything that the messages about it say.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::alert::Reason;
use innkeeper_core::notice::EventKind;
use innkeeper_core::reservation::Reservation;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::outbox::Reached;
use crate::schema::{reservations, states};

/// What happened to the alert of one reservation.
#[derive(Debug)]
pub struct AlertEvent<'a> {
    /// What happened: opened, reminder, recovered, or opened and recovered.
    pub kind: EventKind,
    /// Whose alert.
    pub reservation: &'a Reservation,
    /// Why the alert opened; of a reminder of each failure, what has come since.
    pub reason: &'a Reason,
    /// The alert's number.
    pub alert_id: i64,
    /// The key of all its messages.
    pub dedup_key: &'a str,
    /// When it opened.
    pub opened_at: Time,
    /// Since when there is trouble: what a reminder names may be newer.
    pub since: Time,
    /// What the job said last: the notes of its latest check-in that has some, if it belongs to its latest
    /// run.
    pub notes: &'a str,
    /// How long the run took that ended last, where its start was told.
    pub took: Option<TimeDelta>,
    /// The median of the runs that succeeded lately.
    pub usual: Option<TimeDelta>,
    /// How many other jobs are down.
    pub others_down: i64,
    /// How many jobs there are.
    pub jobs: i64,
    /// For a site: how many reservations stand behind it.
    pub behind: i64,
    /// Of a recovery: who was told of the trouble, and so hears of its end.
    pub reached: &'a [Reached],
    /// Of an end that no success brought, or one that was reported late: why the alert is over.
    pub ending: Option<&'a str>,
    /// Of an end: whether a report that came late shows that the job was well.
    pub answered: bool,
    /// The time of the pass.
    pub now: Time,
}

/// How many reservations were last seen from the address of this one, where it is a site.
pub(crate) fn count_behind(connection: &mut AnyConnection, site: &Reservation) -> Result<i64, StoreError> {
    if !site.spec.is_site || site.facts.last_source.is_empty() {
        return Ok(0);
    }
    Ok(reservations::table
        .inner_join(states::table)
        .filter(reservations::app.eq(site.spec.app.as_str()))
        .filter(states::last_source.eq(&site.facts.last_source))
        .filter(reservations::id.ne(site.id))
        .count()
        .get_result(connection)?)
}
