//! An event of an alert, with everything that messages about it may say.

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
    /// The reservation whose alert it is.
    pub reservation: &'a Reservation,
    /// Why the alert opened. For a reminder about each failure: the failure that has come since.
    pub reason: &'a Reason,
    /// The alert's number.
    pub alert_id: i64,
    /// The key of all its messages.
    pub dedup_key: &'a str,
    /// When it opened.
    pub opened_at: Time,
    /// When the trouble began. The reason that a reminder names may be newer.
    pub since: Time,
    /// What the job said last: the notes of its latest check-in with notes, if that belongs to its
    /// latest run.
    pub notes: &'a str,
    /// How long the latest ended run took, where its start was reported.
    pub took: Option<TimeDelta>,
    /// The median duration of the latest successful runs.
    pub usual: Option<TimeDelta>,
    /// How many other jobs are down.
    pub others_down: i64,
    /// How many jobs there are.
    pub jobs: i64,
    /// For a site: how many reservations were last seen from its address.
    pub behind: i64,
    /// For a recovery: who was told of the trouble and is therefore told of its end.
    pub reached: &'a [Reached],
    /// Why the alert is over, where no success ended it or the success was reported late.
    pub ending: Option<&'a str>,
    /// For an end: whether a late report shows that the job was well.
    pub answered: bool,
    /// The time of the sweeper's pass.
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
