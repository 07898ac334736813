//! The reservations that are due, with everything that the sweeper needs to decide about them.

use innkeeper_core::Time;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::baseline::Baseline;
use innkeeper_core::facts::{Event, Run};
use innkeeper_core::figures::Figures;
use innkeeper_core::reservation::Reservation;
use innkeeper_core::sites::Site;
use innkeeper_core::sla::{PastMiss, RefusedSpan};

use crate::blind::Blindness;

/// Reservations that are due. Their rows are locked.
#[derive(Debug, Clone)]
pub struct DueBatch {
    /// The time of the sweep.
    pub now: Time,
    /// The reservations.
    pub due: Vec<DueReservation>,
    /// The sites of their apps.
    pub sites: Vec<Site>,
    /// When check-ins could not be written.
    pub blindness: Blindness,
}

/// A reservation that is due.
#[derive(Debug, Clone)]
pub struct DueReservation {
    /// The reservation with its facts and the conclusions of the last sweep that looked at it.
    pub reservation: Reservation,
    /// Its open alert.
    pub alert: Option<KnownAlert>,
    /// Its runs. Empty if it has no run limits.
    pub runs: Vec<Run>,
    /// Its check-ins since the last look. Empty if their order does not matter.
    pub checkins: NewCheckins,
    /// The earlier values of its figures. Set only if it has `expect` and new check-ins.
    pub baseline: Option<Baseline>,
    /// Closed alerts that check-ins reported late since the last look may show to have been wrong.
    pub past_alerts: PastAlerts,
    /// The span in which the database refused the successes of this job alone.
    pub refused: Option<RefusedSpan>,
}

/// An open alert.
#[derive(Debug, Clone)]
pub struct KnownAlert {
    /// The alert.
    pub open: OpenAlert,
    /// The key that all its messages carry, by which receivers recognize the incident.
    pub dedup_key: String,
}

/// The check-ins since the last look.
#[derive(Debug, Clone, Default)]
pub struct NewCheckins {
    /// The check-ins, latest first. If the streak of failures has to be counted anew, check-ins
    /// that the last look has seen already follow the new ones.
    pub rows: Vec<HistoryRow>,
    /// How many of `rows` are new.
    pub new: usize,
    /// As in [`View::anew`](innkeeper_core::sla::View::anew).
    pub anew: Option<Time>,
    /// As in [`View::is_mended`](innkeeper_core::sla::View::is_mended).
    pub is_mended: bool,
}

/// The parts of a check-in of the history that decisions need.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// The check-in, not yet judged.
    pub event: Event,
    /// Its figures.
    pub figures: Figures,
}

/// Closed alerts for missed deadlines, and the check-ins that show whether they were right.
#[derive(Debug, Clone, Default)]
pub struct PastAlerts {
    /// The id of each alert, and its missed deadline.
    pub misses: Vec<(i64, PastMiss)>,
    /// The check-ins, latest first.
    pub rows: Vec<HistoryRow>,
}
