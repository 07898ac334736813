//! What can be decided about a reservation that is due, and the trait of those who decide.

use innkeeper_core::Time;
use innkeeper_core::alert::{OutputOf, Reason};
use innkeeper_core::reservation::Conclusions;
use uuid::Uuid;

use super::due::{DueBatch, DueReservation};
use crate::NewDelivery;
use crate::alert_event::AlertEvent;

/// Decides what a sweep writes. Both methods are called within the sweep's transaction and must be
/// pure: their arguments hold all that they need.
pub trait Decider {
    /// Decides about each reservation of the batch.
    fn decide<'b>(&self, batch: &'b DueBatch) -> Vec<Decision<'b>>;

    /// Words the messages about what happened to an alert.
    fn compose(&self, event: &AlertEvent<'_>) -> Vec<NewDelivery>;
}

/// Everything that a sweep writes about one reservation.
#[derive(Debug, Clone)]
pub struct Decision<'b> {
    /// The reservation.
    pub due: &'b DueReservation,
    /// Its new conclusions.
    pub conclusions: Conclusions,
    /// What happens to its alert. `None` if nothing does.
    pub alert: Option<AlertChange>,
    /// Which run's output the messages about the alert carry.
    pub output_of: OutputOf,
    /// Runs to mark as told: those over their limit that the alert now reports, and those that
    /// count as over although their end was never reported.
    pub told_runs: Vec<Option<Uuid>>,
    /// The ids of successes whose figures are not as expected.
    pub unexpected: Vec<i64>,
    /// The ids of successes that came sooner than `min_run` allows.
    pub too_short: Vec<i64>,
    /// The time up to which late reports show that the job was well. Set only if this time has
    /// changed and the alert stays open.
    pub answered_until: Option<Time>,
    /// Failures that only the weekly summary reports.
    pub late_failures: Vec<Time>,
    /// Closed alerts that turned out to be wrong: the id of each, and the sentence that says so.
    pub answered_alerts: Vec<(i64, String)>,
    /// Whether the decision depends on check-ins that may not have been written yet. Then the nodes
    /// are asked for a heartbeat, which says what they have written.
    pub is_in_doubt: bool,
}

/// A change of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertChange {
    /// One opens.
    Open(Reason),
    /// One opens and closes at once: the trouble began and ended between two sweeps.
    OpenAndClose(Reason),
    /// The open one is reported again, for this reason.
    Remind(Reason),
    /// The open one closes. There is an ending unless a success that was reported in time closed
    /// it.
    Close(Option<Ending>),
}

/// Why an alert is over, as a sentence without the full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A report that came late shows that the job was well.
    Answered(String),
    /// The terms of the reservation were changed. Runs that were marked as told since the alert
    /// opened are marked as untold again.
    Withdrawn(String),
}

impl Ending {
    /// The sentence.
    pub fn text(&self) -> &str {
        match self {
            Self::Answered(text) | Self::Withdrawn(text) => text,
        }
    }
}
