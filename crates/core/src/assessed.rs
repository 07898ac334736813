//! A reservation with its state at one time. The state is computed once, when the reservation is loaded, for
//! everything that pages, lists and the API show of it.

use crate::Time;
use crate::alert::OpenAlert;
use crate::facts::Run;
use crate::reservation::{Reservation, Window};
use crate::sites::Sites;
use crate::sla::{Evaluation, RefusedSpan, View, evaluate};

/// A reservation, and its state at the time at which it was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessed {
    /// The reservation with its facts and conclusions.
    pub reservation: Reservation,
    /// The alert that is open on it.
    pub open_alert: Option<OpenAlert>,
    /// Its runs in progress.
    pub runs: Vec<Run>,
    /// Whether it is behind a site that is silent.
    pub behind_silent_site: bool,
    /// The span in which its successes, and only they, were refused.
    pub refused: Option<RefusedSpan>,
    /// The key that precedes its slug in a ping address, if the app has one.
    pub ping_key: Option<String>,
    /// Its state, and when the next check-in is expected.
    pub evaluation: Evaluation,
}

/// What is loaded to show a reservation.
#[derive(Debug, Clone, PartialEq)]
pub struct ReservationData {
    /// The reservation with its facts and conclusions.
    pub reservation: Reservation,
    /// The alert that is open on it.
    pub open_alert: Option<OpenAlert>,
    /// Its runs in progress.
    pub runs: Vec<Run>,
    /// The span in which its successes, and only they, were refused.
    pub refused: Option<RefusedSpan>,
    /// The key that precedes its slug in a ping address, if the app has one.
    pub ping_key: Option<String>,
}

impl ReservationData {
    /// The state at `now`. `blind` are the spans in which no check-in could be recorded, `sites` the sites that the
    /// reservation may stand behind.
    pub fn assess(self, blind: &[Window], sites: &Sites<'_>, now: Time) -> Assessed {
        let Self { reservation, open_alert, runs, refused, ping_key } = self;
        let behind_silent_site = sites.is_silent_for(&reservation);
        let view = View {
            runs: &runs,
            behind_silent_site,
            blind: &[blind, &sites.silences_for(&reservation)].concat(),
            refused,
            ..View::of(&reservation, open_alert.as_ref())
        };
        let evaluation = evaluate(&view, now);
        Assessed { reservation, open_alert, runs, behind_silent_site, refused, ping_key, evaluation }
    }
}
