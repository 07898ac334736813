//! Sites: Internet gateways. While a site is silent, the alerts of the jobs behind it are held.

use crate::Time;
use crate::reservation::{Reservation, Window};
use crate::sla::{View, evaluate};
use crate::snooze::Snoozes;

/// What is known of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The site's own reservation.
    pub reservation: Reservation,
    /// Whether an alert is open on it.
    pub has_open_alert: bool,
    /// Its past silences, each from the last success before it to its end.
    pub silences: Vec<Window>,
}

impl Site {
    fn is_silent(&self, now: Time) -> bool {
        if self.has_open_alert {
            return true;
        }
        let mut site = self.reservation.clone();
        // A snooze suppresses the notification of a silence; it does not end the silence.
        site.conclusions.snoozes = Snoozes::default();
        evaluate(&View::of(&site, None), now).overdue
    }

    /// Whether the job of this reservation stands behind this site: it has the same app, and its last check-in came
    /// from the same address.
    fn is_before(&self, job: &Reservation) -> bool {
        let source = &job.facts.last_source;
        !source.is_empty()
            && self.reservation.facts.last_source == *source
            && self.reservation.spec.app == job.spec.app
            && self.reservation.id != job.id
    }
}

/// Some sites, and which of them are silent at a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sites<'s>(Vec<(&'s Site, bool)>);

impl<'s> Sites<'s> {
    /// These sites as they are at `now`.
    pub fn at(now: Time, sites: &'s [Site]) -> Self {
        Self(sites.iter().map(|site| (site, site.is_silent(now))).collect())
    }

    /// Whether the job of this reservation stands behind a silent site.
    pub fn is_silent_for(&self, job: &Reservation) -> bool {
        self.0.iter().any(|(site, is_silent)| *is_silent && site.is_before(job))
    }

    /// The past silences of the sites that the job of this reservation stands behind.
    pub fn silences_for(&self, job: &Reservation) -> Vec<Window> {
        let before = self.0.iter().filter(|(site, _)| site.is_before(job));
        before.flat_map(|(site, _)| site.silences.iter().copied()).collect()
    }
}
