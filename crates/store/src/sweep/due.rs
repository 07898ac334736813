//! What is due to be looked at, with everything that the decisions about it need: what the sweeper is handed.

use innkeeper_core::Time;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::baseline::Baseline;
use innkeeper_core::facts::{Event, Run};
use innkeeper_core::figures::Figures;
use innkeeper_core::reservation::Reservation;
use innkeeper_core::sites::Site;
use innkeeper_core::sla::{PastMiss, RefusedSpan};

use crate::blind::Blindness;

/// Reservations that are due, as they are on their locked rows.
#[derive(Debug, Clone)]
pub struct DueBatch {
    /// The time of the pass.
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
    /// The reservation with its facts and the conclusions of the last look.
    pub reservation: Reservation,
    /// The alert that is open on it.
    pub alert: Option<KnownAlert>,
    /// Its runs, where it has run limits.
    pub runs: Vec<Run>,
    /// Its check-ins since the last look, where their order matters.
    pub checkins: NewCheckins,
    /// The values of its figures before, where it expects anything of them and something has come.
    pub baseline: Option<Baseline>,
    /// Alerts that have closed, and that what was reported late since may show to have been wrong.
    pub past_alerts: PastAlerts,
    /// The span in which its successes alone were refused.
    pub refused: Option<RefusedSpan>,
}

/// An open alert.
#[derive(Debug, Clone)]
pub struct KnownAlert {
    /// The alert.
    pub open: OpenAlert,
    /// The key of its messages.
    pub dedup_key: String,
}

/// The check-ins since the last look.
#[derive(Debug, Clone, Default)]
pub struct NewCheckins {
    /// The check-ins, latest first; behind the new ones some that were seen, where the row has to be counted
    /// anew.
    pub rows: Vec<HistoryRow>,
    /// How many of them are new.
    pub new: usize,
    /// As in [`View::anew`](innkeeper_core::sla::View::anew).
    pub anew: Option<Time>,
    /// As in [`View::is_mended`](innkeeper_core::sla::View::is_mended).
    pub is_mended: bool,
}

/// A check-in of the history, as far as decisions need it.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// The check-in, not yet judged.
    pub event: Event,
    /// The figures that it brought.
    pub figures: Figures,
}

/// Closed alerts for missed deadlines, and the check-ins that tell whether they were right.
#[derive(Debug, Clone, Default)]
pub struct PastAlerts {
    /// Each with its number.
    pub misses: Vec<(i64, PastMiss)>,
    /// The check-ins, latest first.
    pub rows: Vec<HistoryRow>,
}
