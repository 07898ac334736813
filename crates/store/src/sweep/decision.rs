//! What can be decided about a reservation that is due, and the interface of whoever decides it.

use innkeeper_core::Time;
use innkeeper_core::alert::{OutputOf, Reason};
use innkeeper_core::reservation::Conclusions;
use uuid::Uuid;

use super::due::{DueBatch, DueReservation};
use crate::NewDelivery;
use crate::alert_event::AlertEvent;

/// Whoever decides what a sweep writes. Both methods are called within the sweep's transaction and must be
/// pure: they are given all that they need.
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
    /// What becomes of its alert.
    pub alert: Option<AlertChange>,
    /// The run whose output the messages about that carry.
    pub output_of: OutputOf,
    /// Runs to mark as told: those over their limit that the alert names now, and those that were over
    /// without a word.
    pub told_runs: Vec<Option<Uuid>>,
    /// Successes whose figures are other than expected, by their numbers.
    pub unexpected: Vec<i64>,
    /// Successes that came sooner than `min_run` allows, by their numbers.
    pub too_short: Vec<i64>,
    /// Up to when late reports show the job to have been well, where that has moved and the alert stays open.
    pub answered_until: Option<Time>,
    /// Failures of which only the summary tells.
    pub late_failures: Vec<Time>,
    /// Closed alerts that were wrong, by their numbers, with the sentence that says so.
    pub answered_alerts: Vec<(i64, String)>,
    /// Whether the decision depends on check-ins that may still be under way. Then the nodes are asked for a
    /// heartbeat, which tells what has been written.
    pub is_in_doubt: bool,
}

/// What becomes of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertChange {
    /// One opens.
    Open(Reason),
    /// One opens and closes: the trouble came and went between two looks.
    OpenAndClose(Reason),
    /// The open one is told again, for this reason.
    Remind(Reason),
    /// The open one closes; with an ending where no success brought it, or one that was reported late.
    Close(Option<Ending>),
}

/// Why an alert is over, as a sentence without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A report that came late shows that the job was well.
    Answered(String),
    /// The terms by which it opened were changed. Runs that were told since it opened count as untold.
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
